"""Pictures in a terminal: as wide as it is, in pixels or in half blocks.

Terminals that say by their environment that they know kitty's graphics protocol are sent a PNG,
those that are known to draw sixels these; the others half blocks, two pixels to a character. None
is asked: that would be to wait for an answer.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import ControlType, Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from lowrank import codec, targets
from lowrank.io import pillow
from lowrank.picture import ARRAY, MODES, Picture, thumbnail
from lowrank.report import Report
from lowrank.report.ask import Result
from lowrank.views import sixel

_ROWS = 20  # of half blocks, at least; as many as the terminal has, but for what stands below
_BELOW = 4
_CELL = 10  # pixels across a character, about
_GAP = 2
_RESULTS = 3  # beside the original: more would be too small in 80 columns
_CAPTION = 18  # columns that a caption takes on one line
_PIECE = 4096
_CHECKERBOARD = (102, 153)  # greys below what is transparent


def of(result: Result, *, wish: bool | None) -> list[RenderableType]:
    """Return original and results side by side, or nothing.

    Parameters
    ----------
    result : Result
        What `ask.report` found.
    wish : bool or None
        None shows them where there is an original and a result, and standard output is a
        terminal of 256 colours or more; True wherever there is a picture and a terminal
        with colours.
    """
    console = Console()
    both = result.loaded is not None and bool(result.stored)
    if not (both if wish is None else wish) or not _can_show(console, few_colours=bool(wish)):
        return []
    captions, pictures = [], []
    if result.loaded:
        captions.append("original")
        pictures.append(_one(result.loaded.picture))
    for i in _chosen(len(result.stored)):
        decoded = codec.decode(result.stored[i], filled=True).picture
        captions.append(_caption(result.reports[i]))
        pictures.append(_one(decoded))
    rows = max(_ROWS, console.height - _BELOW)
    known = protocol(os.environ)
    if known:
        shown = in_pixels(captions, pictures, width=console.width, rows=rows, by=known)
        return [*shown, Text("")]
    return [row(captions, pictures, width=console.width, rows=rows), Text("")]


def protocol(environment: Mapping[str, str]) -> Literal["", "kitty", "sixel"]:
    """What the terminal says that it draws pixels by, if nothing is between; "" for nothing."""
    if environment.get("TMUX") or environment.get("STY"):
        return ""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM")
    if (
        "KITTY_WINDOW_ID" in environment
        or term in ("xterm-kitty", "xterm-ghostty")
        or program in ("ghostty", "WezTerm")
    ):
        return "kitty"
    # Those that draw sixels as they are installed: what can be switched off is not sent any.
    sixels = term.startswith(("foot", "mlterm", "contour", "yaft")) or term.endswith("-sixel")
    return "sixel" if sixels or program in ("iTerm.app", "mintty") else ""


def _one(picture: Picture) -> Picture:
    """The picture, or the middle frame of a stack."""
    if picture.frames is None:
        return picture
    return Picture(picture.samples[picture.frames // 2], picture.mode)


def _can_show(console: Console, *, few_colours: bool) -> bool:
    # rich can be told to colour a pipe, and words survive that; pictures do not.
    if sys.stdout is None or not sys.stdout.isatty():  # it is None where it was closed
        return False
    if not (console.is_terminal and console.encoding.startswith("utf")):
        return False
    if console.no_color:
        return False
    return console.color_system in ("256", "truecolor", *(["standard"] if few_colours else []))


def _chosen(count: int) -> list[int]:
    """First, middle and last of many."""
    if count <= _RESULTS:
        return list(range(count))
    return [0, count // 2, count - 1]


def _caption(r: Report) -> str:
    what = targets.several(dict.fromkeys(c.k for c in r.matrices))
    psnr = "" if r.pixels is None or r.pixels.psnr_db is None else f", {r.pixels.psnr_db:.2f} dB"
    return f"rank {what}{psnr}"


def row(
    captions: list[str], pictures: list[Picture], *, width: int, rows: int = _ROWS
) -> RenderableType:
    """Return captioned pictures in one row that fits so many columns, and rows."""
    columns = (width - _GAP * (len(pictures) - 1)) // len(pictures)
    table = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    low, high = thumbnail.shades(pictures[0])
    for caption in captions:
        table.add_column(caption, width=columns)
    table.add_row(*(half_blocks(small(x, columns, low, high, rows)) for x in pictures))
    table.add_row(*(Text(x, style="dim", overflow="fold") for x in captions))
    return table


class _Commands:
    """What a terminal draws where the cursor is, and a line's end."""

    def __init__(self, commands: Iterable[str]) -> None:
        self._commands = commands

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Control, so that it is neither measured nor broken into lines.
        for command in self._commands:
            yield Segment(command, None, [(ControlType.CURSOR_MOVE_TO_COLUMN, 0)])
        yield Segment.line()


def _kitty(png: bytes, columns: int) -> list[str]:
    """A PNG by kitty's protocol: commands of at most 4096 characters of base64.

    https://sw.kovidgoyal.net/kitty/graphics-protocol/
    """
    text, commands = base64.b64encode(png).decode(), []
    for at in range(0, len(text), _PIECE):
        first = f"f=100,a=T,c={columns}," if at == 0 else ""
        more = int(at + _PIECE < len(text))
        commands.append(f"\x1b_G{first}m={more};{text[at : at + _PIECE]}\x1b\\")
    return commands


def in_pixels(
    captions: list[str],
    pictures: list[Picture],
    *,
    width: int,
    rows: int,
    by: Literal["kitty", "sixel"] = "kitty",
) -> list[RenderableType]:
    """Return captioned pictures side by side as pixels, and the captions below."""
    columns = (width - _GAP * (len(pictures) - 1)) // len(pictures)
    low, high = thumbnail.shades(pictures[0])
    # A row of characters is about as high as two columns are wide.
    parts = [small(x, columns * _CELL, low, high, rows * _CELL) for x in pictures]
    wide = max(x.shape[1] for x in parts)
    whole = np.zeros((max(x.shape[0] for x in parts), 0, 4), np.uint8)
    for i, part in enumerate(parts):
        cell = np.zeros((whole.shape[0], wide + _GAP * _CELL * (i + 1 < len(parts)), 4), np.uint8)
        cell[: part.shape[0], : part.shape[1], :3] = part
        cell[: part.shape[0], : part.shape[1], 3] = 255
        whole = np.concatenate([whole, cell], axis=1)
    across = -(-wide // _CELL)
    table = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    for _ in captions:
        table.add_column(width=min(max(across, _CAPTION), columns))
    table.add_row(*(Text(x, style="dim", overflow="fold") for x in captions))
    if by == "sixel":
        return [_Commands([sixel.encode(whole)]), table]
    png = pillow.write(Picture(whole, MODES["RGBA"]), format="PNG", png_level=6)
    return [_Commands(_kitty(png, -(-whole.shape[1] // _CELL))), table]


def small(
    picture: Picture, columns: int, low: float, high: float, rows: int = _ROWS
) -> NDArray[np.uint8]:
    """Return a picture as colours for so many columns, (height, width, 3), upright.

    Parameters
    ----------
    picture : Picture
    columns : int
    low, high : float
        Samples to show as black and as white.
    rows : int
        Of characters, at most: two pixels each.
    """
    upright = thumbnail.upright(picture)
    scale = min(columns / upright.width, 2 * rows / upright.height)
    copy = thumbnail.reduced(upright, round(scale * max(upright.height, upright.width)))
    samples = copy.samples.astype(np.float64)
    level = np.clip((samples - low) * (255 / (high - low)), 0, 255)
    if copy.mode.name != picture.mode.name:  # black and white became greys
        level = samples
    if copy.mode.name == "CMYK":
        level = (255 - level[:, :, :3]) * (255 - level[:, :, 3:]) / 255
    elif "alpha" in copy.mode.channels:
        y, x = np.indices(level.shape[:2])
        board = np.take(_CHECKERBOARD, (x // 2 + y // 2) % 2)[:, :, None]
        opacity = level[:, :, -1:] / 255
        level = level[:, :, :-1] * opacity + board * (1 - opacity)
    elif copy.mode.name == ARRAY:  # the first three channels, or the first
        level = level[:, :, : 3 if level.shape[2] >= 3 else 1]
    if level.shape[2] == 1:
        level = np.repeat(level, 3, axis=2)
    return np.rint(level).astype(np.uint8)


def half_blocks(colours: NDArray[np.uint8]) -> Text:
    """Return pixels, (height, width, 3), as text: the upper half of a cell and the lower."""
    text = Text(no_wrap=True)
    for top in range(0, len(colours), 2):
        for x in range(colours.shape[1]):
            upper = Color.from_rgb(*map(float, colours[top, x]))
            if top + 1 < len(colours):
                lower = Color.from_rgb(*map(float, colours[top + 1, x]))
                text.append("▀", Style(color=upper, bgcolor=lower))
            else:
                text.append("▀", Style(color=upper))
        text.append("\n")
    text.right_crop(1)
    return text
