"""What a packet can fail with."""

from __future__ import annotations

#: the numbers of Enn replies; GDB shows them and decides nothing by them
GENERAL = 0x01
MEMORY = 0x14
MALFORMED = 0x22


class PacketError(Exception):
    """A packet that cannot be obeyed: answered with ``Enn``, or the text where the client takes it."""

    def __init__(self, text: str, code: int = GENERAL) -> None:
        super().__init__(text)
        self.code = code
