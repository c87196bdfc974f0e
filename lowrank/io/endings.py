"""Files that end where no decoder sees that they are cut: after a whole image, or a whole tile."""

from __future__ import annotations

import re

_GIF_HEAD = 13  # bytes before the first palette
_BLOCK = re.compile(b"[,!;]")  # how an image begins, an extension, and the trailer
_EXTENSION, _TRAILER = b"!", b";"
_CODESTREAM = b"\xff\x4f\xff\x51"  # the markers SOC and SIZ
_TILE, _END = b"\xff\x90", b"\xff\xd9"  # SOT and EOC


def said(format: str, data: bytes) -> list[str]:
    """Say of a file that it ends without its end mark; nothing of a whole one.

    Parameters
    ----------
    format : str
        Pillow's name of it.
    data : bytes
        The file; empty where it is not at hand.
    """
    if data and format == "GIF" and not _ends_gif(data):
        return ["The GIF ends without its end mark: images may be missing at its end."]
    if data and format == "JPEG2000" and not _ends_jpeg2000(data):
        return ["The JPEG 2000 ends without its end mark: parts of the picture may be missing."]
    return []


def _ends_gif(data: bytes) -> bool:
    """Whether the blocks of a GIF end in a trailer (GIF89a, 17 to 27)."""
    at = _GIF_HEAD + (_palette(data[10]) if len(data) >= _GIF_HEAD else 0)
    while found := _BLOCK.search(data, at):  # as decoders do, beyond what is between blocks
        at, kind = found.start(), found[0]
        if kind == _TRAILER:
            return True
        if kind == _EXTENSION:
            at = _behind_blocks(data, at + 2)
        elif at + 9 < len(data):
            at = _behind_blocks(data, at + 11 + _palette(data[at + 9]))
        else:
            return False
    return False


def _palette(flags: int) -> int:
    """Bytes of the colours that the flags of a screen, or of an image, tell of."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _ends_jpeg2000(data: bytes) -> bool:
    """Whether a codestream has its end mark, which none of the coded data may hold.

    To find it is more than to go from tile-part to tile-part (ITU-T T.800, A.2 and B.10.1):
    there are markers without a length, tile-parts that state a wrong one, and boxes behind all.
    """
    return data.find(_END, data.find(_TILE, max(data.find(_CODESTREAM), 0))) >= 0
