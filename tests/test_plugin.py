"""`.lrk` behaves like any other format of Pillow."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, UnidentifiedImageError

import lowrank

SAMPLES = Path(__file__).parent.parent / "sample_images"
PHOTO = SAMPLES / "photographer.png"


@pytest.fixture(scope="module", autouse=True)
def _registered():
    lowrank.register_lrk_opener()


@pytest.fixture
def small():
    rng = np.random.default_rng(7)
    A = np.clip(rng.normal(128, 40, (24, 1)) + rng.normal(0, 20, (1, 31)), 0, 255)
    return Image.fromarray(A.astype(np.uint8))


def saved(image, **options):
    stream = io.BytesIO()
    image.save(stream, "LRK", **options)
    return stream.getvalue()


def test_importing_lowrank_registers_nothing():
    code = (
        "import lowrank\nfrom PIL import Image\nImage.init()\nprint('LRK' in Image.OPEN)\n"
        "lowrank.register_lrk_opener()\nprint('LRK' in Image.OPEN)"
    )
    out = subprocess.run(  # fixed arguments
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["False", "True"]


def test_save_writes_the_file_of_compress_byte_for_byte(tmp_path):
    with Image.open(PHOTO) as image:
        image.save(tmp_path / "a.lrk", rank=20)
    command = [sys.executable, "-m", "lowrank", "compress", str(PHOTO), "-k", "20"]
    subprocess.run([*command, "--quiet", "-o", str(tmp_path / "b.lrk")], check=True)
    assert (tmp_path / "a.lrk").read_bytes() == (tmp_path / "b.lrk").read_bytes()


def test_open_gives_the_pixels_of_decompress(tmp_path):
    lowrank.compress(PHOTO, rank=5).save(tmp_path / "x.lrk")
    command = [sys.executable, "-m", "lowrank", "decompress", str(tmp_path / "x.lrk"), "--quiet"]
    subprocess.run(command, check=True)
    with Image.open(tmp_path / "x.lrk") as ours, Image.open(tmp_path / "x.png") as decoded:
        assert ours.format == "LRK"
        assert ours.get_format_mimetype() == "image/x-lrk"
        assert np.array_equal(np.asarray(ours), np.asarray(decoded))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_opens_lazily_with_its_size(mode, small):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(small).astype(np.uint16) * 200)
    else:
        image = small.convert(mode)
    with Image.open(io.BytesIO(saved(image, rank=100, store="float64"))) as opened:
        assert opened.size == image.size
        assert opened.mode == ("RGB" if mode == "P" else mode)
        header_only = opened.info["rank"]
        pixels = np.asarray(opened)
    expected = np.asarray(image.convert("RGB") if mode == "P" else image)
    assert header_only == (24,) * len(opened.getbands())
    assert np.allclose(pixels.astype(float), expected.astype(float), atol=1e-3)


def test_opening_reads_no_more_than_the_header(small):
    data = saved(small, rank=24, store="float64")
    stream = io.BytesIO(data[:120])  # the terms are not there at all
    with Image.open(stream) as opened:
        assert opened.size == small.size


def test_metadata_travels(small):
    exif = Image.Exif()
    exif[0x010E] = "a gradient"
    data = saved(small, rank=2, exif=exif, icc_profile=b"profile", xmp=b"<x/>")
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.getexif()[0x010E] == "a gradient"
        assert opened.info["icc_profile"] == b"profile"
        assert opened.info["xmp"] == b"<x/>"
        again = saved(opened, rank=2)
    with Image.open(io.BytesIO(again)) as opened:
        assert opened.getexif()[0x010E] == "a gradient"


def test_a_cut_file_is_truncated_unless_pillow_is_told_otherwise(small, monkeypatch):
    data = saved(small, rank=5, store="float32")
    cut = data[: len(data) - 60]
    with Image.open(io.BytesIO(cut)) as opened, pytest.raises(OSError, match="truncated"):
        opened.load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(cut)) as opened:
        whole = lowrank.compress(small, rank=4, store="float32").to_array()
        assert np.array_equal(np.asarray(opened), whole)


def test_verify_finds_damage_in_the_last_term(small):
    data = bytearray(saved(small, rank=5))
    with Image.open(io.BytesIO(bytes(data))) as opened:
        opened.verify()
    data[-30] ^= 1
    with Image.open(io.BytesIO(bytes(data))) as opened, pytest.raises(OSError, match="checksum"):
        opened.verify()


def test_a_foreign_or_damaged_header_is_unidentified(small):
    data = bytearray(saved(small, rank=1))
    data[25] ^= 1
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(bytes(data)))
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data[:8]))


def test_bombs_are_refused_on_opening(small, monkeypatch):
    data = saved(small, rank=1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))


def test_impossible_options_are_value_errors(small):
    with pytest.raises(ValueError, match="exclude each other"):
        saved(small, rank=2, energy=0.5)
    with pytest.raises(ValueError, match="out of range"):
        saved(small, rank=0)


def test_copy_convert_and_thumbnail_work_on_an_opened_file(small):
    with Image.open(io.BytesIO(saved(small, rank=3))) as opened:
        assert opened.convert("RGB").mode == "RGB"
        assert opened.copy().size == small.size
        opened.thumbnail((8, 8))
        assert max(opened.size) == 8
