"""Pixels without data: filled before, restored after, left out of the errors of pixels."""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import chunk
from image_files import tiff
from PIL import Image

import lowrank
from lowrank import format as lrk
from lowrank import targets
from lowrank.errors import FormatError, ImageError, LowrankError, UsageError
from lowrank.io import pillow
from lowrank.picture import gaps
from lowrank.report import ask
from lowrank.runs import tasks, work
from lowrank.runs.plan import Job

RNG = np.random.default_rng(8)
SHAPE = (40, 56)
HILLS = (500 + 30 * np.add.outer(np.arange(40.0), np.sin(np.arange(56) / 9))).astype(np.float32)
GAPS = np.hypot(*np.ogrid[-20:20, -28:28]) > 24
FLOAT_MIN = float(np.finfo(np.float32).min)
VALUES = (-9999.0, FLOAT_MIN, math.nan, 0.0)


def raster(value: float, dtype: str = "f4") -> np.ndarray[Any, Any]:
    samples = HILLS.astype(dtype)
    samples[GAPS] = value
    return samples


def same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("store", ["float16", "float32", "float64"])
def test_they_come_back_exactly_and_the_rest_is_near(value: float, store: str) -> None:
    original = raster(value)
    image = lowrank.compress(original, nodata=value, rank=8, store=store)
    written = lrk.parse(image.to_bytes(), name="a", max_pixels=10**6)
    decoded = lowrank.LowRankImage(written).to_array()
    assert same(decoded[GAPS], original[GAPS])
    error = np.abs(decoded[~GAPS] - HILLS[~GAPS])
    assert error.max() < 0.05 * np.ptp(HILLS)
    assert any(f"{GAPS.sum():,} of 2,240 pixels have no data" in note for note in image.notes)
    # The same errors, computed here: of the pixels with data alone.
    pixels = image.report(original).pixels
    assert pixels is not None
    assert pixels.rmse == pytest.approx(np.sqrt(np.mean(error.astype(np.float64) ** 2)), rel=1e-4)
    assert pixels.max_abs_error == pytest.approx(float(error.max()), rel=1e-4)


def test_a_sentinel_no_longer_hides_the_error() -> None:
    original = raster(FLOAT_MIN)
    taken = lowrank.compress(original, rank=2, store="float32")
    left_out = lowrank.compress(original, rank=2, store="float32", nodata=FLOAT_MIN)
    levels = np.abs(left_out.to_array()[~GAPS] - HILLS[~GAPS])
    drowned = np.abs(taken.to_array()[~GAPS].astype(np.float64) - HILLS[~GAPS])
    assert levels.max() < np.ptp(HILLS) < drowned.max()
    assert any("-3.40282347e+38 lie far from all others" in note for note in taken.notes)
    assert any("--nodata -3.40282347e+38" in note for note in taken.notes)


@pytest.mark.parametrize(("dtype", "value"), [("u1", 0.0), ("u1", 255.0), ("u2", 65535.0)])
def test_whole_numbers_have_them_too(dtype: str, value: float) -> None:
    original = (HILLS / HILLS.max() * 200 + 10).astype(dtype)
    original[GAPS] = value
    for goal in ({"rank": 10}, {"quality": 90}, {"psnr": 40}, {"size": 2000}):
        image = lowrank.compress(original, nodata=value, **goal)
        again = lrk.parse(image.to_bytes(), name="a", max_pixels=10**6)
        assert same(lowrank.LowRankImage(again).to_array()[GAPS], original[GAPS])
        assert image.report(original).pixels is not None
        assert len(image.to_bytes()) <= goal.get("size", 10**6)
    filled = pillow.from_pillow(Image.fromarray(original), nodata=value).picture.samples
    assert not (filled[GAPS] == value).any()
    np.testing.assert_array_equal(filled[~GAPS, 0], original[~GAPS])


def test_a_pixel_of_colour_counts_where_all_its_colours_do() -> None:
    samples = np.full((4, 5, 4), 9, np.uint8)
    samples[0, 0] = (0, 0, 0, 77)
    samples[1, 1] = (0, 0, 5, 77)
    image = lowrank.compress(samples, rank=4, nodata=0)
    assert any(note.startswith("1 of 20 pixels") for note in image.notes)
    np.testing.assert_array_equal(image.to_array(), samples)


def test_what_is_filled_in_lies_within_what_is_near() -> None:
    picture = lowrank.io.arrays.from_array(raster(FLOAT_MIN), nodata=FLOAT_MIN).picture
    assert picture.samples.min() >= HILLS[~GAPS].min()
    assert picture.samples.max() <= HILLS[~GAPS].max()
    np.testing.assert_array_equal(picture.samples[~GAPS, 0], HILLS[~GAPS])
    # A ramp with a hole: each pixel of the hole is nearer to the ramp than its mean is.
    ramp = np.tile(np.arange(64.0, dtype=np.float32), (64, 1))
    holed = ramp.copy()
    holed[20:30, 4:12] = np.nan
    near = lowrank.io.arrays.from_array(holed, nodata=math.nan).picture.samples[:, :, 0]
    assert np.abs(near - ramp).max() < 16


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (2, 3), (17, 33)])
def test_any_shape_and_any_number_of_gaps(shape: tuple[int, int]) -> None:
    samples = RNG.standard_normal(shape).astype(np.float32)
    for share in (0.0, 0.5, 1.0):
        holed = samples.copy()
        holed[RNG.random(shape) < share] = np.nan
        image = lowrank.compress(holed, rank=min(shape), nodata=math.nan, store="float64")
        decoded = image.to_array()
        np.testing.assert_array_equal(np.isnan(decoded), np.isnan(holed))
        np.testing.assert_allclose(decoded, holed, atol=1e-5)
        assert image.report(holed).pixels is not None


def test_nan_is_refused_unless_it_was_said() -> None:
    with pytest.raises(ImageError, match="--nodata"):
        lowrank.compress(raster(math.nan))
    holed = raster(math.nan)
    holed[20, 20] = np.inf
    with pytest.raises(ImageError, match="infinite"):
        lowrank.compress(holed, nodata=math.nan)


def test_a_value_that_no_sample_has_is_said_or_refused() -> None:
    assert any("No pixel is 7" in n for n in lowrank.compress(HILLS, rank=1, nodata=7).notes)
    assert lowrank.compress(HILLS, rank=1, nodata=7).parts.head.metadata.nodata is None
    for array, value in ((HILLS, 1e300), (np.zeros((3, 3), np.uint8), 256), (np.eye(3), -math.inf)):
        with pytest.raises(ImageError, match="give a no-data value"):
            lowrank.compress(array, nodata=value)
    with pytest.raises(ImageError, match="give a no-data value"):
        lowrank.compress(np.zeros((3, 3), np.uint8), nodata=math.nan)


# --- values that a type of samples holds otherwise -------------------------------


@pytest.mark.parametrize("value", [-999.9, 0.001, FLOAT_MIN, -1.7976931348623157e308, 1e-60])
@pytest.mark.parametrize("stack", [False, True])
def test_a_value_of_float64_is_found_again_by_whoever_measures(value: float, stack: bool) -> None:
    original = raster(value, "f8")
    original = np.stack([original, original * 1.0]) if stack else original
    gaps_ = np.broadcast_to(GAPS, original.shape)
    image = lowrank.compress(original, nodata=value, rank=2, stack=stack)
    decoded = np.asarray(image)
    with np.errstate(over="ignore"):
        assert same(decoded[gaps_], np.full(gaps_.sum(), value).astype(decoded.dtype))
    error = decoded[~gaps_].astype(np.float64) - original[~gaps_]
    pixels = image.report(original).pixels
    assert pixels is not None
    assert pixels.rmse == pytest.approx(float(np.sqrt(np.mean(error**2))), rel=1e-4)
    assert np.isfinite(decoded).all()


def test_a_value_that_float32_has_not_needs_float64() -> None:
    original = raster(-1.7976931348623157e308, "f8")
    for goal in ({"quality": 80}, {"rank": 2, "store": "float32"}):
        with pytest.raises(ImageError, match="store float64 keeps it"):
            lowrank.compress(original, nodata=-1.7976931348623157e308, **goal)
    reports = lowrank.ladder(original, [1, 2], nodata=-1.7976931348623157e308)
    assert len(reports) == 2
    assert all(r.pixels is not None and r.pixels.rmse < np.ptp(HILLS) for r in reports)


def test_the_digits_of_a_message_name_the_value_of_float64() -> None:
    original = raster(FLOAT_MIN, "f8")
    image = lowrank.compress(original, rank=2, store="float64", nodata=-3.40282347e38)
    assert same(image.to_array()[GAPS], original[GAPS])
    tiny = HILLS.astype(np.float64)
    tiny[0, 0] = 1e-60  # what rounds to the value is not the value
    notes = lowrank.compress(tiny, rank=2, store="float64", nodata=0).notes
    assert any(n.startswith("No pixel is 0") for n in notes)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("source", ["picture", "stack", "pages"])
def test_a_value_is_rounded_as_half_floats_round_it(order: str, source: str) -> None:
    original = raster(-9999.0, "f2").astype(f"{order}f2")  # holds -10000
    original = original if source == "picture" else np.stack([original] * 3)
    gaps_ = np.broadcast_to(GAPS, original.shape)
    given: Any = original
    if source == "pages":
        tifffile = pytest.importorskip("tifffile")
        stream = io.BytesIO()
        tifffile.imwrite(stream, original, byteorder=order, photometric="minisblack")
        given = stream.getvalue()
    image = lowrank.compress(given, nodata=-9999, rank=2, stack=source != "picture")
    decoded = np.asarray(image)
    np.testing.assert_array_equal(decoded[gaps_], -10000)
    error = decoded[~gaps_] - original[~gaps_].astype(np.float64)
    pixels = image.report(original).pixels
    assert pixels is not None
    assert pixels.rmse == pytest.approx(float(np.sqrt(np.mean(error**2))), rel=1e-4)


# --- where they come from --------------------------------------------------------


def test_the_value_that_a_tiff_states_is_said() -> None:
    text = b"-9999\0"
    data = tiff(raster(-9999)[:, :, None], more={42113: (2, tuple(text))})
    taken = lowrank.compress(data, rank=3)
    assert any("--nodata -9999" in note for note in taken.notes)
    again = pillow.write(pillow.read(data, name="a").picture, format="TIFF")
    assert text in again  # and travels on
    left_out = lowrank.compress(data, rank=3, nodata=-9999)
    assert not any("taken for data" in note for note in left_out.notes)
    assert same(left_out.to_array()[GAPS], raster(-9999)[GAPS])
    whole = tiff(HILLS[:, :, None], more={42113: (2, tuple(text))})
    assert lowrank.compress(whole, rank=3).notes == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [(-9999, True), (-32768, True), (FLOAT_MIN, True), (-FLOAT_MIN, True), (1e31, True),
     (-1234.5, False), (400, False), (9999, True)],
)  # fmt: skip
def test_a_mark_far_from_all_samples_is_suspected(value: float, said: bool) -> None:
    notes = lowrank.compress(raster(value), rank=3).notes
    assert any("lie far" in note for note in notes) == said
    assert not lowrank.compress(HILLS, rank=3).notes


@pytest.mark.parametrize("samples", [np.eye(4), np.full((3, 3), -9999.0), np.arange(9.0)[None]])
def test_what_only_looks_like_a_mark_is_not(samples: np.ndarray[Any, Any]) -> None:
    assert lowrank.compress(samples.astype(np.float32), rank=1).notes == ()


def test_what_a_masked_array_hides_is_not_data() -> None:
    masked = np.ma.masked_less(raster(-9999), -9000)
    masked.set_fill_value(-1.0)
    image = lowrank.compress(masked, rank=5)
    assert (image.to_array()[GAPS] == -1).all()
    assert np.abs(image.to_array()[~GAPS] - HILLS[~GAPS]).max() < np.ptp(HILLS)
    assert any("have no data (-1)" in note for note in image.notes)
    bytes_of_colour = np.ma.zeros((3, 3, 3), np.uint8)
    bytes_of_colour[0, 0, 0] = np.ma.masked
    with pytest.raises(ImageError, match="whole pixels"):
        lowrank.compress(bytes_of_colour, nodata=0)
    with pytest.raises(ImageError, match="whole pixels"):
        lowrank.compress(bytes_of_colour[None], nodata=0)
    assert lowrank.compress(np.ma.masked_less(HILLS, -1e9), rank=3).notes == ()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float32"])
def test_masked_samples_of_any_type_are_left_out(dtype: str) -> None:
    """numpy's own fill value of integers, 999999, is no sample of most of their types."""
    masked = np.ma.masked_array((HILLS / 20).astype(dtype), GAPS)
    for given, stack in (
        (masked, False), (list(masked), False), (masked[None], True), ([masked, masked], True),
        ([list(masked)], True),
    ):  # fmt: skip
        if dtype not in ("int32", "float32"):
            with pytest.raises(lowrank.ArgumentError, match=r"999999.*give one as nodata"):
                lowrank.compress(given, stack=stack, rank=1)
        value = 7.0 if dtype not in ("int32", "float32") else None
        image = lowrank.compress(given, stack=stack, rank=1, nodata=value)
        assert any("have no data" in note for note in image.notes)
        decoded = image.to_array().reshape(-1, *SHAPE)[0]
        expected = masked.filled() if value is None else masked.filled(value)
        np.testing.assert_array_equal(decoded[GAPS], expected[GAPS])
    masked.fill_value = 5
    assert (lowrank.compress([masked, masked], stack=True, rank=1)[1][GAPS] == 5).all()


# --- the command -----------------------------------------------------------------


def test_the_command_takes_it_and_the_report_knows_it(tmp_path: Path) -> None:
    source, packed, back = (str(tmp_path / name) for name in ("a.tif", "a.lrk", "b.tif"))
    Path(source).write_bytes(tiff(raster(math.nan)[:, :, None]))
    settings = tasks.Compressing(target=targets.Target("rank", 6), nodata=math.nan, measure=True)
    outcome = work.compress(Job(source, packed), settings)
    assert outcome.report is not None
    work.decompress(Job(packed, back), tasks.Decompressing())
    with Image.open(back) as image:
        assert same(np.asarray(image)[GAPS], raster(math.nan)[GAPS])
    for ranks in ([], [2, 3]):
        result = ask.report(source, packed, ranks=ranks, store=None, max_pixels=10**6)
        assert len(result.reports) == max(len(ranks), 1)
    of_file = ask.report(source, packed, ranks=[], store=None, max_pixels=10**6)
    assert of_file.reports[0].pixels == outcome.report.pixels
    ladder = ask.report(source, None, ranks=[], store=None, max_pixels=10**6, nodata=math.nan)
    assert ladder.spectra
    with pytest.raises(UsageError, match="--nodata"):
        work.compress(Job(packed, str(tmp_path / "c.lrk")), settings)


def test_the_option_is_a_number_or_nan() -> None:
    assert targets.nodata(None) is None
    assert targets.nodata("-9999") == -9999
    assert math.isnan(targets.nodata("NaN") or 0)
    for text in ("", "none", "inf", "1e999", "5%"):
        with pytest.raises(UsageError, match="--nodata"):
            targets.nodata(text)


# --- the format ------------------------------------------------------------------


def file_with(block: bytes, mode: str = "F") -> bytes:
    """A file of rank 1 that carries a block, as made by hand."""
    array = HILLS if mode == "F" else HILLS.astype(np.uint8)
    plain = lowrank.compress(array, rank=1).to_bytes()
    head = 9 + 12 + struct.unpack_from("<I", plain, 9)[0]
    return plain[:head] + chunk(b"NODT", block) + plain[head:]


def packed_bits(mask: np.ndarray[Any, Any]) -> bytes:
    return zlib.compress(np.packbits(mask).tobytes())


def test_the_chunk_is_what_the_specification_says() -> None:
    image = lowrank.compress(raster(-5), rank=1, nodata=-5)
    block = image.parts.head.metadata.nodata
    assert block is not None
    assert block[:8] == struct.pack("<d", -5)
    bits = zlib.decompress(block[8:])
    expected = bytearray(-(-GAPS.size // 8))
    for i in np.flatnonzero(GAPS):
        expected[i // 8] |= 128 >> i % 8
    assert bits == bytes(expected)
    assert chunk(b"NODT", block) in image.to_bytes()
    by_hand = file_with(struct.pack("<d", 3) + packed_bits(GAPS))
    decoded = lowrank.LowRankImage(lrk.parse(by_hand, name="a", max_pixels=10**6)).to_array()
    np.testing.assert_array_equal(decoded == 3, GAPS)


BAD_BLOCKS = [
    (b"", "F"),
    (b"1234567", "F"),
    (struct.pack("<d", 0), "F"),
    (struct.pack("<d", 0) + b"no zlib", "F"),
    (struct.pack("<d", 0) + packed_bits(GAPS)[:-1], "F"),
    (struct.pack("<d", 0) + packed_bits(GAPS) + b"x", "F"),
    (struct.pack("<d", 0) + packed_bits(GAPS[:-1]), "F"),
    (struct.pack("<d", 0) + zlib.compress(bytes(10**7)), "F"),
    (struct.pack("<d", math.inf) + packed_bits(GAPS), "F"),
    (struct.pack("<d", 1e300) + packed_bits(GAPS), "F"),
    (struct.pack("<d", 0.1) + packed_bits(GAPS), "F"),
    (struct.pack("<d", math.nan) + packed_bits(GAPS), "L"),
    (struct.pack("<d", 256) + packed_bits(GAPS), "L"),
    (struct.pack("<d", -1) + packed_bits(GAPS), "L"),
    (struct.pack("<d", 0.5) + packed_bits(GAPS), "L"),
]


@pytest.mark.parametrize(("block", "mode"), BAD_BLOCKS)
def test_a_chunk_that_is_none_is_refused(block: bytes, mode: str) -> None:
    with pytest.raises(FormatError, match="NODT"):
        lrk.parse(file_with(block, mode), name="a", max_pixels=10**6)


def test_damage_behind_the_checksum_raises_nothing_foreign() -> None:
    block = struct.pack("<d", 3) + packed_bits(GAPS)
    for i in range(len(block)):
        for flip in (1, 128):
            changed = block[:i] + bytes([block[i] ^ flip]) + block[i + 1 :]
            try:
                parts = lrk.parse(file_with(changed), name="a", max_pixels=10**6)
                lowrank.codec.decode(parts)
            except LowrankError:
                pass


def test_a_file_without_gaps_is_byte_for_byte_as_before() -> None:
    assert b"NODT" not in lowrank.compress(HILLS, rank=3).to_bytes()
    whole = lowrank.compress(HILLS, rank=3, nodata=-1)
    assert whole.to_bytes() == lowrank.compress(HILLS, rank=3).to_bytes()


def test_a_shorter_file_keeps_them() -> None:
    image = lowrank.compress(raster(-9999), rank=9, nodata=-9999).truncate(2)
    assert same(image.to_array()[GAPS], raster(-9999)[GAPS])
    assert gaps.value_of(image.parts.head.metadata) == -9999


def test_what_a_masked_array_of_dask_hides_has_no_data_as_in_one_of_numpy():
    da = pytest.importorskip("dask.array")
    A = np.random.default_rng(3).normal(size=(5, 12, 10)).astype(np.float32)
    whole = np.ma.masked_less(A, -1.0)
    lazy = da.ma.masked_less(da.from_array(A, chunks=(2, 12, 10)), -1.0)
    for memory in (None, "100M"):
        made = lowrank.compress(lazy, rank=3, stack=True, memory=memory)
        assert made == lowrank.compress(whole, rank=3, stack=True)
    assert np.array_equal(made.to_array() == np.float32(whole.fill_value), whole.mask)
    picture = lowrank.compress(lazy[0], rank=3)
    assert picture == lowrank.compress(whole[0], rank=3)
    assert picture.report(lazy[0]) == picture.report(whole[0])
    right = np.abs(made.to_array() - A.astype(float))[~whole.mask].max()
    assert made.report(lazy).pixels.max_abs_error == pytest.approx(right)


@pytest.mark.parametrize("colours", [(), (3,)])
@pytest.mark.parametrize("target", [{"rank": 2}, {"psnr": 45.0}, {"max_error": 2.0}])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_said_of_a_stack_is_said_of_its_data(seed, target, colours):
    """Frames that are not there at all are no frames of zeros; by what numpy says of the rest."""
    rng = np.random.default_rng(seed)
    shape = (30, 12, 14, *colours)
    A = rng.standard_normal((30, 2)) @ rng.standard_normal((2, math.prod(shape[1:])))
    A = (1000 + A + 0.1 * rng.standard_normal(A.shape)).reshape(shape).astype(np.float32)
    empty = rng.random(shape[:3]) < 0.2
    empty[[0, 7, 8, 29]] = True
    A[empty] = np.nan
    stack = lowrank.compress(A, stack=True, nodata=np.nan, **target)
    report, decoded = stack.report(A), np.asarray(stack).astype(float)
    assert np.array_equal(np.isnan(decoded), np.isnan(A))
    error = A - decoded
    mse, peak = np.nanmean(error**2), float(np.nanmax(A)) - float(np.nanmin(A))
    assert report.pixels.peak == report.stack.peak == pytest.approx(peak, rel=1e-9)
    assert report.pixels.psnr_db == pytest.approx(10 * np.log10(peak**2 / mse), abs=1e-6)
    assert report.pixels.psnr_db >= target.get("psnr", 0)
    assert report.pixels.max_abs_error <= target.get("max_error", np.inf)
    known = error[~empty.all(axis=(1, 2))].reshape(-1, error[0].size)
    each, f = 10 * np.log10(peak**2 / np.nanmean(known**2, axis=1)), report.stack.frame_psnr_db
    said = (each.min(), np.median(each), each.max())
    assert (f.min, f.median, f.max) == pytest.approx(said, abs=1e-6)
    variance = np.nanvar(A.astype(float))
    assert report.stack.snr_db == pytest.approx(10 * np.log10(variance / mse), abs=1e-6)
    residual = report.stack.residual
    for axis, found in enumerate(
        (residual.along_frames, residual.along_rows, residual.along_columns)
    ):
        moved = np.moveaxis(error, axis, 0)
        expected = np.nanmean(moved[1:] * moved[:-1]) / mse
        assert found == pytest.approx(expected, abs=1e-9)
