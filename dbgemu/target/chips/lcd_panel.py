"""The panel on the board's LCD connector: its size and its light."""

from __future__ import annotations

from typing import NamedTuple

from dbgemu.target.s3c2440.gpio_ports import Pin


class PanelModel(NamedTuple):
    """A panel that is sold for the board; ``width`` and ``height`` in pixels."""

    name: str
    what: str
    #: 0 for a panel that takes any picture
    width: int = 0
    height: int = 0


#: the first is the default
MODELS = {
    model.name: model
    for model in (
        PanelModel("auto", "as large as the picture that the guest sends"),
        PanelModel("t35", "3.5 inch, 240 x 320 (Linux: mini2440=0)", 240, 320),
        PanelModel("w35", "3.5 inch, 320 x 240 (Linux: mini2440=3)", 320, 240),
        PanelModel("7inch", "7 inch, 800 x 480 (Linux: mini2440=1)", 800, 480),
        PanelModel("8inch", "8 inch, 640 x 480", 640, 480),
        PanelModel("vga", "VGA adapter with a screen of 640 x 480", 640, 480),
        PanelModel("xga", "VGA adapter with a screen of 1024 x 768 (Linux: mini2440=2)", 1024, 768),
    )
}
DEFAULT_MODEL = MODELS["auto"]


class LcdPanel:
    """The panel. ``light`` switches its backlight (mach-mini2440.c: GPG4); a picture is there without."""

    def __init__(self, model: PanelModel, *, light: Pin) -> None:
        self.model = model
        self.light = light

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels; None: those of the picture."""
        model = self.model
        return (model.width, model.height) if model.width else None

    @property
    def lit(self) -> bool:
        """The backlight shines."""
        return self.light.level == 1
