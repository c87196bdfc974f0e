"""The library as the contract has it: what an image answers to, and what every mistake raises."""

from __future__ import annotations

import base64
import copy
import io
import json
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import consumer
import numpy as np
import pytest
from conftest import ROOT, picture
from PIL import Image

import lowrank
from lowrank import ArgumentError, LowrankError, UsageError
from lowrank.picture import MODES, Picture, array_mode

GREY = picture("L", 30, 40).samples[:, :, 0]
RGB = picture("RGB", 30, 40).samples


@pytest.fixture(scope="module")
def image():
    return lowrank.compress(RGB, rank=6)


@pytest.fixture(scope="module")
def packed():
    return lowrank.compress(RGB, quality=60)


# -- an image is an array -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16", "F"])
def test_an_image_is_an_array_of_its_shape_and_type(mode):
    A = picture(mode, 12, 16).samples
    A = A[:, :, 0] if A.shape[2] == 1 else A
    A = A.astype(bool) if mode == "1" else A
    image = lowrank.compress(A, rank=12, store="float64")
    assert (image.shape, image.dtype) == (A.shape, A.dtype)
    got = np.asarray(image)
    assert (got.shape, got.dtype) == (image.shape, image.dtype)
    np.testing.assert_allclose(got.astype(float), A.astype(float), rtol=1e-6, atol=1e-4)
    np.testing.assert_array_equal(got, image.to_array())


def test_numpy_asks_for_types_and_copies_as_of_any_array(image):
    whole = image.to_array()
    wide = np.array(image, dtype=np.float64)
    assert wide.dtype == np.float64
    np.testing.assert_array_equal(wide, whole)
    assert np.asarray(image, copy=True).flags.writeable
    with pytest.raises(ValueError, match="copy"):
        np.asarray(image, copy=False)
    assert np.abs(np.subtract(image, whole)).max() == 0
    again = lowrank.compress(image, rank=6)  # an image is an array to us, too
    assert again.shape == image.shape


MOVIE = np.add.outer(np.arange(5.0), GREY.astype(float)).astype(np.float32)
KEPT = {
    "grey": partial(lowrank.compress, GREY, rank=6),
    "colour": partial(lowrank.compress, RGB, rank=6, layout="patches"),
    "packed": partial(lowrank.compress, RGB, quality=60),
    "bilevel": partial(lowrank.compress, GREY > 90, rank=9),
    "gaps": partial(lowrank.compress, RGB, rank=6, nodata=int(RGB.max())),
    "stack": partial(lowrank.compress, MOVIE, stack=True, rank=2),
    "packed stack": partial(lowrank.compress, MOVIE, stack=True, quality=60),
}


@pytest.mark.parametrize("kind", KEPT)
def test_pictures_and_stacks_are_indexed_and_counted_as_what_they_decode_to(kind):
    kept = KEPT[kind]()
    A = kept.to_array()
    for name in ("shape", "ndim", "size", "nbytes", "dtype"):
        assert getattr(kept, name) == getattr(A, name)
    assert (kept.height, kept.width) == (30, 40)
    mask = A.mean() < A
    keys = (3, -1, np.s_[..., ::-2], np.s_[None, 2:4], (1, 2), np.s_[1, ..., 0], [0, 2], mask)
    for key in (*keys, (0,) * A.ndim, np.int64(2), np.s_[9:3], ()):
        found, expected = kept[key], A[key]
        assert type(found) is type(expected)
        np.testing.assert_array_equal(found, expected)
    assert len(kept) == len(list(kept)) == len(A)
    np.testing.assert_array_equal(list(kept), A)
    assert np.nanmax(A) in kept
    assert 1e9 not in kept
    for key in (99, 1.5, "a", (0,) * 9):
        with pytest.raises(IndexError):
            kept[key]
    kept[1][...] = 0  # of whoever asked
    np.testing.assert_array_equal(kept[1], A[1])
    held = len(pickle.dumps(kept))
    assert held == len(pickle.dumps(KEPT[kind]()))  # no samples that were decoded on the way
    assert pickle.loads(pickle.dumps(kept)) == kept


@pytest.mark.parametrize("memory", [None, "10M"])
def test_a_stack_stays_one_without_being_asked(memory):
    stack = lowrank.compress(MOVIE, stack=True, rank=2, store="float64")
    found = lowrank.compress(stack, rank=1, store="float64", memory=memory)
    assert isinstance(found, lowrank.LowRankStack)
    B = stack.to_array().reshape(len(stack), -1).astype(float)
    sigma = np.linalg.svd(B, compute_uv=False)
    np.testing.assert_allclose(found.singular_values, sigma[:1], rtol=1e-9)
    np.testing.assert_allclose(lowrank.spectrum(stack)[0], sigma, atol=1e-12 * sigma[0])
    (matrix,) = lowrank.ladder(stack, [1])[0].channels
    assert matrix.frobenius_bound == pytest.approx(np.linalg.norm(sigma[1:]), rel=1e-6)


def test_dask_takes_pictures_and_stacks_for_arrays():
    dask = pytest.importorskip("dask.array")
    for kept in (lowrank.compress(RGB, rank=6), lowrank.compress(MOVIE, stack=True, rank=2)):
        lazy = dask.from_array(kept, chunks=(2, 8, -1))
        np.testing.assert_array_equal(lazy[1:4, ::3].compute(), kept.to_array()[1:4, ::3])


@pytest.mark.parametrize("store", ["float16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["channels", "patches"])
def test_factors_are_the_matrices_of_the_file(layout, store):
    image = lowrank.compress(RGB, rank=3, layout=layout, store=store)
    m, n = image.parts.head.shape
    eps = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-12}[store]
    assert len(image.factors) == 3
    for (U, s, Vt), f in zip(image.factors, image.parts.body.factors, strict=True):
        assert (U.shape, s.shape, Vt.shape) == ((m, 3), (3,), (3, n))
        assert {U.dtype, s.dtype, Vt.dtype} == {np.dtype(np.float64)}
        np.testing.assert_allclose(U.T @ U, np.eye(3), atol=eps)
        np.testing.assert_allclose(Vt @ Vt.T, np.eye(3), atol=eps)
        assert (np.diff(s) <= 0).all()
        np.testing.assert_array_equal((U * s) @ Vt, (f.U.astype(float) * f.s) @ f.Vt.astype(float))
    if layout == "channels":
        B = np.stack([(U * s) @ Vt for U, s, Vt in image.factors], axis=2)
        np.testing.assert_array_equal(np.clip(np.rint(B), 0, 255), image)


def test_factors_of_a_packed_file_are_those_of_what_it_decodes_to(packed):
    from lowrank import codec

    _, matrices = codec.factors(packed.parts)
    for (U, s, Vt), B, k in zip(packed.factors, matrices, packed.ranks, strict=True):
        assert len(s) == k
        np.testing.assert_allclose((U * s) @ Vt, B, atol=1e-9 * np.linalg.norm(B))
        np.testing.assert_allclose(U.T @ U, np.eye(k), atol=1e-9)
    # At a given rank no smoothing stands between the matrices and the picture.
    image = lowrank.compress(GREY, rank=4, store="packed", layout="channels")
    ((U, s, Vt),) = image.factors
    assert np.abs(np.clip((U * s) @ Vt, 0, 255) - image).max() <= 0.5 + 1e-9


def test_components_of_a_packed_stack_are_those_of_what_it_decodes_to():
    t, y, x = np.ogrid[0:9, 0:16, 0:24]
    frames = (100 + 50 * np.sin(t / 3 + x / 9) + 30 * np.cos(t) * (y > x)).astype(np.uint8)
    stack = lowrank.compress(frames, stack=True, quality=70)
    assert stack.store == "packed"
    (k,) = stack.ranks
    assert stack.coefficients.shape == (9, k)
    assert stack.components.shape == (k, 16, 24)
    found = np.tensordot(stack.coefficients, stack.components, 1)
    assert np.abs(np.clip(found, 0, 255) - stack).max() <= 0.5 + 1e-9
    np.testing.assert_allclose(stack.project(found), stack.coefficients, atol=1e-8)


@pytest.mark.parametrize("level", [-500, 100, 1e5])
def test_components_of_packed_floats_are_of_the_samples_themselves(level):
    """Their file counts from the lowest sample: no curve may start there."""
    rng = np.random.default_rng(1)
    A = (rng.random((20, 2)) @ rng.random((2, 99)) * 300 + level).reshape(20, 9, 11)
    A = A.astype(np.float32)
    stack = lowrank.compress(A, stack=True, quality=90)
    found = np.tensordot(stack.coefficients, stack.components, 1)
    unit = np.ptp(A.astype(float)) / 65535
    assert np.abs(np.clip(found, A.min(), A.max()) - stack).max() <= 0.51 * unit + 1e-7 * abs(level)
    V = stack.components.reshape(len(stack.components), -1)
    curves = np.linalg.lstsq(V.T, A.reshape(20, -1).T.astype(float))[0].T
    np.testing.assert_allclose(stack.project(A), curves, atol=1e-9 * np.abs(curves).max())
    assert np.abs(np.tensordot(curves, stack.components, 1) - A).max() < 10
    with pytest.raises(UsageError, match="finite"):
        stack.project(np.full(A[0].shape, np.longdouble("1e4000")))


@pytest.mark.parametrize("layout", ["channels", "patches"])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_factors_of_packed_samples_that_count_from_a_level_have_it(layout, dtype):
    from lowrank import codec, layouts

    A = np.dstack([np.add.outer(np.arange(40), np.arange(50)) * i - 900 for i in (3, 2)])
    A = A.astype(dtype)
    image = lowrank.compress(A, quality=90, store="packed", layout=layout)
    turned, _ = codec.factors(image.parts)
    exact = layouts.of_samples(A.astype(float), layout, turned)
    for (U, s, Vt), B in zip(image.factors, exact, strict=True):
        assert np.linalg.norm((U * s) @ Vt - B) <= 0.02 * np.linalg.norm(B)


def test_factors_belong_to_who_asks(image):
    U, _, _ = image.factors[0]
    before = image.to_bytes()
    U[:] = 0
    assert image.to_bytes() == before


# -- equality, copies ----------------------------------------------------------------------------


def test_images_are_equal_where_their_files_are(image, packed):
    for one in (image, packed):
        for other in (
            lowrank.open(one.to_bytes()),
            copy.copy(one),
            copy.deepcopy(one),
            pickle.loads(pickle.dumps(one)),
        ):
            assert other == one
            assert hash(other) == hash(one)
            assert other.to_bytes() == one.to_bytes()
            assert other.notes == one.notes
    assert len({image, lowrank.open(image.to_bytes()), packed}) == 2
    assert image != packed
    assert image != image.truncate(5)
    assert image != lowrank.compress(RGB[::-1], rank=6)
    assert image != RGB.tobytes()
    whole = packed.to_bytes()
    cut = [lowrank.open(whole[:-n], partial=True) for n in (20, 20, 40)]
    assert cut[0] == cut[1]
    assert cut[0] != cut[2]
    assert cut[0] != packed


# -- notebooks -----------------------------------------------------------------------------------

ARRAYS = {
    "5 x uint16": Picture(np.full((6, 8, 5), 99, np.uint16), array_mode("uint16", 5)),
    "2 x float64": Picture(np.arange(96.0).reshape(6, 8, 2), array_mode("float64", 2)),
    "1 x int16": Picture(np.full((6, 8, 1), -7, np.int16), array_mode("int16", 1)),
}  # fmt: skip


@pytest.mark.parametrize("mode", [*MODES, *ARRAYS])
def test_notebooks_show_every_mode(mode):
    from lowrank import codec
    from lowrank.targets import Target

    source = ARRAYS.get(mode) or picture(mode, 6, 8)
    image = lowrank.LowRankImage(codec.encode(source, Target("rank", 6)).parts)
    with Image.open(io.BytesIO(image._repr_png_())) as shown:
        assert shown.format == "PNG"
        assert shown.size == (8, 6)
        if mode not in ("F", "CMYK", *ARRAYS):
            np.testing.assert_array_equal(np.asarray(shown), image.to_array())
    html = image._repr_html_()
    assert html.count("<") == html.count(">")
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert base64.b64decode(data).startswith(b"\x89PNG")
    for said in (f"{len(image.to_bytes()):,}", image.store, image.layout, "8 × 6"):
        assert said in html


def test_frames_without_data_are_shown_black():
    frames = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    frames[2], frames[1, 0] = np.nan, np.nan
    stack = lowrank.compress(frames, stack=True, rank=2, nodata=np.nan)
    with Image.open(io.BytesIO(stack._repr_png_())) as shown:
        assert not np.asarray(shown).any()
    assert "base64" in stack._repr_html_()


def test_what_a_notebook_shows_beside_the_table_is_small():
    image = lowrank.compress(np.tile(GREY, (20, 30)), rank=2)
    (data,) = re.findall(r"base64,([^\"]+)", image._repr_html_())
    with Image.open(io.BytesIO(base64.b64decode(data))) as shown:
        assert max(shown.size) == 480


# -- stacks answer to the same -------------------------------------------------------------------


def test_a_stack_is_an_array_too_and_equal_copied_shown_saved_and_reported_as_an_image_is(tmp_path):
    frames = np.random.default_rng(0).integers(0, 999, (8, 5, 6)).astype(np.uint16)
    stack = lowrank.compress(frames, stack=True, rank=3)
    path = tmp_path / "s.lrk"
    stack.save(path)
    opened = lowrank.open(path)
    assert (opened.shape, opened.dtype) == (frames.shape, frames.dtype)
    np.testing.assert_array_equal(np.asarray(opened), opened.to_array())
    with pytest.raises(UsageError, match="copy"):
        np.asarray(stack, copy=False)
    for one in (stack, opened):
        for other in (one, copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert other == stack
            assert hash(other) == hash(stack)
            np.testing.assert_array_equal(other[3, 1:], stack[3, 1:])
    assert stack != stack.truncate(2)
    assert stack != lowrank.compress(frames[0], rank=3)
    with Image.open(io.BytesIO(opened._repr_png_())) as shown:
        np.testing.assert_array_equal(np.asarray(shown), stack[4])
    assert ">8<" in opened._repr_html_()
    for wrong in (3, closed_file(), io.StringIO()):
        with pytest.raises(UsageError):
            stack.save(wrong)
    assert opened.report(frames).to_dict()["file"]["path"] == str(path)
    assert stack.report(frames).to_dict()["file"]["path"] is None
    (s,) = lowrank.spectrum(frames, stack=True)
    expected = np.linalg.svd(frames.reshape(8, -1).astype(float), compute_uv=False)
    np.testing.assert_allclose(s, expected, rtol=1e-9)
    reports = lowrank.ladder(frames, [1, 3], stack=True)
    assert [r.channels[0].k for r in reports] == [1, 3]
    assert reports[1].storage.bytes == len(stack.to_bytes())
    for names in ({"labels": 5}, {"values": ["a"] * 8}, {"unit": 3},
                  {"labels": ["a"]}, {"values": [None] * 8}):  # fmt: skip
        with pytest.raises(UsageError):
            lowrank.compress(frames, stack=True, rank=1, **names)
    with_nan = np.full((5, 6), np.nan)
    for wrong in (None, "x", frames[:, :3], with_nan, 1j * frames, [[1, 2], [3]], frames[None]):
        with pytest.raises(UsageError):
            stack.project(wrong)
    for wrong in (None, 3, frames[0], [], [frames[0], frames[0][:3]], frames[:4]):
        with pytest.raises(UsageError):
            stack.report(wrong)
    for wrong in (None, 3, frames[0], [], [frames[0], frames[0][:3]], frames[:0]):
        with pytest.raises(UsageError):
            lowrank.compress(wrong, stack=True, rank=1)
    for axis in ("0", 1.5, True, 7):
        for call in (partial(lowrank.compress, rank=1), lowrank.spectrum):
            with pytest.raises(UsageError, match="axis"):
                call(frames, axis=axis)


# -- spectrum, ladder, reports -------------------------------------------------------------------


def test_the_spectrum_is_all_singular_values_of_each_matrix():
    found = lowrank.spectrum(RGB)
    assert len(found) == 3
    for c, s in enumerate(found):
        expected = np.linalg.svd(RGB[:, :, c].astype(float), compute_uv=False)
        np.testing.assert_allclose(s, expected, rtol=1e-9, atol=1e-9 * s[0])
    image = lowrank.compress(RGB, rank=6, layout="patches")
    for s, f in zip(lowrank.spectrum(RGB, layout="patches"), image.parts.body.factors, strict=True):
        assert len(s) == min(f.m, f.n)
        np.testing.assert_allclose(s[: f.k], f.s, rtol=1e-9)
        np.testing.assert_allclose(np.linalg.norm(s[f.k :]), f.tail, rtol=1e-6)


def test_a_ladder_is_what_compress_and_report_say_of_each_rank():
    reports = lowrank.ladder(RGB, np.array([5, 1, 99]))
    assert [r.channels[0].k for r in reports] == [5, 1, 30]
    for report in reports:
        image = lowrank.compress(RGB, rank=report.channels[0].k)
        alone = image.report(RGB)
        assert report.storage.bytes == alone.storage.bytes == len(image.to_bytes())
        assert report.pixels.rmse == pytest.approx(alone.pixels.rmse, rel=1e-6)
        for a, b in zip(report.channels, alone.channels, strict=True):
            assert a.certified
            assert a.frobenius_error == pytest.approx(b.frobenius_error, rel=1e-6, abs=1e-6)
            assert a.spectral_bound == pytest.approx(b.spectral_bound, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("store", ["auto", "float32", "float64"])
@pytest.mark.parametrize("stack", [False, True])
def test_a_ladder_measures_what_rounding_float64_takes(store, stack):
    A = np.random.default_rng(0).standard_normal((9, 8, 7) if stack else (9, 8))
    for k, report in zip((3, 9), lowrank.ladder(A, (3, 9), stack=stack, store=store), strict=True):
        error = A - np.asarray(lowrank.compress(A, rank=k, stack=stack, store=store), float)
        assert report.pixels.max_abs_error == pytest.approx(np.abs(error).max(), rel=1e-9)
        assert report.pixels.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-9)


def test_a_ladder_proves_each_rank_that_compress_and_report_prove():
    """In a crowd of values the last of a larger decomposition is none that a proof takes."""
    rng = np.random.default_rng(1)
    s = np.concatenate([np.geomspace(1e3, 1.5, 5), (1 - 5e-4) ** np.arange(61.0)])
    s = np.concatenate([s, np.geomspace(0.96, 0.1, 160 - len(s))])
    for _ in range(12):
        U, V = (np.linalg.qr(rng.normal(size=(n, 160)))[0] for n in (160, 460))
        A = (U * s) @ V.T
        A = np.rint(32000 * A / np.abs(A).max()).astype(np.int16)
        sigma = np.linalg.svd(A.astype(float), compute_uv=False)
        for report in lowrank.ladder(A, range(5, 10)):
            (found,) = report.channels
            assert found.certified
            assert found.sigma_next == pytest.approx(sigma[found.k], rel=1e-6)


def test_a_report_is_the_object_that_the_command_line_prints(cli, small_png):
    cli("compress", "in.png", "-k", "3", "-o", "a.lrk").succeeded()
    printed = json.loads(cli("report", "in.png", "a.lrk", "--json").succeeded().text)
    path = str(small_png)
    report = lowrank.open(small_png.with_name("a.lrk")).report(path).to_dict()
    assert report["source"].pop("path") == path
    assert report["file"].pop("path") == str(small_png.with_name("a.lrk"))
    assert (printed["source"].pop("path"), printed["file"].pop("path")) == ("in.png", "a.lrk")
    assert report == printed
    assert json.loads(json.dumps(report)) == report


def test_a_report_of_an_image_in_memory_knows_its_size_and_no_path(image):
    said = image.report(RGB).to_dict()["file"]
    assert said == {
        "path": None, "bytes": len(image.to_bytes()), "layout": "channels",
        "store": image.store, "bits_per_pixel": 8 * len(image.to_bytes()) / 1200,
    }  # fmt: skip
    assert lowrank.open(image.to_bytes()).report(RGB).to_dict()["file"] == said


# -- mistakes ------------------------------------------------------------------------------------


def closed_image():
    one = Image.fromarray(GREY)
    one.close()
    return one


def closed_file():
    stream = io.BytesIO(b"")
    stream.close()
    return stream


def part_of_a_pixel_masked():
    A = np.ma.array(RGB.copy())
    A[3, 4, 0] = np.ma.masked
    return A


MISTAKEN_IMAGES = {
    "None": None,
    "a number": 2.7,
    "no axes": np.array(3),
    "one axis": np.zeros(9),
    "five axes": np.zeros((2, 2, 2, 2, 2)),
    "four axes without samples": np.zeros((2, 0, 2, 2)),
    "no samples": np.zeros((0, 4)),
    "an empty list": [],
    "a ragged list": [[1, 2], [3]],
    "a dict": {},
    "an object": object(),
    "complex": np.zeros((3, 3), complex),
    "dates": np.zeros((3, 3), "M8[s]"),
    "fields": np.zeros((3, 3), [("a", "u1")]),
    "texts": np.array([["a", "b"]]),
    "NaN": np.full((3, 3), np.nan),
    "infinity": np.full((3, 3), -np.inf),
    "a mask without a value that stands for it": np.ma.masked_greater(GREY, 100),
    "a mask of some channels": part_of_a_pixel_masked(),
    "numpy's masked": np.ma.masked,
    "masks of elements": [np.ma.masked] * 3,
    "a mask without axes": np.ma.array(5, mask=True),
    "a closed image": closed_image(),
    "a closed file": closed_file(),
    "a text file": io.StringIO("text"),
}


class Lazy:
    """An array that gives its samples when it is asked for them."""

    def __init__(self, samples, take, dtype=None):
        self.shape, self.dtype = samples.shape, dtype or samples.dtype
        self._samples, self._take = samples, take

    def __getitem__(self, key):
        return self._take(self._samples[key])


class Tensor(Lazy):
    """One whose types are not numpy's, and which numpy can ask for an array all the same."""

    def __array__(self, dtype=None, copy=None):
        return self._take(self._samples)


FRAMES = np.random.default_rng(5).integers(0, 4000, (9, 7, 8)).astype(np.uint16)


def gone(samples):
    raise OSError("the disk is gone")


@pytest.mark.parametrize("memory", [None, "10M"])
@pytest.mark.parametrize(
    "array",
    [
        Lazy(FRAMES, gone),
        Lazy(FRAMES, lambda x: x[:, :1]),  # which numpy would repeat
        Lazy(FRAMES, lambda x: x + 0.5),  # and cut off what is behind the point
        Lazy(FRAMES, lambda x: x, np.uint8),
        Lazy(FRAMES, lambda x: x + 1j, np.float64),
        Lazy(FRAMES, lambda x: x, "torch.uint16"),
        Tensor(FRAMES, gone, "torch.uint16"),
        (frame for frame in FRAMES),
        pathlib.Path().glob("*.png"),
    ],
    ids=[
        "raises",
        "smaller",
        "fractions",
        "wider",
        "complex",
        "unknown type",
        "raises as a whole",
        "generator",
        "glob",
    ],
)
def test_whatever_a_lazy_array_does_is_our_error(array, memory):
    with pytest.raises(LowrankError) as caught:
        lowrank.compress(array, stack=True, rank=2, memory=memory)
    one_line(caught.value)


def test_arrays_of_other_libraries_are_asked_for_as_numpy_asks():
    expected = lowrank.compress(FRAMES, stack=True, rank=2)
    tensor = Tensor(FRAMES, lambda x: x, "torch.uint16")
    assert lowrank.compress(tensor, stack=True, rank=2) == expected
    lines = pytest.importorskip("dask.array").from_array(FRAMES, chunks=(4, 7, 3))
    unknown = lines[lines[:, 0, 0] >= 0]  # how many that are, dask does not know
    assert lowrank.compress(unknown, stack=True, rank=2) == expected
    narrower = Lazy(FRAMES, lambda x: x.astype(">u2"), np.float32)  # which holds what it gives
    np.testing.assert_allclose(lowrank.compress(narrower, stack=True, rank=9), FRAMES, atol=0.01)


def test_a_lazy_array_may_be_made_of_pictures_that_another_thread_reads(small_png):
    def read(samples):
        one = ThreadPoolExecutor(1)
        one.submit(lowrank.compress, small_png, rank=1).result(timeout=60)
        one.shutdown(wait=False)
        return samples

    stack = lowrank.compress(Lazy(FRAMES, read), stack=True, rank=2)
    assert stack == lowrank.compress(FRAMES, stack=True, rank=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stack": "no"}, {"stack": 2}, {"stack": FRAMES}, {"stack": None},
        {"values": [10**400] * 9}, {"values": [np.nan] * 9}, {"values": [None] * 9},
        {"labels": 3}, {"labels": ["a"]}, {"unit": None},
    ],
    ids=repr,
)  # fmt: skip
def test_mistakes_about_frames_are_usage_errors(wrong):
    with pytest.raises(UsageError) as caught:
        lowrank.compress(FRAMES, rank=2, **({"stack": True} | wrong))
    one_line(caught.value)


def one_line(error):
    assert str(error)
    assert "\n" not in str(error)
    assert str(error).isprintable()


@pytest.mark.parametrize("mistake", MISTAKEN_IMAGES)
def test_what_is_no_image_is_a_usage_error_wherever_it_is_given(mistake):
    wrong = MISTAKEN_IMAGES[mistake]
    image = lowrank.compress(GREY, rank=2)
    calls = (partial(lowrank.compress, rank=2), lowrank.spectrum,
             partial(lowrank.ladder, ranks=[2]), image.report)  # fmt: skip
    for call in calls:
        with pytest.raises(UsageError) as caught:
            call(wrong)
        assert isinstance(caught.value, ValueError)
        one_line(caught.value)


def test_an_image_that_was_closed_before_it_was_read_says_so(small_png):
    with Image.open(small_png) as one:
        pass
    for closed in (one, closed_image()):
        with pytest.raises(UsageError, match="is closed; compress it while it is open"):
            lowrank.compress(closed, rank=2)


NO_RANK = (
    "20",
    "",
    2.7,
    True,
    np.True_,
    0,
    -3,
    np.nan,
    np.inf,
    10**400,
    [3],
    np.array(3),
    1j,
    np.complex64(3),
    np.ma.masked,
    np.timedelta64(3, "s"),
    np.timedelta64(3, "ns"),
    b"3",
)


@pytest.mark.parametrize("rank", NO_RANK, ids=repr)
def test_what_is_no_rank_is_a_usage_error_wherever_it_is_given(image, rank):
    calls = (
        lambda: lowrank.compress(GREY, rank=rank),
        lambda: image.truncate(rank),
        lambda: image.to_array(rank),
        lambda: image.to_image(rank),
        lambda: lowrank.ladder(GREY, [5, rank]),
    )
    for call in calls:
        with pytest.raises(UsageError, match="rank") as caught:
            call()
        one_line(caught.value)
        assert ("or auto" in str(caught.value)) == (call is calls[0])  # the others take none
    with pytest.raises(UsageError, match=r"^memory x is"):  # as an argument is called, no option
        lowrank.compress(GREY, rank=3, memory="x")
    for wrong in ([], True, -1):
        with pytest.raises(UsageError, match=r"^memory .* bytes") as caught:
            lowrank.compress(GREY, rank=1, memory=wrong)
        one_line(caught.value)


SPAN = np.timedelta64(3, "ns")  # which numpy counts among the integers


@pytest.mark.parametrize(
    "wrong",
    [{"nodata": SPAN}, {"max_pixels": SPAN}, {"axis": SPAN}, {"memory": SPAN}, {"energy": SPAN}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_span_of_time_is_no_number(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))) as caught:
        lowrank.compress(GREY, **{"stack": "axis" in wrong, **wrong})
    one_line(caught.value)


@pytest.mark.parametrize("store", ["float16", "float64"])
def test_a_file_that_is_shortened_twice_is_the_file_that_is_shortened_once(store):
    A = np.random.default_rng(0).normal(128, 40, (40, 60, 3)).clip(0, 255).astype(np.uint8)
    for whole in (
        lowrank.compress(A, rank=30, store=store),
        lowrank.compress(
            A.reshape(40, 60, 3)[..., 0].reshape(40, 6, 10), stack=True, rank=30, store=store
        ),
    ):
        for k in (17, 5, 1):
            once = whole.truncate(k)
            assert whole.truncate(25).truncate(k) == once
            assert whole.truncate(25).truncate(k).to_bytes() == once.to_bytes()


def test_numbers_of_numpy_are_numbers(image):
    for rank in (np.int64(3), np.uint8(3), np.float32(3), 3.0):
        assert lowrank.compress(GREY, rank=rank).ranks == image.truncate(rank).ranks[:1] == (3,)
    floats = {"store": "float16", "layout": "channels"}
    sizes = [lowrank.compress(GREY, size=n, **floats).to_bytes() for n in (900, np.int32(900))]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"energy": "99%"}, {"energy": 99}, {"error": True}, {"error": -0.1}, {"psnr": [30]},
        {"psnr": np.nan}, {"size": "20k"}, {"size": 0}, {"quality": "75"}, {"quality": 0},
        {"rank": 3, "layout": 3}, {"rank": 3, "layout": np.array(["a", "b"])},
        {"rank": 3, "store": b"float16"}, {"rank": 3, "max_pixels": "5M"},
        {"rank": 3, "max_pixels": 0}, {"rank": 3, "max_pixels": 2.5}, {"rank": 3, "nodata": "x"},
        {"rank": 3, "nodata": True}, {"rank": 3, "nodata": np.inf}, {"rank": 3, "error": 0.1},
    ],
    ids=str,
)  # fmt: skip
def test_every_other_mistake_is_a_usage_error_too(wrong):
    with pytest.raises(UsageError) as caught:
        lowrank.compress(GREY, **wrong)
    one_line(caught.value)


@pytest.mark.parametrize("ranks", ["5", b"5", 5, None, np.array(5), [], np.empty(0)], ids=repr)
def test_ranks_that_are_no_list_are_a_usage_error(ranks):
    with pytest.raises(UsageError, match="list") as caught:
        lowrank.ladder(GREY, ranks)
    one_line(caught.value)


@pytest.mark.parametrize("stack", [False, True])
def test_numbers_beyond_float64_are_refused_without_a_warning(stack):
    A = np.full((4, 5, 6), np.finfo(np.longdouble).max)
    if A.max() == np.finfo(np.float64).max:
        pytest.skip("here a longdouble is a float64")
    with pytest.raises(ArgumentError, match="infinite"):
        lowrank.compress(A, rank=1, stack=stack)


@pytest.mark.parametrize("wrong", ["no", "", 2, None, np.ones(3, bool)], ids=repr)
def test_what_is_neither_true_nor_false_is_a_usage_error(image, tmp_path, wrong):
    """`partial="no"` took damaged files, and `force="no"` replaced whole ones."""
    data = image.to_bytes()
    calls = (
        lambda: lowrank.open(data, partial=wrong),
        lambda: image.save(tmp_path / "a.lrk", force=wrong),
        lambda: lowrank.compress(FRAMES, rank=1, stack=wrong),
    )
    for call in calls:
        with pytest.raises(UsageError, match="neither True nor False") as caught:
            call()
        one_line(caught.value)
    for right in (True, np.True_, 1):
        assert lowrank.open(data, partial=right) == image


def test_files_that_are_none_or_not_open_are_usage_errors(image, tmp_path):
    path = tmp_path / "there"
    path.write_bytes(b"x")
    with path.open("rb") as reader:
        wrong = [3, None, b"name", io.StringIO(), closed_file(), reader]
        for target in wrong:
            with pytest.raises(UsageError) as caught:
                image.save(target)
            one_line(caught.value)
        for source in (3, None, GREY, io.StringIO(), closed_file()):
            with pytest.raises(UsageError):
                lowrank.open(source)
    with io.FileIO(path, "wb") as writer, pytest.raises(UsageError):
        lowrank.open(writer)
    with pytest.raises(UsageError, match="max_pixels"):
        lowrank.open(image.to_bytes(), max_pixels="5M")
    with pytest.raises(LowrankError, match="null byte"):
        lowrank.compress("a\0b", rank=3)
    for ranks in (5, "5,10", [], None):
        with pytest.raises(UsageError, match="give one such as"):
            lowrank.ladder(GREY, ranks)


class InPieces(io.RawIOBase):
    """A raw file that takes 100 bytes at a time."""

    def __init__(self):
        self.taken = b""

    def writable(self):
        return True

    def write(self, data):
        self.taken += bytes(data[:100])
        return min(len(data), 100)


class Full(InPieces):
    def write(self, data):
        raise OSError(28, "No space left on device")


def test_a_file_that_takes_pieces_gets_all_of_them_and_a_full_one_is_an_error(image):
    stream = InPieces()
    image.save(stream)
    assert stream.taken == image.to_bytes()
    with pytest.raises(lowrank.FileError, match="No space left"):
        image.save(Full())


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-60, 1e-30, 1e30, 1e60, 1e200, 1e308])
@pytest.mark.parametrize("wish", [
    {"rank": 2}, {"rank": 2, "store": "float64"}, {"error": 0.1}, {"error": 0.1, "memory": "1G"},
])  # fmt: skip
def test_samples_of_any_size_are_kept_or_refused(scale, wish):
    A = scale * np.random.default_rng(0).uniform(-1, 1, (8, 9))
    if not 1e-40 < scale < 1e40:
        with pytest.raises(ArgumentError, match="scale them"):
            lowrank.compress(A, **wish)
        return
    found = np.asarray(lowrank.open(lowrank.compress(A, **wish).to_bytes()))
    assert np.linalg.norm((found - A) / scale) < np.linalg.norm(A / scale)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
@pytest.mark.parametrize("wish", [{}, {"memory": "1G"}, {"stack": True}, {"error": 0.1}])
def test_what_no_decomposition_takes_is_an_argument_where_it_is_one(tmp_path, bad, wish):
    """And in a file it is none, whichever way it is read."""
    A = np.ones((5, 6, 7) if "stack" in wish else (6, 7))
    A.flat[3] = bad
    wish = wish if "error" in wish else {"rank": 2, **wish}
    with pytest.raises(ArgumentError) as said:
        lowrank.compress(A, **wish)
    assert not isinstance(said.value.__cause__, ArgumentError)  # and it is said once
    np.save(tmp_path / "bad.npy", A)
    with pytest.raises(lowrank.ImageError) as caught:
        lowrank.compress(tmp_path / "bad.npy", **wish)
    assert type(caught.value) is lowrank.ImageError
    other = lowrank.compress(np.ones_like(A), **wish)
    for ask in (lowrank.spectrum, partial(lowrank.ladder, ranks=[2]), other.report):
        with pytest.raises(ArgumentError):
            ask(A)


def test_an_axis_is_one_of_an_array_and_no_image_of_pillow_is_one(small_png):
    """Of a palette the indices would be samples, and of YCbCr the brightness."""
    with Image.open(small_png) as image:
        for mode in ("RGB", "P", "PA", "YCbCr"):
            one = image.convert("RGB").convert("P" if mode == "PA" else mode).convert(mode)
            for given in (one, [one, one]):
                for axis in (-1, 1, 2):
                    with pytest.raises(UsageError, match="axis is one of an array"):
                        lowrank.compress(given, rank=2, stack=True, axis=axis)


def test_every_mistake_is_caught_as_the_kind_it_is():
    assert issubclass(UsageError, ValueError)
    assert issubclass(lowrank.ArgumentError, UsageError)
    assert issubclass(lowrank.ArgumentError, lowrank.ImageError)


# -- types ---------------------------------------------------------------------------------------


def test_the_types_hold_in_a_program_that_uses_them(request, tmp_path):
    """Under mypy --strict, as for any other program: nothing of ours is configured."""
    pytest.importorskip("mypy")
    # What mypy knows of numpy and Pillow is kept beside what pytest keeps: to find it takes long.
    kept = getattr(request.config, "cache", None)
    found = kept.mkdir("mypy") if kept else tmp_path
    command = [
        sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary",
        "--cache-dir", str(found), str(ROOT / "tests" / "consumer.py"),
    ]  # fmt: skip
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout


def test_that_program_runs(tmp_path):
    for found in (*consumer.sources(tmp_path), *consumer.sinks(tmp_path)):
        np.testing.assert_array_equal(found, consumer.A)
    assert consumer.numbers()["channels"][0]["k"] == 3
    assert "give" in consumer.refused()
    assert consumer.squeezed(tmp_path / "a.png").store == "packed"
    np.testing.assert_array_equal(consumer.stacks(tmp_path, True), consumer.A[[3, 3], [4, 4]])


def test_the_types_are_told_to_others():
    assert (ROOT / "lowrank" / "py.typed").is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["lowrank"]}
