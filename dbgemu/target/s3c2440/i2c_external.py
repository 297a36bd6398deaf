"""Another master on the I2C bus, for scripts and tests: it addresses the controller, or its neighbours."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass
class ExternalTransfer:
    """What another master does: write ``data`` to the 7-bit ``address``, or read ``count`` bytes there.

    ``contends``: it waits for the controller's next START and begins at the same moment, so that the
    two arbitrate: the lower address byte wins. When it is ``done``, ``data`` has what was read;
    ``acknowledged`` tells whether anybody answered, and took every byte.
    """

    address: int
    data: bytes = b""
    count: int = 0
    contends: bool = False
    done: bool = False
    acknowledged: bool = False
    #: bytes that have passed
    moved: int = field(default=0)

    @property
    def reads(self) -> bool:
        """Bytes go to the other master."""
        return self.count > 0

    @property
    def address_byte(self) -> int:
        """What comes first on the wire."""
        return self.address << 1 | self.reads

    @property
    def complete(self) -> bool:
        """All bytes have passed."""
        return self.moved >= (self.count if self.reads else len(self.data))

    def save(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def load(cls, state: dict[str, Any]) -> Self:
        """What :meth:`save` gave."""
        return cls(**state)
