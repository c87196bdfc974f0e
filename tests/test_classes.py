"""Packed stacks of a few materials: later planes predicted by classes of pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from make_golden import materials

from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import FormatError, LimitError
from lowrank.picture import MODES, Picture
from lowrank.picture.distance import compare
from lowrank.picture.levels import Scale
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.coding.rans import RansReader
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.frames import classes, edges, encoder, header, learn, order, select
from lowrank.stores.packed.frames import codec as room
from lowrank.stores.packed.frames.classes import Classes, Sorted, Weights
from lowrank.stores.packed.frames.klt import Stack
from lowrank.stores.packed.frames.rates import BIT
from lowrank.stores.packed.patches.phases import Reader, Writer
from lowrank.targets import Target

STEP = 150.0


@pytest.fixture(scope="module")
def picture() -> Picture:
    return Picture(picture_of_materials(), MODES["I;16"])


@pytest.fixture(scope="module")
def coded(picture):
    return encoder.encode(Stack(picture.samples, None), STEP, picture.mode)


def header_of(payload, picture):
    return room.outline(payload, picture.samples.shape).read[0]


def some(rng, count=3, base=2, each=2, *, unit=1):
    centres = rng.integers(-900, 900, (count, base)) << 1
    return Classes(each, unit, 4, (1,) * base, centres)


def picture_of_noise():
    A = np.random.default_rng(4).normal(3000, 100, (64, 32, 40, 1))
    return np.rint(A).astype(np.uint16)


def picture_of_materials():
    return materials(40, 52, 1, 30000).astype(np.uint16)


# -- what classes are for --------------------------------------------------------------


def test_they_are_smaller_and_as_near_where_materials_differ(picture, coded, monkeypatch):
    monkeypatch.setattr(learn, "COUNTS", ())
    plain = encoder.encode(Stack(picture.samples, None), STEP, picture.mode)
    assert header_of(coded.payload(), picture).classes is not None
    assert header_of(plain.payload(), picture).classes is None
    assert coded.length() < 0.95 * plain.length()
    assert coded.squared_error() < 1.05 * plain.squared_error()


@pytest.mark.parametrize("step", [0.5, 4.0])
def test_they_are_found_where_samples_are_a_hundred_thousand_steps(picture, step, monkeypatch):
    found = encoder.encode(Stack(picture.samples, None), step, picture.mode)
    monkeypatch.setattr(learn, "COUNTS", ())
    plain = encoder.encode(Stack(picture.samples, None), step, picture.mode)
    assert found.length() < 0.9 * plain.length()


@pytest.mark.parametrize("step", [1e-4, 0.01, 1.0, 100.0])
def test_the_cost_of_a_map_is_its_error_and_its_bits_at_any_step(step):
    rng = np.random.default_rng(3)
    C = rng.normal(0, 100, (256, 3, 5, 4)).astype(np.float32)
    choice = select.Choice(C, step)
    x = np.abs(C.astype(np.float64)) / (step * select.FINER)
    gap = np.where(x < 0.62, x, x - np.floor(x + 0.42))
    lost = np.square(gap).sum((1, 3)) * select.FINER**2
    whole = np.square(C.astype(np.float64) / step).sum((1, 3))
    expected = np.minimum(whole, lost + BIT * choice.bits).sum(0)
    assert choice.cost == pytest.approx(expected, rel=0.01)
    assert choice.energy == pytest.approx(whole.sum(0), rel=1e-5)


@pytest.mark.parametrize("row", [1.0, 1e3])
def test_each_octave_of_a_large_level_takes_a_bit(row):
    """Else a fine step has all levels cost alike, and nothing tells which planes are smaller."""
    C = np.random.default_rng(5).normal(0, 1, (256, 2, 3, 4)).astype(np.float32)
    C = np.copysign(np.abs(C) + 1, C) * np.float32(100 * row)
    bits, more = select.Choice(C).bits, select.Choice(C * 1024).bits
    assert more - bits == pytest.approx(np.full(bits.shape, 10.0 * 8), abs=0.2)


def test_the_transform_of_planes_is_chosen_where_all_levels_are_large(picture):
    fine, coarser = (Stack(picture.samples, None) for _ in range(2))
    encoder.encode(fine, 0.25, picture.mode)
    encoder.encode(coarser, 1.0, picture.mode)
    assert fine.transform == coarser.transform != edges.LAPPED


@pytest.mark.parametrize("planes", [picture_of_noise, picture_of_materials])
def test_what_is_not_looked_at_would_have_changed_nothing(planes, monkeypatch):
    A = planes()
    decided = encoder.encode(Stack(A, None), 8.0, MODES["I;16"]).payload()
    monkeypatch.setattr(learn, "_HOPE", 0.0)
    assert encoder.encode(Stack(A, None), 8.0, MODES["I;16"]).payload() == decided


def test_later_planes_are_not_looked_at_where_earlier_ones_do_not_pay(monkeypatch):
    seen = []
    learnt = learn.weights
    monkeypatch.setattr(learn, "weights", lambda *xs: seen.append(xs[2].stop) or learnt(*xs))
    A = picture_of_noise()
    encoder.encode(Stack(A, None), 8.0, MODES["I;16"])
    assert 0 < max(seen) < len(A)


def test_what_the_encoder_says_is_what_the_decoder_finds(picture, coded):
    found = room.decode(coded.payload(), picture.samples.shape, Scale(picture.mode))
    assert np.array_equal(found.samples, coded.samples())
    (B,) = room.factors(coded.payload(), picture.samples.shape, Scale(picture.mode))
    gap = picture.samples.reshape(B.shape) - B
    assert coded.norms()[0].error == pytest.approx(np.linalg.norm(gap), rel=1e-9)


def test_noise_has_no_classes():
    rng = np.random.default_rng(1)
    A = (rng.normal(900, 30, (12, 4)) @ rng.normal(1, 1, (4, 1600)) / 40).reshape(12, 40, 40, 1)
    A = np.rint(np.clip(A + rng.normal(300, 40, A.shape), 0, 65535)).astype(np.uint16)
    payload = encoder.encode(Stack(A, None), 60.0, MODES["I;16"]).payload()
    assert room.outline(payload, A.shape).read[0].classes is None


def test_in_groups_with_weights_and_a_rank(picture, monkeypatch):
    monkeypatch.setattr(order, "GROUP", 256 * 12 * 3)
    weights = np.linspace(0.4, 1, len(picture.samples))
    coded = encoder.encode(Stack(picture.samples, None, weights), STEP, picture.mode)
    payload, shape = coded.payload(), picture.samples.shape
    assert header_of(payload, picture).classes is not None
    assert np.array_equal(room.decode(payload, shape, Scale(picture.mode)).samples, coded.samples())
    errors = [
        compare(
            picture,
            Picture(room.decode(payload, shape, Scale(picture.mode), rank=k).samples, picture.mode),
        ).psnr_db
        for k in (1, 3, 6, 14)
    ]
    assert errors == sorted(errors)


# -- the pieces ------------------------------------------------------------------------


def test_fields_and_weights_come_back():
    rng = np.random.default_rng(5)
    made = some(rng, 5, 3, 4)
    out = BitWriter()
    classes.write(out, made)
    found = classes.read(BitReader(out.finish()), 12, 4000)
    assert np.array_equal(found.centres, made.centres)
    assert (found.each, found.unit, found.fine, found.coarse) == (4, 1, 4, (1, 1, 1))
    assert [found.reach(m) for m in range(3, 12)] == [3] * 4 + [7] * 4 + [11]
    rans = RansWriter()
    sent = Weights(Writer(rans, zero=0, rise=0), made)
    every = [
        np.rint(rng.laplace(0, 9 if m % 3 else 0.2, (5, made.reach(m) + 1))).astype(np.int32)
        for m in range(3, 12)
    ]
    for m, W in zip(range(3, 12), every, strict=True):
        sent.code(m, W)
    reader = RansReader(rans.finish(2, np.empty(0, np.uint8)), 2)
    read = Weights(Reader(reader), found).read(slice(1, 12))
    assert [part for part, _ in read] == [slice(3, 7), slice(7, 11), slice(11, 12)]
    flat = [W[:, k] for _, W in read for k in range(W.shape[1])]
    assert all(np.array_equal(a, b) for a, b in zip(flat, every, strict=True))


def test_a_prediction_is_the_sum_that_the_page_says():
    rng = np.random.default_rng(6)
    made, maps, pixels = some(rng, 4, 2, 1), 5, 300
    Y = np.rint(rng.normal(0, 4000, (maps, pixels))).astype(np.int32)
    weights = [
        (slice(m, m + 1), rng.integers(-99, 99, (4, 1, made.reach(m) + 1)).astype(np.int32))
        for m in range(2, maps)
    ]
    expected = Y.astype(object)
    z = Y[:2] >> made.unit
    far = np.square(z[None].astype(np.int64) - made.centres[:, :, None]).sum(1)
    labels = far.argmin(0)
    for part, W in weights:
        for c in range(4):
            places = np.flatnonzero(labels == c)
            n, total = len(places), np.zeros(len(places))
            numbers = [np.ones(n)]
            for j in range(part.start):
                y = expected[j, places].astype(np.int64)
                numbers.append(y - y.sum() // n)
            for w, d in zip(np.roll(W[c, 0], 1), numbers, strict=True):
                spread = int(np.abs(d).sum()).bit_length()
                total += w * d * 2.0 ** -max(spread - n.bit_length() // 2 - made.fine, 0)
            expected[part.start, places] += np.rint(total).astype(int)
    classes.restore(made, Y, weights)
    assert np.array_equal(Y, expected.astype(np.int32))


def test_sorting_pixels_loses_none():
    rng = np.random.default_rng(7)
    Y = rng.integers(-5000, 5000, (4, 500)).astype(np.int32)
    pixels, there = Sorted(some(rng), Y[:2]), Y.copy()
    pixels.sort(there)
    assert sorted(there[3]) == sorted(Y[3])
    pixels.restore(there)
    assert np.array_equal(there, Y)


def test_weights_are_those_of_least_squares():
    rng = np.random.default_rng(8)
    Y = np.rint(rng.normal(0, 3000, (4, 2000))).astype(np.int32)
    Y[3] = np.rint(0.5 * Y[0] - 0.25 * Y[1] + 77)
    pixels = Sorted(Classes(2, 0, 4, (0, 0), np.zeros((1, 2), np.int64)), Y[:2])
    pixels.sort(Y)
    W = learn.weights(pixels, Y, slice(2, 4), Y[2:4])
    left = Y[2:4] - pixels.predict(Y, 2, W)
    assert np.abs(left[1]).max() < 40
    assert np.std(left[0]) == pytest.approx(np.std(Y[2]), rel=0.01)


# -- any file --------------------------------------------------------------------------


def remade(coded, picture, **changes):
    """A payload with another header before the same coefficients."""
    payload = coded.payload()
    read, end = room.outline(payload, picture.samples.shape).read
    return header.write_header(replace(read, **changes), 1) + payload[end:]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: replace(x, centres=np.zeros((65, x.base), np.int64)),
        lambda x: replace(x, centres=np.zeros((8, 33), np.int64), coarse=(0,) * 33),
        lambda x: replace(x, each=0),
        lambda x: replace(x, centres=np.full_like(x.centres, 1 << 23), coarse=(0,) * x.base),
        lambda x: replace(x, coarse=(23,) * x.base, centres=np.zeros_like(x.centres)),
    ],
)
def test_classes_that_cannot_be_are_refused(picture, coded, change):
    classed = header_of(coded.payload(), picture).classes
    with pytest.raises(FormatError, match=r"classes|centre"):
        room.outline(remade(coded, picture, classes=change(classed)), picture.samples.shape)


def test_more_classes_than_a_plane_has_room_for_are_refused():
    out = BitWriter()
    classes.write(out, some(np.random.default_rng(1), 9))
    with pytest.raises(FormatError, match="9 classes by 2 of 30 maps"):
        classes.read(BitReader(out.finish()), 30, 278)


def test_predictions_beyond_exact_arithmetic_are_refused():
    made = Classes(1, 0, 0, (0,), np.zeros((1, 1), np.int64))
    Y = np.zeros((3, 64), np.int32)
    Y[0, 5] = 1 << 30
    Y[1] = (1 << 30) * (-1) ** np.arange(64)
    most = (1 << 20) - 1
    weights = [(slice(2, 3), np.array([[[most, most, most]]], np.int32))]
    with pytest.raises(FormatError, match="beyond exact arithmetic"):
        classes.restore(made, Y.copy(), weights)
    Y[2] = 2**31 - 1
    with pytest.raises(FormatError, match="out of range"):
        classes.restore(made, Y, [(slice(2, 3), np.array([[[0, 0, 1000]]], np.int32))])


def test_a_newer_version_is_refused_by_name(picture, coded):
    with pytest.raises(FormatError, match="version 9 of stacks, which is newer"):
        room.outline(remade(coded, picture, version=9), picture.samples.shape)


def test_too_much_work_is_refused_where_the_frames_are_the_planes(picture, coded, monkeypatch):
    monkeypatch.setattr(room, "MAX_PRODUCTS", 1000)
    with pytest.raises(LimitError, match="more work"):
        room.decode(coded.payload(), picture.samples.shape, Scale(picture.mode))


def test_a_cut_file_gives_more_the_more_is_there(picture):
    parts = codec.encode(picture, Target("quality", 96), store="packed").parts
    data = lrk.serialize(parts)
    gaps = []
    for share in (0.4, 0.7, 1.0):
        part = lrk.parse(
            data[: int(len(data) * share)], name="x", max_pixels=10**9, partial=share < 1
        )
        gaps.append(compare(picture, codec.decode(part).picture).psnr_db)
    assert gaps == sorted(gaps)
