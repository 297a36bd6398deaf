"""Semihosting: files, the folder that confines them, and what guests do wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbgemu.debug.semihosting.calls import CALLS
from dbgemu.debug.semihosting.errors import Errno
from tests import semihosting_guest as sys
from tests.semihosting_guest import BLOCK, BUFFER, FAILED, NOWHERE, TEXT

pytest_plugins = ["semihosting_fixtures"]


READ_ONLY, READ_PLUS, WRITE, WRITE_PLUS, APPEND, APPEND_PLUS = range(0, 12, 2)


# -- files ---------------------------------------------------------------------------------------


def test_a_file_is_written_and_read(guest, folder) -> None:
    handle = guest.open(b"a.txt", WRITE_PLUS)
    assert handle not in (0, FAILED)
    assert guest.put(handle, b"hello world") == 0
    assert (folder / "a.txt").read_bytes() == b"hello world"
    assert guest.call(sys.FLEN, handle) == 11
    assert guest.call(sys.SEEK, handle, 6) == 0
    assert guest.get(handle, 3) == b"wor"
    assert guest.call(sys.READ, handle, BUFFER, 10) == 8
    assert guest.call(sys.READ, handle, BUFFER, 10) == 10
    assert guest.call(sys.ISTTY, handle) == 0
    assert guest.call(sys.CLOSE, handle) == 0
    assert guest.call(sys.CLOSE, handle) == FAILED
    assert guest.errno() == Errno.EBADF


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [
        (WRITE, b"12345", b"ab"),
        (WRITE, None, b"ab"),
        (WRITE_PLUS, b"12345", b"ab"),
        (APPEND, b"12345", b"12345ab"),
        (APPEND_PLUS, None, b"ab"),
        (READ_PLUS, b"12345", b"ab345"),
        (READ_PLUS, None, None),
        (READ_ONLY, b"12345", b"12345"),
        (READ_ONLY, None, None),
    ],
)
@pytest.mark.parametrize("binary", [0, 1])
def test_the_modes_of_open_are_those_of_fopen(guest, folder, mode, before, after, binary) -> None:
    if before is not None:
        (folder / "f").write_bytes(before)
    handle = guest.open(b"f", mode + binary)
    if handle != FAILED:
        guest.put(handle, b"ab")
    else:
        assert guest.errno() == Errno.ENOENT
    assert ((folder / "f").read_bytes() if (folder / "f").exists() else None) == after


def test_a_mode_that_does_not_exist_is_an_error(guest) -> None:
    assert guest.open(b":tt", 12) == FAILED
    assert guest.errno() == Errno.EINVAL


def test_writing_to_a_file_opened_for_reading_fails(guest, folder) -> None:
    (folder / "f").write_bytes(b"1")
    assert guest.put(guest.open(b"f", READ_ONLY), b"x") == FAILED
    assert guest.errno() == Errno.EBADF


def test_files_are_removed_and_renamed(guest, folder) -> None:
    (folder / "old").write_bytes(b"1")
    (folder / "sub").mkdir()
    assert guest.call(sys.RENAME, *guest.text(b"old"), *guest.text(b"sub/new", 1)) == 0
    assert (folder / "sub/new").read_bytes() == b"1"
    assert guest.call(sys.REMOVE, *guest.text(b"sub/../sub/./new")) == 0
    assert list((folder / "sub").iterdir()) == []
    assert guest.call(sys.REMOVE, *guest.text(b"sub/new")) == FAILED
    assert guest.errno() == Errno.ENOENT


def test_handles_are_limited_and_free_ones_are_used_again(guest) -> None:
    handles = []
    while (handle := guest.open(b":tt", READ_ONLY)) != FAILED:
        handles.append(handle)
    assert handles == list(range(1, 257))
    assert guest.errno() == Errno.EMFILE
    guest.call(sys.CLOSE, 7)
    assert guest.open(b":tt", READ_ONLY) == 7


def test_a_reset_closes_the_files(guest, folder) -> None:
    descriptors = len([*Path("/proc/self/fd").iterdir()])
    handle = guest.open(b"f", WRITE)
    assert len([*Path("/proc/self/fd").iterdir()]) == descriptors + 1
    guest.session.reset()
    assert len([*Path("/proc/self/fd").iterdir()]) == descriptors
    assert guest.put(handle, b"x") == FAILED


def test_temporary_names_are_by_number(guest) -> None:
    assert guest.call(sys.TMPNAM, BUFFER, 7, 32) == 0
    assert guest.read(BUFFER, 19) == b"semihosting-07.tmp\0"
    assert guest.call(sys.TMPNAM, BUFFER, 7, 18) == FAILED
    assert guest.call(sys.TMPNAM, BUFFER, 256, 64) == FAILED


# -- confinement ---------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path, folder: Path) -> Path:
    """A file outside of the folder, to which links inside lead."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (folder / "link").symlink_to(secret)
    (folder / "folder-link").symlink_to(tmp_path)
    (folder / "relative").symlink_to("../secret")
    (folder / "dangling").symlink_to(tmp_path / "made")
    (folder / "sub").mkdir()
    return secret


_ESCAPES = [
    b"../secret",
    b"sub/../../secret",
    b"link",
    b"relative",
    b"folder-link/secret",
    b"./../secret",
    b"..",
]


@pytest.mark.parametrize("name", [*_ESCAPES, None])
@pytest.mark.parametrize("mode", range(12))
def test_no_name_leads_out_of_the_folder(guest, secret, tmp_path, name, mode) -> None:
    before = sorted(tmp_path.iterdir())
    assert guest.open(str(secret).encode() if name is None else name, mode) == FAILED
    assert guest.errno() in (Errno.EACCES, Errno.ENOTDIR, Errno.ENOENT)
    assert guest.open(b"dangling", mode) == FAILED
    assert secret.read_bytes() == b"secret"
    assert sorted(tmp_path.iterdir()) == before


def test_going_up_from_a_link_stays_inside(guest, secret, folder) -> None:
    assert guest.put(guest.open(b"folder-link/../secret", WRITE), b"mine") == 0
    assert (folder / "secret").read_bytes() == b"mine"
    assert secret.read_bytes() == b"secret"


def test_nothing_outside_is_removed_or_renamed(guest, secret, tmp_path, folder) -> None:
    (folder / "mine").write_bytes(b"mine")
    for name in (b"../secret", b"folder-link/secret", str(secret).encode()):
        assert guest.call(sys.REMOVE, *guest.text(name)) == FAILED
        assert guest.call(sys.RENAME, *guest.text(name), *guest.text(b"stolen", 1)) == FAILED
        assert guest.call(sys.RENAME, *guest.text(b"mine"), *guest.text(name, 1)) == FAILED
    # a link itself is the guest's, what it leads to is not
    assert guest.call(sys.REMOVE, *guest.text(b"link")) == 0
    assert secret.read_bytes() == b"secret"
    assert (folder / "mine").read_bytes() == b"mine"


def test_only_regular_files_are_opened(guest, folder) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "sub").mkdir()
    for name in (b"fifo", b"sub", b".", b"", b"sub/.."):
        for mode in range(12):
            assert guest.open(name, mode) == FAILED


def test_without_a_folder_there_are_no_files(arm) -> None:
    assert arm.open(b"x", WRITE) == FAILED
    assert arm.errno() == Errno.EACCES
    assert arm.call(sys.REMOVE, *arm.text(b"x")) == FAILED
    assert arm.call(sys.RENAME, *arm.text(b"x"), *arm.text(b"y", 1)) == FAILED
    assert arm.open(b":tt", READ_ONLY) == 1
    assert arm.open(b":semihosting-features", READ_ONLY) == 2


# -- what guests do wrong ------------------------------------------------------------------------

_BLOCKS = {number: call.words for number, call in CALLS.items() if call.words is not None}


@pytest.mark.parametrize("number", sorted(_BLOCKS))
@pytest.mark.parametrize("address", [NOWHERE, 0x33FFFFFE, 0xFFFFFFFC, 0x34000000])
def test_a_parameter_block_that_is_not_there_is_an_error(arm, number, address) -> None:
    if address == 0xFFFFFFFC and _BLOCKS[number] == 1:
        address += 1
    assert arm.call_with(number, address) == FAILED
    assert arm.errno() == Errno.EFAULT


@pytest.mark.parametrize("buffer", [NOWHERE, 0xFFFFFFFF, 0x33FFFFFF, 0x00000000, 0x50000000])
def test_a_buffer_that_cannot_be_written_is_an_error(guest, folder, buffer) -> None:
    (folder / "f").write_bytes(b"12345")
    handle = guest.open(b"f", READ_ONLY)
    features = guest.open(b":semihosting-features", READ_ONLY)
    console = guest.open(b":tt", READ_ONLY)
    guest.console.open()
    guest.console.feed(b"12345")
    boot = guest.read(0, 16)
    for source in (handle, features, console):
        assert guest.call(sys.READ, source, buffer, 4) == FAILED
        assert guest.errno() == Errno.EFAULT
    for number, words in (
        (sys.TMPNAM, (buffer, 1, 64)),
        (sys.GET_CMDLINE, (buffer, 64)),
        (sys.HEAPINFO, (buffer,)),
    ):
        assert guest.call(number, *words) == FAILED
        assert guest.errno() == Errno.EFAULT
    assert guest.call_with(sys.ELAPSED, buffer) == FAILED
    assert guest.read(0, 16) == boot
    # nothing was lost by it
    assert guest.get(handle, 5) == b"12345"
    assert guest.get(console, 5) == b"12345"


def test_a_buffer_that_cannot_be_read_is_an_error(guest, folder) -> None:
    handle, console = guest.open(b"f", WRITE), guest.open(b":tt", WRITE)
    for target in (handle, console):
        assert guest.call(sys.WRITE, target, NOWHERE, 4) == FAILED
        assert guest.call(sys.WRITE, target, 0x33FFFFFC, 8) == FAILED
        assert guest.call(sys.WRITE, target, 0xFFFFFFFF, 0xFFFFFFFF) == FAILED
    for number in (sys.WRITEC, sys.WRITE0):
        assert guest.call_with(number, NOWHERE) == FAILED
    assert (folder / "f").read_bytes() == b""
    assert guest.written == []


def test_a_huge_transfer_is_done_in_part(guest, folder) -> None:
    handle = guest.open(b"f", WRITE)
    assert guest.call(sys.WRITE, handle, 0x30000000, 0x02000000) == 0x01000000
    assert (folder / "f").stat().st_size == 0x01000000


@pytest.mark.parametrize(
    ("name", "length", "error"),
    [
        (b"name\0", 3, Errno.EINVAL),
        (b"na\0me\0", 5, Errno.EINVAL),
        (b"name\0", 0xFFFFFFFF, Errno.ENAMETOOLONG),
        (b"n" * 300 + b"\0", 300, Errno.ENAMETOOLONG),
    ],
)
def test_a_name_that_is_not_one_is_an_error(guest, name, length, error) -> None:
    guest.write(TEXT, name)
    assert guest.call(sys.OPEN, TEXT, WRITE, length) == FAILED
    assert guest.errno() == error


def test_a_call_that_does_not_exist_is_an_error_and_a_guest_error(guest) -> None:
    log: list[str] = []
    guest.board.log.listeners.append(lambda error: log.append(str(error)))
    for number in (0, 0x0B, 0x17, 0xFFFFFFFF):
        assert guest.call_with(number, 0) == FAILED
        assert guest.errno() == Errno.EINVAL
    assert "semihosting: call 0x17 does not exist at pc 0x30008000" in log


_WORDS = st.one_of(
    st.integers(0, 16),
    st.sampled_from([BLOCK, BUFFER, TEXT, NOWHERE, 0, 0x33FFFFFF, 0xFFFFFFFF, 0x50000020, 0x20026]),
    st.integers(0, 0xFFFFFFFF),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted({*CALLS, 0, 0x19} - {sys.EXIT, sys.EXIT_EXTENDED})),
    st.lists(_WORDS, min_size=4, max_size=4),
    st.one_of(st.just(BLOCK), _WORDS),
)
def test_whatever_a_guest_passes_it_gets_an_answer(arm, number, words, parameter) -> None:
    arm.write(BLOCK, b"".join(word.to_bytes(4, "little") for word in words))
    arm.write(TEXT, b"../x\0")
    arm.call_with(number, parameter)
    assert arm.cpu.pc == arm.done
