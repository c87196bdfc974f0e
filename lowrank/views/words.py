"""Numbers and verdicts of a report in plain words, the same in a terminal and on a page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lowrank.names import FLOAT_STORES
from lowrank.report import NOTHING, File, OfMatrix, Report

if TYPE_CHECKING:
    from lowrank.report.peers import Peer

_MANY, _WORST = 12, 3  # channels that a table shows all of; and of more, how many of the worst
_FAR = 0.1  # above the optimum: of floats only where next to nothing is left out


def level(value: float | None) -> str:
    """Return a number of levels in at most nine characters."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if value >= 1e6 or value < 1e-3:
        return f"{value:.3g}"
    return f"{value:.{max(0, 5 - max(0, math.floor(math.log10(value))))}f}"[:8].rstrip(".")


def rmse(value: float) -> str:
    """Return a root mean square error: three decimals, or four digits of what these do not show."""
    return f"{value:.3f}" if value == 0 or 0.1 <= value < 1e6 else f"{value:.4g}"


def peak(value: float) -> str:
    """Return the sentence that says what a PSNR is measured against."""
    of = {1.0: "", 255.0: "", 65535.0: ", the range of 16 bits"}
    return f"PSNR has the peak {value:.9g}{of.get(value, ', the range of the data')}."


def share(value: float) -> str:
    """Return a share in at most six characters."""
    return "100%" if value >= 0.99995 else f"{value:.2%}"


def ratio(error: float | None, bound: float, norm: float) -> str:
    """Return error over bound, where that says anything."""
    if error is None or bound <= NOTHING * norm:
        return "-"
    return f"{error / bound:.4f}"[:6]


def verdict(channels: tuple[OfMatrix, ...], file: File | None = None) -> str:
    """Return one sentence: what the errors beside their bounds prove, of a file or of floats."""
    if any(c.spectral_error is None for c in channels):
        return "Stated by the file, not measured: give the original image and the file to measure."
    wrong = [c.name for c in channels if c.contradicts]
    if wrong:
        return (
            f"This report contradicts itself ({', '.join(wrong)}): an error is below the bound "
            "that no matrix of rank k can beat (Eckart-Young). Nothing is proved."
        )
    bound = math.hypot(*(c.frobenius_bound for c in channels))
    error = math.hypot(*(c.frobenius_error or 0 for c in channels))
    norm = math.hypot(*(c.norm for c in channels))
    if bound <= NOTHING * norm:
        excess = f"within {error / norm:.1g} ||A|| of A itself" if error else "A itself"
    elif error / bound - 1 >= _FAR:
        floats = file is None or file.store in FLOAT_STORES  # what is in no file are floats
        added = "rounding" if floats else "quantisation"
        excess = f"{error / bound:.2f} times as far as the optimum: that is what {added} added"
    else:
        excess = f"{max(error / bound - 1, 0):.4%} above the optimum"
    if all(c.certified for c in channels):
        return (
            "Proved: no matrix of rank k is nearer to A than the bounds (Eckart-Young). "
            f"In the Frobenius norm the stored factors are {excess}."
        )
    return f"The stored factors are {excess}. Not every bound could be proved."


def folded(channels: tuple[OfMatrix, ...]) -> tuple[OfMatrix, ...]:
    """Return the channels that a table shows.

    Of many: those that are farthest from A, relative to it, the one in the middle, and the
    nearest.
    """
    if len(channels) <= _MANY:
        return channels
    order = sorted(channels, key=lambda c: -c.relative_error)
    return (*order[:_WORST], order[len(order) // 2], order[-1])


def errors(c: OfMatrix) -> list[str]:
    """Return the cells of one channel: name, rank, errors beside bounds, energy."""
    return [
        c.name,
        str(c.k),
        level(c.spectral_error),
        level(c.spectral_bound),
        ratio(c.spectral_error, c.spectral_bound, c.norm),
        level(c.frobenius_error),
        level(c.frobenius_bound),
        ratio(c.frobenius_error, c.frobenius_bound, c.norm),
        share(c.energy),
    ]


def _reached(psnr: float | None) -> str:
    if psnr is None:
        return "-"
    return f"{psnr:.2f}" if math.isfinite(psnr) else "exact"


def peers(ours: Report, others: Iterable[Peer]) -> tuple[list[str], list[list[str]], list[str]]:
    """Heads and rows of a table of other codecs beside ours, and what is to be said of some."""
    size, pixels = ours.storage.bytes, ours.pixels
    psnr = None if pixels is None else pixels.psnr_db
    reached = "bytes, exact" if psnr is None else f"bytes at {psnr:.2f} dB"
    others = tuple(others)
    rows = [
        [
            f"{x.codec}, tune={x.tune}" if x.tune else x.codec,
            _reached(x.psnr_db),
            "-" if x.bytes is None else f"{x.bytes:,}",
            "-" if x.bytes is None else f"{x.bytes / size:.2f}x",
        ]
        for x in others
    ]
    heads = ["codec", f"dB at {size:,} bytes", reached, "of ours"]
    return heads, rows, [f"{x.codec}: {x.why}" for x in others if x.why]
