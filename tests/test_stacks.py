"""Stacks: the theorem, any part as of the whole, what a damaged file says, and labels."""

from __future__ import annotations

import json
import pickle
import struct
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from conftest import ROOT
from goldens import SMALL, known
from handmade import chunk
from PIL import Image, features

import lowrank
from lowrank import codec, files
from lowrank import format as lrk
from lowrank.errors import FormatError, LimitError, LowrankError, UsageError
from lowrank.format import header, mapped
from lowrank.picture import DTYPES, MODES, Picture, array_mode, axis
from lowrank.picture.axis import Axis
from lowrank.report import peers
from lowrank.stores import sums
from lowrank.stores.packed.frames import tiled as tiled_stacks
from lowrank.targets import Target

sys.path.insert(0, str(ROOT / "fuzz"))
import mutators


def frames(dtype="uint16", shape=(24, 18, 20), rank=4, noise=3.0, seed=0):
    """Frames of low rank and some noise, over a good part of a type's range."""
    rng = np.random.default_rng(seed)
    n = int(np.prod(shape[1:]))
    A = rng.random((shape[0], rank)) @ rng.random((rank, n)) * 25
    A += noise * rng.standard_normal(A.shape)
    if np.dtype(dtype).kind != "f":
        limits = np.iinfo(dtype)
        scale = 1 if limits.bits == 8 else 300
        A = np.clip(np.rint(A * scale - 30 * (limits.min < 0)), limits.min, limits.max)
    return A.reshape(shape).astype(dtype)


def opened(stack, tmp_path):
    path = tmp_path / "stack.lrk"
    stack.save(path)
    return lowrank.open(path)


# -- the theorem -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(d, (24, 18, 20)) for d in DTYPES] + [("uint8", (9, 12, 14, 3)), ("uint16", (70, 5, 6, 2))],
)
def test_bounds_are_those_of_the_svd_and_errors_meet_them(dtype, shape):
    A = frames(dtype, shape)
    M = A.reshape(len(A), -1).astype(np.float64)
    s = np.linalg.svd(M, compute_uv=False)
    stack = lowrank.compress(A, stack=True, rank=5)
    report = stack.report(A)
    (c,) = report.channels
    assert (c.name, c.m, c.n, c.k) == ("stack", *M.shape, 5)
    np.testing.assert_allclose(c.spectral_bound, s[5], rtol=1e-6)
    np.testing.assert_allclose(c.frobenius_bound, np.linalg.norm(s[5:]), rtol=1e-6)
    assert c.certified
    for error, bound in (
        (c.spectral_error, c.spectral_bound),
        (c.frobenius_error, c.frobenius_bound),
    ):
        assert 1 - 1e-6 <= error / bound <= 1.002
    assert report.storage.floats == 5 * (M.shape[0] + M.shape[1] + 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_samples_are_those_of_the_exact_stack_or_its_neighbours(dtype):
    A = frames(dtype, (40, 21, 23))
    found = np.asarray(lowrank.compress(A, stack=True, rank=6, store="float32")).astype(int)
    U, s, Vt = np.linalg.svd(A.reshape(40, -1).astype(float), full_matrices=False)
    limits = np.iinfo(dtype)
    exact = np.clip(np.rint((U[:, :6] * s[:6]) @ Vt[:6]), limits.min, limits.max)
    apart = np.abs(found.reshape(40, -1) - exact)
    assert apart.max() <= 1
    assert (apart == 0).mean() >= 0.98


@pytest.mark.parametrize(
    "target", [{"rank": "auto"}, {"energy": 0.999}, {"error": 0.02}, {"size": 9000}]
)
def test_every_target_is_met(target):
    A = frames("uint16")
    stack = lowrank.compress(A, stack=True, store="float16", **target)
    s = np.linalg.svd(A.reshape(len(A), -1).astype(float), compute_uv=False)
    tails = np.sqrt(np.cumsum((s**2)[::-1])[::-1]) / np.linalg.norm(s)
    (k,) = stack.ranks
    if "energy" in target or "error" in target:
        allowed = target.get("error", np.sqrt(1 - target.get("energy", 0)))
        assert tails[k] <= allowed < tails[k - 1]
    if "size" in target:
        assert (
            len(stack.to_bytes())
            <= 9000
            < len(lowrank.compress(A, stack=True, store="float16", rank=k + 1).to_bytes())
        )
    if "rank" in target:
        assert k == 4  # the rank that is there, above the noise


# -- any part as of the whole -----------------------------------------------------------

DISC = np.hypot(*np.ogrid[-9:9, -8:12]) < 5

KEYS = [
    7,
    -1,
    slice(3, 9),
    np.s_[3:9, 2:7, 1:8],
    np.s_[:, 5, 6],
    np.s_[..., 2],
    np.s_[::-1],  # and those that follow are of the same stack
    np.s_[:],
    np.s_[::-1, 3, ::-1],
    np.s_[::-5],
    np.s_[20:2:-3, ::-2, 1::5],
    np.s_[5:2],
    np.s_[[1, 5, 5, -2]],
    np.s_[:, [3, 2], [1, 1]],
    np.s_[3, :, [1, 2]],
    np.s_[None, 4],
    (np.arange(24) % 7 == 0,),
    np.s_[:, DISC],
    np.s_[2, DISC],
    np.s_[np.arange(24 * 18).reshape(24, 18) % 100 == 7, 3:9],
    np.s_[True, ..., 1],
    np.s_[[]],
    np.s_[4, 5, 6],
    np.s_[4, 5, ..., 2],
    np.s_[4, 5, 6, ...],
    np.s_[[2, 1], ..., 3, [0, 1]],
    np.s_[None, [2, 1], 3, ..., [[0], [1]]],
    (),
]


@pytest.mark.parametrize("colours", [(), (3,)])
@pytest.mark.parametrize("store", ["float16", "float64"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_indexing_is_numpys_on_the_decoded_stack(dtype, store, colours, tmp_path):
    if dtype == "float64" and store != "float64":
        pytest.skip("only float64 keeps float64")
    A = frames(dtype, (24, 18, 20, *colours))
    memory = lowrank.compress(A, stack=True, rank=5, store=store)
    whole = np.asarray(memory)
    assert (whole.dtype, whole.shape) == (A.dtype, A.shape)
    for key in KEYS:
        # Opened anew: what was checked for one key is not yet for the next.
        for stack in (memory, opened(memory, tmp_path)):
            found = stack[key]
            assert (type(found), found.shape) == (type(whole[key]), whole[key].shape), key
            assert found.tobytes() == np.ascontiguousarray(whole[key]).tobytes(), key


class Whole:
    """A whole number of another library's, which says so as Python asks for it."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


@pytest.mark.parametrize("tiled", [False, True])
def test_a_packed_stack_backwards_is_what_it_is_forwards_the_other_way(tiled, monkeypatch):
    if tiled:
        monkeypatch.setattr(tiled_stacks, "LARGEST", 6 * 16 * 16)
    stack = lowrank.compress(frames("uint8", (6, 18, 20)), stack=True, quality=50)
    assert stack.in_parts == tiled
    whole = stack.to_array()
    for key in (np.s_[::-1], np.s_[::-2, ::-1, ::-3], np.s_[2, ::-1], np.s_[:, :, 9:2:-1]):
        np.testing.assert_array_equal(stack[key], whole[key])
    np.testing.assert_array_equal(stack[:], whole)


@pytest.mark.parametrize("store", ["float32", "packed"])
@pytest.mark.parametrize("key", [(7,), (-1, 3), (slice(2, 9), -2, 4), ([1, 5], 3)])
def test_what_has_an_index_is_one(store, key):
    target = {"quality": 50} if store == "packed" else {"rank": 3}
    stack = lowrank.compress(frames("uint8"), stack=True, store=store, **target)
    asked = tuple(Whole(k) if isinstance(k, int) else k for k in key)
    np.testing.assert_array_equal(stack[asked], stack.to_array()[key])
    with pytest.raises(IndexError):
        stack[Whole(24)]


@pytest.mark.parametrize(
    "key",
    [24, -25, np.s_[:, 18], np.s_[0, 0, 0, 0], 1.5, "a", [[9.0]], DISC, np.array([])],
    ids=repr,
)
def test_what_is_no_index_is_an_index_error(key):
    stack = lowrank.compress(frames(), stack=True, rank=1)
    with pytest.raises(IndexError):
        stack[key]


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_a_sample_is_the_sum_of_its_terms_in_their_order(dtype):
    """Terms that cancel: whoever adds them in another order rounds to another sample."""
    rng = np.random.default_rng(1)
    U, V = rng.standard_normal((9, 40)), rng.standard_normal((40, 300))
    s = np.full(40, 3e4)
    U[:, 20:], V[20:] = -U[:, :20], V[:20] * (1 + 2.0**-20 * rng.standard_normal((20, 300)))
    V /= np.abs(V).max()
    mode = array_mode(dtype, 1)
    found = sums.samples(sums.scaled(U, s), V, mode)
    expected = np.zeros((9, 300))
    for j in range(40):
        expected = expected + (U[:, j] * s[j])[:, np.newaxis] * V[j]
    if dtype == "uint16":
        expected = np.clip(np.rint(expected), 0, 65535)
    np.testing.assert_array_equal(found, expected.astype(dtype))
    np.testing.assert_array_equal(
        sums.samples(sums.scaled(U, s)[3:4], V[:, 7::5], mode), found[3:4, 7::5]
    )


def test_an_order_that_blas_could_take_is_summed_again(monkeypatch):
    """With halves everywhere, any rounding of the product shows, unless it is done anew."""
    mode = MODES["I;16"]
    U = np.array([[1.0, 0.5, 2.0**-60]])
    V = np.array([[1.0], [1.0], [1.0]])
    # 1 + 0.5 + 2^-60 is 1.5 in float64, and rounds to even.
    assert sums.samples(sums.scaled(U, np.ones(3)), V, mode)[0, 0] == 2
    real = np.matmul
    calls = []
    monkeypatch.setattr(sums, "_in_order", lambda *a: calls.append(a) or _ordered(*a))
    sums.samples(sums.scaled(U, np.ones(3)), V, mode)
    assert calls
    assert real is np.matmul


def _ordered(products, shape):
    total = np.zeros(shape)
    for product in products:
        total += product
    return total


# -- a file that stays on the disk ------------------------------------------------------


def large(tmp_path, store="float16"):
    """A stack whose terms are larger than what is checked whole for a pixel."""
    A = frames("uint16", (300, 70, 80), noise=30.0)
    stack = lowrank.compress(A, stack=True, rank=3, store=store)
    path = tmp_path / "large.lrk"
    stack.save(path)
    return stack, path


def places(path):
    """Offset of SUMS' data, and of the data of each TERM, found chunk by chunk."""
    data = path.read_bytes()
    at, found = 9, {}
    while at < len(data):
        size, kind = struct.unpack_from("<I4s", data, at)
        found.setdefault(kind, []).append(at + 8)
        at += 12 + size
    return found[b"SUMS"][0], found[b"TERM"]


def test_a_trace_uses_no_more_than_twice_the_bytes_that_it_needs(tmp_path):
    """All bytes but those are destroyed, and it is still right."""
    stack, path = large(tmp_path)
    expected = np.asarray(stack)[:, 50, 60]
    sums_at, terms = places(path)
    data = bytearray(path.read_bytes())
    keep = np.zeros(len(data), bool)
    keep[: terms[0] - 8] = True  # the header and SUMS
    keep[-12:] = True
    m, n = 300, 70 * 80
    column = (50 * 80 + 60) * 2
    piece = column // 1024 * 1024
    used = 0
    for at in terms:
        keep[at : at + 2 * m] = True
        keep[at + 2 * m + piece : at + 2 * m + min(piece + 1024, 2 * n)] = True
        used += 2 * m + 1024 + 8
    assert sums_at < terms[0]
    assert used <= 3 * 3 * (m + 1) * 2  # of 1000 frames it is at most twice
    damaged = np.frombuffer(bytes(data), np.uint8).copy()
    damaged[~keep] ^= 0xFF
    path.write_bytes(damaged.tobytes())
    found = lowrank.open(path)
    np.testing.assert_array_equal(found[:, 50, 60], expected)
    with pytest.raises(FormatError, match="TERM"):
        found[:, 0, 0]
    with pytest.raises(FormatError, match="TERM"):
        found[0]


def test_damage_is_found_where_it_is_used(tmp_path):
    stack, path = large(tmp_path)
    whole = np.asarray(stack)
    _, terms = places(path)
    sound = path.read_bytes()
    column = (50 * 80 + 60) * 2
    for at, uses in ((terms[1] + 7, "u"), (terms[2] + 600 + column, "v")):
        data = bytearray(sound)
        data[at] ^= 1
        path.write_bytes(data)
        for key in (np.s_[3], np.s_[:, 50, 60], np.s_[2:4, 50, 58:64]):
            with pytest.raises(FormatError, match="checksum"):
                lowrank.open(path)[key]
        for whole_use in (np.asarray, lambda s: s.to_bytes(), lambda s: s.components):
            with pytest.raises(FormatError, match="checksum"):
                whole_use(lowrank.open(path))
        if uses == "v":
            np.testing.assert_array_equal(lowrank.open(path)[:, 3, 4], whole[:, 3, 4])


def test_a_truncated_file_does_not_use_what_it_dropped(tmp_path):
    stack, path = large(tmp_path)
    shorter = lowrank.open(path).leading(2)
    np.testing.assert_array_equal(shorter[7], stack.to_array(2)[7])
    np.testing.assert_array_equal(shorter[:, 5, 6], stack.truncate(2)[:, 5, 6])


def test_a_file_of_another_length_is_what_a_whole_reading_says(tmp_path):
    _, path = large(tmp_path)
    data = path.read_bytes()
    for cut in (data[:-1], data[:-5000], data[:200], data + b"x"):
        path.write_bytes(cut)
        with pytest.raises(LowrankError) as lazily:
            lowrank.open(path)
        with pytest.raises(LowrankError) as whole:
            lrk.parse(cut, name=str(path), max_pixels=10**9)
        assert str(lazily.value) == str(whole.value)
    path.write_bytes(data[:-5000])
    found = lowrank.open(path, partial=True)
    assert found.ranks == (2,)
    assert found.notes


def test_no_bit_of_a_file_may_be_flipped(tmp_path):
    A = frames("uint8", (5, 4, 3))
    data = bytearray(lowrank.compress(A, stack=True, rank=2, store="float16").to_bytes())
    path = tmp_path / "x.lrk"
    for bit in range(0, 8 * len(data), 5):
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(LowrankError):
            np.asarray(lowrank.open(path))
        data[bit // 8] ^= 1 << bit % 8


def test_checksums_that_contradict_the_terms_are_refused(tmp_path):
    _, path = large(tmp_path)
    sums_at, _ = places(path)
    data = bytearray(path.read_bytes())
    (size,) = struct.unpack_from("<I", data, sums_at - 8)
    table = bytearray(data[sums_at : sums_at + size])
    table[5] ^= 1
    data[sums_at - 8 : sums_at + size + 4] = chunk(b"SUMS", bytes(table))
    with pytest.raises(FormatError, match="contradict"):
        lrk.parse(bytes(data), name="x", max_pixels=10**9)
    path.write_bytes(data)
    with pytest.raises(FormatError, match="checksum"):
        lowrank.open(path)[:, 0, 0]


def test_factors_that_are_no_numbers_are_refused_without_a_warning(tmp_path):
    """Behind checksums that hold: whoever can change a file can change them."""
    stack, path = large(tmp_path)
    parts = stack.parts
    (f,) = parts.body.factors
    f.Vt[1, 77] = np.nan
    path.write_bytes(lrk.serialize(parts))
    with pytest.raises(FormatError):
        lowrank.open(path)[4]
    with pytest.raises(FormatError):
        lowrank.open(path)[:, 0, 77]


def test_only_our_errors_escape_from_mutants_that_stay_on_the_disk():
    """Damaged files whose checksums are right again: what they hold is checked where it is used."""
    seeds = [known(name) for name in SMALL if name.startswith("stack")]
    files_ = mutators.mutants(seeds, np.random.default_rng(5))
    used = 0
    for _ in range(1500):
        data = bytes(next(files_))
        try:
            file = header.is_stack(data, floats=True) and mapped.of_stack(
                memoryview(data), name="x", max_pixels=10**6, advise=lambda few, ahead: None
            )
            if file:
                stack = lowrank.LowRankStack(file.parts, (), file)
                for part in (stack[0], stack[:, 0, 0], stack[-1, -1:], np.asarray(stack)):
                    assert part.dtype == stack.dtype
                used += 1
        except LowrankError:
            pass
    assert used > 50


# -- limits -----------------------------------------------------------------------------


def test_frames_count_together_and_apart():
    A = frames("uint8", (20, 10, 10))
    data = lowrank.compress(A, stack=True, rank=1, store="float16").to_bytes()
    # Small ones count as 1,024 pixels each, and all together 16 times as much as one may.
    assert lrk.parse(data, name="x", max_pixels=1280).head.frames == 20
    for limit in (1279, 99):
        with pytest.raises(LimitError, match="20 frames of 10x10"):
            lrk.parse(data, name="x", max_pixels=limit)
        with pytest.raises(LimitError):
            lowrank.compress(A, stack=True, rank=1, max_pixels=limit)
    wide = lowrank.compress(frames("uint8", (2, 100, 100)), stack=True, rank=1).to_bytes()
    assert lrk.parse(wide, name="x", max_pixels=10_000).head.frames == 2
    with pytest.raises(LimitError, match="2 frames of 100x100"):
        lrk.parse(wide, name="x", max_pixels=9_999)


# -- labels -----------------------------------------------------------------------------


def test_labels_and_values_travel(tmp_path):
    A = frames()
    names = [f"band {i}" for i in range(24)]
    stack = lowrank.compress(
        A, stack=True, rank=2, labels=names, values=np.linspace(400, 700, 24), unit="nm"
    )
    found = opened(stack, tmp_path)
    assert found.axis.labels == tuple(names)
    assert found.axis.unit == "nm"
    assert found.truncate(1).axis == found.axis
    assert found.axis.some([3]).name(0) == "band 3"
    assert found.report(A).stack.worst_label.startswith("band ")


@pytest.mark.parametrize(
    "wrong", [{"labels": ["a"]}, {"values": [1.0, 2.0]}, {"values": [np.nan] * 24},
              {"labels": ["x" * 60_000] * 24}],
)  # fmt: skip
def test_labels_of_another_number_or_size_are_refused(wrong):
    with pytest.raises(UsageError):
        lowrank.compress(frames(), stack=True, rank=1, **wrong)


@pytest.mark.parametrize(
    "block",
    [b"[]", b"{", b"\xff", b'{"labels": 3}', b'{"labels": [3]}', b'{"labels": ["a"]}',
     b'{"values": ["a", "b"]}', b'{"values": [NaN, 1]}', b'{"values": [1e999, 1]}',
     b'{"unit": 3}', b"[" * 100_000, b'{"a": "' + b"x" * (1 << 20) + b'"}',
     b'{"values": [true, 1]}'],
)  # fmt: skip
def test_a_block_that_says_something_else_is_refused(block):
    A = frames("uint8", (2, 3, 3))
    data = lowrank.compress(A, stack=True, rank=1).to_bytes()
    at = data.index(b"SIGM") - 4
    with pytest.raises(FormatError, match="AXIS"):
        lrk.parse(data[:at] + chunk(b"AXIS", block) + data[at:], name="x", max_pixels=1_280)
    with pytest.raises(ValueError, match=r".+"):
        axis.unpack(block, 2)


def test_a_picture_has_no_axis():
    data = lowrank.compress(frames("uint8")[0], rank=1).to_bytes()
    at = data.index(b"SIGM") - 4
    block = Axis(labels=("a",)).pack()
    with pytest.raises(FormatError, match="AXIS"):
        lrk.parse(data[:at] + chunk(b"AXIS", block) + data[at:], name="x", max_pixels=10**6)


def test_a_damaged_block_of_labels_is_left_out_of_a_salvaged_file():
    A = frames("uint8", (2, 3, 3))
    data = bytearray(lowrank.compress(A, stack=True, rank=1, labels="ab").to_bytes())
    data[data.index(b"AXIS") + 6] ^= 1
    with pytest.raises(FormatError):
        lowrank.open(bytes(data))
    found = lowrank.open(bytes(data), partial=True)
    assert found.axis == Axis()
    assert "labels" in " ".join(found.notes)


# -- the library ------------------------------------------------------------------------


def test_coefficients_and_components_are_the_stack():
    A = frames("float32", (30, 8, 9), noise=0.0)
    stack = lowrank.compress(A, stack=True, rank=4, store="float64")
    assert (len(stack), stack.shape, stack.ndim, stack.dtype) == (30, A.shape, 3, A.dtype)
    assert stack.components.shape == (4, 8, 9)
    assert stack.coefficients.shape == (30, 4)
    assert stack.singular_values.shape == (4,)
    B = np.tensordot(stack.coefficients, stack.components, 1)
    np.testing.assert_allclose(B, A, atol=1e-4)
    np.testing.assert_allclose(stack.project(A), stack.coefficients, atol=1e-4)
    np.testing.assert_allclose(stack.project(A[3]), stack.coefficients[3], atol=1e-4)
    for frame, one in zip(stack, A, strict=True):
        np.testing.assert_allclose(frame, one, atol=1e-4)
    with pytest.raises(UsageError):
        stack.project(A[:, :5])
    ((U, s, Vt),) = stack.factors
    np.testing.assert_allclose((U * s) @ Vt, A.reshape(30, -1), atol=1e-4)
    with pytest.raises(UsageError, match="masked"):
        stack.project(np.ma.masked_greater(A[3], np.median(A[3])))
    with pytest.raises(UsageError, match="finite"):
        stack.project(np.full(A[3].shape, 1.7e308))
    with pytest.raises(UsageError, match="masked"):  # numpy drops the masks of arrays in a list
        stack.project([A[2], np.ma.masked_greater(A[3], np.median(A[3]))])


@pytest.mark.parametrize("target", [{"rank": 2}, {"quality": 75}])
def test_nobody_changes_a_stack_by_its_factors(target):
    stack = lowrank.compress(frames("uint8", (6, 4, 5)), stack=True, **target)
    for one in (stack, pickle.loads(pickle.dumps(stack))):
        for x in (one.singular_values, *one.factors[0]):
            with pytest.raises(ValueError, match="read-only"):
                x[...] = 0
        for x in (one[...], one[0], one.components, one.coefficients, np.asarray(one)):
            x[...] = 0
        assert one.to_bytes() == stack.to_bytes()
        assert np.asarray(one).any()
        assert one[...].any()


def test_a_stack_of_nothing_is_zeros(tmp_path):
    A = np.zeros((5, 4, 3), np.int16)
    stack = opened(lowrank.compress(A, stack=True, error=0.5), tmp_path)
    np.testing.assert_array_equal(stack[2:4, 1], A[2:4, 1])
    np.testing.assert_array_equal(np.asarray(stack), A)


def test_pixels_without_data_are_restored_in_any_part(tmp_path):
    A = frames("int16")
    A[3, 2:9, 4] = A[:, 7, 7] = -999
    stack = lowrank.compress(A, stack=True, rank=4, nodata=-999)
    assert (np.asarray(stack) == -999).sum() == (A == -999).sum()
    mapped_stack = opened(stack, tmp_path)
    whole = np.asarray(mapped_stack)
    for key in KEYS:
        np.testing.assert_array_equal(opened(stack, tmp_path)[key], whole[key])
    report = stack.report(A)
    assert report.pixels.max_abs_error < 8000
    with pytest.raises(LowrankError, match="nodata"):
        lowrank.compress(np.full((3, 4, 5), np.nan, np.float32), stack=True, rank=1)


@pytest.mark.parametrize("along", [0, 1, -1])
def test_a_report_takes_the_axis_that_compress_took(along):
    cube = np.random.default_rng(0).integers(0, 999, (9, 9, 9)).astype(np.uint16)
    stack = lowrank.compress(cube, stack=True, axis=along, rank=3)
    moved = stack.report(np.moveaxis(cube, along, 0))
    assert stack.report(cube, axis=along).channels == moved.channels
    with pytest.raises(UsageError, match="axis"):
        stack.report(cube, axis=1.5)


def test_a_report_has_the_frames_of_the_contract():
    A = frames("uint16", (12, 16, 16), noise=20.0)
    A[7] += np.random.default_rng(3).integers(0, 2000, A[7].shape, dtype=np.uint16)
    stack = lowrank.compress(A, stack=True, rank=3)
    said = stack.report(A).to_dict()["stack"]
    B = np.asarray(stack).astype(float)
    peak = float(A.max()) - float(A.min())
    mse = ((A - B) ** 2).reshape(12, -1).mean(axis=1)
    psnr = 10 * np.log10(peak**2 / mse)
    assert (said["frames"], said["height"], said["width"]) == (12, 16, 16)
    assert (said["colours"], said["dtype"]) == (1, "uint16")
    np.testing.assert_allclose(said["snr_db"], 10 * np.log10(A.var() / mse.mean()))
    f = said["frame_psnr_db"]
    np.testing.assert_allclose((f["min"], f["median"], f["max"]),
                               (psnr.min(), np.median(psnr), psnr.max()))  # fmt: skip
    assert f["worst_frame"] == int(psnr.argmin())
    assert "stack" not in lowrank.compress(A[0], rank=3).report(A[0]).to_dict()
    assert json.dumps(said)


@pytest.mark.parametrize("level", [0.1, 1e-20, 7.3e5])
def test_samples_that_are_all_alike_have_no_signal(level):
    A = np.full((19, 7, 13), level)
    found = lowrank.compress(A, stack=True, rank=1, store="float16").report(A)
    assert found.pixels.rmse > 0
    assert found.stack.snr_db is None


def test_noise_is_told_from_structure():
    rng = np.random.default_rng(5)
    plane = np.cos(np.arange(900) / 40)
    smooth = np.outer(np.sin(np.arange(40)), plane).reshape(40, 30, 30) * 1000
    noisy = (smooth + 30 * rng.standard_normal(smooth.shape) + 2000).astype(np.float32)
    residual = lowrank.compress(noisy, stack=True, rank=2).report(noisy).stack.residual
    assert residual.white
    assert residual.gavish_donoho_rank == 2
    residual = lowrank.compress(noisy, stack=True, rank=1).report(noisy).stack.residual
    assert not residual.white


def test_other_codecs_code_the_frames_one_by_one_or_their_planes():
    if not features.check("jpg_2000"):
        pytest.skip("this Pillow has no JPEG 2000")
    A = frames("uint16", (12, 32, 40), noise=4.0)[..., np.newaxis]
    picture = Picture(A, MODES["I;16"])
    found = {x.codec: x for x in peers.against(picture, ["jpeg2000", "webp", "png", peers.KLT],
                                               size=6000, psnr=38.0)}  # fmt: skip
    assert "6 of 12" in found["jpeg2000"].why
    assert found["jpeg2000"].psnr_db is not None
    # The same content in every frame: planes of a transform take a part of it.
    assert 500 < found[peers.KLT].bytes < found["jpeg2000"].bytes < found["png"].bytes
    assert found["webp"].bytes is None
    assert "8 bits" in found["webp"].why
    with pytest.raises(UsageError):
        peers.against(Picture(A[0], MODES["I;16"]), [peers.KLT], size=9, psnr=30)


ODD = {
    "complex": [1 + 2j] * 3,
    "complex of numpy": np.arange(3) * (1 + 1j),
    "truths": [True, False, True],
    "masked": np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]),
    "NaN": [1.0, np.nan, 3.0],
    "infinite": [1.0, 2.0, np.inf],
    "too large": [1, 2, 10**400],
    "dates": np.arange(3).astype("M8[D]"),
    "spans": np.arange(3).astype("m8[ns]"),
    "lists": np.zeros((3, 1)),
    "words": ["one", "two", "three"],
    "without order": {1, 2, 3},
    "bytes": b"123",
    "one number": 3,
}


@pytest.mark.parametrize("values", ODD.values(), ids=ODD)
def test_values_of_frames_that_are_no_numbers_are_refused(values):
    with pytest.raises(UsageError, match="values") as caught:
        lowrank.compress(frames("uint8", (3, 5, 6)), stack=True, rank=1, values=values)
    assert "\n" not in str(caught.value)


def test_values_of_frames_are_kept_and_a_note_says_where_they_are_rounded():
    A = frames("uint8", (3, 5, 6))

    def of(values, **more):
        return lowrank.compress(A, stack=True, rank=1, values=values, **more)

    for plain in ([0.1, 2, 1e300], np.float32([0.1, 2, 3]), [Decimal("0.1"), "2.50", np.array(3)]):
        kept = of(plain)
        assert kept.axis.values == tuple(map(float, plain))
        assert not any("rounded" in note for note in kept.notes)
    for finer in (2**53 + 1, Fraction(1, 3), Decimal("0.1234567890123456789")):
        for more in ({}, {"memory": "50M"}):  # read whole, and in passes
            kept = of([finer, 0, 0], **more)
            assert kept.axis.values[0] == float(finer)
            assert [note for note in kept.notes if note.startswith("1 value was rounded")]


@pytest.mark.parametrize("labels", [[b"a"] * 3, [None] * 3, b"abc", {"a", "b", "c"}, 3])
def test_labels_of_frames_that_are_no_texts_are_refused(labels):
    with pytest.raises(UsageError, match="labels"):
        lowrank.compress(frames("uint8", (3, 5, 6)), stack=True, rank=1, labels=labels)


@pytest.mark.parametrize("way", [{"rank": 1}, {"rank": 1, "memory": "50M"}, {"quality": 50}])
def test_what_is_compressed_again_keeps_what_it_carries(way):
    first = lowrank.compress(
        frames("uint8", (3, 3, 6)), stack=True, rank=2, labels="abc", values=[1, 2, 3], unit="s"
    )
    again = lowrank.compress(first, **way)
    assert again.axis == first.axis
    assert lowrank.compress(first, labels="xyz", **way).axis.labels == ("x", "y", "z")
    turned = lowrank.compress(first, axis=1, **way)
    assert turned.axis == Axis()
    assert any("were left out" in note for note in turned.notes)
    plain = lowrank.compress(frames("uint8", (3, 3, 6)), stack=True, **way)
    assert lowrank.compress(plain, axis=1, **way).axis == Axis()


def test_gaps_and_metadata_are_kept_when_it_is_compressed_again():
    A = frames("float32", (4, 6, 7))
    A[1, 2, 3] = -9999
    first = lowrank.compress(A, stack=True, rank=4, nodata=-9999)
    again = lowrank.compress(first, rank=2)
    assert again.to_array()[1, 2, 3] == -9999
    assert again.to_array().min() == -9999
    assert np.sort(again.to_array().ravel())[1] > -500
    image = Image.fromarray(frames("uint8", (1, 9, 9))[0])
    image.info["icc_profile"] = b"profile"
    first = lowrank.compress(image, rank=2)
    assert first.head.metadata.icc == b"profile"
    assert lowrank.compress(first, rank=1).head.metadata == first.head.metadata


def test_a_picture_is_no_stack():
    with pytest.raises(UsageError):
        lowrank.LowRankStack(lowrank.compress(frames()[0], rank=1).parts)
    with pytest.raises(UsageError, match="stack"):
        lowrank.compress(frames()[0], rank=1, labels=["a"])
    A = frames("uint8", (4, 5, 6))
    with pytest.raises(UsageError):
        codec.encode(Picture(A[..., np.newaxis], MODES["L"]), Target("rank", 1), layout="channels")


def test_only_regular_files_are_mapped(tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    assert files.mapped(str(empty)) is None
    assert not header.is_stack(b"")
