"""The IIC controller and the AT24C08, driven the way Linux's i2c-s3c2410 and at24 drivers do."""

from pathlib import Path

import pytest

from dbgemu.errors import OptionError
from dbgemu.host.flash_image import open_eeprom_image
from dbgemu.target.chips.at24c08 import SIZE, WRITE_CYCLE_NS, At24c08
from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.i2c import I2c
from dbgemu.target.s3c2440.i2c_external import ExternalTransfer

IICCON, IICSTAT, IICADD, IICDS = 0x00, 0x04, 0x08, 0x0C
LOST, AS_SLAVE, SLAVE_RX, SLAVE_TX = 0x08, 0x04, 0x10, 0x50
ACKEN, IRQEN, PEND = 0x80, 0x20, 0x10
MASTER_TX, MASTER_RX, START, TXRXEN, NACK = 0xC0, 0x80, 0x20, 0x10, 0x01


class Rig:
    """The controller with one EEPROM, and an interrupt-driven master in the role of the driver."""

    def __init__(self, migrates: bool = False) -> None:
        self.migrates = migrates
        self.clock = VirtualClock()
        self.line = Line("INT_IIC")
        self.i2c = I2c("i2c", clock=self.clock, clocks=FixedClocks(), interrupt=self.line)
        self.eeprom = At24c08("eeprom", clock=self.clock)
        self.i2c.attach(self.eeprom)
        # 50.625 MHz / 512 / 1: what the driver computes for 100 kHz
        self.i2c.write(IICCON, 4, 0x40)

    def migrate(self) -> None:
        """Go on with fresh parts that have loaded the state of the present ones."""
        states = self.i2c.save(), self.eeprom.save()
        self.line = Line("INT_IIC")
        # the old controller's timers must not fire any more
        self.i2c.reset()
        self.i2c = I2c("i2c", clock=self.clock, clocks=FixedClocks(), interrupt=self.line)
        self.eeprom = At24c08("eeprom", clock=self.clock)
        self.i2c.attach(self.eeprom)
        self.i2c.load(states[0])
        self.eeprom.load(states[1])

    def next_event(self) -> None:
        if self.migrates:
            self.migrate()
        deadline = self.clock.next_deadline()
        assert deadline is not None, "the controller waits for nothing: the driver would time out"
        self.clock.skip_to(deadline)
        self.clock.run_due()

    def change(self, register: int, clear: int, put: int = 0) -> None:
        if self.migrates:
            self.migrate()
        self.i2c.write(register, 4, self.i2c.read(register, 4) & ~clear | put)

    def start(self, address: int, read: bool) -> None:
        stat = TXRXEN | (MASTER_RX if read else MASTER_TX)
        self.change(IICCON, 0, ACKEN)
        control = self.i2c.read(IICCON, 4)
        self.i2c.write(IICSTAT, 4, stat)
        self.i2c.write(IICDS, 1, address << 1 | read)
        self.i2c.write(IICCON, 4, control)
        self.i2c.write(IICSTAT, 4, stat | START)

    def wait_interrupt(self) -> bool:
        """The interrupt after a byte; True when it was acknowledged."""
        self.next_event()
        assert self.line.level == 1
        return not self.i2c.read(IICSTAT, 4) & NACK

    def acknowledge(self) -> None:
        self.change(IICCON, PEND)
        assert self.line.level == 0

    def stop(self) -> None:
        self.change(IICSTAT, START)
        self.change(IICCON, IRQEN)
        self.acknowledge()
        self.next_event()
        assert not self.i2c.read(IICSTAT, 4) & START
        self.change(IICSTAT, TXRXEN)
        self.change(IICCON, IRQEN | PEND | ACKEN)

    def transfer(self, *messages: tuple[int, bytes | int]) -> list[bytes] | None:
        """(address, bytes to write or length to read) each; the read data, None without an ACK."""
        assert not self.i2c.read(IICSTAT, 4) & START
        self.change(IICCON, 0, IRQEN)
        result = []
        for index, (address, what) in enumerate(messages):
            self.start(address, isinstance(what, int))
            if index:
                self.acknowledge()
            if not self.wait_interrupt():
                self.stop()
                return None
            if isinstance(what, int):
                data = bytearray()
                for left in range(what, 0, -1):
                    if left == 1:
                        self.change(IICCON, ACKEN)
                    self.acknowledge()
                    self.wait_interrupt()
                    data.append(self.i2c.read(IICDS, 1))
                result.append(bytes(data))
            else:
                for byte in what:
                    self.i2c.write(IICDS, 1, byte)
                    self.acknowledge()
                    assert self.wait_interrupt()
        self.stop()
        return result

    def write_and_wait(self, address: int, data: bytes) -> None:
        assert self.transfer((address, data)) == []
        self.clock.skip(WRITE_CYCLE_NS)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_blank_eeprom_reads_ff_everywhere(rig: Rig) -> None:
    assert rig.transfer((0x50, b"\0"), (0x50, 4)) == [b"\xff" * 4]
    assert rig.eeprom.contents == b"\xff" * SIZE


def test_written_bytes_are_read_back_after_the_write_cycle(rig: Rig) -> None:
    rig.write_and_wait(0x50, b"\x20hello")
    assert rig.transfer((0x50, b"\x20"), (0x50, 5)) == [b"hello"]
    assert rig.eeprom.contents[0x20:0x25] == b"hello"


def test_the_two_low_address_bits_choose_the_block(rig: Rig) -> None:
    for block in range(4):
        rig.write_and_wait(0x50 + block, bytes([0x10, 0xA0 + block]))
    assert [rig.eeprom.contents[block * 256 + 0x10] for block in range(4)] == [0xA0, 0xA1, 0xA2, 0xA3]


def test_a_page_write_wraps_inside_its_16_bytes(rig: Rig) -> None:
    rig.write_and_wait(0x51, bytes([0x0E]) + bytes(range(4)))
    page = rig.eeprom.contents[0x100:0x110]
    assert page[14:16] == bytes([0, 1])
    assert page[0:2] == bytes([2, 3])
    assert rig.eeprom.contents[0x110:0x112] == b"\xff\xff"


def test_a_sequential_read_goes_on_over_the_end_of_the_array(rig: Rig) -> None:
    rig.eeprom.contents[-1] = 1
    rig.eeprom.contents[0] = 2
    assert rig.transfer((0x53, b"\xff"), (0x53, 2)) == [b"\x01\x02"]


@pytest.mark.parametrize("migrates", [False, True])
def test_the_chip_does_not_answer_for_5_ms_while_it_writes(migrates: bool) -> None:
    rig = Rig(migrates)
    rig.transfer((0x50, b"\0x"))
    began = rig.clock.now
    assert rig.transfer((0x50, b"\0")) is None
    while rig.transfer((0x50, b"\0")) is None:
        assert rig.clock.now - began < 2 * WRITE_CYCLE_NS
    assert rig.clock.now - began >= WRITE_CYCLE_NS * 0.9


def test_nobody_acknowledges_an_address_without_device(rig: Rig) -> None:
    assert rig.transfer((0x1A, b"\0")) is None
    assert rig.i2c.read(IICSTAT, 4) & (START | TXRXEN) == 0


def test_data_without_a_stop_is_not_written(rig: Rig) -> None:
    rig.transfer((0x50, b"\0lost"), (0x50, 1))
    assert rig.eeprom.contents == b"\xff" * SIZE


def test_a_byte_takes_nine_bits_at_the_programmed_rate(rig: Rig) -> None:
    rig.change(IICCON, 0, IRQEN)
    rig.start(0x50, read=False)
    rig.wait_interrupt()
    before = rig.clock.now
    rig.i2c.write(IICDS, 1, 0)
    rig.acknowledge()
    rig.wait_interrupt()
    assert rig.clock.now - before == pytest.approx(9 * 512 / 50.625e6 * 1e9, abs=2)


def test_a_polling_master_sees_the_pending_bit_without_an_interrupt(rig: Rig) -> None:
    rig.change(IICCON, IRQEN)
    rig.start(0x50, read=False)
    rig.next_event()
    assert rig.i2c.read(IICCON, 4) & PEND
    assert rig.line.level == 0


def test_writing_one_to_the_pending_bit_neither_sets_nor_clears_it(rig: Rig) -> None:
    rig.i2c.write(IICCON, 4, PEND)
    assert rig.i2c.read(IICCON, 4) == 0


def test_dropping_the_output_enable_releases_the_bus(rig: Rig) -> None:
    rig.start(0x50, read=False)
    assert rig.i2c.read(IICSTAT, 4) & START
    rig.change(IICSTAT, TXRXEN)
    assert not rig.i2c.read(IICSTAT, 4) & START
    assert rig.clock.next_deadline() is None


def test_a_transfer_can_be_saved_and_loaded_at_any_point() -> None:
    rig = Rig(migrates=True)
    rig.write_and_wait(0x52, b"\x20hello")
    assert rig.transfer((0x52, b"\x22"), (0x52, 3)) == [b"llo"]
    assert rig.transfer((0x1A, b"")) is None


def test_the_interrupt_request_is_driven_again_after_load(rig: Rig) -> None:
    rig.change(IICCON, 0, IRQEN)
    rig.start(0x50, read=False)
    saved = rig.i2c.save(), rig.eeprom.save()
    other = Rig()
    other.i2c.load(saved[0])
    other.eeprom.load(saved[1])
    assert other.wait_interrupt()
    again = Rig()
    again.i2c.load(other.i2c.save())
    assert again.line.level == 1


def test_reset_releases_the_bus_and_the_interrupt(rig: Rig) -> None:
    rig.change(IICCON, 0, IRQEN)
    rig.start(0x50, read=False)
    rig.wait_interrupt()
    rig.i2c.reset()
    assert rig.line.level == 0
    assert [rig.i2c.read(offset, 4) for offset in (IICCON, IICSTAT, IICDS)] == [0, 0, 0]


def test_contents_of_the_wrong_size_are_refused() -> None:
    with pytest.raises(ValueError, match="contents of eeprom are 256 bytes, not 1024"):
        At24c08("eeprom", clock=VirtualClock(), contents=bytearray(256))


def test_load_puts_the_contents_into_the_array_that_the_chip_was_given() -> None:
    backing = bytearray(SIZE)
    chip = At24c08("eeprom", clock=VirtualClock(), contents=backing)
    saved = chip.save()
    backing[7] = 9
    chip.load(saved)
    assert chip.contents is backing
    assert backing == bytes(SIZE)


def test_what_is_written_is_kept_in_an_image_and_found_by_the_next_chip(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "eeprom.img"
    image = open_eeprom_image(path, SIZE)
    rig.i2c.bus[0] = rig.eeprom = At24c08("eeprom", clock=rig.clock, backing=image)
    rig.write_and_wait(0x50, b"\x20hello")
    assert path.read_bytes()[0x20:0x25] == b"hello", "before anything is closed"
    image.close()
    before = path.read_bytes()
    image = open_eeprom_image(path, SIZE, snapshot=True)
    rig.i2c.bus[0] = At24c08("eeprom", clock=rig.clock, backing=image)
    rig.write_and_wait(0x50, b"\x25!")
    assert rig.transfer((0x50, b"\x20"), (0x50, 6)) == [b"hello!"]
    assert path.read_bytes() == before
    image.close()


def test_an_image_larger_than_the_chip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "eeprom.img"
    path.write_bytes(bytes(2 * SIZE))
    with pytest.raises(OptionError, match="has 2048 bytes, more than the chip's 1024"):
        open_eeprom_image(path, SIZE)


# -- the controller as slave -----------------------------------------------------------------------


def serve(rig: Rig, transfer: ExternalTransfer, give: bytes = b"") -> bytes:
    """What a guest does as slave: takes bytes, or gives those of ``give``; the bytes it took."""
    taken = bytearray()
    while not transfer.done:
        rig.next_event()
        if not rig.i2c.read(IICCON, 4) & PEND:
            continue
        if rig.i2c.read(IICSTAT, 4) & NACK or not transfer.reads:
            taken.append(rig.i2c.read(IICDS, 1))
        if transfer.reads and give:
            rig.i2c.write(IICDS, 1, give[0])
            give = give[1:]
        rig.acknowledge()
    return bytes(taken)


def as_slave(rig: Rig, mode: int, address: int = 0x21) -> None:
    rig.i2c.write(IICADD, 4, address << 1)
    rig.i2c.write(IICCON, 4, ACKEN | IRQEN | 0x40)
    rig.i2c.write(IICSTAT, 4, mode)


def test_another_master_writes_to_the_controller(rig: Rig) -> None:
    as_slave(rig, SLAVE_RX)
    transfer = ExternalTransfer(0x21, b"abc")
    rig.i2c.begin(transfer)
    assert rig.i2c.read(IICSTAT, 4) & START, "the bus is busy"
    rig.next_event()
    assert rig.i2c.read(IICSTAT, 4) & AS_SLAVE
    assert rig.i2c.read(IICDS, 1) == 0x42
    rig.acknowledge()
    assert serve(rig, transfer) == b"abc"
    assert (transfer.done, transfer.acknowledged) == (True, True)
    assert not rig.i2c.read(IICSTAT, 4) & (START | AS_SLAVE)


def test_another_master_reads_from_the_controller_and_acknowledges_all_but_the_last(rig: Rig) -> None:
    as_slave(rig, SLAVE_TX)
    transfer = ExternalTransfer(0x21, count=3)
    rig.i2c.begin(transfer)
    serve(rig, transfer, b"xyz")
    assert transfer.data == b"xyz"


def test_nobody_acknowledges_another_masters_wrong_address(rig: Rig) -> None:
    as_slave(rig, SLAVE_RX)
    transfer = ExternalTransfer(0x33, b"a")
    rig.i2c.begin(transfer)
    rig.next_event()
    assert (transfer.done, transfer.acknowledged) == (True, False)
    assert rig.line.level == 0


def test_a_slave_that_does_not_acknowledge_ends_the_transfer(rig: Rig) -> None:
    as_slave(rig, SLAVE_RX)
    transfer = ExternalTransfer(0x21, b"abc")
    rig.i2c.begin(transfer)
    rig.next_event()
    rig.i2c.write(IICCON, 4, IRQEN | 0x40)
    rig.next_event()
    assert rig.i2c.read(IICSTAT, 4) & NACK
    rig.acknowledge()
    assert (transfer.done, transfer.acknowledged, transfer.moved) == (True, False, 1)


def test_another_master_uses_the_eeprom_without_disturbing_the_controller(rig: Rig) -> None:
    write = ExternalTransfer(0x50, b"\x10hi")
    rig.i2c.begin(write)
    while not write.done:
        rig.next_event()
    assert rig.line.level == 0
    rig.clock.skip(WRITE_CYCLE_NS)
    assert rig.transfer((0x50, b"\x10"), (0x50, 2)) == [b"hi"]


def test_the_lower_address_wins_the_arbitration(rig: Rig) -> None:
    as_slave(rig, SLAVE_RX)
    loser = ExternalTransfer(0x60, b"a", contends=True)
    rig.i2c.begin(loser)
    assert rig.transfer((0x50, b"\0")) == []
    assert not loser.done
    winner = ExternalTransfer(0x21, b"a", contends=True)
    rig.i2c.begin(winner)
    rig.change(IICCON, 0, IRQEN | ACKEN)
    rig.start(0x50, read=False)
    rig.next_event()
    status = rig.i2c.read(IICSTAT, 4)
    assert status & LOST
    assert status & 0x80 == 0, "it is a slave now"
    assert status & AS_SLAVE, "and the winner meant it"
    rig.acknowledge()
    assert serve(rig, winner) == b"a"


@pytest.mark.parametrize("events", range(1, 5))
def test_a_transfer_of_another_master_survives_a_save(events: int) -> None:
    rig = Rig(migrates=True)
    as_slave(rig, SLAVE_RX)
    rig.i2c.begin(ExternalTransfer(0x21, b"abc"))
    for _ in range(events):
        rig.next_event()
        byte = rig.i2c.read(IICDS, 1)
        rig.acknowledge()
    assert byte == (0x42, *b"abc")[events - 1]
