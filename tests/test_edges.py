"""Patches at the far edges of a packed stack's planes, and weights of its frames."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lowrank
from lowrank.errors import UsageError
from lowrank.picture import MODES
from lowrank.stores.packed.frames import edges, encoder, klt, noise
from lowrank.stores.packed.frames.edges import Edges
from lowrank.stores.packed.frames.rates import BIT


def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("count", range(1, 17))
def test_waves_of_any_number_of_samples_are_orthonormal(count):
    D = edges.waves(count)
    used = list(edges.places(count))
    assert len(set(used)) == count
    assert np.abs(D[used][:, :count] @ D[used][:, :count].T - np.eye(count)).max() < 1e-12
    assert not np.delete(D, used, axis=0).any()
    assert not D[:, count:].any()
    exact = math.cos(math.pi * 3 * (count - 1) / (2 * count)) * math.sqrt(2 / count)
    if count > 1:
        assert D[used[-1], 1] == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (23, 24), (33, 17), (145, 9), (16, 32)])
def test_the_transform_keeps_every_norm_and_gives_means(size):
    planes = rng().normal(size=(*size, 2))
    C = edges.analyse(planes)
    rest = Edges(*size)
    C[0, -1] /= math.sqrt(16 / rest.rows)
    C[0, :, :, -1] /= math.sqrt(16 / rest.columns)
    assert float((C**2).sum()) == pytest.approx(float((planes**2).sum()), rel=1e-5)
    level = edges.analyse(np.ones((*size, 1)))
    assert np.abs(level[0] - 16).max() < 1e-3
    assert np.abs(level[1:]).max() < 1e-3


@pytest.mark.parametrize("transform", range(4))
def test_every_transform_keeps_norms_and_gives_means(transform):
    D = edges.waves(16, transform)
    assert np.abs(D @ D.T - np.eye(16)).max() < 1e-12
    planes = rng().normal(size=(32, 48, 2))
    C = edges.analyse(planes, transform=transform)
    assert float((C**2).sum()) == pytest.approx(float((planes**2).sum()), rel=1e-5)
    level = edges.analyse(np.ones((32, 48, 1)), transform=transform)
    assert np.abs(level[0] - 16).max() < 1e-3
    assert np.abs(level[1:]).max() < 1e-3


def test_the_transform_is_one_that_costs_little(monkeypatch):
    """Of noise in holes of nothing, and of what is smooth: beside each that might be chosen."""
    y, x = np.mgrid[:32, :48]
    waves = [1000 + 400 * np.sin(x / (9 + i)) + 300 * np.cos(y / 8 - i) for i in range(2)]
    smooth = np.array(waves)
    holed = (smooth + rng().normal(0, 40, smooth.shape)) * ((x // 7 + y // 5) % 3 > 0)

    def cost(A, transform=None):
        stack = klt.Stack(A.astype(np.uint16)[..., None], None)
        if transform is not None:
            stack.transform = transform
        one = encoder.encode(stack, 8.0, MODES["I;16"])
        return one.squared_error() / 64 + 8 * BIT * len(one.payload()), stack.transform

    found, chosen = zip(*map(cost, (smooth, holed)), strict=True)
    assert chosen[1] != edges.LAPPED
    monkeypatch.setattr(encoder, "suit", lambda *_: None)
    for A, own, transform in zip((smooth, holed), found, chosen, strict=True):
        others = {kind: cost(A, kind)[0] for kind in set(range(4)) - {transform}}
        assert own < 1.05 * min(others.values())
        assert edges.LAPPED not in others or A is smooth or own < 0.95 * others[edges.LAPPED]


def test_what_is_not_there_takes_no_bits():
    """A plane of noise one sample wider and higher than whole patches costs that much more."""
    A = rng().normal(2000, 40, (6, 49, 65)).astype(np.uint16)

    def bits(x):
        return len(lowrank.compress(x, stack=True, quality=97).to_bytes()) / x.size

    assert bits(A) < 1.02 * bits(A[:, :48, :64])


@pytest.mark.parametrize("size", [(1, 33), (7, 9), (17, 24), (40, 23)])
def test_every_edge_decodes_to_what_the_encoder_saw(size):
    y, x = np.mgrid[: size[0], : size[1]]
    frames = [np.sin(x / (4 + i)) + np.cos(y / 5) * i + 0.01 * (x * y % 7) for i in range(5)]
    A = (1000 + 300 * np.array(frames)).astype(np.uint16)
    stack = lowrank.open(lowrank.compress(A, stack=True, quality=99).to_bytes())
    gap = A.astype(float) - stack.to_array()
    stated = stack.report(A).channels[0].frobenius_error
    # But for rounding to whole levels.
    assert np.linalg.norm(gap) == pytest.approx(stated, abs=0.6 * math.sqrt(A.size))
    assert np.abs(gap).max() < 0.1 * (float(A.max()) - float(A.min()))


def noisy():
    """Twelve good frames and two that are mostly noise."""
    g = rng()
    y, x = np.mgrid[:48, :48]
    base = np.array([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)])
    A = np.tensordot(g.normal(size=(14, 3)), base, 1) * 200 + 3000
    sd = np.full(14, 4.0)
    sd[[3, 9]] = 400
    return (A + g.normal(size=A.shape) * sd[:, None, None]).astype(np.uint16), sd


def test_the_noise_of_frames_is_found_whatever_they_show():
    A, sd = noisy()
    assert np.abs(np.log2(noise.of_frames(A[..., None]) / sd)).max() < 0.3
    assert not noise.of_frames(np.full((3, 1, 1, 1), 7)).any()
    w = noise.weights(A[..., None])
    assert w.max() == 1
    assert np.abs(np.log2(w * 400 / sd))[sd > 100].max() < 0.3


def test_a_bad_frame_does_not_take_the_bits_of_the_others():
    A, sd = noisy()
    good = sd < 100

    def tried(**more):
        stack = lowrank.compress(A, stack=True, **more)
        gap = (A.astype(float) - np.asarray(stack)) ** 2
        return len(stack.to_bytes()), gap.mean((1, 2))

    size, plain = tried(quality=96)
    less, weighted = tried(quality=99, weights="noise")
    assert less <= size
    assert weighted[good].mean() < 0.7 * plain[good].mean()


def test_weights_state_the_norms_of_the_stack_itself():
    A, _ = noisy()
    stack = lowrank.compress(A, stack=True, quality=80, weights="noise")
    stated = stack.report(A).channels[0]
    norm = np.linalg.norm(A.astype(float))
    s = np.linalg.svd(A.reshape(14, -1).astype(float), compute_uv=False)
    assert stated.sigma_1 == pytest.approx(s[0], rel=1e-3)
    assert stated.frobenius_error >= (1 - 1e-6) * stated.frobenius_bound
    assert stated.frobenius_error < norm


def test_weights_are_of_packed_stacks():
    A, _ = noisy()
    with pytest.raises(UsageError, match="weights are of packed stacks"):
        lowrank.compress(A, stack=True, rank=2, weights="noise")
    with pytest.raises(UsageError, match="noise"):
        lowrank.compress(A, stack=True, quality=50, weights="gain")
