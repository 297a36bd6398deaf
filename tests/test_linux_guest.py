"""Unmodified Linux on the emulated board, to its shell and back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from linux_guest import LinuxGuest

from dbgemu.target.s3c2440.clock_gates import GATES


@pytest.fixture(scope="module")
def booted() -> LinuxGuest:
    guest = LinuxGuest()
    guest.boot()
    return guest


def test_linux_has_gated_the_blocks_that_nobody_uses_and_leaves_them_alone(booted: LinuxGuest) -> None:
    board = booted.machine.board
    gated = {name for name, field in GATES.items() if not board.clkpwr.enabled(field)}
    assert gated == {"ac97", "camif", "i2c", "rtc", "uart1", "uart2"}
    assert not board.gates.clock("uart1").runs
    assert board.gates.clock("uart0").runs


def test_the_boot_log_names_what_is_on_the_board(booted: LinuxGuest) -> None:
    for line in (
        "CPU: ARM920T [41129200] revision 0 (ARMv4T), cr=c000717f",
        "Machine: MINI2440",
        "CPU S3C2440A (id 0x32440001)",
        "sched_clock: 16 bits at 1013kHz",
        "ttySAC0 at MMIO 0x50000000",
        "24c08 EEPROM, writable, 16 bytes/write",
        "Found 1 x16 devices at 0x0 in 16-bit bank",
        "nand: 64 MiB, SLC, erase size: 16 KiB, page size: 512, OOB size: 16",
        "s3c24xx-nand s3c2440-nand: hardware ECC",
        "registered as rtc0",
        "USB hub found",
    ):
        assert line in booted.text


#: what the reference log has too: no fault of the emulated board
_HARMLESS = (
    "error -ENXIO: IRQ index 1 not found",
    "error requesting GPIO for CD 0",
    "Invalid ethernet MAC address",
    "Failed to get DMA channel capabilities",
)


def test_no_driver_reports_an_error(booted: LinuxGuest) -> None:
    suspicious = [
        line
        for line in booted.command("dmesg").splitlines()
        if re.search(r"(?i:error|fail|timed? ?out|unable|invalid [^a])|BUG|WARN|Oops", line)
        and not any(known in line for known in _HARMLESS)
    ]
    assert suspicious == []


def test_cpuinfo_shows_the_cpu_and_the_board(booted: LinuxGuest) -> None:
    printed = booted.command("cat /proc/cpuinfo")
    assert "ARM920T rev 0 (v4l)" in printed
    assert re.search(r"Hardware\s+: MINI2440", printed)


def test_interrupts_count(booted: LinuxGuest) -> None:
    def timer_interrupts() -> int:
        match = re.search(r"(\d+)\s+s3c\s+13 Edge\s+samsung_time_irq", booted.command("cat /proc/interrupts"))
        assert match
        return int(match[1])

    before = timer_interrupts()
    booted.command("sleep 1")
    # the kernel's tick is 100 Hz
    assert 95 <= timer_interrupts() - before <= 125


def test_time_passes_as_the_guest_sleeps(booted: LinuxGuest) -> None:
    printed = booted.command("date +%s; sleep 3; date +%s")
    first, second = (int(word) for word in printed.split())
    assert second - first in (3, 4)


def test_mtd_shows_nor_and_the_partitions_of_nand(booted: LinuxGuest) -> None:
    printed = booted.command("cat /proc/mtd")
    for line in (
        '00200000 00010000 "physmap-flash.0"',
        '00040000 00004000 "u-boot"',
        '00020000 00004000 "u-boot-env"',
        '00500000 00004000 "kernel"',
        '03aa0000 00004000 "root"',
    ):
        assert line in printed


def test_nand_reads_back_what_was_written_and_keeps_it_in_its_image(tmp_path: Path) -> None:
    image = tmp_path / "nand.bin"
    image.touch()
    guest = LinuxGuest(nand=image)
    guest.boot()
    guest.command("mtd=/dev/$(grep '\"root\"' /proc/mtd | cut -d: -f1)")
    guest.command("seq 1 20000 | head -c 65536 > /tmp/in; flash_eraseall $mtd; nandwrite -p $mtd /tmp/in")
    printed = guest.command("nanddump -l 65536 -f /tmp/out $mtd; cmp /tmp/in /tmp/out && echo equal")
    assert "equal" in printed
    text = "".join(f"{number}\n" for number in range(1, 20001)).encode()[:65536]
    assert image.read_bytes()[0x560000:][:65536] == text


def test_the_eeprom_is_read_through_i2c(booted: LinuxGuest) -> None:
    path = "/sys/bus/i2c/devices/0-0050/eeprom"
    booted.command(f"printf dbgemu | dd of={path} bs=1 seek=100 2>/dev/null")
    printed = booted.command(f"dd if={path} bs=1 skip=98 count=10 2>/dev/null | hexdump -C")
    assert "00000000  ff ff 64 62 67 65 6d 75  ff ff" in printed
    assert booted.machine.board.eeprom.contents[98:108] == b"\xff\xffdbgemu\xff\xff"


def test_reboot_goes_through_the_watchdog_and_boots_again() -> None:
    guest = LinuxGuest()
    guest.boot()
    guest.uart.receive(b"reboot -f\r")
    printed = guest.boot()
    assert "Booting Linux on physical CPU" in printed
    # GSTATUS2: a bit for the watchdog's reset
    assert guest.machine.board.gpio.GSTATUS2 == 4


def test_two_boots_are_equal_to_the_instruction_and_in_all_state() -> None:
    def boot() -> tuple[int, str]:
        guest = LinuxGuest()
        guest.boot()
        return guest.machine.cpu.instructions, guest.machine.digest()

    assert boot() == boot()
