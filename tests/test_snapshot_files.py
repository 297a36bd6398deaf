"""Snapshot files: what does not fit is refused, and flash images are put back."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from snapshot_machines import machine_with, snapshots_in

from dbgemu.debug.session import DebugSession
from dbgemu.debug.snapshots import container
from dbgemu.debug.snapshots.book import Snapshots
from dbgemu.debug.snapshots.codec import decode, encode
from dbgemu.debug.snapshots.container import SnapshotError
from dbgemu.host.flash_image import open_nand_image, open_nor_image
from dbgemu.machine import Machine
from dbgemu.target.chips.nand_parts import PARTS
from dbgemu.target.device import Device
from dbgemu.target.mini2440 import BootSwitch


@pytest.fixture
def snapshots_of(tmp_path: Path) -> Iterator[Callable[[Machine], Snapshots]]:
    with snapshots_in(tmp_path) as make:
        yield make


# -- what does not fit -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    machine = machine_with()
    machine.run(5000)
    session = DebugSession(machine)
    Snapshots(session, folder).save("good")
    session.close()
    return folder / "good.dbgsnap"


def refuses(machine: Machine, path: Path) -> str:
    """The sentence with which ``path`` is refused, by a machine that stays as it was."""
    machine.run(300)
    before = machine.digest()
    session = DebugSession(machine)
    with pytest.raises(SnapshotError) as caught:
        Snapshots(session, path.parent).load(str(path))
    assert machine.digest() == before
    session.close()
    return str(caught.value)


@pytest.mark.parametrize(
    ("board", "sentence"),
    (
        ({"memory_size": 32 << 20}, "its SDRAM size (-m) is 67108864, here it is 33554432"),
        ({"nand_part": PARTS["K9F1G08"]}, "its NAND chip (-nand) is K9F1208, here it is K9F1G08"),
        ({"boot_switch": BootSwitch.NAND}, "its boot switch is nor, here it is nand"),
    ),
)
def test_a_snapshot_of_another_machine_is_refused(saved: Path, board: dict[str, Any], sentence: str) -> None:
    assert refuses(machine_with(**board), saved) == f"'{saved}' is of another machine: {sentence}"


def test_a_snapshot_in_a_newer_format_is_refused(saved: Path, tmp_path: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[8] = 9
    path = tmp_path / "newer.dbgsnap"
    path.write_bytes(data)
    assert refuses(machine_with(), path) == (
        f"the snapshot '{path}' was saved by a newer dbgemu: "
        "it has format 9, and this one knows those up to 1"
    )


def test_a_snapshot_is_refused_wherever_it_is_damaged_or_cut_off(saved: Path, tmp_path: Path) -> None:
    good = saved.read_bytes()
    machine = machine_with()
    path = tmp_path / "bad.dbgsnap"
    behind = len(good) - 1
    changed = {0: "is not a", 9: "newer", 13: "damaged", 17: "damaged", 30: "damaged", behind: "damaged"}
    for place, word in changed.items():
        data = bytearray(good)
        data[place] ^= 0x41
        path.write_bytes(data)
        assert word in refuses(machine, path)
    cut = {0: "is not a", 7: "is not a", 19: "is not a", 25: "damaged", 1200: "cut off", behind: "cut off"}
    for length, word in cut.items():
        path.write_bytes(good[:length])
        assert word in refuses(machine, path)


def rewrite(saved: Path, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A snapshot with right checksums whose state was changed by ``change``."""
    snapshot = container.read(saved)
    state = decode(snapshot.sections["state"])
    change(state)
    header = {key: value for key, value in snapshot.header.items() if key != "sections"}
    container.write(path, header, {**snapshot.sections, "state": encode(state)})
    return path


@pytest.mark.parametrize(
    ("change", "where"),
    (
        (lambda state: state["board"]["devices"].pop("rtc"), "state.board.devices"),
        (lambda state: state["board"]["devices"]["uart0"].pop("_fifo"), "state.board.devices.uart0"),
        (lambda state: state["board"]["devices"]["lcd"].update(more=1), "state.board.devices.lcd"),
        (lambda state: state["cpu"].update(spsr=b"short"), "state.cpu.spsr"),
        (lambda state: state["cpu"].update(r=[0] * 99), "state.cpu.r"),
    ),
)
def test_a_state_of_other_parts_is_refused(
    saved: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], where: str
) -> None:
    path = rewrite(saved, tmp_path / "other.dbgsnap", change)
    assert refuses(machine_with(), path).endswith(f"whose machine differs in {where}")


def test_a_state_that_a_device_cannot_take_leaves_the_machine_as_it_was(saved: Path, tmp_path: Path) -> None:
    def change(state: dict[str, Any]) -> None:
        state["board"]["devices"]["gpio"]["pins"]["F"]["drivers"] = "nonsense"

    path = rewrite(saved, tmp_path / "wrong.dbgsnap", change)
    assert "cannot be loaded" in refuses(machine_with(), path)


def test_a_section_that_claims_another_size_is_refused(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    header = dict(container.read_header(saved))
    header["sections"] = [[name, size + 1, *rest] for name, size, *rest in header["sections"]]
    head = encode(header)
    numbers = (1, len(head), zlib.crc32(head))
    path = tmp_path / "liar.dbgsnap"
    path.write_bytes(
        data[:8] + b"".join(number.to_bytes(4, "little") for number in numbers) + head + data[20 + length :]
    )
    assert refuses(machine_with(), path).endswith("its section 'state' does not unpack")


def test_only_snapshots_are_replaced_and_deleted(
    snapshots_of: Callable[[Machine], Snapshots], tmp_path: Path
) -> None:
    snapshots = snapshots_of(machine_with())
    mine = tmp_path / "notes.dbgsnap"
    mine.write_text("my notes")
    for act, what in ((snapshots.save, "replaced"), (snapshots.delete, "deleted")):
        with pytest.raises(SnapshotError, match=f"'{mine}' is not a snapshot, so it is not {what}"):
            act("notes")
    assert mine.read_text() == "my notes"
    snapshots.save("a")
    snapshots.save("a")
    assert [entry.name for entry in snapshots.entries() if not entry.problem] == ["a"]
    snapshots.delete("a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.dbgsnap"]


def test_a_snapshot_that_cannot_be_written_leaves_the_older_one(
    snapshots_of: Callable[[Machine], Snapshots], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = snapshots_of(machine_with())
    snapshots.save("a")
    before = (tmp_path / "a.dbgsnap").read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SnapshotError, match=r"a\.dbgsnap' cannot be written: No space left on device"):
        snapshots.save("a")
    assert (tmp_path / "a.dbgsnap").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_states_keep_the_types_of_their_parts() -> None:
    state = {
        "tuple": (1, (2, [3])),
        "bytes": b"a",
        "array": bytearray(b"b"),
        "pages": {7: b"x"},
        "none": None,
        "big": 1 << 62,
        "negative": -1,
        "empty": ((), [], {}, b""),
        "true": True,
    }
    again = decode(encode(state))
    assert repr(again) == repr(state)
    assert type(again["array"]) is bytearray
    with pytest.raises(TypeError):
        encode({"device": Device("x")})


# -- flash images ------------------------------------------------------------------------------------


def flash_machine(nand: Path, nor: Path, *, snapshot: bool = False) -> Machine:
    part = PARTS["K9F1208"]
    return machine_with(
        nand_image=open_nand_image(nand, part, snapshot=snapshot),
        nor_image=open_nor_image(nor, 2 << 20, snapshot=snapshot),
    )


def close_images(machine: Machine) -> None:
    machine.board.nand_chip.cells.backing.close()
    machine.board.nor._backing.close()


def test_flash_is_put_back_and_an_image_that_somebody_changed_only_by_force(
    tmp_path: Path, snapshots_of: Callable[[Machine], Snapshots]
) -> None:
    nand, nor = tmp_path / "nand.bin", tmp_path / "nor.bin"
    nand.write_bytes(b"\x11" * 512 * 100)
    nor.write_bytes(b"\x22" * 8192)
    first = flash_machine(nand, nor)
    page = b"\x33" * 528
    first.board.nand_chip.cells.write(300, page)
    snapshots = snapshots_of(first)
    snapshots.save("a")
    saved = first.digest()
    # the same process: what changed since is its own
    first.board.nand_chip.cells.write(300, b"\x00" * 528)
    first.board.nand_chip.cells.erase(0, 32)
    first.board.nor.erase(0, 8192)
    assert snapshots.load("a") == [
        "33 pages of NAND flash were put back",
        "2 pieces of 4 KiB of NOR flash were put back",
    ]
    assert first.digest() == saved
    assert nand.read_bytes()[: 512 * 32] == b"\x11" * 512 * 32
    assert nor.read_bytes() == b"\x22" * 8192
    close_images(first)

    # a new process with the files as they were
    second = flash_machine(nand, nor)
    assert snapshots_of(second).load("a") == []
    assert second.digest() == saved
    close_images(second)

    # somebody has put another file there
    nor.write_bytes(b"\x44" * 4096)
    third = flash_machine(nand, nor)
    snapshots = snapshots_of(third)
    with pytest.raises(
        SnapshotError, match="the NOR flash's image has changed since 'a' was saved: 'loadvm a force'"
    ):
        snapshots.load("a")
    assert nor.read_bytes() == b"\x44" * 4096
    assert snapshots.load("a", force=True) == ["2 pieces of 4 KiB of NOR flash were put back"]
    assert third.digest() == saved
    assert nor.read_bytes() == b"\x22" * 8192
    close_images(third)


def test_with_images_that_are_not_written_to_flash_is_put_back_in_memory_only(
    tmp_path: Path, snapshots_of: Callable[[Machine], Snapshots]
) -> None:
    nand, nor = tmp_path / "nand.bin", tmp_path / "nor.bin"
    nand.write_bytes(b"\x11" * 512)
    nor.write_bytes(b"")
    first = flash_machine(nand, nor, snapshot=True)
    first.board.nand_chip.cells.write(7, b"\x33" * 528)
    snapshots_of(first).save("a")
    second = flash_machine(nand, nor, snapshot=True)
    assert snapshots_of(second).load("a") == ["1 pages of NAND flash were put back"]
    assert second.digest() == first.digest()
    assert nand.read_bytes() == b"\x11" * 512
    close_images(first)
    close_images(second)
