"""What of a source is taken: which frames, along which axis, and whether it is a stack at all."""

from __future__ import annotations

from typing import NamedTuple

from lowrank.errors import UsageError, number_of


class Taking(NamedTuple):
    """What was asked for; by default the rules decide, and a note says what they decided.

    Attributes
    ----------
    stack : bool
        A stack, whatever it looks like.
    axis : int or None
        Which axis of an array counts the frames; that there is one says that it is a stack.
    frames : int, slice or None
        One frame, as one picture; some frames, as a stack; or all.
    """

    stack: bool = False
    axis: int | None = None
    frames: int | slice | None = None

    @property
    def asked(self) -> bool:
        """Whether a stack was asked for: then what is none is an error."""
        return self.stack or self.axis is not None or self.frames is not None

    def chosen(self, frames: int) -> range:
        """Numbers of the frames that are taken.

        Raises
        ------
        UsageError
            There are none of them.
        """
        wanted = self.frames
        if isinstance(wanted, int):
            if not -frames <= wanted < frames:
                there = "0" if frames == 1 else f"0 to {frames - 1}"
                raise UsageError(f"frame {wanted} does not exist; give {there}")
            return range(wanted % frames, wanted % frames + 1)
        found = range(frames)[wanted or slice(None)]
        if not found:
            raise UsageError(
                f"--frames takes none of {number_of(frames, 'frame')}; give some, such as "
                f"0:{frames}"
            )
        return found


USUAL = Taking()
"""What no request means."""

TIFFS = (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+")
"""How TIFFs begin."""


def several(data: bytes) -> bool:
    """Whether a file may hold a stack, several images or an array, by its first bytes."""
    if data.startswith(TIFFS) or data.startswith((b"GIF87a", b"GIF89a", b"\x93NUMPY", b"PK\3\4")):
        return True
    if data.startswith(b"\x89PNG"):
        at = data.find(b"acTL")  # which stands before the first image
        return 0 <= at < data.find(b"IDAT")
    if data.startswith(b"RIFF"):
        return data[8:16] == b"WEBPVP8X" and bool(data[20] & 2) if len(data) > 20 else False
    return data[4:8] == b"ftyp" and b"avis" in data[8:64]
