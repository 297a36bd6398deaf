"""SD and MMC cards by themselves: what they answer, and the blocks they keep."""

import pytest
from virtual_time import advance

from dbgemu.target.block import MemoryMedium
from dbgemu.target.chips.card_registers import crc7, sd_csd
from dbgemu.target.chips.memory_card import MemoryCard, State
from dbgemu.target.chips.mmc_card import MmcCard
from dbgemu.target.chips.sd_card import SdCard
from dbgemu.target.clock import VirtualClock

MIB = 1 << 20
OUT_OF_RANGE, ADDRESS_ERROR, BLOCK_LEN_ERROR, ERASE_SEQ, WP_VIOLATION = (
    1 << 31,
    1 << 30,
    1 << 29,
    1 << 28,
    1 << 26,
)
ILLEGAL = 1 << 22
HIGH_CAPACITY = 1 << 30


def word(card: MemoryCard, index: int, argument: int = 0) -> int:
    """What a command of four bytes answers."""
    answer = card.execute(index, argument)
    assert answer is not None, f"CMD{index} was not answered"
    return int.from_bytes(answer.content, "big")


def status(card: MemoryCard) -> int:
    return word(card, 13, card.rca << 16)


def sd_card(size: int = 8 * MIB, *, read_only: bool = False) -> SdCard:
    """A card that has been identified and selected."""
    card = SdCard("card", MemoryMedium(size, read_only=read_only), clock=VirtualClock())
    card.execute(0, 0)
    word(card, 8, 0x1AA)
    word(card, 55)
    word(card, 41, 0x40FF8000)
    card.execute(2, 0)
    word(card, 3)
    word(card, 7, card.rca << 16)
    return card


def mmc_card(size: int = 8 * MIB) -> MmcCard:
    card = MmcCard("card", MemoryMedium(size), clock=VirtualClock())
    card.execute(0, 0)
    word(card, 1, 0x40FF8000)
    card.execute(2, 0)
    word(card, 3, 0x0001_0000)
    word(card, 7, 0x0001_0000)
    return card


def settle(card: MemoryCard) -> None:
    advance(card._clock, 1_000_000)


def test_the_checksum_is_that_of_the_specifications_examples() -> None:
    assert crc7(bytes([0x40, 0, 0, 0, 0])) == 0x4A
    assert crc7(bytes([0x51, 0, 0, 0, 0])) == 0x2A
    assert crc7(bytes([0x11, 0, 0, 0x09, 0])) == 0x33


@pytest.mark.parametrize("size", [MIB, 8 * MIB, 100 * MIB, 1 << 30, 2 << 30])
def test_the_csd_of_a_small_card_multiplies_to_its_size(size: int) -> None:
    csd = int.from_bytes(sd_csd(size), "big")
    block_length, count, multiplier = csd >> 80 & 15, csd >> 62 & 0xFFF, csd >> 47 & 7
    assert (count + 1) << multiplier + 2 << block_length == size
    assert csd >> 126 == 0


def test_the_csd_of_a_large_card_counts_half_mebibytes() -> None:
    csd = int.from_bytes(sd_csd(4 << 30), "big")
    assert csd >> 126 == 1
    assert ((csd >> 48 & 0x3FFFFF) + 1) * 512 << 10 == 4 << 30


@pytest.mark.parametrize(
    ("size", "next_one"),
    [(8 * MIB + 512, 8392704), ((4 << 30) + 512, 4295491584), ((1 << 30) + 512, (1 << 30) + (512 << 10))],
)
def test_a_size_that_no_card_has_is_refused_with_the_next_one(size: int, next_one: int) -> None:
    with pytest.raises(ValueError, match=f"no card has {size} bytes: {next_one} is the next size"):
        sd_csd(size)


def test_identification_goes_through_its_states() -> None:
    card = SdCard("card", MemoryMedium(8 * MIB), clock=VirtualClock())
    assert word(card, 8, 0x1AA) == 0x1AA
    assert card.execute(8, 0x2AA) is None, "another voltage"
    word(card, 55)
    assert word(card, 41, 0) == 0x00FF8000, "only asked: not ready"
    word(card, 55)
    assert word(card, 41, 0x40FF8000) == 0x80FF8000
    answer = card.execute(2, 0)
    assert answer is not None
    assert (answer.number, len(answer.content), answer.content[3:8]) == (63, 16, b"GEMU ")
    answered = word(card, 3)
    assert answered >> 16 == card.rca != 0
    assert card.state is State.STANDBY
    assert card.execute(7, 0xBAD0000) is None
    word(card, 7, card.rca << 16)
    assert status(card) >> 9 & 15 == State.TRANSFER


def test_a_large_card_stays_busy_for_a_host_that_does_not_know_such() -> None:
    class Large:
        size, read_only = 4 << 30, False

        def read(self, offset: int, length: int) -> bytes:
            return offset.to_bytes(8, "little").ljust(length, b"\0")

        def write(self, offset: int, data: bytes) -> None:
            raise AssertionError

        def flush(self) -> None:
            pass

    large = SdCard("card", Large(), clock=VirtualClock())
    word(large, 55)
    assert not word(large, 41, 0x00FF8000) >> 31
    word(large, 55)
    assert word(large, 41, 0x40FF8000) >> 30 == 3
    large.execute(2, 0)
    word(large, 3)
    word(large, 7, large.rca << 16)
    word(large, 17, 1000)
    assert large.read_block()[:8] == (512000).to_bytes(8, "little"), "sectors are addressed"


def test_blocks_are_read_as_they_were_written() -> None:
    card = sd_card()
    word(card, 24, 1024)
    assert card.write_block(b"a" * 512)
    assert card.busy
    settle(card)
    assert status(card) >> 9 & 15 == State.TRANSFER
    word(card, 25, 1536)
    assert card.write_block(b"b" * 512)
    assert card.write_block(b"c" * 512)
    word(card, 12)
    assert status(card) >> 9 & 15 == State.PROGRAMMING
    settle(card)
    word(card, 18, 1024)
    assert [card.read_block()[:1] for _ in range(3)] == [b"a", b"b", b"c"]
    word(card, 12)
    assert card.read_block() is None
    word(card, 55, card.rca << 16)
    word(card, 22)
    assert card.read_block() == (2).to_bytes(4, "big"), "two blocks were written well"


def test_part_of_a_block_is_read_but_not_written() -> None:
    card = sd_card()
    word(card, 24, 512)
    card.write_block(bytes(range(256)) * 2)
    settle(card)
    word(card, 16, 16)
    word(card, 17, 512 + 32)
    assert card.read_block() == bytes(range(32, 48))
    assert word(card, 17, 1024 - 8) & ADDRESS_ERROR
    assert word(card, 24, 0) & BLOCK_LEN_ERROR
    assert word(card, 16, 1024) & BLOCK_LEN_ERROR


@pytest.mark.parametrize("index", [17, 18, 24, 25])
def test_addresses_behind_the_end_are_refused(index: int) -> None:
    card = sd_card()
    assert word(card, index, 8 * MIB) & OUT_OF_RANGE
    assert card.state is State.TRANSFER
    assert not status(card) & OUT_OF_RANGE, "an error is told once"


def test_reading_past_the_end_stops_with_an_error() -> None:
    card = sd_card()
    word(card, 18, 8 * MIB - 512)
    assert card.read_block() is not None
    assert card.read_block() is None
    assert word(card, 12) & OUT_OF_RANGE


def test_a_write_protected_card_keeps_its_blocks() -> None:
    card = sd_card(read_only=True)
    assert word(card, 24, 0) & WP_VIOLATION
    word(card, 32, 0)
    word(card, 33, 0)
    assert word(card, 38) & WP_VIOLATION
    word(card, 17, 0)
    assert card.read_block() == bytes(512)


def test_erasing_needs_its_commands_in_order_and_clears() -> None:
    card = sd_card()
    card.medium.write(0, b"x" * 2048)
    assert word(card, 38) & ERASE_SEQ
    assert word(card, 33, 512) & ERASE_SEQ
    word(card, 32, 512)
    word(card, 33, 1024)
    word(card, 38)
    assert card.busy
    assert card.medium.read(0, 2048) == b"x" * 512 + bytes(1024) + b"x" * 512


def test_what_a_state_does_not_allow_is_not_answered_and_told_later() -> None:
    card = sd_card()
    assert card.execute(2, 0) is None
    assert card.execute(60, 0) is None
    assert status(card) & ILLEGAL
    assert not status(card) & ILLEGAL


def test_an_inactive_card_stays_silent() -> None:
    card = sd_card()
    card.execute(15, card.rca << 16)
    assert card.execute(0, 0) is None
    assert card.execute(13, card.rca << 16) is None


def test_the_registers_that_come_as_blocks() -> None:
    card = sd_card()
    word(card, 55, card.rca << 16)
    word(card, 51)
    assert card.read_block() == bytes((2, 5, 0, 0, 0, 0, 0, 0))
    word(card, 55, card.rca << 16)
    word(card, 6, 2)
    assert card.wide
    word(card, 55, card.rca << 16)
    word(card, 13)
    sd_status = card.read_block()
    assert (len(sd_status), sd_status[0]) == (64, 0x80)
    word(card, 6, 0x80FFFFF1)
    switched = card.read_block()
    assert (len(switched), switched[16] & 15) == (64, 1), "high speed"


def test_an_mmc_card_is_told_its_address_and_its_bus() -> None:
    card = mmc_card()
    assert card.rca == 1
    word(card, 6, 3 << 24 | 183 << 16 | 1 << 8)
    assert card.wide
    word(card, 6, 3 << 24 | 183 << 16 | 2 << 8)
    assert status(card) & 1 << 7, "no eight data lines"
    word(card, 8)
    ext_csd = card.read_block()
    assert (len(ext_csd), ext_csd[183], ext_csd[192]) == (512, 1, 3)
    assert card.execute(55, card.rca << 16) is None, "that is an SD card's"


def test_an_mmc_card_counts_blocks_for_the_host() -> None:
    card = mmc_card()
    word(card, 23, 2)
    word(card, 25, 0)
    card.write_block(b"a" * 512)
    card.write_block(b"b" * 512)
    settle(card)
    assert status(card) >> 9 & 15 == State.TRANSFER, "no CMD12 is needed"
    word(card, 35, 0)
    word(card, 36, 0)
    word(card, 38)
    assert card.medium.read(0, 32 * 512) == bytes(32 * 512), "a whole erase group"


@pytest.mark.parametrize("make", [sd_card, mmc_card])
def test_a_card_goes_on_from_its_saved_state(make) -> None:
    card = make()
    word(card, 25, 4096)
    card.write_block(b"a" * 512)
    other = type(card)("card", card.medium, clock=card._clock)
    other.load(card.save())
    assert other.write_block(b"b" * 512)
    assert card.medium.read(4608, 512) == b"b" * 512
    assert other.save()["_address"] == 5120
