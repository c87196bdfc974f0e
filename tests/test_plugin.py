"""`.lrk` behaves like any other format of Pillow."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, ImageSequence, UnidentifiedImageError

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


@pytest.mark.parametrize("name", ["exif", "icc_profile", "xmp"])
@pytest.mark.parametrize("value", [5, "text", [1, 2]])
def test_metadata_that_is_no_bytes_is_refused(small, name, value):
    """Bytes of the number five would be five zeros."""
    with pytest.raises(TypeError):
        saved(small, rank=2, **{name: value})


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


def test_metadata_given_to_save_takes_the_place_of_the_images_own(small):
    exif = Image.Exif()
    exif[0x010E] = "a gradient"
    first = saved(small, rank=2, exif=exif, icc_profile=b"profile", xmp=b"<x/>")
    with Image.open(io.BytesIO(first)) as opened:
        changed = opened.getexif()
        changed[0x010E] = "another"
        kept = saved(opened, rank=2, exif=changed, icc_profile=None, xmp=b"")
    with Image.open(io.BytesIO(kept)) as opened:
        assert opened.getexif()[0x010E] == "another"
        assert not {"icc_profile", "xmp"} & set(opened.info)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_of_an_opened_file_may_be_handed_on_as_it_is(small, form):
    exif = Image.Exif()
    exif[0x010E] = "a gradient"
    stream = io.BytesIO()
    with Image.open(io.BytesIO(saved(small, rank=2, exif=exif))) as opened:
        opened.save(stream, form, exif=opened.info["exif"])
    with Image.open(stream) as opened:
        assert opened.getexif()[0x010E] == "a gradient"


def test_the_exif_orientation_is_applied_as_for_any_format(small):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(saved(small, rank=24, store="float64", exif=exif))) as opened:
        turned = ImageOps.exif_transpose(opened)
    assert np.array_equal(np.asarray(turned), np.rot90(np.asarray(small), -1))


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


def test_cut_anywhere_a_file_is_unidentified_or_truncated(small):
    data = saved(small, rank=3, store="float32")
    opened_at = []
    for length in range(0, len(data), 7):
        try:
            opened = Image.open(io.BytesIO(data[:length]))
        except UnidentifiedImageError:
            continue
        opened_at.append(length)
        with opened, pytest.raises(OSError, match="truncated"):
            opened.load()
        with Image.open(io.BytesIO(data[:length])) as again, pytest.raises(OSError):
            again.verify()
    assert 0 < len(opened_at) < len(data) // 7
    assert opened_at == list(range(opened_at[0], len(data), 7))


def test_streams_are_the_callers(small, tmp_path):
    data = saved(small, rank=3)
    stream = io.BytesIO(data)
    with Image.open(stream) as opened:
        opened.load()
    assert not stream.closed
    with (tmp_path / "x.lrk").open("wb") as file:
        small.save(file, rank=3)
        assert not file.closed
    assert (tmp_path / "x.lrk").read_bytes() == data


def test_a_file_that_pillow_opened_is_closed_with_its_pixels_loaded(small, tmp_path):
    (tmp_path / "x.lrk").write_bytes(saved(small, rank=3))
    opened = Image.open(tmp_path / "x.lrk")
    file = opened.fp
    opened.load()
    assert file.closed
    before = opened.tobytes()
    opened.load()
    assert opened.tobytes() == before
    with pytest.raises(RuntimeError, match="directly after open"):
        opened.verify()


def test_the_format_is_registered_as_others_are(small, tmp_path):
    small.save(tmp_path / "X.LRK", rank=2)
    with Image.open(tmp_path / "X.LRK", formats=["LRK"]) as opened:
        assert opened.format_description == "Low-rank image"
    with pytest.raises(UnidentifiedImageError):
        Image.open(tmp_path / "X.LRK", formats=["PNG"])
    assert Image.registered_extensions()[".lrk"] == "LRK"
    assert Image.MIME["LRK"] == "image/x-lrk"


def test_importing_the_module_is_registering(tmp_path):
    code = "import lowrank.plugin\nfrom PIL import Image\nprint('LRK' in Image.SAVE)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["True"]


def test_it_holds_one_image(small):
    with Image.open(io.BytesIO(saved(small, rank=3))) as opened:
        assert opened.tell() == 0
        assert len(list(ImageSequence.Iterator(opened))) == 1
        with pytest.raises(EOFError):
            opened.seek(1)


def test_an_opened_file_is_pickled_with_its_pixels(small):
    with Image.open(io.BytesIO(saved(small, rank=3))) as opened:
        again = pickle.loads(pickle.dumps(opened))
        assert again.tobytes() == opened.tobytes()


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


def test_large_files_are_warned_of_before_they_are_refused(small, monkeypatch):
    data = saved(small, rank=1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(data))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rank": 2, "energy": 0.5}, ValueError, "exclude each other"),
        ({"rank": 0}, ValueError, "out of range"),
        ({"rank": 2, "store": "float8"}, ValueError, "float8"),
    ],
)
def test_impossible_options_leave_no_file(small, tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        small.save(tmp_path / "x.lrk", **options)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_held_is_an_os_error(tmp_path):
    too_long = Image.new("I", (2, 1))
    too_long.putpixel((0, 0), 2**31 - 1)
    with pytest.raises(OSError, match="32-bit"):
        too_long.save(tmp_path / "x.lrk", rank=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {"rank": 4}, {"rank": "auto"}, {"energy": 0.9}, {"error": 0.2}, {"psnr": 30},
        {"size": 1500}, {"quality": 40}, {"rank": 4, "layout": "patches"},
        {"rank": 4, "store": "float64"}, {},
    ],
)  # fmt: skip
def test_save_takes_what_compress_takes(small, options):
    assert saved(small, **options) == lowrank.compress(small, **options).to_bytes()


def test_copy_convert_and_thumbnail_work_on_an_opened_file(small):
    with Image.open(io.BytesIO(saved(small, rank=3))) as opened:
        assert opened.convert("RGB").mode == "RGB"
        assert opened.copy().size == small.size
        opened.thumbnail((8, 8))
        assert max(opened.size) == 8


# -- imageio, which asks Pillow ----------------------------------------------------------------


def test_imageio_reads_and_writes_through_pillow(small, tmp_path):
    imageio = pytest.importorskip("imageio.v3", reason="no imageio: pip install imageio")
    imageio.imwrite(tmp_path / "x.lrk", np.asarray(small), rank=3)
    assert (tmp_path / "x.lrk").read_bytes() == saved(small, rank=3)
    decoded = lowrank.compress(small, rank=3).to_array()
    assert np.array_equal(imageio.imread(tmp_path / "x.lrk"), decoded)
    found = imageio.improps(tmp_path / "x.lrk")
    assert (found.shape, found.dtype) == ((24, 31), np.uint8)
    assert imageio.immeta(tmp_path / "x.lrk")["rank"] == (3,)


def test_save_passes_over_nothing_that_compress_knows(small):
    A = np.asarray(small)
    for options in (
        {"quality": 60, "tune": "eye"},
        {"rank": 3, "nodata": int(A[0, 0])},
        {"max_error": 30, "store": "packed"},
    ):
        assert saved(small, **options) == lowrank.compress(small, **options).to_bytes()
    for refused in ({"tune": "ear"}, {"weights": "noise"}, {"psnr_worst": 40}, {"nodata": "none"}):
        with pytest.raises(ValueError, match=next(iter(refused)).partition("_")[0]):
            saved(small, **refused)


def test_save_all_writes_a_stack(small):
    more = [small.point(lambda x: x // 2), small.transpose(Image.Transpose.ROTATE_180)]
    options = {"rank": 2, "store": "float64"}
    data = saved(small, save_all=True, append_images=more, **options)
    assert data == lowrank.compress([small, *more], stack=True, **options).to_bytes()
    with Image.open(io.BytesIO(data)) as opened:
        opened.seek(1)
        assert saved(opened, save_all=True, **options) == data
        assert opened.tell() == 1


@pytest.mark.parametrize("options", [{"rank": 5}, {"quality": 60}])
def test_a_file_that_comes_in_pieces_is_parsed(small, options):
    """As web frameworks read what is uploaded."""
    data = saved(small, **options)
    parser = ImageFile.Parser()
    for i in range(0, len(data), 100):
        parser.feed(data[i : i + 100])
    np.testing.assert_array_equal(parser.close(), lowrank.open(data))


@pytest.mark.parametrize("exif", [None, b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"])
def test_a_resolution_is_where_pillow_has_it(small, exif):
    given = {} if exif is None else {"exif": exif}
    with Image.open(io.BytesIO(saved(small, rank=2, dpi=(300, 150.5), **given))) as opened:
        assert opened.info["dpi"] == (300, 150.5)
        again = saved(opened, rank=2)
    with Image.open(io.BytesIO(again)) as opened:
        assert opened.info["dpi"] == (300, 150.5)
        stream = io.BytesIO()
        opened.save(stream, "TIFF", dpi=opened.info["dpi"])
    with Image.open(stream) as opened:
        assert opened.info["dpi"] == (300, 150.5)
    with Image.open(io.BytesIO(saved(small, rank=2))) as opened:
        assert "dpi" not in opened.info


@pytest.mark.parametrize("dpi", [300, (300,), ("a", "b"), (-1, 5), (float("nan"), 1), (1, 2, 3)])
def test_a_resolution_that_is_none_is_a_value_error(small, dpi):
    with pytest.raises(ValueError, match="dpi "):
        saved(small, rank=2, dpi=dpi)
