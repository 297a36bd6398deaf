"""dbgemu-img: images of NAND chips and cards, made and looked into without an emulator."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from dbgemu.debug.nand_check import Ecc, read_page
from dbgemu.host.flash_image import open_nand_image
from dbgemu.image import cards
from dbgemu.image.cli import main
from dbgemu.image.partitions import BOARD, parse_partitions
from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.chips.nand_parts import PARTS
from dbgemu.target.clock import VirtualClock

SMALL = PARTS["K9F1208"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the command in a folder of its own: (status, what it printed, what it complained of)."""
    monkeypatch.chdir(tmp_path)

    def run_(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run_


def data(length: int, seed: int = 1) -> bytes:
    # not ending in FF, which get leaves out as erased
    return random.Random(seed).randbytes(length - 1) + b"\1"


def chip(path: str, part: str = "K9F1208") -> NandFlash:
    return NandFlash(clock=VirtualClock(), part=PARTS[part], backing=open_nand_image(Path(path), PARTS[part]))


# -- NAND ------------------------------------------------------------------------------------------


def test_the_board_s_partitions_are_those_of_linux() -> None:
    found = parse_partitions(BOARD, SMALL)
    assert [(p.name, p.offset, p.size) for p in found.values()] == [
        ("u-boot", 0, 0x40000),
        ("u-boot-env", 0x40000, 0x20000),
        ("kernel", 0x60000, 0x500000),
        ("root", 0x560000, SMALL.size - 0x560000),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5m", "'5m' is not a partition: 5m(kernel), 1m@0x60000(data) and -(root) are"),
        ("1m(a),1m(a)", "there are two partitions named a"),
        ("65m(a)", "the partition a does not fit into the 67108864 bytes of a K9F1208"),
        ("1k(a),1m(b)", "the partition b does not begin with a block of 16384 bytes"),
    ],
)
def test_partitions_that_cannot_be_are_refused(run, text: str, message: str) -> None:
    run("create", "n.img")
    assert run("info", "n.img", "--parts", text) == (2, "", f"dbgemu-img: {message}\n")


@pytest.mark.parametrize(
    ("part", "layout"),
    [("K9F1208", "plain"), ("K9F1208", "oob"), ("K9F1208", "interleaved"), ("K9F1G08", "interleaved")],
)
def test_a_created_image_has_the_chip_s_size_and_is_known_again(run, part: str, layout: str) -> None:
    assert run("create", "n.img", "--nand", part, "--layout", layout) == (0, "", "")
    sizes = {place.name: place.stat().st_size for place in Path().iterdir()}
    made = PARTS[part]
    spare = {"n.img.oob": made.pages * made.spare_size} if layout == "oob" else {}
    assert sizes == {"n.img": made.raw_size if layout == "interleaved" else made.size, **spare}
    status, printed, _ = run("info", "n.img")
    assert (status, printed.splitlines()[0]) == (
        0,
        f"n.img: {part}, {made.size >> 20} MiB NAND, {layout} layout",
    )


@pytest.mark.parametrize(
    ("part", "layout"), [("K9F1208", "plain"), ("K9F1208", "oob"), ("K9F1G08", "interleaved")]
)
def test_what_was_put_into_a_partition_is_got_back_past_bad_blocks(run, part: str, layout: str) -> None:
    kernel = data(300_001)
    first = 0x60000 // (PARTS[part].page_size * PARTS[part].pages_per_block)
    bad = [] if layout == "plain" else ["--bad", f"{first}+{first + 1}"]
    run("create", "n.img", "--nand", part, "--layout", layout, *bad)
    Path("k").write_bytes(kernel)
    without = f", not to bad blocks {first}, {first + 1}" if bad else ""
    assert run("put", "n.img", "kernel", "k") == (0, f"300001 bytes written to kernel{without}\n", "")
    assert run("get", "n.img", "kernel", "out") == (0, "300001 bytes read from kernel\n", "")
    assert Path("out").read_bytes() == kernel
    assert run("check", "n.img")[0] == 0
    # and the chip's own view of it: data behind the bad blocks, codes as Linux wants them
    flash = chip("n.img", part)
    page = read_page(flash, (first + len(bad)) * PARTS[part].pages_per_block)
    assert page.main == kernel[: len(page.main)]
    assert {step.result for step in page.steps} == {Ecc.OK}


def test_put_leaves_other_partitions_alone_and_erases_the_rest_of_its_own(run) -> None:
    run("create", "n.img")
    for name, content in (("kernel", data(100_000)), ("env", b"bootdelay=3"), ("kernel", b"short")):
        Path("in").write_bytes(content)
        assert run("put", "n.img", name, "in")[0] == 0
    assert run("get", "n.img", "environment", "env")[0] == 0
    assert Path("env").read_bytes() == b"bootdelay=3"
    assert run("get", "n.img", "kernel", "k", "--whole")[0] == 0
    assert Path("k").read_bytes() == b"short".ljust(0x500000, b"\xff")


def test_what_does_not_fit_changes_nothing(run) -> None:
    run("create", "n.img")
    before = Path("n.img").read_bytes()
    Path("big").write_bytes(bytes(0x20001))
    status, _, said = run("put", "n.img", "u-boot-env", "big")
    assert (status, said) == (
        2,
        "dbgemu-img: 131073 bytes do not fit into the partition u-boot-env, whose good blocks hold 131072\n",
    )
    assert Path("n.img").read_bytes() == before
    assert sorted(place.name for place in Path().iterdir()) == ["big", "n.img"]


def test_an_image_in_use_is_not_written(run) -> None:
    run("create", "n.img")
    Path("in").write_bytes(b"x")
    flash = open_nand_image(Path("n.img"), SMALL)
    assert (
        run("put", "n.img", "env", "in")[2] == "dbgemu-img: n.img is in use by an emulator: end that first\n"
    )
    flash.close()
    assert run("put", "n.img", "env", "in")[0] == 0


def test_existing_files_are_replaced_only_by_force(run) -> None:
    Path("n.img").write_bytes(b"precious")
    refused = (2, "", "dbgemu-img: n.img exists already: use --force to replace it\n")
    assert run("create", "n.img") == run("card", "n.img") == refused
    assert Path("n.img").read_bytes() == b"precious"
    assert run("create", "n.img", "--force")[0] == 0
    assert run("get", "n.img", "env", "n.img") == refused


def test_converting_keeps_data_and_spare_bytes_where_the_layout_has_them(run) -> None:
    run("create", "a.img", "--bad", "7")
    Path("in").write_bytes(data(50_000))
    run("put", "a.img", "root", "in")
    assert run("convert", "a.img", "b.img", "--to", "oob")[0] == 0
    assert run("convert", "b.img", "c.img", "--to", "interleaved")[0] == 0
    assert Path("c.img").read_bytes() == Path("a.img").read_bytes()
    assert run("convert", "a.img", "plain.img", "--to", "plain")[1] == (
        "the spare bytes of 100 pages are left out: a plain image has none\n"
    )
    assert Path("plain.img").stat().st_size == SMALL.size
    assert not Path("plain.img.oob").exists()


def test_codes_are_made_for_pages_without_one(run) -> None:
    Path("plain.img").write_bytes(data(SMALL.page_size * 3).ljust(SMALL.size, b"\xff"))
    assert run("check", "plain.img")[1].startswith("3 pieces of data: 0 agree with their codes, 3 have none")
    assert run("convert", "plain.img", "n.img", "--to", "interleaved", "--ecc")[0] == 0
    assert run("check", "n.img")[1].startswith("3 pieces of data: 3 agree with their codes, 0 have none")


def test_a_flipped_bit_is_found_and_corrected_and_two_are_told(run) -> None:
    run("create", "n.img")
    Path("in").write_bytes(data(2000))
    run("put", "n.img", "u-boot", "in")
    raw = bytearray(Path("n.img").read_bytes())
    raw[528 + 100] ^= 0x10
    Path("n.img").write_bytes(raw)
    status, printed, _ = run("check", "n.img")
    assert status == 1
    assert printed.splitlines()[0].startswith(
        "block 0, page 1, bytes 0 to 511: one wrong bit, bit 4 of byte 100"
    )
    assert run("get", "n.img", "u-boot", "out")[0] == 0
    assert Path("out").read_bytes() == data(2000)
    raw[528 + 200] ^= 0x01
    Path("n.img").write_bytes(raw)
    assert "1 do not agree (1 beyond correction)" in run("check", "n.img")[1]
    assert run("get", "n.img", "u-boot", "out2")[2] == (
        "dbgemu-img: page 1 (block 0) has more wrong bits than can be corrected\n"
    )
    assert not Path("out2").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "n.img", "--nand", "K9"], "'K9' is not a NAND chip: there are " + ", ".join(PARTS)),
        (["create", "n.img", "--bad", "4096"], "a K9F1208 has blocks 0 to 4095, not 4096"),
        (["create", "n.img", "--bad", "x"], "'x' is not a list of blocks: 12 and 12+40 are"),
        (["check", "none.img"], "there is no image none.img"),
        (
            ["get", "odd.img", "root", "o"],
            "odd.img has 5 bytes, which is no NAND chip's size: say which one with --nand",
        ),
        (
            ["convert", "odd.img", "odd.img", "--to", "plain"],
            "odd.img cannot be converted into itself: name a new file",
        ),
        (
            ["card", "c.img", "--size", "5000k"],
            "a card of 5120000 bytes cannot be made: a multiple of 1 MiB is needed, at least 4 MiB",
        ),
        (["card", "c.img", "--from", "nowhere"], "there is no folder nowhere"),
        (["create", "no/where/n.img"], "nothing can be written in no/where: No such file or directory"),
    ],
)
def test_wrong_input_is_one_sentence_and_makes_nothing(run, arguments: list[str], message: str) -> None:
    Path("odd.img").write_bytes(b"12345")
    assert run(*arguments) == (2, "", f"dbgemu-img: {message}\n")
    assert [place.name for place in Path().iterdir()] == ["odd.img"]


# -- cards -----------------------------------------------------------------------------------------


def _needs(*tools: str) -> None:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [tool for tool in tools if shutil.which(tool, path=path) is None]
    if missing:
        pytest.skip(f"there is no {', '.join(missing)}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    (made / "sub").mkdir(parents=True)
    (made / "hello.txt").write_text("hello\n")
    (made / "sub" / "big").write_bytes(data(3_000_000))
    return made


def test_a_fat_card_holds_the_folder(run, folder: Path) -> None:
    _needs("mkfs.vfat", "mcopy")
    assert run("card", "c.img", "--from", str(folder)) == (0, "", "")
    assert run("info", "c.img")[1] == (
        "c.img: a disk of 33554432 bytes\npartition 1: FAT16, 32505856 bytes from 1048576\n"
    )
    subprocess.run(["mcopy", "-i", "c.img@@1M", "::sub/big", "back"], check=True)
    assert Path("back").read_bytes() == data(3_000_000)


def test_an_ext2_card_holds_the_folder_and_is_clean(run, folder: Path) -> None:
    _needs("mke2fs", "e2fsck", "debugfs")
    assert run("card", "c.img", "--from", str(folder), "--fs", "ext2", "--size", "16M") == (0, "", "")
    assert run("info", "c.img")[1].splitlines()[1] == "partition 1: Linux, 15728640 bytes from 1048576"
    path = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    subprocess.run(["e2fsck", "-fn", "c.img?offset=1048576"], check=True, capture_output=True, env=path)
    read = ["debugfs", "-R", "cat /hello.txt", "c.img?offset=1048576"]
    assert subprocess.run(read, check=True, capture_output=True, env=path).stdout == b"hello\n"


def test_a_missing_tool_is_named_with_its_package(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards.shutil, "which", lambda *_, **__: None)
    assert run("card", "c.img") == (2, "", "dbgemu-img: mkfs.vfat is needed for this (Debian: dosfstools)\n")
    assert not list(Path().iterdir())


def test_a_qcow2_image_becomes_a_raw_one(run) -> None:
    _needs("qemu-img")
    content = data(1 << 20) + bytes(3 << 20)
    Path("raw").write_bytes(content)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "raw", "card.qcow2"], check=True)
    assert run("convert", "card.qcow2", "new.img", "--to", "raw") == (0, "", "")
    assert Path("new.img").read_bytes() == content
