"""The header of a packed stack: everything but the entries of the basis and the coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError, LimitError
from lowrank.limits import fits
from lowrank.picture import Turn
from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.coding.start import (
    coarse_step,
    fine_step,
    read_lanes,
    read_turn,
    write_turn,
)
from lowrank.stores.packed.frames import classes, profile
from lowrank.stores.packed.frames.basis import Column, read_columns, write_columns
from lowrank.stores.packed.frames.classes import Classes
from lowrank.stores.packed.frames.edges import LAPPED
from lowrank.stores.packed.frames.profile import Profile
from lowrank.stores.packed.patches import means
from lowrank.stores.packed.patches.header import leading, with_length

Shape = tuple[int, int, int, int]
"""Frames, height, width and channels."""
_EXPONENT, _MANTISSA = 6, 10
LATER = (1 << _EXPONENT) - 1
"""In place of a step's exponent, which is never so large: a version follows."""
PLAIN, CLASSED, OTHER = 1, 2, 3
"""Versions that are written: without classes of pixels, with them, and with another transform."""


@dataclass(frozen=True)
class Header:
    """What precedes the coefficients.

    Attributes
    ----------
    step : float
    version : int
        0: planes are filled up to whole patches, and escaped magnitudes have lengths of 5 bits.
        1: patches at the far edges are as large as they are (edges.py), lengths are tokens.
        2: there are classes.
        3: another transform of patches; there may be classes.
    turn : Turn or None
        The rotation of the colours.
    planes : int
        Columns of the basis.
    columns : list of Column or None
        None where the planes are the frames themselves.
    lanes, late : int
    classes : Classes or None
        Of pixels (classes.py); None in versions 0 and 1.
    transform : int
        Of whole patches (edges.py).
    slope : int
    profiles : list of Profile
    coarsest : list of ndarray
        Of each map: each channel of each plane.
    """

    step: float
    version: int
    turn: Turn | None
    planes: int
    columns: list[Column] | None
    lanes: int
    late: int
    classes: Classes | None
    transform: int
    slope: int
    profiles: list[Profile]
    coarsest: list[NDArray[np.int64]]


def write_header(header: Header, channels: int) -> bytes:
    """Length and bytes of a header."""
    out = BitWriter()
    if header.version:
        out.bits(LATER, _EXPONENT)
        out.bits(header.version, 4)
    out.bits(coarse_step(header.step)[0], _EXPONENT + _MANTISSA)
    out.bits(int(header.columns is not None), 1)
    if channels >= 3:
        out.bits(int(header.turn is not None), 1)
        write_turn(out, header.turn)
    out.number(header.lanes, "lanes")
    out.number(header.late, "late")
    if header.columns is not None:
        out.number(header.planes, "planes")
        write_columns(out, header.columns)
    if header.version == OTHER:
        out.bits(header.transform, 2)
        out.bits(int(header.classes is not None), 1)
    if header.classes is not None:
        classes.write(out, header.classes)
    out.bits(header.slope, 5)
    profile.write(out, header.profiles)
    for low in header.coarsest:
        means.write_coarsest(out, low)
    return with_length(out.finish())


def read_header(payload: bytes, shape: Shape, patches: tuple[int, int]) -> tuple[Header, int]:
    """The header of a payload, and where the coefficients start."""
    data, end = leading(payload)
    read = BitReader(data)
    version, step = _read_version(read)
    transformed = read.bits(1)
    turn = read_turn(read) if shape[3] >= 3 and read.bits(1) else None
    lanes, late = read_lanes(read), read.number("late")
    planes, columns = shape[0], None
    if transformed:
        planes = read.number("planes")
        if planes > shape[0]:
            raise FormatError(f"packed stream: {planes} planes of {shape[0]} frames")
        columns = read_columns(read, planes)
    maps = planes * shape[3]
    # Each has some bits at least; what ends early reads as zeros, and would go on for ever.
    if maps > 64 * (len(data) + 64):
        raise FormatError(f"packed stream: {maps} maps in a header of {len(data)} bytes")
    if not fits(maps * 256 * 8):
        raise LimitError(f"packed stream: no memory for {maps} maps")
    transform, classed = _read_transform(read, version)
    found = classes.read(read, maps, shape[1] * shape[2]) if classed else None
    slope, profiles = read.bits(5), profile.read(read, maps)
    low, _ = wavelet.band_shapes(*patches)
    coarsest = [means.read_coarsest(read, low) for _ in range(maps)]
    header = Header(
        step, version, turn, planes, columns, lanes, late, found, transform, slope, profiles,
        coarsest,
    )  # fmt: skip
    return header, end


def _read_version(read: BitReader) -> tuple[int, float]:
    """The version, which stands in place of an exponent where it is not 0, and the step."""
    version, exponent = 0, read.bits(_EXPONENT)
    if exponent == LATER:
        version, exponent = read.bits(4), read.bits(_EXPONENT)
        if version not in (PLAIN, CLASSED, OTHER):
            raise FormatError(f"packed stream: version {version} of stacks, which is newer; update")
    return version, fine_step(exponent << _MANTISSA | read.bits(_MANTISSA))


def _read_transform(read: BitReader, version: int) -> tuple[int, bool]:
    """The transform of patches, and whether there are classes."""
    if version != OTHER:
        return LAPPED, version == CLASSED
    transform, classed = read.bits(2), bool(read.bits(1))
    if transform == LAPPED:
        raise FormatError("packed stream: a transform of planes that has another version")
    return transform, classed
