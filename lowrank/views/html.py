"""A report as one HTML page with a rank slider: no network, no server, nothing to install.

The page is a template of the standard library (`string.Template`), filled once: a template
engine would be a sixth dependency for some twenty substitutions. Its markup, style and
scripts are files of their own in `page/`, put into one file so that it can be mailed,
opened from a disk and kept.
"""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank import __version__
from lowrank import format as lrk
from lowrank.io import pillow
from lowrank.picture import MODES, Metadata, Picture
from lowrank.report import Report
from lowrank.report.ask import Result
from lowrank.report.exhibit import Exhibit
from lowrank.views import html_tables
from lowrank.views.markup import as_script, asset, escaped, last, name_of, policy

_SCRIPTS = (
    "lrk.js", "png.js", "sums.js", "paint.js", "chart.js", "words.js", "bounds.js", "stage.js",
    "view.js", "state.js", "plots.js", "calculator.js", "readout.js", "app.js",
)  # fmt: skip


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
        report=html_tables.tables(result, exhibit.reports, exhibit.most),
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


def _facts(result: Result) -> str:
    s = result.reports[0].source
    if s is None:
        return ""
    return f"{s.width} × {s.height} {s.title}, {s.format}, {s.bytes:,} bytes"


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
        "peak": result.peak,
        "copy_peak": picture.mode.peak or result.peak,
        "black": exhibit.black,
        "white": exhibit.white,
        "floats": floats,
        "spectra": [_short(s) for s in exhibit.spectra],
        "rival": _short(exhibit.rival),
        "copy": _copy(exhibit) if exhibit.copied else None,
        "copied": [_short(s) for s in exhibit.copied],
        "measured": [_numbers(r) for r in exhibit.measured],
        "lrk": base64.b64encode(file).decode(),
        "png": _png(picture),
        "file": _png(exhibit.decoded) if exhibit.decoded else None,
        "file_caption": _file_caption(exhibit),
        "of_file": _numbers(exhibit.of_file) if exhibit.of_file else None,
    }


def _numbers(r: Report) -> dict[str, Any]:
    """Return what was measured over all matrices: the largest error, and the sums of squares."""
    return {
        "k": max(c.k for c in r.matrices),
        "norm": math.hypot(*[c.norm for c in r.matrices]),
        "spectral": max(c.spectral_error or 0 for c in r.matrices),
        "spectral_bound": max(c.spectral_bound for c in r.matrices),
        "frobenius": math.hypot(*[c.frobenius_error or 0 for c in r.matrices]),
        "frobenius_bound": math.hypot(*[c.frobenius_bound for c in r.matrices]),
        "psnr": r.pixels.psnr_db if r.pixels else None,
        "bytes": r.storage.bytes,
        "raw_bytes": r.storage.raw_bytes,
    }


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
    return last(r.file.path) if r and r.file and r.file.path else ""


def _file_said(exhibit: Exhibit) -> str:
    r = exhibit.of_file
    if r is None or r.file is None:
        return ""
    first, ranks = r.matrices[0], "/".join(str(c.k) for c in r.matrices)
    many = f"{len(r.matrices)} matrices" if len(r.matrices) > 1 else "one matrix"
    copy = f" It is seen as {_copy(exhibit)}." if exhibit.copied else ""
    return (
        f"{r.file.layout}, {r.file.store}, {r.file.bytes:,} bytes: {many} of {first.m} × {first.n} "
        f"at rank {ranks}, measured on the original beside the bounds of those ranks.{copy} "
        "The slider shows the best picture of any rank instead."
    )


def _file_caption(exhibit: Exhibit) -> str:
    r = exhibit.of_file
    if r is None or r.file is None:
        return ""
    reduced = f", seen as {_copy(exhibit)}" if exhibit.copied else ""
    return f"What {_file_name(r)} decodes to ({r.file.layout}, {r.file.store}){reduced}"


def _short(values: NDArray[np.float64]) -> list[float]:
    """Return numbers with the digits that a plot and five-digit words need."""
    return [float(f"{x:.8g}") for x in values]


def _png(picture: Picture) -> str:
    """Return the samples as a PNG, in base64; of floats the four bytes of each, low ones first."""
    samples, mode = picture.samples, picture.mode
    if mode.name == "F":
        samples, mode = samples.astype("<f4").view(np.uint8), MODES["RGBA"]
    elif mode.name == "CMYK":
        mode = MODES["RGBA"]  # four samples of eight bits, whatever they mean
    plain = replace(picture, samples=samples, mode=mode, metadata=Metadata())
    return base64.b64encode(pillow.write(plain, format="PNG", png_level=9)).decode()


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
    return f"<ul>{''.join(f'<li>{escaped(n)}</li>' for n in notes)}</ul>"
