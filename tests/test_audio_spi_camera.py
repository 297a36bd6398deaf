"""IIS, AC97, SPI and camera interface: reset values, and what their drivers' probes rely on."""

import pytest

from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.ac97 import Ac97
from dbgemu.target.s3c2440.camera import Camera
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.i2s import I2s
from dbgemu.target.s3c2440.spi import Spi

IISCON, IISMOD, IISPSR, IISFCON, IISFIFO = 0x00, 0x04, 0x08, 0x0C, 0x10
SPCON, SPSTA, SPPIN, SPPRE, SPTDAT, SPRDAT = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14
INTERRUPT_MASTER = 0x38


class SpiRig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.lines = (Line("INT_SPI0"), Line("INT_SPI1"))
        self.requests = [0, 0]
        self.lines[0].connect(lambda level: self.count(0, level))
        self.lines[1].connect(lambda level: self.count(1, level))
        self.spi = Spi("spi", clock=self.clock, clocks=FixedClocks(), interrupts=self.lines)

    def count(self, channel: int, level: int) -> None:
        self.requests[channel] += level

    def run(self) -> int:
        before = self.clock.now
        deadline = self.clock.next_deadline()
        assert deadline is not None, "no transfer is under way"
        self.clock.skip_to(deadline)
        self.clock.run_due()
        return self.clock.now - before


class Inverter:
    """An SPI device that answers with the complement of what it gets."""

    def select(self, level: int) -> None:
        pass

    def transfer(self, byte: int) -> int:
        return ~byte


@pytest.fixture
def iis() -> I2s:
    return I2s("iis", clock=VirtualClock(), clocks=FixedClocks())


@pytest.fixture
def rig() -> SpiRig:
    return SpiRig()


def test_iis_resets_to_the_right_channel_and_off(iis: I2s) -> None:
    assert [iis.read(register, 4) for register in (IISCON, IISMOD, IISPSR, IISFCON)] == [0x100, 0, 0, 0]


def test_the_probe_and_a_playback_set_up_are_read_back(iis: I2s) -> None:
    iis.write(IISCON, 4, 1)
    iis.write(IISPSR, 4, 3 << 5 | 3)
    iis.write(IISCON, 4, iis.read(IISCON, 4) | 2 | 0x20)
    iis.write(IISMOD, 4, 0x8D)
    iis.write(IISFCON, 4, 0xFFFF)
    assert iis.read(IISCON, 4) & 0x3F == 0x23
    assert iis.read(IISMOD, 4) == 0x8D
    assert iis.read(IISFCON, 4) == 0xF000, "counts are the hardware's"
    assert iis.sample_rate() == 50_625_000 // (4 * 384)


def test_the_channel_index_alternates_at_the_sample_rate(iis: I2s) -> None:
    iis.write(IISPSR, 4, 3 << 5)
    iis.write(IISCON, 4, 3)
    half = 10**9 // (2 * iis.sample_rate())
    iis.clock.skip(half // 2)
    seen = []
    for _ in range(4):
        seen.append(iis.read(IISCON, 4) >> 8)
        iis.clock.skip(half)
    assert seen == [0, 1, 0, 1]


@pytest.mark.parametrize("channel", [0, 1])
def test_spi_reset_values_are_the_manuals(rig: SpiRig, channel: int) -> None:
    values = [rig.spi.read(0x20 * channel + offset, 1) for offset in range(0, 0x18, 4)]
    assert values == [0, 1, 0, 0, 0, 0xFF]


@pytest.mark.parametrize("channel", [0, 1])
def test_a_byte_takes_eight_clocks_and_interrupts(rig: SpiRig, channel: int) -> None:
    base = 0x20 * channel
    rig.spi.write(base + SPPRE, 1, 25)
    rig.spi.write(base + SPCON, 1, INTERRUPT_MASTER)
    rig.spi.write(base + SPTDAT, 1, 0x9F)
    assert not rig.spi.read(base + SPSTA, 1) & 1
    assert rig.run() == pytest.approx(8 * 2 * 26 / 50.625e6 * 1e9, abs=2)
    assert rig.spi.read(base + SPSTA, 1) == 1
    assert rig.spi.read(base + SPRDAT, 1) == 0xFF
    assert rig.requests[channel] == 1
    assert rig.requests[1 - channel] == 0


def test_an_attached_device_exchanges_bytes(rig: SpiRig) -> None:
    rig.spi.attach(1, Inverter())
    rig.spi.write(0x20 + SPCON, 1, 0x18)
    rig.spi.write(0x20 + SPTDAT, 1, 0x0F)
    rig.run()
    assert rig.spi.read(0x20 + SPRDAT, 1) == 0xF0
    assert rig.requests == [0, 0], "polling mode"


def test_writing_while_shifting_is_a_collision_that_reading_the_status_clears(rig: SpiRig) -> None:
    rig.spi.write(SPCON, 1, 0x18)
    rig.spi.write(SPTDAT, 1, 1)
    rig.spi.write(SPTDAT, 1, 2)
    assert rig.spi.peek(SPSTA, 1) == 4
    assert rig.spi.read(SPSTA, 1) == 4
    assert rig.spi.read(SPSTA, 1) == 0
    assert rig.spi.read(SPTDAT, 1) == 1


def test_with_tagd_reading_sends_ff_for_the_next_byte_but_peeking_does_not(rig: SpiRig) -> None:
    rig.spi.attach(0, Inverter())
    rig.spi.write(SPCON, 1, 0x19)
    rig.spi.peek(SPRDAT, 1)
    assert rig.clock.next_deadline() is None
    rig.spi.read(SPRDAT, 1)
    rig.run()
    assert rig.spi.peek(SPRDAT, 1) == 0


def test_a_slave_waits_for_its_master(rig: SpiRig) -> None:
    rig.spi.write(SPCON, 1, 0x30)
    rig.spi.write(SPTDAT, 1, 1)
    assert rig.clock.next_deadline() is None
    assert rig.spi.read(SPSTA, 1) & 1


def test_a_transfer_survives_save_and_load(rig: SpiRig) -> None:
    rig.spi.write(SPCON, 1, INTERRUPT_MASTER)
    rig.spi.write(SPTDAT, 1, 1)
    other = SpiRig()
    other.spi.load(rig.spi.save())
    other.run()
    assert other.requests == [1, 0]


def test_ac97_stays_in_its_first_state_without_a_codec() -> None:
    ac97 = Ac97("ac97", clock=VirtualClock(), interrupt=Line("INT_AC97"))
    assert ac97.read(0x04, 4) == 1
    for value in (1, 0, 2, 0, 4, 12):
        ac97.write(0x00, 4, value)
    assert ac97.read(0x00, 4) == 12
    assert ac97.read(0x04, 4) & 0x40_0007 == 1, "never ready"
    ac97.write(0x08, 4, 1 << 23 | 0x7C << 16)
    assert ac97.read(0x0C, 4) == 0


def test_the_camera_interface_holds_its_set_up_and_a_software_reset_clears_it() -> None:
    camera = Camera(
        "camif",
        clock=VirtualClock(),
        codec_done=Line("INT_CAM_C"),
        preview_done=Line("INT_CAM_P"),
        write_memory=lambda address, data: None,
    )
    assert not any(value.value for value in camera.dump())
    camera.write(0x00, 4, 1 << 31 | 640 << 16 | 480)
    camera.write(0x18, 4, 0x30100000)
    assert camera.read(0x00, 4) == 1 << 31 | 640 << 16 | 480
    camera.write(0x08, 4, camera.read(0x08, 4) | 1 << 31)
    camera.write(0x08, 4, camera.read(0x08, 4) & ~(1 << 31))
    assert [camera.read(offset, 4) for offset in (0x00, 0x08, 0x18)] == [0, 0, 0]
    assert camera.read(0x64, 4) == camera.read(0x98, 4) == 0
