"""From an image to the card that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbgemu.errors import OptionError
from dbgemu.target.chips.mmc_card import MmcCard
from dbgemu.target.chips.sd_card import SdCard

if TYPE_CHECKING:
    from dbgemu.option_drive import Drive
    from dbgemu.target.block import BlockMedium
    from dbgemu.target.chips.memory_card import MemoryCard
    from dbgemu.target.mini2440 import Mini2440


def make_card(drive: Drive, medium: BlockMedium, board: Mini2440) -> MemoryCard:
    """The card that ``drive`` describes. OptionError for an image of a size that no card has."""
    kind = MmcCard if drive.card == "mmc" else SdCard
    try:
        return kind("sdcard", medium, clock=board.clock, log=board.log)
    except ValueError as error:
        raise OptionError(
            f"'{drive.file}' cannot be a card: {error}; 'truncate -s SIZE {drive.file}' changes that"
        ) from None
