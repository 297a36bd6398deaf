"""The UART's interrupts and special modes, its saved state, and random accesses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uart_port import (
    BASE,
    CHAR,
    LINUX_UCON,
    UCON,
    UERSTAT,
    UFCON,
    UFSTAT,
    UMCON,
    UMSTAT,
    URXH,
    UTRSTAT,
    UTXH,
    Port,
)

from dbgemu.target.s3c2440.uart import POLLS_BEFORE_SKIP
from dbgemu.target.s3c2440.uart_receiver import PENDING_LIMIT
from dbgemu.target.s3c2440.uart_registers import BREAK, OVERRUN


@pytest.fixture
def port() -> Port:
    made = Port()
    made.setup()
    return made


# -- interrupts --------------------------------------------------------------------------------


def test_receive_level_interrupt_follows_the_trigger(port: Port) -> None:
    port.uart.receive(bytes(range(20)))
    port.pass_time(8 * CHAR - 1)
    assert port.rxd.level == 0
    port.pass_time(1)
    assert port.rxd.level == 1
    port.read(URXH)
    assert port.rxd.level == 0
    port.pass_time(CHAR)
    assert port.rxd.level == 1


def test_receive_timeout_comes_after_three_words_and_stays_until_the_fifo_is_empty(port: Port) -> None:
    port.uart.receive(b"ab")
    port.pass_time(5 * CHAR - 1)
    assert port.rxd.level == 0
    port.pass_time(1)
    assert port.rxd.level == 1
    port.read(URXH)
    assert port.rxd.level == 1
    port.read(URXH)
    assert port.rxd.level == 0
    port.pass_time(100 * CHAR)
    assert port.rxd.level == 0


def test_without_time_out_enable_a_few_characters_raise_nothing() -> None:
    port = Port()
    port.setup(ucon=LINUX_UCON & ~0x80)
    port.uart.receive(b"ab")
    port.pass_time(100 * CHAR)
    assert port.rxd.level == 0


def test_few_timer_events_are_used_for_a_long_input(port: Port) -> None:
    fired = 0
    due = port.uart._rx_timer.callback

    def count() -> None:
        nonlocal fired
        fired += 1
        due()

    port.uart._rx_timer.callback = count
    port.uart.receive(bytes(64))
    port.pass_time(100 * CHAR)
    assert (fired, port.read(UFSTAT)) == (1, 0x40)


def test_receive_pulse_interrupt_comes_for_each_character_without_fifo() -> None:
    port = Port()
    port.setup(ucon=0x245, ufcon=0)
    port.uart.receive(b"abc")
    seen = []
    for _ in range(3):
        port.pass_time(CHAR)
        seen.append((port.pulses["rxd"], port.read(URXH)))
    assert seen == [(1, 0x61), (2, 0x62), (3, 0x63)]
    assert port.rxd.level == 0


def test_a_pulse_receiver_that_was_full_pulses_again_after_a_read() -> None:
    port = Port()
    port.setup(ucon=0x245, ufcon=1)
    port.uart.receive(bytes(70))
    port.pass_time(100 * CHAR)
    before = port.pulses["rxd"]
    port.read(URXH)
    port.pass_time(CHAR)
    assert (before, port.pulses["rxd"]) == (64, 65)


def test_transmit_level_interrupt_follows_the_trigger() -> None:
    port = Port()
    port.setup(ufcon=0x51)  # transmit trigger 16
    assert port.txd.level == 1
    for _ in range(17):
        port.write(UTXH, 0)
    assert port.txd.level == 1
    for _ in range(3):
        port.write(UTXH, 0)
    assert port.txd.level == 0
    port.pass_time(3 * CHAR - 1)
    assert port.txd.level == 0
    port.pass_time(1)
    assert port.txd.level == 1


def test_transmit_interrupt_timer_follows_characters_written_later(port: Port) -> None:
    for _ in range(2):
        port.write(UTXH, 0)
    assert port.txd.level == 0
    port.pass_time(CHAR // 2)
    for _ in range(2):
        port.write(UTXH, 0)
    port.pass_time(2 * CHAR)
    assert port.txd.level == 0
    port.pass_time(CHAR)
    assert port.txd.level == 1


def test_transmit_pulse_interrupt_comes_when_the_trigger_is_reached() -> None:
    port = Port()
    port.setup(ucon=0x185, ufcon=0x11)
    port.write(UTXH, 0)  # straight into the shifter: the FIFO is empty again
    assert port.pulses["txd"] == 1
    port.write(UTXH, 0)
    port.write(UTXH, 0)
    assert port.pulses["txd"] == 1
    port.pass_time(2 * CHAR)
    assert (port.pulses["txd"], port.txd.level) == (2, 0)


def test_dma_mode_requests_a_transfer_instead_of_an_interrupt() -> None:
    port = Port()
    port.setup(ucon=LINUX_UCON & ~0xC | 0x8)
    assert (port.dma.level, port.txd.level) == (1, 0)
    port.write(UTXH, 0)
    port.write(UTXH, 0)
    assert port.dma.level == 0
    port.pass_time(CHAR)
    assert port.dma.level == 1


# -- the rest ----------------------------------------------------------------------------------


def test_loopback_gives_back_what_is_sent_after_its_time(port: Port) -> None:
    port.write(UCON, LINUX_UCON | 0x20)
    port.uart.receive(b"host")
    port.write(UTXH, 0x41)
    port.write(UTXH, 0x42)
    port.pass_time(CHAR)
    assert (port.read(UFSTAT) & 0x7F, port.read(URXH)) == (1, 0x41)
    port.pass_time(CHAR)
    assert port.read(URXH) == 0x42
    assert port.sent == b""
    port.write(UCON, LINUX_UCON)
    port.pass_time(4 * CHAR)
    assert bytes(port.read(URXH) for _ in range(4)) == b"host"


def test_loopback_overruns_a_full_fifo() -> None:
    port = Port()
    port.setup(ucon=LINUX_UCON | 0x60)
    for _ in range(70):
        port.write(UTXH, 0x41)
        port.pass_time(CHAR)
    assert port.read(UFSTAT) & 0x7F == 0x40
    assert port.pulses["err"] > 0
    assert (port.read(UERSTAT), port.read(UERSTAT)) == (OVERRUN, 0)


def test_break_bit_clears_itself_after_one_frame(port: Port) -> None:
    breaks: list[None] = []
    port.uart.on_break = lambda: breaks.append(None)
    port.write(UCON, LINUX_UCON | 0x10)
    assert port.read(UCON) == LINUX_UCON | 0x10
    assert port.read(UTRSTAT) == 2
    port.pass_time(CHAR)
    assert port.read(UCON) == LINUX_UCON
    assert len(breaks) == 1


def test_a_looped_back_break_is_a_break(port: Port) -> None:
    port.write(UCON, LINUX_UCON | 0x20)
    port.write(UCON, LINUX_UCON | 0x30)
    port.pass_time(CHAR)
    assert (port.read(UERSTAT), port.read(URXH)) == (BREAK, 0)


def test_flow_control_stops_the_transmitter_while_cts_is_inactive(port: Port) -> None:
    port.write(UMCON, 0x10)
    assert port.read(UMSTAT) == 1
    port.write(UTXH, 0)
    port.write(UTXH, 0)
    port.uart.set_cts(False)
    assert (port.peek(UMSTAT), port.read(UMSTAT), port.read(UMSTAT)) == (0x10, 0x10, 0)
    port.pass_time(10 * CHAR)
    assert port.read(UFSTAT) == 1 << 8
    port.uart.set_cts(True)
    port.pass_time(2 * CHAR)
    assert port.read(UTRSTAT) == 6


def test_reset_keeps_only_what_the_host_has_queued(port: Port) -> None:
    port.uart.receive(bytes(10))
    port.pass_time(9 * CHAR)
    port.write(UTXH, 0)
    assert port.rxd.level == 1
    port.uart.reset()
    assert (port.rxd.level, port.txd.level, port.clock.next_deadline()) == (0, 0, None)
    assert [port.peek(r) for r in (UCON, UTRSTAT, UFSTAT)] == [0, 6, 0]
    assert port.uart.can_receive == PENDING_LIMIT - 1


def test_a_saved_state_continues_as_if_nothing_had_happened(port: Port) -> None:
    port.uart.receive(bytes(range(12)))
    for _ in range(5):
        port.write(UTXH, 0)
    port.pass_time(2 * CHAR + 7)
    state, clock = port.uart.save(), port.clock.save()

    def go_on() -> list[int]:
        seen = []
        for _ in range(20):
            port.pass_time(CHAR // 2)
            seen += [port.read(UTRSTAT), port.read(UFSTAT), port.rxd.level, port.txd.level]
        return seen

    first = go_on()
    port.uart.reset()
    port.clock.load(clock)
    port.uart.load(state)
    assert go_on() == first


def test_linux_console_output_costs_few_accesses_and_its_real_time(port: Port) -> None:
    text = b"x" * 1000
    reads = 0
    for character in text:
        port.read(UFCON)
        while True:
            reads += 1
            if not port.read(UFSTAT) & 0x4000:
                break
            port.clock.run_due()
        port.write(UTXH, character, 1)
    assert port.sent == text
    assert reads <= (POLLS_BEFORE_SKIP + 1) * len(text)
    assert (1000 - 66) * CHAR <= port.clock.now <= 1000 * CHAR


ACCESS = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 0x3F), st.sampled_from([1, 2, 4])),
    st.tuples(st.just("write"), st.integers(0, 0x3F), st.sampled_from([1, 2, 4]), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("receive"), st.binary(max_size=100), st.integers(0, 255)),
    st.tuples(st.just("time"), st.integers(0, 10**8)),
    st.tuples(st.just("cts"), st.booleans()),
    st.tuples(st.just("clock"), st.sampled_from([0, 12_000_000, 50_625_000])),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(ACCESS, max_size=60))
def test_whatever_is_accessed_the_state_stays_sound(accesses: list[tuple[object, ...]]) -> None:
    port = Port()
    port.uart.set_bootloader_defaults()
    for access in accesses:
        match access:
            case ("read", int(offset), int(size)):
                offset &= ~(size - 1)
                port.bus.read(BASE + offset, size)
            case ("write", int(offset), int(size), int(value)):
                offset &= ~(size - 1)
                port.bus.write(BASE + offset, size, value & (1 << 8 * size) - 1)
            case ("receive", bytes(data), int(errors)):
                port.uart.receive(data, errors)
            case ("time", int(duration)):
                port.clock.skip(duration)
                for _ in range(10_000):
                    deadline = port.clock.next_deadline()
                    if deadline is None or deadline > port.clock.now:
                        break
                    port.clock.run_due()
            case ("cts", bool(active)):
                port.uart.set_cts(active)
            case ("clock", int(frequency)):
                port.clocks.pclk = frequency
                for listener in port.clocks.on_change:
                    listener()
        before = port.clock.now
        values = [value.value for value in port.uart.dump()]
        assert values == [value.value for value in port.uart.dump()]
        assert port.clock.now == before
        assert all(
            0 <= value <= item.register.mask for value, item in zip(values, port.uart.dump(), strict=True)
        )
        assert len(port.uart._fifo) <= 64
        assert (port.uart._tx_idle_at >= 1 << 62) == (port.uart._tx_held > 0)


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(0, 20 * CHAR), max_size=30), st.booleans())
def test_an_interrupt_driven_guest_gets_every_byte(data: bytes, delays: list[int], pulse: bool) -> None:
    port = Port()
    port.setup(ucon=LINUX_UCON & ~0x100 if pulse else LINUX_UCON)
    pending = False

    def latch(level: int) -> None:
        nonlocal pending
        pending = pending or bool(level)

    port.rxd.connect(latch)
    got = bytearray()

    def handle() -> None:
        nonlocal pending
        if pending or port.rxd.level:
            pending = False
            while (status := port.read(UFSTAT) & 0x7F) != 0:
                assert status <= 0x40
                got.append(port.read(URXH))

    for index, start in enumerate(range(0, len(data), 10)):
        port.uart.receive(data[start : start + 10])
        port.pass_time(delays[index % len(delays)] if delays else 0)
        handle()
    for _ in range(10):
        port.pass_time(400 * CHAR)
        handle()
    assert got == data
