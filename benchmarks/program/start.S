/* Vectors and the way to main(). A machine without semihosting returns from each SWI. */

    .arm
    .section .vectors, "ax"
    b       start
    b       .
    movs    pc, lr
    b       .
    b       .
    b       .
    b       .
    b       .

    .text
    .global start
start:
    ldr     sp, =stack_top
    ldr     r0, =main
    mov     lr, pc
    bx      r0
    b       .
