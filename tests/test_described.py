"""What TIFFs say of themselves stays true: their axes, the way up, the resolution."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from image_files import tiff
from PIL import Image

import lowrank
from lowrank import codec
from lowrank.format import parse, serialize
from lowrank.io import described, images
from lowrank.io.metadata import NO_AXES, OF_AXES
from lowrank.picture import Metadata
from lowrank.picture.thumbnail import orientation

tifffile = pytest.importorskip("tifffile", reason="needs the extra tiff")

RNG = np.random.default_rng(3)
STACK = RNG.integers(0, 256, (5, 12, 16)).astype(np.uint8)
COLOURS = RNG.integers(0, 256, (5, 12, 16, 3)).astype(np.uint8)
SOURCES = {
    "tifffile": (STACK, {"photometric": "minisblack"}),
    "colours": (COLOURS, {"photometric": "rgb"}),
    "ImageJ": (STACK, {"imagej": True}),
    "ImageJ16": (STACK.astype(np.uint16) * 200, {"imagej": True}),
    "OME": (STACK, {"ome": True, "metadata": {"axes": "ZYX"}, "photometric": "minisblack"}),
}


def written(path):
    """Samples of a TIFF as tifffile gives them, and its description."""
    with tifffile.TiffFile(path) as file:
        return file.asarray(), file.pages[0].description


@pytest.mark.parametrize("name", SOURCES)
def test_frames_of_a_described_tiff_are_read_as_they_are_written(cli, tmp_path, name):
    samples, options = SOURCES[name]
    tifffile.imwrite(tmp_path / "in.tif", samples, **options)
    for number, taken in enumerate((None, "1:4", "::-1", "2")):
        more = () if taken is None else ("--frames", taken)
        cli("compress", "in.tif", "-k", 5, *more, "-o", f"{number}.lrk").succeeded()
        decoded = np.asarray(lowrank.open(tmp_path / f"{number}.lrk"))
        for part in (None, "1:3", "0"):
            if taken == "2" and part:
                continue
            some = () if part is None else ("--frames", part)
            done = cli("decompress", f"{number}.lrk", "-o", "out.tif", "-f", *some).succeeded()
            found, text = written(tmp_path / "out.tif")
            wanted = decoded if part is None else decoded[1:3] if part == "1:3" else decoded[0]
            assert found.shape == wanted.shape, (taken, part)
            assert np.array_equal(found, wanted), (taken, part)
            whole = taken in (None, "::-1") and part is None
            assert text.startswith(OF_AXES) == whole
            assert (NO_AXES in done.err) != whole
    back = cli("decompress", "0.lrk", "--frames", "1:3", "-o", "frames/").succeeded()
    assert back.code == 0
    if samples.dtype == np.uint16:
        return
    cli("decompress", "0.lrk", "--format", "tif", "-o", "pages/").succeeded()
    found, text = written(tmp_path / "pages" / "003.tif")
    assert found.shape == samples.shape[1:]
    assert text == ""


def test_bands_that_were_apart_and_pictures_that_were_turned_are_not_described_as_such(
    cli, tmp_path
):
    flat = np.moveaxis(COLOURS[0], 2, 0)
    tifffile.imwrite(tmp_path / "apart.tif", flat, planarconfig="separate", photometric="rgb")
    turned = [(274, 3, 1, 6, True)]
    tifffile.imwrite(tmp_path / "turned.tif", COLOURS[0], photometric="rgb", extratags=turned)
    for name, expected in (
        ("apart", COLOURS[0]),
        ("turned", np.rot90(COLOURS[0], -1)),
    ):
        cli("compress", f"{name}.tif", "-k", 12, "--store", "float64").succeeded()
        cli("decompress", f"{name}.lrk", "-o", "out.tif", "-f").succeeded()
        found, _ = written(tmp_path / "out.tif")
        assert np.array_equal(found, expected)


OME = '<?xml version="1.0"?><OME><Image><Pixels '
OME += 'SizeT="{}" SizeZ="{}" SizeC="{}" SizeY="4" SizeX="6" '


@pytest.mark.parametrize(
    ("text", "shape", "true"),
    [
        (json.dumps({"shape": [5, 4, 6]}), (5, 4, 6, 1), True),
        (json.dumps({"shape": [1, 4, 6]}), (1, 4, 6, 1), True),
        (json.dumps({"shape": [4, 6]}), (1, 4, 6, 1), True),
        (json.dumps({"shape": [4, 6]}), (1, 6, 4, 1), False),
        (json.dumps({"shape": [3, 4, 6]}), (1, 4, 6, 3), False),
        ('{"shape": [4,', (1, 4, 6, 1), False),
        ('{"shape": 4}', (1, 4, 6, 1), False),
        ("ImageJ=1.5\nimages=5\n", (5, 4, 6, 1), True),
        ("ImageJ=1.5\nimages=50\n", (5, 4, 6, 1), False),
        ("ImageJ=1.5\n", (1, 4, 6, 1), True),
        (OME.format(1, 5, 1), (5, 4, 6, 1), True),
        (OME.format(5, 1, 3), (5, 4, 6, 3), True),
        (OME.format(1, 5, 1), (4, 4, 6, 1), False),
        (OME.format(1, 5, 1), (5, 6, 4, 1), False),
        (OME.format(1, 5, 1) * 2, (10, 4, 6, 1), False),
        (OME.format(1, 5, 1) + 'FileName="next.tif"', (5, 4, 6, 1), False),
        ("<?xml version='1.0'?><note>", (1, 4, 6, 1), False),
        ("a view of the sea", (7, 7, 7, 7), True),
    ],
)
def test_a_description_holds_for_the_axes_it_speaks_of(text, shape, true):
    tags = Image.Exif()
    tags[270], tags[271] = text, "maker"
    metadata = Metadata(exif=tags.tobytes().removeprefix(b"Exif\0\0"))
    kept, notes = described.of_shape(metadata, shape)
    assert (kept == metadata) == true
    assert notes == (() if true else (NO_AXES,))
    left = Image.Exif()
    left.load(kept.exif)
    assert (left.get(270), left[271]) == (text if true else None, "maker")


def exif_of(png):
    """The eXIf chunk of a PNG, by its specification."""
    at = 8
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        if kind == b"eXIf":
            return png[at + 8 : at + 8 + size]
        at += size + 12
    return None


MORE = {274: (3, (6,)), 282: (5, (300, 1)), 283: (5, (300, 1)), 296: (3, (2,))}


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_tags_of_a_tiff_beyond_pillow_are_an_exif_block(kind):
    data = tiff(np.zeros((4, 6, 3), kind), photometric=2, more=MORE)
    image = lowrank.compress(data, rank=1)
    block = image.parts.head.metadata.exif
    assert block[:4] in (b"II*\0", b"MM\0*")
    assert orientation(block) == (6 if kind == "u2" else 1)  # bytes Pillow has turned itself
    png = images.write(codec.decode(image.parts).picture, format="PNG")
    assert (exif_of(png) or block)[:4] in (b"II*\0", b"MM\0*")
    with Image.open(io.BytesIO(png)) as shown:
        assert shown.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_block_that_was_kept_with_the_mark_of_jpegs_is_read_without():
    data = tiff(np.zeros((4, 6, 3), "u2"), photometric=2, more=MORE)
    parts = lowrank.compress(data, rank=1).parts
    metadata = replace(parts.head.metadata, exif=b"Exif\0\0" + parts.head.metadata.exif)
    older = serialize(replace(parts, head=replace(parts.head, metadata=metadata)))
    assert b"Exif\0\0" in older
    read = parse(older, name="older", max_pixels=100).head.metadata.exif
    assert read == parts.head.metadata.exif
    assert orientation(read) == 6


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("way", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_turned_picture_is_the_same_read_whole_and_in_passes(tmp_path, dtype, way, channels):
    """Whoever reads it: Pillow turns samples itself, the others keep EXIF's word for it."""
    A = RNG.integers(0, 200, (21, 34, channels)).astype(dtype).squeeze()
    tifffile.imwrite(
        tmp_path / "a.tif", A, photometric="rgb" if channels > 1 else "minisblack",
        extratags=[(274, 3, 1, way, True)],
    )  # fmt: skip
    whole, passes = (
        lowrank.compress(tmp_path / "a.tif", rank=21, store="float32", memory=memory)
        for memory in (None, "100M")
    )
    assert np.array_equal(whole.to_array(), passes.to_array())
    blocks = [orientation(x.parts.head.metadata.exif) for x in (whole, passes)]
    assert blocks[0] == blocks[1]
