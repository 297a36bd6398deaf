@ The prompt: lines from UART 0, and which command they call

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
