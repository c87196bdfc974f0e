"""What an HTML page shows of a stack: a copy small enough to travel inside the page.

The page sums terms of a `.lrk` file and measures them against the frames, so it carries both:
the frames, reduced and thinned out to `SAMPLES`, and as many of the copy's terms as `TERM_BYTES`
hold. What is seen and measured there is the copy's; reports are those of the stack itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank import linalg
from lowrank.errors import UsageError
from lowrank.format.parts import Head, Parts
from lowrank.picture import MODES, Metadata, Picture, axis, thumbnail
from lowrank.report.ask import Result
from lowrank.stores import truncation

SAMPLES = 1 << 20
"""Samples that a page carries at most."""
SIDE = 256
"""Longest side in pixels of a frame that a page shows."""
TERM_BYTES = 1_250_000
_MOST = 60  # terms: the eigenimages are looked at one by one
_START = 5


@dataclass(frozen=True, eq=False)
class Gallery:
    """A stack's copy, its terms, and what the page says of both.

    Attributes
    ----------
    picture : Picture
        The copy.
    size : (int, int)
        Height and width of the stack's own frames.
    told : str
        What the copy is, where it is not the stack itself.
    numbers : list of int
        Which frame of the stack each frame of the copy is.
    names : list of str
        What they are called; empty where they have no names.
    parts : Parts
        The copy's leading terms.
    spectrum : (N,) ndarray
        All singular values of the copy.
    start : int
        Rank that the page opens with.
    notes : list of str
    """

    picture: Picture
    size: tuple[int, int]
    told: str
    numbers: list[int]
    names: list[str]
    parts: Parts
    spectrum: NDArray[np.float64]
    start: int
    notes: list[str]


def of(result: Result) -> Gallery:
    """Make what a page shows from what `ask.report` found.

    Raises
    ------
    UsageError
        The report is of a `.lrk` file alone.
    """
    if result.loaded is None:
        raise UsageError("a page shows the original as well; give the stack first, then the file")
    original = result.loaded.picture
    copy, numbers, notes = _copy(original)
    A = copy.samples.reshape(len(copy.samples), -1)
    spectrum = linalg.spectrum(A)
    bare = Head(copy.width, copy.height, copy.mode, "stack", "float32", frames=copy.frames)
    empty, one = (lrk.float_file_size(bare, terms) for terms in (0, 1))
    most = max(min((TERM_BYTES - empty) // (one - empty), *A.shape, _MOST), 1)
    exact = linalg.truncated_svd(A, most)
    parts = truncation.with_ranks(copy, (exact,), "stack", "float32")
    stated = result.parts.head.metadata.axis if result.parts else None
    named = axis.unpack(stated or original.metadata.axis, original.frames or 1)
    names = [named.name(i) for i in numbers]
    # Where nothing asks for a rank, one that leaves something out, if there is one.
    few = min(_START, len(spectrum) - 1)
    asked = result.reports[0].matrices[0].k if not result.spectra else few
    told = f"a copy: {len(numbers):,} of {original.frames:,} frames, {copy.width} × {copy.height}"
    return Gallery(
        copy, (original.height, original.width), told if notes else "", numbers,
        names if any(names) else [], parts, spectrum, min(max(asked, 1), most), notes,
    )  # fmt: skip


def _copy(original: Picture) -> tuple[Picture, list[int], list[str]]:
    """Frames that fit, with their places in the stack, and what was done to them."""
    notes = []
    N = original.frames or 1
    frames = [Picture(x, original.mode) for x in original.each()]
    side = max(original.height, original.width)
    area = original.height * original.width * len(original.mode.channels)
    # Half of what is too much is taken from the frames' sides, half from their number.
    over = max(N * area / SAMPLES, 1.0)
    side = min(SIDE, math.ceil(side / over**0.25))
    one = thumbnail.reduced(frames[0], side)
    step = max(math.ceil(N * one.samples.size / SAMPLES), 1)
    numbers = list(range(0, N, step))
    if one is not frames[0]:
        notes.append(
            f"Frames of {original.width} × {original.height} pixels are shown reduced to "
            f"{one.width} × {one.height} by averaging."
        )
    if step > 1:
        notes.append(f"One in {step} of {N:,} frames is shown.")
    if notes:
        notes.append("What the page measures is this copy's; the report is about the stack itself.")
    shown = np.stack([thumbnail.reduced(frames[i], side).samples for i in numbers])
    mode = original.mode
    if one.mode != mode:  # greys of black and white: levels are still 0 and 1, and between
        shown, mode = shown / np.float32(255), MODES["F"]
    return Picture(shown, mode, Metadata()), numbers, notes
