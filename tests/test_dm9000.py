"""The DM9000, driven the way Linux's davicom/dm9000.c does."""

import struct
import zlib

import pytest

from dbgemu.target.chips import dm9000_checksum
from dbgemu.target.chips.dm9000 import DM9000A, DM9000E, Dm9000
from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line

INDEX, DATA = 0x300, 0x304
NCR, NSR, TCR, RCR, EPCR, EPAR, EPDRL, EPDRH = 0x00, 0x01, 0x02, 0x05, 0x0B, 0x0C, 0x0D, 0x0E
PAR, MAR, GPR, TCSCR, RCSCSR = 0x10, 0x16, 0x1F, 0x31, 0x32
MRCMDX, MRCMD, MWCMD, TXPLL, TXPLH, ISR, IMR = 0xF0, 0xF2, 0xF8, 0xFC, 0xFD, 0xFE, 0xFF
PTS, PRS, LNKCHG = 0x02, 0x01, 0x20
OURS = bytes.fromhex("020000000001")


class Driver:
    """The guest's side: the helper functions of the driver, by their names there."""

    def __init__(self, **options: object) -> None:
        self.clock = VirtualClock()
        self.line = Line("EINT7")
        self.chip = Dm9000("dm9000", clock=self.clock, interrupt=self.line, **options)  # type: ignore[arg-type]
        self.sent: list[bytes] = []
        self.chip.port.transmit = self.sent.append

    def wait(self, ns: int) -> None:
        end = self.clock.now + ns
        while (deadline := self.clock.next_deadline()) is not None and deadline <= end:
            self.clock.skip_to(deadline)
            self.clock.run_due()
        self.clock.skip_to(end)

    def ior(self, register: int) -> int:
        self.chip.write(INDEX, 1, register)
        return self.chip.read(DATA, 1)

    def iow(self, register: int, value: int) -> None:
        self.chip.write(INDEX, 1, register)
        self.chip.write(DATA, 1, value)

    def reset(self) -> None:
        for _ in range(2):
            self.iow(NCR, 0x03)
            self.wait(100_000)
            assert not self.ior(NCR) & 1, "dm9000 did not respond to reset"
            self.iow(NCR, 0)

    def phy_read(self, number: int) -> int:
        self.iow(EPAR, 0x40 | number)
        self.iow(EPCR, 0x0C)
        self.wait(1_000_000)
        self.iow(EPCR, 0)
        return self.ior(EPDRH) << 8 | self.ior(EPDRL)

    def read_eeprom(self, word: int) -> int:
        self.iow(EPAR, word)
        self.iow(EPCR, 0x04)
        while self.ior(EPCR) & 1:
            self.wait(1_000_000)
        self.iow(EPCR, 0)
        return self.ior(EPDRH) << 8 | self.ior(EPDRL)

    def open(self) -> None:
        self.iow(GPR, 0)
        self.wait(1_000_000)
        self.reset()
        self.iow(IMR, 0x80)
        self.iow(NSR, 0x2C)
        self.iow(ISR, 0x0F)
        for i, byte in enumerate(OURS):
            self.iow(PAR + i, byte)
        for i, byte in enumerate((0, 0, 0, 0, 0, 0, 0, 0x80)):
            self.iow(MAR + i, byte)
        self.iow(RCR, 0x31)
        self.iow(IMR, 0xA3)

    def open_with_link(self) -> None:
        self.open()
        self.wait(3_000_000_000)
        self.iow(ISR, 0x3F)

    def load(self, frame: bytes) -> None:
        self.chip.write(INDEX, 1, MWCMD)
        for i in range(0, len(frame), 2):
            self.chip.write(DATA, 2, int.from_bytes(frame[i : i + 2], "little"))

    def request(self, length: int) -> None:
        self.iow(TXPLL, length & 0xFF)
        self.iow(TXPLH, length >> 8)
        self.iow(TCR, 1)

    def send(self, frame: bytes) -> None:
        self.load(frame)
        self.request(len(frame))
        self.wait(1_000_000)

    def inblk(self, length: int) -> bytes:
        words = [self.chip.read(DATA, 2).to_bytes(2, "little") for _ in range((length + 1) // 2)]
        return b"".join(words)[:length]

    def rx(self) -> bytes | None:
        """The next packet, with its 4-byte checksum, or None."""
        self.ior(MRCMDX)
        ready = self.chip.read(DATA, 1)
        assert ready & 3 in (0, 1), "status check fail"
        if not ready & 1:
            return None
        self.chip.write(INDEX, 1, MRCMD)
        _, status, length = struct.unpack("<BBH", self.inblk(4))
        assert not status & 0xBF
        return self.inblk(length)


@pytest.fixture
def driver() -> Driver:
    driver = Driver()
    driver.open_with_link()
    return driver


def frame_to(destination: bytes, length: int = 60, fill: int = 0x55) -> bytes:
    return (destination + bytes(6) + b"\x12\x34").ljust(length, bytes([fill]))


def udp_frame(payload: bytes, checksum: int = 0) -> bytes:
    segment = struct.pack(">HHHH", 68, 67, 8 + len(payload), checksum) + payload
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 17, 0, b"\n\0\0\1", b"\n\0\0\2"
    )
    return OURS + bytes(6) + b"\x08\x00" + header + segment


@pytest.mark.parametrize(("revision", "letter"), [(DM9000A, 0x19), (DM9000E, 0x00)])
def test_the_probe_finds_the_identifier_and_the_revision(revision: int, letter: int) -> None:
    driver = Driver(revision=revision)
    driver.reset()
    assert [driver.ior(0x28 + i) for i in range(4)] == [0x46, 0x0A, 0x00, 0x90]
    assert driver.ior(0x2C) == letter
    assert driver.ior(ISR) >> 6 == 0, "16-bit mode"


def test_without_a_mac_option_neither_eeprom_nor_chip_hold_a_valid_address() -> None:
    driver = Driver()
    assert [driver.read_eeprom(i) for i in range(3)] == [0xFFFF] * 3
    assert [driver.ior(PAR + i) for i in range(6)] == [0] * 6


def test_a_mac_option_is_in_the_eeprom_and_in_the_chip_and_survives_resets() -> None:
    driver = Driver(mac=OURS)
    assert b"".join(driver.read_eeprom(i).to_bytes(2, "little") for i in range(3)) == OURS
    driver.reset()
    assert bytes(driver.ior(PAR + i) for i in range(6)) == OURS
    driver.iow(PAR, 0xAA)
    driver.chip.reset()
    assert bytes(driver.ior(PAR + i) for i in range(6)) == OURS


def test_a_mac_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a MAC address has 6 bytes, not 5"):
        Driver(mac=b"12345")


def test_a_written_eeprom_word_reads_back_only_with_write_enable() -> None:
    driver = Driver()
    for enable, value in ((0x00, 0x1111), (0x10, 0x2222)):
        driver.iow(EPAR, 9)
        driver.iow(EPDRL, value & 0xFF)
        driver.iow(EPDRH, value >> 8)
        driver.iow(EPCR, enable | 0x02)
        assert driver.ior(EPCR) & 1
        driver.wait(5_000_000)
        assert not driver.ior(EPCR) & 1
        driver.iow(EPCR, 0)
        assert driver.read_eeprom(9) == (value if enable else 0xFFFF)


def test_the_link_comes_up_after_the_phy_got_power_and_interrupts() -> None:
    driver = Driver()
    driver.open()
    assert not driver.ior(NSR) & 0x40
    assert not driver.phy_read(1) & 4
    driver.wait(3_000_000_000)
    assert driver.line.level == 1
    assert driver.ior(ISR) & LNKCHG
    assert driver.ior(NSR) & 0xC0 == 0x40
    assert driver.ior(NCR) & 8, "full duplex"
    assert driver.phy_read(1) & 0x24 == 0x24
    assert driver.phy_read(5) == 0x45E1
    assert (driver.phy_read(2), driver.phy_read(3)) == (0x0181, 0xB8A0)


def test_the_dm9000e_has_no_link_interrupt() -> None:
    driver = Driver(revision=DM9000E)
    driver.open()
    driver.wait(3_000_000_000)
    assert driver.ior(NSR) & 0x40
    assert driver.ior(ISR) == 0


def test_pulling_the_cable_takes_the_link_down_and_interrupts(driver: Driver) -> None:
    driver.chip.port.set_link(False)
    assert driver.line.level == 1
    assert not driver.ior(NSR) & 0x40


def test_a_sent_packet_reaches_the_wire_and_completes(driver: Driver) -> None:
    frame = frame_to(b"\xff" * 6, 101)
    driver.load(frame)
    driver.request(101)
    assert driver.ior(TCR) & 1
    assert driver.sent == []
    driver.wait(80 * (101 + 24))
    assert driver.sent == [frame]
    assert not driver.ior(TCR) & 1
    assert driver.line.level == 1
    assert driver.ior(ISR) == PTS
    assert driver.ior(NSR) & 0x0C == 0x04
    assert driver.ior(NSR) & 0x0C == 0, "reading clears"
    driver.iow(ISR, PTS)
    assert driver.line.level == 0


def test_a_second_packet_waits_in_memory_while_the_first_is_sent(driver: Driver) -> None:
    first, second = frame_to(b"\xff" * 6, 61, 1), frame_to(b"\xff" * 6, 64, 2)
    driver.load(first)
    driver.request(61)
    driver.load(second)
    driver.wait(1_000_000)
    assert driver.ior(NSR) & 0x0C == 0x04
    driver.request(64)
    driver.wait(1_000_000)
    assert driver.ior(NSR) & 0x0C == 0x08
    assert driver.sent == [first, second]


def test_many_packets_go_round_the_transmit_memory(driver: Driver) -> None:
    frames = [frame_to(b"\xff" * 6, 61 + 97 * (i % 14), i) for i in range(40)]
    for frame in frames:
        driver.send(frame)
    assert driver.sent == frames


def test_short_packets_are_padded_to_60_bytes(driver: Driver) -> None:
    driver.send(b"\xff" * 20)
    assert driver.sent == [b"\xff" * 20 + bytes(40)]


def test_without_a_link_packets_are_lost_with_no_carrier() -> None:
    driver = Driver()
    driver.open()
    driver.chip.port.set_link(False)
    driver.send(frame_to(b"\xff" * 6))
    assert driver.sent == []
    assert driver.ior(0x03) == 0x20


def test_a_received_packet_has_a_header_and_its_checksum(driver: Driver) -> None:
    frame = frame_to(OURS, 75)
    assert driver.chip.receive(frame)
    assert driver.line.level == 1
    assert driver.ior(ISR) == PRS
    assert driver.rx() == frame + zlib.crc32(frame).to_bytes(4, "little")
    assert driver.rx() is None


def test_many_packets_go_round_the_receive_memory(driver: Driver) -> None:
    for i in range(60):
        frame = frame_to(OURS, 60 + 31 * (i % 40), i)
        assert driver.chip.receive(frame)
        assert driver.rx() == frame + zlib.crc32(frame).to_bytes(4, "little")
    assert driver.rx() is None


def test_a_full_memory_loses_packets_and_keeps_those_it_has(driver: Driver) -> None:
    frame = frame_to(OURS, 1514)
    kept = 0
    while driver.chip.receive(frame):
        kept += 1
    assert kept == (13 * 1024 - 4) // (4 + 1518)
    assert driver.ior(ISR) & 4
    assert driver.ior(0x07) == 1
    for _ in range(kept):
        assert driver.rx() == frame + zlib.crc32(frame).to_bytes(4, "little")
    assert driver.rx() is None


def test_the_filter_takes_what_is_ours_broadcast_or_in_the_hash_table(driver: Driver) -> None:
    multicast = bytes.fromhex("01005e000001")
    other = bytes.fromhex("020000000099")
    for destination, wanted in ((OURS, True), (b"\xff" * 6, True), (multicast, False), (other, False)):
        driver.chip.receive(frame_to(destination))
        assert (driver.rx() is not None) is wanted
    # ether_crc_le() of the driver: the bitwise CRC, not inverted at the end
    crc = 0xFFFFFFFF
    for byte in multicast:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    driver.iow(MAR + (crc & 0x3F) // 8, 1 << (crc & 7))
    driver.chip.receive(frame_to(multicast))
    assert driver.rx() is not None
    driver.iow(RCR, 0x33)
    driver.chip.receive(frame_to(other))
    assert driver.rx() is not None


def test_nothing_is_received_with_the_receiver_off(driver: Driver) -> None:
    driver.iow(RCR, 0)
    assert driver.chip.receive(frame_to(OURS))
    assert driver.ior(ISR) == 0


def test_the_dm9000a_fills_in_checksums_when_asked(driver: Driver) -> None:
    driver.iow(TCSCR, 0x07)
    driver.send(udp_frame(b"x" * 41))
    frame = driver.sent[0]
    assert dm9000_checksum.ones_complement_sum(frame[14:34]) == 0xFFFF
    assert dm9000_checksum.check(frame) == 0x14


def test_received_checksums_are_reported_in_the_header(driver: Driver) -> None:
    driver.iow(RCSCSR, 0x02)
    good = dm9000_checksum.insert(udp_frame(b"y" * 40), ip=True, tcp=True, udp=True)
    driver.chip.receive(good)
    assert driver.ior(MRCMDX) == 0x15
    assert driver.rx() is not None
    driver.chip.receive(good[:-1] + b"z")
    assert driver.ior(MRCMDX) == 0x95


def test_internal_loopback_receives_what_is_sent(driver: Driver) -> None:
    driver.iow(NCR, 0x02)
    frame = frame_to(OURS)
    driver.send(frame)
    assert driver.sent == []
    assert driver.rx() == frame + zlib.crc32(frame).to_bytes(4, "little")


def test_a_soft_reset_empties_the_memory_and_keeps_address_and_link(driver: Driver) -> None:
    driver.chip.receive(frame_to(OURS))
    driver.load(b"half a packet")
    driver.reset()
    assert driver.rx() is None
    assert bytes(driver.ior(PAR + i) for i in range(6)) == OURS
    assert driver.ior(NSR) & 0x40
    driver.send(frame_to(b"\xff" * 6))
    assert driver.sent == [frame_to(b"\xff" * 6)]


def test_the_reset_bit_reads_one_for_ten_microseconds() -> None:
    driver = Driver()
    driver.iow(NCR, 1)
    assert driver.ior(NCR) & 1
    driver.wait(10_000)
    assert not driver.ior(NCR) & 1


def test_32_bit_accesses_are_two_of_the_16_bit_bus(driver: Driver) -> None:
    driver.chip.receive(frame_to(OURS))
    driver.chip.write(INDEX, 1, MRCMD)
    assert driver.chip.read(DATA, 4) == 0x01 | 64 << 16


def test_only_address_line_2_matters() -> None:
    driver = Driver()
    driver.chip.write(0x000, 1, 0x28)
    assert driver.chip.read(0x300, 1) == 0x28
    assert driver.chip.read(0x00C, 1) == 0x46


def test_a_peek_of_the_data_port_moves_nothing(driver: Driver) -> None:
    driver.chip.receive(frame_to(OURS))
    driver.chip.write(INDEX, 1, MRCMD)
    assert driver.chip.peek(DATA, 2) == driver.chip.peek(DATA, 2) == 0x01
    list(driver.chip.dump())
    assert driver.chip.read(DATA, 2) == 0x01
    assert driver.chip.read(DATA, 2) == 64


def test_a_saved_chip_goes_on_elsewhere(driver: Driver) -> None:
    driver.send(frame_to(b"\xff" * 6, 200, 0xAA))
    driver.chip.receive(frame_to(OURS))
    driver.load(frame_to(b"\xff" * 6))
    driver.request(60)
    state = driver.chip.save()
    other = Driver()
    other.clock.load(driver.clock.save())
    other.chip.load(state)
    assert other.line.level == 1
    other.wait(1_000_000)
    assert other.sent == [frame_to(b"\xff" * 6)]
    other.chip.receive(frame_to(OURS, 80))
    assert [len(other.rx() or b"") for _ in range(2)] == [64, 84]


def test_an_unknown_register_is_a_guest_error_and_reads_zero() -> None:
    driver = Driver()
    assert driver.ior(0xE0) == 0
    driver.iow(0xF9, 0xFF)
    assert driver.chip.log.count == 2


FCR, FCTR, WCR = 0x0A, 0x09, 0x0F


def test_frames_take_their_time_on_the_wire(driver: Driver) -> None:
    for fill in range(3):
        driver.chip.port.receive(frame_to(OURS, 1514, fill))
    assert driver.rx() is None
    each = 80 * (1514 + 24)
    driver.wait(each - 80)
    assert driver.rx() is None
    driver.wait(80)
    assert driver.rx() is not None
    assert driver.rx() is None
    driver.wait(2 * each)
    assert [(driver.rx() or b"")[20] for _ in range(2)] == [1, 2]


def test_flow_control_keeps_frames_back_while_memory_is_short(driver: Driver) -> None:
    driver.iow(FCR, 0xFF)
    frames = [frame_to(OURS, 1514, fill) for fill in range(20)]
    for frame in frames:
        driver.chip.port.receive(frame)
    driver.wait(100_000_000)
    # 13 KB, of which 3 KB stay free
    got = []
    while (packet := driver.rx()) is not None:
        got.append(packet)
    assert len(got) == 7
    while driver.wait(10_000_000) or (packet := driver.rx()) is not None:
        assert packet is not None
        got.append(packet)
    assert [packet[:-4] for packet in got] == frames
    assert driver.ior(0x07) == 0, "none was lost"


def test_without_flow_control_a_full_memory_loses_frames(driver: Driver) -> None:
    for fill in range(20):
        driver.chip.port.receive(frame_to(OURS, 1514, fill))
    driver.wait(100_000_000)
    assert driver.ior(0x07) == 12


def test_a_pause_ends_by_itself_when_nothing_is_read(driver: Driver) -> None:
    driver.iow(FCR, 0x20)
    for fill in range(8):
        driver.chip.port.receive(frame_to(OURS, 1514, fill))
    driver.wait(100_000_000)
    assert driver.ior(0xF4) | driver.ior(0xF5) << 8 == 0x0C00
    before = driver.ior(0x24) | driver.ior(0x25) << 8
    driver.wait(400_000_000)
    assert driver.ior(0x24) | driver.ior(0x25) << 8 > before


def test_the_flow_control_register_has_bits_that_clear_themselves() -> None:
    driver = Driver()
    driver.iow(FCR, 0xFF)
    assert driver.ior(FCR) == 0x39


def test_a_magic_packet_is_told_where_it_was_asked_for(driver: Driver) -> None:
    magic = frame_to(b"\xff" * 6, 20) + b"\xff" * 6 + OURS * 16
    driver.chip.receive(magic)
    assert not driver.ior(NSR) & 0x20
    driver.iow(NCR, 0x40)
    driver.iow(WCR, 0x08)
    driver.chip.receive(frame_to(b"\xff" * 6, 200))
    assert not driver.ior(NSR) & 0x20
    driver.chip.receive(magic)
    assert driver.ior(NSR) & 0x20
    assert driver.ior(WCR) == 0x09
    assert driver.ior(WCR) == 0x08, "reading clears the status"
    driver.iow(NSR, 0x20)
    assert not driver.ior(NSR) & 0x20


def through_the_stream(chip: Dm9000, count: int, data: bytes | None = None) -> bytes:
    """Move words as the engine does: natively while the stream serves them, else by the handlers."""
    stream = chip.mac.stream
    moved = b""
    for number in range(count):
        at = stream.position
        if data is None:
            if at + 2 <= stream.read_limit:
                moved += bytes(stream.buffer[at : at + 2])
                stream.position = at + 2
            else:
                moved += chip.read(DATA, 2).to_bytes(2, "little")
        else:
            word = data[2 * number : 2 * number + 2]
            if at + 2 <= stream.write_limit:
                stream.buffer[at : at + 2] = word
                stream.position = at + 2
            else:
                chip.write(DATA, 2, int.from_bytes(word, "little"))
    return moved


def test_packets_that_go_through_the_stream_are_the_same(driver: Driver) -> None:
    chip = driver.chip
    for number in range(60):
        frame = frame_to(OURS, 60 + 2 * (137 * number % 700), number)
        chip.receive(frame)
        driver.ior(MRCMDX)
        chip.write(INDEX, 1, MRCMD)
        header = through_the_stream(chip, 2)
        length = int.from_bytes(header[2:], "little")
        assert length == len(frame) + 4
        assert through_the_stream(chip, length // 2)[:-4] == frame
        assert chip.peek(DATA, 2) & 0xFF == 0, "no more is there"
        chip.write(INDEX, 1, MWCMD)
        through_the_stream(chip, len(frame) // 2, frame)
        driver.request(len(frame))
        driver.wait(1_000_000)
        assert driver.sent[-1] == frame


def test_what_a_stream_has_moved_is_known_to_all_others(driver: Driver) -> None:
    chip = driver.chip
    chip.receive(frame_to(OURS, 200))
    chip.write(INDEX, 1, MRCMD)
    through_the_stream(chip, 10)
    assert any(str(fact.value).endswith(", 0x0c14") for fact in chip.facts())
    saved = chip.save()
    other = Driver()
    other.chip.load(saved)
    rest = through_the_stream(chip, 94)
    assert through_the_stream(other.chip, 94) == rest
    assert (chip.read(DATA, 4), driver.ior(0xF4)) == (other.chip.read(DATA, 4), other.ior(0xF4))
    chip.reset()
    assert driver.ior(0xF4) | driver.ior(0xF5) << 8 == 0x0C00
