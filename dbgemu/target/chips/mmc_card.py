"""MMC cards, version 4 (JESD84-A44)."""

from __future__ import annotations

from typing import ClassVar

from dbgemu.target.block import SECTOR
from dbgemu.target.chips import card_registers as registers
from dbgemu.target.chips.memory_card import (
    OCR_BLOCKS,
    OCR_READY,
    OCR_VOLTAGES,
    MemoryCard,
    Response,
    State,
    command,
)

_SWITCH_ERROR = 1 << 7
#: bytes of the extended CSD that CMD6 may change
_BUS_WIDTH, _TIMING, _ERASE_DEFINITION = 183, 185, 175
_WIDTHS = (0, 1)  # one or four lines: the board has no more


class MmcCard(MemoryCard):
    """An MMC card; its sectors are addressed above 2 GiB."""

    title = "MMC card"
    STATE: ClassVar[tuple[str, ...]] = (*MemoryCard.STATE, "_timing", "_count")
    erase_unit = 32 * SECTOR

    make_cid = staticmethod(registers.mmc_cid)
    make_csd = staticmethod(registers.mmc_csd)

    def _power_up(self) -> None:
        super()._power_up()
        self._timing = 0
        self._count = -1

    @command(1, State.IDLE, State.READY)
    def _send_operating_condition(self, argument: int) -> Response:
        ocr = OCR_VOLTAGES
        if argument & OCR_VOLTAGES and (argument & OCR_BLOCKS or not self.large):
            self.state = State.READY
            ocr |= OCR_READY | (OCR_BLOCKS if self.large else 0)
        return Response(63, ocr.to_bytes(4, "big"), checked=False)

    @command(3, State.IDENT)
    def _set_address(self, argument: int) -> Response:
        answer = self._r1(3)
        self.rca = argument >> 16
        self.state = State.STANDBY
        return answer

    @command(6, State.TRANSFER)
    def _switch(self, argument: int) -> Response:
        """Write a byte of the extended CSD (7.6.1); what cannot be is told by the next status."""
        access, place, value = argument >> 24 & 3, argument >> 16 & 0xFF, argument >> 8 & 0xFF
        answer = self._r1(6)
        if access == 3 and place == _BUS_WIDTH and value in _WIDTHS:
            self.wide = value == 1
        elif access == 3 and place == _TIMING and value in (0, 1):
            self._timing = value
        elif access != 0 and not (access == 3 and place == _ERASE_DEFINITION and value == 0):
            self._status |= _SWITCH_ERROR
        return answer

    @command(8, State.TRANSFER)
    def _send_ext_csd(self, argument: int) -> Response:
        return self._send(8, registers.ext_csd(self.medium.size, int(self.wide), self._timing))

    @command(23, State.TRANSFER)
    def _set_block_count(self, argument: int) -> Response:
        self._count = argument & 0xFFFF or -1
        return self._r1(23)

    def _take_count(self) -> int:
        count, self._count = self._count, -1
        return count

    @command(35, State.TRANSFER)
    def _erase_first(self, argument: int) -> Response:
        return self._set_erase(35, argument, start=True)

    @command(36, State.TRANSFER)
    def _erase_last(self, argument: int) -> Response:
        return self._set_erase(36, argument, start=False)
