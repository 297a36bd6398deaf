"""What the tests of the I/O ports share: offsets, and the accesses that drivers make."""

from dbgemu.target.s3c2440.gpio_pins import PORTS

CON, DAT, UP = 0, 4, 8
PORT = {letter: port.offset for letter, port in PORTS.items()}
EXTINT = (0x88, 0x8C, 0x90)
EINTMASK, EINTPEND = 0xA4, 0xA8
GSTATUS = (0xAC, 0xB0, 0xB4, 0xB8, 0xBC)
LOW_LEVEL, HIGH_LEVEL, FALLING, RISING, BOTH = 0, 1, 2, 4, 6


def set_function(gpio, name, code):
    port, number = name[2], int(name[3:])
    offset = PORT[port] + CON
    gpio.write(offset, 4, gpio.read(offset, 4) & ~(3 << 2 * number) | code << 2 * number)


def change_bit(gpio, offset, number, value):
    gpio.write(offset, 4, gpio.read(offset, 4) & ~(1 << number) | value << number)


def pull_up_off(gpio, name):
    change_bit(gpio, PORT[name[2]] + UP, int(name[3:]), 1)


def data(gpio, name):
    return gpio.read(PORT[name[2]] + DAT, 4) >> int(name[3:]) & 1


def eint_pin(number):
    return f"GPF{number}" if number < 8 else f"GPG{number - 8}"


def eint(gpio, number, method, *, masked=False):
    """Make the pin of EINTn an external interrupt, as the kernel does: function first, then method."""
    set_function(gpio, eint_pin(number), 2)
    offset, lane = EXTINT[number // 8], 4 * (number % 8)
    gpio.write(offset, 4, gpio.read(offset, 4) & ~(7 << lane) | method << lane)
    gpio.write(EINTPEND, 4, 1 << number)
    change_bit(gpio, EINTMASK, number, int(masked))
    return gpio.pin(eint_pin(number))
