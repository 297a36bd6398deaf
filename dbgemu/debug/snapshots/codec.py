"""Device states as CBOR (RFC 8949): plain data only, and what comes back is of the same types.

CBOR has one kind of sequence and one of byte string. A tuple is a map with a key that no state uses, a
bytearray has the tag of RFC 8746 for an array of bytes.
"""

from __future__ import annotations

from typing import Any

import cbor2

_TUPLE = "(tuple)"
_BYTE_ARRAY = 64


def encode(value: Any) -> bytes:
    """``value`` (see :meth:`Device.save`) as bytes. TypeError for anything that is not plain data."""
    return cbor2.dumps(_tagged(value))


def decode(data: bytes) -> Any:
    """What :func:`encode` was given. ValueError where ``data`` is nothing that it makes."""
    try:
        return _plain(cbor2.loads(data))
    except (cbor2.CBORDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _tagged(value: Any) -> Any:
    match value:
        case None | bool() | int() | str() | bytes():
            return value
        case bytearray():
            return cbor2.CBORTag(_BYTE_ARRAY, bytes(value))
        case list():
            return [_tagged(item) for item in value]
        case tuple():
            return {_TUPLE: [_tagged(item) for item in value]}
        case dict():
            return {key: _tagged(item) for key, item in value.items()}
        case _:
            raise TypeError(f"{value!r} is not plain data")


def _plain(value: Any) -> Any:
    match value:
        case cbor2.CBORTag(tag=tag, value=bytes() as content) if tag == _BYTE_ARRAY:
            return bytearray(content)
        case {"(tuple)": list() as items}:
            return tuple(_plain(item) for item in items)
        case None | bool() | int() | str() | bytes():
            return value
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case _:
            raise ValueError(f"{type(value).__name__} is nothing that a snapshot holds")
