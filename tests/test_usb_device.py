"""The USB device controller without a host, driven the way Linux's s3c2410_udc.c does."""

import pytest

from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.usb_device import UsbDevice
from dbgemu.target.usb.wire import Answer, Packet

FUNC_ADDR, PWR, EP_INT, USB_INT, EP_INT_EN, USB_INT_EN = 0x140, 0x144, 0x148, 0x158, 0x15C, 0x16C
FRAME1, FRAME2, INDEX, MAXP, CSR1, CSR2 = 0x170, 0x174, 0x178, 0x180, 0x184, 0x188
OUT_CSR1, OUT_CSR2, COUNT1, COUNT2, EP0_FIFO, EP1_FIFO = 0x190, 0x194, 0x198, 0x19C, 0x1C0, 0x1C4


class Rig:
    def __init__(self) -> None:
        self.line = Line("INT_USBD")
        self.clock = VirtualClock()
        self.udc = UsbDevice("udc", clock=self.clock, interrupt=self.line)

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


# -- with a host at the other end, a transaction at a time ------------------------------------------

IN_READY, OUT_READY, SENT_OUT_STALL = 0x01, 0x01, 0x40
EP0_OUT, EP0_IN, EP0_SENT_STALL, EP0_END, EP0_SETUP_END, EP0_STALL = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
EP0_SERVED_OUT, EP0_SERVED_END = 0x40, 0x80
EP3_FIFO, EP3_DMA = 0x1CC, 0x240
GET_DESCRIPTOR = bytes((0x80, 6, 0, 1, 0, 0, 18, 0))
SET_ADDRESS = bytes((0, 5, 9, 0, 0, 0, 0, 0))


def out_endpoint(rig: Rig, endpoint: int, *, control: int = 0) -> None:
    rig.write(endpoint, INDEX)
    rig.write(8, MAXP)
    rig.write(0, CSR2)
    rig.write(control, OUT_CSR2)


def test_a_request_for_data_goes_through_its_three_stages(rig: Rig) -> None:
    udc = rig.udc
    assert udc.setup(0, GET_DESCRIPTOR) is Answer.ACK
    assert (rig.read(EP_INT), rig.line.level) == (1, 1)
    assert udc.take(0, 0) is Answer.NAK, "the request was not read yet"
    assert (rig.bank(0, COUNT1), rig.bank(0, CSR1)) == (8, EP0_OUT)
    assert bytes(rig.read(EP0_FIFO) for _ in range(8)) == GET_DESCRIPTOR
    rig.write(1, EP_INT)
    rig.write(EP0_SERVED_OUT, CSR1)
    assert udc.take(0, 0) is Answer.NAK, "no data yet"
    for toggle, (part, last) in enumerate(((b"abcdefgh", 0), (b"ij", EP0_END)), 1):
        for byte in part:
            rig.write(byte, EP0_FIFO)
        rig.write(EP0_IN | last, CSR1)
        assert udc.take(0, 0) == Packet(toggle & 1, part)
        assert rig.read(CSR1) == last
        assert rig.read(EP_INT) == 1
        rig.write(1, EP_INT)
    assert udc.give(0, 0, Packet(1, b"")) is Answer.ACK
    assert (rig.read(CSR1), rig.read(EP_INT)) == (0, 1), "the end of DATA_END is an event"


def test_an_address_counts_from_the_end_of_its_status_stage_on(rig: Rig) -> None:
    rig.udc.setup(0, SET_ADDRESS)
    rig.write(0x80 | 9, FUNC_ADDR)
    rig.write(0, INDEX)
    rig.write(EP0_SERVED_OUT | EP0_END, CSR1)
    assert rig.udc.take(9, 0) is Answer.NONE
    assert rig.udc.take(0, 0) == Packet(1, b"")
    assert rig.read(FUNC_ADDR) == 9
    assert rig.udc.setup(0, GET_DESCRIPTOR) is Answer.NONE
    assert rig.udc.setup(9, GET_DESCRIPTOR) is Answer.ACK


def test_a_request_that_is_cut_short_ends_with_setup_end(rig: Rig) -> None:
    rig.udc.setup(0, GET_DESCRIPTOR)
    rig.write(0, INDEX)
    rig.write(EP0_SERVED_OUT, CSR1)
    rig.write(0x55, EP0_FIFO)
    rig.write(EP0_IN, CSR1)
    rig.udc.setup(0, SET_ADDRESS)
    assert rig.read(CSR1) == EP0_OUT | EP0_SETUP_END
    assert rig.udc.in_fifos[0] == b""
    rig.write(EP0_SERVED_END, CSR1)
    assert rig.read(CSR1) == EP0_OUT
    rig.write(EP0_SERVED_OUT, CSR1)
    assert rig.udc.take(0, 0) == Packet(1, b"")
    assert rig.read(CSR1) == EP0_SETUP_END, "nobody said DATA_END"


@pytest.mark.parametrize(
    "last", [0, EP0_SERVED_OUT | EP0_END], ids=["at once", "before the request is ended"]
)
def test_a_stall_of_endpoint_0_is_sent_once(rig: Rig, last: int) -> None:
    rig.udc.setup(0, GET_DESCRIPTOR)
    rig.write(0, INDEX)
    rig.write(EP0_SERVED_OUT | EP0_STALL, CSR1)
    if last:  # as Linux does
        rig.write(last, CSR1)
    rig.write(1, EP_INT)
    assert rig.udc.take(0, 0) is Answer.STALL
    assert (rig.read(CSR1), rig.read(EP_INT)) == (EP0_SENT_STALL, 1)
    rig.write(0, CSR1)
    assert rig.read(CSR1) == 0
    assert rig.udc.setup(0, GET_DESCRIPTOR) is Answer.ACK


def test_data_of_a_request_arrive_packet_by_packet(rig: Rig) -> None:
    rig.udc.setup(0, bytes((0x21, 0x20, 0, 0, 0, 0, 12, 0)))
    rig.write(0, INDEX)
    rig.write(EP0_SERVED_OUT, CSR1)
    assert rig.udc.give(0, 0, Packet(1, b"12345678")) is Answer.ACK
    assert rig.udc.give(0, 0, Packet(0, b"9abc")) is Answer.NAK
    rig.write(EP0_SERVED_OUT, CSR1)
    assert rig.udc.give(0, 0, Packet(1, b"12345678")) is Answer.ACK, "a repetition"
    assert rig.read(CSR1) == 0, "is dropped"
    assert rig.udc.give(0, 0, Packet(0, b"9abc")) is Answer.ACK
    assert bytes(rig.read(EP0_FIFO) for _ in range(4)) == b"9abc"
    rig.write(EP0_SERVED_OUT | EP0_END, CSR1)
    assert rig.udc.take(0, 0) == Packet(1, b"")
    assert rig.read(CSR1) == 0


def test_a_packet_to_the_host_leaves_when_it_is_ready_with_alternating_toggles(rig: Rig) -> None:
    rig.write(1, INDEX)
    rig.write(8, MAXP)
    assert rig.udc.take(0, 1) is Answer.NAK
    for toggle in (0, 1, 0):
        for byte in b"data":
            rig.write(byte, EP1_FIFO)
        rig.write(IN_READY, CSR1)
        rig.write(0x66, EP1_FIFO)
        assert rig.udc.take(0, 1) == Packet(toggle, b"data"), "a ready packet grows no more"
        assert rig.read(CSR1) == 0
        assert rig.read(EP_INT) == 2
        rig.write(2, EP_INT)
    rig.write(0x40, CSR1)
    rig.write(IN_READY, CSR1)
    assert rig.udc.take(0, 1) == Packet(0, b""), "CLR_DATA_TOGGLE"


def test_a_full_packet_is_ready_by_itself_with_auto_set(rig: Rig) -> None:
    rig.write(1, INDEX)
    rig.write(2, MAXP)
    rig.write(0xA0, CSR2)
    for byte in range(15):
        rig.write(byte, EP1_FIFO)
    assert rig.read(CSR1) == 0
    rig.write(15, EP1_FIFO)
    assert rig.read(CSR1) == IN_READY
    assert rig.udc.take(0, 1) == Packet(0, bytes(range(16)))


def test_a_packet_from_the_host_waits_until_it_is_taken(rig: Rig) -> None:
    out_endpoint(rig, 3)
    assert rig.udc.give(0, 3, Packet(0, b"abc")) is Answer.ACK
    assert rig.udc.give(0, 3, Packet(1, b"def")) is Answer.NAK
    assert (rig.read(OUT_CSR1), rig.read(COUNT1), rig.read(EP_INT)) == (OUT_READY, 3, 8)
    assert rig.udc.peek(EP3_FIFO, 1) == ord("a")
    assert bytes(rig.read(EP3_FIFO) for _ in range(3)) == b"abc"
    assert rig.udc.give(0, 3, Packet(1, b"def")) is Answer.NAK, "OUT_PKT_RDY is still set"
    rig.write(0, OUT_CSR1)
    assert rig.udc.give(0, 3, Packet(0, b"abc")) is Answer.ACK, "a repetition"
    assert rig.read(OUT_CSR1) == 0, "is dropped"
    assert rig.udc.give(0, 3, Packet(1, b"def")) is Answer.ACK
    assert rig.read(COUNT1) == 3
    rig.write(0x10 | OUT_READY, OUT_CSR1)
    assert (rig.read(OUT_CSR1), rig.read(COUNT1)) == (0, 0), "flushed"


def test_reading_a_packet_with_auto_clr_makes_room(rig: Rig) -> None:
    out_endpoint(rig, 3, control=0x80)
    rig.udc.give(0, 3, Packet(0, b"ab"))
    rig.read(EP3_FIFO)
    assert rig.read(OUT_CSR1) == OUT_READY
    rig.read(EP3_FIFO)
    assert rig.read(OUT_CSR1) == 0


def test_a_halted_endpoint_answers_stall_until_that_ends(rig: Rig) -> None:
    out_endpoint(rig, 3)
    rig.write(0x20, OUT_CSR1)
    assert rig.udc.give(0, 3, Packet(0, b"x")) is Answer.STALL
    assert (rig.read(OUT_CSR1), rig.read(EP_INT)) == (0x20 | SENT_OUT_STALL, 8)
    rig.write(0, OUT_CSR1)
    assert rig.udc.give(0, 3, Packet(0, b"x")) is Answer.ACK
    rig.write(1, INDEX)
    rig.write(0x10, CSR1)
    assert rig.udc.take(0, 1) is Answer.STALL
    assert rig.read(CSR1) == 0x30


def test_isochronous_endpoints_never_wait_and_say_what_was_lost(rig: Rig) -> None:
    out_endpoint(rig, 3, control=0x40)
    rig.udc.give(0, 3, Packet(0, b"one"))
    assert rig.udc.give(0, 3, Packet(0, b"two")) is Answer.ACK
    assert rig.read(OUT_CSR1) == OUT_READY | 0x04, "OVER_RUN"
    assert rig.read(EP3_FIFO) == ord("o")
    rig.write(1, INDEX)
    rig.write(0x60, CSR2)
    assert rig.udc.take(0, 1) == Packet(0, b"")
    assert rig.read(CSR1) == 0x04, "UNDER_RUN"
    rig.udc.start_frames()
    rig.write(0x80, PWR)
    rig.write(0x77, EP1_FIFO)
    rig.write(IN_READY, CSR1)
    assert rig.udc.take(0, 1) == Packet(0, b""), "ISO_UPDATE: not in this frame"
    rig.clock.skip(1_000_000)
    assert rig.udc.take(0, 1) == Packet(0, b"w")


def test_packets_from_the_host_go_to_memory_by_dma_and_the_total_count_ends_that(rig: Rig) -> None:
    out_endpoint(rig, 3, control=0xA0)
    port, got = rig.udc.dma[2], bytearray()

    def serve() -> None:
        while port.level:
            got.extend(port.read(1, 64))

    port.listeners.append(serve)
    for offset, value in ((4, 64), (0x0C, 100), (0x10, 0), (0x14, 0), (0, 0x0D)):
        rig.write(value, EP3_DMA + offset)
    rig.write(8, EP_INT)
    assert rig.udc.give(0, 3, Packet(0, bytes(64))) is Answer.ACK
    assert (len(got), rig.read(OUT_CSR1), rig.read(EP_INT)) == (64, 0, 0), "AUTO_CLR, no interrupt"
    assert rig.read(EP3_DMA + 0x0C) == 36
    assert rig.udc.give(0, 3, Packet(1, bytes(64))) is Answer.ACK
    assert (len(got), rig.read(COUNT1), port.level) == (100, 28, 0)
    assert rig.read(EP3_DMA) == 0x08, "the run and mode bits are cleared at the end"
    assert rig.udc.give(0, 3, Packet(0, b"")) is Answer.NAK


def test_memory_goes_into_packets_to_the_host_by_dma(rig: Rig) -> None:
    rig.write(1, INDEX)
    rig.write(2, MAXP)
    rig.write(0xB0, CSR2)
    port, data = rig.udc.dma[0], bytearray(range(24))

    def serve() -> None:
        while port.level and data:
            del data[: port.write(1, bytes(data))]

    port.listeners.append(serve)
    for offset, value in ((0x0C, 24), (0, 0x03)):
        rig.write(value, 0x200 + offset)
    assert rig.read(CSR1) == IN_READY
    assert rig.udc.take(0, 1) == Packet(0, bytes(range(16)))
    assert rig.udc.take(0, 1) is Answer.NAK, "a packet that is not full is for software to send"
    assert rig.read(EP_INT) == 0
    rig.write(IN_READY, CSR1)
    assert rig.udc.take(0, 1) == Packet(1, bytes(range(16, 24)))


def test_a_bus_reset_clears_what_the_host_set_up(rig: Rig) -> None:
    rig.write(9, FUNC_ADDR)
    out_endpoint(rig, 3)
    rig.udc.give(0, 3, Packet(0, b"x"))
    rig.udc.signal_reset(1)
    assert (rig.read(PWR), rig.read(USB_INT), rig.line.level) == (8, 4, 1)
    assert (rig.read(FUNC_ADDR), rig.bank(3, OUT_CSR1), rig.bank(3, MAXP)) == (0, 0, 1)
    rig.udc.signal_reset(0)
    assert rig.read(PWR) == 0


def test_an_idle_bus_suspends_after_3_ms_and_again_every_3_ms(rig: Rig) -> None:
    rig.write(1, PWR)
    rig.write(5, USB_INT_EN)
    rig.udc.start_frames()
    rig.clock.skip(7_500_000)
    assert (rig.read(FRAME1), rig.read(FRAME2)) == (7, 0)
    rig.udc.stop_frames()
    for _ in range(2):
        rig.clock.skip(2_999_999)
        rig.clock.run_due()
        assert rig.read(USB_INT) == 0
        rig.clock.skip(1)
        rig.clock.run_due()
        assert (rig.read(USB_INT), rig.read(PWR)) == (1, 3)
        rig.write(1, USB_INT)
    assert rig.read(FRAME1) == 7
    rig.udc.signal_resume()
    assert (rig.read(USB_INT), rig.read(PWR), rig.line.level) == (2, 1, 1)


def test_a_suspended_device_can_ask_the_host_to_go_on(rig: Rig) -> None:
    asked = []
    rig.udc.on_remote_wakeup = lambda: asked.append(1)
    rig.write(5, PWR)
    assert not asked, "not suspended"
    rig.write(1, PWR)
    rig.udc.stop_frames()
    rig.clock.skip(3_000_000)
    rig.clock.run_due()
    rig.write(5, PWR)
    assert (asked, rig.read(PWR)) == ([1], 7)
    rig.write(1, PWR)
    assert rig.read(PWR) == 1
