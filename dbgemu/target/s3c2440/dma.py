"""The four DMA channels (S3C2440A UM chapter 8): their registers, which do not move data yet."""

from __future__ import annotations

from dbgemu.target.device import Device
from dbgemu.target.registers import Field, Register, writes

CHANNELS = 4
STRIDE = 0x40
STOP, ON, SOFTWARE_TRIGGER = 4, 2, 1
COUNT_MASK, ADDRESS_MASK = 0xF_FFFF, 0x7FFF_FFFF

#: what requests service on each channel, by DCON's HWSRCSEL
SOURCES = (
    ("nXDREQ0", "UART0", "SDI", "Timer", "USB EP1", "I2SSDO", "PCMIN"),
    ("nXDREQ1", "UART1", "I2SSDI", "SPI0", "USB EP2", "PCMOUT", "SDI"),
    ("I2SSDO", "I2SSDI", "SDI", "Timer", "USB EP3", "PCMIN", "MICIN"),
    ("UART2", "SDI", "SPI1", "Timer", "USB EP4", "MICIN", "PCMOUT"),
)
_BUS = {0: "AHB", 1: "APB"}
_STEP = {0: "increment", 1: "fixed"}


def _address(channel: int, offset: int, doc: str) -> Register:
    return Register(STRIDE * channel + offset, writable=ADDRESS_MASK, doc=f"Channel {channel}: {doc}")


def _source_control(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x04,
        width=2,
        doc=f"Channel {channel}: source control",
        fields=(Field("LOC", 1, values=_BUS), Field("INC", 0, values=_STEP)),
    )


def _destination_control(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x0C,
        width=3,
        doc=f"Channel {channel}: destination control",
        fields=(
            Field("CHK_INT", 2, doc="interrupt", values={0: "when TC is 0", 1: "after auto-reload"}),
            Field("LOC", 1, values=_BUS),
            Field("INC", 0, values=_STEP),
        ),
    )


def _control(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x10,
        doc=f"Channel {channel}: control",
        fields=(
            Field("DMD_HS", 31, values={0: "demand", 1: "handshake"}),
            Field("SYNC", 30, doc="requests follow", values={0: "PCLK", 1: "HCLK"}),
            Field("INT", 29, doc="interrupt at the end"),
            Field("TSZ", 28, values={0: "unit", 1: "burst of 4"}),
            Field("SERVMODE", 27, values={0: "single", 1: "whole"}),
            Field("HWSRCSEL", 26, 24, "request source", dict(enumerate(SOURCES[channel]))),
            Field("SWHW_SEL", 23, values={0: "software", 1: "hardware"}),
            Field("RELOAD", 22, values={0: "auto-reload", 1: "off at the end"}),
            Field("DSZ", 21, 20, "data size", {0: "byte", 1: "half word", 2: "word"}),
            Field("TC", 19, 0, "transfer count"),
        ),
    )


def _status(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x14,
        access="ro",
        doc=f"Channel {channel}: status",
        fields=(
            Field("STAT", 21, 20, values={0: "ready", 1: "busy"}),
            Field("CURR_TC", 19, 0, "transfers left"),
        ),
    )


def _current(channel: int, offset: int, doc: str) -> Register:
    return Register(STRIDE * channel + offset, access="ro", doc=f"Channel {channel}: {doc}")


def _trigger(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x20,
        width=3,
        doc=f"Channel {channel}: mask and trigger",
        fields=(
            Field("STOP", 2, doc="stop after the present transfer"),
            Field("ON_OFF", 1, doc="channel is on"),
            Field("SW_TRIG", 0, doc="software request"),
        ),
    )


class Dma(Device):
    """The four channels, 0x40 bytes apart."""

    title = "DMA"
    size = 0x1000

    DISRC0, DISRCC0 = _address(0, 0x00, "initial source"), _source_control(0)
    DIDST0, DIDSTC0 = _address(0, 0x08, "initial destination"), _destination_control(0)
    DCON0, DSTAT0, DMASKTRIG0 = _control(0), _status(0), _trigger(0)
    DCSRC0, DCDST0 = _current(0, 0x18, "current source"), _current(0, 0x1C, "current destination")

    DISRC1, DISRCC1 = _address(1, 0x00, "initial source"), _source_control(1)
    DIDST1, DIDSTC1 = _address(1, 0x08, "initial destination"), _destination_control(1)
    DCON1, DSTAT1, DMASKTRIG1 = _control(1), _status(1), _trigger(1)
    DCSRC1, DCDST1 = _current(1, 0x18, "current source"), _current(1, 0x1C, "current destination")

    DISRC2, DISRCC2 = _address(2, 0x00, "initial source"), _source_control(2)
    DIDST2, DIDSTC2 = _address(2, 0x08, "initial destination"), _destination_control(2)
    DCON2, DSTAT2, DMASKTRIG2 = _control(2), _status(2), _trigger(2)
    DCSRC2, DCDST2 = _current(2, 0x18, "current source"), _current(2, 0x1C, "current destination")

    DISRC3, DISRCC3 = _address(3, 0x00, "initial source"), _source_control(3)
    DIDST3, DIDSTC3 = _address(3, 0x08, "initial destination"), _destination_control(3)
    DCON3, DSTAT3, DMASKTRIG3 = _control(3), _status(3), _trigger(3)
    DCSRC3, DCDST3 = _current(3, 0x18, "current source"), _current(3, 0x1C, "current destination")

    @writes(DMASKTRIG0, DMASKTRIG1, DMASKTRIG2, DMASKTRIG3)
    def _write_trigger(self, register: Register, value: int) -> None:
        channel = register.offset // STRIDE
        stored = self.__dict__
        was_on = stored[register.name] & ON
        if value & STOP:
            # UM chapter 8, DMASKTRIG: the channel goes off and CURR_TC becomes 0; nothing is under way.
            value = 0
            stored[f"DSTAT{channel}"] = 0
        elif value & ON and not was_on:
            stored[f"DCSRC{channel}"] = stored[f"DISRC{channel}"]
            stored[f"DCDST{channel}"] = stored[f"DIDST{channel}"]
            stored[f"DSTAT{channel}"] = stored[f"DCON{channel}"] & COUNT_MASK
        stored[register.name] = value & (ON | SOFTWARE_TRIGGER)
