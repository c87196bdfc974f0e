"""Matrices of less rank than their sides would allow: flat pictures, drawings, single rows."""

import json

import numpy as np
import pytest

import lowrank
from lowrank import linalg
from lowrank.linalg import matrix, svd

FLAT = np.full((90, 120), 200, np.uint8)


def of_rank(r, m, n, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.integers(1, 9, (m, r)) @ rng.integers(1, 9, (r, n))).astype(np.uint16)


@pytest.mark.parametrize("exact", [1500, 10])
@pytest.mark.parametrize("rank", [1, 3, 20])
@pytest.mark.parametrize("shape", [(60, 80), (80, 60)])
def test_auto_keeps_no_term_of_rounding(monkeypatch, exact, rank, shape):
    """Where most singular values are zero, their median is that of rounding and not of noise."""
    monkeypatch.setattr(svd, "_EXACT_SPECTRUM", exact)
    image = lowrank.compress(of_rank(rank, *shape), rank="auto")
    assert image.ranks == (rank,)
    assert image.factors[0][1].all()


@pytest.mark.parametrize("memory", [None, 10**9])
def test_auto_keeps_none_of_a_stack_either(memory):
    frames = of_rank(3, 30, 24 * 20).reshape(30, 24, 20)
    stack = lowrank.compress(frames, stack=True, rank="auto", memory=memory)
    assert stack.ranks == (3,)
    assert stack.truncate(1).report(frames).stack.residual.gavish_donoho_rank == 3


def test_a_ladder_calls_exact_what_is(cli, tmp_path):
    np.save(tmp_path / "flat.npy", FLAT)
    for rung in json.loads(cli("report", "flat.npy", "--json").out)["ranks"]:
        (channel,) = rung["channels"]
        assert channel["spectral_bound"] == channel["frobenius_bound"] == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
def test_an_image_of_one_rank_has_a_ladder_and_states_no_file(cli, tmp_path, shape):
    np.save(tmp_path / "one.npy", np.full(shape, 7, np.uint8))
    said = cli("report", "one.npy").out.decode()
    assert "what each rank would cost" in said
    assert "Stated by the file" not in said


def test_of_a_matrix_of_zeros_everything_is_proved():
    """Nothing is left, whatever the rank: no tau is above zero, but none is needed."""
    A = np.zeros((9, 12))
    assert linalg.certify(A, np.eye(9, 1), np.zeros(1), 0.0)
    assert not linalg.certify(A, np.eye(9, 1), np.ones(1), 0.0)
    assert not linalg.certify(A, np.eye(9, 1), np.zeros(1), 1.0)
    assert all(report.channels[0].certified for report in lowrank.ladder(A, [1, 3]))
    sheet = np.zeros((24, 32, 3), np.uint8)
    sheet[..., 0] = np.random.default_rng(0).integers(0, 256, (24, 32))
    image = lowrank.compress(sheet, error=0.2)
    assert image.ranks[1:] == (0, 0)
    assert all(channel.certified for channel in image.report(sheet).channels)


@pytest.mark.parametrize("wish", [{"psnr": 150.0}, {"psnr_worst": 200.0}, {"error": 0.0}])
@pytest.mark.parametrize("seed", range(12))
def test_frames_of_two_levels_may_be_wanted_as_near_as_can_be(seed, wish):
    """What a rehearsal expected of so fine a step was less than no error."""
    frames = np.where(np.random.default_rng(seed).normal(size=(2, 3, 33)) > 0, 1.0, -1.0)
    stack = lowrank.compress(frames, stack=True, store="packed", **wish)
    off = np.sqrt(np.mean((np.asarray(stack, float) - frames) ** 2))
    assert off < 1e-4


@pytest.mark.parametrize("scale", [1e-44, 1e-20, 1.0, 1e10, 1e37])
@pytest.mark.parametrize("allowed", [0.0, 1e-300, 1e-20, 1.0, 1e100, 1e300])
@pytest.mark.parametrize("wish", [{"stack": True}, {"layout": "patches"}, {}])
@pytest.mark.parametrize("store", ["auto", "packed"])
def test_any_error_may_be_allowed_of_samples_of_any_size(scale, allowed, wish, store):
    A = scale * np.random.default_rng(0).normal(size=(6, 8, 9) if "stack" in wish else (20, 30))
    try:
        image = lowrank.compress(A, max_error=allowed, store=store, **wish)
    except lowrank.UsageError:
        return  # beyond the store, which says so
    assert np.abs(np.asarray(image, float) - A.astype(image.dtype)).max() <= allowed


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("wish", [{"error": 0}, {"error": 0.05}, {"energy": 1}, {"energy": 0.9}])
def test_a_packed_file_of_an_error_that_nothing_meets_or_anything(wish, stack, dtype):
    shape = (3, 4, 5) if stack else (20, 5)
    for A in (np.zeros(shape, dtype), np.full(shape, 5, dtype)):
        image = lowrank.compress(A, stack=stack, store="packed", **wish)
        norm = float(np.linalg.norm(A.astype(float)))
        allowed = wish["error"] if "error" in wish else (1 - wish["energy"]) ** 0.5
        off = float(np.linalg.norm(np.asarray(image, float) - A))
        assert off <= allowed * norm or any("out of reach" in note for note in image.notes)
        image.report(A)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("memory", [None, 10**9])
def test_equal_singular_values_make_files_that_open(seed, memory):
    """Rounding tells them apart, in any order; those of a file descend."""
    rng = np.random.default_rng(seed)
    m, n = (int(side) for side in rng.integers(65, 300, 2))
    r = min(m, n)
    left, right = (np.linalg.qr(rng.standard_normal((side, r)))[0] for side in (m, n))
    s = np.ones(r)
    s[: int(rng.integers(1, r))] = 7
    frames = ((left * s) @ right.T).reshape(m, 1, n)
    for k in (r // 2, r - 1):
        made = lowrank.compress(frames, stack=True, rank=k, store="float64", memory=memory)
        ((U, found, Vt),) = lowrank.open(made.to_bytes()).factors
        assert np.allclose(found, s[:k], rtol=1e-9)
        off = np.linalg.norm((left * s) @ right.T - (U * found) @ Vt)
        assert off == pytest.approx(np.linalg.norm(s[k:]), rel=1e-6)


@pytest.mark.parametrize("side", [70, 150, 300])
def test_a_permutation_is_kept_and_opens(side):
    A = np.eye(side, dtype=np.uint8)[np.random.default_rng(side).permutation(side)]
    for k in (side // 8, side // 2, side):
        image = lowrank.open(lowrank.compress(A, rank=k).to_bytes())
        assert image.report(A).channels[0].frobenius_error == pytest.approx((side - k) ** 0.5, 1e-3)


@pytest.mark.parametrize("shape", [(40, 900), (900, 40), (60, 241), (30, 30)])
@pytest.mark.parametrize("falls", [0, 1e-6, 1e-14])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_a_spectrum_of_slabs_is_that_of_the_whole(monkeypatch, shape, falls, scale):
    """Slab after slab, to the same few eps of the largest value."""
    rng = np.random.default_rng(sum(shape))
    r = min(shape)
    s = np.geomspace(1, falls, r) if falls else np.repeat([1.0, 0.0], [r // 2, r - r // 2])
    left, right = (np.linalg.qr(rng.standard_normal((side, r)))[0] for side in shape)
    A = (left * s) @ right.T
    monkeypatch.setattr(svd, "_WHOLE", 0)
    monkeypatch.setattr(matrix, "_SLAB_ENTRIES", 1)
    np.testing.assert_allclose(linalg.spectrum(scale * A) / scale, s, rtol=0, atol=1e-14)


@pytest.mark.parametrize("ratio", [1e-3, 1e-5, 1e-6, 1e-8])
@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-4])
def test_crowds_far_below_the_first_value_are_as_exact_as_is_said(ratio, spread):
    rng = np.random.default_rng(0)
    m, n = 200, 230
    left, right = (np.linalg.qr(rng.standard_normal((side, m)))[0] for side in (m, n))
    s = ratio * (1 + spread * np.linspace(1, 0, m))
    s[:2] = 1, 0.3
    A = (left * s) @ right.T
    exact = np.linalg.svd(A, compute_uv=False)
    for k in (20, 70, 150):
        tail = np.linalg.norm(exact[k:])
        for certify, close in ((False, 1e-6 if ratio > 1e-4 else 2e-4), (True, 1e-6)):
            x = linalg.truncated_svd(A, k, certify=certify)
            assert x.sigma_next == pytest.approx(exact[k], rel=close)
            assert x.tail == pytest.approx(tail, rel=close)
            assert np.linalg.norm(A - (x.U * x.s) @ x.Vt) == pytest.approx(tail, rel=close)
            assert x.certified == certify
