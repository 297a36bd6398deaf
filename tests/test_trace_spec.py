"""What users write about a trace: understood, or refused in one sentence."""

from __future__ import annotations

import pytest

from dbgemu.trace.events import EVENTS
from dbgemu.trace.format import TraceError
from dbgemu.trace.spec import TraceSpec

SYMBOLS = {"start_kernel": (0xC0700000, 0xC07003FF), "nand-probe": (0xC0100000, 0xC010000F)}


def test_events_groups_and_patterns() -> None:
    spec = TraceSpec.parse("tb,mmio:nand.*|uart0.UTXH,irq:INT_TIMER*,gpio")
    assert spec.kinds == {"tb_exec", "mmio_read", "mmio_write", "irq", "gpio"}
    assert spec.matches("mmio_write", "nand.NFCMMD")
    assert spec.matches("mmio_read", "uart0.UTXH")
    assert not spec.matches("mmio_read", "uart0.UTRSTAT")
    assert spec.matches("irq", "int_timer4")
    assert not spec.matches("irq", "INT_UART0")
    assert spec.matches("gpio", "GPB5")
    assert not spec.matches("serial", "0")


def test_a_device_alone_means_all_of_its_registers() -> None:
    assert TraceSpec.parse("mmio:nand").matches("mmio_read", "nand.NFSTAT")


def test_wildcards_and_all_choose_events() -> None:
    assert TraceSpec.parse("mmio_*").kinds == {"mmio_read", "mmio_write"}
    assert TraceSpec.parse("all").kinds == set(EVENTS)


def test_options() -> None:
    text = (
        "tb;range=0xc0008000-0xc0100000;func=start_kernel,user;ttb=0x30004000;start=main;stop=+2M;events=5k"
    )
    spec = TraceSpec.parse(text)
    assert spec.code_ranges(SYMBOLS.get) == [(0xC0008000, 0xC0100000), SYMBOLS["start_kernel"]]
    assert (spec.privileges, spec.ttb, spec.start) == (2, 0x30004000, "main")
    assert (spec.stop, spec.stop_relative, spec.events) == (2_000_000, True, 5000)
    assert TraceSpec.parse("tb;stop=300;ring=1M;file=a.dbgtrace").ring == 1_000_000


def test_ranges_are_written_in_several_ways() -> None:
    spec = TraceSpec.parse("tb;range=0x100+16;range=start_kernel-0xd0000000;range=nand-probe;range=0x200")
    assert spec.code_ranges(SYMBOLS.get) == [
        (0x100, 0x10F),
        (0xC0700000, 0xD0000000),
        SYMBOLS["nand-probe"],
        (0x200, 0x203),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "nothing is to be recorded: name events, such as tb_exec, tb_translate, tb_invalidate, tb_comp",
        ),
        ("user", "nothing is to be recorded: name events, such as tb_exec, tb_translate, tb_invalidate, "),
        ("mmoi", "there is no event 'mmoi': is it 'mmio'?"),
        ("tb:x", "'tb:x': tb_exec takes no pattern; those that do are mmio_read, mmio_write, irq, gpio, "),
        ("mmio:", "'mmio_read:' needs a pattern behind the colon: device.REGISTER"),
        ("tb;rnage=1-2", "'rnage' is no option of a trace: is it 'range'?"),
        ("tb;stop=", "'stop=' needs a value: end at this instruction count, or, with +, so many"),
        ("tb;events=x", "'events=x': a number is needed"),
        ("tb;ring=0", "'ring=0': at least 1 is needed"),
    ],
)
def test_invalid_specifications_are_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(TraceError) as error:
        TraceSpec.parse(text)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tb;range=0x200-0x100", "'0x200-0x100' is no range: it ends before it begins"),
        ("tb;range=0xffffffff+2", "'0xffffffff+2' is no range: it ends before it begins"),
        ("tb;range=nowhere", "'nowhere' is neither an address nor the name of a symbol"),
    ],
)
def test_invalid_ranges_are_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(TraceError) as error:
        TraceSpec.parse(text).code_ranges(SYMBOLS.get)
    assert str(error.value) == message
