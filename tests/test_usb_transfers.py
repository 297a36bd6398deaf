"""The OHCI controller's lists: control, bulk, interrupt and isochronous transfers, and their errors."""

from __future__ import annotations

import struct
from random import Random

import pytest
from usb_driver import (
    AREA,
    BASE,
    BLE,
    BLF,
    BULK_HEAD,
    CLE,
    COMMAND,
    CONTROL,
    CONTROL_HEAD,
    DONE_HEAD,
    ENABLE,
    HCCA,
    IE,
    IN,
    MIE,
    MS,
    NUMBER,
    OPERATIONAL,
    OUT,
    PLE,
    PORT1,
    PORT2,
    RHSC,
    SETUP,
    SF,
    SO,
    STATUS,
    UE,
    UNTOUCHED,
    WDH,
    Driver,
)

from dbgemu.target.usb import descriptors
from dbgemu.target.usb.device import NAK, STALL, Handshake, UsbDevice

BULK_IN, BULK_OUT, INTERRUPT_IN, ISO_IN, ISO_OUT = 0x81, 0x02, 0x83, 0x84, 0x05


class Echo(UsbDevice):
    """Gives back what it was sent; ``ready`` says how much of what, an answer for each visit overrides it."""

    kind = "echo"
    STATE = (*UsbDevice.STATE, "held", "isochronous")

    def __init__(self) -> None:
        super().__init__(
            "echo",
            descriptors.Descriptors(
                vendor=1,
                product=2,
                manufacturer_name="m",
                product_name="echo",
                serial_number="s",
                interfaces=(
                    descriptors.Interface(
                        0,
                        (255, 0, 0),
                        (
                            descriptors.Endpoint(BULK_IN, "bulk", 64),
                            descriptors.Endpoint(BULK_OUT, "bulk", 64),
                            descriptors.Endpoint(INTERRUPT_IN, "interrupt", 8, 1),
                            descriptors.Endpoint(ISO_IN, "isochronous", 100, 1),
                            descriptors.Endpoint(ISO_OUT, "isochronous", 100, 1),
                        ),
                    ),
                ),
                packet=8,
            ),
        )

    def _clear(self) -> None:
        super()._clear()
        self.held = b""
        self.isochronous: list[bytes] = []
        self.answers: list[Handshake] = []
        self.calls = 0

    def give_data(self, endpoint: int, length: int) -> bytes | Handshake:
        self.calls += 1
        if self.answers:
            return self.answers.pop(0)
        if endpoint == ISO_IN:
            return self.isochronous.pop(0) if self.isochronous else b""
        if not self.held:
            return NAK
        part, self.held = self.held[:length], self.held[length:]
        return part

    def take_data(self, endpoint: int, data: bytes) -> int | Handshake:
        self.calls += 1
        if self.answers:
            return self.answers.pop(0)
        if endpoint == ISO_OUT:
            self.isochronous.append(data)
        else:
            self.held += data
        return len(data)


class Rig(Driver):
    def __init__(self) -> None:
        super().__init__()
        self.device = Echo()
        self.plug(self.device)
        self.set_up(self.device)

    def reading(self) -> tuple[object, ...]:
        return self.device.held, self.device.toggles


@pytest.fixture
def rig() -> Rig:
    return Rig()


def get_descriptor(kind: int, index: int, length: int) -> bytes:
    return struct.pack("<BBHHH", 0x80, 6, kind << 8 | index, 0, length)


def test_the_host_reads_descriptors_and_sets_address_and_configuration() -> None:
    driver = Driver()
    device = driver.plug(Echo())
    assert driver.control(device, get_descriptor(1, 0, 18)) == (0, device.descriptors.device())
    assert driver.control(device, get_descriptor(1, 0, 8)) == (0, device.descriptors.device()[:8])
    driver.set_up(device, 9)
    configuration = device.descriptors.configuration()
    assert driver.control(device, get_descriptor(2, 0, 255)) == (0, configuration)
    assert int.from_bytes(configuration[2:4], "little") == len(configuration) == 9 + 9 + 5 * 7
    assert driver.control(device, get_descriptor(3, 2, 255)) == (0, b"\x0a\x03e\0c\0h\0o\0")
    assert driver.control(device, struct.pack("<BBHHH", 0x80, 8, 0, 0, 1)) == (0, b"\1")


def test_a_request_that_a_device_does_not_know_stalls_and_the_next_one_works(rig: Rig) -> None:
    assert rig.control(rig.device, struct.pack("<BBHHH", 0xC0, 99, 0, 0, 4)) == (4, b"")
    assert rig.control(rig.device, get_descriptor(3, 7, 255)) == (4, b"")
    assert rig.control(rig.device, get_descriptor(1, 0, 18))[0] == 0


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128, 4096, 8000])
def test_bulk_data_go_out_and_come_back_whole(rig: Rig, length: int) -> None:
    data = Random(length).randbytes(length)
    out, into = rig.endpoint(rig.device, BULK_OUT), rig.endpoint(rig.device, BULK_IN)
    # across the end of a page, the second of which is elsewhere
    transfer = out.queue(OUT, data)
    rig.start(BLE, BULK_HEAD, out)
    rig.wait(20 * MS)
    assert rig.finished() == [transfer.address]
    assert (transfer.code, transfer.current, rig.device.held == data) == (0, 0, True)
    assert out.toggle == -(-length // 64) % 2
    back = into.queue(IN, length)
    rig.start(BLE, BULK_HEAD, into)
    rig.wait(20 * MS)
    assert rig.finished() == [back.address]
    assert (back.code, back.data(length)) == (0, data)


def test_a_buffer_may_lie_in_two_pages_that_are_not_neighbours(rig: Rig) -> None:
    first, second = BASE + 0x40FF0, BASE + 0x52000
    rig.device.held = bytes(range(64))
    endpoint = rig.endpoint(rig.device, BULK_IN)
    transfer = endpoint.queue(IN, 64, buffer=first)
    rig.poke_word(transfer.address + 12, second + 47)
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(2 * MS)
    assert transfer.code == 0
    assert rig.peek(first, 16) + rig.peek(second, 48) == bytes(range(64))


def test_a_frame_has_room_for_nineteen_bulk_packets_of_64_bytes(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_OUT)
    endpoint.queue(OUT, bytes(8000))
    before = rig.clock.now
    rig.start(BLE, BULK_HEAD, endpoint)
    while not rig.finished():
        rig.wait(MS)
    frames = (rig.clock.now - before) / MS
    assert 8000 / (19 * 64) <= frames <= 9


def test_a_short_packet_ends_a_transfer_well_where_rounding_is_allowed(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_IN)
    rig.device.held = b"abc"
    transfer = endpoint.queue(IN, 512)
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(2 * MS)
    assert (transfer.code, transfer.current - transfer.buffer, endpoint.halted) == (0, 3, False)


def test_a_short_packet_is_an_underrun_otherwise_and_halts_the_endpoint(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_IN)
    rig.device.held = bytes(70)
    transfer = endpoint.queue(IN, 512, rounding=False)
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(2 * MS)
    assert (transfer.code, transfer.current - transfer.buffer, endpoint.halted) == (9, 70, True)


def test_more_than_the_buffer_holds_is_an_overrun(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_IN)
    rig.device.held = bytes(64)
    transfer = endpoint.queue(IN, 10)
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(2 * MS)
    assert (transfer.code, endpoint.halted) == (8, True)


def test_a_stall_halts_the_endpoint_until_the_driver_clears_it(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_IN)
    rig.device.answers = [STALL]
    rig.device.held = b"later"
    stalled, following = endpoint.queue(IN, 64), endpoint.queue(IN, 64)
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(5 * MS)
    assert rig.finished() == [stalled.address]
    assert (stalled.code, following.code, endpoint.halted) == (4, UNTOUCHED, True)
    endpoint.rearm()
    rig.write(COMMAND, BLF)
    rig.wait(2 * MS)
    assert (following.code, following.data(5)) == (0, b"later")


def test_a_nak_leaves_the_transfer_as_it_was_until_there_are_data(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_IN)
    transfer = endpoint.queue(IN, 64)
    before = rig.peek(transfer.address, 16)
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(300 * MS)
    assert rig.peek(transfer.address, 16) == before
    assert rig.wait(800 * MS) <= 101, "only NAKs: each eighth frame is enough"
    rig.device.held = b"now"
    rig.device.notify()
    rig.wait(2 * MS)
    assert rig.finished() == [transfer.address]


def test_nobody_at_an_address_is_tried_three_times(rig: Rig) -> None:
    endpoint = rig.control_endpoint(rig.device, address=77)
    transfer = endpoint.queue(SETUP, get_descriptor(1, 0, 8), toggle=0)
    rig.start(CLE, CONTROL_HEAD, endpoint)
    rig.wait(5 * MS)
    assert rig.finished() == [transfer.address]
    assert (transfer.code, transfer.errors, endpoint.halted) == (5, 3, True)


def test_a_device_of_the_other_speed_does_not_answer(rig: Rig) -> None:
    endpoint = rig.control_endpoint(rig.device)
    rig.poke_word(endpoint.address, rig.word(endpoint.address) | 1 << 13)
    transfer = endpoint.queue(SETUP, get_descriptor(1, 0, 8), toggle=0)
    rig.start(CLE, CONTROL_HEAD, endpoint)
    rig.wait(5 * MS)
    assert transfer.code == 5


def test_a_packet_with_the_wrong_toggle_is_a_repetition(rig: Rig) -> None:
    out = rig.endpoint(rig.device, BULK_OUT)
    wrong = out.queue(OUT, b"again", toggle=1)
    rig.start(BLE, BULK_HEAD, out)
    rig.wait(2 * MS)
    assert (wrong.code, rig.device.held) == (0, b""), "acknowledged, and not taken"
    rig.device.held = b"x" * 100
    into = rig.endpoint(rig.device, BULK_IN)
    transfer = into.queue(IN, 64, toggle=1)
    rig.start(BLE, BULK_HEAD, into)
    rig.wait(2 * MS)
    assert (transfer.code, transfer.data(36)) == (0, b"x" * 36), "the second packet is the first that fits"


def test_the_done_queue_waits_for_the_shortest_delay(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_OUT)
    first = endpoint.queue(OUT, b"a", delay=7)
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(50 * MS)
    assert first.code == 0
    assert rig.read(DONE_HEAD) == first.address
    assert not rig.read(STATUS) & WDH
    second = endpoint.queue(OUT, b"b", delay=5)
    rig.write(COMMAND, BLF)
    rig.wait(3 * MS)
    assert second.code == 0
    assert not rig.read(STATUS) & WDH
    rig.wait(5 * MS)
    assert rig.finished() == [first.address, second.address]
    assert rig.read(DONE_HEAD) == 0


def test_the_done_queue_is_not_overwritten_before_the_driver_took_it(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_OUT)
    first = endpoint.queue(OUT, b"a")
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(2 * MS)
    second = endpoint.queue(OUT, b"b")
    rig.write(COMMAND, BLF)
    rig.wait(5 * MS)
    assert rig.word(AREA + 0x84) == first.address
    assert rig.finished() == [first.address]
    assert rig.line.level == 0
    rig.wait(2 * MS)
    assert rig.line.level == 1
    assert rig.finished() == [second.address]


def test_lists_without_transfers_only_let_the_frame_number_be_told_now_and_then(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_OUT)
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(3 * MS)
    assert not rig.read(COMMAND) & BLF
    told = rig.word(AREA + 0x80)
    assert rig.wait(275 * MS) <= 3
    assert rig.word(AREA + 0x80) != told, "or Linux's driver takes the controller for dead"
    rig.write(CONTROL, OPERATIONAL)
    assert rig.clock.next_deadline() is None, "with no list there is nothing to do"


def test_an_endpoint_that_is_to_be_skipped_is(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_OUT)
    rig.poke_word(endpoint.address, rig.word(endpoint.address) | 1 << 14)
    transfer = endpoint.queue(OUT, b"a")
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(3 * MS)
    assert transfer.code == UNTOUCHED


def test_an_interrupt_endpoint_gives_what_comes_within_its_interval(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, INTERRUPT_IN)
    transfer = endpoint.queue(IN, 8)
    rig.schedule(endpoint, range(3, 32, 8))
    rig.wait(100 * MS)
    assert transfer.code == UNTOUCHED
    rig.device.held = b"key"
    rig.device.notify()
    rig.wait(9 * MS)
    assert rig.finished() == [transfer.address]
    assert (transfer.code, transfer.data(3)) == (0, b"key")


def test_a_new_interrupt_transfer_is_found_without_a_register_access(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, INTERRUPT_IN)
    rig.schedule(endpoint)
    rig.wait(200 * MS)
    rig.device.held = b"waiting"
    transfer = endpoint.queue(IN, 8)
    rig.wait(9 * MS)
    assert transfer.code == 0


@pytest.mark.parametrize("slot", [0, 7, 31])
def test_an_endpoint_in_one_of_32_frames_is_found_after_a_long_rest(rig: Rig, slot: int) -> None:
    endpoint = rig.endpoint(rig.device, INTERRUPT_IN)
    first = endpoint.queue(IN, 8)
    rig.schedule(endpoint, range(slot, slot + 1))
    rig.wait(500 * MS)
    assert rig.wait(800 * MS) <= 101
    rig.device.held = b"key"
    rig.device.notify()
    rig.wait(34 * MS)
    assert rig.finished() == [first.address]
    rig.wait(500 * MS)
    rig.device.held = b"more"
    second = endpoint.queue(IN, 8)
    rig.wait(42 * MS)
    assert (second.code, second.data(4)) == (0, b"more")


def test_isochronous_packets_go_in_their_frames(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, ISO_OUT, isochronous=True)
    rig.schedule(endpoint, enable=PLE | IE)
    start = rig.read(NUMBER) + 5
    transfer = endpoint.queue_isochronous(start, [10, 20, 30], bytes(range(60)))
    rig.wait((start - rig.read(NUMBER)) * MS + MS // 2)
    assert rig.device.isochronous == []
    rig.wait(MS)
    assert rig.device.isochronous == [bytes(range(10))]
    rig.wait(3 * MS)
    assert rig.device.isochronous == [bytes(range(10)), bytes(range(10, 30)), bytes(range(30, 60))]
    assert [transfer.packet(n)[0] for n in range(3)] == [0, 0, 0]
    assert rig.finished() == [transfer.address]


def test_isochronous_input_tells_the_size_of_each_packet(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, ISO_IN, isochronous=True)
    rig.device.isochronous = [b"12345", b"123", b"12345678"]
    rig.schedule(endpoint, enable=PLE | IE)
    transfer = endpoint.queue_isochronous(rig.read(NUMBER) + 2, [5, 5, 5])
    rig.wait(8 * MS)
    assert [transfer.packet(n) for n in range(3)] == [(0, 5), (9, 3), (8, 5)]
    assert transfer.data(15) == b"12345123\0\x0012345"


def test_isochronous_transfers_that_are_too_late_are_given_back_unserved(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, ISO_OUT, isochronous=True)
    rig.wait(10 * MS)
    late = endpoint.queue_isochronous(rig.read(NUMBER) - 5, [4, 4])
    rig.schedule(endpoint, enable=PLE | IE)
    rig.wait(3 * MS)
    assert late.code == 8
    assert rig.finished() == [late.address]
    assert rig.device.isochronous == []


def test_periodic_lists_that_do_not_fit_are_an_overrun(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, INTERRUPT_IN)
    endpoint.queue(IN, 8)
    rig.poke_word(endpoint.address + 12, endpoint.address)  # a ring
    rig.poke_word(endpoint.address, rig.word(endpoint.address) & ~0x7F | 99)  # nobody is there
    for _ in range(200):
        endpoint.queue(IN, 8)
    rig.schedule(endpoint)
    before = rig.clock.now
    rig.wait(20 * MS)
    assert rig.clock.now == before + 20 * MS
    assert endpoint.halted
    assert not rig.read(STATUS) & UE
    # one that is served each time
    again = rig.endpoint(rig.device, INTERRUPT_IN)
    rig.poke_word(again.address + 12, again.address)
    for _ in range(200):
        again.queue(IN, 8)
    rig.device.held = bytes(1600)
    rig.schedule(again)
    rig.wait(9 * MS)
    assert rig.read(STATUS) & SO


def test_pointers_that_lead_nowhere_are_an_unrecoverable_error_until_a_reset(rig: Rig) -> None:
    for address in (0x10, 0x49000000, 0xFFFFFFF0):
        rig.write(BULK_HEAD, address)
        rig.write(CONTROL, OPERATIONAL | BLE)
        rig.write(COMMAND, BLF)
        rig.wait(3 * MS)
        assert rig.read(STATUS) & UE
        assert rig.line.level == 1
        rig.write(COMMAND, 1)
        assert rig.line.level == 0
        rig.wait(MS)
        rig.write(HCCA, AREA)
        rig.write(ENABLE, MIE | UE)
    assert rig.read(PORT1) & 3 == 3, "the root hub survives a software reset"


def test_pulling_a_device_out_ends_its_transfers_with_errors(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, BULK_IN)
    transfer = endpoint.queue(IN, 64)
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(20 * MS)
    rig.write(STATUS, RHSC)
    rig.write(PORT1, 0x1F0000)
    rig.write(ENABLE, RHSC)
    rig.ohci.unplug(1)
    assert rig.line.level == 1
    assert rig.read(PORT1) == 0x3_0100
    rig.wait(9 * MS)
    assert transfer.code == 5


def test_a_port_is_reset_enabled_suspended_and_resumed(rig: Rig) -> None:
    rig.ohci.plug(Echo())
    assert rig.read(PORT2) == 0x1_0101
    rig.write(PORT2, 0x1_0000)
    rig.write(PORT2, 0x10)
    assert rig.read(PORT2) & 0x12 == 0x10
    rig.wait(11 * MS)
    assert rig.read(PORT2) == 0x10_0103
    rig.write(PORT2, 0x10_0000 | 4)
    assert rig.read(PORT2) == 0x107
    rig.write(PORT2, 8)
    rig.wait(21 * MS)
    assert rig.read(PORT2) == 0x4_0103
    rig.write(PORT2, 1)
    assert rig.read(PORT2) & 2 == 0


def test_there_is_room_for_two_devices(rig: Rig) -> None:
    assert rig.ohci.plug(Echo()) == 2
    with pytest.raises(ValueError, match="both USB ports are taken"):
        rig.ohci.plug(Echo())


def test_a_connection_wakes_a_suspended_bus(rig: Rig) -> None:
    rig.write(0x50, 1 << 15)
    rig.write(CONTROL, 0xC0)
    rig.ohci.plug(Echo())
    assert rig.read(CONTROL) & 0xC0 == 0x40
    assert rig.read(STATUS) & 8


def test_saved_and_loaded_in_the_middle_of_a_transfer_it_goes_on(rig: Rig) -> None:
    data = Random(1).randbytes(8000)
    endpoint = rig.endpoint(rig.device, BULK_OUT)
    endpoint.queue(OUT, data)
    rig.start(BLE, BULK_HEAD, endpoint)
    rig.wait(3 * MS)
    assert 0 < len(rig.device.held) < 8000
    other = Rig()
    other.clock.load(rig.clock.save())
    other.poke(BASE, rig.peek(BASE, 1 << 20))
    for _ in range(2):
        other.ohci.load(rig.ohci.save())
    other.wait(10 * MS)
    rig.wait(10 * MS)
    assert other.device.held == rig.device.held == data
    assert other.ohci.save() == rig.ohci.save()


def test_a_snapshot_with_another_device_finds_it_unplugged(rig: Rig) -> None:
    state = rig.ohci.save()
    empty = Driver()
    for _ in range(2):
        empty.ohci.load(state)
    assert empty.read(PORT1) & 0x1_0003 == 0x1_0000
    assert empty.ohci.save()["plugged"] == [None, None]


@pytest.mark.parametrize("seed", range(40))
def test_random_descriptors_and_registers_are_survived(seed: int) -> None:
    random = Random(seed)
    rig = Rig()
    pointers = [BASE + 0x2000 + 32 * n for n in range(24)]
    for address in pointers:
        words = [
            random.choice(
                (random.getrandbits(32), rig.device.address | random.getrandbits(12) << 7 | 64 << 16)
            ),
            *(random.choice((random.choice(pointers), random.getrandbits(32))) for _ in range(7)),
        ]
        if random.random() < 0.5:
            words[2] &= ~1
        rig.poke(address, struct.pack("<8I", *words))
    for frame in range(32):
        rig.poke_word(AREA + 4 * frame, random.choice(pointers))
    for _ in range(60):
        match random.randrange(5):
            case 0:
                rig.write(CONTROL, OPERATIONAL | random.getrandbits(6))
            case 1:
                rig.write(random.choice((CONTROL_HEAD, BULK_HEAD)), random.choice(pointers))
            case 2:
                rig.write(COMMAND, random.choice((2, 4, 6)))
            case 3:
                rig.write(STATUS, 0x7F)
            case 4:
                rig.write(ENABLE, random.getrandbits(32))
        assert rig.wait(3 * MS) < 50
        rig.device.held += b"z" * random.randrange(100)


def test_start_of_frame_comes_each_frame_while_lists_are_quiet(rig: Rig) -> None:
    endpoint = rig.endpoint(rig.device, INTERRUPT_IN)
    endpoint.queue(IN, 8)
    rig.schedule(endpoint)
    rig.wait(100 * MS)
    rig.write(ENABLE, SF)
    for _ in range(5):
        rig.write(STATUS, SF)
        rig.wait(MS)
        assert rig.line.level == 1
        assert rig.word(AREA + 0x80) == rig.read(NUMBER)
