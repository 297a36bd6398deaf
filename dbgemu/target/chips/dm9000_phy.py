"""The 10/100 Mbit transceiver inside the DM9000: its MII registers and the link."""

from __future__ import annotations

from collections.abc import Callable

from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.registers import Field, Register, reads

#: From power-up or restart to a link: a partner that answers at once (a real exchange takes up to 2 s).
NEGOTIATION_NS = 100_000_000

RESET, POWER_DOWN, ISOLATE, RESTART = 0x8000, 0x0800, 0x0400, 0x0200
STATUS_COMPLETE, STATUS_LINK = 0x0020, 0x0004
#: a switch that does 100BASE-TX full duplex and flow control
PARTNER = 0x45E1


def _at(number: int) -> int:
    """Where MII register ``number`` is declared: a word each."""
    return 4 * number


class Dm9000Phy(Device):
    """The PHY, not on the CPU's bus: the chip's EPCR reaches it through :meth:`mii_read` and write.

    ``on_link(up)`` is called when the link comes or goes.
    """

    title = "DM9000 PHY (MII registers, a word apart)"
    size = 0x80
    STATE = ("_negotiation", "cable", "powered", "link")

    BMCR = Register(
        _at(0),
        width=16,
        reset=0x3100,
        doc="Basic mode control",
        fields=(
            Field("RESET", 15, doc="reset, clears itself"),
            Field("LOOPBACK", 14, doc="what is sent comes back"),
            Field("SPEED", 13, doc="1 is 100 Mbit/s, without auto-negotiation"),
            Field("ANENABLE", 12, doc="auto-negotiation"),
            Field("PDOWN", 11, doc="power down"),
            Field("ISOLATE", 10, doc="off the MII"),
            Field("ANRESTART", 9, doc="negotiate again, clears itself"),
            Field("FULLDPLX", 8, doc="full duplex, without auto-negotiation"),
            Field("CTST", 7, doc="collision test"),
        ),
    )
    BMSR = Register(
        _at(1),
        width=16,
        reset=0x7849,
        access="ro",
        volatile=True,
        doc="Basic mode status",
        fields=(
            Field("ANEGCOMPLETE", 5, doc="auto-negotiation is complete"),
            Field("RFAULT", 4, doc="remote fault"),
            Field("ANEGCAPABLE", 3, doc="can negotiate"),
            Field("LSTATUS", 2, doc="link is up"),
            Field("JCD", 1, doc="jabber"),
            Field("ERCAP", 0, doc="extended registers"),
        ),
    )
    PHYIDR1 = Register(_at(2), width=16, reset=0x0181, access="ro", doc="PHY identifier, high")
    PHYIDR2 = Register(_at(3), width=16, reset=0xB8A0, access="ro", doc="PHY identifier, low")
    ANAR = Register(_at(4), width=16, reset=0x01E1, doc="Auto-negotiation advertisement")
    ANLPAR = Register(_at(5), width=16, access="ro", volatile=True, doc="Link partner's ability")
    ANER = Register(_at(6), width=16, access="ro", volatile=True, doc="Auto-negotiation expansion")
    DSCR = Register(_at(16), width=16, reset=0x0414, doc="Davicom specified configuration")
    DSCSR = Register(
        _at(17),
        width=16,
        reset=0x0010,
        access="ro",
        volatile=True,
        doc="Davicom specified status",
        fields=(
            Field("100FDX", 15, doc="operates at 100 Mbit/s, full duplex"),
            Field("100HDX", 14, doc="100 Mbit/s, half duplex"),
            Field("10FDX", 13, doc="10 Mbit/s, full duplex"),
            Field("10HDX", 12, doc="10 Mbit/s, half duplex"),
            Field("PHYADR", 8, 4, "PHY address"),
            Field("ANMB", 3, 0, "auto-negotiation monitor", {0: "idle", 8: "complete"}),
        ),
    )
    TCSR = Register(_at(18), width=16, reset=0x7800, doc="10BASE-T configuration and status")
    PWDOR = Register(_at(19), width=16, doc="Power down control")
    SCR = Register(_at(20), width=16, doc="Specified configuration")
    DSPCR = Register(_at(27), width=16, doc="DSP control")

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        on_link: Callable[[bool], None],
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.on_link = on_link
        #: something is plugged in at the other end
        self.cable = True
        self.powered = False
        self.link = False
        self._negotiation = Timer(clock, self._negotiated)

    def reset(self) -> None:
        """Power-on: without power until the MAC's GPR gives it some."""
        super().reset()
        self.powered = False
        self._link_down()

    def set_power(self, on: bool) -> None:
        """What bit 0 of the MAC's GPR says (there, 1 is off)."""
        if on != self.powered:
            self.powered = on
            self._retry()

    def set_cable(self, connected: bool) -> None:
        """Plug the cable in or out."""
        if connected != self.cable:
            self.cable = connected
            self._retry()

    def mii_read(self, number: int) -> int:
        """MII register ``number`` (0 to 31); those that do not exist read 0."""
        register = self.locate(_at(number))
        return self.peeker(register)() if register is not None else 0

    def mii_write(self, number: int, value: int) -> None:
        """Write 16 bits to MII register ``number``; others than the writable ones ignore it."""
        register = self.locate(_at(number))
        if register is not None and register.access == "rw":
            self.writer(register)(value & 0xFFFF)

    @BMCR.write
    def _write_control(self, value: int) -> None:
        if value & RESET:
            self.reset_registers()
            self._retry()
            return
        old = self.BMCR
        self.BMCR = value & 0x7D80
        if value & RESTART or (old ^ value) & (POWER_DOWN | ISOLATE | 0x3100):
            self._retry()

    @reads(BMSR, ANLPAR, ANER, DSCSR)
    def _read_status(self, register: Register) -> int:
        if not self.link:
            return register.reset
        match register.name:
            case "BMSR":
                return register.reset | STATUS_COMPLETE | STATUS_LINK
            case "ANLPAR":
                return PARTNER
            case "ANER":
                return 0x0001
            case _:
                return register.reset | 0x8008

    def _retry(self) -> None:
        """The link goes; it comes back by itself where it can."""
        self._link_down()
        if self.cable and self.powered and not self.BMCR & (POWER_DOWN | ISOLATE):
            self._negotiation.start_in(NEGOTIATION_NS)

    def _link_down(self) -> None:
        self._negotiation.cancel()
        if self.link:
            self.link = False
            self.on_link(False)

    def _negotiated(self) -> None:
        self.link = True
        self.on_link(True)
