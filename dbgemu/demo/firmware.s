@ The demo firmware: a banner and a command line on UART 0, LEDs that a timer interrupt moves.
@
@ It starts as a bootloader leaves the board: SVC mode, MMU and interrupts off, PCLK at 50.625 MHz,
@ UART 0 at 115200 8N1. Register names are the S3C2440A manual's.

        .equ    SDRAM,          0x30000000
        .equ    PAGE_TABLE,     SDRAM + 0x4000  @ 16 KiB, in front of the code
        .equ    STACK_SVC,      SDRAM + 0x100000
        .equ    STACK_IRQ,      SDRAM + 0x101000
        .equ    STACK_ABORT,    SDRAM + 0x102000
        .equ    STACK_UNDEF,    SDRAM + 0x103000

        .equ    MODE_IRQ_OFF,   0x92            @ processor modes, with IRQ masked
        .equ    MODE_SVC_OFF,   0x93
        .equ    MODE_ABORT_OFF, 0x97
        .equ    MODE_UNDEF_OFF, 0x9b
        .equ    MODE_SVC_ON,    0x13

        .equ    INTC,           0x4a000000      @ interrupt controller
        .equ    SRCPND,         0x00
        .equ    INTMSK,         0x08
        .equ    INTPND,         0x10
        .equ    INTOFFSET,      0x14
        .equ    SUBSRCPND,      0x18
        .equ    INTSUBMSK,      0x1c
        .equ    INT_TIMER4,     14
        .equ    INT_UART0,      28
        .equ    INT_RXD0,       1 << 0          @ a sub-source of INT_UART0

        .equ    UART0,          0x50000000
        .equ    UCON,           0x04
        .equ    UFCON,          0x08
        .equ    UTRSTAT,        0x10
        .equ    UTXH,           0x20
        .equ    URXH,           0x24
        .equ    RX_READY,       1 << 0
        .equ    TX_EMPTY,       1 << 1

        .equ    TIMERS,         0x51000000
        .equ    TCFG0,          0x00
        .equ    TCFG1,          0x04
        .equ    TCON,           0x08
        .equ    TCNTB4,         0x3c
        .equ    T4_START,       1 << 20
        .equ    T4_UPDATE,      1 << 21
        .equ    T4_RELOAD,      1 << 22
        .equ    PRESCALER,      224             @ 50.625 MHz / 225 / 2 = 112.5 kHz
        .equ    TICKS_A_SECOND, 100
        .equ    TICK_COUNT,     112500 / TICKS_A_SECOND

        .equ    WATCHDOG,       0x53000000
        .equ    WTCON,          0x00
        .equ    WTDAT,          0x04
        .equ    WTCNT,          0x08

        .equ    GPB,            0x56000010
        .equ    GPBCON,         0x00
        .equ    GPBDAT,         0x04
        .equ    LED_SHIFT,      5               @ LED1 to LED4 are GPB5 to GPB8, lit by a low level
        .equ    LED_MASK,       15 << LED_SHIFT
        .equ    BLINK_TICKS,    25              @ the light moves every quarter of a second

        .equ    LINE_SIZE,      64
        .equ    RING_SIZE,      256             @ a power of two

@ ---------------------------------------------------------------------------------------------
@ Start

start:
        msr     cpsr_c, #MODE_IRQ_OFF
        ldr     sp, =STACK_IRQ
        msr     cpsr_c, #MODE_ABORT_OFF
        ldr     sp, =STACK_ABORT
        msr     cpsr_c, #MODE_UNDEF_OFF
        ldr     sp, =STACK_UNDEF
        msr     cpsr_c, #MODE_SVC_OFF
        ldr     sp, =STACK_SVC
        bl      setup_vectors
        bl      setup_mmu
        bl      setup_leds
        bl      setup_uart
        bl      setup_timer
        ldr     r0, =banner
        bl      print
        b       main_loop

@ Exceptions go to addresses 0 to 0x1c, where the board has flash or SRAM. The MMU maps address 0 to
@ the start of SDRAM, so that is where the vectors are copied.
setup_vectors:
        ldr     r0, =vectors
        ldr     r1, =SDRAM
        mov     r2, #VECTORS_SIZE
copy_vectors:
        subs    r2, r2, #4
        ldr     r3, [r0, r2]
        str     r3, [r1, r2]
        bne     copy_vectors
        bx      lr

@ One page table of 1 MiB sections. All that is not mapped here faults: that is what 'crash' uses.
setup_mmu:
        stmfd   sp!, {r4, lr}
        ldr     r4, =PAGE_TABLE
        mov     r0, #0
        mov     r1, #0x4000
clear_table:
        subs    r1, r1, #4
        str     r0, [r4, r1]
        bne     clear_table
        ldr     r0, =SDRAM                      @ the vectors
        mov     r1, #0
        mov     r2, #1
        bl      map_sections
        ldr     r0, =SDRAM                      @ memory, as it is
        mov     r1, r0
        mov     r2, #64
        bl      map_sections
        mov     r0, #0x48000000                 @ devices, as they are
        mov     r1, r0
        mov     r2, #0x5c0 - 0x480
        bl      map_sections
        mcr     p15, 0, r4, c2, c0, 0           @ translation table base
        mov     r0, #1                          @ domain 0: permissions are checked
        mcr     p15, 0, r0, c3, c0, 0
        mov     r0, #0
        mcr     p15, 0, r0, c8, c7, 0           @ forget all translations
        mcr     p15, 0, r0, c7, c7, 0           @ and what the caches hold
        mrc     p15, 0, r0, c1, c0, 0
        orr     r0, r0, #0x1000                 @ instruction cache
        orr     r0, r0, #1                      @ MMU
        mcr     p15, 0, r0, c1, c0, 0
        nop                                     @ fetched before the MMU is on, at the same address
        nop
        ldmfd   sp!, {r4, pc}

@ r0: physical address, r1: virtual address, r2: how many MiB, r4: the page table
map_sections:
        orr     r0, r0, #0xc00                  @ all may read and write
        orr     r0, r0, #0x12                   @ a section, domain 0, not cached
        add     r1, r4, r1, lsr #18
map_next:
        str     r0, [r1], #4
        add     r0, r0, #0x100000
        subs    r2, r2, #1
        bne     map_next
        bx      lr

setup_leds:
        ldr     r0, =GPB
        ldr     r1, [r0, #GPBCON]
        bic     r1, r1, #0xff << (2 * LED_SHIFT)
        orr     r1, r1, #0x55 << (2 * LED_SHIFT)  @ four outputs
        str     r1, [r0, #GPBCON]
        b       show_leds

@ Baud rate and format stay as they are.
setup_uart:
        ldr     r0, =UART0
        mov     r1, #0                          @ no FIFO: one character, one interrupt
        str     r1, [r0, #UFCON]
        ldr     r1, =0x105                      @ interrupt mode both ways, level for receive
        str     r1, [r0, #UCON]
        ldr     r0, =INTC
        ldr     r1, [r0, #INTSUBMSK]
        bic     r1, r1, #INT_RXD0
        str     r1, [r0, #INTSUBMSK]
        mov     r1, #1 << INT_UART0
        b       enable_interrupt

@ Timer 4 has no output pin: it is there for ticks.
setup_timer:
        ldr     r0, =TIMERS
        ldr     r1, [r0, #TCFG0]
        bic     r1, r1, #0xff00
        orr     r1, r1, #PRESCALER << 8
        str     r1, [r0, #TCFG0]
        ldr     r1, [r0, #TCFG1]
        bic     r1, r1, #0xf0000                @ divider 1/2
        str     r1, [r0, #TCFG1]
        ldr     r1, =TICK_COUNT
        str     r1, [r0, #TCNTB4]
        mov     r1, #T4_UPDATE
        str     r1, [r0, #TCON]
        ldr     r1, =T4_START | T4_RELOAD
        str     r1, [r0, #TCON]
        mov     r1, #1 << INT_TIMER4
        b       enable_interrupt

@ r1: the bit of an interrupt
enable_interrupt:
        ldr     r0, =INTC
        ldr     r2, [r0, #INTMSK]
        bic     r2, r2, r1
        str     r2, [r0, #INTMSK]
        bx      lr
        .ltorg

@ ---------------------------------------------------------------------------------------------
@ Exceptions

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

@ ---------------------------------------------------------------------------------------------
@ The command line

main_loop:
        ldr     sp, =STACK_SVC
        msr     cpsr_c, #MODE_SVC_ON
        ldr     r0, =prompt
        bl      print
        bl      read_line
        ldr     r0, =line
        bl      split_words
        ldr     r0, =words
        ldr     r0, [r0]
        cmp     r0, #0
        blne    run_command
        b       main_loop

@ A line into 'line', echoed, with a NUL at its end.
read_line:
        stmfd   sp!, {r4, r5, lr}
        ldr     r4, =line
        mov     r5, #0
read_next:
        bl      read_character
        cmp     r0, #'\r'
        cmpne   r0, #'\n'
        beq     line_ends
        cmp     r0, #'\b'
        cmpne   r0, #0x7f
        beq     rub_out
        cmp     r0, #' '
        blo     read_next
        cmp     r5, #LINE_SIZE - 1
        beq     read_next
        strb    r0, [r4, r5]
        add     r5, r5, #1
        bl      put_character
        b       read_next
rub_out:
        subs    r5, r5, #1
        movmi   r5, #0
        bmi     read_next
        ldr     r0, =erase
        bl      print
        b       read_next
line_ends:
        mov     r0, #0
        strb    r0, [r4, r5]
        ldr     r0, =newline
        bl      print
        ldmfd   sp!, {r4, r5, pc}

@ The next character, in r0. While there is none, the processor sleeps until an interrupt comes.
read_character:
        mov     r0, #MODE_SVC_OFF               @ else the interrupt could come before the sleep
        msr     cpsr_c, r0
        ldr     r1, =ring_head
        ldmia   r1, {r2, r3}
        cmp     r2, r3
        bne     take_character
        mov     r0, #0
wait_for_interrupt:
        mcr     p15, 0, r0, c7, c0, 4
        mov     r0, #MODE_SVC_ON                @ here the interrupt is served
        msr     cpsr_c, r0
        b       read_character
take_character:
        ldr     r0, =ring
        ldrb    r0, [r0, r3]
        add     r3, r3, #1
        and     r3, r3, #RING_SIZE - 1
        str     r3, [r1, #4]
        mov     r1, #MODE_SVC_ON
        msr     cpsr_c, r1
        bx      lr

@ r0: a line. The addresses of its first three words go to 'words', 0 where there is none.
split_words:
        ldr     r1, =words
        mov     r2, #0
        str     r2, [r1]
        str     r2, [r1, #4]
        str     r2, [r1, #8]
        mov     ip, #3
skip_spaces:
        ldrb    r3, [r0], #1
        cmp     r3, #' '
        beq     skip_spaces
        cmp     r3, #0
        bxeq    lr
        sub     r3, r0, #1
        str     r3, [r1], #4
skip_word:
        ldrb    r3, [r0], #1
        cmp     r3, #0
        bxeq    lr
        cmp     r3, #' '
        bne     skip_word
        strb    r2, [r0, #-1]
        subs    ip, ip, #1
        bne     skip_spaces
        bx      lr

run_command:
        stmfd   sp!, {r4, lr}
        ldr     r4, =commands
try_command:
        ldr     r0, [r4], #8
        cmp     r0, #0
        beq     unknown_command
        ldr     r1, =words
        ldr     r1, [r1]
        bl      same_text
        bne     try_command
        ldr     r3, [r4, #-4]
        ldr     r0, =words
        ldmia   r0, {r0, r1, r2}
        ldmfd   sp!, {r4, lr}
        bx      r3                              @ the command returns to our caller
unknown_command:
        ldr     r0, =text_unknown
        bl      print
        ldmfd   sp!, {r4, pc}

@ r0, r1: two texts; the Z flag tells whether they are the same.
same_text:
        ldrb    r2, [r0], #1
        ldrb    r3, [r1], #1
        cmp     r2, r3
        bxne    lr
        cmp     r2, #0
        bne     same_text
        bx      lr

@ ---------------------------------------------------------------------------------------------
@ Commands: r1 and r2 are their words, as texts

command_help:
        ldr     r0, =text_help
        b       print

@ led N on, led N off, led auto
command_led:
        stmfd   sp!, {r4, r5, lr}
        mov     r4, r1
        mov     r5, r2
        cmp     r4, #0
        beq     bad_arguments
        ldr     r0, =word_auto
        bl      same_text
        moveq   r0, #0
        ldreq   r1, =manual_mask
        streq   r0, [r1]
        beq     led_done
        ldrb    r0, [r4]
        sub     r0, r0, #'1'
        cmp     r0, #3
        bhi     bad_arguments
        mov     r1, #1
        mov     r4, r1, lsl r0                  @ the LED's bit
        cmp     r5, #0
        beq     bad_arguments
        mov     r0, r5
        ldr     r1, =word_on
        bl      same_text
        moveq   r5, r4
        beq     led_set
        mov     r0, r5
        ldr     r1, =word_off
        bl      same_text
        bne     bad_arguments
        mov     r5, #0
led_set:
        ldr     r0, =manual_mask
        ldmia   r0, {r1, r2}                    @ manual_mask, manual_value
        orr     r1, r1, r4
        bic     r2, r2, r4
        orr     r2, r2, r5
        stmia   r0, {r1, r2}
led_done:
        bl      show_leds
        ldmfd   sp!, {r4, r5, pc}
bad_arguments:
        ldr     r0, =text_arguments
        bl      print
        ldmfd   sp!, {r4, r5, pc}

command_peek:
        stmfd   sp!, {r4, r5, lr}
        movs    r0, r1
        beq     bad_arguments
        bl      parse_hex
        bne     bad_arguments
        bic     r4, r0, #3
peek_here:
        ldr     r5, [r4]
        mov     r0, r4
        bl      print_hex
        ldr     r0, =text_colon
        bl      print
        mov     r0, r5
        bl      print_hex
        ldr     r0, =newline
        bl      print
        ldmfd   sp!, {r4, r5, pc}

command_poke:
        stmfd   sp!, {r4, r5, lr}
        mov     r5, r2
        movs    r0, r1
        beq     bad_arguments
        bl      parse_hex
        bne     bad_arguments
        bic     r4, r0, #3
        movs    r0, r5
        beq     bad_arguments
        bl      parse_hex
        bne     bad_arguments
poke_here:
        str     r0, [r4]
        ldmfd   sp!, {r4, r5, pc}

@ Seconds since the start, with two digits behind the point
command_time:
        stmfd   sp!, {r4, r5, lr}
        ldr     r0, =ticks
        ldr     r0, [r0]
        mov     r1, #TICKS_A_SECOND
        bl      divide
        mov     r4, r1
        bl      print_decimal
        mov     r0, #'.'
        bl      put_character
        cmp     r4, #10
        movlo   r0, #'0'
        bllo    put_character
        mov     r0, r4
        bl      print_decimal
        ldr     r0, =text_seconds
        bl      print
        ldmfd   sp!, {r4, r5, pc}

command_crash:
        ldr     r0, =0xdead0000                 @ not mapped
crash_here:
        ldr     r0, [r0]
        bx      lr

@ The watchdog counts one step of PCLK / 16, then it resets the board.
command_reboot:
        stmfd   sp!, {r4, lr}
        ldr     r0, =text_reboot
        bl      print
        ldr     r0, =WATCHDOG
        mov     r1, #0
        str     r1, [r0, #WTCON]
        mov     r1, #1
        str     r1, [r0, #WTDAT]
        str     r1, [r0, #WTCNT]
        mov     r1, #0x21                       @ counts, and resets the board at 0
        str     r1, [r0, #WTCON]
wait_for_reset:
        b       wait_for_reset
        .ltorg

@ ---------------------------------------------------------------------------------------------
@ Input and output

@ r0: a text that ends with NUL
print:
        stmfd   sp!, {r4, lr}
        mov     r4, r0
print_next:
        ldrb    r0, [r4], #1
        cmp     r0, #0
        ldmfdeq sp!, {r4, pc}
        bl      put_character
        b       print_next

@ r0: a character. Changes r1 and r2.
put_character:
        ldr     r1, =UART0
wait_for_room:
        ldr     r2, [r1, #UTRSTAT]
        tst     r2, #TX_EMPTY
        beq     wait_for_room
        str     r0, [r1, #UTXH]
        bx      lr

@ r0: a number, printed as 0x and eight digits
print_hex:
        stmfd   sp!, {r4, r5, lr}
        mov     r4, r0
        ldr     r0, =text_0x
        bl      print
        mov     r5, #8
hex_digit:
        mov     r4, r4, ror #28
        and     r0, r4, #15
        cmp     r0, #10
        addlo   r0, r0, #'0'
        addhs   r0, r0, #'a' - 10
        bl      put_character
        subs    r5, r5, #1
        bne     hex_digit
        ldmfd   sp!, {r4, r5, pc}

@ r0: a number
print_decimal:
        stmfd   sp!, {r4, lr}
        mov     r1, #10
        bl      divide
        mov     r4, r1
        cmp     r0, #0
        blne    print_decimal
        add     r0, r4, #'0'
        bl      put_character
        ldmfd   sp!, {r4, pc}

@ r0 / r1: the quotient goes to r0, the remainder to r1
divide:
        mov     r2, #0
        mov     r3, #1
scale_up:
        cmp     r1, r0, lsr #1
        movls   r1, r1, lsl #1
        movls   r3, r3, lsl #1
        bls     scale_up
scale_down:
        cmp     r0, r1
        subhs   r0, r0, r1
        orrhs   r2, r2, r3
        mov     r1, r1, lsr #1
        movs    r3, r3, lsr #1
        bne     scale_down
        mov     r1, r0
        mov     r0, r2
        bx      lr

@ r0: a text of hexadecimal digits, with or without 0x. Its value goes to r0, Z tells that it is one.
parse_hex:
        mov     r1, r0
        mov     r0, #0
        ldrb    r2, [r1]
        cmp     r2, #'0'
        ldrbeq  r2, [r1, #1]
        cmpeq   r2, #'x'
        addeq   r1, r1, #2
        ldrb    r2, [r1]
        cmp     r2, #0
        beq     not_hex
parse_digit:
        ldrb    r2, [r1], #1
        cmp     r2, #0
        bxeq    lr
        cmp     r2, #'a'
        bhs     parse_letter
        sub     r2, r2, #'0'
        cmp     r2, #10
        b       take_digit
parse_letter:
        sub     r2, r2, #'a' - 10
        cmp     r2, #16
take_digit:
        movlo   r0, r0, lsl #4
        orrlo   r0, r0, r2
        blo     parse_digit
not_hex:
        movs    r2, #1                          @ Z is clear
        bx      lr
        .ltorg

@ ---------------------------------------------------------------------------------------------
@ Data

commands:
        .word   word_help, command_help
        .word   word_led, command_led
        .word   word_peek, command_peek
        .word   word_poke, command_poke
        .word   word_time, command_time
        .word   word_crash, command_crash
        .word   word_reboot, command_reboot
        .word   0

word_help:      .asciz  "help"
word_led:       .asciz  "led"
word_peek:      .asciz  "peek"
word_poke:      .asciz  "poke"
word_time:      .asciz  "time"
word_crash:     .asciz  "crash"
word_reboot:    .asciz  "reboot"
word_on:        .asciz  "on"
word_off:       .asciz  "off"
word_auto:      .asciz  "auto"

banner:
        .ascii  "\r\ndbgemu demo firmware on a mini2440\r\n"
        .asciz  "The LEDs move by timer interrupt. Type 'help' for the commands.\r\n"
prompt:                 .asciz  "demo> "
newline:                .asciz  "\r\n"
erase:                  .asciz  "\b \b"
text_0x:                .asciz  "0x"
text_colon:             .asciz  ": "
text_seconds:           .asciz  " s since the start\r\n"
text_unknown:           .asciz  "That is no command: type 'help'.\r\n"
text_arguments:         .asciz  "That is not how it is used: type 'help'.\r\n"
text_reboot:            .asciz  "The watchdog resets the board.\r\n"
text_data_abort:        .asciz  "data abort at address "
text_status:            .asciz  ", status "
text_prefetch_abort:    .asciz  "prefetch abort"
text_undefined:         .asciz  "undefined instruction"
text_swi:               .asciz  "software interrupt"
text_at_pc:             .asciz  ", pc "
text_help:
        .ascii  "help               this list\r\n"
        .ascii  "led N on|off       switch LED 1 to 4\r\n"
        .ascii  "led auto           let the light move again\r\n"
        .ascii  "peek ADDR          read a word (hexadecimal)\r\n"
        .ascii  "poke ADDR VALUE    write a word\r\n"
        .ascii  "time               how long the firmware has run\r\n"
        .ascii  "crash              read where nothing is mapped\r\n"
        .asciz  "reboot             reset the board by the watchdog\r\n"

        .align  2
ticks:          .word   0
blink_wait:     .word   BLINK_TICKS
blink:          .word   1                       @ these three stay together
manual_mask:    .word   0
manual_value:   .word   0
ring_head:      .word   0                       @ these two stay together
ring_tail:      .word   0
words:          .word   0, 0, 0
line:           .space  LINE_SIZE
ring:           .space  RING_SIZE
firmware_end:
