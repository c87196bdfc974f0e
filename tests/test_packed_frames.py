"""Packed stacks: what is promised of planes across the frames, and of what is not one."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import FormatError, LowrankError, UsageError
from lowrank.format.parts import Packed, Parts
from lowrank.picture import MODES, Picture, array_mode
from lowrank.picture.distance import compare, frames
from lowrank.picture.levels import Scale
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.coding.rans import RansReader
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.frames import basis, encoder, levels, order, trellis
from lowrank.stores.packed.frames import codec as room
from lowrank.stores.packed.frames.apart import share_apart
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.klt import Stack
from lowrank.stores.packed.patches.phases import Reader, Writer
from lowrank.targets import Target

PSNR = Target("psnr", 40)


def cube(frames: int, height: int, width: int, *, seed: int = 5, rank: int = 3) -> np.ndarray:
    """Smooth pictures with smooth curves, and some noise: rank 3 and more, 0 to 4000 or so."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 9
    maps = [np.sin(x * (1 + k) + k) * np.cos(y * (2 + k)) + (x > 2 + k) for k in range(rank)]
    curves = np.cumsum(rng.normal(0, 1, (frames, rank)), 0)
    A = 1500 + 120 * np.tensordot(curves, np.stack(maps), 1)
    return A + rng.normal(0, 8, A.shape)


def grey(frames: int = 8, height: int = 37, width: int = 50, dtype: str = "uint16") -> Picture:
    A = cube(frames, height, width)
    if dtype == "int16":
        A = A - 2000
    if dtype == "uint8":
        return Picture(np.clip(np.rint(A / 16), 0, 255).astype(dtype)[..., None], MODES["L"])
    mode = array_mode(dtype, 1)
    return Picture(np.clip(np.rint(A), *mode.limits).astype(dtype)[..., None], mode)


def colour(channels: int) -> Picture:
    A = np.stack([cube(4, 20, 33, seed=c) / 14 for c in range(channels)], axis=3)
    mode = {3: MODES["RGB"], 4: MODES["RGBA"], 2: MODES["LA"]}.get(channels)
    return Picture(np.clip(np.rint(A), 0, 255).astype(np.uint8), mode or array_mode("uint8", 5))


def encoded(picture: Picture, target: Target = PSNR) -> bytes:
    return lrk.serialize(codec.encode(picture, target, store="packed").parts)


def parse(data: bytes, *, partial: bool = False) -> Parts:
    return lrk.parse(data, name="x.lrk", max_pixels=10**9, partial=partial)


def decoded(data: bytes, rank: int | None = None) -> np.ndarray:
    return codec.decode(parse(data), rank=rank).picture.samples


@pytest.fixture(scope="module")
def stack() -> Picture:
    return grey()


@pytest.fixture(scope="module")
def data(stack) -> bytes:
    return encoded(stack)


@pytest.fixture(scope="module")
def whole(data) -> np.ndarray:
    """All that it decodes to."""
    found = decoded(data)
    found.flags.writeable = False
    return found


# -- targets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "picture",
    [grey(4, 18, 9, x) for x in ("uint8", "uint16", "int16", "int32")]
    + [colour(c) for c in (2, 3, 4, 5)]
    + [grey(1, 20, 20), grey(3, 1, 1), grey(40, 2, 3), grey(2, 1, 70)],
    ids=lambda p: f"{p.samples.shape}-{p.mode.title}",
)
def test_any_integer_samples_come_back(picture):
    back = decoded(encoded(picture, Target("quality", 90)))
    assert back.dtype == picture.samples.dtype
    assert back.shape == picture.samples.shape
    value = compare(picture, Picture(back, picture.mode)).psnr_db
    assert value is None or value >= 35


def test_a_size_is_kept_and_used(stack):
    n = len(encoded(stack, Target("size", 3000)))
    assert 2700 <= n <= 3000


def test_a_rank_is_that_rank_and_adds_a_hundredth_of_the_error(stack):
    parts = codec.encode(stack, Target("rank", 3), store="packed").parts
    (said,) = codec.stated(parts)
    A = stack.samples.reshape(len(stack.samples), -1).astype(float)
    s = np.linalg.svd(A, compute_uv=False)
    tail = math.sqrt(float(np.sum(s[3:] ** 2)))
    assert said.k == 3
    assert np.linalg.matrix_rank(codec.factors(parts)[1][0]) == 3
    assert tail <= said.error <= 1.006 * tail


def test_a_rank_of_many_planes_is_one_of_them_all():
    noise = np.random.default_rng(6).integers(0, 256, (24, 32, 32), np.uint8)
    parts = codec.encode(
        Picture(noise[..., None], MODES["L"]), Target("rank", 20), store="packed"
    ).parts
    s = np.linalg.svd(noise.reshape(24, -1).astype(float), compute_uv=False)
    tail = math.sqrt(float(np.sum(s[20:] ** 2)))
    assert tail <= codec.stated(parts)[0].error <= 1.006 * tail


def test_floats_are_packed_as_levels_of_their_range():
    rng = np.random.default_rng(3)
    A = (rng.normal(size=(9, 2)) @ rng.normal(size=(2, 20 * 17)) - 3).reshape(9, 20, 17, 1)
    A = Picture(A.astype(np.float32), MODES["F"])
    encoded = codec.encode(A, Target("psnr", 45))
    (note,) = encoded.notes
    assert "65,536 levels" in note
    B = codec.decode(encoded.parts).picture
    assert compare(A, B).psnr_db >= 45
    assert (B.samples.dtype, B.samples.shape) == (A.samples.dtype, A.samples.shape)


# -- what the file says ----------------------------------------------------------------


def test_the_errors_stated_are_true(stack, data, whole):
    parts = parse(data)
    (said,) = codec.stated(parts)
    _, (B,) = codec.factors(parts)
    A = stack.samples.reshape(B.shape).astype(float)
    s = np.linalg.svd(A, compute_uv=False)
    assert np.linalg.matrix_rank(B) == said.k == parts.ranks[0]
    for stated, true in (
        (said.error, np.linalg.norm(A - B)),
        (said.norm, np.linalg.norm(A)),
        (said.tail, np.linalg.norm(s[said.k :])),
        (said.sigma_next, s[said.k]),
    ):
        assert true * (1 - 1e-6) <= stated <= true * 1.001
    rounded = np.clip(np.floor(B + 0.5), 0, 65535)
    assert np.array_equal(whole.reshape(B.shape), rounded)


def test_a_rank_keeps_the_first_planes(data, whole):
    k = parse(data).ranks[0]
    assert k > 2
    some = [decoded(data, r) for r in range(1, k + 1)]
    assert np.array_equal(some[-1], whole)
    gaps = [np.linalg.norm(x - whole.astype(float)) for x in some]
    assert gaps == sorted(gaps, reverse=True)
    # Noise of rounding apart, the first plane alone has rank 1.
    s = np.linalg.svd(some[0].reshape(len(whole), -1).astype(float), compute_uv=False)
    assert s[1] < 0.01 * s[0]


# -- apart -----------------------------------------------------------------------------


def test_frames_that_have_nothing_in_common_are_coded_apart():
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:48, :48]
    A = [(np.hypot(y - a, x - b) < r) * 200 + 20 for a, b, r in rng.integers(5, 40, (3, 3))]
    picture = Picture(np.array(A, np.uint8)[..., None], MODES["L"])
    stack = Stack(picture.samples, None)
    assert share_apart(stack, 8.0) < 1
    coded = encoder.encode(stack, 8.0, picture.mode)
    header, _ = room.outline(coded.payload(), picture.samples.shape).read
    assert header.columns is None
    assert np.array_equal(
        room.decode(coded.payload(), picture.samples.shape, Scale(picture.mode)).samples,
        coded.samples(),
    )
    apart = [codec.encode(Picture(one, MODES["L"]), PSNR) for one in picture.samples]
    assert len(encoded(picture)) <= 1.05 * sum(len(lrk.serialize(x.parts)) for x in apart)


def test_groups_of_planes_change_nothing_but_the_order(stack, monkeypatch):
    monkeypatch.setattr(order, "GROUP", 12 * 256 * 2)
    data = encoded(stack, Target("quality", 80))
    assert compare(stack, Picture(decoded(data), stack.mode)).psnr_db > 40
    monkeypatch.undo()
    assert not np.array_equal(data, encoded(stack, Target("quality", 80)))


# -- the pieces ------------------------------------------------------------------------


def test_the_best_path_is_the_best_of_all():
    rng = np.random.default_rng(4)
    count, lanes = 4, 6
    x = rng.normal(0, 1.3, (count, lanes)).astype(np.float32)
    rows = rng.integers(0, 3, (count, lanes)).astype(np.uint8)
    level = np.arange(trellis.LEVELS)
    rates = np.stack([[0.1 * level + 0.05 * q * r for r in range(3)] for q in range(2)])
    rates = rates.astype(np.float32)

    def cost(levels, lane):
        state, total = 0, 0.0
        for t, q in enumerate(levels):
            second = int(trellis.SECOND[state])
            value = trellis.values_of(np.array([q]), np.array([second], np.uint8))[0] / 2
            total += (x[t, lane] - value) ** 2 + rates[second, rows[t, lane], abs(q)]
            state = int(trellis.NEXT[state, q & 1])
        return total

    best, _ = trellis.quantise(x, rows, rates)
    for lane in range(lanes):
        near = np.stack(np.meshgrid(*[range(6)] * count), -1).reshape(-1, count)
        signs = np.where(x[:, lane] < 0, -1, 1)
        least = min(cost(one * signs, lane) for one in near)
        assert cost(best[:, lane], lane) == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize("count", [1, 2, 9, 200])
def test_a_basis_comes_back(count):
    rng = np.random.default_rng(count)
    entries = np.stack(
        [
            np.zeros(count), np.ones(count), rng.normal(0, 900, count),
            np.cumsum(rng.normal(0, 5000, count)), rng.normal(0, 1, count) > 1.5,
        ], 1,
    ).astype(np.int64)  # fmt: skip
    columns = basis.plan(entries, [20, 3, 20, 24, 1])
    out, rans = BitWriter(), RansWriter()
    basis.write_columns(out, columns)
    basis.write_entries(rans, Writer(rans, zero=0, rise=0), entries, columns)
    again = basis.read_columns(BitReader(out.finish()), len(columns))
    reader = RansReader(rans.finish(3, np.empty(0, np.uint8)), 3)
    assert np.array_equal(basis.read_entries(reader, Reader(reader), count, again), entries)


# -- any machine, any file -------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="OpenBLAS chooses its kernels by a variable")
def test_decoding_is_the_same_on_every_kernel(data, tmp_path):
    path = tmp_path / "a.lrk"
    path.write_bytes(data)
    program = (
        "import sys, hashlib, lowrank.codec as c, lowrank.format as f;"
        "b = open(sys.argv[1], 'rb').read();"
        "print(hashlib.sha256(c.decode(f.parse(b, name='x', max_pixels=10**9))"
        ".picture.samples.tobytes()).hexdigest())"
    )
    said = set()
    for kernel in ("Prescott", "Haswell"):
        environment = {**os.environ, "OPENBLAS_CORETYPE": kernel}
        run = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        said.add(run.stdout)
    assert len(said) == 1


def test_a_damaged_payload_is_refused_or_decoded(stack, data):
    parts = parse(data)
    payload = parts.body.payload
    rng = np.random.default_rng(8)
    refused = 0
    for trial in range(60):
        damaged = bytearray(payload)
        for place in rng.integers(0, min(len(damaged), 60 if trial % 2 else 10**9), 3):
            damaged[place] = rng.integers(0, 256)
        if trial % 5 == 0:
            damaged = damaged[: rng.integers(0, len(damaged))]
        body = Packed(parts.body.stated, bytes(damaged))
        try:
            samples = codec.decode(replace(parts, body=body)).picture.samples
        except LowrankError:
            refused += 1
        else:
            assert samples.shape == stack.samples.shape
    assert refused > 10


def test_a_cut_file_gives_what_is_there(stack, data, whole):
    cut = parse(data[: len(data) * 2 // 3], partial=True)
    result = codec.decode(cut)
    assert "components" in result.notes[0]
    best = compare(stack, Picture(whole, stack.mode)).psnr_db
    part = compare(stack, Picture(result.picture.samples, stack.mode)).psnr_db
    assert 15 < part < best
    with pytest.raises((FormatError, LowrankError)):
        codec.decode(parse(data[:120], partial=True))


def test_no_frame_is_worse_than_its_psnr():
    stack = grey(8, 20, 33)  # small, as each step that is tried is encoded
    result = Picture(decoded(encoded(stack, Target("psnr_worst", 42))), stack.mode)
    peak = float(np.ptp(stack.samples.astype(int)))
    worst = max(x.squares / x.samples for x in frames(stack, result.each()))
    assert 42 <= 10 * math.log10(peak**2 / worst) <= 42.2
    with pytest.raises(UsageError, match="psnr_worst is a target of packed stacks"):
        codec.encode(Picture(stack.samples[0], stack.mode), Target("psnr_worst", 42))


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e5])
def test_what_levels_lose_is_known_at_any_step(scale):
    """Not the energy less what levels gain of it, which is rounding where both are large."""
    C = (np.random.default_rng(2).normal(size=(256, 2, 3, 2)) * scale).astype(np.float32)
    C[200:] *= np.float32(0.3 / scale)
    orders, edges = [list(range(1, 200)), list(range(1, 40)), []], Edges(32, 32)
    told = levels.lost_of(C.copy(), orders, edges)
    stand = levels.levels_of(C.copy(), orders, edges).astype(np.float64) / 2
    error = np.square(stand - C)[1:].sum((0, 1, 3))
    assert told == pytest.approx(error, rel=1e-4)
    assert told[0] < 0.3 * 199 * 4 + 0.1 * 56 * 4
