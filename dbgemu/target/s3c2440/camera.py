"""The camera interface (S3C2440A UM chapter 23)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from dbgemu.target.bus import BusError
from dbgemu.target.camera_source import CameraSource, pattern
from dbgemu.target.clock import NS_PER_SECOND, Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, reads
from dbgemu.target.s3c2440.camera_picture import Picture

_FLIP = {0: "normal", 1: "x mirror", 2: "y mirror", 3: "180 degrees"}


CAPTURE, CODEC_CAPTURE, PREVIEW_CAPTURE = 1 << 31, 1 << 30, 1 << 29
RESET, WINDOW, BYPASS, RGB_24, SCALER = 1 << 31, 1 << 31, 1 << 31, 1 << 30, 1 << 15
OUT_422, LAST_INTERRUPT = 1 << 30, 4
X_MIRROR, Y_MIRROR = 1, 2
#: Hz: CAMPCLK, two cycles of which bring a pixel, and the largest picture in pixels each way
FASTEST_CLOCK, LARGEST = 54_000_000, 4096
#: frames a second of a camera that does not say
FRAME_RATE = 15
BUFFERS = 4


class _Path(NamedTuple):
    """One of the two paths: the names of its registers, and its bit of CIIMGCPT."""

    name: str
    capture: int
    format: str
    control: str
    scaler: str
    status: str


CODEC = _Path("codec", CODEC_CAPTURE, "CICOTRGFMT", "CICOCTRL", "CICOSCCTRL", "CICOSTATUS")
PREVIEW = _Path("preview", PREVIEW_CAPTURE, "CIPRTRGFMT", "CIPRCTRL", "CIPRSCCTRL", "CIPRSTATUS")
PATHS = (CODEC, PREVIEW)


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
    """The interface, with :attr:`source` as its camera.

    A frame begins with VSYNC: then the registers that are set count for all of it (the manual's shadow
    registers). At its end the pictures of both paths are in memory, and their interrupts are requested.
    """

    title = "Camera interface"
    STATE = ("_latched", "_counts", "_timer", "frame_rate")

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

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        codec_done: Line,
        preview_done: Line,
        write_memory: Callable[[int, bytes], None],
        log: GuestLog | None = None,
    ) -> None:
        """``codec_done`` and ``preview_done`` are pulsed: INT_CAM_C and INT_CAM_P.

        ``write_memory(address, data)`` writes physical memory.
        """
        super().__init__(name, log)
        self._clock = clock
        self.interrupts = (codec_done, preview_done)
        self._write_memory = write_memory
        #: what the camera sees; None: nothing is connected, only test patterns can be captured
        self.source: CameraSource | None = None
        self.frame_rate = FRAME_RATE
        #: the registers as they were at VSYNC, by name; empty between frames
        self._latched: dict[str, int] = {}
        #: by path: frames captured since the path was switched on
        self._counts = [0, 0]
        self._timer = Timer(clock, self._frame_ends)

    def connect(self, source: CameraSource | None, frame_rate: int = FRAME_RATE) -> None:
        """Plug a camera in that gives ``frame_rate`` frames a second; None takes it away."""
        self.source = source
        self.frame_rate = max(1, frame_rate)
        self._begin()

    # -- frames ------------------------------------------------------------------------------------

    def _pattern(self) -> int:
        return self.CIGCTRL >> 27 & 3

    def _begin(self) -> None:
        """Begin a frame when anything is to be captured."""
        if self._timer.deadline is not None:
            return
        if self.CIIMGCPT & CAPTURE and (self.source is not None or self._pattern()):
            self._latched = {name: self.__dict__[name] for name in self.registers}
            self._timer.start_in(max(NS_PER_SECOND // self.frame_rate, self._shortest_frame()))

    def _shortest_frame(self) -> int:
        """The ns that a frame takes at the fastest pixel clock: two cycles for each pixel."""
        pixels = (self.CISRCFMT >> 16 & 0x1FFF) * (self.CISRCFMT & 0x1FFF)
        return 2 * pixels * NS_PER_SECOND // FASTEST_CLOCK

    def _frame_ends(self) -> None:
        latched, self._latched = self._latched, {}
        captured = [path for path in PATHS if latched.get("CIIMGCPT", 0) & path.capture]
        picture = self._see(latched) if captured else None
        finished = []
        for number, path in enumerate(PATHS):
            if path not in captured or picture is None:
                continue
            buffer = self._counts[number] % BUFFERS
            if path is CODEC:
                stored = self._store_codec(picture, latched, buffer)
            else:
                stored = self._store_preview(picture, latched, buffer)
            if stored:
                self._counts[number] += 1
                if not latched[path.control] & LAST_INTERRUPT or self._ends(path):
                    finished.append(number)
        self._begin()
        for number in finished:
            self.interrupts[number].pulse()

    def _ends(self, path: _Path) -> bool:
        """Whether the next frame is not captured: LASTIRQEN wants this one's interrupt only."""
        return self.CIIMGCPT & (CAPTURE | path.capture) != CAPTURE | path.capture

    def _see(self, latched: dict[str, int]) -> Picture | None:
        """What the camera sees within the window."""
        width, height = latched["CISRCFMT"] >> 16 & 0x1FFF, latched["CISRCFMT"] & 0x1FFF
        if not 0 < width <= LARGEST or not 0 < height <= LARGEST:
            return None
        if kind := latched["CIGCTRL"] >> 27 & 3:
            data = pattern(kind, width, height)
        elif self.source is not None:
            data = self.source.frame(width, height)
        else:
            return None
        picture = Picture.from_rgb(width, height, data)
        offset = latched["CIWDOFST"]
        if offset & WINDOW:
            # UM 23, CIWDOFST: the offset is cut off at both sides
            left, top = offset >> 16 & 0x7FF, offset & 0x7FF
            if 2 * left >= width or 2 * top >= height:
                return None
            picture = picture.pick(range(left, width - left), range(top, height - top))
        return picture

    def _scale(self, picture: Picture, latched: dict[str, int], path: _Path) -> Picture | None:
        """The target's size and flip; None while the scaler is off."""
        target, scaler = latched[path.format], latched[path.scaler]
        width, height = target >> 16 & 0x1FFF, target & 0x1FFF
        if not 0 < width <= LARGEST or not 0 < height <= LARGEST:
            return None
        if path is CODEC and scaler & BYPASS:
            across = list(range(min(width, picture.width)))
            down = list(range(min(height, picture.height)))
        elif scaler & SCALER:
            across = [x * picture.width // width for x in range(width)]
            down = [y * picture.height // height for y in range(height)]
        else:
            return None
        flip = target >> 14 & 3
        # UM 23: "x mirror" is about the x axis: what was on top is at the bottom
        if flip & X_MIRROR:
            down.reverse()
        if flip & Y_MIRROR:
            across.reverse()
        return picture.pick(across, down)

    def _store_preview(self, picture: Picture, latched: dict[str, int], buffer: int) -> bool:
        scaled = self._scale(picture, latched, PREVIEW)
        if scaled is None:
            return False
        data = scaled.rgb888() if latched[PREVIEW.scaler] & RGB_24 else scaled.rgb565()
        self._store(latched[f"CIPRCLRSA{buffer + 1}"], data)
        return True

    def _store_codec(self, picture: Picture, latched: dict[str, int], buffer: int) -> bool:
        scaled = self._scale(picture, latched, CODEC)
        if scaled is None:
            return False
        cb, cr = scaled.chroma(half_height=not latched[CODEC.format] & OUT_422)
        for register, data in (("CICOYSA", scaled.luma()), ("CICOCBSA", cb), ("CICOCRSA", cr)):
            self._store(latched[f"{register}{buffer + 1}"], data)
        return True

    def _store(self, address: int, data: bytes) -> None:
        try:
            self._write_memory(address, data)
        except BusError:
            self.guest_error(
                f"a frame of {len(data)} bytes is written at 0x{address:08x}, where not all is memory"
            )

    # -- registers ---------------------------------------------------------------------------------

    @CIGCTRL.write
    def _write_global(self, value: int) -> None:
        # UM chapter 23, CIGCTRL: the software reset initialises the registers; drivers then take it away.
        if value & RESET:
            self.reset()
        self.CIGCTRL = value
        self._begin()

    @CIIMGCPT.write
    def _write_capture(self, value: int) -> None:
        started = value & ~self.CIIMGCPT
        self.CIIMGCPT = value
        for number, path in enumerate(PATHS):
            if started & path.capture:
                self._counts[number] = 0
        self._begin()

    @reads(CICOSTATUS, CIPRSTATUS)
    def _read_status(self, register: Register) -> int:
        number = int(register.name == PREVIEW.status)
        path = PATHS[number]
        capture = self.CIIMGCPT
        target: int = self.__dict__[path.format]
        return (
            (self._counts[number] & 3) << 26
            | bool(self.CIWDOFST & WINDOW) << 25
            | (target >> 14 & 3) << 23
            | bool(capture & CAPTURE) << 22
            | bool(capture & path.capture) << 21
        )

    # -- the whole block ---------------------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """The camera, and what each path captures."""
        patterns = ("none", "colour bars", "horizontal", "vertical")
        yield Fact("camera", "none" if self.source is None else type(self.source).__name__)
        yield Fact("test pattern", patterns[self._pattern()])
        yield Fact("frame rate", self.frame_rate, "Hz")
        for number, path in enumerate(PATHS):
            on = self.CIIMGCPT & (CAPTURE | path.capture) == CAPTURE | path.capture
            target = self.__dict__[path.format]
            size = f"{target >> 16 & 0x1FFF} x {target & 0x1FFF}"
            yield Fact(path.name, f"captures {size}, {self._counts[number]} frames" if on else "off")

    def reset(self) -> None:
        """Nothing is captured."""
        super().reset()
        self._latched = {}
        self._counts = [0, 0]
        self._timer.cancel()
