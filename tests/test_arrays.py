"""Samples that no mode of Pillow's holds, and stacks: through a file and back, and refused."""

import struct

import numpy as np
import pytest
from handmade import chunk
from handmade import lrk as handmade

from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import FormatError, LimitError
from lowrank.picture import DTYPES, Picture, array_mode
from lowrank.targets import Target


def samples(dtype, shape, seed=0):
    """Samples over the whole range of a type."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return (1e5 * rng.standard_normal(shape)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def through_a_file(picture, target, **kwargs):
    parts = codec.encode(picture, target, **kwargs).parts
    data = lrk.serialize(parts)
    assert len(data) == lrk.float_file_size(parts.head, sum(parts.ranks))
    again = lrk.parse(data, name="x.lrk", max_pixels=10**6)
    assert lrk.serialize(again) == data
    assert again.head == parts.head
    return codec.decode(again).picture


@pytest.mark.parametrize("shape", [(6, 9, 1), (6, 9, 5), (6, 9, 70), (4, 6, 9, 1), (4, 6, 9, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_survives_float64_at_full_rank(dtype, shape):
    A = samples(dtype, shape)
    found = through_a_file(
        Picture(A, array_mode(dtype, shape[-1])), Target("rank", 9), store="float64"
    )
    assert (found.samples.dtype, found.samples.shape) == (A.dtype, A.shape)
    if A.dtype.kind == "f":
        np.testing.assert_allclose(found.samples, A, rtol=0, atol=1e-6 * np.abs(A).max())
    else:
        np.testing.assert_array_equal(found.samples, A)


def test_a_stack_is_one_matrix_of_its_frames():
    A = samples("int16", (7, 5, 4, 3))
    parts = codec.encode(Picture(A, array_mode("int16", 3)), Target("rank", 2)).parts
    U, s, Vt = np.linalg.svd(A.reshape(7, -1).astype(float), full_matrices=False)
    assert parts.head.shape == (7, 60)
    (f,) = parts.body.factors
    np.testing.assert_allclose(f.s, s[:2], rtol=1e-9)
    np.testing.assert_allclose(f.tail, np.linalg.norm(s[2:]), rtol=1e-9)
    B = (U[:, :2] * s[:2]) @ Vt[:2]
    np.testing.assert_array_equal(
        codec.decode(codec.encode(
            Picture(A, array_mode("int16", 3)), Target("rank", 2), store="float64"
        ).parts).picture.samples,
        np.clip(np.rint(B), -32768, 32767).reshape(A.shape),
    )  # fmt: skip


def head(mode=8, layout=0, extra=b""):
    return struct.pack("<IIBBBB", 1, 1, mode, layout, 2, 0) + extra


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (head(), "too short"),
        (head(extra=struct.pack("<BH", 0, 1)), "header has"),
        (head(extra=struct.pack("<BH", 8, 1)), "unknown type of samples 8"),
        (head(extra=struct.pack("<BH", 255, 1)), "unknown type of samples 255"),
        (head(extra=struct.pack("<BH", 0, 0)), "number of channels 0"),
        (head(extra=struct.pack("<BH", 0, 4097)), "number of channels 4097"),
        (head(mode=9), "unknown mode 9"),
        (head(mode=1, layout=2), "too short"),
        (head(mode=1, layout=2, extra=struct.pack("<I", 0)), "number of frames 0"),
        (head(mode=1, layout=2, extra=struct.pack("<I", 2**31)), "number of frames"),
        (head(mode=1, layout=3), "unknown layout 3"),
    ],
)
def test_impossible_headers_are_refused(fields, says):
    with pytest.raises(FormatError, match=says):
        lrk.parse(handmade(chunk(b"HEAD", fields)), name="x.lrk", max_pixels=10**6)


def test_the_frames_count_against_the_limit():
    fields = head(mode=1, layout=2, extra=struct.pack("<I", 16_001))
    with pytest.raises(LimitError, match="16,001 frames of 1x1 pixels"):
        lrk.parse(handmade(chunk(b"HEAD", fields)), name="x.lrk", max_pixels=1000)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [6, 7])  # float32 and float64
@pytest.mark.parametrize(
    ("low", "high"), [(-1e308, 1e308), (0, np.inf), (np.nan, 1), (-np.inf, 0), (2, 1), (0, 4e38)]
)
def test_a_range_that_no_samples_have_is_refused_without_a_warning(dtype, low, high):
    possible = dtype == 7 and np.isfinite([low, high]).all() and low <= high
    fields = struct.pack("<IIBBBB", 1, 1, 8, 0, 3, 0) + struct.pack("<BH", dtype, 1)
    fields += struct.pack("<ddHHHHH", low, high, 1, 1, 1, 1, 1)
    data = handmade(chunk(b"HEAD", fields), chunk(b"PACK", b""))
    said = "ends early" if possible else "impossible range"
    with pytest.raises(FormatError, match=said):
        lrk.parse(data, name="x.lrk", max_pixels=10**6)
