"""A report as rich tables: 80 columns, and no digit is cut where there are fewer."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from lowrank import targets
from lowrank.errors import called, number_of, printable
from lowrank.picture.distance import Pixels
from lowrank.report import OfMatrix, Report, Storage
from lowrank.targets.spectrum import psnr_of_tail
from lowrank.views import words

if TYPE_CHECKING:
    from collections import Counter

    from lowrank.report.ask import Result
    from lowrank.report.stacks import OfStack
    from lowrank.runs.tasks import Total
    from lowrank.runs.verify import Tally

_PLOT_ROWS = 7
_PLOT_COLUMNS = 64
_FAINTEST = 1e-6  # share of the largest singular value below which one has no bar
_FLAT = 1e-9  # decades that are none
_UNBOUND = 10_000  # columns, more than any table has
_BLANK = Text("")
_NARROWEST_LINES = 40  # columns that sentences have, where a terminal has fewer it breaks them
_NARROWEST = 16  # bits of a float: a file of less has been quantised
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_PLAIN = str.maketrans("σₖ₊₁ᵢ‖₂−≥▁▂▃▄▅▆▇█", "sk+1i|2->..:::||#")


def show(*items: RenderableType) -> None:
    """Write tables to standard output."""
    console = Console(highlight=False, soft_wrap=False)
    width = console.width or 80  # COLUMNS=0, of a terminal that has no size yet
    console.width = max(width, _NARROWEST_LINES)
    if console.is_terminal:
        console.print(Group(*items), crop=False)
        return
    with console.capture() as captured:  # a file or a pipe gets no spaces at the ends of lines
        console.print(Group(*items), crop=False)
    console.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    console.file.flush()


def report(r: Report, store: str = "") -> RenderableType:
    """Return everything a report says; `store` names that of factors which are in no file."""
    items: list[RenderableType] = [
        _title(r, store),
        _BLANK,
        _channels(r.matrices),
        *_folded(r.matrices),
    ]
    items += [_verdict(r), _BLANK, _storage(r), *_larger_than_source(r.storage)]
    if r.pixels:
        items += [_BLANK, _pixels(r.pixels, r.stack)]
    if r.stack is not None:
        items += [_BLANK, *_frames(r.stack, r.storage.bytes)]
    return Group(*items)


def result(x: Result) -> RenderableType:
    """Return whatever `ask.report` found, as it reads best."""
    if len(x.reports) == 1 and not x.spectra:
        return Group(report(x.reports[0], x.store), *(_peers(x) if x.peers else ()))
    items: list[RenderableType] = [_source_line(x.reports[0])]
    if x.spectra:
        items += [
            Text(f"what each rank would cost and lose, from the spectrum; {x.store} factors"),
            _BLANK,
            ladder(list(x.reports), x.peak),
            _BLANK,
            spectrum(list(x.spectra)),
            Text(
                f"break-even rank {x.reports[0].storage.break_even_rank:.1f}; "
                f"above noise (Gavish-Donoho, -k auto): {targets.several(x.auto)}"
            ),
            Text(words.peak(x.peak)),
        ]
    else:
        items += [Text(f"{x.store} factors, in no file")] if x.store else []
        items += [_BLANK, ladder(list(x.reports), x.peak), Text(words.peak(x.peak))]
        items += [_group_of_rank(r) for r in x.reports]
    return Group(*items)


def total(t: Total) -> RenderableType:
    """Return the sum of many files: one row, and what stands out."""
    table = table_of("files", "bytes before", "bytes after", "ratio", "worst error")
    table.add_row(
        f"{t.done:,}",
        f"{t.before:,}",
        f"{t.after:,}",
        f"{t.before / t.after:.2f}" if t.after else "-",
        f"{t.worst:.3%}" if t.worst_input else "-",
    )
    remarks = [f"worst error: {printable(t.worst_input)}"] if t.worst_input else []
    if t.skipped or t.failed:
        remarks.append(f"{t.skipped:,} skipped, {t.failed:,} failed")
    return _summed(table, remarks, t.passed)


def tally(t: Tally) -> RenderableType:
    """Return what `verify` found of many files: one row, and what stands out."""
    table = table_of("files", "whole", "bad", "bytes", "worst PSNR dB")
    worst = f"{t.worst:.2f}" if t.worst_input else "-"
    table.add_row(f"{t.states.total():,}", f"{t.good:,}", f"{t.bad:,}", f"{t.bytes:,}", worst)
    remarks = [f"worst PSNR: {printable(t.worst_input)}"] if t.worst_input else []
    if t.bad:
        kinds = ((state, n) for state, n in t.states.most_common() if state != "whole")
        remarks.append(f"bad: {', '.join(f'{n:,} {state}' for state, n in kinds)}")
    return _summed(table, remarks, t.passed)


def _summed(table: Table, remarks: list[str], passed: Counter[str]) -> RenderableType:
    """A table with remarks below it, the last one on what was passed over."""
    from lowrank.runs import plan

    if there := plan.counted(passed):
        remarks.append(f"passed over: {printable(there)}")
    # Paths are not broken: they are there to be copied.
    return Group(_BLANK, table, *(Text(x, no_wrap=True, overflow="ignore") for x in remarks))


def _peers(x: Result) -> list[RenderableType]:
    """Other codecs at our bytes, and at our PSNR."""
    heads, rows, said = words.peers(x.reports[0], x.peers)
    table = table_of(*heads)
    for row in rows:
        table.add_row(*row)
    return [_BLANK, table, *map(Text, said)]


def _source_line(r: Report) -> Text:
    text = Text()
    if r.source:
        s = r.source
        text.append(printable(called(s.path)), style="bold")
        many = "" if r.stack is None else f"{number_of(r.stack.frames, 'frame')} of "
        text.append(f"  {many}{s.width}x{s.height} {s.title}, {s.format}, {s.bytes:,} bytes")
    return text


def _group_of_rank(r: Report) -> RenderableType:
    return Group(
        Text(f"\nrank {r.matrices[0].k}", style="bold"),
        _channels(r.matrices),
        _verdict(r),
        *_larger_than_source(r.storage),
    )


def _title(r: Report, store: str) -> Text:
    first = r.matrices[0]
    text = _source_line(r)
    if r.source:
        text.append("\n")
    if r.file:
        text.append(printable(called(r.file.path or "")), style="bold")
        text.append(
            f"  {r.file.layout}, {r.file.store}, {r.file.bytes:,} bytes, "
            f"{r.file.bits_per_pixel:.3f} bits per pixel\n"
        )
    each = f", in each of {len(r.matrices)} channels" if len(r.matrices) > 1 else ""
    if store:
        text.append(f"{store} factors, in no file\n")
    text.append(f"A is {first.m} x {first.n}{each}; errors in levels of the source")
    return text


class _Table(Table):
    """A table as wide as its numbers, even where the terminal is not, which breaks its lines."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needed = console.measure(self, options=options.update(max_width=_UNBOUND)).maximum
        room = options.update(max_width=max(needed, options.max_width))
        return super().__rich_console__(console, room)


def table_of(*headers: str) -> Table:
    """Return an empty table of these columns."""
    table = _Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    first, *others = map(_written, headers)
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _written(text: str) -> str:
    """Words of our own in what the terminal's encoding has, as wide: sk+1 for σₖ₊₁."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return text.translate(_PLAIN)
    return text


def _channels(channels: tuple[OfMatrix, ...]) -> Table:
    table = table_of(
        "channel", "k", "‖A−B‖₂", "≥ σₖ₊₁", "ratio", "‖A−B‖F", "≥ tail", "ratio", "energy", "proof"
    )
    for c in words.folded(channels):
        table.add_row(*words.errors(c), "yes" if c.certified else "-")
    return table


def _folded(channels: tuple[OfMatrix, ...]) -> list[Text]:
    """Say how many rows a table of channels leaves out."""
    shown = len(words.folded(channels))
    if shown == len(channels):
        return []
    return [
        Text(
            f"{shown} of {len(channels)} channels: the farthest from A, the middle one, the "
            "nearest; --json has all."
        )
    ]


def _verdict(r: Report) -> Text:
    return Text(words.verdict(r.matrices, r.file))


def _storage(r: Report) -> Table:
    s = r.storage
    ranks = {c.k for c in r.matrices}
    k = f"k = {ranks.pop()}" if len(ranks) == 1 else "k of each channel"
    table = table_of("storage", "ours", "original", "ratio")
    table.add_row(
        f"floats: k(m+n+1) against mn, {k}",
        f"{s.floats:,}",
        f"{s.original_floats:,}",
        f"{s.float_ratio:.2f}",
    )
    table.add_row(
        "bytes against raw samples", f"{s.bytes:,}", f"{s.raw_bytes:,}", f"{s.byte_ratio:.2f}"
    )
    if r.source and s.source_ratio:
        table.add_row(
            "bytes against the source file",
            f"{s.bytes:,}",
            f"{r.source.bytes:,}",
            f"{s.source_ratio:.2f}",
        )
    if s.floats and 8 * s.bytes < _NARROWEST * s.floats:
        table.add_row("bits per float", f"{8 * s.bytes / s.floats:.2f}", "", "")
    table.add_row("break-even rank mn/(m+n+1)", "", f"{s.break_even_rank:.1f}", "")
    return table


def _larger_than_source(s: Storage) -> list[Text]:
    """Say so plainly when the file is larger than what it was made from."""
    if s.source_ratio is None or s.source_ratio >= 1:
        return []
    return [
        Text(
            f"The file is {1 / s.source_ratio:.2f} times as large as its source: "
            "a lower rank or the packed store is smaller."
        )
    ]


def _pixels(p: Pixels, stack: OfStack | None) -> RenderableType:
    what = "image" if stack is None else "stack"
    table = table_of(f"saved {what}", "PSNR dB", "RMSE", "largest error")
    psnr = "equal" if p.psnr_db is None else f"{p.psnr_db:.2f}"
    table.add_row("rounded and clipped", psnr, words.rmse(p.rmse), f"{p.max_abs_error:g}")
    said = (
        f"Rounding and clipping leave the set of rank-k matrices, so the saved {what} "
        "may be a little nearer to the original than the bounds allow."
    )
    if p.psnr_db is not None and stack is None:  # of a stack it is said of its frames
        said += f" {words.peak(p.peak)}"
    return Group(table, Text(said))


def _frames(s: OfStack, size: int) -> list[RenderableType]:
    from lowrank.views import stacks

    items: list[RenderableType] = []
    if row := stacks.cells(s):
        table = table_of(*stacks.HEADERS)
        table.add_row(*row)
        items.append(table)
    return items + [Text(line) for line in stacks.sentences(s, size)]


def ladder(reports: list[Report], peak: float) -> RenderableType:
    """Return a table of ranks, each with what it costs and what it loses.

    Parameters
    ----------
    reports : list of Report
        One for each rank; measured or predicted.
    peak : float
        Full scale of the samples, for PSNR.
    """
    table = table_of("k", "σₖ₊₁", "rel. error", "energy", "PSNR dB", "bytes", "vs raw", "vs source")
    for r in reports:
        samples = sum(c.m * c.n for c in r.matrices)
        error = math.hypot(
            *(c.frobenius_bound if c.frobenius_error is None else c.frobenius_error
              for c in r.matrices)
        )  # fmt: skip
        norm2 = sum(c.norm**2 for c in r.matrices)
        psnr = r.pixels.psnr_db if r.pixels else None
        if r.pixels is None and error:
            psnr = psnr_of_tail(error, peak, samples)
        tail2 = sum(c.frobenius_bound**2 for c in r.matrices)
        table.add_row(
            targets.several(dict.fromkeys(c.k for c in r.matrices)),
            words.level(max(c.spectral_bound for c in r.matrices)),
            f"{error / math.sqrt(norm2) if norm2 else 0:.3%}",
            f"{1 - tail2 / norm2 if norm2 else 1:.2%}",
            "exact" if psnr is None else f"{psnr:.2f}",
            f"{r.storage.bytes:,}",
            f"{r.storage.byte_ratio:.2f}",
            "-" if r.storage.source_ratio is None else f"{r.storage.source_ratio:.2f}",
        )
    return table


def spectrum(spectra: list[NDArray[np.float64]]) -> Text:
    """Return the singular values as bars: index and sigma both on logarithmic scales.

    What is below a millionth of the largest has no bar.
    """
    largest = max(float(s[0]) for s in spectra)
    if not largest:
        return Text(_written("singular values σᵢ: all are 0\n"))
    s = largest * np.sqrt(np.mean([(x / largest) ** 2 for x in spectra], axis=0))
    columns = min(_PLOT_COLUMNS, len(s))
    edges = np.array(sorted({round(x) for x in np.geomspace(1, len(s), columns)})) - 1
    seen = s[edges] > s[0] * _FAINTEST
    values = np.log10(s[edges], where=seen, out=np.full(len(edges), -np.inf))
    low, high = math.floor(values[seen].min()), values.max()
    low -= high - low < _FLAT
    heights = np.maximum(values - low, 0) / (high - low) * _PLOT_ROWS * 8
    # Each bar is as wide as its share of the logarithmic axis.
    ticks = np.log(edges + 1) / max(math.log(len(s)), 1e-9)
    at = np.clip(np.searchsorted(ticks, np.linspace(0, 1, _PLOT_COLUMNS), "right") - 1, 0, None)
    text = Text(no_wrap=True, overflow="ignore")
    means = " (root mean square of the channels)" if len(spectra) > 1 else ""
    text.append(_written(f"singular values σᵢ{means}, both axes logarithmic\n"))
    for row in reversed(range(_PLOT_ROWS)):
        label = f"{10 ** (low + (row + 1) / _PLOT_ROWS * (high - low)):9.3g} "
        text.append(label, style="dim")
        bars = np.clip(np.rint(heights[at] - row * 8), 0, 8).astype(int)
        text.append(_written("".join(_EIGHTHS[b] for b in bars)) + "\n", style="cyan")
    axis = [" "] * (_PLOT_COLUMNS + 6)
    for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        if tick <= len(s):
            x = round(math.log(tick) / max(math.log(len(s)), 1e-9) * (_PLOT_COLUMNS - 1))
            for i, ch in enumerate(str(tick)):
                axis[x + i] = ch
    text.append(" " * 10 + "".join(axis).rstrip() + "  i\n", style="dim")
    return text
