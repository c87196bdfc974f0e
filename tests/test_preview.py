"""Small pictures in a terminal: what they show, and where they do not show."""

from __future__ import annotations

import base64
import io
import re
import sys

import numpy as np
import pytest
from conftest import on_a_terminal, picture
from rich.console import Console

from lowrank.io import pillow
from lowrank.picture import MODES, Metadata, Picture, thumbnail
from lowrank.report import ask
from lowrank.views import preview, sixel

BLOCK = "▀"


def cells(text):
    """Colours of a text of half blocks, (rows, columns, 2, 3); what has no colour is -1."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=200)
    rows = []
    for line in console.render_lines(text, pad=False):
        rows.append(
            [
                [[-1] * 3 if c is None else list(c.triplet) for c in (style.color, style.bgcolor)]
                for block, style, _ in line
                for _ in block
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize("height", [1, 6, 7])
def test_a_cell_is_two_pixels(height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, 9, 3)).astype(np.uint8)
    found = cells(preview.half_blocks(pixels))
    assert np.array_equal(found[:, :, 0], pixels[::2])
    assert np.array_equal(found[: height // 2, :, 1], pixels[1::2])
    assert np.all(found[height // 2 :, :, 1] == -1)  # the terminal's own background


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_its_colours(mode):
    original = picture(mode, 30, 60)
    low, high = thumbnail.shades(original)
    found = preview.small(original, 30, low, high).astype(float)
    assert found.shape == (15, 30, 3)
    means = original.samples.reshape(15, 2, 30, 2, -1).mean(axis=(1, 3))
    if (original.mode.peak or 1) > 1:  # averages are of the samples, in whole levels
        means = np.rint(means)
    level = (means - low) * (255 / (high - low))
    if mode == "CMYK":
        level = (255 - level[:, :, :3]) * (255 - level[:, :, 3:]) / 255
    if "alpha" in original.mode.channels:
        opacity = level[:, :, -1:] / 255
        assert np.all(found >= np.floor(level[:, :, :-1] * opacity + 102 * (1 - opacity)) - 2)
        assert np.all(found <= np.ceil(level[:, :, :-1] * opacity + 153 * (1 - opacity)) + 2)
    else:
        assert np.abs(found - level).max() <= 0.51


@pytest.mark.parametrize(
    ("shape", "small"), [((300, 100), (40, 13)), ((4, 9), (4, 9)), ((1, 999), (1, 40))]
)
def test_a_picture_fits_and_keeps_its_shape(shape, small):
    assert preview.small(picture("L", *shape), 40, 0, 255).shape[:2] == small


def test_a_picture_stands_upright():
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    flat = picture("RGB", 10, 20)
    turned = Picture(flat.samples, flat.mode, Metadata(exif=exif))
    assert np.array_equal(
        preview.small(turned, 40, 0, 255), np.rot90(preview.small(flat, 40, 0, 255), -1)
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_row_fits_80_columns(count):
    captions = ["rank 123/124/125, 27.54 dB"] * count
    stream = io.StringIO()
    Console(file=stream, width=80).print(
        preview.row(captions, [picture("L", 100, 200)] * count, width=80)
    )
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].count(BLOCK) >= min(40 * count, 79 - 3 * count)


def test_a_terminal_with_colours_shows_original_and_results(small_png, tmp_path, cli):
    cli("compress", small_png, "-k", 3).succeeded()
    for arguments, captions in (
        (["in.png", "in.lrk"], ["original", "rank 3"]),
        (["in.png", "-k", "1,2,5,9"], ["original", "rank 1", "rank 5", "rank 9"]),
        (["in.lrk", "--preview"], ["rank 3"]),
    ):
        lines = on_a_terminal(["report", *arguments], tmp_path).splitlines()
        below = 1 + max(i for i, line in enumerate(lines) if BLOCK in line)
        assert re.findall(r"original|rank \d+", lines[below]) == captions


class Terminal(io.StringIO):
    """Standard output that says it is a terminal of some encoding."""

    def __init__(self, encoding="utf-8"):
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "encoding", "unasked", "asked"),
    [
        ({"TERM": "xterm-256color"}, "utf-8", True, True),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "utf-8", True, True),
        ({"TERM": "xterm-16color"}, "utf-8", False, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "utf-8", False, False),
        ({"TERM": "dumb"}, "utf-8", False, False),
        ({"TERM": "xterm-256color"}, "latin-1", False, False),
    ],
)
def test_only_a_terminal_that_can_shows_pictures(
    small_png, monkeypatch, environment, encoding, unasked, asked
):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    both = ask.report(str(small_png), None, ranks=[3], store=None, max_pixels=10**6)
    ladder = ask.report(str(small_png), None, ranks=[], store=None, max_pixels=10**6)
    monkeypatch.setattr(sys, "stdout", Terminal(encoding))
    assert bool(preview.of(both, wish=None)) == unasked
    assert bool(preview.of(both, wish=True)) == asked
    assert not preview.of(both, wish=False)
    assert not preview.of(ladder, wish=None)  # there is no result to show


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_no_picture_among_json_or_silence(small_png, tmp_path, option):
    drawn = on_a_terminal(["report", "in.png", "-k", "3", "--preview", option], tmp_path)
    assert BLOCK not in drawn
    assert ("--preview draws above tables" in drawn) == (option != "--quiet")


def test_a_pipe_gets_no_picture_whatever_is_asked(small_png, cli):
    run = ("report", "in.png", "-k", "3", "--preview")
    coloured = cli(*run, environment={"FORCE_COLOR": "1", "COLORTERM": "truecolor"})
    assert BLOCK not in coloured.succeeded().text
    assert "\x1b" in coloured.text
    assert "note: --preview draws above tables, on a terminal" in coloured.err


def test_half_blocks_are_as_wide_as_the_terminal_and_no_higher():
    for width, rows in ((80, 20), (200, 60), (40, 20)):
        stream = io.StringIO()
        pictures = [picture("L", 400, 900)] * 2
        table = preview.row(["a", "b"], pictures, width=width, rows=rows)
        Console(file=stream, width=width, force_terminal=False).print(table)
        lines = stream.getvalue().splitlines()
        assert max(map(len, lines)) in (width, width - 1)
        assert len(lines) <= rows + 1


def test_kitty_is_sent_the_pixels_themselves():
    """The pieces of the protocol, put together again, are a PNG of the pictures side by side."""
    one, other = picture("RGB", 40, 60), picture("RGB", 40, 60, seed=1)
    other = Picture(255 - other.samples, other.mode)
    stream = io.StringIO()
    shown = preview.in_pixels(["original", "rank 3"], [one, other], width=80, rows=24)
    Console(file=stream, force_terminal=True, width=80).print(*shown, crop=False)
    text = stream.getvalue()
    pieces = re.findall(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", text)
    keys = [dict(x.split("=") for x in head.split(",")) for head, _ in pieces]
    assert keys[0]["f"] == "100"
    assert keys[0]["a"] == "T"
    assert [k["m"] for k in keys] == ["1"] * (len(keys) - 1) + ["0"]
    assert all(len(body) <= 4096 for _, body in pieces)
    data = base64.b64decode("".join(body for _, body in pieces))
    samples = pillow.read(data, name="x").picture.samples
    assert samples.shape == (40, 60 + 20 + 60, 4)
    # Shades are those of the original: its whole range is shown.
    low, high = thumbnail.shades(one)
    for at, source in ((0, one), (80, other)):
        level = np.clip((source.samples.astype(float) - low) * 255 / (high - low), 0, 255)
        assert np.abs(samples[:, at : at + 60, :3] - level).max() <= 1
    assert not samples[:, 60:80, 3].any()
    assert "original" in text.split("\x1b\\")[-1]


@pytest.mark.parametrize(
    ("environment", "known"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM_PROGRAM": "WezTerm"}, "kitty"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "mintty"}, "sixel"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, ""),
        ({"TERM": "foot", "STY": "1"}, ""),
        ({"TERM": "xterm-256color"}, ""),
        ({}, ""),
    ],
)
def test_only_a_terminal_that_says_so_is_sent_pixels(environment, known):
    assert preview.protocol(environment) == known


def drawn(command, height, width):
    """What a terminal draws of a command of sixels: colours in hundredths; -1 where nothing."""
    size, body = re.fullmatch(r'\x1bP0;1q"1;1;(\d+;\d+)([^\x1b]*)\x1b\\', command).groups()
    assert size == f"{width};{height}"
    canvas, palette = np.full((height + 6, width, 3), -1), {}
    x = y = colour = 0
    for kind, text in re.findall(r"(#|!|\$|-|[?-~])((?:(?<=#)[\d;]+|(?<=!)\d+[?-~])?)", body):
        if kind == "#":
            number, *rest = map(int, text.split(";"))
            colour = number
            if rest:
                palette[number] = rest[1:]
        elif kind == "$":
            x = 0
        elif kind == "-":
            x, y = 0, y + 6
        else:
            n, code = (int(text[:-1]), text[-1]) if kind == "!" else (1, kind)
            for bit in range(6):
                if ord(code) - 63 >> bit & 1:
                    canvas[y + bit, x : x + n] = palette[colour]
            x += n
    assert (canvas[height:] == -1).all()
    return canvas[:height]


def test_sixels_are_the_pixels_in_the_colours_of_their_palette():
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (17, 23, 4), np.uint8)
    pixels[..., 3] = rng.integers(0, 2, (17, 23)) * 255
    canvas = drawn(sixel.encode(pixels), 17, 23)
    assert ((canvas == -1).all(axis=2) == (pixels[..., 3] == 0)).all()
    seen = pixels[..., 3] > 0
    steps = np.array([100 / 5, 100 / 6, 100 / 5]) + 1  # and rounding to a hundredth
    assert (np.abs(canvas - pixels[..., :3] / 2.55)[seen] <= steps).all()
    # Dithered, an even grey is that grey on the whole.
    for grey in (0, 37, 128, 255):
        even = np.full((32, 32, 4), [grey, grey, grey, 255], np.uint8)
        assert drawn(sixel.encode(even), 32, 32).mean() == pytest.approx(grey / 2.55, abs=0.6)


def test_a_terminal_of_sixels_is_sent_them():
    stream = io.StringIO()
    shown = preview.in_pixels(["original"], [picture("RGB", 40, 60)], width=80, rows=24, by="sixel")
    Console(file=stream, force_terminal=True, width=80).print(*shown, crop=False)
    command, rest = stream.getvalue().split("\x1b\\")
    assert drawn(command + "\x1b\\", 40, 60).min() >= 0
    assert "original" in rest
