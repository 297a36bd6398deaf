"""SD and SDHC cards (SD Specifications, Physical Layer Simplified Specification 2.00)."""

from __future__ import annotations

from typing import ClassVar

from dbgemu.target.chips import card_registers as registers
from dbgemu.target.chips.memory_card import (
    APP_CMD,
    OCR_BLOCKS,
    OCR_READY,
    OCR_VOLTAGES,
    MemoryCard,
    Response,
    State,
    command,
)

_HIGH_CAPACITY = 1 << 30
#: the address that the card proposes first
_FIRST_RCA = 0x4567
_NONE = 15


class SdCard(MemoryCard):
    """An SD card, of high capacity above 2 GiB."""

    title = "SD card"
    STATE: ClassVar[tuple[str, ...]] = (*MemoryCard.STATE, "_functions", "_written")

    make_cid = staticmethod(registers.sd_cid)
    make_csd = staticmethod(registers.sd_csd)

    def _power_up(self) -> None:
        super()._power_up()
        self._functions = [0] * 6
        #: well written blocks of the latest command, for ACMD22
        self._written = 0

    @command(3, State.IDENT, State.STANDBY)
    def _publish_address(self, argument: int) -> Response:
        status = int.from_bytes(self._r1(3).content, "big")
        self.rca = (self.rca + 0x1111 & 0xFFFF) or _FIRST_RCA if self.rca else _FIRST_RCA
        self.state = State.STANDBY
        # R6 (4.9.5): status bits 23, 22, 19 and 12 to 0
        short = status >> 8 & 0xC000 | status >> 6 & 0x2000 | status & 0x1FFF
        return Response(3, (self.rca << 16 | short).to_bytes(4, "big"))

    @command(6, State.TRANSFER)
    def _switch(self, argument: int) -> Response:
        """4.3.10: functions are chosen or only asked for."""
        wanted = [argument >> 4 * group & 15 for group in range(6)]
        chosen = []
        for group, function in enumerate(wanted):
            exists = function == 0 or (group == 0 and function == 1)
            chosen.append(self._functions[group] if function == 15 else function if exists else _NONE)
        if argument >> 31 and _NONE not in chosen:
            self._functions = chosen
        return self._send(6, registers.switch_status(tuple(chosen)))

    @command(8, State.IDLE)
    def _send_interface_condition(self, argument: int) -> Response | None:
        if argument >> 8 & 15 != 1:  # not 2.7 V to 3.6 V
            return None
        return Response(8, (argument & 0xFFF).to_bytes(4, "big"))

    @command(55)
    def _application_command(self, argument: int) -> Response | None:
        if self.state is not State.IDLE and not self._is_mine(argument):
            return None
        self._application = True
        return self._r1(55, extra=APP_CMD)

    @command(32, State.TRANSFER)
    def _erase_first(self, argument: int) -> Response:
        return self._set_erase(32, argument, start=True)

    @command(33, State.TRANSFER)
    def _erase_last(self, argument: int) -> Response:
        return self._set_erase(33, argument, start=False)

    # -- application commands --------------------------------------------------------------------------

    @command(41, State.IDLE, State.READY, application=True)
    def _send_operating_condition(self, argument: int) -> Response | None:
        ocr = OCR_VOLTAGES
        if argument & OCR_VOLTAGES and (argument & _HIGH_CAPACITY or not self.large):
            self._initialised = True
            self.state = State.READY
        elif argument & 0xFFFFFF and not argument & OCR_VOLTAGES:
            self.state = State.INACTIVE
            return None
        if self._initialised:
            ocr |= OCR_READY | (OCR_BLOCKS if self.large else 0)
        return Response(63, ocr.to_bytes(4, "big"), checked=False)

    @command(6, State.TRANSFER, application=True)
    def _set_bus_width(self, argument: int) -> Response:
        self.wide = argument & 3 == 2
        return self._r1(6, extra=APP_CMD)

    @command(13, State.TRANSFER, application=True)
    def _send_sd_status(self, argument: int) -> Response:
        return self._send(13, registers.sd_status(self.wide))

    @command(22, State.TRANSFER, application=True)
    def _send_written(self, argument: int) -> Response:
        return self._send(22, self._written.to_bytes(4, "big"))

    @command(23, State.TRANSFER, application=True)
    def _erase_before(self, argument: int) -> Response:
        return self._r1(23, extra=APP_CMD)  # a hint

    @command(42, State.TRANSFER, application=True)
    def _card_detect_resistor(self, argument: int) -> Response:
        return self._r1(42, extra=APP_CMD)  # the slot has a switch of its own

    @command(51, State.TRANSFER, application=True)
    def _send_scr(self, argument: int) -> Response:
        return self._send(51, registers.scr())

    def _start(self, index: int, argument: int, *, blocks: int, write: bool) -> Response:
        if write:
            self._written = 0
        return super()._start(index, argument, blocks=blocks, write=write)

    def write_block(self, data: bytes) -> bool:
        """See MemoryCard."""
        taken = super().write_block(data)
        self._written += taken
        return taken
