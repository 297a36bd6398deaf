"""Image files behind cards and disks: raw ones, others, snapshots."""

import shutil
import subprocess
from pathlib import Path

import pytest

from dbgemu.errors import OptionError
from dbgemu.host.block_image import open_block_image


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "card.img"
    path.write_bytes(bytes(range(256)) * 64)
    return path


def test_a_raw_image_is_written_through(raw: Path) -> None:
    image = open_block_image(raw)
    assert (image.size, image.read_only) == (16384, False)
    assert image.read(512, 4) == b"\0\1\2\3"
    image.write(1024, b"hello" + bytes(507))
    assert raw.read_bytes()[1024:1029] == b"hello", "before it is closed: a kill loses nothing"
    image.close()


def test_a_snapshot_reads_what_it_wrote_and_leaves_the_file_alone(raw: Path) -> None:
    before = raw.read_bytes()
    image = open_block_image(raw, snapshot=True)
    image.write(4000, b"x" * 200)
    expected = before[:4000] + b"x" * 200 + before[4200:]
    assert image.read(0, 16384) == expected
    assert image.read(4090, 20) == expected[4090:4110]
    image.close()
    assert raw.read_bytes() == before


def test_two_writers_of_one_image_are_refused_but_snapshots_share_it(raw: Path) -> None:
    image = open_block_image(raw)
    with pytest.raises(OptionError, match="is in use by another emulator"):
        open_block_image(raw)
    open_block_image(raw, snapshot=True).close()
    image.close()
    open_block_image(raw).close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot open the image .*: No such file"),
        (lambda path: path.write_bytes(b""), "has 0 bytes, not a whole number of sectors"),
        (lambda path: path.write_bytes(bytes(700)), "has 700 bytes, not a whole number of sectors"),
        (lambda path: path.mkdir(), "cannot open the image .*: Is a directory"),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(tmp_path: Path, make, message: str) -> None:
    path = tmp_path / "thing"
    make(path)
    with pytest.raises(OptionError, match=message):
        open_block_image(path)


def test_a_read_only_file_needs_a_snapshot(raw: Path) -> None:
    raw.chmod(0o444)
    with pytest.raises(OptionError, match="is read-only: use -snapshot"):
        open_block_image(raw)
    image = open_block_image(raw, read_only=True)
    assert image.read_only
    image.close()


qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


@qemu_img
def test_a_qcow2_image_is_read_and_never_written(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "card.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    with pytest.raises(OptionError, match="is a qcow2 image, which is only read: use -snapshot"):
        open_block_image(path)
    image = open_block_image(path, snapshot=True)
    assert image.read(0, 16384) == raw.read_bytes()
    image.write(0, b"x")
    assert image.read(0, 2) == b"x\1"
    image.close()


@qemu_img
def test_an_image_may_not_name_other_files_to_read(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "top.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", path],
        check=True,
        capture_output=True,
    )
    with pytest.raises(OptionError, match="rests on another image"):
        open_block_image(path, snapshot=True)
