@ Exceptions: the timer's and the UART's interrupts, and what commands do wrong

vectors:
        ldr     pc, vectors + 0x20              @ reset
        ldr     pc, vectors + 0x24              @ undefined instruction
        ldr     pc, vectors + 0x28              @ software interrupt
        ldr     pc, vectors + 0x2c              @ prefetch abort
        ldr     pc, vectors + 0x30              @ data abort
        nop
        ldr     pc, vectors + 0x34              @ IRQ
        nop
        .word   start, undefined_entry, swi_entry, prefetch_abort_entry, data_abort_entry, irq_entry
        .equ    VECTORS_SIZE, . - vectors

irq_entry:
        sub     lr, lr, #4
        stmfd   sp!, {r0-r4, ip, lr}
        ldr     r4, =INTC
        ldr     r0, [r4, #INTOFFSET]
        cmp     r0, #INT_TIMER4
        bleq    timer_tick
        ldr     r0, [r4, #INTOFFSET]
        cmp     r0, #INT_UART0
        bleq    uart_receive
        ldr     r0, [r4, #INTPND]
        str     r0, [r4, #SRCPND]               @ a bit is cleared by writing it
        str     r0, [r4, #INTPND]
        ldmfd   sp!, {r0-r4, ip, pc}^

timer_tick:
        ldr     r1, =ticks
        ldr     r0, [r1]
        add     r0, r0, #1
        str     r0, [r1]
        ldr     r1, =blink_wait
        ldr     r0, [r1]
        subs    r0, r0, #1
        moveq   r0, #BLINK_TICKS
        str     r0, [r1]
        bxne    lr
        ldr     r1, =blink
        ldr     r0, [r1]
        mov     r0, r0, lsl #1
        tst     r0, #16
        movne   r0, #1
        str     r0, [r1]
@ falls through: the light has moved

@ LEDs that the user has set stay, the others follow the light.
show_leds:
        ldr     r0, =blink
        ldmia   r0, {r0, r1, r2}                @ blink, manual_mask, manual_value
        bic     r0, r0, r1
        and     r2, r2, r1
        orr     r0, r0, r2
        ldr     r1, =GPB
        ldr     r2, [r1, #GPBDAT]
        orr     r2, r2, #LED_MASK
        bic     r2, r2, r0, lsl #LED_SHIFT
        str     r2, [r1, #GPBDAT]
        bx      lr

@ Put what has come into the ring, or drop it when the ring is full.
uart_receive:
        ldr     r1, =UART0
        ldr     r0, [r1, #URXH]
        ldr     r1, =ring_head
        ldmia   r1, {r2, r3}                    @ ring_head, ring_tail
        add     ip, r2, #1
        and     ip, ip, #RING_SIZE - 1
        cmp     ip, r3
        strne   ip, [r1]
        ldrne   r3, =ring
        strbne  r0, [r3, r2]
        mov     r0, #INT_RXD0
        str     r0, [r4, #SUBSRCPND]
        bx      lr

@ A failed command ends here: what went wrong is told, and the prompt comes back.
data_abort_entry:
        sub     lr, lr, #8
        stmfd   sp!, {r4, lr}
        ldr     r0, =text_data_abort
        bl      print
        mrc     p15, 0, r0, c6, c0, 0           @ the address
        bl      print_hex
        ldr     r0, =text_status
        bl      print
        mrc     p15, 0, r0, c5, c0, 0           @ what was wrong with it
        bl      print_hex
        b       fault_tail

prefetch_abort_entry:
        sub     lr, lr, #4
        stmfd   sp!, {r4, lr}
        ldr     r0, =text_prefetch_abort
        bl      print
        b       fault_tail

undefined_entry:
        sub     lr, lr, #4
        stmfd   sp!, {r4, lr}
        ldr     r0, =text_undefined
        bl      print
        b       fault_tail

swi_entry:
        sub     lr, lr, #4
        stmfd   sp!, {r4, lr}
        ldr     r0, =text_swi
        bl      print
@ falls through

fault_tail:
        ldr     r0, =text_at_pc
        bl      print
        ldmfd   sp!, {r4, lr}
        mov     r0, lr
        bl      print_hex
        ldr     r0, =newline
        bl      print
        mov     r0, #MODE_SVC_ON                @ back to the prompt
        msr     spsr_cxsf, r0
        ldr     lr, =main_loop
        movs    pc, lr
        .ltorg
