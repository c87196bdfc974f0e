"""Samples of any type and number of channels: from arrays and files, and back as they were."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import sys
import zipfile

import numpy as np
import pytest
from handmade import chunk
from handmade import lrk as handmade
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from image_files import tiff
from PIL import Image, ImageCms

import lowrank
from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import FormatError, ImageError, LimitError, UsageError
from lowrank.io import arrays, formats, images, npy
from lowrank.picture import DTYPES, Metadata, Picture, array_mode

CHANNELS = (1, 2, 3, 4, 5, 7, 200)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def samples(dtype, *shape, seed=0):
    """Samples over the whole range of a type."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return (1e3 * rng.standard_normal(shape)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def assert_kept(found, A):
    """Whole numbers come back exactly, floats to 1e-6."""
    assert (found.dtype, found.size) == (A.dtype, A.size)
    tolerance = 1e-6 * float(np.abs(A).max()) if A.dtype.kind == "f" else 0
    np.testing.assert_allclose(found.reshape(A.shape).astype(float), A.astype(float), 0, tolerance)


def npz(**members):
    stream = io.BytesIO()
    np.savez_compressed(stream, **members)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tiff_that_pillow_misreads_is_said_to_be_one(dtype):
    """The file is right; whoever opens it with Pillow has been told what else to take."""
    for channels in (1, 2, 3, 4, 5):
        mode = array_mode(dtype, channels)
        A = samples(dtype, 9, 8, channels)
        picture = Picture(A, mode)
        try:
            with Image.open(io.BytesIO(images.write(picture, format="TIFF"))) as image:
                kept = np.array_equal(np.asarray(image).reshape(-1), A.reshape(-1))
        except OSError:
            kept = False
        notes = images.write_notes(picture, format="TIFF")
        assert [("tifffile" in note and dtype in note) for note in notes] == [True] * (not kept)


# -- from Python ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_and_number_of_channels_survives(dtype):
    for channels in CHANNELS:
        A = samples(dtype, 7, 5, channels)
        image = lowrank.compress(A, rank=99, store="float64")
        assert_kept(lowrank.open(image.to_bytes()).to_array(), A)
        if A.dtype.kind != "f":  # auto is wide enough for them
            assert_kept(lowrank.compress(A, rank=99).to_array(), A)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.array([[0, 255]]), "uint8"),
        (np.array([[0, 256]]), "uint16"),
        (np.array([[-1, 256]]), "int16"),
        (np.array([[-1, 65535]]), "int32"),
        (np.array([[0, 2**32 - 1]], np.uint64), "uint32"),
        (np.array([[0.5, 65504]], np.float16), "float32"),
        (np.array([[0, 65535]], ">u2"), "uint16"),
        (np.array([[[0, 65535, 3]]], ">i4"), "int32"),
    ],
)
def test_other_types_are_kept_in_one_that_holds_them(given, kept):
    loaded = arrays.from_array(given)
    found = loaded.picture.samples
    assert found.dtype == kept
    np.testing.assert_array_equal(found.reshape(given.shape), given)
    changed = given.dtype.newbyteorder("=") != np.dtype(kept)
    assert [f"kept as {kept}" in note for note in loaded.notes] == [True] * changed


def test_float64_is_rounded_with_a_note_unless_its_store_keeps_it():
    A = samples("float64", 6, 5, 3)
    narrow, wide = lowrank.compress(A, rank=5), lowrank.compress(A, rank=5, store="float64")
    assert any("rounded to float32" in note for note in narrow.notes)
    assert wide.notes == ()
    assert (narrow.to_array().dtype, wide.to_array().dtype) == (np.float32, np.float64)
    assert narrow.report(A).pixels.max_abs_error > 0  # measured on what was given
    exact = lowrank.compress(np.array([[0.5]]), rank=1)
    assert exact.notes == (
        "Samples of float64 were kept as float32, which holds them exactly; store float64 keeps "
        "the type.",
    )
    with pytest.raises(ImageError, match="beyond the range of float32"):
        lowrank.compress(np.array([[1e39]]), rank=1)


def test_factors_that_are_too_narrow_for_integers_say_so():
    A = samples("int32", 8, 8)
    assert lowrank.compress(A, rank=8).store == "float64"
    for store, rank in (("float16", 8), ("float32", 8), ("auto", 2)):
        image = lowrank.compress(A, rank=rank, store=store)
        assert image.store != "float64"
        assert any("beyond 16,777,216 are rounded" in note for note in image.notes)


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
def test_gaps_of_many_channels_are_filled_and_put_back(dtype):
    A = samples(dtype, 9, 8, 5)
    nothing = np.nan if A.dtype.kind == "f" else -9999
    A[2:4, 3] = nothing
    image = lowrank.compress(A, rank=8, nodata=nothing, store="float64")
    found = lowrank.open(image.to_bytes()).to_array()
    gap = np.isnan(A) if A.dtype.kind == "f" else nothing == A
    np.testing.assert_array_equal(found[gap], A[gap])
    assert_kept(found[~gap], A[~gap])
    assert image.report(A).pixels.max_abs_error <= 1e-2


def test_a_value_in_some_channels_only_is_taken_for_data_and_said():
    A = samples("int16", 4, 4, 5)
    A[0, 0], A[1, 1, 2] = -9999, -9999
    loaded = arrays.from_array(A, nodata=-9999)
    assert any(note.startswith("1 pixel is -9999 in some channels only") for note in loaded.notes)
    assert loaded.picture.samples[1, 1, 2] == -9999


def test_previews_show_the_first_channels():
    from lowrank.picture.thumbnail import shades
    from lowrank.views import preview

    for channels in (1, 2, 3, 5):
        one = Picture(samples("float32", 6, 8, channels), array_mode("float32", channels))
        shown = preview.small(one, 8, *shades(one))
        assert shown.shape == (6, 8, 3)
        grey = (shown == shown[..., :1]).all()
        assert grey == (channels < 3)


def test_what_hides_some_channels_only_is_refused():
    A = samples("float32", 4, 4, 5)
    with pytest.raises(ImageError, match="hides some channels of a pixel only"):
        arrays.from_array(np.ma.masked_array(A, np.arange(5) == 2 + np.zeros_like(A)))
    A[1, 1, 2] = np.nan
    for nodata in (None, np.nan):
        with pytest.raises(ImageError, match="NaN or infinite samples"):
            arrays.from_array(A, nodata=nodata)


# -- arrays in files -----------------------------------------------------------------------


@given(
    hnp.arrays(
        st.sampled_from([">u2", "<i4", "f8", "i1", "?"]),
        hnp.array_shapes(min_dims=1, max_dims=5, max_side=4),
        elements={"min_value": 0, "max_value": 1},
    ),
    st.booleans(),
)
@settings(max_examples=40)
def test_arrays_in_files_are_what_numpy_reads(A, fortran):
    A = np.asfortranarray(A) if fortran else A
    for data in (npy.write(A), npz(A=A)):
        found = npy.read(data, name="a", max_pixels=10**4)
        assert (found.dtype, found.shape) == (A.dtype, A.shape)
        np.testing.assert_array_equal(found, A)


def test_a_mapped_array_is_the_array(tmp_path):
    A = np.asfortranarray(samples("int16", 3, 5, 4))
    np.save(tmp_path / "a.npy", A)
    found = npy.mapped(str(tmp_path / "a.npy"), max_pixels=100)
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, A)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(ImageError, match="it ends after"):
        npy.mapped(str(tmp_path / "a.npy"), max_pixels=100)


def _npy(header, body=b""):
    text = repr(header).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + body


HOSTILE = {
    "of Python objects": _npy({"descr": "|O", "fortran_order": False, "shape": (1,)}, b"cos\n"),
    "it ends after": _npy({"descr": "<u2", "fortran_order": False, "shape": (9, 9)}, bytes(10)),
    "above the limit": _npy({"descr": "<u2", "fortran_order": False, "shape": (2**40, 2**40)}),
    "which are no samples": _npy({"descr": [("a", "<u2")], "fortran_order": False, "shape": ()}),
    "negative sides": _npy({"descr": "<u2", "fortran_order": False, "shape": (-1, -1)}),
    "damaged or of a rare kind": _npy({"descr": "<u2", "shape": (1, 1)}),
    "version 9.0": b"\x93NUMPY\x09\0" + bytes(20),
    "holds 2 arrays (a, b)": npz(a=np.zeros((2, 2)), b=np.zeros((2, 2))),
}


@pytest.mark.parametrize("says", HOSTILE)
def test_arrays_that_cannot_be_are_refused_before_memory_is_taken(says):
    with pytest.raises((ImageError, LimitError)) as caught:
        images.read(HOSTILE[says], name="a.npy", max_pixels=10**6)
    assert says in str(caught.value)
    assert str(caught.value).startswith("cannot read a.npy: ")


def test_an_archive_that_lies_about_its_array_is_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        header = npy.write(np.zeros((2, 2), np.uint8))[:-4]
        archive.writestr("a.npy", header + bytes(10**6))
    with pytest.raises(ImageError, match="of another size than it says"):
        images.read(stream.getvalue(), name="a.npz")


# -- TIFF ----------------------------------------------------------------------------------

ORDERS, PACKED = ("<", ">"), (1, 8)
_ELSEWHERE = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")
_PLACES = {"order": st.sampled_from("<>"), "compression": st.sampled_from((1, 8))}


@given(
    dtype=st.sampled_from(_ELSEWHERE),
    channels=st.sampled_from((1, 2, 3, 5, 70)),
    planar=st.sampled_from((1, 2)),
    big=st.booleans(),
    **_PLACES,
)
@settings(max_examples=60)
def test_a_tiff_gives_the_samples_that_it_states(dtype, channels, planar, big, order, compression):
    """Files made byte by byte, so that nothing expected comes from a library."""
    pytest.importorskip("tifffile")
    A = samples(dtype, 6, 9, channels)
    extra = (0,) * (channels - 1)
    data = tiff(A, order=order, extra=extra, planar=planar, big=big, compression=compression)
    found = images.read(data, name="a").picture.samples
    assert (found.dtype, found.shape) == (A.dtype, A.shape)
    np.testing.assert_array_equal(found, A)


@pytest.mark.parametrize(("big", "order"), [(False, "<"), (False, ">"), (True, "<")])
def test_tags_of_a_tiff_that_pillow_does_not_open_travel(big, order):
    pytest.importorskip("tifffile")
    A = samples("uint16", 6, 9, 5)
    icc, text = b"profile!" * 20, b"a rock\0"
    more = {270: (2, text), 34675: (7, tuple(icc)), 42113: (2, b"-7\0"), 700: (1, b"<xmp>")}
    loaded = images.read(tiff(A, extra=(0,) * 4, more=more, big=big, order=order), name="a")
    again = images.read(images.write(loaded.picture, format="TIFF"), name="b").picture
    np.testing.assert_array_equal(again.samples, A)
    for found in (loaded.picture.metadata, again.metadata):
        assert (found.icc, found.xmp) == (icc, b"<xmp>")
        exif = Image.Exif()
        exif.load(found.exif)
        assert exif[270] == "a rock"
        assert exif[42113] == "-7"


def test_a_tile_larger_than_any_picture_is_refused():
    pytest.importorskip("tifffile")
    more = {322: (4, (2**16,)), 323: (4, (2**16,)), 324: (4, (8,)), 325: (4, (99,))}
    data = tiff(samples("int16", 4, 4, 3), extra=(0, 0), compression=8, more=more)
    with pytest.raises((LimitError, ImageError)):
        images.read(data, name="a", max_pixels=10**6)


def test_a_damaged_tiff_is_an_error_of_ours():
    pytest.importorskip("tifffile")
    A = samples("int16", 12, 9, 3)
    for compression in PACKED:
        data = tiff(A, extra=(0, 0), compression=compression)
        for length in range(0, len(data), 17):
            with pytest.raises(ImageError):
                images.read(data[:length], name="a")
        rng = np.random.default_rng(compression)
        for _ in range(30):
            broken = bytearray(data)
            for at in rng.integers(8, len(data), 3):
                broken[at] = int(rng.integers(256))
            with contextlib.suppress(ImageError, LimitError):
                images.read(bytes(broken), name="a", max_pixels=10**6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_what_is_written_has_the_same_type_and_channels(dtype, channels):
    tifffile = pytest.importorskip("tifffile")
    A = samples(dtype, 5, 4, channels)
    picture = Picture(A, array_mode(dtype, channels), Metadata(icc=b"a profile"))
    data = images.write(picture, format="TIFF")
    assert_kept(tifffile.imread(io.BytesIO(data)), A)
    with tifffile.TiffFile(io.BytesIO(data)) as found:
        assert found.pages[0].photometric.name == ("RGB" if channels == 3 else "MINISBLACK")
        assert found.pages[0].iccprofile == b"a profile"
    assert_kept(np.load(io.BytesIO(images.write(picture, format="NPY"))), A)


# -- 16-bit colour in PNG ------------------------------------------------------------------


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_colour_of_a_png_is_kept(channels):
    imagecodecs = pytest.importorskip("imagecodecs")
    A = samples("uint16", 9, 7, channels)
    icc = PROFILE if channels > 2 else PROFILE.replace(b"RGB ", b"GRAY", 1)
    carried = Metadata(exif=b"MM\0*\0\0\0\x08\0\0", icc=icc, xmp=b"<x:xmpmeta/>")
    data = images.write(Picture(A, array_mode("uint16", channels), carried), format="PNG")
    np.testing.assert_array_equal(imagecodecs.png_decode(data), A)
    loaded = images.read(data, name="a.png")
    np.testing.assert_array_equal(loaded.picture.samples, A)
    assert loaded.picture.metadata.icc == icc
    assert loaded.picture.metadata.xmp == b"<x:xmpmeta/>"
    assert loaded.notes == ()
    assert (loaded.source.mode, loaded.source.title) == ("array", f"{channels} x uint16")
    # Damage is found, as in any PNG.
    broken = bytearray(data)
    broken[data.index(b"IDAT") + 9] ^= 1
    with pytest.raises(ImageError):
        images.read(bytes(broken), name="a.png")


# -- without the extras --------------------------------------------------------------------


@pytest.fixture
def nothing_installed(monkeypatch):
    for name in ("tifffile", "imagecodecs", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, name, None)


def test_what_an_extra_would_read_is_refused_or_said_by_its_name(nothing_installed):
    for A, planar in ((samples("u4", 4, 4, 3), 1), (samples("i2", 4, 4, 2), 2)):
        with pytest.raises(ImageError, match=r"; pip install 'lowrank-image\[tiff\]'"):
            images.read(tiff(A, extra=(0,) * (A.shape[2] - 1), planar=planar), name="a")
    data = tiff(samples("u1", 4, 4, 5), photometric=2, extra=(0, 0))
    assert any("lowrank-image[tiff]' keeps all" in n for n in images.read(data, name="a").notes)
    data = tiff(samples("u2", 4, 4, 3), photometric=2)
    notes = images.read(data, name="a").notes
    assert any("reduced to 8" in n and "lowrank-image[tiff]" in n for n in notes)
    with pytest.raises(ImageError, match=r"; pip install 'lowrank-image\[jxl\]'"):
        images.read(b"\xff\x0a" + bytes(99), name="a")
    deep = Picture(samples("uint16", 4, 4, 3), array_mode("uint16", 3))
    with pytest.raises(ImageError, match=r"; pip install 'lowrank-image\[png\]'"):
        images.write(deep, format="PNG")
    images.write(deep, format="TIFF")  # needs none


def test_a_jpeg_xl_is_read_where_its_library_is():
    pytest.importorskip("pillow_jxl")
    image = Image.effect_mandelbrot((16, 12), (-2, -1.5, 1, 1.5), 9).convert("RGB")
    stream = io.BytesIO()
    image.save(stream, "JXL", lossless=True)
    loaded = images.read(stream.getvalue(), name="a.jxl")
    np.testing.assert_array_equal(loaded.picture.samples, np.asarray(image))


# -- what cannot be ------------------------------------------------------------------------


def test_a_format_that_cannot_hold_an_array_names_one_that_can():
    for suffix in (".png", ".jpg", ".bmp"):
        with pytest.raises(ImageError, match=r"cannot hold 5 x int16 without loss; write .tif"):
            formats.format_for(suffix, array_mode("int16", 5))
    assert formats.default_suffix(array_mode("uint16", 3)) == ".tif"


def test_pillow_and_pages_refuse_arrays_by_name(tmp_path, cli):
    A = samples("uint16", 6, 5, 5)
    (tmp_path / "a.lrk").write_bytes(lowrank.compress(A, rank=2).to_bytes())
    lowrank.register_lrk_opener()
    with pytest.raises(OSError, match="no mode of Pillow holds 5 x uint16"):
        Image.open(tmp_path / "a.lrk")
    (tmp_path / "a.tif").write_bytes(
        images.write(Picture(A, array_mode("uint16", 5)), format="TIFF")
    )
    pytest.importorskip("tifffile")
    line = cli("report", "a.tif", "--html", "a.html").failed(2)
    assert "or three as red, green and blue, not 5 x uint16; of an array --axis -1" in line
    np.save(tmp_path / "a.npy", A)
    assert cli("report", "a.npy", "--axis", "-1", "--html", "a.html").succeeded()


@pytest.mark.parametrize(
    "wish", [["-k", "2"], ["-k", "2", "--store", "float64"], ["-q", "60"], ["--layout", "patches"]]
)
def test_a_page_of_a_file_shows_numpys_own_floats_as_one_without_does(cli, tmp_path, wish):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((30, 20)))
    cli("compress", "a.npy", *wish).succeeded()
    cli("report", "a.npy", "--html", "alone.html").succeeded()
    cli("report", "a.npy", "a.lrk", "--html", "both.html").succeeded()


# -- on the command line -------------------------------------------------------------------


def test_a_folder_of_arrays_comes_back_as_it_was(cli, tmp_path):
    """Every type, of several numbers of channels, through two commands."""
    pytest.importorskip("tifffile")
    kept = {}
    for dtype in DTYPES:
        for channels in (1, 3, 5, 200):
            A = samples(dtype, 6, 5, channels, seed=channels)
            kept[f"{dtype}-{channels}"] = A[..., 0] if channels == 1 else A
    for kind in ("npy", "tif"):
        (tmp_path / kind).mkdir()
        for name, A in kept.items():
            whole = A if A.ndim == 3 else A[..., None]
            picture = Picture(whole, array_mode(A.dtype.name, whole.shape[2]))
            data = images.write(picture, format={"npy": "NPY", "tif": "TIFF"}[kind])
            (tmp_path / kind / f"{name}.{kind}").write_bytes(data)
    options = ("-k", "9999", "--store", "float64")
    cli("compress", "npy", "tif", *options, "-o", "lrk").succeeded()
    cli("decompress", "lrk", "--format", "npy", "-o", "back").succeeded()
    found = list((tmp_path / "back").iterdir())
    assert len(found) == 2 * len(kept)
    for path in found:
        assert_kept(np.load(path), kept[path.name.split(".")[0]])


def test_a_report_of_200_channels_is_read_in_a_minute(cli, tmp_path):
    pytest.importorskip("tifffile")
    A = samples("uint16", 6, 5, 200)
    picture = Picture(A, array_mode("uint16", 200))
    (tmp_path / "a.tif").write_bytes(images.write(picture, format="TIFF"))
    run = cli("compress", "a.tif", "--max-error", "9000", "--certify").succeeded()
    assert len(run.text.splitlines()) < 40
    assert "5 of 200 channels" in run.text
    assert "the range of the data" in run.text
    said = json.loads(cli("report", "a.tif", "a.lrk", "--json").succeeded().text)
    assert (said["source"]["mode"], said["source"]["dtype"], said["source"]["channels"]) == (
        "array", "uint16", 200,
    )  # fmt: skip
    assert len(said["channels"]) == 200
    assert said["pixels"]["max_abs_error"] <= 9000
    span = float(A.max()) - float(A.min())
    rmse, psnr = said["pixels"]["rmse"], said["pixels"]["psnr_db"]
    assert psnr == pytest.approx(20 * np.log10(span / rmse))


# -- packed --------------------------------------------------------------------------------

KINDS = {
    "uint8": (np.uint8, 1, 0), "int8": (np.int8, 1, -100), "uint16": (np.uint16, 200, 0),
    "int16": (np.int16, 200, -20000), "float32": (np.float32, 1e-3, -5),
}  # fmt: skip


def smooth(kind, channels):
    """A smooth picture with an edge, in a type."""
    dtype, scale, low = KINDS[kind]
    y, x = np.mgrid[0:24, 0:32]
    planes = [100 + 60 * np.sin(x / (7 + c)) + 35 * (y > 12) for c in range(channels)]
    return (np.stack(planes, axis=2) * scale + low).astype(dtype)


@pytest.mark.parametrize("layout", ["patches", "channels"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_packed_store_takes_any_channels_and_means_what_it_states(kind, layout):
    A = smooth(kind, 3 if kind == "uint16" else 5)
    span = float(A.max()) - float(A.min())
    image = lowrank.compress(A, max_error=span / 20, store="packed", layout=layout)
    again = lowrank.open(image.to_bytes())
    assert again.to_bytes() == image.to_bytes()
    found = again.to_array()
    assert (found.dtype, found.shape) == (A.dtype, A.shape)
    low = min(float(A.min()), 0) if A.dtype.kind in "iu" else A.min()
    assert low <= found.min() <= found.max() <= A.max()  # clipped where the data end
    report = again.report(A)
    error = float(np.abs(found.astype(float) - A).max())
    assert error <= span / 20
    assert report.pixels.max_abs_error == pytest.approx(error)
    # What the file states of each matrix, A less its lowest sample, is what is measured.
    for said, measured in zip(codec.stated(again.parts), report.channels, strict=True):
        assert said.error == pytest.approx(measured.frobenius_error, rel=5e-3)
        assert said.norm == pytest.approx(measured.norm, rel=5e-3)
        assert measured.frobenius_error >= measured.frobenius_bound * (1 - 1e-6)


@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_an_error_of_packed_samples_is_met_however_they_are_counted(kind):
    A = smooth(kind, 1)
    found = lowrank.compress(A, error=0.01, store="packed").to_array().reshape(A.shape)
    error = np.linalg.norm(found.astype(float) - A)
    for counted in (A.astype(float), A.astype(float) - float(A.min())):
        assert error <= 0.01 * np.linalg.norm(counted)


def test_a_psnr_of_packed_floats_is_that_of_their_range():
    A = smooth("float32", 2)
    found = lowrank.compress(A, psnr=35).to_array()
    mse = float(np.mean((found.astype(float) - A) ** 2))
    assert 35 <= 10 * np.log10((float(A.max()) - float(A.min())) ** 2 / mse) < 36


def test_gaps_of_floats_travel_in_a_packed_file():
    A = smooth("float32", 1)[..., 0]
    A[3:9, 5:11] = np.nan
    image = lowrank.compress(A, quality=90, nodata=np.nan)
    assert image.store == "packed"
    assert any("65,536 levels" in note for note in image.notes)
    found = lowrank.open(image.to_bytes()).to_array()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(A))
    assert np.nanmax(np.abs(found - A)) < 0.02


@pytest.mark.parametrize(
    ("low", "high"), [(np.nan, 1), (2, 1), (-1, np.inf), (0, 70000), (-40000, 0), (0.5, 3)]
)
def test_impossible_ranges_of_a_packed_file_are_refused(low, high):
    head = struct.pack("<IIBBBB", 1, 1, 8, 0, 3, 0) + struct.pack("<BH", 4, 1)
    fields = head + struct.pack("<dd", low, high) + bytes(10)
    with pytest.raises(FormatError, match="impossible range"):
        lrk.parse(handmade(chunk(b"HEAD", fields)), name="x", max_pixels=10**6)


def test_ranks_of_float64_are_those_of_what_is_kept():
    A = samples("float64", 12, 9, 2)
    for store, mode in ((None, "float32"), ("float64", "float64")):
        reports = lowrank.ladder(A, [2, 9], store=store)
        assert all(c.certified for report in reports for c in report.channels)
        image = lowrank.compress(A, rank=2, store=store)
        assert image.dtype == mode
        assert reports[0].pixels.rmse == pytest.approx(image.report(A).pixels.rmse)


FAR = 1e6 + np.random.default_rng(5).random((20, 6, 5))  # float32 is 0.03 off, of a range of 1


@pytest.mark.parametrize("stack", [False, True])
def test_a_file_with_factors_of_float64_may_be_one_of_float32(stack):
    A = FAR if stack else FAR.reshape(20, -1)
    image = lowrank.compress(A, rank=20, stack=stack)
    assert (image.store, image.dtype) == ("float64", np.float32)
    found = image.report(A)
    worst = float(np.abs(np.asarray(image, np.float64) - A).max())
    assert found.pixels.max_abs_error == worst > 0.01


def test_such_a_file_agrees_with_its_original(cli, tmp_path):
    np.save(tmp_path / "a.npy", FAR)
    cli("compress", "a.npy", "-k", "20").succeeded()
    cli("report", "a.npy", "a.lrk").succeeded()
    cli("verify", "a.lrk", "--against", "a.npy").succeeded()


@pytest.mark.parametrize("wish", [{"error": 1e-9}, {"energy": 1 - 1e-16}, {"psnr": 60}])
def test_what_rounding_to_float32_takes_counts_in_every_error(wish):
    (kind,) = wish
    A = FAR.reshape(20, -1)
    span = float(A.max() - A.min())
    with pytest.raises(UsageError, match=f"{kind} .* to round the samples to float32 alone takes"):
        lowrank.compress(A, store="float32", **wish)
    wide = lowrank.compress(A, store="auto", **wish)
    assert (wide.store, wide.dtype) == ("float64", np.float64)
    off = float(np.linalg.norm(wide.to_array() - A))
    far = {"error": 1e-9, "energy": 1.1e-8, "psnr": 1e-3 * span * A.size**0.5}[kind]
    assert off <= (1.01 if kind == "psnr" else 1.01 * np.linalg.norm(A)) * far


def test_the_worst_frame_counts_what_rounding_takes():
    A = np.random.default_rng(6).random((12, 16, 16))
    A[3] += 1e6
    A *= 1e-6  # of a range of 1, the fourth frame is 3e-8 off, and the others nothing
    with pytest.raises(UsageError, match=r"that 149.* dB are left; give store float64"):
        lowrank.compress(A, stack=True, psnr_worst=155)
