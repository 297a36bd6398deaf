@ Data: the commands' table, texts, variables

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
