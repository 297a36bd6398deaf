@ Texts and numbers, in and out

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
