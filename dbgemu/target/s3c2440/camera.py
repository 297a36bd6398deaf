"""The camera interface (S3C2440A UM chapter 23): registers, with no camera connected."""

from __future__ import annotations

from dbgemu.target.device import Device
from dbgemu.target.registers import Field, Register

_FLIP = {0: "normal", 1: "x mirror", 2: "y mirror", 3: "180 degrees"}


def _target_format(offset: int, path: str, *, ratio: bool) -> Register:
    formats = (Field("IN422", 31, doc="input is 4:2:2"), Field("OUT422", 30, doc="output is 4:2:2"))
    return Register(
        offset,
        doc=f"{path} path: target format",
        fields=(
            *(formats if ratio else ()),
            Field("TARGETHSIZE", 28, 16, "width in pixels"),
            Field("FLIPMD", 15, 14, "flip", _FLIP),
            Field("TARGETVSIZE", 12, 0, "height in lines"),
        ),
    )


def _dma_control(offset: int, path: str) -> Register:
    return Register(
        offset,
        doc=f"{path} path: DMA control",
        fields=(
            Field("BURST1", 23, 19, "main burst length"),
            Field("BURST2", 18, 14, "remaining burst length"),
            Field("CBURST1", 13, 9, "main burst length, chroma"),
            Field("CBURST2", 8, 4, "remaining burst length, chroma"),
            Field("LASTIRQEN", 2, doc="one interrupt at the last frame"),
        ),
    )


def _pre_ratio(offset: int, path: str) -> Register:
    return Register(
        offset,
        doc=f"{path} path: pre-scaler ratios",
        fields=(
            Field("SHFACTOR", 31, 28, "shift factor"),
            Field("PREHORRATIO", 22, 16, "horizontal ratio"),
            Field("PREVERRATIO", 6, 0, "vertical ratio"),
        ),
    )


def _pre_size(offset: int, path: str) -> Register:
    return Register(
        offset,
        doc=f"{path} path: pre-scaler destination",
        fields=(Field("PREDSTWIDTH", 27, 16, "width"), Field("PREDSTHEIGHT", 11, 0, "height")),
    )


def _scaler(offset: int, path: str) -> Register:
    return Register(
        offset,
        doc=f"{path} path: main scaler",
        fields=(
            Field("BYPASS", 31, doc="scaler bypass (codec), sampling (preview)"),
            Field("RGBFORMAT", 30, doc="24-bit RGB (preview)"),
            Field("SCALEUP", 29, 28, "scale up, horizontally and vertically"),
            Field("MAINHORRATIO", 24, 16, "horizontal ratio"),
            Field("SCALERSTART", 15, doc="scaler on"),
            Field("MAINVERRATIO", 8, 0, "vertical ratio"),
        ),
    )


def _status(offset: int, path: str) -> Register:
    return Register(
        offset,
        access="ro",
        doc=f"{path} path: status",
        fields=(
            Field("OVF", 31, 29, "FIFO overflows"),
            Field("VSYNC", 28, doc="level of the camera's VSYNC"),
            Field("FRAMECNT", 27, 26, "frame count"),
            Field("WINOFSTEN", 25, doc="window offset on"),
            Field("FLIPMD", 24, 23, "flip", _FLIP),
            Field("IMGCPTEN", 22, doc="capture on"),
            Field("IMGCPTENSC", 21, doc="capture of this path on"),
        ),
    )


def _frame(offset: int, what: str) -> Register:
    return Register(
        offset, doc=f"{what} frame buffer start", fields=(Field("ADDR", 31, 0, "physical address"),)
    )


class Camera(Device):
    """The interface. Capture can be set up, but no frame ever comes."""

    title = "Camera interface"

    CISRCFMT = Register(
        0x00,
        doc="Source format",
        fields=(
            Field("ITU601_656N", 31, values={0: "ITU-R BT.656", 1: "ITU-R BT.601"}),
            Field("UVOFFSET", 30, doc="chroma offset", values={0: "0", 1: "128"}),
            Field("SOURCEHSIZE", 28, 16, "width in pixels"),
            Field("ORDER422", 15, 14, "order", {0: "YCbYCr", 1: "YCrYCb", 2: "CbYCrY", 3: "CrYCbY"}),
            Field("SOURCEVSIZE", 12, 0, "height in lines"),
        ),
    )
    CIWDOFST = Register(
        0x04,
        doc="Window offset",
        fields=(
            Field("WINOFSEN", 31, doc="window offset on"),
            Field("CLROVCOFIY", 30, doc="clear the codec's Y overflow"),
            Field("WINHOROFST", 26, 16, "horizontal offset"),
            Field("CLROVCOFICB", 15, doc="clear the codec's Cb overflow"),
            Field("CLROVCOFICR", 14, doc="clear the codec's Cr overflow"),
            Field("CLROVPRFICB", 13, doc="clear the preview's overflow"),
            Field("CLROVPRFICR", 12, doc="clear the preview's overflow"),
            Field("WINVEROFST", 10, 0, "vertical offset"),
        ),
    )
    CIGCTRL = Register(
        0x08,
        doc="Global control",
        fields=(
            Field("SWRST", 31, doc="reset of the interface"),
            Field("CAMRST", 30, doc="reset pin of the camera"),
            Field(
                "TESTPATTERN", 28, 27, "test pattern", {0: "none", 1: "bars", 2: "horizontal", 3: "vertical"}
            ),
            Field("INVPOLPCLK", 26, doc="PCLK inverted"),
            Field("INVPOLVSYNC", 25, doc="VSYNC inverted"),
            Field("INVPOLHREF", 24, doc="HREF inverted"),
        ),
    )
    CICOYSA1 = _frame(0x18, "Codec: first Y")
    CICOYSA2 = _frame(0x1C, "Codec: second Y")
    CICOYSA3 = _frame(0x20, "Codec: third Y")
    CICOYSA4 = _frame(0x24, "Codec: fourth Y")
    CICOCBSA1 = _frame(0x28, "Codec: first Cb")
    CICOCBSA2 = _frame(0x2C, "Codec: second Cb")
    CICOCBSA3 = _frame(0x30, "Codec: third Cb")
    CICOCBSA4 = _frame(0x34, "Codec: fourth Cb")
    CICOCRSA1 = _frame(0x38, "Codec: first Cr")
    CICOCRSA2 = _frame(0x3C, "Codec: second Cr")
    CICOCRSA3 = _frame(0x40, "Codec: third Cr")
    CICOCRSA4 = _frame(0x44, "Codec: fourth Cr")
    CICOTRGFMT = _target_format(0x48, "Codec", ratio=True)
    CICOCTRL = _dma_control(0x4C, "Codec")
    CICOSCPRERATIO = _pre_ratio(0x50, "Codec")
    CICOSCPREDST = _pre_size(0x54, "Codec")
    CICOSCCTRL = _scaler(0x58, "Codec")
    CICOTAREA = Register(
        0x5C,
        width=26,
        doc="Codec path: target area, in pixels",
        fields=(Field("CICOTAREA", 25, 0, "width times height"),),
    )
    CICOSTATUS = _status(0x64, "Codec")
    CIPRCLRSA1 = _frame(0x6C, "Preview: first RGB")
    CIPRCLRSA2 = _frame(0x70, "Preview: second RGB")
    CIPRCLRSA3 = _frame(0x74, "Preview: third RGB")
    CIPRCLRSA4 = _frame(0x78, "Preview: fourth RGB")
    CIPRTRGFMT = _target_format(0x7C, "Preview", ratio=False)
    CIPRCTRL = _dma_control(0x80, "Preview")
    CIPRSCPRERATIO = _pre_ratio(0x84, "Preview")
    CIPRSCPREDST = _pre_size(0x88, "Preview")
    CIPRSCCTRL = _scaler(0x8C, "Preview")
    CIPRTAREA = Register(
        0x90,
        width=26,
        doc="Preview path: target area, in pixels",
        fields=(Field("CIPRTAREA", 25, 0, "width times height"),),
    )
    CIPRSTATUS = _status(0x98, "Preview")
    CIIMGCPT = Register(
        0xA0,
        doc="Image capture",
        fields=(
            Field("IMGCPTEN", 31, doc="capture on"),
            Field("IMGCPTEN_COSC", 30, doc="codec path on"),
            Field("IMGCPTEN_PRSC", 29, doc="preview path on"),
        ),
    )

    @CIGCTRL.write
    def _write_global(self, value: int) -> None:
        # UM chapter 23, CIGCTRL: the software reset initialises the registers; drivers then take it away.
        if value & 1 << 31:
            self.reset_registers()
        self.CIGCTRL = value
