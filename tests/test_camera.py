"""The camera interface: frames of a test's own, through window, scaler and formats into memory."""

import pytest
from bare_metal import BareMetal
from virtual_time import advance

from dbgemu.target.mini2440 import Mini2440
from dbgemu.target.s3c2440.camera import Camera
from dbgemu.target.s3c2440.camera_picture import Picture

RAM = 0x30000000
CAPTURE, CODEC, PREVIEW = 1 << 31, 1 << 30, 1 << 29
SCALER, BYPASS, RGB_24, OUT_422 = 1 << 15, 1 << 31, 1 << 30, 1 << 30
INT_CAM_C, INT_CAM_P = 1 << 11, 1 << 12


class Scene:
    """A camera that shows a gradient, brighter with each frame."""

    def __init__(self) -> None:
        self.frames = 0

    def frame(self, width: int, height: int) -> bytes:
        self.frames += 1
        return bytes(
            value & 0xFF
            for y in range(height)
            for x in range(width)
            for value in (x * 8, y * 8, self.frames * 16)
        )


class Studio:
    def __init__(self, *, width: int = 32, height: int = 16) -> None:
        self.board = Mini2440()
        self.camera: Camera = self.board.camera
        self.scene = Scene()
        self.camera.connect(self.scene, 20)
        self.set("CISRCFMT", 1 << 31 | width << 16 | height)
        self.pulses = {"INT_CAM_C": 0, "INT_CAM_P": 0}
        for name in self.pulses:
            self.board.intc.source(name).connect(lambda level, name=name: self.count(name, level))

    def count(self, name: str, level: int) -> None:
        self.pulses[name] += level

    def set(self, name: str, value: int) -> None:
        self.camera.write(self.camera.registers[name].offset, 4, value)

    def get(self, name: str) -> int:
        return self.camera.read(self.camera.registers[name].offset, 4)

    def preview(self, width: int, height: int, *, extra: int = 0, scaler: int = SCALER) -> None:
        for number in range(4):
            self.set(f"CIPRCLRSA{number + 1}", RAM + 0x10000 * number)
        self.set("CIPRTRGFMT", width << 16 | height | extra)
        self.set("CIPRSCCTRL", scaler)

    def codec(self, width: int, height: int, *, extra: int = 0, scaler: int = SCALER) -> None:
        for part, base in (("Y", 0x100000), ("CB", 0x200000), ("CR", 0x300000)):
            for number in range(4):
                self.set(f"CICO{part}SA{number + 1}", RAM + base + 0x10000 * number)
        self.set("CICOTRGFMT", width << 16 | height | extra)
        self.set("CICOSCCTRL", scaler)

    def frames(self, count: float) -> None:
        advance(self.board.clock, round(count * 50_000_000))

    def memory(self, offset: int, length: int) -> bytes:
        return self.board.bus.peek(RAM + offset, length)


@pytest.fixture
def studio() -> Studio:
    return Studio()


def rgb565(red: int, green: int, blue: int) -> bytes:
    return (red >> 3 << 11 | green >> 2 << 5 | blue >> 3).to_bytes(2, "little")


def test_preview_frames_go_to_four_buffers_in_turn(studio: Studio) -> None:
    studio.preview(32, 16)
    studio.set("CIIMGCPT", CAPTURE | PREVIEW)
    studio.frames(0.9)
    assert studio.pulses["INT_CAM_P"] == 0
    assert studio.get("CIPRSTATUS") == 1 << 22 | 1 << 21
    studio.frames(5)
    assert studio.pulses == {"INT_CAM_C": 0, "INT_CAM_P": 5}
    assert studio.get("CIPRSTATUS") >> 26 & 3 == 1
    for buffer, frame in ((0, 5), (1, 2), (2, 3), (3, 4)):
        expected = b"".join(rgb565(x * 8, y * 8, frame * 16) for y in range(16) for x in range(32))
        assert studio.memory(0x10000 * buffer, 1024) == expected


def test_preview_in_24_bits_scaled_down_and_flipped(studio: Studio) -> None:
    studio.preview(8, 4, extra=2 << 14, scaler=SCALER | RGB_24)
    studio.set("CIIMGCPT", CAPTURE | PREVIEW)
    studio.frames(1.1)
    expected = b"".join(bytes((16, y * 32, x * 32, 0)) for y in range(4) for x in reversed(range(8)))
    assert studio.memory(0, 128) == expected


def test_the_window_cuts_all_four_sides(studio: Studio) -> None:
    studio.set("CIWDOFST", 1 << 31 | 8 << 16 | 4)
    studio.preview(16, 8, scaler=SCALER | RGB_24)
    studio.set("CIIMGCPT", CAPTURE | PREVIEW)
    studio.frames(1.1)
    assert studio.memory(0, 3) == bytes((16, 4 * 8, 8 * 8))
    assert studio.memory(16 * 8 * 4 - 4, 3) == bytes((16, 11 * 8, 23 * 8))
    assert studio.get("CIPRSTATUS") >> 25 & 1


@pytest.mark.parametrize(("extra", "rows"), [(0, 2), (OUT_422, 1)])
def test_the_codec_path_makes_planes_of_ycbcr(studio: Studio, extra: int, rows: int) -> None:
    studio.codec(32, 16, extra=extra, scaler=BYPASS)
    studio.set("CIIMGCPT", CAPTURE | CODEC)
    studio.frames(1.1)
    assert studio.pulses == {"INT_CAM_C": 1, "INT_CAM_P": 0}
    luma, cb, cr = (studio.memory(base, 512) for base in (0x100000, 0x200000, 0x300000))
    for x, y in ((0, 0), (10, 4), (30, 14)):
        red, green, blue = x * 8, y * 8, 16
        place = (y // rows) * 16 + x // 2
        assert luma[y * 32 + x] == pytest.approx(16 + 0.257 * red + 0.504 * green + 0.098 * blue, abs=2)
        assert cb[place] == pytest.approx(128 - 0.148 * red - 0.291 * green + 0.439 * blue, abs=2)
        assert cr[place] == pytest.approx(128 + 0.439 * red - 0.368 * green - 0.071 * blue, abs=2)
    assert not any(cb[16 * 16 // rows :])


def test_extremes_of_colour_stay_within_bytes() -> None:
    for colour, expected in (
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (82, 90, 240)),
        ((0, 0, 255), (41, 240, 110)),
        ((0, 255, 0), (145, 54, 34)),
    ):
        picture = Picture.from_rgb(2, 2, bytes(colour) * 4)
        cb, cr = picture.chroma(half_height=True)
        assert (picture.luma()[0], cb[0], cr[0]) == pytest.approx(expected, abs=1)


def test_registers_count_from_the_next_frame_on(studio: Studio) -> None:
    studio.preview(32, 16)
    studio.set("CIIMGCPT", CAPTURE | PREVIEW)
    studio.frames(0.5)
    studio.preview(4, 4)
    studio.set("CIPRCLRSA2", RAM + 0x80000)
    studio.frames(0.6)
    assert any(studio.memory(100, 900)), "the frame under way keeps its size"
    studio.frames(1)
    assert any(studio.memory(0x80000, 32))
    assert not any(studio.memory(0x80020, 900))


def test_capture_ends_with_the_frame_under_way(studio: Studio) -> None:
    studio.preview(32, 16)
    studio.set("CIIMGCPT", CAPTURE | PREVIEW)
    studio.frames(1.5)
    studio.set("CIIMGCPT", 0)
    studio.frames(5)
    assert studio.pulses["INT_CAM_P"] == 2
    assert studio.board.clock.next_deadline() is None or not studio.camera._timer.deadline


def test_with_lastirqen_only_the_last_frame_interrupts(studio: Studio) -> None:
    studio.preview(32, 16)
    studio.set("CIPRCTRL", 4)
    studio.set("CIIMGCPT", CAPTURE | PREVIEW)
    studio.frames(3.5)
    assert studio.pulses["INT_CAM_P"] == 0
    studio.set("CIIMGCPT", 0)
    studio.frames(2)
    assert studio.pulses["INT_CAM_P"] == 1


def test_without_a_camera_only_a_test_pattern_is_captured(studio: Studio) -> None:
    studio.camera.connect(None)
    studio.preview(32, 16)
    studio.set("CIIMGCPT", CAPTURE | PREVIEW)
    studio.frames(3)
    assert studio.pulses["INT_CAM_P"] == 0
    studio.set("CIGCTRL", 1 << 27)
    studio.frames(3)
    assert studio.pulses["INT_CAM_P"]
    line = studio.memory(0, 64)
    colours = [rgb565(*colour) for colour in ((255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0))]
    assert [line[place : place + 2] for place in range(0, 32, 8)] == colours


def test_a_frame_where_nothing_is_is_a_guest_error(studio: Studio) -> None:
    studio.preview(32, 16)
    studio.set("CIPRCLRSA1", 0x20800000)
    studio.set("CIIMGCPT", CAPTURE | PREVIEW)
    errors = []
    studio.board.log.listeners.append(lambda error: errors.append(str(error)))
    studio.frames(1.1)
    assert errors == ["camif: a frame of 1024 bytes is written at 0x20800000, where not all is memory"]


def test_a_frame_under_way_survives_save_and_load(studio: Studio) -> None:
    studio.preview(32, 16)
    studio.set("CIIMGCPT", CAPTURE | PREVIEW)
    studio.frames(1.5)
    other = Studio()
    other.board.clock.load(studio.board.clock.save())
    other.board.load(studio.board.save())
    other.scene.frames = studio.scene.frames
    other.frames(1)
    assert other.memory(0x10000, 1024) == b"".join(
        rgb565(x * 8, y * 8, 32) for y in range(16) for x in range(32)
    )


def test_a_program_waits_for_a_frame_by_its_interrupt() -> None:
    guest = BareMetal(
        """
        ldr r0, =0x4f000000
        ldr r1, =0x80200010         @ 32 x 16
        str r1, [r0]
        ldr r1, =0x30100000
        str r1, [r0, #0x6c]
        ldr r1, =0x00200010
        str r1, [r0, #0x7c]
        mov r1, #0x8000             @ the scaler is on
        str r1, [r0, #0x8c]
        mov r1, #0xa0000000         @ capture, preview path
        str r1, [r0, #0xa0]
        ldr r2, =0x4a000000
    wait:
        ldr r1, [r2, #0x18]         @ SUBSRCPND
        tst r1, #0x1000
        beq wait
        mov r1, #0
        str r1, [r0, #0xa0]
        mov r1, #0x1000
        str r1, [r2, #0x18]
        mov r1, #0x40               @ SRCPND: INT_CAM
        str r1, [r2]
        """
    )
    guest.board.camera.connect(Scene(), 100)
    guest.run()
    expected = b"".join(rgb565(x * 8, y * 8, 16) for y in range(16) for x in range(32))
    assert guest.board.bus.peek(RAM + 0x100000, 1024) == expected
    assert guest.board.clock.now >= 10_000_000
