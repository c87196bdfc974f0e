"""A report as one HTML page with a rank slider: no network, no server, nothing to install.

The page is a template of the standard library (`string.Template`), filled once: a template
engine would be a sixth dependency for some twenty substitutions. Its markup, style and
scripts are files of their own in `page/`, put into one file so that it can be mailed,
opened from a disk and kept.

What comes from outside (names, metadata, notes) reaches the page in two ways only, both
safe: as text through `html.escape`, and as JSON in which no `<` is left. Should both fail,
the page's own policy runs no script but ours, named by their hashes, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from dataclasses import replace
from importlib import resources
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import __version__
from lowrank import format as lrk
from lowrank.errors import printable
from lowrank.io import pillow
from lowrank.picture import MODES, Metadata, Picture
from lowrank.report import Report
from lowrank.report.ask import Result
from lowrank.report.exhibit import Exhibit
from lowrank.views import words

_SCRIPTS = (
    "lrk.js", "png.js", "sums.js", "paint.js", "chart.js", "words.js", "bounds.js", "stage.js",
    "view.js", "state.js", "plots.js", "calculator.js", "readout.js", "app.js",
)  # fmt: skip
_LEVELS_OF_FLOATS = 65535  # of the page's copy of a picture of floats


def page(result: Result, exhibit: Exhibit) -> str:
    """Return the page.

    Parameters
    ----------
    result : Result
        What `ask.report` found.
    exhibit : Exhibit
        What `exhibit.of` made of it.
    """
    file = lrk.serialize(exhibit.parts)
    channels = exhibit.picture.mode.channels
    name = escaped(name_of(result))
    return _filled(
        css=asset("page.css"),
        scripts=[*map(asset, _SCRIPTS), asset("start.js")],
        welcome="",
        title=f"{name}, as a sum of layers",
        name=name,
        facts=escaped(_facts(result)),
        start=exhibit.start,
        most=exhibit.most,
        each=f" in each of {len(channels)} channels" if len(channels) > 1 else "",
        shown=_shown(exhibit),
        dots=_DOTS_OF_WHOLE if exhibit.copied else _DOTS,
        layers_of=f" These are the layers of {_copy(exhibit)}." if exhibit.copied else "",
        copy_hidden="" if exhibit.copied else "hidden",
        file_name=escaped(_file_name(exhibit.of_file)),
        file_said=escaped(_file_said(exhibit)),
        file_view=_FILE_VIEW if exhibit.decoded else "",
        report=_report(result, exhibit),
        notes=_notes(result, exhibit, len(file)),
        holds=_HOLDS,
        data=as_script(_data(result, exhibit, file)),
    )


def bare(*, welcome: str, css: str, scripts: list[str]) -> str:
    """Return the page with no picture in it, for a site whose own scripts bring one.

    Parameters
    ----------
    welcome : str
        Markup that stands before the page itself.
    css : str
        Style that follows the page's own.
    scripts : list of str
        What runs after the page's scripts; `openPage` shows a picture.
    """
    return _filled(
        css=asset("page.css") + css,
        scripts=[*map(asset, _SCRIPTS), *scripts],
        own="'self'",
        welcome=welcome,
        title="A picture as a sum of layers",
        name="",
        facts="",
        start=1,
        most=1,
        each="",
        shown="this page measures it.",
        dots=_DOTS,
        layers_of="",
        copy_hidden="hidden",
        file_name="",
        file_said="",
        file_view="",
        report=_COMMAND,
        notes="",
        holds="Made of static files, with no server behind them.",
        data="",
    )


def _filled(*, css: str, scripts: list[str], data: str, own: str = "", **fields: object) -> str:
    """Return the template filled, under a policy that allows its own style and scripts alone.

    `own` is "'self'" where files beside the page may be read, too.
    """
    embedded = [f'<script type="application/json" id="data">{data}</script>'] if data else []
    return Template(asset("page.html")).substitute(
        fields,
        policy=policy(css, scripts, own=own),
        version=__version__,
        css=css,
        scripts="\n".join([*embedded, *(f"<script>{script}</script>" for script in scripts)]),
    )


_DOTS = (
    "The dot is measured in this page, on these pixels; the line is the bound that no matrix of "
    "rank <i>k</i> can get below."
)
_DOTS_OF_WHOLE = (
    "The dots were measured on the picture itself when this page was made; the line is the bound "
    "that no matrix of rank <i>k</i> can get below."
)
_HOLDS = (
    "This file holds everything it shows and asks no network for anything. "
    '<button type="button" class="plain" id="save" hidden>Save the embedded .lrk</button>'
)
_COMMAND = (
    "<p>The tool makes such a page of any picture, with the proof of each decomposition: "
    "<code>lowrank report picture.png -k 20 --html page.html</code></p>"
)
_FILE_VIEW = '<label><input type="radio" name="view" value="file"><span>The file</span></label>'


def policy(css: str, scripts: list[str], *, own: str = "") -> str:
    """Return a Content Security Policy that allows this style and these scripts, and no more.

    `own` is "'self'" where files beside the page may be read, too.
    """
    before = f"{own} " if own else ""
    return (
        f"default-src 'none'; img-src {before}data: blob:; "
        f"style-src {_hash(css)}; script-src {before}{' '.join(map(_hash, scripts))}; "
        + (f"connect-src {own}; worker-src {own}; " if own else "")
        + "base-uri 'none'; form-action 'none'"
    )


def asset(name: str) -> str:
    """Return a file of the page."""
    return resources.files("lowrank.views").joinpath("page", name).read_text("utf-8")


def _hash(text: str) -> str:
    """Return the source expression of a Content Security Policy that allows this text."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def escaped(value: str) -> str:
    """Return text for markup: one line, printable (no reversed writing), escaped."""
    return html.escape(printable(value))


def as_script(value: Any) -> str:
    """Return JSON that cannot end the script element that it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def name_of(result: Result) -> str:
    """Return what the page calls its source."""
    source = result.reports[0].source
    path = source.path if source else ""
    return "standard input" if path == "-" else path.replace("\\", "/").rsplit("/", 1)[-1]


def _facts(result: Result) -> str:
    s = result.reports[0].source
    if s is None:
        return ""
    return f"{s.width} × {s.height} {s.mode}, {s.format}, {s.bytes:,} bytes"


# -- what the scripts read ------------------------------------------------------------


def _data(result: Result, exhibit: Exhibit, file: bytes) -> dict[str, Any]:
    picture = exhibit.picture
    floats = picture.mode.name == "F"
    name = name_of(result)
    return {
        "name": name,
        "lrk_name": f"{name.rsplit('.', 1)[0]}-page.lrk",
        "m": exhibit.size[0],
        "n": exhibit.size[1],
        "channels": picture.mode.channels,
        "start": exhibit.start,
        "most": exhibit.most,
        "peak": picture.peak,
        "whole_peak": result.peak,
        "black": exhibit.black,
        "white": exhibit.white,
        "step": (exhibit.white - exhibit.black) / _LEVELS_OF_FLOATS if floats else None,
        "spectra": [_short(s) for s in exhibit.spectra],
        "rival": _short(exhibit.rival),
        "copy": _copy(exhibit) if exhibit.copied else None,
        "copied": [_short(s) for s in exhibit.copied],
        "measured": [_numbers(r) for r in exhibit.measured],
        "lrk": base64.b64encode(file).decode(),
        "png": _png(picture, exhibit),
        "file": _png(exhibit.decoded, exhibit) if exhibit.decoded else None,
        "file_caption": _file_caption(exhibit),
        "of_file": _numbers(exhibit.of_file) if exhibit.of_file else None,
    }


def _numbers(r: Report) -> dict[str, Any]:
    """Return what was measured over all matrices: the largest error, and the sums of squares."""
    return {
        "k": max(c.k for c in r.matrices),
        "norm": _norm([c.norm for c in r.matrices]),
        "spectral": max(c.spectral_error or 0 for c in r.matrices),
        "spectral_bound": max(c.spectral_bound for c in r.matrices),
        "frobenius": _norm([c.frobenius_error or 0 for c in r.matrices]),
        "frobenius_bound": _norm([c.frobenius_bound for c in r.matrices]),
        "psnr": r.pixels.psnr_db if r.pixels else None,
        "bytes": r.storage.bytes,
        "raw_bytes": r.storage.raw_bytes,
    }


def _norm(values: list[float]) -> float:
    return math.hypot(*values)


def _copy(exhibit: Exhibit) -> str:
    return f"the copy of {exhibit.picture.width} × {exhibit.picture.height}"


def _shown(exhibit: Exhibit) -> str:
    """Return what the page measures: the picture, or what stands for it."""
    if not exhibit.copied:
        return "this page measures it."
    height, width = exhibit.size
    return (
        f"the numbers of the picture itself, {width} × {height}, stand first. "
        f"What you see, and what this page measures, is {_copy(exhibit)}."
    )


def _file_name(r: Report | None) -> str:
    return r.file.path.replace("\\", "/").rsplit("/", 1)[-1] if r and r.file and r.file.path else ""


def _file_said(exhibit: Exhibit) -> str:
    r = exhibit.of_file
    if r is None or r.file is None:
        return ""
    first, ranks = r.matrices[0], "/".join(str(c.k) for c in r.matrices)
    many = f"{len(r.matrices)} matrices" if len(r.matrices) > 1 else "one matrix"
    copy = (
        f" It is seen reduced to {_copy(exhibit)[len('the copy of ') :]}." if exhibit.copied else ""
    )
    return (
        f"{r.file.layout}, {r.file.store}, {r.file.bytes:,} bytes: {many} of {first.m} × {first.n} "
        f"at rank {ranks}, measured on the original beside the bounds of those ranks.{copy} "
        "The slider shows the best picture of any rank instead."
    )


def _file_caption(exhibit: Exhibit) -> str:
    r = exhibit.of_file
    if r is None or r.file is None:
        return ""
    reduced = f", reduced as {_copy(exhibit)}" if exhibit.copied else ""
    return f"What {r.file.path} decodes to ({r.file.layout}, {r.file.store}){reduced}"


def _short(values: NDArray[np.float64]) -> list[float]:
    """Return numbers with the digits that a plot and five-digit words need."""
    return [float(f"{x:.8g}") for x in values]


def _png(picture: Picture, exhibit: Exhibit) -> str:
    """Return the samples as a PNG, in base64: exact, but for floats, which get 16 bits."""
    samples, mode = picture.samples, picture.mode
    if mode.name == "F":
        span = exhibit.white - exhibit.black
        share = (samples.astype(np.float64) - exhibit.black) / span
        levels = np.rint(np.clip(share, 0, 1) * _LEVELS_OF_FLOATS)
        samples, mode = levels.astype(np.uint16), MODES["I;16"]
    elif mode.name == "CMYK":
        mode = MODES["RGBA"]  # four samples of eight bits, whatever they mean
    plain = replace(picture, samples=samples, mode=mode, metadata=Metadata())
    return base64.b64encode(pillow.write(plain, format="PNG", png_level=9)).decode()


# -- the tables -----------------------------------------------------------------------


def _report(result: Result, exhibit: Exhibit) -> str:
    sections = [_measured(report) for report in exhibit.reports]
    if result.spectra or len(result.reports) > 1:
        sections.insert(0, _ladder(result, exhibit))
    return "\n".join(sections)


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
    what = f"{r.file.path}, rank" if r.file else "Rank"
    rows = [[*words.errors(c), "yes" if c.certified else "–"] for c in r.matrices]
    first = r.matrices[0]
    errors = _table(
        escaped(f"{what} {'/'.join(ranks)}: A is {first.m} × {first.n}; errors in levels"),
        ["channel", "k", _SPECTRAL, f"≥ {_NEXT}", "ratio", _FROBENIUS, "≥ bound", "ratio",
         "energy", "proved"],
        rows,
    )  # fmt: skip
    return errors + f"<p>{escaped(words.verdict(r.matrices))}</p>" + _storage(r)


_SPECTRAL = '<span class="math">‖A−B‖<sub>2</sub></span>'
_FROBENIUS = '<span class="math">‖A−B‖<sub>F</sub></span>'
_NEXT = '<span class="math">σ<sub>k+1</sub></span>'


def _storage(r: Report) -> str:
    s = r.storage
    rows = [
        ["numbers: k(m+n+1) against mn", f"{s.floats:,}", f"{s.original_floats:,}",
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
            f"{r.pixels.rmse:.3f}, largest error {r.pixels.max_abs_error:g}."
        )
    if s.source_ratio is not None and s.source_ratio < 1:
        said += f" The file is {1 / s.source_ratio:.2f} times as large as its source."
    return f"{table}<p>{said}</p>"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _ladder(result: Result, exhibit: Exhibit) -> str:
    measured = not result.spectra
    rows = []
    for r in result.reports:
        k = max(c.k for c in r.matrices)
        norm = _norm([c.norm for c in r.matrices])
        bound = _norm([c.frobenius_bound for c in r.matrices])
        error = _norm([c.frobenius_error or 0 for c in r.matrices]) if measured else bound
        button = f'<button type="button" data-k="{k}" aria-label="Rank {k}">{k}</button>'
        source = r.storage.source_ratio
        rows.append(
            [
                button if k <= exhibit.most else str(k),
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
    return f"{table}<p>The Gavish-Donoho threshold keeps {auto} (<code>-k auto</code>).</p>"


def _notes(result: Result, exhibit: Exhibit, file_bytes: int) -> str:
    p = exhibit.parts
    width, height = p.head.width, p.head.height
    terms = max(p.ranks)
    each = " of each channel" if len(p.ranks) > 1 else ""
    N = min(height, width)
    rest = "all there are" if terms == N else f"of {N}, the others would make the page too large"
    notes = [
        *exhibit.notes,
        f"{'The copy' if exhibit.copied else 'The original'} is embedded as samples without loss "
        f"(PNG, {width} × {height}); the sums come from an embedded .lrk file of "
        f"{file_bytes:,} bytes with {terms} terms{each} "
        f"({rest}), as {p.head.store} numbers.",
        *result.notes,
        f"Made by lowrank {__version__}.",
    ]
    if exhibit.picture.mode.name == "F":
        notes = [n.replace("as samples without loss", "in 16 bits") for n in notes]
    return f"<ul>{''.join(f'<li>{escaped(n)}</li>' for n in notes)}</ul>"
