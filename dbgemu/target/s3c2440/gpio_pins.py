"""The S3C2440A's I/O pins and what each can be: S3C2440A UM chapter 9, as one table."""

from __future__ import annotations

from typing import NamedTuple

INPUT, OUTPUT, RESERVED = "input", "output", "reserved"


class PinDescription(NamedTuple):
    """A pin: its name and its alternate functions, in the order of their GPxCON codes.

    In ports B to J, code 00 is input, 01 output, 10 the first alternate function, 11 the second.
    In port A a clear bit is output, a set bit the alternate function.
    """

    name: str
    alternates: tuple[str, ...]


class PortDescription(NamedTuple):
    """A port: ``offset`` of GPxCON in bytes; GPxDAT and GPxUP follow.

    ``control_bits`` is the width of a pin's field in GPxCON, ``control_reset`` and ``pull_reset``
    are the reset values of GPxCON and GPxUP. A pin in ``no_pull`` has no pull-up resistor.
    ``first_eint`` is the number of the external interrupt on pin 0, where the port has any.
    """

    letter: str
    offset: int
    pins: tuple[PinDescription, ...]
    control_bits: int = 2
    control_reset: int = 0
    pull_reset: int = 0
    no_pull: int = 0
    first_eint: int | None = None

    @property
    def mask(self) -> int:
        """One bit a pin."""
        return (1 << len(self.pins)) - 1

    def functions(self, number: int) -> tuple[str, ...]:
        """Pin ``number``'s functions, indexed by the code in its GPxCON field."""
        alternates = self.pins[number].alternates
        basic = (OUTPUT,) if self.control_bits == 1 else (INPUT, OUTPUT)
        names = basic + alternates
        return names + (RESERVED,) * ((1 << self.control_bits) - len(names))


def _port(
    letter: str,
    offset: int,
    first: str,
    second: dict[int, str] | None = None,
    *,
    control_bits: int = 2,
    control_reset: int = 0,
    pull_reset: int = 0,
    no_pull: int = 0,
    first_eint: int | None = None,
) -> PortDescription:
    """A port whose pins' first alternate functions are ``first``, its second ones by pin number."""
    others = second or {}
    pins = tuple(
        PinDescription(f"GP{letter}{number}", (name, others[number]) if number in others else (name,))
        for number, name in enumerate(first.split())
    )
    return PortDescription(letter, offset, pins, control_bits, control_reset, pull_reset, no_pull, first_eint)


PORTS = {
    port.letter: port
    for port in (
        _port(
            "A",
            0x00,
            "ADDR0 ADDR16 ADDR17 ADDR18 ADDR19 ADDR20 ADDR21 ADDR22 ADDR23 ADDR24 ADDR25 ADDR26 "
            "nGCS1 nGCS2 nGCS3 nGCS4 nGCS5 CLE ALE nFWE nFRE nRSTOUT nFCE reserved reserved",
            control_bits=1,
            control_reset=0xFF_FFFF,
            no_pull=0x1FF_FFFF,
        ),
        _port(
            "B",
            0x10,
            "TOUT0 TOUT1 TOUT2 TOUT3 TCLK0 nXBACK nXBREQ nXDACK1 nXDREQ1 nXDACK0 nXDREQ0",
        ),
        _port(
            "C",
            0x20,
            "LEND VCLK VLINE VFRAME VM LCD_LPCOE LCD_LPCREV LCD_LPCREVB VD0 VD1 VD2 VD3 VD4 VD5 VD6 VD7",
            {4: "I2SSDI"},
        ),
        _port(
            "D",
            0x30,
            "VD8 VD9 VD10 VD11 VD12 VD13 VD14 VD15 VD16 VD17 VD18 VD19 VD20 VD21 VD22 VD23",
            {8: "SPIMISO1", 9: "SPIMOSI1", 10: "SPICLK1", 14: "nSS1", 15: "nSS0"},
            pull_reset=0xF000,
        ),
        _port(
            "E",
            0x40,
            "I2SLRCK I2SSCLK CDCLK I2SSDI I2SSDO SDCLK SDCMD SDDAT0 SDDAT1 SDDAT2 SDDAT3 "
            "SPIMISO0 SPIMOSI0 SPICLK0 IICSCL IICSDA",
            {0: "AC_SYNC", 1: "AC_BIT_CLK", 2: "AC_nRESET", 3: "AC_SDATA_IN", 4: "AC_SDATA_OUT"},
            no_pull=0xC000,
        ),
        _port("F", 0x50, "EINT0 EINT1 EINT2 EINT3 EINT4 EINT5 EINT6 EINT7", first_eint=0),
        _port(
            "G",
            0x60,
            "EINT8 EINT9 EINT10 EINT11 EINT12 EINT13 EINT14 EINT15 "
            "EINT16 EINT17 EINT18 EINT19 EINT20 EINT21 EINT22 EINT23",
            {
                2: "nSS0",
                3: "nSS1",
                4: "LCD_PWRDN",
                5: "SPIMISO1",
                6: "SPIMOSI1",
                7: "SPICLK1",
                9: "nRTS1",
                10: "nCTS1",
                11: "TCLK1",
            },
            pull_reset=0xFC00,
            first_eint=8,
        ),
        _port(
            "H",
            0x70,
            "nCTS0 nRTS0 TXD0 RXD0 TXD1 RXD1 TXD2 RXD2 UEXTCLK CLKOUT0 CLKOUT1",
            {6: "nRTS1", 7: "nCTS1"},
        ),
        _port(
            "J",
            0xD0,
            "CAMDATA0 CAMDATA1 CAMDATA2 CAMDATA3 CAMDATA4 CAMDATA5 CAMDATA6 CAMDATA7 "
            "CAMPCLK CAMVSYNC CAMHREF CAMCLKOUT CAMRESET",
        ),
    )
}
