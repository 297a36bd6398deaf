"""The USB device controller without a host, driven the way Linux's s3c2410_udc.c does."""

import pytest

from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.usb_device import UsbDevice

FUNC_ADDR, PWR, EP_INT, USB_INT, EP_INT_EN, USB_INT_EN = 0x140, 0x144, 0x148, 0x158, 0x15C, 0x16C
FRAME1, FRAME2, INDEX, MAXP, CSR1, CSR2 = 0x170, 0x174, 0x178, 0x180, 0x184, 0x188
OUT_CSR1, OUT_CSR2, COUNT1, COUNT2, EP0_FIFO, EP1_FIFO = 0x190, 0x194, 0x198, 0x19C, 0x1C0, 0x1C4


class Rig:
    def __init__(self) -> None:
        self.line = Line("INT_USBD")
        self.udc = UsbDevice("udc", interrupt=self.line)

    def read(self, register: int) -> int:
        return self.udc.read(register, 1)

    def write(self, value: int, register: int) -> None:
        self.udc.write(register, 1, value)

    def bank(self, endpoint: int, register: int) -> int:
        self.write(endpoint, INDEX)
        return self.read(register)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_reset_values_are_the_manuals(rig: Rig) -> None:
    assert rig.read(EP_INT_EN) == 0xFF
    assert rig.read(USB_INT_EN) == 0x04
    for endpoint in range(5):
        assert rig.bank(endpoint, MAXP) == 0x01
        assert rig.bank(endpoint, OUT_CSR1) == 0
        assert rig.bank(endpoint, CSR2) == 0x20
    assert [rig.read(register) for register in (FUNC_ADDR, PWR, EP_INT, USB_INT, FRAME1, FRAME2)] == [0] * 6


def test_the_probe_disables_and_the_start_enables_without_any_interrupt(rig: Rig) -> None:
    rig.write(0, USB_INT_EN)
    rig.write(0, EP_INT_EN)
    rig.write(7, USB_INT)
    rig.write(0x1F, EP_INT)
    for endpoint, size in enumerate((8, 64, 64, 64, 64)):
        rig.write(endpoint, INDEX)
        rig.write(size >> 3, MAXP)
    rig.write(0, PWR)
    rig.write(5, USB_INT_EN)
    rig.write(1, EP_INT_EN)
    assert [rig.bank(endpoint, MAXP) for endpoint in range(5)] == [1, 8, 8, 8, 8]
    assert (rig.read(USB_INT_EN), rig.read(EP_INT_EN)) == (5, 1)
    assert rig.line.level == 0


def test_each_endpoint_has_its_own_bank(rig: Rig) -> None:
    for endpoint in range(1, 5):
        rig.write(endpoint, INDEX)
        rig.write(0x20 if endpoint & 1 else 0, CSR2)
        rig.write(0x80, OUT_CSR2)
    assert [rig.bank(endpoint, CSR2) for endpoint in range(1, 5)] == [0x20, 0, 0x20, 0]
    assert rig.bank(0, OUT_CSR2) == 0
    assert rig.bank(2, OUT_CSR2) == 0x80


def test_a_halt_is_set_and_cleared_in_the_endpoints_status(rig: Rig) -> None:
    rig.write(1, INDEX)
    rig.write(rig.read(CSR1) | 0x10, CSR1)
    assert rig.read(CSR1) == 0x10
    value = rig.read(CSR1) & ~0x10
    rig.write(value, CSR1)
    rig.write(value | 0x40, CSR1)
    assert rig.read(CSR1) == 0, "the toggle bit only acts"


def test_a_packet_stays_ready_until_it_is_flushed(rig: Rig) -> None:
    rig.write(1, INDEX)
    for byte in b"hello":
        rig.write(byte, EP1_FIFO)
    rig.write(1, CSR1)
    rig.write(0, CSR1)
    assert rig.read(CSR1) == 1, "the guest can only set it"
    assert rig.udc.in_fifos[1] == b"hello"
    rig.write(8, CSR1)
    assert rig.read(CSR1) == 0
    assert rig.udc.in_fifos[1] == b""


def test_endpoint_0_status_shows_what_waits_for_the_host(rig: Rig) -> None:
    rig.write(0, INDEX)
    rig.write(0x0A, CSR1)
    assert rig.read(CSR1) == 0x0A
    rig.write(0xC0, CSR1)
    assert rig.read(CSR1) == 0x0A, "the service bits read as 0"
    rig.write(0x20, CSR1)
    assert rig.read(CSR1) & 0x20
    rig.write(0, CSR1)
    assert not rig.read(CSR1) & 0x20


def test_fifos_take_no_more_than_they_hold(rig: Rig) -> None:
    for _ in range(200):
        rig.write(0xAA, EP0_FIFO)
        rig.write(0xBB, EP1_FIFO)
    assert len(rig.udc.in_fifos[0]) == 16
    assert len(rig.udc.in_fifos[1]) == 128
    assert rig.read(EP1_FIFO) == 0, "nothing came from a host"
    assert (rig.bank(1, COUNT1), rig.bank(1, COUNT2)) == (0, 0)


def test_an_index_without_endpoint_is_a_guest_error(rig: Rig) -> None:
    rig.write(9, INDEX)
    rig.write(1, MAXP)
    assert rig.udc.log.count == 1
    assert rig.read(MAXP) == 0
    assert rig.bank(4, MAXP) == 1


def test_pending_events_request_only_while_enabled_and_are_cleared_by_ones(rig: Rig) -> None:
    state = rig.udc.save()
    rig.udc.load({**state, "USB_INT_REG": 7})
    assert rig.line.level == 1
    rig.write(0, USB_INT_EN)
    assert rig.line.level == 0
    rig.write(1, USB_INT_EN)
    assert rig.line.level == 1
    rig.write(5, USB_INT)
    assert rig.read(USB_INT) == 2
    assert rig.line.level == 1, "resume goes with the enable of suspend"
    rig.udc.reset()
    assert rig.line.level == 0


def test_dma_registers_hold_what_is_written(rig: Rig) -> None:
    names = [name for name in rig.udc.registers if "_DMA_" in name]
    assert len(names) == 24
    for i, name in enumerate(names):
        rig.write(i & 0xF, rig.udc.registers[name].offset)
    assert [rig.read(rig.udc.registers[name].offset) for name in names] == [i & 0xF for i in range(24)]
