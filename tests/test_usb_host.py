"""The OHCI controller with empty ports, brought up the way Linux's ohci-hcd.c does."""

import pytest

from dbgemu.target.bus import Bus
from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.memory import Memory
from dbgemu.target.s3c2440.usb_host import UsbHost

REVISION, CONTROL, COMMAND, STATUS, ENABLE, DISABLE, HCCA = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18
INTERVAL, REMAINING, NUMBER, PERIODIC, LOW_SPEED = 0x34, 0x38, 0x3C, 0x40, 0x44
RH_A, RH_B, RH_STATUS, PORT1, PORT2 = 0x48, 0x4C, 0x50, 0x54, 0x58
HCR, OPERATIONAL, MIE, SF, FNO, RHSC = 1, 0x80, 1 << 31, 4, 0x20, 0x40
MS = 1_000_000


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.line = Line("INT_USBH")
        self.bus = Bus()
        self.bus.map(0x30000000, Memory("ram", 1 << 16))
        self.ohci = UsbHost("ohci", clock=self.clock, interrupt=self.line, bus=self.bus)

    def readl(self, register: int) -> int:
        return self.ohci.read(register, 4)

    def writel(self, value: int, register: int) -> None:
        self.ohci.write(register, 4, value)

    def wait(self, ns: int) -> None:
        end = self.clock.now + ns
        while (deadline := self.clock.next_deadline()) is not None and deadline <= end:
            self.clock.skip_to(deadline)
            self.clock.run_due()
        self.clock.skip_to(end)

    def run(self) -> None:
        """ohci_run(): reset, initialise, go operational, enable interrupts."""
        interval = self.readl(INTERVAL) & 0x3FFF
        self.writel(0, CONTROL)
        self.wait(50 * MS)
        self.writel(HCR, COMMAND)
        for _ in range(30):
            if not self.readl(COMMAND) & HCR:
                break
            self.wait(1000)
        else:
            pytest.fail("USB HC reset timed out!")
        assert self.readl(CONTROL) & 0xC0 == 0xC0, "suspended after a reset"
        self.writel(0x30000000, HCCA)
        self.writel(self.readl(INTERVAL) & 1 << 31 ^ 1 << 31 | 0x2778 << 16 | interval, INTERVAL)
        self.writel(0x2A2F, PERIODIC)
        assert self.readl(INTERVAL) & 0x3FFF0000
        assert self.readl(PERIODIC)
        self.writel(OPERATIONAL | 3, CONTROL)
        self.writel(1 << 15, RH_STATUS)
        self.writel(0xFFFFFFFF, STATUS)
        self.writel(MIE | 0x1B, ENABLE)
        value = self.readl(RH_A) & ~(1 << 12) | 1 << 11
        self.writel(value, RH_A)
        self.writel(1 << 16, RH_STATUS)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.run()
    return rig


def test_reset_values_are_those_of_openhci_with_two_ports() -> None:
    rig = Rig()
    assert rig.readl(REVISION) == 0x10
    assert rig.readl(INTERVAL) == 0x2EDF
    assert rig.readl(LOW_SPEED) == 0x628
    assert rig.readl(RH_A) & 0xFF == 2
    assert rig.readl(CONTROL) == 0


def test_the_driver_brings_it_up_and_finds_nothing_attached(rig: Rig) -> None:
    assert rig.readl(RH_A) & 0xFF == 2
    for port in (PORT1, PORT2):
        assert rig.readl(port) == 0x100, "powered, nothing connected, no change"
    assert rig.readl(STATUS) & RHSC == 0
    assert rig.line.level == 0


def test_an_idle_controller_arms_no_timer(rig: Rig) -> None:
    assert rig.clock.next_deadline() is None
    rig.writel(RHSC, ENABLE)
    assert rig.clock.next_deadline() is None


def test_the_reset_bit_reads_one_for_less_than_ten_microseconds() -> None:
    rig = Rig()
    rig.writel(HCR, COMMAND)
    assert rig.readl(COMMAND) & HCR
    rig.wait(10_000)
    assert not rig.readl(COMMAND) & HCR


def test_a_software_reset_keeps_the_root_hub_and_remote_wakeup(rig: Rig) -> None:
    rig.writel(OPERATIONAL | 0x200, CONTROL)
    hub = rig.readl(RH_A)
    rig.writel(HCR, COMMAND)
    assert rig.readl(CONTROL) == 0x2C0
    assert rig.readl(RH_A) == hub
    assert rig.readl(HCCA) == 0
    assert rig.readl(ENABLE) == 0


def test_the_frame_number_advances_each_millisecond_only_when_operational(rig: Rig) -> None:
    first = rig.readl(NUMBER)
    rig.wait(25 * MS)
    assert rig.readl(NUMBER) == first + 25
    rig.writel(0xC0, CONTROL)
    rig.wait(10 * MS)
    assert rig.readl(NUMBER) == first + 25
    rig.writel(OPERATIONAL, CONTROL)
    rig.wait(2 * MS)
    assert rig.readl(NUMBER) == first + 27


def test_the_remaining_bit_times_count_down_within_a_frame(rig: Rig) -> None:
    start = rig.readl(REMAINING) & 0x3FFF
    rig.wait(100_000)
    assert rig.readl(REMAINING) & 0x3FFF == start - 1200


def test_the_frame_number_wraps_at_16_bits_and_tells_of_bit_15(rig: Rig) -> None:
    rig.writel(0xFFFFFFFF, STATUS)
    rig.writel(FNO, ENABLE)
    rig.wait(32768 * MS)
    assert rig.line.level == 1
    rig.writel(FNO | SF, STATUS)
    assert rig.line.level == 0
    rig.wait(32768 * MS)
    assert rig.line.level == 1
    assert rig.readl(NUMBER) < 100


def test_start_of_frame_interrupts_each_millisecond_while_enabled(rig: Rig) -> None:
    rig.writel(SF, STATUS)
    rig.writel(SF, ENABLE)
    for _ in range(3):
        assert rig.line.level == 0
        rig.wait(1 * MS)
        assert rig.line.level == 1
        number = int.from_bytes(rig.bus.peek(0x30000080, 4), "little")
        assert number == rig.readl(NUMBER)
        rig.writel(SF, STATUS)
    rig.writel(SF, DISABLE)
    assert rig.clock.next_deadline() is None
    assert rig.readl(DISABLE) == rig.readl(ENABLE) == MIE | 0x1B


def test_the_frame_status_is_there_for_who_polls_it(rig: Rig) -> None:
    rig.writel(SF, STATUS)
    assert not rig.readl(STATUS) & SF
    rig.wait(MS)
    assert rig.readl(STATUS) & SF


def test_without_the_master_enable_nothing_is_requested(rig: Rig) -> None:
    rig.writel(MIE, DISABLE)
    rig.writel(SF, ENABLE)
    rig.wait(5 * MS)
    assert rig.line.level == 0
    rig.writel(MIE, ENABLE)
    assert rig.line.level == 1


def test_resetting_an_empty_port_only_reports_a_connection_change(rig: Rig) -> None:
    rig.writel(RHSC, ENABLE)
    rig.writel(0x10, PORT2)
    assert rig.readl(PORT2) == 0x1_0100
    assert rig.line.level == 1
    rig.writel(0x1_0000, PORT2)
    rig.writel(RHSC, STATUS)
    assert rig.readl(PORT2) == 0x100
    assert rig.line.level == 0


def test_the_number_of_ports_cannot_be_written(rig: Rig) -> None:
    rig.writel(0xFFFFFFFF, RH_A)
    assert rig.readl(RH_A) & 0xFF == 2


def test_ports_can_be_powered_off_where_the_hub_switches_power(rig: Rig) -> None:
    rig.writel(rig.readl(RH_A) & ~0x200, RH_A)
    rig.writel(0x200, PORT1)
    assert rig.readl(PORT1) == 0
    rig.writel(0x100, PORT1)
    assert rig.readl(PORT1) == 0x100
    rig.writel(1, RH_STATUS)
    assert (rig.readl(PORT1), rig.readl(PORT2)) == (0, 0)


def test_a_frame_interrupt_that_is_waited_for_survives_save_and_load(rig: Rig) -> None:
    rig.wait(5 * MS)
    rig.writel(0xC0, CONTROL)
    rig.writel(OPERATIONAL, CONTROL)
    rig.writel(SF, STATUS)
    rig.writel(SF, ENABLE)
    other = Rig()
    other.clock.load(rig.clock.save())
    other.ohci.load(rig.ohci.save())
    assert other.readl(NUMBER) == rig.readl(NUMBER) == 5
    other.wait(MS)
    assert other.line.level == 1


def test_peeking_at_the_status_changes_nothing(rig: Rig) -> None:
    rig.writel(SF, STATUS)
    rig.wait(MS)
    before = rig.ohci.save()
    assert rig.ohci.peek(STATUS, 4) & SF
    assert rig.ohci.save() == before
