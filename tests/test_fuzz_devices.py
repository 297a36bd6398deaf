"""Random accesses to each device of the whole board, some of them: see fuzz_devices.py for many."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbgemu.target.mini2440 import Mini2440
from dbgemu.target.registers import Register
from tests.fuzz_devices import ACTIONS, DMA, THROUGH, DeviceFuzz, main, make_board

#: every device that the board has: a new one is fuzzed without being listed anywhere
DEVICES = sorted(Mini2440().devices)


@pytest.mark.parametrize("name", DEVICES)
@settings(max_examples=1, deadline=None)
@example(seed=1)
@given(seed=st.integers(2, 2**32))
def test_random_accesses_break_nothing(name: str, seed: int) -> None:
    fuzz = DeviceFuzz(name, seed)
    fuzz.run(400)
    fuzz.check_board()


@pytest.mark.parametrize("name", DEVICES)
def test_the_accesses_reach_the_device_and_all_of_its_registers(name: str) -> None:
    fuzz = DeviceFuzz(name, 1)
    written: set[int] = set()
    write = fuzz.board.bus.write

    def note(address: int, size: int, value: int) -> None:
        written.add(address)
        write(address, size, value)

    fuzz.board.bus.write = note  # type: ignore[method-assign]
    for _ in range(1500):
        fuzz.step()
    registers = {fuzz.base + register.offset for register in fuzz.reached.registers.values()}
    assert registers <= written
    assert any(fuzz.base <= address < fuzz.base + 0x1000 for address in written)
    assert any(DMA <= address < DMA + 0x100 for address in written)


def test_a_chip_that_is_not_on_the_bus_is_reached_through_a_block_that_is() -> None:
    board = make_board()
    on_the_bus = {region.target.name for region in board.bus.regions()} | {
        region.writes_to.name for region in board.bus.regions() if region.writes_to is not None
    }
    assert set(board.devices) - set(THROUGH) <= on_the_bus
    assert set(THROUGH.values()) <= on_the_bus
    assert set(THROUGH) <= set(board.devices)


def test_every_kind_of_operation_is_there() -> None:
    assert set(ACTIONS) == {"write", "read", "wait", "peek", "outside", "dma", "gate", "save"}


def test_the_same_seed_is_the_same_run() -> None:
    first, second, third = DeviceFuzz("pwm", 5), DeviceFuzz("pwm", 5), DeviceFuzz("pwm", 6)
    for fuzz in (first, second, third):
        fuzz.run(500)
    assert first.board.save() == second.board.save() != third.board.save()


def test_the_command_tells_of_each_device_and_fails_when_one_breaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--operations", "50", "--seed", "3", "--device", "wdt"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("wdt: 50 operations, ")
    assert printed[1] == "seed 3: 0 devices broke"

    def peek(self: object, offset: int, size: int) -> int:
        raise ValueError("broken")

    monkeypatch.setattr("dbgemu.target.s3c2440.watchdog.Watchdog.peek", peek)
    assert main([*arguments[:1], "500", *arguments[2:]]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("wdt: operation ")
    assert captured.out.endswith("seed 3: 1 devices broke\n")
    assert "ValueError: broken" in captured.err


def test_a_dma_channel_whose_control_changes_in_the_middle_comes_to_its_end() -> None:
    """Found by fuzzing: less was left than a burst has, and time stood still."""
    board = make_board()
    for offset, value in ((0, 0x30000000), (8, 0x30010000), (0x10, 1 << 27 | 5), (0x20, 3)):
        board.bus.write(DMA + offset, 4, value)
    board.bus.write(DMA + 0x10, 4, 1 << 28 | 1 << 27 | 1 << 22 | 5)
    deadline = board.clock.next_deadline()
    calls = 0
    while deadline is not None and board.dma.DMASKTRIG0 & 2:
        board.clock.skip_to(deadline)
        board.clock.run_due()
        deadline = board.clock.next_deadline()
        calls += 1
        assert calls < 100
    assert isinstance(type(board.dma).DMASKTRIG0, Register)
    assert board.dma.DMASKTRIG0 & 2 == 0


def test_samples_that_were_sent_before_the_clock_stopped_are_played_at_their_rate() -> None:
    """Found by fuzzing: as a slave, which gets no clock on this board, the rate is 0 Hz."""
    board = make_board()
    heard: list[tuple[int, int]] = []
    codec = board.iis.codec
    assert codec is not None
    codec.play = lambda rate, channels, samples: heard.append((rate, len(samples)))  # type: ignore[method-assign]
    board.bus.write(0x55000004, 4, 0x88)  # 16 bits, transmit
    board.bus.write(0x5500000C, 4, 0x2000)
    for _ in range(8):
        board.bus.write(0x55000010, 2, 0x1234)
    board.bus.write(0x55000000, 4, 1)
    board.clock.skip(3_000_000_000 // board.iis.sample_rate())
    rate = board.iis.sample_rate()
    board.bus.write(0x55000004, 4, 0x188)
    board.bus.write(0x55000000, 4, 0)
    assert heard == [(rate, 12)]


@pytest.mark.parametrize("fifo", [0, 0x01, 0x41, 0xC1])
def test_characters_that_dma_sends_wait_for_room_in_the_uart(fifo: int) -> None:
    """Found by fuzzing: once the FIFO had been above its trigger, DMA found it empty for ever."""
    board = make_board()
    board.clkpwr.set_bootloader_defaults()
    errors: list[object] = []
    board.log.listeners.append(errors.append)
    sent = bytearray()
    board.uarts[0].on_transmit = sent.append
    data = bytes(range(200))
    board.bus.poke(0x30000000, data)
    for offset, value in ((0x28, 26), (0x08, fifo), (0x00, 3), (0x04, 2 << 2)):
        board.bus.write(0x50000000 + offset, 4, value)
    control = 1 << 24 | 1 << 23 | 1 << 22 | len(data)
    for offset, value in ((0, 0x30000000), (4, 0), (8, 0x50000020), (12, 3), (16, control), (0x20, 2)):
        board.bus.write(DMA + offset, 4, value)
    for _ in range(1000):
        board.clock.skip(85_333 // 4)
        board.clock.run_due()
    assert (bytes(sent), errors) == (data, [])
