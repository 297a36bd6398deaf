"""Commands for the screen and what a hand does to it: pictures, touches, the potentiometer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dbgemu.debug import picture
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.commands import usb
from dbgemu.monitor.context import Context

if TYPE_CHECKING:
    from dbgemu.target.s3c2440.lcd_frame import Frame

GROUP = "board"

#: mouse_button's bit for the left button
_LEFT = 1
_MOST_BUTTONS = 7
#: what the converter measures at the most
_FULL_SCALE = 1023


def _screendump(context: Context, arguments: Sequence[str]) -> Report:
    file, *options = arguments
    if options and (len(options) != 2 or options[0] != "-f"):
        raise CommandError("'screendump' is used as: screendump file [-f format]")
    form = options[1] if options else ""
    known = set(picture.FORMATS.values())
    if form and form not in known:
        raise CommandError(f"'{form}' is no format of pictures: {', '.join(sorted(known))} are")
    lcd = context.session.machine.board.lcd

    def look() -> Frame | str:
        return lcd.frame() or lcd.why_dark()

    frame = context.session.call(look)
    if isinstance(frame, str):
        raise CommandError(f"there is no picture: {frame}")
    try:
        form = picture.save(frame, Path(file).expanduser(), form)
    except OSError as error:
        raise CommandError(f"'{file}' cannot be written: {error.strerror}") from None
    data = {"file": file, "format": form, "width": frame.width, "height": frame.height}
    return Report(f"{frame.width} x {frame.height} pixels -> {file}", data)


def _number(text: str, what: str, most: int) -> int:
    if not text.isdecimal() or int(text) > most:
        raise CommandError(f"'{text}' is no {what}: 0 to {most}")
    return int(text)


def _mouse_move(context: Context, arguments: Sequence[str]) -> str:
    if usb.move_pointer(context, arguments):
        return ""
    session = context.session
    touch = session.machine.board.touch
    width, height = session.call(lambda: touch.size)
    x = _number(arguments[0], "column of the panel", width - 1)
    y = _number(arguments[1], "row of the panel", height - 1)
    session.call(lambda: touch.set(x, y, touch.pressed))
    return ""


def _mouse_button(context: Context, arguments: Sequence[str]) -> str:
    if usb.press_buttons(context, arguments[0]):
        return ""
    session = context.session
    touch = session.machine.board.touch
    pressed = bool(_number(arguments[0], "state of the buttons", _MOST_BUTTONS) & _LEFT)
    session.call(lambda: touch.set(touch.x, touch.y, pressed))
    return ""


def _pot(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    inputs = session.machine.board.adc.inputs
    if arguments:
        value = _number(arguments[0], "position of the potentiometer", _FULL_SCALE)
        session.call(lambda: inputs.__setitem__(0, value))
    value = session.call(lambda: inputs[0])
    return Report(f"the potentiometer at AIN0 gives {value} of {_FULL_SCALE}", {"value": value})


COMMANDS = (
    Command(
        "screendump",
        _screendump,
        "save a picture of the screen",
        (
            Argument("file", Kind.FILE),
            Argument("-f", optional=True, choices=("-f",)),
            Argument("format", optional=True, choices=("bmp", "png", "ppm")),
        ),
        group=GROUP,
        details="The format is that of the file's ending: .png, .bmp, else PPM; -f FORMAT says otherwise.\n"
        "The picture is what the controller sends, whether the backlight is on or not.",
    ),
    Command(
        "mouse_move",
        _mouse_move,
        "move the finger on the touch screen, or a USB pointer",
        (Argument("x"), Argument("y"), Argument("wheel", optional=True)),
        group=GROUP,
        details="X and Y are pixels of the panel, from its upper left; with a USB mouse how far it moves,\n"
        "with a tablet 0 to 32767. 'mouse_button 1' puts the finger down.",
    ),
    Command(
        "mouse_button",
        _mouse_button,
        "put the finger on the touch screen or lift it; press a USB pointer's buttons",
        (Argument("state", choices=("0", "1")),),
        group=GROUP,
        details="1 touches where 'mouse_move' went, 0 lets go. (Bit 0 counts: the left button.)",
    ),
    Command(
        "pot",
        _pot,
        "turn the potentiometer, or show where it is",
        (Argument("value", optional=True),),
        group=GROUP,
        details="0 to 1023: what the converter measures at AIN0.",
    ),
)
