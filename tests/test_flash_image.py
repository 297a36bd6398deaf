"""Image files behind the flash chips: layouts, persistence, snapshots, what cannot be used."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dbgemu.errors import OptionError
from dbgemu.host.flash_image import FlashImage, ImageFile, open_nand_image, open_nor_image
from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.chips.nand_parts import PARTS, NandPart
from dbgemu.target.clock import VirtualClock

K9F1208 = PARTS["K9F1208"]
#: a chip of 64 KiB, so that whole images are quickly written
TINY = NandPart("TINY", b"\xec\x76", 512, 16, 32, blocks=4, column_cycles=1, row_cycles=3)


def chip_on(image: ImageFile, part: NandPart = TINY) -> NandFlash:
    return NandFlash(clock=VirtualClock(), part=part, backing=image)


def test_an_image_with_spare_bytes_is_known_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "nand.bin"
    content = random.Random(1).randbytes(TINY.raw_size)
    path.write_bytes(content)
    image = open_nand_image(path, TINY)
    chip = chip_on(image)
    assert chip.cells.read(3) == content[3 * 528 : 4 * 528]
    chip.cells.write(3, b"n" * 528)
    chip.cells.erase(32, 32)
    image.close()
    expected = content[: 3 * 528] + b"n" * 528 + content[4 * 528 : 32 * 528] + b"\xff" * 32 * 528
    assert path.read_bytes() == expected + content[64 * 528 :]


def test_the_qemu_fork_s_image_of_64_mib_is_528_bytes_a_page(tmp_path: Path) -> None:
    path = tmp_path / "nand.bin"
    with path.open("wb") as file:
        file.truncate(131072 * 528)
        file.seek(131071 * 528)
        file.write(b"last" + b"m" * 508 + b"s" * 16)
    image = open_nand_image(path, K9F1208)
    assert chip_on(image, K9F1208).cells.read(131071) == b"last" + b"m" * 508 + b"s" * 16
    image.close()


def test_a_plain_image_has_erased_spare_bytes_until_the_guest_writes_some(tmp_path: Path) -> None:
    path = tmp_path / "plain.bin"
    content = random.Random(2).randbytes(TINY.size)
    path.write_bytes(content)
    image = open_nand_image(path, TINY)
    chip = chip_on(image)
    assert chip.cells.read(5) == content[5 * 512 : 6 * 512] + b"\xff" * 16
    chip.cells.write(6, b"d" * 512 + b"\xff" * 16)
    assert not (tmp_path / "plain.bin.oob").exists()
    chip.cells.write(5, b"d" * 512 + b"spare bytes here")
    image.close()
    assert path.stat().st_size == TINY.size
    again = open_nand_image(path, TINY)
    assert chip_on(again).cells.read(5) == b"d" * 512 + b"spare bytes here"
    assert chip_on(again).cells.read(4)[512:] == b"\xff" * 16
    again.close()


def test_a_short_image_is_padded_and_grows_no_further_than_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "u-boot.bin"
    path.write_bytes(b"boot" * 200)
    image = open_nand_image(path, TINY)
    chip = chip_on(image)
    assert chip.read_pages(0, 3) == (b"boot" * 200).ljust(1536, b"\xff")
    chip.cells.erase(64, 32)
    assert path.stat().st_size == 800
    chip.cells.write(9, b"e" * 512 + b"\xff" * 16)
    image.close()
    assert path.read_bytes() == (b"boot" * 200).ljust(9 * 512, b"\xff") + b"e" * 512


def test_an_empty_file_is_a_blank_chip(tmp_path: Path) -> None:
    path = tmp_path / "new.bin"
    path.touch()
    image = open_nand_image(path, K9F1208)
    chip = chip_on(image, K9F1208)
    assert chip.read_pages(0, 8) == b"\xff" * 4096
    assert chip.cells.read(131071) == b"\xff" * 528
    image.close()


@pytest.mark.parametrize("size", [TINY.size, TINY.raw_size, 1000])
def test_a_snapshot_leaves_the_files_as_they_are(tmp_path: Path, size: int) -> None:
    path = tmp_path / "nand.bin"
    content = random.Random(3).randbytes(size)
    path.write_bytes(content)
    path.chmod(0o444)
    image = open_nand_image(path, TINY, snapshot=True)
    chip = chip_on(image)
    chip.cells.write(1, b"x" * 528)
    chip.cells.erase(32, 32)
    assert chip.cells.read(1) == b"x" * 528
    assert chip.cells.read(40) == b"\xff" * 528
    image.close()
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_loading_a_state_brings_the_file_back_too(tmp_path: Path) -> None:
    path = tmp_path / "nand.bin"
    content = random.Random(4).randbytes(TINY.raw_size)
    path.write_bytes(content)
    image = open_nand_image(path, TINY)
    chip = chip_on(image)
    chip.cells.write(1, b"x" * 528)
    state = chip.save()
    chip.cells.write(1, b"y" * 528)
    chip.cells.write(2, b"z" * 528)
    chip.load(state)
    image.close()
    assert path.read_bytes() == content[:528] + b"x" * 528 + content[2 * 528 :]


def test_a_file_of_neither_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.bin"
    path.write_bytes(bytes(TINY.size + 1))
    with pytest.raises(OptionError) as refused:
        open_nand_image(path, TINY)
    assert str(refused.value) == f"{path} has 65537 bytes: a TINY has 65536, or 67584 with its spare bytes"
    path.write_bytes(bytes(TINY.raw_size + 1))
    with pytest.raises(OptionError) as refused:
        open_nand_image(path, TINY)
    assert str(refused.value) == f"{path} has 67585 bytes, more than the chip's 67584"


def test_files_that_cannot_be_opened_are_refused_in_one_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "missing.bin"
    with pytest.raises(OptionError) as refused:
        open_nor_image(missing, 4096)
    assert str(refused.value) == f"there is no flash image {missing}"
    with pytest.raises(OptionError) as refused:
        open_nor_image(tmp_path, 4096)
    assert str(refused.value) == f"{tmp_path} is not a regular file, so it cannot be a flash image"
    locked = tmp_path / "locked.bin"
    locked.write_bytes(b"x")
    locked.chmod(0o444)
    with pytest.raises(OptionError) as refused:
        open_nor_image(locked, 4096)
    assert str(refused.value) == f"{locked} is read-only: use -snapshot to leave it as it is"
    with pytest.raises(OptionError) as refused:
        open_nor_image(locked / "below", 4096)
    assert str(refused.value) == f"cannot open the flash image {locked / 'below'}: Not a directory"


def test_a_nor_image_may_be_smaller_but_not_larger_than_the_chip(tmp_path: Path) -> None:
    path = tmp_path / "nor.bin"
    path.write_bytes(b"x" * 100)
    image = open_nor_image(path, 4096)
    assert image.read(0, 4096) == b"x" * 100 + b"\xff" * 3996
    image.write(200, b"yy")
    image.close()
    assert path.read_bytes() == b"x" * 100 + b"\xff" * 100 + b"yy"
    path.write_bytes(bytes(4097))
    with pytest.raises(OptionError) as refused:
        open_nor_image(path, 4096)
    assert str(refused.value) == f"{path} has 4097 bytes, more than the chip's 4096"


def test_an_image_serves_one_emulator_and_any_number_of_snapshots(tmp_path: Path) -> None:
    path = tmp_path / "nor.bin"
    path.write_bytes(b"x")
    image = open_nor_image(path, 4096)
    with pytest.raises(OptionError) as refused:
        open_nor_image(path, 4096)
    assert str(refused.value) == f"{path} is in use by another emulator: use -snapshot to share it"
    for _ in range(2):
        open_nor_image(path, 4096, snapshot=True).close()
    image.close()
    open_nor_image(path, 4096).close()


def test_spare_bytes_older_than_a_replaced_image_are_not_mixed_with_it(tmp_path: Path) -> None:
    path, spare = tmp_path / "plain.bin", tmp_path / "plain.bin.oob"
    path.write_bytes(bytes(TINY.size))
    spare.write_bytes(b"\0" * 16)
    os.utime(spare, (1000, 1000))
    os.utime(path, (1001, 1001))
    open_nand_image(path, TINY).close()
    os.utime(path, (2000, 2000))
    with pytest.raises(OptionError) as refused:
        open_nand_image(path, TINY)
    assert str(refused.value) == (
        f"{path} was changed after its spare bytes in {spare}: "
        f"remove the latter to begin with erased spare bytes"
    )
    spare.unlink()
    open_nand_image(path, TINY).close()


def test_each_write_leaves_the_spare_file_no_older_than_the_main_data(tmp_path: Path) -> None:
    path, spare = tmp_path / "plain.bin", tmp_path / "plain.bin.oob"
    path.touch()
    image = open_nand_image(path, TINY)
    chip = chip_on(image)
    chip.cells.write(0, bytes(528))
    os.utime(spare, (1000, 1000))
    chip.cells.write(1, bytes(512) + b"\xff" * 16)
    image.close()
    assert spare.stat().st_mtime >= path.stat().st_mtime


def test_a_write_is_synced_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Event()
    fsync = os.fsync

    def note(fd: int) -> None:
        fsync(fd)
        synced.set()

    monkeypatch.setattr("os.fsync", note)
    monkeypatch.setattr("dbgemu.host.image_file.SYNC_DELAY", 0.01)
    path = tmp_path / "nor.bin"
    path.touch()
    image = FlashImage(path, 4096)
    assert not synced.wait(0.05)
    image.write(0, b"x")
    assert synced.wait(5)
    image.close()


WRITER = """
import random, sys
from pathlib import Path
from dbgemu.host.flash_image import open_nand_image
from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.chips.nand_parts import PARTS
from dbgemu.target.clock import VirtualClock

part = PARTS["K9F1208"]
clock = VirtualClock()
chip = NandFlash(clock=clock, part=part, backing=open_nand_image(Path(sys.argv[1]), part))
for page in range(100_000):
    chip.command(0x80)
    for cycle in (0, page & 0xFF, page >> 8 & 0xFF, page >> 16):
        chip.address(cycle)
    data = random.Random(page).randbytes(528)
    for i in range(0, 528, 4):
        chip.write_data(int.from_bytes(data[i:i + 4], "little"), 4)
    chip.command(0x10)
    clock.skip_to(clock.next_deadline())
    clock.run_due()
    assert chip.rnb.level == 1
    print(page, flush=True)
"""


@pytest.mark.parametrize("layout", ["plain", "raw"])
def test_what_the_guest_was_told_is_written_survives_sigkill(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "nand.bin"
    with path.open("wb") as file:
        if layout == "raw":
            file.truncate(K9F1208.raw_size)
            for block in range(64):
                file.seek(block * 32 * 528)
                file.write(b"\xff" * 32 * 528)
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as writer:
        assert writer.stdout is not None
        told = []
        for line in writer.stdout:
            told.append(int(line))
            if len(told) == 300:
                writer.send_signal(signal.SIGKILL)
    assert len(told) >= 300
    image = open_nand_image(path, K9F1208)
    chip = chip_on(image, K9F1208)
    for page in told:
        assert chip.cells.read(page) == random.Random(page).randbytes(528)
    behind = chip.cells.read(told[-1] + 2)
    image.close()
    assert behind == b"\xff" * 528
