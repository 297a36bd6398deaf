@ Start: stacks, vectors, MMU, devices, then the prompt

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
