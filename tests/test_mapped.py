"""A stack that stays on the disk: what is asked of it, before any sample is used."""

from __future__ import annotations

import mmap
import pickle
import subprocess
import sys

import numpy as np
import pytest

import lowrank
from lowrank import files
from lowrank.format import mapped
from lowrank.objects import stack as stacks
from lowrank.stores import sums


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    rng = np.random.default_rng(3)
    A = np.tensordot(rng.normal(size=(600, 3)), rng.normal(size=(3, 40, 60)), 1)
    made = tmp_path_factory.mktemp("mapped") / "stack.lrk"
    lowrank.compress(A.astype(np.float32), stack=True, rank=3).save(made)
    return made


def of_bytes(data, asked=None):
    """A file in memory; what it asks the disk for is added to a list."""
    told = [] if asked is None else asked
    return mapped.of_stack(
        memoryview(data), name="x", max_pixels=10**6, advise=lambda few, ahead: told.extend(ahead)
    )


def test_a_trace_asks_for_all_that_it_reads_at_once_and_for_little_else(path):
    data, _ = files.mapped(str(path))
    asked: list[tuple[int, int]] = []

    def advise(few, ahead):
        assert few
        asked.extend((a, a + size) for starts, size in ahead for a in starts)

    file = mapped.of_stack(data, name="x", max_pixels=10**6, advise=advise)
    at_first = len(asked)
    stack = lowrank.LowRankStack(file.parts, (), file)
    trace = stack[:, 33, 7]
    there = np.zeros(len(data), bool)
    for a, b in asked:
        there[a:b] = True
    there[-12:] = False  # DONE, without which it is no whole file
    # u, which every sample needs, is sound since it was opened: v is left, and a checksum of each.
    assert sum(b - a for a, b in asked[at_first:]) <= 3 * (1024 + 4)
    floats = 3 * (600 + 1) * 4
    assert floats <= there.sum() <= 2 * floats
    # Whatever else is damaged, the trace is what it was; and what it needs is checked.
    rng = np.random.default_rng(4)
    (f,) = file.parts.body.factors
    first = np.frombuffer(data, np.uint8).ctypes.data
    terms = f.Vt.__array_interface__["data"][0] - first
    for at in (*rng.integers(terms, len(data) - 12, 20), *rng.choice(np.flatnonzero(there), 20)):
        bad = bytearray(data)
        bad[at] ^= 1
        again = of_bytes(bad)
        read = lowrank.LowRankStack(again.parts, (), again)
        if there[at]:
            with pytest.raises(lowrank.FormatError, match="damaged"):
                read[:, 33, 7]
        else:
            assert np.array_equal(read[:, 33, 7], trace)


def test_what_is_sound_is_not_asked_for_again_and_more_terms_are(path):
    data, _ = files.mapped(str(path))
    asked: list[tuple[range, int]] = []
    file = of_bytes(data, asked)
    stack = lowrank.LowRankStack(file.parts, (), file)
    asked.clear()
    stack.leading(2)[:, 0, 0]
    assert {len(starts) for starts, _ in asked} == {2}
    asked.clear()
    stack.leading(1)[:, 0, 1]
    assert not asked
    stack[:, 0, 0]
    assert {len(starts) for starts, _ in asked} == {1}


@pytest.mark.skipif(not hasattr(mmap.mmap, "madvise"), reason="nothing to advise here")
def test_nothing_beside_the_header_is_read_ahead(path, monkeypatch):
    """The first byte of a mapping brings megabytes with it, unless the system is told before."""
    told: list[int] = []

    class Told(mmap.mmap):
        def madvise(self, option, *args):
            told.append(option)
            return super().madvise(option, *args)

    monkeypatch.setattr(mmap, "mmap", Told)
    files.mapped(str(path))
    assert told == [mmap.MADV_RANDOM]


def test_curves_are_made_of_what_is_sound_while_the_disk_looks_for_the_rest(path):
    data, _ = files.mapped(str(path))
    said: list[str] = []
    file = mapped.of_stack(
        data, name="x", max_pixels=10**6, advise=lambda few, ahead: said.append("asked")
    )
    (f,) = file.parts.body.factors
    first = np.frombuffer(data, np.uint8).ctypes.data
    u, v = (x.__array_interface__["data"][0] - first for x in (f.U, f.Vt))
    said.clear()
    file.check(3, [(0, 1)], lambda: said.append("made"))
    assert said == ["asked", "made"]
    file.check(3, [(0, 1)], lambda: said.append("made"))
    file.check(3, [(900, 901)], lambda: said.append("made"))
    assert said == ["asked", "made", "asked", "made"]
    for at, made in ((u, False), (v, True)):
        bad = bytearray(data)
        bad[at] ^= 1
        again = of_bytes(bad)
        said.clear()
        with pytest.raises(lowrank.FormatError, match="damaged"):
            again.check(3, [(0, 1)], lambda: said.append("made"))
        assert bool(said) == made


def test_curves_that_are_kept_change_no_sample_and_stay_with_their_stack(path):
    whole = np.asarray(lowrank.open(path))
    stack = lowrank.open(path)
    for key in (np.s_[:, 3, 4], np.s_[:, 7, 8], np.s_[5:9, 3, 4], np.s_[::-7, 30:, 2], 11):
        assert np.array_equal(stack[key], whole[key])
        less = stack.leading(2)
        assert np.array_equal(less[key], np.asarray(less)[key])
    assert len(pickle.dumps(stack)) == len(pickle.dumps(lowrank.open(path)))


def test_what_is_asked_for_is_asked_once_and_damage_is_found_where_it_is_used(path):
    """Any ranks and columns, one after the other: pieces side by side are asked for as one."""
    whole = path.read_bytes()
    file = of_bytes(whole)
    (f,) = file.parts.body.factors
    first = np.frombuffer(whole, np.uint8).ctypes.data
    stride = f.Vt.strides[0]
    v = f.Vt.__array_interface__["data"][0] - first
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(150):
        term, byte = int(rng.integers(3)), int(rng.integers(2400 * 4))
        bad = bytearray(whole)
        bad[v + term * stride + byte] ^= 1
        asked: list[tuple[range, int]] = []
        file = of_bytes(bad, asked)
        for _ in range(4):
            asked.clear()
            rank, a = int(rng.integers(1, 4)), int(rng.integers(2399))
            b = int(rng.integers(a + 1, min(a + 1200, 2401)))
            pieces = range(a * 4 // 1024, (b * 4 - 1) // 1024 + 1)
            uses = term < rank and (2 * (len(pieces) + 1) > 9600 / 1024 or byte // 1024 in pieces)
            try:
                file.check(rank, [(a, b)])
            except lowrank.FormatError:
                assert uses
                found += 1
                break
            assert not uses
            there = [i for starts, size in asked for at in starts for i in range(at, at + size)]
            assert len(there) == len(set(there))
    assert found > 50


def test_curves_and_singular_values_need_no_eigenimage(path):
    whole = path.read_bytes()
    sound = lowrank.open(path)
    U, s, _ = sound.factors[0]
    assert np.array_equal(sound.coefficients, U.astype(np.float64) * s)
    first = np.frombuffer(whole, np.uint8).ctypes.data
    (f,) = of_bytes(whole).parts.body.factors
    u, v = (x.__array_interface__["data"][0] - first for x in (f.U, f.Vt))
    for at in (u, v):
        bad = bytearray(whole)
        bad[at] ^= 1
        file = of_bytes(bad)
        stack = lowrank.LowRankStack(file.parts, (), file)
        assert np.array_equal(stack.singular_values, s)
        if at == v:
            assert np.array_equal(stack.coefficients, sound.coefficients)
        else:
            with pytest.raises(lowrank.FormatError, match="damaged"):
                stack.coefficients  # noqa: B018
        with pytest.raises(lowrank.FormatError, match="damaged"):
            stack.components  # noqa: B018


def test_rows_of_a_box_that_lie_side_by_side_are_one_place_of_each_term(path):
    data, _ = files.mapped(str(path))
    asked: list[tuple[range, int]] = []
    file = of_bytes(data, asked)
    asked.clear()
    box = lowrank.LowRankStack(file.parts, (), file)[:, 10:20, 5:50]
    assert np.array_equal(box, np.asarray(lowrank.open(path))[:, 10:20, 5:50])
    assert len(asked) == 2  # checksums of v, and v


@pytest.mark.parametrize(("stride", "length"), [(4100, 4), (70000, 4000), (5000, 4999), (9000, 1)])
def test_pages_cover_what_is_asked_for_and_begin_where_pages_do(stride, length):
    starts = range(12345, 12345 + 7 * stride, stride)
    pages = files._pages(starts, length, 4096)
    assert all(a % 4096 == 0 for a, _ in pages)
    for start in starts:
        assert any(a <= start and start + length <= b for a, b in pages)
    spare = sum(b - a for a, b in pages) - 7 * length
    assert spare <= 7 * 2 * 4096
    assert files._pages(range(0), length, 4096) == []


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("store", ["float16", "float32", "float64"])
def test_frames_are_those_of_the_whole_in_whatever_order_their_terms_come(
    dtype, store, tmp_path, monkeypatch
):
    rng = np.random.default_rng(8)
    terms = 60 * 0.7 ** np.arange(12)
    A = np.einsum(
        "ij,j,jyxc->iyxc", *(rng.normal(size=(40, 12)), terms, rng.normal(size=(12, 19, 23, 3)))
    )
    A = (A if dtype.startswith("f") else np.clip(A + 120, 0, 255)).astype(dtype)
    path = tmp_path / "stack.lrk"
    lowrank.compress(A, stack=True, rank=12, store=store).save(path)
    whole = np.asarray(lowrank.open(path))
    # Small as it is, it is cut into blocks, and threads take them as they come.
    monkeypatch.setattr(stacks, "_TERMS", 1)
    monkeypatch.setattr(sums, "_COLUMNS", 100)
    monkeypatch.setattr(sums, "_SMALL", 0)
    monkeypatch.setattr(mapped, "_WARM", 1)
    monkeypatch.setattr(mapped, "_SMALL", 0)
    added: list[int] = []
    add = sums.Row.add

    def watched(row, terms):
        added.extend(range(terms.start, terms.stop))
        add(row, terms)

    monkeypatch.setattr(sums.Row, "add", watched)
    for key in (7, -1, [9, 2, 2, 39], np.s_[5:6, ...], np.s_[4:4], np.s_[3:13], np.s_[30::-4]):
        stack, one = lowrank.open(path), np.zeros(40)[key].size == 1
        added.clear()
        for _ in range(2):  # the second time of terms that were read before
            assert np.array_equal(stack[key], whole[key])
        assert sorted(added) == list(range(12 if one and stack.dtype != "float64" else 0))
        less = lowrank.open(path).leading(5)
        assert np.array_equal(less[key], np.asarray(less)[key])


@pytest.mark.parametrize("rank", range(4))
def test_each_term_is_used_once_and_never_before_it_is_checked(rank, path, monkeypatch):
    monkeypatch.setattr(mapped, "_WARM", 1)
    monkeypatch.setattr(mapped, "_TOGETHER", 1)
    monkeypatch.setattr(mapped, "_SMALL", 0)
    data = path.read_bytes()
    (f,) = of_bytes(data).parts.body.factors
    v = f.Vt.__array_interface__["data"][0] - np.frombuffer(data, np.uint8).ctypes.data
    used: list[int] = []
    for term in (None, 0, 1, 2):
        bad = bytearray(data)
        if term is not None:
            bad[v + term * f.Vt.strides[0] + 5] ^= 1
        used.clear()
        file = of_bytes(bad)
        use = lambda terms: used.extend(range(terms.start, terms.stop))  # noqa: E731
        if term is not None and term < rank:
            with pytest.raises(lowrank.FormatError, match="damaged"):
                file.each(rank, use)
            assert term not in used
        else:
            for _ in range(2):  # what is sound is used without another look
                used.clear()
                file.each(rank, use)
                assert sorted(used) == list(range(rank))


@pytest.mark.parametrize("little", [True, False])
def test_u_is_read_when_a_file_is_opened_and_missed_where_it_is_used(little, path, monkeypatch):
    if not little:
        monkeypatch.setattr(mapped, "_SOON", 0)
    data = path.read_bytes()
    whole, less = np.asarray(lowrank.open(path)), lowrank.open(path).leading(1)
    (f,) = of_bytes(data).parts.body.factors
    u = f.U.__array_interface__["data"][0] - np.frombuffer(data, np.uint8).ctypes.data
    bad = bytearray(data)
    bad[u + f.U.strides[1]] ^= 1  # of the second term
    for sound, there in ((True, data), (False, bad)):
        asked: list[tuple[range, int]] = []
        file = of_bytes(there, asked)
        assert len(asked) == (3 if little else 1)  # DONE; checksums of u, and u
        asked.clear()
        stack = lowrank.LowRankStack(file.parts, (), file)
        first = stack.leading(1)
        assert np.array_equal(first[:, 30, 4], np.asarray(less)[:, 30, 4])
        assert len(asked) == (2 if little else 4)
        if sound:
            assert np.array_equal(stack[:, 30, 4], whole[:, 30, 4])
        else:
            for key in (np.s_[:, 30, 4], 5, np.s_[2:4, 5:9, 6:8]):
                with pytest.raises(lowrank.FormatError, match="damaged"):
                    stack[key]


SHORTENED = """
import os, sys
import numpy as np, lowrank
frames = np.random.default_rng(0).random((20, 64, 64)).astype(np.float32)
made = lowrank.compress(frames, stack=True, rank=20)
uses = [
    lambda x: x[3], lambda x: x[:, 5, 60], lambda x: x[2:5, 3:9], lambda x: x.to_array(),
    lambda x: x.components, lambda x: x.coefficients, lambda x: x.project(frames[:1]),
    lambda x: x.to_bytes(), lambda x: x.report(frames), lambda x: x.truncate(19).to_bytes(),
]
for warm in (False, True):
    for use in uses:
        made.save("a.lrk")
        stack = lowrank.open("a.lrk")
        if warm:  # all of it has been read, and been found sound
            stack.components, stack[:]
        os.truncate("a.lrk", 5000)
        try:
            use(stack)
        except lowrank.LowrankError as error:
            assert "shorter" in str(error), error
        else:
            raise AssertionError("no error")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be shortened there")
def test_a_file_that_is_shortened_while_it_is_open_is_an_error_and_ends_nobody(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SHORTENED], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
