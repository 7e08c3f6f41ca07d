"""The icon on every card: 100 by 100 pixels, opaque, drawn here so that no image tool is needed."""

from __future__ import annotations

import struct
import zlib
from functools import cache

SIZE = 100
_GROUND = bytes((0x0B, 0x4F, 0x6C))
_BONE = bytes((0xF4, 0xF1, 0xE8))
_DISC = bytes((0x7F, 0xC8, 0xD8))
_PITCH = 19
_BODY_HEIGHT = 12
_TOP = 6


@cache
def icon_png() -> bytes:
    """Return the icon as PNG: five lumbar vertebrae with the discs between them."""
    rows = b"".join(
        b"\x00" + b"".join(_pixel(column, row) for column in range(SIZE)) for row in range(SIZE)
    )
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows, 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def _pixel(column: int, row: int) -> bytes:
    """Return the colour at one point; the column of vertebrae widens downwards."""
    level, offset = divmod(row - _TOP, _PITCH)
    is_within_spine = 0 <= level < 5  # noqa: PLR2004 - the lumbar spine has five vertebrae
    half_width = 16 + 2 * level
    distance = abs(column - SIZE // 2)
    if not is_within_spine or distance > half_width:
        return _GROUND
    if offset < _BODY_HEIGHT:
        return _BONE
    is_disc = offset < _PITCH - 1 and distance <= half_width - 3
    return _DISC if is_disc else _GROUND
