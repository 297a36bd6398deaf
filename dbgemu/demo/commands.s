@ The commands: r1 and r2 are their words, as texts

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
