"""A report of a stack as one HTML page: rank and frame sliders, traces, eigenimages, errors.

Made as the page of a picture is (see `html`): one file, no network, a policy of its own, what
comes from outside escaped.
"""

from __future__ import annotations

import base64
import math
import zlib
from string import Template
from typing import Any

import numpy as np

from lowrank import __version__
from lowrank import format as lrk
from lowrank.errors import number_of
from lowrank.report.ask import Result
from lowrank.report.gallery import Gallery
from lowrank.views import stacks
from lowrank.views.html_tables import tables
from lowrank.views.markup import as_script, asset, escaped, name_of, policy

_SCRIPTS = ("lrk.js", "words.js", "frames.js", "stack.js", "stack_start.js")
_COPIED = (
    "What you see, and what this page measures, is {}. "
    "The report at the end is about the stack itself."
)


def page(result: Result, gallery: Gallery) -> str:
    """Return the page.

    Parameters
    ----------
    result : Result
        What `ask.report` found.
    gallery : Gallery
        What `gallery.of` made of it.
    """
    css = asset("page.css") + asset("stack.css")
    scripts = [asset(name) for name in _SCRIPTS]
    return Template(asset("stack.html")).substitute(
        policy=policy(css, scripts),
        version=__version__,
        css=css,
        name=escaped(name_of(result)),
        facts=escaped(_facts(result)),
        start=gallery.start,
        most=gallery.parts.ranks[0],
        last=len(gallery.numbers) - 1,
        copied=f" {_COPIED.format(gallery.told)}" if gallery.told else "",
        report=_report(result),
        notes="".join(f"<li>{escaped(note)}</li>" for note in (*result.notes, *gallery.notes)),
        data=as_script(_data(result, gallery)),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _facts(result: Result) -> str:
    report = result.reports[0]
    if report.source is None or report.stack is None:
        return ""
    s = report.source
    return (
        f"{number_of(report.stack.frames, 'frame')} of {s.width} × {s.height} {s.mode}, "
        f"{s.format}, {s.bytes:,} bytes"
    )


def _report(result: Result) -> str:
    """The tables of each report, and what else is said of the stack."""
    measured = () if result.spectra else result.reports
    said = [
        line
        for r in measured[:1]
        if r.stack is not None
        for line in stacks.sentences(r.stack, r.storage.bytes)
    ]
    return tables(result, measured) + "".join(f"<p>{escaped(line)}</p>" for line in said)


def _data(result: Result, gallery: Gallery) -> dict[str, Any]:
    """What the scripts read: the file, the frames as levels of 16 bits, and their scale."""
    samples = gallery.picture.samples
    low, high = float(samples.min()), float(samples.max())
    if gallery.picture.mode.dtype == "uint8":
        low, high, scale = 0.0, 255.0, 1.0
    elif gallery.picture.mode.limits and high - low <= 65535:
        scale = 1.0
    else:
        scale = (high - low) / 65535 or 1.0
    black, white = low, high
    if gallery.picture.mode.dtype != "uint8":  # a few bright samples are no reason for the dark
        black, white = map(float, np.percentile(samples.astype(np.float64), (0.5, 99.5)))
    levels = np.rint((samples.astype(np.float64) - low) / scale).astype("<u2")
    planes = levels.reshape(-1).view(np.uint8).reshape(-1, 2).T  # low bytes, then high ones
    return {
        "lrk": base64.b64encode(lrk.serialize(gallery.parts)).decode(),
        "frames": base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode(),
        "shape": list(samples.shape),
        "size": gallery.size,
        "channels": gallery.picture.mode.channels,
        "low": low,
        "high": high,
        "scale": scale,
        "black": black,
        "white": white,
        "numbers": gallery.numbers,
        "names": gallery.names,
        "spectrum": [x if math.isfinite(x) else 0.0 for x in map(float, gallery.spectrum)],
        "start": gallery.start,
        "title": name_of(result),
    }
