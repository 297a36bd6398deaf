"""The host at the other end of the USB device socket's cable, with a small firmware in the controller."""

from itertools import pairwise
from random import Random

import pytest

from dbgemu.target.mini2440 import Mini2440
from dbgemu.target.usb.host_model import Outcome, TransferError
from dbgemu.target.usb.wire import Answer, Packet
from tests.usb_firmware import CONFIGURATION, DEVICE, Bench


@pytest.fixture
def bench() -> Bench:
    """A device that the host has set up."""
    bench = Bench()
    bench.host.plug()
    bench.run(400)
    assert bench.host.ready
    return bench


def test_a_cable_or_a_pull_up_alone_is_no_connection() -> None:
    bench = Bench()
    bench.run(500)
    assert bench.host.state == "nothing connected"
    bench.pull_up.set(0)
    bench.host.plug()
    bench.run(500)
    assert bench.host.state == "nothing connected"
    bench.pull_up.set(1)
    bench.run(99)
    assert bench.host.state == "connecting"
    bench.run(2)
    assert (bench.host.state, bench.udc.PWR_REG & 8) == ("bus reset", 8)
    bench.run(400)
    assert bench.host.ready
    bench.pull_up.set(0)
    assert bench.host.state == "nothing connected"


def test_the_device_is_enumerated_as_a_pc_does_it(bench: Bench) -> None:
    host, firmware = bench.host, bench.firmware
    assert firmware is not None
    assert host.view.device == DEVICE
    assert host.view.configurations == [CONFIGURATION]
    assert host.view.strings == {"product": "Echo"}
    assert (host.address, bench.udc.address, host.configuration) == (5, 5, 1)
    asked = [(packet[1], packet[3], packet[6]) for packet in firmware.requests]
    assert asked == [
        (6, 1, 8),
        (5, 0, 0),
        (6, 1, 18),
        (6, 2, 9),
        (6, 2, 46),
        (6, 3, 255),
        (6, 3, 255),
        (9, 0, 0),
    ]
    assert [item.kind for item in host.endpoints] == ["bulk", "bulk", "interrupt", "isochronous"]


def test_bulk_data_come_back_from_the_echo(bench: Bench) -> None:
    out = bench.host.bulk_out(3, b"hello")
    back = bench.host.bulk_in(1, 64)
    assert (out.done, back.done) == (False, False), "nothing happens before time passes"
    bench.run(2)
    assert (out.outcome, back.result()) == (Outcome.DONE, b"hello")
    big = bytes(Random(1).randbytes(1000))
    back = bench.host.bulk_in(1, 1000)
    bench.host.bulk_out(3, big)
    bench.run(10)
    assert back.result() == big


def test_a_full_speed_bus_moves_no_more_than_it_can(bench: Bench) -> None:
    start = bench.clock.now
    times: list[int] = []
    bench.host.bulk_out(3, bytes(19 * 64)).on_done = lambda job: times.append(bench.clock.now - start)
    bench.run(20)
    assert 19 * 64 * 667 < times[0] < 5_000_000


def test_who_gets_nak_waits_without_a_timer_until_the_device_changes_its_mind(bench: Bench) -> None:
    firmware = bench.firmware
    assert firmware is not None
    firmware.echo = False
    first, second = bench.host.bulk_out(3, b"one"), bench.host.bulk_out(3, b"two")
    bench.run(5)
    assert (first.done, second.done) == (True, False)
    assert bench.clock.next_deadline() is None, "an idle guest sleeps on"
    assert firmware.take(3) == b"one"
    bench.run(1)
    assert second.done
    assert firmware.take(3) == b"two"


def test_any_setup_packet_goes_out_and_its_data_too(bench: Bench) -> None:
    firmware = bench.firmware
    assert firmware is not None
    job = bench.host.control(0x40, 0x99, 0x1234, 0x5678, b"some more data")
    bench.run(30)
    assert job.result() == b""
    assert firmware.requests[-1] == bytes.fromhex("4099341278560e00") + b"some more data"
    raw = bench.host.request(bytes.fromhex("8006000100000400"))
    bench.run(10)
    assert raw.result() == DEVICE[:4]
    refused = bench.host.control(0xC0, 0x77, 0, 0, 8)
    after = bench.host.control(0x80, 6, 0x0100, 0, 18)
    bench.run(30)
    assert refused.outcome is Outcome.STALLED
    with pytest.raises(TransferError, match="the control transfer of endpoint 0 is stalled"):
        refused.result()
    assert after.result() == DEVICE


def test_an_interrupt_endpoint_is_asked_at_its_interval(bench: Bench) -> None:
    firmware = bench.firmware
    assert firmware is not None
    times: list[int] = []
    for _ in range(3):
        bench.host.interrupt_in(2, 8).on_done = lambda job: times.append(bench.clock.now)
    for _ in range(60):
        bench.run(1)
        firmware.write(0x178, 2)
        if not firmware.read(0x184) & 1:
            firmware.send(2, b"tick")
    assert len(times) == 3
    assert all(later - sooner >= 10_000_000 for sooner, later in pairwise(times))


def test_isochronous_data_go_out_a_packet_a_frame(bench: Bench) -> None:
    firmware = bench.firmware
    assert firmware is not None
    job = bench.host.isochronous_out(4, bytes(range(80)))
    got = b""
    for _ in range(5):
        bench.run(1)
        got += firmware.take(4)
    assert (job.outcome, job.packets, got) == (Outcome.DONE, [32, 32, 16], bytes(range(80)))


def test_a_device_that_does_not_answer_is_not_recognized() -> None:
    bench = Bench()
    bench.firmware = None
    bench.host.plug()
    bench.run(16_000)
    assert bench.host.state == "device not recognized"
    assert bench.host.failures == 3


def test_pulling_the_cable_ends_transfers_and_the_device_sees_an_idle_bus(bench: Bench) -> None:
    job = bench.host.bulk_in(1, 64)
    bench.run(1)
    bench.host.unplug()
    assert job.outcome is Outcome.GONE
    bench.firmware = None
    bench.run(4)
    assert bench.udc.USB_INT_REG & 1
    with pytest.raises(TransferError, match="there is nobody to talk to: nothing connected"):
        bench.host.control(0x80, 0, 0, 0, 2)


def test_suspend_and_resume_reach_the_device_and_traffic_goes_on(bench: Bench) -> None:
    events: list[int] = []
    bench.host.suspend()
    bench.firmware, firmware = None, bench.firmware
    bench.run(4)
    events.append(bench.udc.USB_INT_REG)
    assert firmware is not None
    firmware.write(0x144, 5)  # MCU_RESUME
    events.append(bench.udc.USB_INT_REG)
    firmware.write(0x144, 1)
    bench.firmware = firmware
    assert events == [1, 3]
    bench.run(30)
    assert bench.host.ready
    back = bench.host.bulk_in(1, 64)
    bench.host.bulk_out(3, b"again")
    bench.run(2)
    assert back.result() == b"again"


@pytest.mark.parametrize("moment", [50, 120, 155, 165, 175, 190, 400])
def test_a_loaded_state_goes_on_as_the_saved_one(moment: int) -> None:
    first, second = Bench(), Bench()
    first.host.plug()
    first.run(moment)
    if first.host.ready:
        first.host.bulk_in(1, 500)
        first.host.bulk_out(3, bytes(500))
        first.run(1)
    second.clock.load(first.clock.save())
    for name in ("udc", "host"):
        getattr(second, name).load(getattr(first, name).save())
    assert second.host.save() == first.host.save()
    assert first.firmware is not None and second.firmware is not None
    for name in ("requests", "to_send", "left"):
        setattr(second.firmware, name, getattr(first.firmware, name))
    for bench in (first, second):
        bench.run(400)
    assert second.host.ready
    assert second.host.save() == first.host.save()
    assert second.udc.save() == first.udc.save()


def test_wrong_wishes_are_one_sentence(bench: Bench) -> None:
    there = (
        "endpoint 1 in .bulk., endpoint 3 out .bulk., endpoint 2 in .interrupt., endpoint 4 out .isochronous."
    )
    with pytest.raises(TransferError, match=f"^the device has no bulk endpoint 2 in: it has {there}$"):
        bench.host.bulk_in(2, 8)
    with pytest.raises(TransferError, match="takes a number of bytes"):
        bench.host.control(0x80, 6, 0x100, 0, b"abc")
    with pytest.raises(TransferError, match="too large"):
        bench.host.control(0x40, 6, 0x10000)
    with pytest.raises(TransferError, match="has 8 bytes, not 3"):
        bench.host.request(b"abc")


@pytest.mark.parametrize("seed", range(20))
def test_random_registers_under_a_host_break_nothing_and_states_save_and_load(seed: int) -> None:
    random = Random(seed)
    bench = Bench()
    offsets = [register.offset for register in bench.udc.registers.values()]
    bench.host.plug()
    for _ in range(300):
        match random.randrange(6):
            case 0:
                bench.run(random.randrange(1, 80))
            case 1:
                bench.firmware = random.choice((None, bench.firmware))
            case 2 if bench.host.ready:
                random.choice(
                    (
                        lambda: bench.host.bulk_in(1, 100),
                        lambda: bench.host.bulk_out(3, bytes(100)),
                        lambda: bench.host.control(0x80, 6, 0x100, 0, 18),
                        bench.host.suspend,
                        bench.host.reset_bus,
                    )
                )()
            case 3:
                random.choice((bench.host.resume, bench.host.plug, bench.host.unplug))()
            case _:
                bench.udc.write(random.choice(offsets), 1, random.randrange(256))
                bench.udc.read(random.choice(offsets), 1)
        copy = Bench()
        copy.clock.load(bench.clock.save())
        copy.udc.load(bench.udc.save())
        copy.host.load(bench.host.save())
        assert copy.host.save() == bench.host.save()
        list(bench.host.facts())
    bench.host.unplug()
    bench.udc.reset()
    assert bench.clock.next_deadline() is None


def test_the_boards_dma_controller_takes_packets_from_endpoint_3() -> None:
    board = Mini2440()
    udc, write = board.usb_device, board.bus.write
    for offset, value in ((0x178, 3), (0x180, 8), (0x188, 0), (0x194, 0xA0), (0x24C, 128), (0x240, 0x0D)):
        write(0x52000000 + offset, 1, value)
    # channel 2: byte by byte from the FIFO to memory, hardware request USB EP3, 128 times, then off
    source, target, count = 0x520001CC, 0x30001000, 128
    for offset, value in ((0, source), (4, 3), (8, target), (0xC, 0), (0x10, 4 << 24 | 3 << 22 | count)):
        write(0x4B000080 + offset, 4, value)
    write(0x4B0000A0, 4, 2)
    data = bytes(range(128))
    for toggle in (0, 1):
        assert udc.give(0, 3, Packet(toggle, data[64 * toggle :][:64])) is Answer.ACK
    assert board.bus.peek(target, count) == data
    assert board.bus.read(0x4B0000A0, 4) & 2 == 0, "the channel is off at the end"


def test_a_board_starts_without_cable_and_keeps_the_cable_over_a_system_reset() -> None:
    board = Mini2440()
    timers = [board.usb_cable.save()[name] for name in ("_port_timer", "_bus_timer")]
    assert (board.usb_cable.plugged, timers) == (False, [None, None]), "it costs a boot nothing"
    board.usb_cable.plug()
    board.clock.skip(120_000_000)
    board.clock.run_due()
    assert board.usb_cable.state == "bus reset"
    with pytest.raises(TransferError, match="nobody to talk to: bus reset"):
        board.usb_cable.control(0x80, 0, 0, 0, 2)
    board.reset()
    assert (board.usb_cable.plugged, board.usb_cable.state) == (True, "connecting")


def test_gpc5_is_the_pull_up() -> None:
    board = Mini2440()
    board.usb_cable.plug()
    board.bus.write(0x56000020, 4, 1 << 10)  # GPCCON: an output, low
    assert board.usb_cable.state == "nothing connected"
    board.bus.write(0x56000024, 4, 1 << 5)
    assert board.usb_cable.state == "connecting"
