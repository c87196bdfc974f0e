"""The parts of the packed codec: each keeps its own promise."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from lowrank.errors import FormatError
from lowrank.layouts import turn
from lowrank.layouts.lapped import SIDE, SIZE, analyse, cosines, image
from lowrank.layouts.turn import axes
from lowrank.stores.packed.coding import collected, smoothing
from lowrank.stores.packed.coding.rans import Cut, RansReader
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.patches import (
    codec,
    contexts,
    encoder,
    prediction,
    rotations,
    synthesis,
)
from lowrank.stores.packed.patches.header import read_header
from lowrank.stores.packed.patches.models import token_model
from lowrank.stores.packed.patches.samples import samples_of

SHAPES = [(1, 1), (1, 5), (4, 1), (2, 2), (5, 7), (8, 6)]


def waves(height: int, width: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    A = np.stack([np.sin(x / (6 + c) + y / 9) for c in range(3)], axis=2) * 90 + 128
    return np.clip(np.rint(A + rng.normal(0, 6, A.shape)), 0, 255).astype(np.uint8)


# -- entropy ---------------------------------------------------------------------------


@pytest.mark.parametrize("lanes", [1, 7, 200, 600])
def test_coders_give_back_flags_tokens_raw_bits_and_what_their_ends_hold(lanes):
    rng = np.random.default_rng(lanes)
    zero = rng.integers(24, 65512, 999).astype(np.uint32)
    flags = rng.random(999) * 65536 >= zero
    model = token_model()
    pair = rng.integers(0, len(model.frequency), 500)
    coded = pair * 16 + rng.integers(0, 16, 500)
    raw, tail = rng.integers(0, 2, 77, np.uint8), rng.integers(0, 2, 16 * lanes, np.uint8)
    writer = RansWriter()
    start = np.where(flags, zero, 0).astype(np.uint16)
    writer.symbols(start, np.where(flags, 65536 - zero, zero).astype(np.uint16), 16)
    writer.raw(raw[:30])
    number = writer.raw(np.ones(9, np.uint8))
    frequency = model.frequency.astype(np.uint16)
    writer.symbols(model.start.take(coded), frequency.take(coded), 12)
    writer.raw(raw[30:])
    few, more = writer.raw(np.zeros(8 * lanes, np.uint8)), writer.raw(raw[:1])
    assert writer.late([[number], [few, more]], 0)[0] == 0
    count, late = writer.late([[number], [few, more]], lanes)
    assert (count, len(late)) == ((2, 8 * lanes + 10) if lanes > 1 else (1, 9))
    writer.late([[number], [few, more]], lanes)
    data = writer.finish(lanes, tail)
    reader = RansReader(data, lanes)
    found, places = reader.flags(zero)
    assert np.array_equal(found, flags)
    assert np.array_equal(places, flags.nonzero()[0])
    assert np.array_equal(reader.raw(30), raw[:30])
    assert np.array_equal(reader.tokens(pair, model), coded)
    assert np.array_equal(reader.raw(47), raw[30:])
    assert np.array_equal(reader.tail(), tail)
    with pytest.raises(Cut):
        reader.raw(40)


def passes(rng: np.random.Generator, count: int) -> list[collected.Pass]:
    """Short passes of all kinds, of tables that change little by little."""
    zero, narrow = np.full(68, 900, np.uint16), np.full(200, 70, np.uint16)
    frequency, found = np.full((34, 16), 256, np.uint16), []
    for i in range(count):
        if i % 9 == 8:
            zero, frequency = zero.copy(), frequency.copy()
            zero[rng.integers(68)] += 1
            frequency[rng.integers(34), :2] += np.array([1, 65535], np.uint16)
        table = narrow if i % 50 == 0 else zero
        number = rng.integers(0, 2 * len(table), rng.integers(1, 200)).astype(
            collected.type_of(table)
        )
        flags = collected.Flags(number.tobytes(), table)
        token = lambda: rng.integers(0, 16, rng.integers(1, 40), np.uint8).tobytes()  # noqa: E731
        found += [flags, collected.Tokens(token(), flags, frequency)]
        if i % 7 == 0:
            one = [rng.bytes(10), rng.bytes(10)]
            found += [collected.Symbols(*one, 12), collected.Among(token(), frequency[0])]
        bits = rng.integers(0, 2, rng.integers(0, 30), np.uint8)
        found.append(collected.Raw(np.packbits(bits).tobytes(), len(bits)))
    return found


def told(one: collected.Pass) -> list[object]:
    """What a pass says, its arrays as lists."""
    return [type(one)] + [
        told(x) if isinstance(x, tuple) else x.tolist() if isinstance(x, np.ndarray) else x
        for x in one
    ]


def test_passes_come_back_from_the_last_and_any_may_be_changed():
    every = passes(np.random.default_rng(3), 2000)
    kept = collected.Passes()
    assert [kept.add(one) for one in every] == list(range(len(every)))
    place = len(every) // 2
    assert told(kept[place]) == told(every[place])
    every[place] = kept[place] = collected.Raw(b"", 0)
    assert [told(kept.pop()) for _ in every] == [told(one) for one in every[::-1]]
    assert not len(kept)


def test_short_passes_take_little_more_than_their_symbols():
    symbols = sum(
        len(one.kept) if isinstance(one, collected.Flags) else len(one[0])
        for one in passes(np.random.default_rng(4), 3000)
    )
    tracemalloc.start()
    try:
        kept = collected.Passes()
        for one in passes(np.random.default_rng(4), 3000):
            kept.add(one)
        del one
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(kept) > 3000
    assert taken < 2 * symbols


# -- contexts --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [*SHAPES, (91, 98)])
def test_planes_hold_each_place_once_and_know_its_neighbours(shape):
    quarters = contexts.Quarters(*shape)
    grid = np.arange(1, shape[0] * shape[1] + 1).reshape(shape)
    flat = quarters.scatter(grid)
    assert np.array_equal(quarters.gather(flat, np.zeros_like(grid)), grid)
    assert np.array_equal(grid.ravel()[quarters.where[flat > 0]], flat[flat > 0])
    around = np.pad(grid, 1)
    sides = around[1:-1, :-2], around[1:-1, 2:], around[:-2, 1:-1], around[2:, 1:-1]
    scattered = [quarters.scatter(side) for side in sides]
    seen = 0
    for phase in quarters.phases:
        for plane in phase.planes:
            here = flat[quarters.spans[plane]] > 0
            seen += int(here.sum())
            (left, right), (up, down) = quarters.neighbours[plane]
            for span, side in zip((left, right, up, down), scattered, strict=True):
                assert np.array_equal(flat[span][here], side[quarters.spans[plane]][here])
    assert seen == grid.size


def test_rows_rise_with_the_expected_magnitude_and_stay_in_the_table():
    e = np.arange(0, 1 << 17, dtype=np.float32)
    rows = contexts.rows_of(e.copy())
    assert rows[0] == 0
    assert rows[-1] == contexts.ROWS - 1
    assert np.all(np.diff(rows) >= 0)
    assert set(rows) == set(range(contexts.ROWS))


# -- prediction ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 5), (7, 4)])
@pytest.mark.parametrize(("v", "u"), [(0, 1), (1, 1), (2, 1), (0, 4), (3, 0)])
def test_a_transposed_picture_has_transposed_predictions(shape, v, u):
    rng = np.random.default_rng(v + 16 * u)
    values = rng.integers(-900, 900, (SIZE, *shape)).astype(np.float32)
    mean = rng.normal(0, 30, shape).astype(np.float32)

    def predicted(values, mean, v, u):
        quarters = contexts.Quarters(*mean.shape)
        memory = prediction.Memory(quarters)
        memory.means(0, mean)
        for a, b in ((v, u - 1), (v - 1, u)):
            if a >= 0 and b >= 0 and a + b:
                memory.add(0, a * SIDE + b, quarters.scatter(values[a, b]))
        index = v * SIDE + u
        weights = prediction.weights(index)
        flat = np.zeros(quarters.size, np.float32)
        own = quarters.scatter(values[v, u])
        for phase in quarters.phases:
            flat[phase.places] = memory.predict(0, index, weights, phase, own)
        return quarters.gather(flat, np.zeros(mean.shape, np.float32))

    grid = values.reshape(SIDE, SIDE, *shape)
    one = predicted(grid, mean, v, u)
    turned = predicted(grid.transpose(1, 0, 3, 2), mean.T, u, v)
    assert np.array_equal(one, turned.T)
    assert np.array_equal(one, np.rint(one))
    assert np.any(one)


# -- rotations -------------------------------------------------------------------------


def test_rotations_keep_lengths_and_turn_back():
    rng = np.random.default_rng(5)
    A = rng.normal(size=(SIZE, 30))
    turns = ((1, 2, 64), (2, 9, -17), (1, 255, 3))
    B = A.copy()
    rotations.turn(B, turns)
    assert np.linalg.norm(B) == pytest.approx(np.linalg.norm(A), rel=1e-14)
    assert np.linalg.norm(B - A) > 1
    rotations.turn(B, turns, inverse=True)
    assert np.allclose(B, A, atol=1e-14)


def test_the_search_makes_correlated_columns_orthogonal():
    rng = np.random.default_rng(6)
    A = rng.normal(0, 0.1, (SIZE, 20, 30))
    source = rng.normal(0, 9, (2, 20, 30))
    angle = math.pi * 40 / 256
    A[17] = math.cos(angle) * source[0] - 0.2 * math.sin(angle) * source[1]
    A[33] = math.sin(angle) * source[0] + 0.2 * math.cos(angle) * source[1]
    turns = rotations.search(A)
    assert [(i, j) for i, j, _ in turns] == [(17, 33)]
    rotations.turn(A, turns)
    x, y = A[17].ravel(), A[33].ravel()
    assert abs(x @ y) < 0.03 * np.linalg.norm(x) * np.linalg.norm(y)
    assert rotations.search(rng.normal(0, 5, (SIZE, 20, 30))) == ()


def test_a_turned_basis_is_orthonormal_to_its_precision():
    V = synthesis.basis(list(range(SIZE)), ((3, 40, 31), (7, 8, -64)), 20) / 2**20
    assert np.allclose(V.T @ V, np.eye(SIZE), atol=2e-5)
    D = np.kron(cosines(), cosines())
    plain = synthesis.basis(list(range(SIZE)), (), 20) / 2**20
    assert np.allclose(plain.T, D, atol=1e-6)


# -- synthesis --------------------------------------------------------------------------


@pytest.mark.parametrize(("largest", "kind"), [(9, np.float32), (1 << 16, np.float64)])
def test_patches_are_exact_sums_in_the_float_that_holds_them(largest, kind):
    rng = np.random.default_rng(largest)
    indices, turns = [3, 16, 17, 18, 40, 200, 255], ((3, 40, 20), (16, 18, -9), (17, 200, 5))
    basis = synthesis.basis(indices, turns, 13)
    maps = rng.integers(-largest, largest, (len(indices), 3, 4)).astype(np.float32)
    first = rng.normal(0, 50, (3, 4)).astype(np.float32)
    out = np.empty((SIDE, SIDE, 2, 4), np.float32)
    synthesis.Channel(first, basis, maps, 0.01).patches(slice(1, 3), out)
    sums = np.einsum("pk,kyx->pyx", basis.astype(np.int64), maps[:, 1:].astype(np.int64))
    exact = sums.astype(kind).reshape(out.shape)
    assert np.array_equal(out, (exact * kind(0.01) + first[1:]).astype(np.float32))


@pytest.mark.parametrize("apart", [(False, False), (True, True)])
@pytest.mark.parametrize("lapped", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (13, 700)])
def test_rows_of_patches_are_the_same_in_any_number_of_pieces(shape, lapped, apart, monkeypatch):
    rng = np.random.default_rng(5)
    basis = rng.integers(-99, 99, (SIZE, 3)).astype(np.float32)
    maps = rng.integers(-9, 9, (3, *shape)).astype(np.float32)
    first = rng.normal(0, 50, shape).astype(np.float32)
    channels = [synthesis.Channel(scale * first, basis, maps, scale) for scale in (0.25, 0.5)]
    found = []
    for span in (shape[0], 1, 2, 5):
        monkeypatch.setattr(synthesis, "_SPAN", span)
        samples = np.full((2, SIDE, SIDE, *shape), np.nan, np.float32)

        def emit(top, block, samples=samples):
            part = samples[:, :, :, top : top + block.shape[3]]
            assert np.isnan(part).all()
            part[:] = block

        synthesis.render(channels, emit, np.dtype(np.float32), apart, lapped=lapped)
        found.append(samples)
    assert all(np.array_equal(found[0], other) for other in found)


# -- smoothing -------------------------------------------------------------------------


def test_smoothing_never_moves_the_picture_away_and_no_strength_leaves_it():
    original = waves(80, 70)[..., 0].astype(np.float32)
    rng = np.random.default_rng(7)
    decoded = original + rng.normal(0, 8, original.shape).astype(np.float32)
    strength = smoothing.Filter(decoded, 30.0).best_strength(original)
    assert strength > 0
    better = decoded.copy()
    smoothing.Filter(better, 30.0).apply(strength)
    assert np.linalg.norm(better - original) < 0.95 * np.linalg.norm(decoded - original)
    same = decoded.copy()
    smoothing.Filter(same, 30.0).apply(0)
    assert np.array_equal(same, decoded)
    assert smoothing.Filter(original, 30.0).best_strength(original) == 0


@pytest.mark.parametrize("turn", [np.transpose, np.flipud, np.fliplr])
def test_smoothing_knows_no_direction_better_than_another(turn):
    plane = waves(61, 47)[..., 1].astype(np.float64)
    one, other = plane.copy(), turn(plane).copy()
    smoothing.Filter(one, 25.0).apply(8)
    smoothing.Filter(other, 25.0).apply(8)
    # Sums in another order may fall on the other side of a class's edge.
    assert np.mean(np.abs(turn(one) - other) < 1e-6) > 0.995


def test_smoothing_in_slabs_is_smoothing_at_once(monkeypatch):
    plane = waves(90, 33)[..., 2].astype(np.float32)
    one, other = plane.copy(), plane.copy()
    smoothing.Filter(one, 20.0).apply(9)
    monkeypatch.setattr(smoothing, "_SLAB", 33 * 8)
    smoothing.Filter(other, 20.0).apply(9)
    assert np.array_equal(one, other)


def test_a_flat_plane_stays_as_it_is():
    plane = np.full((9, 9), 77.25, np.float32)
    smoothing.Filter(plane, 12.0).apply(15)
    assert np.all(plane == 77.25)


# -- the whole -------------------------------------------------------------------------


def encoded(A, step):
    """The source of an array of 8 bits, and what it was encoded to."""
    source = encoder.prepare(A, 8, alpha=False, turn=turn.principal(A))
    return source, encoder.encode(source, step, again=True)


def test_the_factors_are_what_the_samples_are_made_of():
    """Without smoothing, samples are the rounded picture of B, to the last level."""
    A = waves(64, 80)
    source, coded = encoded(A, 20.0)
    B = codec.factors(coded.payload(), A.shape, 8)
    limited = codec.decode(coded.payload(), A.shape, 8, rank=10**6)
    assert limited.total == limited.decoded
    back = image(B, *A.shape[:2], axes(source.turn))
    walk, *_ = codec._decode_maps(coded.payload(), A.shape, 8, rank=None, partial=False)
    plain = samples_of(walk, *A.shape[:2], 8, smooth=False)
    assert np.max(np.abs(np.clip(back, 0, 255) - plain)) < 0.6
    for b, k in zip(B, coded.ranks, strict=True):
        assert np.linalg.matrix_rank(b) <= k


def test_the_error_in_the_factors_is_the_error_in_the_picture():
    """The layout is orthonormal: ||A - B||_F^2 is the squared error of unrounded samples."""
    A = waves(64, 80)
    source, coded = encoded(A, 30.0)
    assert codec.outline(coded.payload(), A.shape).turn == source.turn
    C = analyse(A, axes(source.turn), np.dtype(np.float64))
    B = codec.factors(coded.payload(), A.shape, 8)
    inside = sum(
        float(np.linalg.norm(C[:, :, c].reshape(SIZE, -1).T - B[c]) ** 2) for c in range(3)
    )
    outside = float(np.linalg.norm(image(B, *A.shape[:2], axes(source.turn)) - A) ** 2)
    assert outside == pytest.approx(inside, rel=1e-9)


@pytest.mark.parametrize("size", [(5, 3, 4), (33, 50, 3), (64, 80, 1)])
def test_the_encoder_knows_what_its_decoder_will_find(size):
    A = np.repeat(waves(*size[:2]), 2, axis=2)[:, :, : size[2]]
    source = encoder.prepare(A, 8, alpha=size[2] == 4, turn=None)
    for step in (4.0, 40.0):
        coded = encoder.encode(source, step, again=True)
        found = codec.decode(coded.payload(), size, 8)
        assert np.array_equal(coded.samples(), found.samples)
        assert coded.payload() == encoder.encode(source, step, again=True).payload()
        assert abs(len(coded.payload()) - coded.length()) <= 2
        factors = codec.factors(coded.payload(), size, 8)
        for c, (x, B) in enumerate(zip(coded.norms(), factors, strict=True)):
            C = source.C[:, :, c].reshape(SIZE, -1).T.astype(float)
            assert x.norm == pytest.approx(np.linalg.norm(C), rel=1e-5)
            assert x.error == pytest.approx(np.linalg.norm(C - B), rel=1e-4)


def test_smoothing_of_a_huge_picture_is_refused():
    A = waves(32, 32)
    payload = encoded(A, 20.0)[1].payload()
    header, _ = read_header(payload, (2, 2), 3)
    assert any(header.smooth)
    with pytest.raises(FormatError, match="too large to be smoothed"):
        codec.decode(payload, (4096, 4096, 3), 8)
