"""The codecs for numcodecs and zarr: what they promise of a chunk, and with those libraries."""

from __future__ import annotations

import array
import json
import os
import struct
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import lowrank
from lowrank import LowrankError, UsageError, chunks
from lowrank.chunks.numcodecs import Lowrank
from lowrank.chunks.zarr import LowrankCodec
from lowrank.picture import DTYPES

FIXTURE = ROOT / "tests" / "fixture" / "lowrank"


@pytest.fixture(autouse=True, scope="module")
def registered():
    """As the entry points of an installed lowrank do it, whether it is installed or not."""
    numcodecs.register_codec(Lowrank)
    zarr.registry.register_codec("lowrank", LowrankCodec)


def frames(dtype="uint16", shape=(12, 9, 11), seed=0):
    """Frames of two patterns whose strengths change, and a little noise."""
    rng = np.random.default_rng(seed)
    rest = shape[1:]
    t = np.linspace(0, 3, shape[0]).reshape(-1, *[1] * len(rest))
    patterns = rng.random((2, *rest))
    A = 0.4 + 0.3 * np.sin(t) * patterns[0] + 0.2 * np.cos(2 * t) * patterns[1]
    A = A + rng.normal(0, 0.01, shape)
    if np.dtype(dtype).kind == "f":
        return (100 * (A - 0.5)).astype(dtype)
    low, high = max(np.iinfo(dtype).min, -(2**30)), min(np.iinfo(dtype).max, 2**30)
    return np.clip(low + A * (high - low), low, high).astype(dtype)


def error(found, A):
    A = A.astype(np.float64)
    return float(np.linalg.norm(found.astype(np.float64) - A) / np.linalg.norm(A))


def through(codec, A):
    data = codec.encode(A)
    return data, codec.decode(data).view(A.dtype).reshape(A.shape)


# -- what a chunk is -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(12, 40), (12, 9, 11), (6, 3, 5, 4), (3, 2, 2, 3, 2)])
def test_the_error_of_a_decoded_chunk_is_what_was_asked_for_at_most(dtype, shape):
    A = frames(dtype, shape)
    for wanted in (0.3, 0.03, 1e-3, 1e-6, 0.0):
        _, found = through(Lowrank(error=wanted), A)
        assert error(found, A) <= wanted
        if A.dtype.kind != "f" and wanted == 0:
            np.testing.assert_array_equal(found, A)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(12, 40), (6, 3, 5, 4)])
def test_no_sample_of_a_decoded_chunk_is_further_off_than_was_asked_for(dtype, shape):
    A = frames(dtype, shape)
    spread = float(A.max()) - float(A.min())
    for share in (0.3, 0.01, 1e-6, 0.0):
        data, found = through(Lowrank(max_error=share * spread), A)
        assert np.abs(found.astype(float) - A.astype(float)).max() <= share * spread
        if share == 0.3 and shape == (12, 40) and dtype != "uint8":
            assert not data.startswith(chunks.WHOLE)


@settings(max_examples=25)
@given(
    st.integers(0, 999), st.integers(2, 9), st.integers(2, 30),
    st.sampled_from(["uint8", "int16", "float32"]), st.floats(0, 0.5),
)  # fmt: skip
def test_so_it_is_of_noise_and_of_small_numbers(seed, m, n, dtype, wanted):
    """Where the samples are small integers, their rounding is most of the error."""
    A = np.random.default_rng(seed).normal(0, 3, (m, n)).clip(0, 9).astype(dtype)
    if A.any():
        assert error(through(Lowrank(error=wanted), A)[1], A) <= wanted


def test_a_chunk_is_the_first_axis_by_the_rest():
    A = frames("float64", (20, 6, 30))
    for rank in (1, 3):
        data, found = through(Lowrank(rank=rank, store="float64"), A)
        U, s, Vt = np.linalg.svd(A.reshape(20, -1), full_matrices=False)
        best = ((U[:, :rank] * s[:rank]) @ Vt[:rank]).reshape(A.shape)
        np.testing.assert_allclose(found, best, atol=1e-9)
        image = lowrank.open(data)  # a chunk is a file like any other
        assert (image.layout, image.ranks) == ("stack", (rank,))
        np.testing.assert_array_equal(np.asarray(image).reshape(A.shape), found)


def test_a_low_rank_chunk_is_small():
    A = np.multiply.outer(np.arange(1, 41), np.arange(900)).astype(np.uint16)
    data, found = through(Lowrank(error=1e-3), A)
    assert len(data) < A.nbytes / 10
    assert error(found, A) <= 1e-3


def with_nan():
    A = frames("float32")
    A[3, 4, 5] = np.nan
    A[0, 0, 0] = -np.inf
    return A


WHOLE = {
    "one axis": np.arange(500, dtype=np.uint16),
    "no axis": np.array(7.5),
    "NaN": with_nan(),
    "huge": 1e200 * frames("float64"),
    "tiny": 1e-200 * frames("float64"),
    "int64": np.arange(60).reshape(6, 10),
    "uint64": np.arange(60, dtype=np.uint64).reshape(6, 10),
    "half": frames("float32").astype(np.float16),
    "bool": frames("float32") > 0,
    "complex": frames("float32") + 1j,
    "dates": np.arange(12).astype("M8[ns]").reshape(3, 4),
    "texts": np.array([["a", "bc"], ["def", ""]]),
    "fields": np.zeros((4, 5), [("a", "<u2"), ("b", "<f4")]),
    "other byte order": frames("uint16").astype(">u2"),
    "noise": np.random.default_rng(0).integers(0, 99, (30, 31), dtype=np.uint8),
}


@pytest.mark.parametrize("what", WHOLE)
def test_what_is_no_matrix_of_low_rank_is_stored_whole_and_exactly(what):
    A = WHOLE[what]
    data, found = through(Lowrank(error=1e-4), A)
    assert data.startswith(chunks.WHOLE)
    assert found.tobytes() == A.tobytes()
    assert len(data) <= A.nbytes + A.nbytes // 50 + 60


OF_REFERENCES = {
    "objects": np.array([[None, 1], ["a", {}]], object),
    "a field of objects": np.zeros((2, 2), [("a", "f4"), ("b", object)]),
    "masked": np.ma.array(np.eye(3), mask=np.eye(3) > 0),
}
if hasattr(np.dtypes, "StringDType"):
    OF_REFERENCES["texts of any length"] = np.array([["a" * 99]], np.dtypes.StringDType())


@pytest.mark.parametrize("chunk", OF_REFERENCES.values(), ids=OF_REFERENCES)
def test_a_chunk_whose_memory_is_not_all_of_it_is_refused(chunk):
    """Written as addresses, or without its mask, it would be lost, and nobody would know."""
    with pytest.raises(UsageError, match="give"):
        chunks.encode(chunk, chunks.Wish(rank=1))
    if isinstance(chunk, np.ma.MaskedArray):
        with pytest.raises(UsageError, match="mask"):
            Lowrank(rank=1).encode(chunk)


def test_the_order_of_memory_is_kept():
    A = np.asfortranarray(frames("float64", (5, 6, 30)))
    codec = Lowrank(rank=2, store="float64")
    data = codec.encode(A)
    U, s, Vt = np.linalg.svd(A.T.reshape(30, 30))
    best = ((U[:, :2] * s[:2]) @ Vt[:2]).reshape(30, 6, 5).T
    np.testing.assert_allclose(codec.decode(data).reshape(A.shape, order="F"), best, atol=1e-9)
    assert lowrank.open(data).parts.head.frames == 30  # the first axis of memory is the last


def test_a_chunk_keeps_what_stands_above_its_noise():
    rng = np.random.default_rng(3)
    signal = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 600))
    A = (signal + 0.05 * rng.standard_normal(signal.shape)).astype(np.float32)
    for codec in (Lowrank(rank="auto"), numcodecs.get_codec(Lowrank(rank="auto").get_config())):
        data, found = through(codec, A)
        assert lowrank.open(bytes(data)).ranks == (3,)
        assert np.linalg.norm(found - signal) < 0.5 * np.linalg.norm(A - signal)
    assert LowrankCodec.from_dict(LowrankCodec(rank="auto").to_dict()) == LowrankCodec(rank="auto")


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({}, "give rank, error or max_error"),
        ({"max_error": -1}, "max_error -1"),
        ({"max_error": 1, "rank": 2}, "exclude each other"),
        ({"rank": 3, "error": 0.1}, "exclude each other"),
        ({"rank": 0}, "rank 0 is out of range"),
        ({"rank": 2.5}, "rank 2.5"),
        ({"rank": "3"}, "rank '3'"),
        ({"error": 2}, "error 2"),
        ({"error": -1e-9}, "error -1e-09"),
        ({"error": True}, "error True"),
        ({"rank": 3, "store": "packed"}, "store packed"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_at_once(wish, says):
    for codec in (Lowrank, LowrankCodec):
        with pytest.raises(UsageError, match=says):
            codec(**wish)


def test_damage_is_refused_whatever_it_hits():
    codec = Lowrank(error=0.05)
    for A in (frames(), np.arange(300)):
        data = codec.encode(A)
        for at in range(0, len(data), max(len(data) // 60, 1)):
            hurt = bytearray(data)
            hurt[at] ^= 0x10
            with pytest.raises(LowrankError):
                codec.decode(hurt)
        for end in (0, 4, 8, 9, len(data) // 2, len(data) - 1):
            with pytest.raises(LowrankError):
                codec.decode(data[:end])
    with pytest.raises(lowrank.LimitError):
        chunks.decode(Lowrank(rank=1).encode(frames()), nbytes=12 * 9 * 11 - 1)
    with pytest.raises(lowrank.LimitError):
        chunks.decode(Lowrank(rank=1).encode(np.zeros(10**6, bool)), nbytes=1000)
    stream = zlib.compress(bytes(15))
    for kind in (b"", b"|O8", b"<i8", b"(9,)<i4", b"<f3"):
        rest = bytes([len(kind)]) + kind + stream
        with pytest.raises(lowrank.FormatError):
            codec.decode(chunks.WHOLE + struct.pack("<I", zlib.crc32(rest)) + rest)


# -- numcodecs' own checks -------------------------------------------------------------------------

EXACT = [Lowrank(rank=30, store="float64"), Lowrank(error=0.0)]
FOLDERS = [FIXTURE / f"codec.{j:02d}" for j in range(len(EXACT))]
SMALL = np.random.default_rng(1)
ARRAYS = [
    SMALL.integers(0, 255, (9, 14), dtype=np.uint8),
    SMALL.integers(-999, 999, (4, 5, 6)).astype(np.int16),
    np.asfortranarray(SMALL.integers(0, 999, (6, 7)).astype(np.uint32)),
    np.arange(40, dtype=np.int64),
    np.random.default_rng(2).random((8, 9)) > 0.5,
]


BUFFERS: list[Callable[[bytes], Any]] = [
    bytes,
    bytearray,
    memoryview,
    partial(array.array, "b"),
    partial(np.frombuffer, dtype=np.uint8),
]


def bits(samples):
    """The bytes of what a codec decoded, or of an array, as they stand in memory."""
    return np.asarray(samples).tobytes(order="A")


@pytest.mark.parametrize("codec", EXACT, ids=repr)
@pytest.mark.parametrize("A", ARRAYS, ids=lambda A: A.dtype.name)
def test_whatever_gives_its_bytes_is_coded_and_decoded(codec, A):
    data = bytes(codec.encode(A))
    for buffer in BUFFERS:
        assert bits(codec.decode(codec.encode(buffer(bits(A))))) == bits(A)
        found = codec.decode(buffer(data))
        assert found.dtype == A.dtype
        assert bits(found) == bits(A)


@pytest.mark.parametrize("codec", EXACT, ids=repr)
@pytest.mark.parametrize("A", ARRAYS, ids=lambda A: A.dtype.name)
def test_a_chunk_is_decoded_into_what_the_caller_has(codec, A):
    data = codec.encode(A)
    for room in (np.empty_like(A), bytearray(A.nbytes), array.array("b", bytes(A.nbytes))):
        codec.decode(data, out=room)
        assert bits(room) == bits(A)


@pytest.mark.parametrize("codec", EXACT, ids=repr)
def test_arrays_of_objects_are_no_chunks(codec):
    with pytest.raises(TypeError):
        codec.encode(np.array(["one", "two", None], dtype=object))
    with pytest.raises(TypeError):
        codec.decode(codec.encode(np.arange(10)), out=np.empty(10, dtype=object))


def test_a_configuration_makes_an_equal_codec():
    for codec in (*EXACT, Lowrank(rank=3), Lowrank(max_error=0.5, store="float32")):
        assert numcodecs.get_codec(json.loads(json.dumps(codec.get_config()))) == codec
        assert eval(repr(codec)) == codec
    assert Lowrank(rank=3) != Lowrank(rank=4)


@pytest.mark.parametrize(
    "wish", [{"rank": np.int64(3)}, {"error": np.float32(0.125)}, {"max_error": np.float16(2)}]
)
def test_numbers_of_numpy_are_numbers(wish):
    """A configuration goes into JSON, which knows none of numpy's."""
    (name, value), *_ = wish.items()
    for one, plain in (
        (Lowrank(**wish).get_config(), Lowrank(**{name: value.item()}).get_config()),
        (LowrankCodec(**wish).to_dict(), LowrankCodec(**{name: value.item()}).to_dict()),
    ):
        assert json.loads(json.dumps(one)) == plain
    assert repr(Lowrank(**wish)) == f"Lowrank({name}={value.item()}, store='auto')"


def test_what_was_written_before_is_read():
    """`make_fixture.py` has written it once; a file that is missing is a failure."""
    for codec, folder in zip(EXACT, FOLDERS, strict=True):
        assert numcodecs.get_codec(json.loads((folder / "config.json").read_text())) == codec
        for i, A in enumerate(ARRAYS):
            kept = np.load(FIXTURE / f"array.{i:02d}.npy")
            assert bits(kept) == bits(A)
            assert bits(codec.decode((folder / f"encoded.{i:02d}.dat").read_bytes())) == bits(kept)


# -- zarr ------------------------------------------------------------------------------------------


def made(path, A, codec, zarr_format, **more):
    if zarr_format == 3:
        more |= {"serializer": LowrankCodec(**codec), "compressors": None}
    else:
        more |= {"compressors": Lowrank(**codec)}
    return zarr.create_array(
        path, shape=A.shape, dtype=A.dtype, chunks=(12, 8, 8), zarr_format=zarr_format, **more
    )


READER = """
import sys, numpy, numcodecs, zarr
from lowrank.chunks.numcodecs import Lowrank
from lowrank.chunks.zarr import LowrankCodec
numcodecs.register_codec(Lowrank)
zarr.registry.register_codec("lowrank", LowrankCodec)
for path in sys.argv[1:]:
    numpy.save(path + ".npy", zarr.open_array(path, mode="r")[:])
"""


def test_what_dask_writes_with_two_workers_another_process_reads(tmp_path):
    A = frames("uint16", (30, 20, 19))
    paths = [str(tmp_path / f"z{i}") for i in (2, 3)]
    for zarr_format, path in zip((2, 3), paths, strict=True):
        array = made(path, A, {"error": 0.02}, zarr_format)
        blocks = import_module("dask.array").from_array(A, chunks=array.chunks)
        blocks.store(array, lock=False, scheduler="threads", num_workers=2)
    command = [sys.executable, "-c", READER, *paths]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for path in paths:
        found = np.load(path + ".npy")
        assert found.dtype == A.dtype
        for y in range(0, 30, 12):
            for x in (slice(0, 8), slice(8, 16), slice(16, 20)):
                assert error(found[y : y + 12, x], A[y : y + 12, x]) <= 0.02
    metadata = json.loads((tmp_path / "z3" / "zarr.json").read_text())
    said = {"name": "lowrank", "configuration": {"error": 0.02, "store": "auto"}}
    assert metadata["codecs"] == [said]
    metadata = json.loads((tmp_path / "z2" / ".zarray").read_text())
    assert metadata["compressor"] == {"id": "lowrank", "error": 0.02, "store": "auto"}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_keeps_parts_edges_and_types(zarr_format):
    A = frames("float32", (13, 9, 20))
    array = made({}, A, {"rank": 12, "store": "float64"}, zarr_format, fill_value=np.nan)
    array[:] = A  # the chunks at the edge are filled up with NaN
    np.testing.assert_allclose(array[:], A, atol=1e-5)
    array[5, 2:4] = 7
    np.testing.assert_allclose(array[5, 2:4], 7, atol=1e-5)
    np.testing.assert_allclose(array[6:9, :, ::3], A[6:9, :, ::3], atol=1e-5)
    for dtype in ("int64", "bool", ">i2"):
        B = (A > 0).astype(dtype)
        array = made({}, B, {"rank": 1}, zarr_format)
        array[:] = B
        np.testing.assert_array_equal(array[:], B)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2), (0, 2, 1), (1, 2, 0)])
def test_a_codec_that_transposes_before_it_changes_no_sample(order):
    """Chunks that come in Fortran's order were read as if they had been in C's: no error, noise."""
    A = frames("float32", (13, 9, 20))
    array = made({}, A, {"max_error": 1e-3}, 3, filters=[zarr.codecs.TransposeCodec(order=order)])
    array[:] = A
    assert np.abs(array[:] - A).max() <= 1e-3
    np.testing.assert_array_equal(array[3:9, ::2], array[:][3:9, ::2])


def test_a_chunk_of_another_array_is_refused_by_zarr():
    store = {}
    array = made(store, A := frames(shape=(12, 8, 8)), {"rank": 2}, 3)
    array[:] = A
    (key,) = (k for k in store if k.startswith("c/"))
    for side in (7, 9):
        other = Lowrank(rank=2).encode(frames(shape=(12, 8, side)))
        store[key] = type(store[key]).from_bytes(other)
        with pytest.raises(LowrankError, match="the store is damaged"):
            array[:]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_xarray_writes_and_reads(tmp_path, zarr_format):
    A = frames("float32", (12, 9, 20))
    A[:, 0, 0] = np.nan
    xarray = import_module("xarray")
    data = xarray.Dataset({"t": (("time", "y", "x"), A)}, {"time": np.arange(12.0)})
    codec = {"rank": 12, "store": "float64"}
    encoding = {"chunks": (12, 9, 10)}
    if zarr_format == 3:
        encoding |= {"serializer": LowrankCodec(**codec), "compressors": None}
    else:
        encoding |= {"compressors": [Lowrank(**codec)]}
    path = tmp_path / "x.zarr"
    data.to_zarr(path, encoding={"t": encoding}, zarr_format=zarr_format, consolidated=False)
    with xarray.open_zarr(path, consolidated=False, chunks=None) as found:
        np.testing.assert_allclose(found["t"].values, A, atol=1e-4)
        np.testing.assert_array_equal(found["time"].values, np.arange(12.0))


def test_without_the_extra_its_name_is_said():
    code = "import sys\nsys.modules['{0}'] = None\nimport lowrank.chunks.{0}"
    for library in ("numcodecs", "zarr"):
        command = [sys.executable, "-c", code.format(library)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        last = done.stderr.splitlines()[-1]
        assert last.startswith("ModuleNotFoundError"), done.stderr
        assert last.endswith("pip install 'lowrank-image[zarr]'")


def test_the_entry_points_are_the_codecs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group, codec in (("numcodecs.codecs", Lowrank), ("zarr.codecs", LowrankCodec)):
        ((name, place),) = project["entry-points"][group].items()
        module, _, attribute = place.partition(":")
        assert (name, getattr(import_module(module), attribute)) == ("lowrank", codec)
