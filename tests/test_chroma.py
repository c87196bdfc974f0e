"""Chroma that is told from luma: another payload where it pays, the same promises."""

from __future__ import annotations

import numpy as np
import pytest

import lowrank
from lowrank.errors import FormatError
from lowrank.layouts import turn
from lowrank.layouts.lapped import grid
from lowrank.stores.packed.coding.range_coder import BitReader, BitWriter
from lowrank.stores.packed.patches import chroma, codec, encoder
from lowrank.stores.packed.patches.contexts import Quarters
from lowrank.stores.packed.patches.header import Beginning, read_beginning, read_header
from lowrank.stores.packed.patches.order import Component


def tinted(height=90, width=110, seed=3):
    """Texture whose colours go with its brightness, in each region in a way of its own."""
    rng = np.random.default_rng(seed)
    base = np.kron(rng.integers(0, 120, (height // 2 + 1, width // 2 + 1)), np.ones((2, 2)))
    y, x = np.mgrid[:height, :width]
    tint = np.stack([3 + (y // 30 + x // 40 + c) % 3 for c in range(3)], axis=-1)
    return (60 + base[:height, :width, None] * tint / 5).astype(np.uint8)


@pytest.fixture(scope="module")
def crossed():
    A = tinted()
    source = encoder.prepare(A, 8, alpha=False, turn=turn.principal(A))
    return A, source, encoder.encode(source, 20.0, again=True)


def header_of(payload, shape):
    return read_header(payload, grid(*shape[:2]), shape[2])[0]


def test_it_is_asked_for_where_it_pays_and_costs_less(crossed, monkeypatch):
    A, source, coded = crossed
    assert header_of(coded.payload(), A.shape).crossed
    monkeypatch.setattr(chroma, "pays", lambda *_: False)
    plain = encoder.encode(source, 20.0, again=True)
    assert not header_of(plain.payload(), A.shape).crossed
    assert len(coded.payload()) < 0.95 * len(plain.payload())
    # It changes what is coded, hardly what is shown.
    errors = [np.mean((A - x.samples().astype(float)) ** 2) for x in (coded, plain)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_what_the_encoder_shows_is_what_its_payload_decodes_to(crossed):
    A, _, coded = crossed
    assert np.array_equal(codec.decode(coded.payload(), A.shape, 8).samples, coded.samples())


def test_colours_that_do_not_go_with_brightness_are_coded_as_before():
    A = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    source = encoder.prepare(A, 8, alpha=False, turn=turn.principal(A))
    assert not header_of(encoder.encode(source, 30.0).payload(), A.shape).crossed


def test_of_grey_pictures_nothing_is_told():
    A = tinted()[..., 0]
    data = lowrank.compress(A, quality=70).to_bytes()
    payload = data[data.index(b"PACK") + 4 :]
    assert not header_of(payload, (*A.shape, 1)).crossed


def test_pairs_are_the_frequencies_that_luma_has_before_chroma():
    scales = [np.zeros(256, np.int64) for _ in range(4)]
    scales[0][[3, 5, 9]], scales[1][[3, 5, 7]], scales[2][9], scales[3][5] = 8, (8, 9, 4), 2, 1
    wanted = {(0, 3), (1, 3), (0, 9), (2, 9)}
    assert chroma.pairs(scales) == {Component(*one) for one in wanted}


def test_a_regression_that_holds_everywhere_is_found():
    """R = 3/2 L in steps, that is 24 L sixteenths: the guess tends to it, in whole sixteenths."""
    rng = np.random.default_rng(2)
    shape = Quarters(7, 9)
    pairs = frozenset(Component(c, i) for c in (0, 1) for i in range(1, 12))
    told = chroma.FromLuma(shape, pairs, np.dtype(np.float32))
    for i in range(1, 12):
        L = rng.integers(-40, 41, (7, 9)).astype(np.float32)
        told.learn(Component(0, i), shape.scatter(16 * L), None)
        guess = told.guess(Component(1, i))
        found = shape.gather(guess, np.empty((7, 9)))
        assert np.array_equal(found, np.floor(found))
        if i > 1:
            assert np.abs(found - 24 * L).max() <= 3  # the damping takes a little
        told.learn(Component(1, i), shape.scatter(24 * L) - guess, guess)
    assert told.guess(Component(2, 3)) is None


def test_newer_versions_and_colours_that_are_not_turned_are_refused_by_name():
    for version in (0, 5, 15):
        out = BitWriter()
        out.number(0, "lanes")
        out.bits(version, 4)
        out.number(7, "lanes")
        with pytest.raises(FormatError, match=f"version {version} of patches"):
            read_beginning(BitReader(out.finish()))
    out = BitWriter()
    out.number(0, "lanes")
    out.bits(1, 4)
    out.number(7, "lanes")
    assert read_beginning(BitReader(out.finish())) == Beginning(1, True, 0, 0, False, 7)
