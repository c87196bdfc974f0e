"""What an HTML page shows of a picture: a copy small enough to travel inside the page.

The page sums terms of a `.lrk` file and measures the sums against the picture, so it
carries both: the picture, reduced to `SIDE` pixels where it is larger, and as many of
the copy's terms as `TERM_BYTES` hold. What is seen, and what the page measures of it, is
then the copy's; spectra, plots and reports are those of the picture itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowrank import codec, linalg, threads
from lowrank import format as lrk
from lowrank.errors import UsageError
from lowrank.format.parts import Floats, Head, Parts
from lowrank.names import AUTO
from lowrank.picture import ARRAY, MODES, Metadata, Picture, thumbnail
from lowrank.report import Report, ask, measure
from lowrank.report.ask import Result
from lowrank.stores import truncation

SIDE = 768
"""Longest side in pixels of a picture that a page shows."""

TERM_BYTES = 1_250_000
"""Bytes of factors that a page carries at most: 160 terms of a 768x512 photograph."""

_SLAB = 256  # columns transformed at once
_COLOURS = 3  # channels of any type that are shown as red, green and blue
_START = 20  # the rank that a page opens with, where nothing asks for another


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A picture's copy, its terms, and the numbers that the page plots.

    Attributes
    ----------
    picture : Picture
        The copy, in the mode of its terms; the picture itself where that is small enough, and of
        no more than 8 bits or one channel.
    size : (int, int)
        Height and width of the picture itself, upright as the copy is.
    parts : Parts
        The leading terms of the copy, in layout `channels`: `most` for the slider and,
        where there is one, the next, which the page starts from to measure ||A - B||_2.
    spectra : tuple of (N,) ndarray
        All singular values of each channel of the picture itself.
    copied : tuple of ndarray
        The same of the copy; empty where that is the picture itself.
    rival : (N + 1,) ndarray
        ||A - B_k||_F over all channels of the picture itself, k = 0 to N, of the matrix B_k of
        rank k that keeps the k lowest cosine frequencies.
    black, white : float
        Samples that are shown as black and as white.
    start, most : int
        Rank that the page opens with, and the largest of the slider.
    reports : tuple of Report
        Measured on the picture itself.
    measured : tuple of Report
        The same, of one rank of every channel each, as slider and plots are.
    decoded : Picture or None
        What the file decodes to, where no rank of the slider is that picture.
    of_file : Report or None
        Beside `decoded`: the file, measured on the picture itself.
    notes : tuple of str
    """

    picture: Picture
    size: tuple[int, int]
    parts: Parts
    spectra: tuple[NDArray[np.float64], ...]
    copied: tuple[NDArray[np.float64], ...]
    rival: NDArray[np.float64]
    black: float
    white: float
    start: int
    most: int
    reports: tuple[Report, ...]
    measured: tuple[Report, ...]
    decoded: Picture | None
    of_file: Report | None
    notes: tuple[str, ...]


def of(result: Result) -> Exhibit:
    """Make what a page shows from what `ask.report` found.

    Raises
    ------
    UsageError
        The report is of a `.lrk` file alone.
    """
    if result.loaded is None:
        raise UsageError("a page shows the original as well; give the image first, then the file")
    original = result.loaded.picture
    if original.mode.name == ARRAY and len(original.mode.channels) not in (1, _COLOURS):
        raise UsageError(
            "a page shows one channel, or three as red, green and blue, not "
            f"{original.mode.title}; of an array --axis -1 makes frames of the channels, and a page"
        )
    low, high = thumbnail.shades(original)
    picture, notes = shown(_for_a_page(original, low, high))
    deep = original.mode.name == ARRAY and picture.mode.name == "RGB"
    reduced = deep or picture.height * picture.width < original.height * original.width
    whole = _channels(thumbnail.upright(original))
    A = _channels(picture)
    N = min(picture.height, picture.width)
    store, terms = _room(picture)
    spectra = result.spectra or tuple(threads.each(linalg.spectrum, whole))
    copied = tuple(threads.each(linalg.spectrum, A)) if reduced else ()
    exact = tuple(threads.each(lambda a: linalg.truncated_svd(a, terms), A))
    parts = truncation.with_ranks(picture, exact, "channels", store)
    parts = replace(parts, head=replace(parts.head, metadata=Metadata()))
    most = terms if terms == N else terms - 1
    start = min(_asked(result), most)
    measured = tuple(r for r in result.reports if _of_one_rank(r, original))
    if result.spectra or (reduced and not measured):  # a ladder is predicted
        measured = ask.of_ranks(result.loaded, [start], store=AUTO).reports
    reports = measured if result.spectra else result.reports
    if deep:
        notes.append(
            f"Samples of {original.mode.title} from {low:g} to {high:g} are shown as red, green "
            "and blue of 8 bits, and the slider adds layers of this copy. What is measured of it "
            "is called the copy's; all other numbers and the plots are about the picture itself."
        )
    black, white = thumbnail.shades(picture)
    notes += _how_shown(picture, black, white)
    decoded = None
    if result.parts and (reduced or not _on_the_slider(result.parts, most)):
        whole_file = codec.decode(result.parts, filled=True).picture
        decoded = shown(_for_a_page(whole_file, low, high))[0]
    return Exhibit(
        picture, whole[0].shape, parts, spectra, copied, _rival(whole), black, white, start, most,
        reports, measured, decoded, _of_file(result) if decoded else None, tuple(notes),
    )  # fmt: skip


def _how_shown(picture: Picture, black: float, white: float) -> Iterator[str]:
    """What to know of samples that a screen does not have as they are."""
    if picture.mode.name in ("I;16", "F"):
        yield (
            f"Samples from {black:g} (black) to {white:g} (white) are shown in 256 greys; "
            "errors are in levels of the samples."
        )
    if picture.mode.name == "CMYK":
        yield "Ink is shown as R = (255 - C)(255 - K) / 255 and so on, without a profile."
    if "alpha" in picture.mode.channels:
        yield (
            "Alpha is a matrix as the colours are; the picture is shown over a checkerboard, "
            "the difference and the layers without alpha."
        )


def _for_a_page(picture: Picture, low: float, high: float) -> Picture:
    """The picture, in a mode of the page's own file and scripts.

    Of one channel of any type, F; of three, RGB, black at `low` and white at `high`.
    """
    if picture.mode.name != ARRAY:
        return picture
    if len(picture.mode.channels) == 1:
        return Picture(picture.samples.astype(np.float32), MODES["F"], picture.metadata)
    levels = np.subtract(picture.samples, low, dtype=np.float64)
    levels *= 255 / (high - low)
    np.rint(levels, out=levels)
    np.clip(levels, 0, 255, out=levels)
    return Picture(levels.astype(np.uint8), MODES["RGB"], picture.metadata)


def _channels(picture: Picture) -> list[NDArray[np.generic]]:
    return [picture.samples[:, :, c] for c in range(len(picture.mode.channels))]


def _of_one_rank(r: Report, picture: Picture) -> bool:
    channels = picture.mode.channels  # one is called otherwise where its type has changed
    plain = len(channels) == 1 or tuple(c.name for c in r.matrices) == channels
    shape = (r.matrices[0].m, r.matrices[0].n) == (picture.height, picture.width)
    return plain and shape and len({c.k for c in r.matrices}) == 1


def shown(picture: Picture) -> tuple[Picture, list[str]]:
    """Return the copy of a picture that fits a page, upright, and what was done to it."""
    notes = []
    copy = thumbnail.reduced(picture, SIDE)
    if copy is not picture:
        notes.append(
            f"The picture of {picture.width} × {picture.height} pixels is shown reduced to "
            f"{copy.width} × {copy.height} by averaging, and the slider adds layers of this copy. "
            "What is measured of it is called the copy's; all other numbers and the plots are "
            "about the picture itself."
        )
    upright = thumbnail.upright(copy)
    if upright is not copy:
        notes.append("The picture is shown upright, as its EXIF data say.")
    samples = np.ascontiguousarray(upright.samples)
    return Picture(samples, upright.mode), notes


def _room(picture: Picture) -> tuple[str, int]:
    """Store and number of terms of each channel that a page has room for."""
    bare = replace(picture, metadata=Metadata())
    N = min(picture.height, picture.width)

    def size(terms: int, store: str) -> int:
        head = Head.of(bare, "channels", store)
        return lrk.float_file_size(head, terms * head.matrices)

    if size(N, "float32") <= TERM_BYTES:
        return "float32", N
    empty, one = size(0, "float16"), size(1, "float16")
    return "float16", max(min((TERM_BYTES - empty) // (one - empty), N), min(2, N))


def _asked(result: Result) -> int:
    """Rank that the page opens with: that of the request or of the file."""
    if result.spectra or (result.parts and result.parts.head.layout != "channels"):
        return _START
    return max(1, *(c.k for c in result.reports[0].channels))


def _on_the_slider(file: Parts, most: int) -> bool:
    """Whether a rank of the slider is what the file decodes to."""
    ranks = set(file.ranks) if isinstance(file.body, Floats) else set()
    return file.head.layout == "channels" and len(ranks) == 1 and 1 <= max(ranks) <= most


def _of_file(result: Result) -> Report | None:
    """The file itself, measured; at given ranks the reports are of shorter ones."""
    loaded, parts = result.loaded, result.parts
    if loaded is None or parts is None or result.stored[0] is parts:
        return result.reports[0]
    facts = result.reports[0].file
    return measure.measure(
        loaded.picture,
        parts,
        source=loaded.source,
        file=facts,
        file_bytes=facts.bytes if facts else 0,
    )


def _rival(A: list[NDArray[np.generic]]) -> NDArray[np.float64]:
    """Frobenius errors of the k lowest cosine frequencies along the shorter side, any k.

    The cosine transform is orthonormal, so what is dropped adds up as singular values do.
    """
    N = min(A[0].shape)
    energies = np.zeros(N + 1)
    for a in A:
        short = a if a.shape[0] == N else a.T
        for slab in range(0, short.shape[1], _SLAB):
            C = _cosines(short[:, slab : slab + _SLAB].astype(np.float64))
            energies[:N] += np.sum(C * C, axis=1)
    errors: NDArray[np.float64] = np.sqrt(np.cumsum(energies[::-1])[::-1])
    return errors


def _cosines(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orthonormal cosine transform (DCT-II) of each column, by one FFT as long as it."""
    N = len(x)
    F = np.fft.fft(np.concatenate([x[::2], x[1::2][::-1]]), axis=0)
    k = np.arange(N)[:, None]
    C: NDArray[np.float64] = (F * np.exp(-0.5j * np.pi * k / N)).real * math.sqrt(2 / N)
    C[0] /= math.sqrt(2)
    return C
