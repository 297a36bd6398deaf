"""The interrupt controller: latching, masks, arbitration, FIQ, snapshots."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbgemu.target.bus import Bus
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.s3c2440.interrupt import (
    ARBITERS,
    SOURCES,
    SUB_SOURCES,
    InterruptController,
)

BASE = 0x4A00_0000
SRCPND, INTMOD, INTMSK, PRIORITY, INTPND, INTOFFSET, SUBSRCPND, INTSUBMSK = range(0x00, 0x20, 4)
REGISTERS = (SRCPND, INTMOD, INTMSK, PRIORITY, INTPND, INTOFFSET, SUBSRCPND, INTSUBMSK)

BIT = {source.name: source.mask for source in SOURCES}
SUB = {source.name: source.mask for source in SUB_SOURCES}


def make(*unmasked, log=None):
    intc = InterruptController("intc", log=log)
    intc.write(PRIORITY, 4, 0)  # fixed priorities
    intc.write(INTMSK, 4, 0xFFFF_FFFF & ~sum(BIT[name] for name in unmasked))
    return intc


def acknowledge(intc, name):
    intc.write(SRCPND, 4, BIT[name])
    intc.write(INTPND, 4, BIT[name])


# -- what there is ---------------------------------------------------------------------------


def test_registers_have_the_reset_values_of_the_manual():
    intc = InterruptController()
    assert [intc.read(offset, 4) for offset in REGISTERS] == [0, 0, 0xFFFF_FFFF, 0x7F, 0, 0, 0, 0xFFFF]


def test_there_are_32_sources_and_15_sub_sources_on_distinct_bits():
    assert [source.bit for source in SOURCES] == list(range(32))
    assert [source.bit for source in SUB_SOURCES] == list(range(15))
    assert len({source.name for source in SOURCES + SUB_SOURCES}) == 47


def test_every_source_belongs_to_one_arbiter():
    names = [name for requests in ARBITERS for name in requests.values()]
    assert sorted(names) == sorted(BIT)


@pytest.mark.parametrize(
    ("name", "bit"),
    [
        ("EINT0", 0),
        ("EINT4_7", 4),
        ("EINT8_23", 5),
        ("INT_TICK", 8),
        ("INT_TIMER4", 14),
        ("INT_LCD", 16),
        ("INT_DMA3", 20),
        ("INT_SDI", 21),
        ("INT_NFCON", 24),
        ("INT_USBH", 26),
        ("INT_IIC", 27),
        ("INT_RTC", 30),
    ],
)
def test_sources_sit_on_the_bits_that_linux_expects(name, bit):
    intc = make(name)
    intc.source(name).pulse()
    assert intc.read(SRCPND, 4) == 1 << bit
    assert intc.read(INTPND, 4) == 1 << bit
    assert intc.read(INTOFFSET, 4) == bit


@pytest.mark.parametrize(
    ("sub", "bit", "parent"),
    [
        ("INT_RXD0", 0, 28),
        ("INT_TXD0", 1, 28),
        ("INT_ERR0", 2, 28),
        ("INT_RXD1", 3, 23),
        ("INT_TXD1", 4, 23),
        ("INT_ERR1", 5, 23),
        ("INT_RXD2", 6, 15),
        ("INT_TXD2", 7, 15),
        ("INT_ERR2", 8, 15),
        ("INT_TC", 9, 31),
        ("INT_ADC_S", 10, 31),
        ("INT_CAM_C", 11, 6),
        ("INT_CAM_P", 12, 6),
        ("INT_WDT", 13, 9),
        ("INT_AC97", 14, 9),
    ],
)
def test_sub_sources_fold_into_the_parents_that_linux_expects(sub, bit, parent):
    intc = make()
    intc.write(INTSUBMSK, 4, 0xFFFF & ~(1 << bit))
    intc.source(sub).pulse()
    assert intc.read(SUBSRCPND, 4) == 1 << bit
    assert intc.read(SRCPND, 4) == 1 << parent


def test_an_unknown_source_is_refused_with_the_names_that_exist():
    with pytest.raises(KeyError) as caught:
        InterruptController().source("INT_TIMER5")
    text = caught.value.args[0]
    assert text.startswith(
        "the S3C2440A has no interrupt source 'INT_TIMER5': the sources are EINT0, EINT1, "
    )
    assert text.endswith("INT_WDT, INT_AC97")


# -- latching --------------------------------------------------------------------------------


def test_a_masked_request_is_latched_but_not_passed_on():
    intc = make()
    intc.source("INT_TIMER4").pulse()
    assert intc.read(SRCPND, 4) == BIT["INT_TIMER4"]
    assert intc.read(INTPND, 4) == 0
    assert intc.irq.level == 0


def test_unmasking_a_latched_request_raises_the_interrupt():
    intc = make()
    intc.source("INT_TIMER4").pulse()
    intc.write(INTMSK, 4, 0xFFFF_FFFF & ~BIT["INT_TIMER4"])
    assert intc.read(INTPND, 4) == BIT["INT_TIMER4"]
    assert intc.irq.level == 1


def test_clearing_srcpnd_then_intpnd_ends_the_interrupt():
    intc = make("INT_TIMER4")
    intc.source("INT_TIMER4").pulse()
    intc.write(SRCPND, 4, BIT["INT_TIMER4"])
    assert intc.irq.level == 1
    intc.write(INTPND, 4, BIT["INT_TIMER4"])
    assert (intc.irq.level, intc.read(INTPND, 4), intc.read(INTOFFSET, 4)) == (0, 0, 0)


def test_clearing_intpnd_first_makes_the_interrupt_come_again():
    intc = make("INT_TIMER4")
    intc.source("INT_TIMER4").pulse()
    intc.write(INTPND, 4, BIT["INT_TIMER4"])
    assert intc.irq.level == 1
    assert intc.read(INTPND, 4) == BIT["INT_TIMER4"]


def test_writing_zeros_clears_nothing():
    intc = make("INT_TIMER4")
    intc.source("INT_TIMER4").pulse()
    intc.write(SRCPND, 4, ~BIT["INT_TIMER4"] & 0xFFFF_FFFF)
    intc.write(INTPND, 4, ~BIT["INT_TIMER4"] & 0xFFFF_FFFF)
    assert intc.read(SRCPND, 4) == intc.read(INTPND, 4) == BIT["INT_TIMER4"]
    assert intc.irq.level == 1


def test_a_request_stays_latched_after_its_line_has_dropped():
    intc = make()
    line = intc.source("EINT8_23")
    line.set(1)
    line.set(0)
    assert intc.read(SRCPND, 4) == BIT["EINT8_23"]


def test_a_level_source_that_is_still_up_latches_again_when_cleared():
    intc = make("INT_USBH")
    line = intc.source("INT_USBH")
    line.set(1)
    acknowledge(intc, "INT_USBH")
    assert intc.read(SRCPND, 4) == BIT["INT_USBH"]
    assert intc.irq.level == 1
    line.set(0)
    acknowledge(intc, "INT_USBH")
    assert intc.read(SRCPND, 4) == 0
    assert intc.irq.level == 0


def test_an_edge_source_that_is_still_up_waits_for_its_next_edge():
    intc = make("INT_IIC")
    line = intc.source("INT_IIC")
    line.set(1)
    acknowledge(intc, "INT_IIC")
    assert intc.read(SRCPND, 4) == 0
    assert intc.irq.level == 0
    line.set(0)
    assert intc.read(SRCPND, 4) == 0
    line.set(1)
    assert intc.irq.level == 1


def test_a_level_sub_source_that_is_still_up_latches_again_when_cleared():
    intc = make("INT_UART0")
    intc.write(INTSUBMSK, 4, 0xFFFF & ~SUB["INT_TXD0"])
    line = intc.source("INT_TXD0")
    line.set(1)
    intc.write(SUBSRCPND, 4, SUB["INT_TXD0"])
    assert intc.read(SUBSRCPND, 4) == SUB["INT_TXD0"]
    line.set(0)
    intc.write(SUBSRCPND, 4, SUB["INT_TXD0"])
    assert intc.read(SUBSRCPND, 4) == 0


def test_an_edge_sub_source_that_is_still_up_waits_for_its_next_edge():
    intc = make("INT_ADC")
    intc.write(INTSUBMSK, 4, 0)
    intc.source("INT_TC").set(1)
    intc.write(SUBSRCPND, 4, SUB["INT_TC"])
    acknowledge(intc, "INT_ADC")
    assert (intc.read(SUBSRCPND, 4), intc.read(SRCPND, 4), intc.irq.level) == (0, 0, 0)


# -- sub-sources -----------------------------------------------------------------------------


def test_a_masked_sub_source_does_not_reach_its_parent_until_unmasked():
    intc = make("INT_UART0")
    intc.source("INT_RXD0").set(1)
    assert intc.read(SUBSRCPND, 4) == SUB["INT_RXD0"]
    assert intc.read(SRCPND, 4) == 0
    intc.write(INTSUBMSK, 4, 0xFFFF & ~SUB["INT_RXD0"])
    assert intc.read(SRCPND, 4) == BIT["INT_UART0"]
    assert intc.irq.level == 1


def test_a_parent_cleared_before_its_sub_source_latches_again():
    intc = make("INT_UART1")
    intc.write(INTSUBMSK, 4, 0)
    line = intc.source("INT_RXD1")
    line.pulse()
    acknowledge(intc, "INT_UART1")
    assert intc.read(SRCPND, 4) == BIT["INT_UART1"]
    intc.write(SUBSRCPND, 4, SUB["INT_RXD1"])
    acknowledge(intc, "INT_UART1")
    assert (intc.read(SRCPND, 4), intc.irq.level) == (0, 0)


def test_a_second_sub_source_is_not_lost_while_linux_serves_the_first():
    # s3c_irq_demux: acknowledge the parent, read SUBSRCPND once, serve what it showed.
    intc = make("INT_UART0")
    intc.write(INTSUBMSK, 4, 0)
    rx, tx = intc.source("INT_RXD0"), intc.source("INT_TXD0")
    rx.set(1)
    intc.write(INTMSK, 4, 0xFFFF_FFFF)
    acknowledge(intc, "INT_UART0")
    assert intc.read(SUBSRCPND, 4) == SUB["INT_RXD0"]
    tx.set(1)
    rx.set(0)
    intc.write(SUBSRCPND, 4, SUB["INT_RXD0"])
    intc.write(INTMSK, 4, 0xFFFF_FFFF & ~BIT["INT_UART0"])
    assert intc.irq.level == 1
    assert intc.read(SUBSRCPND, 4) == SUB["INT_TXD0"]


def test_masking_a_sub_source_does_not_take_back_what_its_parent_has_latched():
    intc = make("INT_UART2")
    intc.write(INTSUBMSK, 4, 0)
    intc.source("INT_RXD2").set(1)
    intc.write(INTSUBMSK, 4, 0xFFFF)
    assert intc.read(SRCPND, 4) == BIT["INT_UART2"]
    acknowledge(intc, "INT_UART2")
    assert intc.read(SRCPND, 4) == 0


# -- arbitration -----------------------------------------------------------------------------


def test_intpnd_shows_one_request_and_the_next_after_it_is_cleared():
    intc = make("EINT0", "INT_TIMER0", "INT_RTC")
    for name in ("INT_RTC", "INT_TIMER0", "EINT0"):
        intc.source(name).pulse()
    served = []
    while intc.irq.level:
        number = intc.read(INTOFFSET, 4)
        assert intc.read(INTPND, 4) == 1 << number
        served.append(SOURCES[number].name)
        acknowledge(intc, SOURCES[number].name)
    # INT_RTC came first and keeps its place; then by priority
    assert served == ["INT_RTC", "EINT0", "INT_TIMER0"]


@pytest.mark.parametrize("sel", range(4))
def test_arb_sel_gives_the_order_of_the_manual_within_an_arbiter(sel):
    order = {0: (0, 1, 2, 3, 4, 5), 1: (0, 2, 3, 4, 1, 5), 2: (0, 3, 4, 1, 2, 5), 3: (0, 4, 1, 2, 3, 5)}[sel]
    requests = ARBITERS[3]
    intc = make()
    intc.write(PRIORITY, 4, sel << 13)
    for name in requests.values():
        intc.source(name).pulse()
    intc.write(INTMSK, 4, 0)
    served = []
    while intc.irq.level:
        name = SOURCES[intc.read(INTOFFSET, 4)].name
        served.append(name)
        acknowledge(intc, name)
    assert served == [requests[req] for req in order]


@pytest.mark.parametrize("sel", range(4))
def test_arb_sel6_gives_the_order_of_the_arbiters(sel):
    order = {0: (0, 1, 2, 3, 4, 5), 1: (0, 2, 3, 4, 1, 5), 2: (0, 3, 4, 1, 2, 5), 3: (0, 4, 1, 2, 3, 5)}[sel]
    intc = make()
    intc.write(PRIORITY, 4, sel << 19)
    first = [requests[min(requests)] for requests in ARBITERS]
    for name in first:
        intc.source(name).pulse()
    intc.write(INTMSK, 4, 0)
    served = []
    while intc.irq.level:
        name = SOURCES[intc.read(INTOFFSET, 4)].name
        served.append(name)
        acknowledge(intc, name)
    assert served == [first[arbiter] for arbiter in order]


@pytest.mark.parametrize(("request_number", "sel"), [(0, 3), (1, 1), (2, 2), (3, 3), (4, 0), (5, 3)])
def test_a_rotating_arbiter_puts_what_it_served_last(request_number, sel):
    name = ARBITERS[2][request_number]
    intc = make(name)
    intc.write(PRIORITY, 4, 1 << 2 | 3 << 11)  # arbiter 2 rotates, ARB_SEL2 = 3
    intc.source(name).pulse()
    assert intc.read(PRIORITY, 4) == 1 << 2 | sel << 11


def test_the_top_arbiter_rotates_by_the_arbiter_that_it_served():
    intc = make("INT_DMA0")
    intc.write(PRIORITY, 4, 1 << 6)
    intc.source("INT_DMA0").pulse()
    assert intc.read(PRIORITY, 4) == 1 << 6 | 3 << 19


def test_rotation_lets_two_busy_sources_take_turns():
    intc = make("INT_DMA0", "INT_DMA1")
    intc.write(PRIORITY, 4, 0x7F)
    served = []
    for _ in range(4):
        intc.source("INT_DMA0").pulse()
        intc.source("INT_DMA1").pulse()
        name = SOURCES[intc.read(INTOFFSET, 4)].name
        served.append(name)
        acknowledge(intc, name)
    assert served == ["INT_DMA0", "INT_DMA1", "INT_DMA0", "INT_DMA1"]


def test_masking_what_is_in_intpnd_leaves_it_there():
    intc = make("INT_LCD")
    intc.source("INT_LCD").pulse()
    intc.write(INTMSK, 4, 0xFFFF_FFFF)
    assert intc.irq.level == 1
    intc.write(INTPND, 4, BIT["INT_LCD"])
    assert intc.irq.level == 0
    assert intc.read(SRCPND, 4) == BIT["INT_LCD"]


# -- FIQ -------------------------------------------------------------------------------------


def test_a_fiq_source_raises_fiq_and_leaves_intpnd_alone():
    intc = make("INT_TIMER0")
    intc.write(INTMOD, 4, BIT["INT_TIMER0"])
    intc.source("INT_TIMER0").pulse()
    assert (intc.fiq.level, intc.irq.level, intc.read(INTPND, 4), intc.read(INTOFFSET, 4)) == (1, 0, 0, 0)
    intc.write(SRCPND, 4, BIT["INT_TIMER0"])
    assert intc.fiq.level == 0


def test_a_masked_fiq_source_waits():
    intc = make()
    intc.write(INTMOD, 4, BIT["INT_TIMER0"])
    intc.source("INT_TIMER0").pulse()
    assert intc.fiq.level == 0
    intc.write(INTMSK, 4, 0)
    assert intc.fiq.level == 1
    intc.write(INTMSK, 4, 0xFFFF_FFFF)
    assert intc.fiq.level == 0


def test_a_pending_fiq_source_becomes_irq_when_intmod_is_cleared():
    intc = make("INT_TIMER0")
    intc.write(INTMOD, 4, BIT["INT_TIMER0"])
    intc.source("INT_TIMER0").pulse()
    intc.write(INTMOD, 4, 0)
    assert (intc.fiq.level, intc.irq.level) == (0, 1)


def test_fiq_and_irq_are_raised_side_by_side():
    intc = make("INT_TIMER0", "INT_TIMER1")
    intc.write(INTMOD, 4, BIT["INT_TIMER0"])
    intc.source("INT_TIMER0").pulse()
    intc.source("INT_TIMER1").pulse()
    assert (intc.fiq.level, intc.irq.level, intc.read(INTOFFSET, 4)) == (1, 1, 11)


def test_two_fiq_sources_are_reported_as_the_guests_mistake():
    log = GuestLog()
    messages = []
    log.listeners.append(lambda error: messages.append(str(error)))
    intc = make(log=log)
    intc.write(INTMOD, 4, 0x3)
    assert messages == ["intc: INTMOD = 0x00000003 makes more than one source FIQ"]


# -- the block as a device -------------------------------------------------------------------


def test_intoffset_is_read_only():
    log = GuestLog()
    intc = make("INT_RTC", log=log)
    intc.source("INT_RTC").pulse()
    intc.write(INTOFFSET, 4, 3)
    assert intc.read(INTOFFSET, 4) == 30
    assert log.count == 1


def test_reserved_bits_of_priority_and_intsubmsk_read_as_zero():
    intc = InterruptController()
    intc.write(PRIORITY, 4, 0xFFFF_FFFF)
    intc.write(INTSUBMSK, 4, 0xFFFF_FFFF)
    assert (intc.read(PRIORITY, 4), intc.read(INTSUBMSK, 4)) == (0x1F_FFFF, 0xFFFF)


def test_reset_masks_everything_and_drops_the_outputs():
    intc = make("INT_TIMER0", "INT_TIMER1", "INT_UART0")
    intc.write(INTSUBMSK, 4, 0)
    intc.write(INTMOD, 4, BIT["INT_TIMER1"])
    for name in ("INT_TIMER0", "INT_TIMER1"):
        intc.source(name).pulse()
    uart = intc.source("INT_RXD0")
    uart.set(1)
    intc.reset()
    assert [intc.peek(offset, 4) for offset in REGISTERS] == [0, 0, 0xFFFF_FFFF, 0x7F, 0, 0, 0, 0xFFFF]
    assert (intc.irq.level, intc.fiq.level) == (0, 0)
    uart.set(0)
    intc.write(INTSUBMSK, 4, 0)
    intc.write(INTMSK, 4, 0)
    assert intc.irq.level == 0
    uart.set(1)
    assert intc.irq.level == 1


def test_irq_changes_once_when_one_request_follows_another():
    intc = make("INT_TIMER0", "INT_TIMER1")
    changes = []
    intc.irq.connect(changes.append)
    intc.source("INT_TIMER0").pulse()
    intc.source("INT_TIMER1").pulse()
    acknowledge(intc, "INT_TIMER0")
    assert intc.read(INTPND, 4) == BIT["INT_TIMER1"]
    acknowledge(intc, "INT_TIMER1")
    assert changes == [1, 0]


def test_describe_tells_level_pending_mask_and_mode():
    intc = make("INT_UART0")
    intc.write(INTMOD, 4, BIT["INT_UART0"])
    intc.source("INT_RXD0").set(1)
    rows = {row.source.name: row for row in intc.describe()}
    assert len(rows) == 47
    row = rows["INT_RXD0"]
    assert (row.level, row.pending, row.masked, row.fiq) == (1, True, True, True)
    row = rows["INT_UART0"]
    assert (row.level, row.pending, row.masked, row.fiq) == (0, False, False, True)


def test_the_bus_reaches_the_registers_by_word():
    bus = Bus()
    intc = make("INT_TIMER4")
    bus.map(BASE, intc)
    intc.source("INT_TIMER4").pulse()
    assert bus.read(BASE + INTOFFSET, 4) == 14
    bus.write(BASE + SRCPND, 4, 1 << 14)
    bus.write(BASE + INTPND, 4, 1 << 14)
    assert intc.irq.level == 0


@pytest.mark.parametrize("blocks_first", [False, True])
def test_loading_latches_no_request_twice_whatever_the_order(blocks_first):
    intc = make("INT_IIC")
    intc.source("INT_IIC").set(1)
    acknowledge(intc, "INT_IIC")
    state = intc.save()

    other = make()
    if blocks_first:
        other.source("INT_IIC").set(1)
    other.load(state)
    if not blocks_first:
        other.source("INT_IIC").set(1)
    assert other.irq.level == 0
    assert other.read(SRCPND, 4) == 0
    other.source("INT_IIC").set(0)
    other.source("INT_IIC").set(1)
    assert other.irq.level == 1


LINES = st.sampled_from([source.name for source in SOURCES + SUB_SOURCES])
ACCESS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(REGISTERS), st.integers(0, 0xFFFF_FFFF)),
    st.tuples(st.just("write"), st.sampled_from(REGISTERS), st.sampled_from([0, 0xFFFF_FFFF])),
    st.tuples(st.just("byte"), st.integers(0, 0x2F), st.integers(0, 0xFF)),
    st.tuples(st.just("set"), LINES, st.integers(0, 1)),
    st.tuples(st.just("pulse"), LINES, st.just(0)),
    st.tuples(st.just("reset"), st.just(0), st.just(0)),
)


def run(intc, step):
    match step:
        case "write", offset, value:
            intc.write(offset, 4, value)
        case "byte", offset, value:
            intc.write(offset, 1, value)
            intc.read(offset, 1)
        case "set", name, level:
            intc.source(name).set(level)
        case "pulse", name, _:
            intc.source(name).pulse()
        case _:
            intc.reset()


def check(intc):
    pending, mask, mode = intc.SRCPND, intc.INTMSK, intc.INTMOD
    assert intc.INTPND & (intc.INTPND - 1) == 0
    assert max(intc.INTPND.bit_length() - 1, 0) == intc.INTOFFSET
    assert intc.irq.level == (intc.INTPND != 0)
    assert intc.fiq.level == (pending & ~mask & mode != 0)
    assert intc.INTPND or not pending & ~mask & ~mode
    for sub in SUB_SOURCES:
        if intc.SUBSRCPND & ~intc.INTSUBMSK & sub.mask:
            assert pending & BIT[sub.parent]


@settings(max_examples=150, deadline=None)
@given(st.lists(ACCESS, max_size=40), st.lists(ACCESS, max_size=15))
def test_any_accesses_keep_the_outputs_true_and_survive_a_snapshot(before, after):
    intc = InterruptController()
    for step in before:
        run(intc, step)
        check(intc)
    state = intc.save()
    copy = InterruptController()
    copy.load(state)
    assert copy.save() == state
    assert (copy.irq.level, copy.fiq.level) == (intc.irq.level, intc.fiq.level)
    for step in after:
        run(intc, step)
        run(copy, step)
        assert copy.save() == intc.save()
