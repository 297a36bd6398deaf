"""The AC97 controller (S3C2440A UM chapter 24): registers, with no codec on the link."""

from __future__ import annotations

from dbgemu.target.device import Device
from dbgemu.target.registers import Field, Register

_MODE = {0: "off", 1: "PIO", 2: "DMA"}
_CAUSES = (
    Field("CODEC_READY", 22, doc="codec ready"),
    Field("PCM_OUT_UNDERRUN", 21, doc="PCM out FIFO ran empty"),
    Field("PCM_IN_OVERRUN", 20, doc="PCM in FIFO overflowed"),
    Field("MIC_IN_OVERRUN", 19, doc="microphone FIFO overflowed"),
    Field("PCM_OUT_THRESHOLD", 18, doc="PCM out FIFO is half empty"),
    Field("PCM_IN_THRESHOLD", 17, doc="PCM in FIFO is half full"),
    Field("MIC_IN_THRESHOLD", 16, doc="microphone FIFO is half full"),
)


class Ac97(Device):
    """The controller. Nothing answers on the link, so the codec never becomes ready."""

    title = "AC97 controller"

    AC_GLBCTRL = Register(
        0x00,
        width=23,
        doc="Global control (interrupt enables in bits 22 to 16)",
        fields=(
            *_CAUSES,
            Field("PCM_OUT_MODE", 13, 12, values=_MODE),
            Field("PCM_IN_MODE", 11, 10, values=_MODE),
            Field("MIC_IN_MODE", 9, 8, values=_MODE),
            Field("TRANSFER_EN", 3, doc="transfer data on the link"),
            Field("LINK_ON", 2, doc="the link is on"),
            Field("WARM_RESET", 1, doc="wake the codec up"),
            Field("COLD_RESET", 0, doc="reset the codec"),
        ),
    )
    AC_GLBSTAT = Register(
        0x04,
        width=23,
        reset=0x1,
        access="ro",
        doc="Global status",
        fields=(
            *_CAUSES,
            Field(
                "STATE",
                2,
                0,
                "state",
                {0: "idle", 1: "init", 2: "ready", 3: "active", 4: "low power", 5: "warm"},
            ),
        ),
    )
    AC_CODEC_CMD = Register(
        0x08,
        width=24,
        doc="Codec command",
        fields=(
            Field("READ", 23, values={0: "write", 1: "read"}),
            Field("ADDRESS", 22, 16, "codec register"),
            Field("DATA", 15, 0, "data"),
        ),
    )
    AC_CODEC_STAT = Register(
        0x0C,
        width=23,
        access="ro",
        doc="Codec status",
        fields=(Field("ADDRESS", 22, 16, "codec register"), Field("DATA", 15, 0, "data")),
    )
    AC_PCMADDR = Register(
        0x10,
        access="ro",
        doc="PCM FIFO addresses",
        fields=(
            Field("OUT_READ", 27, 24, "out: where the link reads"),
            Field("IN_READ", 19, 16, "in: where the core reads"),
            Field("OUT_WRITE", 11, 8, "out: where the core writes"),
            Field("IN_WRITE", 3, 0, "in: where the link writes"),
        ),
    )
    AC_MICADDR = Register(
        0x14,
        access="ro",
        doc="Microphone FIFO addresses",
        fields=(
            Field("READ", 19, 16, "where the core reads"),
            Field("WRITE", 3, 0, "where the link writes"),
        ),
    )
    AC_PCMDATA = Register(
        0x18,
        doc="PCM FIFO",
        fields=(
            Field("RIGHT", 31, 16, "right channel's sample"),
            Field("LEFT", 15, 0, "left channel's sample"),
        ),
    )
    AC_MICDATA = Register(0x1C, width=16, doc="Microphone FIFO", fields=(Field("MONO", 15, 0, "sample"),))

    @AC_PCMDATA.read
    def _read_pcm(self) -> int:
        # The FIFO of received samples is empty: without a codec there are none.
        return 0

    @AC_MICDATA.read
    def _read_microphone(self) -> int:
        return 0
