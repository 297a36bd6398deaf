"""What is on cards and USB sticks is saved with a snapshot, and put back with it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from linux_guest import COMMAND_LINE, PROMPT, guest_folder

import dbgemu
from dbgemu.debug.snapshots import container, media
from dbgemu.debug.snapshots.codec import encode
from dbgemu.debug.snapshots.container import SnapshotError
from dbgemu.target.block import BlockMedium

MIB = 1 << 20
SIZE = 4 * MIB
FIRST = Random(1).randbytes(10_000)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """An image with something at its begin, a hole, and something in its last sector."""
    path = tmp_path / "card.img"
    with path.open("wb") as file:
        file.write(FIRST)
        file.seek(SIZE - 512)
        file.write(b"\x77" * 512)
    return path


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., dbgemu.Board]]:
    """Makes boards that keep their snapshots in one folder."""
    with ExitStack() as boards:

        def make(*options: str | Path, snapshot: bool = False) -> dbgemu.Board:
            words = ["-snapshots", str(tmp_path), *map(str, options)]
            return boards.enter_context(dbgemu.Board(demo=True, snapshot=snapshot, options=words))

        yield make


def blocks(board: dbgemu.Board, place: str = "sd") -> BlockMedium:
    return media.present(board.machine.board)[place].blocks


def test_card_and_stick_hold_again_what_they_held(
    card: Path, tmp_path: Path, made: Callable[..., dbgemu.Board]
) -> None:
    stick = tmp_path / "stick.img"
    stick.write_bytes(bytes(64 * 512 + 512))  # not a whole number of 4 KiB
    board = made("-sd", card, "-usbdevice", f"disk:{stick}")
    blocks(board).write(8192, b"saved" + bytes(507))
    blocks(board, "usb1").write(64 * 512, b"\x55" * 512)
    board.save("a")
    before = card.read_bytes(), stick.read_bytes()
    blocks(board).write(0, b"later" * 1024)
    blocks(board).write(MIB, b"in the hole" + bytes(501))
    blocks(board).write(SIZE - 512, bytes(512))
    blocks(board, "usb1").write(64 * 512, bytes(512))
    blocks(board, "usb1").write(0, b"\x66" * 512)
    assert board.load("a") == [
        "4 pieces of 4 KiB of 'sd' were put back",
        "2 pieces of 4 KiB of 'usb1' were put back",
    ]
    assert (card.read_bytes(), stick.read_bytes()) == before, "in the files, at once"
    assert board.load("a") == []


def test_another_process_puts_an_image_back_only_by_force(
    card: Path, made: Callable[..., dbgemu.Board]
) -> None:
    board = made("-sd", card)
    board.save("a")
    held = card.read_bytes()
    board.close()
    made("-sd", card, "-loadvm", "a").close()  # nothing has changed
    with card.open("r+b") as file:
        file.write(b"work of somebody")
    changed = card.read_bytes()
    board = made("-sd", card)
    board.run_until(count=1000)
    digest = board.machine.digest()
    with pytest.raises(SnapshotError) as refused:
        board.load("a")
    assert str(refused.value) == (
        "the image of 'sd' has changed since 'a' was saved: "
        "'loadvm a force' puts back what it held, in the file too"
    )
    assert (card.read_bytes(), board.machine.digest()) == (changed, digest)
    assert board.load("a", force=True) == ["1 pieces of 4 KiB of 'sd' were put back"]
    assert card.read_bytes() == held


def test_another_card_put_in_meanwhile_is_not_overwritten(
    card: Path, tmp_path: Path, made: Callable[..., dbgemu.Board]
) -> None:
    board = made("-sd", card)
    board.save("a")
    other = tmp_path / "other.img"
    other.write_bytes(b"precious" * (SIZE // 8))
    board.monitor(f"change sd {other}")
    with pytest.raises(SnapshotError, match="the image of 'sd' has changed since 'a' was saved"):
        board.load("a")
    assert other.read_bytes() == b"precious" * (SIZE // 8)
    board.monitor(f"change sd {card}")
    assert board.load("a") == []


def test_with_snapshot_a_card_is_put_back_in_memory_only(
    card: Path, made: Callable[..., dbgemu.Board]
) -> None:
    before = card.read_bytes()
    board = made("-sd", card, snapshot=True)
    blocks(board).write(0, b"\x11" * 512)
    board.save("a")
    board.close()
    board = made("-sd", card, snapshot=True)
    assert board.load("a") == ["1 pieces of 4 KiB of 'sd' were put back"]
    assert blocks(board).read(0, 1024) == b"\x11" * 512 + FIRST[512:1024]
    assert card.read_bytes() == before


def test_a_card_that_is_not_there_any_more_is_told(
    card: Path, tmp_path: Path, made: Callable[..., dbgemu.Board]
) -> None:
    board = made("-sd", card)
    board.save("a")
    board.monitor("eject sd")
    told = ["what was in the slot, SD card of 4 MB, is not there"]
    assert board.load("a") == told
    smaller = tmp_path / "smaller.img"
    smaller.write_bytes(b"\x99" * MIB)
    board.monitor(f"change sd {smaller}")
    assert board.load("a") == told
    assert smaller.read_bytes() == b"\x99" * MIB


def test_of_a_read_only_stick_a_digest_tells_whether_it_is_the_same(
    card: Path, made: Callable[..., dbgemu.Board]
) -> None:
    options = ("-drive", f"if=none,id=s,file={card},readonly=on", "-device", "usb-storage,drive=s,id=stick")
    board = made(*options)
    board.save("a")
    sections = container.read(board.emulator.services.snapshots.path("a")).sections
    assert len(sections["media"]) < 200
    assert board.load("a") == []
    with card.open("r+b") as file:
        file.write(b"other")
    with pytest.raises(SnapshotError) as refused:
        board.load("a")
    assert str(refused.value) == (
        "'stick' holds something else than when 'a' was saved, and it is read-only: "
        "'loadvm a force' leaves it as it is"
    )
    assert board.load("a", force=True) == ["'stick' was left as it is, with other contents: it is read-only"]


def test_of_a_medium_that_holds_too_much_only_a_digest_is_saved(
    card: Path, made: Callable[..., dbgemu.Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "MOST_SAVED", 2 * media.PIECE)
    board = made("-sd", card)
    said = board.monitor("savevm a").text
    assert said.splitlines()[1] == (
        "'sd' holds more than 8 KB: it is not in the snapshot, "
        "which can only be loaded while it holds the same"
    )
    assert board.load("a") == []
    blocks(board).write(0, bytes(512))
    with pytest.raises(
        SnapshotError, match="that snapshot has only its digest, not its contents: 'loadvm a force'"
    ):
        board.load("a")
    assert blocks(board).read(0, 512) == bytes(512)
    blocks(board).write(0, FIRST[:512])
    assert board.load("a") == []


@pytest.mark.parametrize(
    "wrong",
    [
        ["sd"],
        {"sd": {"kind": "SD card", "size": SIZE, "digest": b"", "read_only": False}},
        {
            "sd": {
                "kind": "SD card",
                "size": SIZE,
                "digest": b"",
                "contents": {0: b"short"},
                "read_only": False,
            }
        },
        {
            "sd": {
                "kind": "SD card",
                "size": 4096,
                "digest": b"",
                "contents": {1: bytes(4096)},
                "read_only": False,
            }
        },
    ],
)
def test_media_that_cannot_be_understood_are_refused(
    card: Path, tmp_path: Path, made: Callable[..., dbgemu.Board], wrong: object
) -> None:
    board = made("-sd", card)
    board.save("a")
    path = tmp_path / "a.dbgsnap"
    snapshot = container.read(path)
    header = {key: value for key, value in snapshot.header.items() if key != "sections"}
    container.write(path, header, {**snapshot.sections, "media": encode(wrong)})
    with pytest.raises(SnapshotError, match="'a' is damaged: "):
        board.load("a")


def test_a_state_that_cannot_be_taken_leaves_the_card_as_it_was(
    card: Path, made: Callable[..., dbgemu.Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = made("-sd", card)
    board.save("a")
    blocks(board).write(0, b"\x22" * 512)
    now = card.read_bytes()
    do = media.Restoration.do

    def fail(self: media.Restoration) -> None:
        do(self)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(media.Restoration, "do", fail)
    with pytest.raises(SnapshotError, match=r"cannot be loaded: .*No space left"):
        board.load("a")
    assert card.read_bytes() == now


def test_an_eeprom_s_image_that_somebody_changed_is_put_back_only_by_force(
    tmp_path: Path, made: Callable[..., dbgemu.Board]
) -> None:
    path = tmp_path / "eeprom.bin"
    board = made("-eeprom", path)
    board.machine.board.eeprom.contents[5] = 0x42
    board.save("a")
    board.close()
    path.write_bytes(b"\x33" * 1024)
    board = made("-eeprom", path)
    with pytest.raises(SnapshotError, match="the EEPROM's image has changed since 'a' was saved"):
        board.load("a")
    assert path.read_bytes() == b"\x33" * 1024
    board.load("a", force=True)
    assert path.read_bytes() == b"\xff" * 5 + b"\x42" + b"\xff" * 1018


def test_linux_finds_the_files_of_that_moment_and_the_file_system_whole(tmp_path: Path) -> None:
    guest = guest_folder()
    card = tmp_path / "card.img"
    shutil.copyfile(guest / "rootfs.ext2", card)
    with dbgemu.Board(
        kernel=guest / "zImage",
        initrd=guest / "initramfs.cpio.gz",
        append=COMMAND_LINE,
        options=["-sd", str(card), "-snapshots", str(tmp_path)],
    ) as board:
        board.run_until(text=PROMPT)

        def shell(line: str) -> str:
            return board.command(line, prompt=PROMPT)

        shell("dmesg -n 1; stty cols 500; while [ ! -b /dev/mmcblk0 ]; do usleep 100000; done")
        shell("mkdir -p /card && mount -t ext2 /dev/mmcblk0 /card && head -c 200000 /dev/urandom > /card/a")
        shell("sync; head -c 100000 /dev/urandom > /card/dirty")  # not written yet when the state is saved
        digest = shell("md5sum < /card/a")
        board.save("before")
        shell("rm /card/a; head -c 500000 /dev/urandom > /card/b; sync; ls /card")
        assert shell("ls /card/a /card/b 2>&1 | grep -c 'No such'") == "1\n"
        assert "of 'sd' were put back" in board.load("before")[0]
        assert shell("ls /card/b 2>&1 | grep -c 'No such'") == "1\n"
        assert shell("umount /card; mount -t ext2 /dev/mmcblk0 /card; md5sum < /card/a") == digest
        assert shell("wc -c < /card/dirty; ls /card/b 2>&1 | grep -c 'No such'") == "100000\n1\n"
        assert "error" not in shell("umount /card; dmesg | grep -i -E 'mmc|ext2'")
    checked = subprocess.run(["/sbin/e2fsck", "-fn", card], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
