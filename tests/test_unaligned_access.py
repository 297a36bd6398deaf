"""Unaligned accesses with alignment checks off (ARM ARM A2.7.3), cold and with the page in the TLB."""

from __future__ import annotations

import pytest

from tests.arm_programs import CODE, DATA, Guest

WORDS = (0x44332211, 0x88776655, 0xCCBBAA99)


@pytest.fixture(params=[False, True], ids=["cold", "warm"])
def guest(request: pytest.FixtureRequest) -> Guest:
    guest = Guest()
    if request.param:
        guest.start("ldr r0, [r1]; str r0, [r1]", r1=DATA)
        guest.run()
    guest.put(DATA, *WORDS)
    return guest


def execute(guest: Guest, instruction: str, **registers: int) -> None:
    guest.start(instruction, **registers)
    guest.run()


@pytest.mark.parametrize(("low", "value"), [(1, 0x11443322), (2, 0x22114433), (3, 0x33221144)])
@pytest.mark.parametrize("instruction", ["ldr r0, [r1]", "ldrt r0, [r1], #0", "swp r0, r2, [r1]"])
def test_a_word_is_read_rotated(guest, instruction, low, value) -> None:
    execute(guest, instruction, r1=DATA + low, r2=0x01020304)
    assert guest["r0"] == value


@pytest.mark.parametrize("low", [1, 2, 3])
@pytest.mark.parametrize("instruction", ["str r2, [r1]", "swp r0, r2, [r1]"])
def test_a_word_is_written_to_the_aligned_address_as_it_is(guest, instruction, low) -> None:
    execute(guest, instruction, r1=DATA + low, r2=0x01020304)
    assert [guest.word(DATA), guest.word(DATA + 4)] == [0x01020304, WORDS[1]]


@pytest.mark.parametrize("low", [1, 2, 3])
def test_block_transfers_ignore_the_low_bits_and_keep_them_in_the_base(guest, low) -> None:
    execute(guest, "ldmia r1!, {r2-r4}; stmdb r1!, {r3, r4}", r1=DATA + low)
    assert [guest[f"r{n}"] for n in (2, 3, 4)] == list(WORDS)
    assert guest["r1"] == DATA + low + 4
    assert [guest.word(DATA + 4 * k) for k in range(3)] == list(WORDS)


@pytest.mark.parametrize(("low", "value"), [(1, 0x2211), (3, 0x4433)])
def test_a_halfword_ignores_the_lowest_bit(guest, low, value) -> None:
    execute(guest, "ldrh r0, [r1]; strh r3, [r1, #4]", r1=DATA + low, r3=0xABCD)
    assert guest["r0"] == value
    assert guest.word(DATA + 4) == (0x8877ABCD if low == 1 else 0xABCD6655)


def test_the_pc_is_read_from_an_unaligned_address_rotated(guest) -> None:
    target = CODE + 0x100
    guest.put(DATA, (target << 8 | target >> 24) & 0xFFFFFFFF)
    guest.start("ldr pc, [r1]", r1=DATA + 1)
    guest.step()
    assert guest["pc"] == target
