"""The UART's characters and time, as the manual, Linux's samsung_tty and U-Boot see them."""

from __future__ import annotations

import pytest
from uart_port import (
    CHAR,
    LINUX_UCON,
    UBRDIV,
    UCON,
    UERSTAT,
    UFCON,
    UFSTAT,
    ULCON,
    UMCON,
    UMSTAT,
    URXH,
    UTRSTAT,
    UTXH,
    Port,
)

from dbgemu.target.clock import Timer
from dbgemu.target.s3c2440.uart import POLLS_BEFORE_SKIP
from dbgemu.target.s3c2440.uart_receiver import PENDING_LIMIT
from dbgemu.target.s3c2440.uart_registers import BREAK, FRAME, OVERRUN, PARITY, FclkDivider


@pytest.fixture
def port() -> Port:
    made = Port()
    made.setup()
    return made


def test_reset_values_are_the_manuals() -> None:
    port = Port()
    assert [port.peek(r) for r in (ULCON, UCON, UFCON, UMCON, UTRSTAT, UERSTAT, UFSTAT)] == [
        0,
        0,
        0,
        0,
        6,
        0,
        0,
    ]


def test_bootloader_defaults_are_115200_8n1_with_fifos() -> None:
    port = Port()
    port.uart.set_bootloader_defaults()
    assert [port.peek(r) for r in (ULCON, UCON, UFCON, UMCON, UBRDIV)] == [3, 0x245, 1, 0, 26]
    port.write(UTXH, 0x41)
    port.pass_time(CHAR - 1)
    assert port.peek(UTRSTAT) == 2
    port.pass_time(1)
    assert port.peek(UTRSTAT) == 6


def test_the_host_sees_a_character_when_it_is_written(port: Port) -> None:
    for character in b"hello":
        port.write(UTXH, character, 1)
    assert port.sent == b"hello"
    assert port.clock.now == 0


def test_the_transmit_fifo_fills_and_drains_at_the_baud_rate(port: Port) -> None:
    for _ in range(65):  # one goes on into the shifter
        port.write(UTXH, 0x55)
    assert port.peek(UFSTAT) == 0x4000
    port.pass_time(CHAR)
    assert port.peek(UFSTAT) == 63 << 8
    port.pass_time(62 * CHAR)
    assert (port.peek(UFSTAT), port.peek(UTRSTAT)) == (1 << 8, 0)
    port.pass_time(CHAR)
    assert (port.peek(UFSTAT), port.peek(UTRSTAT)) == (0, 2)
    port.pass_time(CHAR)
    assert port.peek(UTRSTAT) == 6


def test_a_write_into_a_full_fifo_is_lost_and_reported(port: Port) -> None:
    for _ in range(66):
        port.write(UTXH, 0x55)
    assert len(port.sent) == 65
    assert port.errors == ["uart0: write of 0x55 to UTXH while the transmit buffer is full"]


def test_without_fifo_one_character_waits_behind_the_shifter() -> None:
    port = Port()
    port.setup(ufcon=0)
    port.write(UTXH, 1)
    assert port.peek(UTRSTAT) == 2
    port.write(UTXH, 2)
    assert port.peek(UTRSTAT) == 0
    port.write(UTXH, 3)
    assert port.sent == b"\1\2"
    port.pass_time(CHAR)
    assert port.peek(UTRSTAT) == 2
    assert port.peek(UFSTAT) == 0


def test_a_disabled_transmitter_takes_nothing() -> None:
    port = Port()
    port.write(UTXH, 0x41)
    assert port.sent == b""
    assert port.errors == ["uart0: write of 0x41 to UTXH while UCON disables the transmitter"]


@pytest.mark.parametrize(
    ("ulcon", "bits"), [(0x03, 10), (0x07, 11), (0x2B, 11), (0x2F, 12), (0x00, 7), (0x01, 8), (0x26, 11)]
)
def test_a_character_takes_start_data_parity_and_stop_bits(ulcon: int, bits: int) -> None:
    port = Port()
    port.setup(ulcon=ulcon)
    port.write(UTXH, 0)
    expected = -(-bits * 16 * 27 * 10**9 // 50_625_000)
    port.pass_time(expected - 1)
    assert port.peek(UTRSTAT) == 2
    port.pass_time(1)
    assert port.peek(UTRSTAT) == 6


def test_short_words_lose_their_high_bits() -> None:
    port = Port()
    port.setup(ulcon=2)
    port.write(UTXH, 0xC1)
    port.uart.receive(b"\xc2")
    port.pass_time(CHAR)
    assert (bytes(port.sent), port.read(URXH)) == (b"\x41", 0x42)


def time_of_a_character(port: Port) -> int:
    start = port.clock.now
    port.write(UTXH, 0)
    while port.read(UTRSTAT) != 6:
        pass
    return port.clock.now - start


def test_the_baud_clock_is_chosen_by_ucon() -> None:
    port = Port()
    port.setup()
    for select, frequency in ((0, 50_625_000), (1, 48_000_000), (2, 50_625_000)):
        port.write(UCON, LINUX_UCON | select << 10)
        assert time_of_a_character(port) == -(-4320 * 10**9 // frequency)


@pytest.mark.parametrize(
    ("fields", "n"), [((1, 0, 0), 7), ((15, 0, 0), 21), ((0, 15, 0), 36), ((0, 0, 7), 43), ((0, 0, 0), 44)]
)
def test_fclk_is_divided_by_the_fields_of_all_three_ports(fields: tuple[int, int, int], n: int) -> None:
    divider = FclkDivider()
    ports = [Port(port=index, divider=divider) for index in range(3)]
    for port in ports:
        port.setup(ucon=LINUX_UCON | 0xC00)
    for port, field in zip(ports, fields, strict=True):
        port.write(UCON, LINUX_UCON | 0xC00 | field << 12 | (0x8000 if port is ports[2] else 0))
    for port in ports:
        assert time_of_a_character(port) == -(-4320 * 10**9 // (405_000_000 // n))


def test_without_a_clock_nothing_is_sent_until_there_is_one() -> None:
    port = Port()
    port.setup(ucon=LINUX_UCON | 0xC00)
    port.write(UTXH, 0x41)
    port.pass_time(10**9)
    assert [port.read(UTRSTAT) for _ in range(5)] == [2] * 5
    port.write(UCON, LINUX_UCON)
    port.pass_time(CHAR)
    assert port.read(UTRSTAT) == 6


def test_a_change_of_pclk_rescales_what_is_left() -> None:
    port = Port()
    port.setup()
    for _ in range(4):
        port.write(UTXH, 0)
    port.pass_time(CHAR // 2)
    port.clocks.pclk //= 2
    for listener in port.clocks.on_change:
        listener()
    assert port.peek(UFSTAT) == 3 << 8
    port.pass_time(CHAR + 2)
    assert port.peek(UFSTAT) == 2 << 8
    port.pass_time(6 * CHAR + 20)
    assert port.peek(UTRSTAT) == 6


# -- polling -----------------------------------------------------------------------------------


def test_polling_skips_time_after_a_few_reads_in_a_row(port: Port) -> None:
    for _ in range(65):
        port.write(UTXH, 0)
    values = [port.read(UFSTAT) for _ in range(POLLS_BEFORE_SKIP)]
    assert values == [0x4000] * (POLLS_BEFORE_SKIP - 1) + [63 << 8]
    assert port.clock.now == CHAR
    assert port.read(UFSTAT) == 62 << 8
    assert port.clock.now == 2 * CHAR


def test_polling_utrstat_skips_to_its_next_change(port: Port) -> None:
    for _ in range(3):
        port.write(UTXH, 0)
    reads = [(port.read(UTRSTAT), port.clock.now) for _ in range(5)]
    assert reads == [(0, 0), (0, 0), (2, 2 * CHAR), (6, 3 * CHAR), (6, 3 * CHAR)]


@pytest.mark.parametrize("other", [ULCON, UCON, UMCON, UTRSTAT, UERSTAT, UMSTAT, URXH, UBRDIV])
def test_another_access_ends_the_row_of_polls(port: Port, other: int) -> None:
    for _ in range(10):
        port.write(UTXH, 0)
    for _ in range(20):
        port.read(UFSTAT)
        port.read(UFSTAT)
        port.read(other)
    assert port.clock.now == 0


def test_reads_of_ufcon_which_need_not_come_to_the_port_are_no_part_of_it(port: Port) -> None:
    for _ in range(10):
        port.write(UTXH, 0)
    for _ in range(POLLS_BEFORE_SKIP):
        port.read(UFSTAT)
        port.read(UFCON)
    assert port.clock.now == CHAR


def test_peeks_neither_skip_nor_count_as_polls(port: Port) -> None:
    for _ in range(10):
        port.write(UTXH, 0)
    for _ in range(20):
        for _register in port.uart.dump():
            pass
    port.read(UFSTAT)
    port.read(UFSTAT)
    assert port.clock.now == 0


def test_a_skip_stops_at_the_next_timer_of_another_device(port: Port) -> None:
    fired: list[int] = []
    other = Timer(port.clock, lambda: fired.append(port.clock.now))
    other.start_at(1000)
    port.write(UTXH, 0)
    for _ in range(POLLS_BEFORE_SKIP):
        assert port.read(UTRSTAT) == 2
    assert port.clock.now == 1000
    port.clock.run_due()
    assert fired == [1000]
    assert port.read(UTRSTAT) == 6
    assert port.clock.now == CHAR


def test_polling_an_idle_port_does_not_move_time(port: Port) -> None:
    for _ in range(100):
        assert port.read(UTRSTAT) == 6
        assert port.read(UFSTAT) == 0
    assert port.clock.now == 0


def test_polling_waits_for_a_paced_input_character(port: Port) -> None:
    port.uart.receive(b"ab")
    assert [port.read(UTRSTAT) for _ in range(3)] == [6, 6, 7]
    assert port.clock.now == CHAR
    assert port.read(URXH) == ord("a")


# -- receiving ---------------------------------------------------------------------------------


def test_input_arrives_one_character_time_apart(port: Port) -> None:
    port.uart.receive(b"abc")
    counts = []
    for _ in range(4):
        port.pass_time(CHAR)
        counts.append(port.read(UFSTAT))
    assert counts == [1, 2, 3, 3]
    assert bytes(port.read(URXH) for _ in range(3)) == b"abc"
    assert port.read(UTRSTAT) == 6


def test_reading_urxh_pops_the_fifo_but_peek_does_not(port: Port) -> None:
    port.uart.receive(b"ab")
    port.pass_time(2 * CHAR)
    assert [port.peek(URXH), port.peek(URXH), port.peek(UFSTAT)] == [0x61, 0x61, 2]
    assert [port.read(URXH), port.read(URXH), port.read(URXH)] == [0x61, 0x62, 0x62]


def test_no_input_is_lost_when_the_guest_is_slow(port: Port) -> None:
    data = bytes(range(256)) * 4
    port.uart.receive(data)
    got = bytearray()
    while len(got) < len(data):
        port.pass_time(1000 * CHAR)
        assert port.read(UFSTAT) == 0x40
        for _ in range(64):
            got.append(port.read(URXH))
        assert port.read(UERSTAT) == 0
    assert got == data


def test_after_a_full_fifo_the_next_character_needs_its_time(port: Port) -> None:
    port.uart.receive(bytes(100))
    port.pass_time(200 * CHAR)
    port.read(URXH)
    port.pass_time(CHAR - 1)
    assert port.read(UFSTAT) == 63
    port.pass_time(1)
    assert port.read(UFSTAT) == 0x40


def test_input_waits_while_the_receiver_is_disabled(port: Port) -> None:
    port.write(UCON, LINUX_UCON & ~3)
    port.uart.receive(b"x")
    port.pass_time(10 * CHAR)
    assert port.read(UTRSTAT) == 6
    port.write(UCON, LINUX_UCON)
    port.pass_time(CHAR)
    assert port.read(URXH) == ord("x")


def test_can_receive_tells_the_room_and_on_room_when_there_is_some_again(port: Port) -> None:
    calls: list[int] = []
    port.uart.on_room = lambda: calls.append(port.uart.can_receive)
    assert port.uart.can_receive == PENDING_LIMIT
    port.uart.receive(bytes(PENDING_LIMIT + 7))
    assert port.uart.can_receive == 0
    while not calls:
        port.pass_time(64 * CHAR)
        while port.read(UTRSTAT) & 1:
            port.read(URXH)
    assert calls[0] >= PENDING_LIMIT // 2
    assert len(calls) == 1


def test_flow_control_holds_the_host_while_less_than_32_bytes_are_free(port: Port) -> None:
    port.write(UMCON, 0x10)
    port.uart.receive(bytes(64))
    port.pass_time(100 * CHAR)
    assert port.read(UFSTAT) == 33
    port.read(URXH)
    port.pass_time(CHAR)
    assert port.read(UFSTAT) == 33


def test_fifo_reset_empties_the_fifo_but_not_the_hosts_queue(port: Port) -> None:
    port.uart.receive(b"abc")
    port.pass_time(2 * CHAR)
    port.write(UFCON, 0x11 | 2)
    assert (port.read(UFCON), port.read(UFSTAT)) == (0x11, 0)
    port.pass_time(CHAR)
    assert port.read(URXH) == ord("c")


def test_transmit_fifo_reset_leaves_the_character_in_the_shifter(port: Port) -> None:
    for _ in range(9):
        port.write(UTXH, 0)
    port.pass_time(CHAR // 2)
    port.write(UFCON, 0x11 | 4)
    assert (port.read(UFSTAT), port.read(UTRSTAT)) == (0, 2)
    port.pass_time(CHAR - CHAR // 2)
    assert port.read(UTRSTAT) == 6


def test_error_bits_belong_to_the_next_character_and_reading_clears_them(port: Port) -> None:
    port.uart.receive(b"a")
    port.uart.receive(b"b", PARITY | FRAME)
    port.uart.receive(b"c", OVERRUN)
    port.pass_time(3 * CHAR)
    assert port.read(UERSTAT) == 0
    assert port.read(URXH) == ord("a")
    assert (port.peek(UERSTAT), port.peek(UERSTAT)) == (PARITY | FRAME, PARITY | FRAME)
    assert (port.read(UERSTAT), port.read(UERSTAT)) == (PARITY | FRAME, 0)
    assert port.read(URXH) == ord("b")
    assert port.read(UERSTAT) == OVERRUN


def test_error_interrupt_comes_when_the_bad_character_is_next(port: Port) -> None:
    port.write(UCON, LINUX_UCON | 0x40)
    port.uart.receive(b"a")
    port.uart.receive_break()
    port.pass_time(2 * CHAR)
    assert port.pulses["err"] == 0
    port.read(URXH)
    assert port.pulses["err"] == 1
    assert port.read(UERSTAT) == BREAK
    assert port.read(URXH) == 0


def test_error_interrupt_can_be_disabled(port: Port) -> None:
    port.uart.receive_break()
    port.pass_time(CHAR)
    assert (port.pulses["err"], port.read(UERSTAT)) == (0, BREAK)
