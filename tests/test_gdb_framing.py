"""The bytes of GDB's remote protocol."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import expand_runs

from dbgemu.gdbstub.framing import (
    PACKET_SIZE,
    FrameReader,
    Signal,
    checksum,
    escape,
    frame,
    hexadecimal,
    lone_packet,
    run_length_encode,
    unescape,
)

#: bytes that matter to a parser come up often
_WIRE = st.lists(
    st.one_of(
        st.sampled_from(
            [b"$", b"#", b"+", b"-", b"\x03", b"}", b"*", b"$g#67", b"$m0,4#fd", b"#00", b"$#00"]
        ),
        st.binary(max_size=6),
    ),
    max_size=30,
).map(b"".join)
_PACKETS = st.lists(st.binary(max_size=40).map(escape), max_size=8)


def feed_all(chunks: list[bytes]) -> list[bytes | Signal]:
    reader = FrameReader()
    return [item for chunk in chunks for item in reader.feed(chunk)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"g",
        b"\xff" * 255,
        b"\xff" * 256,
        b"\xff" * 257,
        b"\x7f" * 512,
        b"\x7f" * 513,
        bytes(range(256)) * 300,
    ],
)
def test_the_checksum_is_the_sum_modulo_256(data: bytes) -> None:
    assert checksum(data) == sum(data) % 256


@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_the_checksum_of_any_data_is_the_sum(data: bytes) -> None:
    assert checksum(data) == sum(data) & 0xFF


def test_a_frame_is_dollar_packet_hash_and_two_digits() -> None:
    assert frame(b"g") == b"$g#67"
    assert frame(b"") == b"$#00"


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_escaped_data_holds_no_special_byte_and_comes_back(data: bytes) -> None:
    wire = escape(data)
    assert not re.search(rb"[#$*]", wire)
    assert unescape(wire) == data


def test_a_lone_escape_at_the_end_is_dropped() -> None:
    assert unescape(b"ab}") == b"ab"


def test_an_escape_applies_to_any_byte() -> None:
    assert unescape(b"}A}}") == b"a]"


@pytest.mark.parametrize(
    ("packet", "wire"),
    [
        (b"0" * 16, b"0*,"),
        (b"0" * 98, b"0*~"),
        (b"f" * 16 + b"1", b"f*,1"),
        (b"12" + b"0" * 15, b"12" + b"0" * 15),
    ],
)
def test_runs_of_zeros_and_fs_are_shortened(packet: bytes, wire: bytes) -> None:
    assert run_length_encode(packet) == wire


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([b"0", b"f", b"1", b"a3"]), st.integers(1, 250)), max_size=8))
def test_shortened_replies_mean_the_same(runs: list[tuple[bytes, int]]) -> None:
    packet = b"".join(digit * count for digit, count in runs)
    wire = run_length_encode(packet)
    assert expand_runs(wire) == packet
    assert len(wire) <= len(packet)


@settings(deadline=None)
@given(_PACKETS, st.data())
def test_packets_come_whole_wherever_the_stream_is_torn(packets: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(map(frame, packets))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    chunks = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert feed_all(chunks) == packets


@settings(max_examples=600, deadline=None)
@given(_WIRE)
def test_any_bytes_give_the_same_in_one_piece_and_byte_by_byte(wire: bytes) -> None:
    whole = [item for item in feed_all([wire]) if isinstance(item, bytes) or "packet" in item.value]
    single = feed_all([wire[i : i + 1] for i in range(len(wire))])
    assert [item for item in single if isinstance(item, bytes) or "packet" in item.value] == whole


@settings(max_examples=600, deadline=None)
@given(_WIRE, _WIRE)
def test_after_any_garbage_a_good_packet_is_understood(garbage: bytes, more: bytes) -> None:
    # '#00' ends whatever packet the garbage has begun
    assert feed_all([garbage, more, b"#00", frame(b"qC")])[-1] == b"qC"


@settings(max_examples=600, deadline=None)
@given(_WIRE)
def test_a_lone_packet_is_what_the_reader_sees(wire: bytes) -> None:
    packet = lone_packet(wire)
    if packet is not None:
        assert feed_all([wire]) == [packet]


@settings(deadline=None)
@given(st.binary(max_size=30).map(escape))
def test_every_good_frame_is_a_lone_packet(packet: bytes) -> None:
    assert lone_packet(frame(packet)) == packet


@pytest.mark.parametrize(
    "wire", [b"", b"+", b"$g#68", b"$g#6", b"$g#67+", b"+$g#67", b"$g#67$g#67", b"$#g#67"]
)
def test_anything_but_one_good_packet_is_no_lone_packet(wire: bytes) -> None:
    assert lone_packet(wire) is None


def test_ctrl_c_is_seen_between_packets_and_is_data_inside() -> None:
    assert feed_all([b"+\x03" + frame(b"g")]) == [Signal.ACK, Signal.INTERRUPT, b"g"]
    packet = b"X0,1:\x03"
    assert feed_all([frame(packet)[:5], frame(packet)[5:], b"\x03"]) == [packet, Signal.INTERRUPT]


def test_a_wrong_checksum_and_wrong_digits_are_told() -> None:
    assert feed_all([b"$g#68"]) == [Signal.BAD_CHECKSUM]
    assert feed_all([b"$g#6z"]) == [Signal.BAD_CHECKSUM]


def test_checksum_digits_may_be_capitals() -> None:
    packet = b"m0,f"
    assert b"%02x" % checksum(packet) != b"%02X" % checksum(packet)
    assert feed_all([b"$m0,f#%02X" % checksum(packet)]) == [packet]


def test_a_dollar_inside_a_packet_starts_it_anew() -> None:
    assert feed_all([b"$m300", frame(b"g")]) == [b"g"]


def test_a_packet_of_the_announced_size_is_taken_and_one_byte_more_is_not() -> None:
    assert feed_all([frame(b"a" * PACKET_SIZE)]) == [b"a" * PACKET_SIZE]
    assert feed_all([frame(b"a" * (PACKET_SIZE + 1)), frame(b"g")]) == [Signal.OVERSIZED, b"g"]


def test_an_endless_packet_takes_no_more_room_than_the_announced_size() -> None:
    reader = FrameReader()
    assert reader.feed(b"$") == []
    for _ in range(64):
        assert reader.feed(b"a" * 65536) == []
        assert len(reader._buffer) <= PACKET_SIZE + 4
    assert reader.feed(b"a#0") == []
    assert reader.feed(b"0" + frame(b"g")) == [Signal.OVERSIZED, b"g"]


def test_a_reader_tells_whether_part_of_a_packet_is_there() -> None:
    reader = FrameReader()
    reader.feed(b"$g#6")
    assert reader.pending
    reader.feed(b"7")
    assert not reader.pending


@given(st.lists(st.tuples(st.sampled_from(b"\0\xff\x0f\xf0\x55"), st.integers(1, 120)), max_size=8))
def test_memory_reads_the_same_whatever_runs_are_in_it(runs) -> None:
    data = b"".join(bytes([byte]) * count for byte, count in runs)
    assert expand_runs(hexadecimal(data)) == data.hex().encode()


@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_cleared_and_erased_memory_takes_little_room(byte) -> None:
    assert len(hexadecimal(byte * 1000)) < 100
    assert len(hexadecimal(b"abc" + byte * 1000 + b"def")) < 100
