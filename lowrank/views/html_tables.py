"""The tables of a report as markup: errors beside bounds, storage, what each rank would cost."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lowrank.report import Report
from lowrank.report.ask import Result
from lowrank.views import words
from lowrank.views.markup import escaped, last

_SPECTRAL = '<span class="math">‖A−B‖<sub>2</sub></span>'
_FROBENIUS = '<span class="math">‖A−B‖<sub>F</sub></span>'
_NEXT = '<span class="math">σ<sub>k+1</sub></span>'


def tables(result: Result, measured: Iterable[Report], most: int = 0) -> str:
    """The tables of reports that were measured; of a ladder the ranks up to `most` are buttons."""
    sections = [_measured(report) for report in measured]
    if result.spectra or len(result.reports) > 1:
        sections.insert(0, _ladder(result, most))
    if result.peers:
        sections.append(_peers(result))
    return "\n".join(sections)


def _peers(result: Result) -> str:
    """Other codecs at our bytes, and at our PSNR."""
    heads, rows, said = words.peers(result.reports[0], result.peers)
    cells = [[escaped(x) for x in row] for row in rows]
    return _table("Other codecs", heads, cells) + "".join(f"<p>{escaped(x)}</p>" for x in said)


def _table(caption: str, headers: list[str], rows: list[list[str]]) -> str:
    """Return a table of cells that are markup already; the first of a row is its header."""
    head = "".join(f'<th scope="col">{h}</th>' for h in headers)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{x}</td>" for x in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<h3>{caption}</h3><div class="scroll" role="region" tabindex="0" aria-label="{caption}">'
        f'<table aria-label="{caption}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _measured(r: Report) -> str:
    ranks = dict.fromkeys(str(c.k) for c in r.matrices)
    what = f"{last(r.file.path or '')}, rank" if r.file else "Rank"
    rows = [[*words.errors(c), "yes" if c.certified else "–"] for c in r.matrices]
    first = r.matrices[0]
    errors = _table(
        escaped(f"{what} {'/'.join(ranks)}: A is {first.m} × {first.n}; errors in levels"),
        ["channel", "k", _SPECTRAL, f"≥ {_NEXT}", "ratio", _FROBENIUS, "≥ tail", "ratio",
         "energy", "proof"],
        rows,
    )  # fmt: skip
    return errors + f"<p>{escaped(words.verdict(r.matrices, r.file))}</p>" + _storage(r)


def _storage(r: Report) -> str:
    s = r.storage
    rows = [
        ["floats: k(m+n+1) against mn", f"{s.floats:,}", f"{s.original_floats:,}",
         _ratio(s.float_ratio)],
        ["bytes against raw samples", f"{s.bytes:,}", f"{s.raw_bytes:,}", _ratio(s.byte_ratio)],
    ]  # fmt: skip
    if r.source and s.source_ratio:
        rows.append(
            ["bytes against the source file", f"{s.bytes:,}", f"{r.source.bytes:,}",
             _ratio(s.source_ratio)]
        )  # fmt: skip
    table = _table("Storage", ["compared", "ours", "original", "ratio"], rows)
    said = f"Break-even rank mn/(m+n+1): {s.break_even_rank:.1f}."
    if r.pixels:
        psnr = "exact" if r.pixels.psnr_db is None else f"PSNR {r.pixels.psnr_db:.2f} dB"
        said += (
            f" Rounded and clipped to samples: {psnr}, root mean square error "
            f"{words.rmse(r.pixels.rmse)}, largest error {r.pixels.max_abs_error:g}. "
            f"{words.peak(r.pixels.peak)}"
        )
    if s.source_ratio is not None and s.source_ratio < 1:
        said += f" The file is {1 / s.source_ratio:.2f} times as large as its source."
    return f"{table}<p>{said}</p>"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _ladder(result: Result, most: int) -> str:
    measured = not result.spectra
    rows = []
    for r in result.reports:
        k = max(c.k for c in r.matrices)
        norm = math.hypot(*[c.norm for c in r.matrices])
        bound = math.hypot(*[c.frobenius_bound for c in r.matrices])
        error = math.hypot(*[c.frobenius_error or 0 for c in r.matrices]) if measured else bound
        button = f'<button type="button" data-k="{k}" aria-label="Rank {k}">{k}</button>'
        source = r.storage.source_ratio
        rows.append(
            [
                button if k <= most else str(k),
                *(
                    [words.level(max(c.spectral_error or 0 for c in r.matrices))]
                    if measured
                    else []
                ),
                words.level(max(c.spectral_bound for c in r.matrices)),
                f"{error / norm if norm else 0:.3%}",
                words.share(1 - (bound / norm) ** 2 if norm else 1),
                f"{r.storage.bytes:,}",
                f"{r.storage.byte_ratio:.2f}",
                "–" if source is None else f"{source:.2f}",
            ]
        )
    kind = "as measured" if measured else "what each would cost and lose, from the spectrum"
    table = _table(
        f"Ranks: {kind}",
        ["k", *([_SPECTRAL, f"≥ {_NEXT}"] if measured else [_NEXT]), "relative error", "energy",
         "bytes", "raw : ours", "source : ours"],
        rows,
    )  # fmt: skip
    if not result.auto:
        return table
    auto = "/".join(map(str, result.auto))
    return f"{table}<p>Terms above noise (Gavish-Donoho, <code>-k auto</code>): {auto}.</p>"
