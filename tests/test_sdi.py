"""The SD interface with an empty slot, driven the way Linux's s3cmci.c does."""

import pytest

from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.sdi import Sdi

CON, PRE, CMDARG, CMDCON, CMDSTAT = 0x00, 0x04, 0x08, 0x0C, 0x10
TIMER, BSIZE, DCON, DCNT, DSTA, FSTA, IMSK, DATA = 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38, 0x3C, 0x40
COMMAND_MASK = 1 << 10 | 1 << 15 | 1 << 14 | 1 << 16 | 1 << 17
CMDTOUT, CMDSENT, CMDON = 1 << 10, 1 << 11, 1 << 8
#: PCLK / 127 is just under the 400 kHz at which Linux looks for cards
PRESCALER = 126


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.line = Line("INT_SDI")
        self.sdi = Sdi("sdi", clock=self.clock, clocks=FixedClocks(), interrupt=self.line)

    def power_up(self) -> None:
        self.sdi.write(PRE, 4, PRESCALER)
        self.sdi.write(CON, 4, 1)

    def command(self, index: int, response: bool) -> None:
        for register in (CMDSTAT, DSTA, FSTA):
            self.sdi.write(register, 4, 0xFFFFFFFF)
        self.sdi.write(IMSK, 4, COMMAND_MASK)
        self.sdi.write(CMDARG, 4, 0x1AA)
        self.sdi.write(CMDCON, 4, index | 0x40 | 0x100 | (0x200 if response else 0))

    def run(self) -> int:
        """Until the next event; how long it took, in ns."""
        before = self.clock.now
        deadline = self.clock.next_deadline()
        assert deadline is not None, "the controller waits for nothing: the driver would hang"
        self.clock.skip_to(deadline)
        self.clock.run_due()
        return self.clock.now - before


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.power_up()
    return rig


def test_reset_values_are_the_manuals() -> None:
    rig = Rig()
    values = {v.register.name: v.value for v in rig.sdi.dump()}
    assert values.pop("SDIPRE") == 1
    assert set(values.values()) == {0}


def test_a_command_without_response_is_sent(rig: Rig) -> None:
    rig.command(0, response=False)
    assert rig.sdi.read(CMDSTAT, 4) == CMDON
    assert rig.sdi.read(CMDCON, 4) == 0x40, "CMST clears itself"
    assert rig.run() == pytest.approx(48 * 127 / 50.625e6 * 1e9, abs=2)
    assert rig.sdi.read(CMDSTAT, 4) == CMDSENT
    assert rig.line.level == 1


def test_a_command_that_wants_a_response_times_out_after_64_clocks(rig: Rig) -> None:
    rig.command(8, response=True)
    assert rig.line.level == 0
    assert rig.run() == pytest.approx((48 + 64) * 127 / 50.625e6 * 1e9, abs=2)
    assert rig.sdi.read(CMDSTAT, 4) == CMDSENT | CMDTOUT
    assert rig.line.level == 1
    rig.sdi.write(IMSK, 4, 0)
    assert rig.line.level == 0


def test_writing_ones_clears_the_status_and_the_request(rig: Rig) -> None:
    rig.command(8, response=True)
    rig.run()
    rig.sdi.write(CMDSTAT, 4, 0xFFFFFFFF)
    assert rig.sdi.read(CMDSTAT, 4) == 0
    assert rig.line.level == 0


def test_a_command_waits_for_the_clock_to_be_enabled() -> None:
    rig = Rig()
    rig.command(0, response=False)
    assert rig.clock.next_deadline() is None
    rig.power_up()
    rig.run()
    assert rig.sdi.read(CMDSTAT, 4) == CMDSENT


def test_a_read_with_data_fails_with_the_command_and_can_be_stopped(rig: Rig) -> None:
    rig.sdi.write(BSIZE, 4, 512)
    rig.sdi.write(DCON, 4, 1 | 1 << 17 | 2 << 12 | 1 << 19 | 2 << 22 | 1 << 14)
    assert rig.sdi.read(DSTA, 4) == 1
    assert rig.sdi.read(DCNT, 4) == 1 << 12 | 512
    rig.command(17, response=True)
    rig.run()
    assert rig.sdi.read(CMDSTAT, 4) & CMDTOUT
    rig.sdi.write(DCON, 4, 1 << 14)
    assert rig.sdi.read(DSTA, 4) & 3 == 0
    assert rig.clock.next_deadline() is None


def test_data_without_command_times_out_after_the_programmed_time(rig: Rig) -> None:
    rig.sdi.write(TIMER, 4, 1000)
    rig.sdi.write(IMSK, 4, 1 << 8)
    rig.sdi.write(DCON, 4, 1 | 2 << 12 | 1 << 14)
    assert rig.run() == pytest.approx(1000 * 127 / 50.625e6 * 1e9, abs=2)
    assert rig.sdi.read(DSTA, 4) == 0x20
    assert rig.line.level == 1


def test_the_transmit_fifo_takes_64_bytes_and_tells_its_level(rig: Rig) -> None:
    rig.sdi.write(DCON, 4, 3 << 12 | 1 << 20 | 1 << 14)
    assert rig.sdi.read(FSTA, 4) == 1 << 13 | 1 << 11 | 1 << 10
    rig.sdi.write(IMSK, 4, 1 << 4)
    assert rig.line.level == 1, "half empty"
    for i in range(16):
        rig.sdi.write(DATA, 4, i)
    assert rig.sdi.read(FSTA, 4) == 64
    assert rig.line.level == 0
    rig.sdi.write(FSTA, 4, 1 << 16)
    assert rig.sdi.read(FSTA, 4) & 0x7F == 0


def test_sdreset_puts_everything_back(rig: Rig) -> None:
    rig.command(8, response=True)
    rig.sdi.write(CON, 4, 0x101)
    assert rig.clock.next_deadline() is None
    assert rig.sdi.read(CON, 4) == 1
    assert [rig.sdi.read(register, 4) for register in (CMDARG, CMDCON, CMDSTAT, IMSK)] == [0] * 4


def test_a_command_in_flight_survives_save_and_load(rig: Rig) -> None:
    rig.command(8, response=True)
    other = Rig()
    other.sdi.load(rig.sdi.save())
    other.run()
    assert other.line.level == 1


def test_a_data_time_out_survives_save_and_load(rig: Rig) -> None:
    rig.sdi.write(TIMER, 4, 1000)
    rig.sdi.write(DCON, 4, 1 | 2 << 12 | 1 << 14)
    other = Rig()
    other.sdi.load(rig.sdi.save())
    other.run()
    assert other.sdi.read(DSTA, 4) == 0x20
