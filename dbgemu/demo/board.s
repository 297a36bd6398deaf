@ The demo firmware: a banner and a command line on UART 0, LEDs that a timer interrupt moves.
@ This part names what is where; start.s is where it starts.
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
