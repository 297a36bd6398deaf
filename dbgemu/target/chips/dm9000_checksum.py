"""Checksum offload of the DM9000A: IPv4, TCP and UDP checksums in Ethernet frames."""

from __future__ import annotations

IPV4_TYPE = b"\x08\x00"
HEADER = 14
TCP, UDP = 6, 17
#: protocol -> where its checksum is in the segment, and how long its header is at least
_PLACES = {TCP: (16, 20), UDP: (6, 8)}


def ones_complement_sum(data: bytes | bytearray, start: int = 0) -> int:
    """The 16-bit ones' complement sum of big-endian words (RFC 1071), odd lengths padded with 0."""
    if len(data) & 1:
        data = bytes(data) + b"\0"
    # 2**16 is 1 modulo FFFF, so the sum of all words is the one big number modulo that;
    # only nothing but zeros has the sum 0, all other multiples of FFFF have FFFF
    total = int.from_bytes(data, "big") + start
    return total % 0xFFFF or (0xFFFF if total else 0)


def _ipv4_header(frame: bytes | bytearray) -> tuple[int, int] | None:
    """(length of the IPv4 header, end of the packet in the frame), or None where there is none."""
    if len(frame) < HEADER + 20 or frame[12:14] != IPV4_TYPE or frame[HEADER] >> 4 != 4:
        return None
    length = 4 * (frame[HEADER] & 15)
    end = HEADER + int.from_bytes(frame[HEADER + 2 : HEADER + 4], "big")
    if length < 20 or HEADER + length > end or end > len(frame):
        return None
    return length, end


def _segment(frame: bytes | bytearray) -> tuple[int, int, int] | None:
    """(protocol, start, end) of an unfragmented TCP or UDP segment, or None."""
    header = _ipv4_header(frame)
    if header is None or int.from_bytes(frame[HEADER + 6 : HEADER + 8], "big") & 0x3FFF:
        return None
    protocol, start = frame[HEADER + 9], HEADER + header[0]
    if protocol not in _PLACES or header[1] - start < _PLACES[protocol][1]:
        return None
    return protocol, start, header[1]


def _segment_sum(frame: bytes | bytearray, protocol: int, start: int, end: int) -> int:
    """The sum over the pseudo header (addresses, protocol, length) and the segment."""
    pseudo = ones_complement_sum(frame[HEADER + 12 : HEADER + 20], protocol + end - start)
    return ones_complement_sum(frame[start:end], pseudo)


def insert(frame: bytes, *, ip: bool, tcp: bool, udp: bool) -> bytes:
    """``frame`` with the chosen checksums filled in, where it has such headers."""
    result = bytearray(frame)
    header = _ipv4_header(result)
    if ip and header is not None:
        result[HEADER + 10 : HEADER + 12] = b"\0\0"
        total = ones_complement_sum(result[HEADER : HEADER + header[0]])
        result[HEADER + 10 : HEADER + 12] = (total ^ 0xFFFF).to_bytes(2, "big")
    segment = _segment(result)
    if segment is not None and (tcp if segment[0] == TCP else udp):
        protocol, start, end = segment
        place = start + _PLACES[protocol][0]
        result[place : place + 2] = b"\0\0"
        total = _segment_sum(result, protocol, start, end) ^ 0xFFFF
        # RFC 768: a UDP checksum that comes out as 0 is sent as FFFF
        result[place : place + 2] = (total or 0xFFFF).to_bytes(2, "big")
    return bytes(result)


def check(frame: bytes) -> int:
    """The RCSCSR status of a received frame: bits 2 to 4 what it is, 5 to 7 what is wrong."""
    header = _ipv4_header(frame)
    if header is None:
        return 0
    status = 0x04
    if ones_complement_sum(frame[HEADER : HEADER + header[0]]) != 0xFFFF:
        status |= 0x20
    segment = _segment(frame)
    if segment is not None:
        protocol, start, end = segment
        status |= 0x08 if protocol == TCP else 0x10
        place = start + _PLACES[protocol][0]
        absent = protocol == UDP and frame[place : place + 2] == b"\0\0"
        if not absent and _segment_sum(frame, protocol, start, end) != 0xFFFF:
            status |= 0x40 if protocol == TCP else 0x80
    return status
