"""PNG by numpy and zlib: what is written, another decoder reads back; and it is no larger."""

from __future__ import annotations

import zlib
from io import BytesIO

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from lowrank import threads
from lowrank.io import images, pillow, pngwriter
from lowrank.picture import MODES, Metadata, Picture


def read_back(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    with Image.open(BytesIO(data)) as second:
        second.verify()  # checksums
    return image


def filters_in(data: bytes) -> set[int]:
    """The filters of the rows of a PNG."""
    pixels = b"".join(chunk[8:-4] for kind, chunk in pngwriter.chunks(data) if kind == b"IDAT")
    image = read_back(data)
    rows = np.frombuffer(zlib.decompress(pixels), np.uint8).reshape(image.height, -1)
    return set(rows[:, 0].tolist())


@pytest.mark.parametrize("mode", pngwriter.COLOURS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (61, 47)])
def test_samples_of_any_kind_come_back(mode, size, monkeypatch):
    monkeypatch.setattr(pngwriter, "_SLAB", 1 << 10)  # several slabs, and rows of many kinds
    rng = np.random.default_rng(size[0])
    shape = (*size, len(MODES[mode].channels))
    y, x = np.mgrid[: size[0], : size[1]]
    waves = np.stack([128 + 100 * np.sin(x / (5 + c)) * np.cos(y / 7) for c in range(shape[2])], 2)
    kinds = [
        rng.integers(0, 256, shape), rng.integers(0, 2, shape) * 255, waves,
        np.broadcast_to((x * 5 % 256)[..., None], shape),
        np.broadcast_to((y // 9)[..., None], shape),
    ]  # fmt: skip
    kinds.append(
        np.concatenate([np.asarray(kind)[: size[0] // 4 + 1] for kind in kinds])[: size[0]]
    )
    for kind in kinds:
        samples = kind.astype(np.uint8)
        image = read_back(pngwriter.write(Picture(samples, MODES[mode])))
        assert image.mode == mode
        assert np.array_equal(np.asarray(image).reshape(shape), samples)


def test_bands_are_the_same_bytes_in_any_number_of_threads(monkeypatch):
    rng = np.random.default_rng(3)
    samples = rng.integers(0, 64, (500, 400, 3)).astype(np.uint8)
    samples[200:400] = 9  # a band of nothing new, without a flush inside
    written = []
    for count in (1, 3):
        monkeypatch.setattr(threads, "_limit", count)
        written.append(pngwriter.write(Picture(samples, MODES["RGB"])))
    assert written[0] == written[1]
    kinds = [kind for kind, _ in pngwriter.chunks(written[0])]
    assert kinds.count(b"IDAT") == 2 + -(-500 // (pngwriter._SLAB // 1201 * pngwriter._BAND))
    assert np.array_equal(np.asarray(read_back(written[0])), samples)


def test_paeth_is_the_nearest_of_three_neighbours_in_its_order():
    values = np.array([*range(0, 256, 5), 1, 2, 3, 126, 127, 128, 129, 253, 254], np.uint8)
    a, b, c = (x.ravel() for x in np.meshgrid(values, values, values))
    wide = [x.astype(int) for x in (a, b, c)]
    near = np.stack([np.abs(x - (wide[0] + wide[1] - wide[2])) for x in wide])
    expected = np.choose(near.argmin(0), [a, b, c])  # of equals the first
    above, now = np.stack([c, b], 1), np.stack([a, np.full_like(a, 7)], 1)
    found = np.empty((len(a), 1), np.uint8)
    pngwriter._differences(above, now, 1, 4, found, np.empty((4, len(a), 1), np.uint8))
    assert np.array_equal(found[:, 0], 7 - expected)


def test_each_filter_is_chosen_where_it_suits():
    y, x = np.mgrid[:64, :64]
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 256, (2, 64))
    found = set()
    for samples in (
        rng.integers(0, 4, (64, 64)), np.broadcast_to(rows[:, None], (64, 64)),
        np.broadcast_to(columns, (64, 64)), (x + y) // 2 + rng.integers(0, 3, (64, 64)),
        rows[y] // 2 + columns[x] // 2,
    ):  # fmt: skip
        picture = Picture(samples.astype(np.uint8)[..., None], MODES["L"])
        found |= filters_in(pngwriter.write(picture))
    assert found == set(range(5))


def test_rows_that_differ_have_filters_of_their_own():
    rng = np.random.default_rng(1)
    samples = rng.integers(0, 256, (64, 200)).astype(np.uint8)
    samples[1::2] = samples[::2]  # every second row is told by the one above, the others by none
    data = pngwriter.write(Picture(samples[..., None], MODES["L"]))
    assert len(filters_in(data)) > 1
    assert len(data) < 0.6 * samples.size


@pytest.mark.parametrize("name", ["parrots.png", "photographer.png", "elevation.png", "cup.png"])
def test_a_picture_takes_about_as_many_bytes_as_by_pillow(name):
    loaded = images.read((ROOT / "sample_images" / name).read_bytes(), name=name)
    data = images.write(loaded.picture, format="PNG")
    assert np.array_equal(images.read(data, name=name).picture.samples, loaded.picture.samples)
    assert len(data) < 1.02 * len(pillow.write(loaded.picture, format="PNG"))


def test_metadata_stand_before_the_pixels():
    samples = np.zeros((5, 6, 3), np.uint8)
    block = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
    picture = Picture(samples, MODES["RGB"], Metadata(block, b"a profile", b"<x/>"))
    data = images.write(picture, format="PNG")
    kinds = [kind for kind, _ in pngwriter.chunks(data)]
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert {b"iCCP", b"iTXt", b"eXIf"} <= set(kinds)
    found = images.read(data, name="it").picture
    assert found.metadata == picture.metadata
    assert found.samples.shape == samples.shape
