"""The packed store: quantised, entropy-coded factors.

`dial` finds the quantiser step that meets a target; `patches`, `channels` and `frames` (of
layout `stack`) are the codecs of the layouts, each with a specification of its payload, and
`coding` is what they share. A codec loads when its layout is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError, LimitError, TruncatedError, UsageError
from lowrank.format.parts import Packed, Parts
from lowrank.layouts import turn
from lowrank.picture import Picture, Turn
from lowrank.picture.levels import Scale
from lowrank.stores import Decoded, Encoded, Factored, Stated, lost
from lowrank.stores.packed.coding.payload import Decoded as DecodedSamples
from lowrank.stores.packed.coding.payload import Outline
from lowrank.targets import Target

if TYPE_CHECKING:
    from lowrank.stores.packed.frames.tiles import Reader as Tiles

Size = tuple[int, ...]
Kind = int | Scale
"""Bits of the samples of a picture; of a stack, which may have signs, what they stand for, too."""
Indices = NDArray[np.intp]
_ROOMS = {"stack": "frames.tiles"}


class Codec(Protocol):
    """The decoder of a layout; `size` is ([frames,] height, width, channels)."""

    def outline(self, payload: bytes, size: Size) -> Outline:
        """The rotation of the colours, and the components of each matrix."""

    def decode(
        self, payload: bytes, size: Size, kind: Kind,
        *, rank: int | None, partial: bool, outline: Outline | None,
    ) -> DecodedSamples:  # fmt: skip
        """Samples of the first terms of each matrix."""

    def factors(
        self, payload: bytes, size: Size, kind: Kind, *, partial: bool, outline: Outline | None
    ) -> list[NDArray[np.float64]]:
        """The decoded matrices."""


def encode(
    picture: Picture, target: Target, *, layout: str, store: str = "packed", certify: bool = False
) -> Encoded:
    """Compress a picture; nothing exact is left of it, so nothing can be certified here.

    Raises
    ------
    UsageError
        The target or the mode is not one that the packed store knows, or cannot be met.
    """
    from lowrank.stores.packed import dial

    return Encoded(*dial.encode(picture, target, layout=layout))


def decode(parts: Parts, *, rank: int | None = None) -> Decoded:
    """Rebuild the picture from `rank` terms of each matrix, or from all that are there.

    Raises
    ------
    FormatError
        The payload is damaged behind checksums that hold, or not of the ranks stated.
    """
    head, mode = parts.head, parts.head.mode
    outline = _outline(parts)
    with _named(parts):
        found = _codec(parts).decode(
            _body(parts).payload, head.samples_shape, _kind(parts),
            rank=rank, partial=_cut(parts), outline=outline,
        )  # fmt: skip
        if found.total and not found.decoded:
            unit = found.unit.removesuffix("s")
            raise TruncatedError(f"packed stream ends in its first {unit}", total=found.total)
    notes = lost(parts, found.decoded, found.total, found.unit)
    levels = _body(parts).levels
    samples: NDArray[np.generic] = found.samples
    if levels is not None and head.frames is None:  # a stack's are no levels any more
        samples = levels.to_samples(samples, mode)
    return Decoded(Picture(samples, mode, head.metadata), notes)


class Reader:
    """Any part of a stack in tiles, from those that it takes, which are kept."""

    def __init__(self, parts: Parts, of: Tiles) -> None:
        self._parts, self._of = parts, of

    def block(
        self, frames: Indices, rows: Indices, columns: Indices, *, exact: bool = False
    ) -> NDArray[np.generic]:
        """(frames, rows, columns, channels) samples where these cross, whose numbers ascend.

        If `exact`, before they are rounded: B, in levels, where the file states a range.
        """
        with _named(self._parts):
            return self._of.block(frames, rows, columns, exact=exact)

    def columns(self, some: slice) -> NDArray[np.float64]:
        """(N, w) columns of the matrix B."""
        head = self._parts.head
        N, height, width, channels = head.samples_shape
        first, last = some.start // (width * channels), -(-some.stop // (width * channels))
        rows = np.arange(first, min(last, height))
        B = self.block(np.arange(N), rows, np.arange(width), exact=True).reshape(N, -1)
        start = first * width * channels
        return B[:, some.start - start : some.stop - start].astype(np.float64, copy=False)


def reader(parts: Parts) -> Reader | None:
    """What decodes any part of a stack in tiles; None of all else."""
    payload, head = _body(parts).payload, parts.head
    if head.frames is None or _cut(parts):
        return None
    from lowrank.stores.packed.frames import tiles

    if not tiles.in_tiles(payload):
        return None
    size = head.frames, head.height, head.width, len(head.mode.channels)
    kind = _kind(parts)
    if not isinstance(kind, Scale):
        raise TypeError("a stack has a scale")
    return Reader(parts, tiles.Reader(payload, size, kind, _outline(parts)))


def factors(parts: Parts) -> tuple[Turn | None, tuple[Factored, ...]]:
    """Return the rotation of the colours and the (m, n) matrices B, as far as they are there.

    Where the file states a range of samples, they are of samples less the lowest.
    """
    outline = _outline(parts)
    with _named(parts):
        B = _codec(parts).factors(
            _body(parts).payload, parts.head.samples_shape, _kind(parts),
            partial=_cut(parts), outline=outline,
        )  # fmt: skip
    unit = _unit(parts)
    return outline.turn, tuple(B if unit == 1 else (b * unit for b in B))


def stated(parts: Parts) -> tuple[Stated, ...]:
    """Return what the file says of each matrix."""
    names = turn.names(parts.head.mode, parts.head.layout, _outline(parts).turn)
    unit = _unit(parts)
    return tuple(
        Stated(name, x.k, x.norm * unit, None, x.sigma_next * unit, x.error * unit, x.tail * unit)
        for name, x in zip(names, _body(parts).stated, strict=True)
    )


def shorten(parts: Parts, target: Target) -> Parts:
    """Refuse: the components of a packed file depend on each other."""
    raise UsageError(
        f"{parts.name} is packed, and no packed file can be shortened; compress its source again"
    )


def _outline(parts: Parts) -> Outline:
    """What the payload says first, once it is known to have the ranks that are stated.

    All that is said or decoded of a file comes through here: a bound belongs to a rank, and
    beside a smaller one than the truth any error would look too good.
    """
    head = parts.head
    with _named(parts):
        outline = _codec(parts).outline(_body(parts).payload, head.samples_shape)
        for stated, found in zip(parts.ranks, outline.components, strict=True):
            rank = min(found, *head.shape)  # more components add up to no higher rank
            if stated != rank:
                raise FormatError(f"the header states rank {stated} of a payload of rank {rank}")
    return outline


def _cut(parts: Parts) -> bool:
    """Whether a part of the payload is missing."""
    return parts.missing is not None and parts.missing.count > 0


def _codec(parts: Parts) -> Codec:
    layout = parts.head.layout
    return import_module(f"lowrank.stores.packed.{_ROOMS.get(layout, f'{layout}.codec')}")


def _kind(parts: Parts) -> Kind:
    """What the levels of the payload are."""
    levels, mode = _body(parts).levels, parts.head.mode
    if parts.head.frames is None:
        return mode.bits if levels is None else levels.bits
    return Scale(mode, levels)


def _unit(parts: Parts) -> float:
    """What a level is, in units of the samples."""
    levels = _body(parts).levels
    return 1.0 if levels is None else levels.unit


def _body(parts: Parts) -> Packed:
    """The body of a packed file, for the type checker."""
    if not isinstance(parts.body, Packed):
        raise TypeError(f"store {parts.head.store} is not the packed store")
    return parts.body


@contextmanager
def _named(parts: Parts) -> Iterator[None]:
    """Say which file a damaged payload is in, and what can be done about it."""
    try:
        yield
    except TruncatedError as error:
        if not _cut(parts):  # its chunk is whole, so it was made like this
            raise FormatError(f"{error}, in {parts.name}; get the file again") from error
        raise TruncatedError(
            f"{error}, in {parts.name}: nothing can be decoded; get the file again",
            terms=error.terms,
            total=error.total,
        ) from error
    except FormatError as error:
        raise FormatError(f"{error}, in {parts.name}; get the file again") from error
    except LimitError as error:
        raise LimitError(f"{error}, in {parts.name}; compress its source with fewer") from error
