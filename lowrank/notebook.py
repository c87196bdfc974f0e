"""A compressed picture as notebooks show it: a PNG, and a small table beside it.

Of what a PNG does not hold (floats, CMYK, many channels) the first three channels are drawn, or
the first one, between the smallest and the largest sample.
"""

from __future__ import annotations

import base64
from html import escape

import numpy as np

from lowrank import codec, targets
from lowrank import format as lrk
from lowrank.format.parts import Parts
from lowrank.io import pillow
from lowrank.io.modes import to_image
from lowrank.picture import MODES, Metadata, Picture
from lowrank.picture.thumbnail import reduced

_PLAIN = ("1", "L", "LA", "I;16", "RGB", "RGBA")
_SIDE = 480  # pixels of the picture beside the table, at most


def png(picture: Picture) -> bytes:
    """Return a picture as a PNG: as it is where that holds it, else drawn in 8 bits."""
    return pillow.write(_drawable(picture), format="PNG")


def html(parts: Parts, picture: Picture) -> str:
    """Return a table of what a file is, beside a picture of it, in HTML that needs no network."""
    head = parts.head
    image = base64.b64encode(png(reduced(_drawable(picture), _SIDE))).decode("ascii")
    rows = {
        "frames": str(head.frames or ""),
        "size": f"{head.width} × {head.height}, {head.mode.title}",
        "matrices": f"{head.matrices} of {head.shape[0]} × {head.shape[1]}",
        "rank": targets.several(dict.fromkeys(parts.ranks)),
        "stored as": f"{head.layout}, {head.store}",
        "bytes": f"{lrk.file_size(parts):,}",
        "error": f"{codec.relative_error(parts):.3%} of ‖A‖F, as the file states",
    }
    table = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in rows.items()
        if text
    )
    return (
        '<div style="display:flex;gap:1em;align-items:flex-start">'
        f'<img alt="the picture" src="data:image/png;base64,{image}">'
        f"<table>{table}</table></div>"
    )


def _drawable(picture: Picture) -> Picture:
    """The picture itself where a PNG holds it, else one drawn of it in 8 bits."""
    mode, samples = picture.mode, picture.samples
    if mode.name in _PLAIN:
        return picture
    if mode.name == "CMYK":
        return Picture(np.asarray(to_image(picture).convert("RGB")), MODES["RGB"])
    colours = 3 if samples.shape[2] >= 3 else 1
    drawn = samples[:, :, :colours].astype(np.float64)
    known = np.isfinite(drawn)  # of a stack, a frame may lack data
    low, high = (float(drawn[known].min()), float(drawn[known].max())) if known.any() else (0, 0)
    drawn = np.where(known, drawn - low, 0.0) * (255 / (high - low) if high > low else 0.0)
    grey_or_rgb = MODES["RGB" if colours == 3 else "L"]
    return Picture(np.rint(drawn).astype(np.uint8), grey_or_rgb, Metadata())
