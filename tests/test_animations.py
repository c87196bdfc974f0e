"""Animations as stacks and back: times, what is left out of them, and files that are cut."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lowrank.errors import ImageError
from lowrank.io import endings, framewriter, images, sources
from lowrank.picture import MODES, Metadata, Picture
from lowrank.picture.axis import Axis


def read(data):
    return sources.read(data, name="x", max_pixels=10**6)


def saved(frames, format, **options):
    stream = BytesIO()
    frames[0].save(stream, format, save_all=True, append_images=frames[1:], **options)
    return stream.getvalue()


def moving(count=3):
    """Frames of noise."""
    samples = np.random.default_rng(1).integers(0, 255, (count, 8, 9), np.uint8)
    return [Image.fromarray(frame) for frame in samples]


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.floats(0, 2000), min_size=1, max_size=8),
    still=st.lists(st.booleans(), min_size=9, max_size=9),
)
def test_a_gif_lasts_as_long_as_its_frames_do(steps, still):
    times = np.cumsum([0, *steps])
    A = np.zeros((len(times), 3, 4, 1), np.uint8)
    A[:, 0, 0, 0] = np.cumsum([*still[: len(times)]])
    axis = Axis(values=tuple(times.tolist()), unit="ms").pack()
    data, notes = framewriter.write(Picture(A, MODES["L"], Metadata(axis=axis)), format="GIF")
    found = []
    with Image.open(BytesIO(data)) as image:
        for i in range(image.n_frames):
            image.seek(i)
            found.append(image.info["duration"])
    wanted = [*steps, steps[-1]]
    assert abs(sum(found) - sum(max(x, 10) for x in wanted)) <= 10.1 * (
        1 + sum(x < 15 for x in wanted)
    )
    said = [float(x.split(" up to ")[1].split()[0]) for x in notes if "hundredths" in x]
    assert bool(said) == any(abs(x / 10 - max(round(x / 10), 1)) > 1e-3 for x in wanted)
    assert all(x <= 15 for x in said)


@pytest.mark.parametrize("times", [[0, 7e5, 8e5, 8e5 + 30], [0, 1e15, 1.1e15, 1.2e15]])
def test_a_gif_of_frames_that_stand_too_long_is_written_and_says_so(times):
    A = np.arange(4 * 12, dtype=np.uint8).reshape(4, 3, 4, 1)
    axis = Axis(values=tuple(times), unit="ms").pack()
    data, notes = framewriter.write(Picture(A, MODES["L"], Metadata(axis=axis)), format="GIF")
    assert any("1 to 65,535" in x for x in notes)
    with Image.open(BytesIO(data)) as image:
        assert (image.n_frames, image.info["duration"]) == (4, 655_350)


@pytest.mark.parametrize("plays", [1, 0, 7])
@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_how_often_an_animation_plays_is_said_to_be_left_out(format, plays):
    frames = moving()
    options = {"loop": plays}
    if format == "GIF":  # which says how often it is repeated, if it is
        options = {1: {}, 0: {"loop": 0}, 7: {"loop": 6}}[plays]
    notes = " ".join(read(saved(frames, format, duration=50, **options)).notes)
    often = {1: "plays once", 0: "", 7: "plays 7 times"}[plays]
    assert (often in notes) if often else ("plays" not in notes)


def test_an_image_before_an_animation_is_said_to_be_none_of_it():
    frames = moving()
    for apart in (True, False):
        notes = read(saved(frames, "PNG", duration=50, default_image=apart)).notes
        assert any("not part of the animation" in x for x in notes) == apart


def test_animations_of_deep_colours_are_not_told_to_install_what_does_not_help():
    (said,) = (x for x in read(deep_animation()).notes if "reduced to 8" in x)
    assert "pip" not in said


def deep_animation():
    """An animated PNG of two frames in colour of 16 bits."""
    planes = np.random.default_rng(1).integers(0, 65536, (2, 5, 6, 3)).astype(">u2")
    rows = [zlib.compress(b"".join(b"\0" + row.tobytes() for row in a)) for a in planes]

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    def control(number):
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 6, 5, 0, 0, 1, 10, 0, 0))

    return b"".join((
        b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(">IIBBBBB", 6, 5, 16, 2, 0, 0, 0)),
        chunk(b"acTL", struct.pack(">II", 2, 0)), control(0), chunk(b"IDAT", rows[0]),
        control(1), chunk(b"fdAT", struct.pack(">I", 2) + rows[1]), chunk(b"IEND", b""),
    ))  # fmt: skip


def test_a_gif_that_is_cut_between_its_images_says_so():
    frames = moving()
    data = saved(frames, "GIF", duration=50)
    whole, cut = read(data).picture.samples.shape[0], set()
    for end in range(20, len(data)):
        try:
            found = read(data[:end])
        except ImageError:
            continue
        assert any("without its end mark" in x for x in found.notes)
        cut.add(found.picture.frames or 1)
    assert cut == set(range(1, whole + 1))
    assert not any("without its end" in x for x in read(data + b"more").notes)


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("boxed", [False, True])
def test_a_jpeg_2000_that_is_cut_between_its_tiles_says_so(boxed, tile):
    samples = np.random.default_rng(1).integers(0, 255, (32, 32), np.uint8)
    stream, options = BytesIO(), {} if tile is None else {"tile_size": tile}
    Image.fromarray(samples).save(stream, "JPEG2000", no_jp2=not boxed, **options)
    data = stream.getvalue()
    assert not any("end mark" in x for x in images.read(data, name="x").notes)
    for end in range(40, len(data) - 1):
        try:
            found = images.read(data[:end], name="x")
        except ImageError:
            continue
        assert any("without its end mark" in x for x in found.notes)


@pytest.mark.parametrize("boxed", [False, True])
def test_a_jpeg_2000_with_its_end_mark_is_not_said_to_be_cut(boxed):
    """Markers without a length, a wrong length of a tile-part, and boxes behind the codestream."""
    stream = BytesIO()
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(stream, "JPEG2000", no_jp2=not boxed)
    data = stream.getvalue()
    at = data.index(b"\xff\x90")
    (length,) = struct.unpack_from(">I", data, at + 6)
    made = [data[:at] + b"\xff\x30" + data[at:], data + b"\0\0\0\x0cuuid\1\2\3\4"]
    made += [data[: at + 6] + struct.pack(">I", x) + data[at + 10 :] for x in (0, length + 1)]
    for whole in made:
        assert endings.said("JPEG2000", whole) == []
        end = whole.rindex(b"\xff\xd9")
        assert endings.said("JPEG2000", whole[:end]) != []
