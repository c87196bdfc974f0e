"""What is larger than memory: the same factors as in memory, in passes, whatever it is read from.

Everything here is small; `--memory` asks for passes all the same.
"""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import Held
from PIL import Image

import lowrank
from lowrank import linalg
from lowrank.errors import ImageError, LimitError, UsageError
from lowrank.linalg import passes, slabs, spans, streamed
from lowrank.linalg.passes import Passes
from lowrank.linalg.streamed import Wish, leading
from lowrank.report import ask

RNG = np.random.default_rng(5)


def low_rank(m, n, decay, noise=0.0, scale=1.0):
    k = min(m, n, 40)
    U, V = RNG.standard_normal((m, k)), RNG.standard_normal((k, n))
    return scale * ((U * decay ** np.arange(k)) @ V) + noise * RNG.standard_normal((m, n))


MATRICES = {
    "counts": np.clip(low_rank(150, 700, 0.8, 3, 40) + 900, 0, 65535).astype(np.uint16),
    "noise": RNG.integers(0, 4000, (150, 500)).astype(np.uint16),
    "steep": low_rank(140, 500, 0.4),
    "bytes": RNG.integers(0, 256, (200, 300)).astype(np.uint8),
    "repeated": np.kron(np.eye(140), np.ones((1, 3))),
    "single": low_rank(150, 400, 0.7).astype(np.float32),
    "huge": low_rank(150, 400, 0.7) * 1e200,
}


@pytest.fixture(params=["gram", "krylov"])
def route(request, monkeypatch):
    """The way of few rows, and that of many; which is a question of size alone."""
    if request.param == "krylov":
        monkeypatch.setattr(spans, "GRAM_SIDE", 50)
    return request.param


def solved(A, wish, memory=1 << 30, **options):
    found = leading(Passes(Held(A), memory=memory), wish, **options)
    return found, np.hstack([rows for _, rows in found.rows()])


@pytest.mark.parametrize("name", MATRICES)
def test_passes_find_the_leading_triplets(name, route):
    A, k = MATRICES[name], 12
    found, V = solved(A, Wish(rank=k), certify=True)
    exact = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    assert found.s == pytest.approx(exact[:k], rel=1e-7)
    assert found.sigma_next == pytest.approx(exact[k], rel=1e-6)
    assert found.tail == pytest.approx(np.linalg.norm(exact[k:] / exact[0]) * exact[0], rel=1e-4)
    assert found.norm == pytest.approx(np.linalg.norm(exact / exact[0]) * exact[0], rel=1e-12)
    assert found.certified
    assert np.abs(V @ V.T - np.eye(k)).max() < 1e-6
    assert np.abs(found.left.T @ found.left - np.eye(k)).max() < 1e-12
    error = np.linalg.norm((A - (found.left * found.s) @ V) / exact[0])
    assert error <= np.linalg.norm(exact[k:] / exact[0]) * (1 + 1e-5) + 1e-13


@pytest.mark.parametrize("share", [0.3, 1e-3, 1e-6, 1e-9])
def test_what_is_left_by_a_share_is_measured_once(share, route, monkeypatch):
    """Where a difference of squares tells nothing, by a pass with all triplets that were found:
    none is spent on those that are kept, whose tail follows."""
    A = MATRICES["steep"]
    exact = np.linalg.svd(A, compute_uv=False)
    measured = []
    residual = slabs.Residual
    monkeypatch.setattr(slabs, "Residual", lambda cast: measured.append(cast) or residual(cast))
    found, _ = solved(A, Wish(share=share))
    tails = np.sqrt(np.append(np.cumsum(exact[::-1] ** 2)[::-1], 0.0))
    assert len(found.s) == np.flatnonzero(tails <= share * tails[0])[0]
    assert found.tail == pytest.approx(tails[len(found.s)], rel=1e-6)
    assert all(cast.known.shape[1] > len(found.s) for cast in measured[-1:])


@pytest.mark.parametrize("seed", range(8))
def test_values_at_the_rounding_of_float32_are_found_too(route, seed):
    """A high level, terms that vary about it, and what float32 made of them: 1e-8 of the first."""
    rng = np.random.default_rng(seed)
    A = (1e4 + rng.standard_normal((80, 3)) @ rng.standard_normal((3, 60))).astype(np.float32)
    found, _ = solved(A, Wish(rank=6))
    exact = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    assert found.s == pytest.approx(exact[:6], rel=1e-6)
    assert found.tail == pytest.approx(np.linalg.norm(exact[6:]), rel=1e-6)


def test_a_share_is_met_by_the_fewest_terms(route):
    A = MATRICES["counts"]
    exact = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    tails = np.sqrt(np.cumsum(exact[::-1] ** 2)[::-1]) / np.linalg.norm(exact)
    for share in (0.3, 0.05, 0.02):
        found, _ = solved(A, Wish(share=share))
        assert len(found.s) == np.count_nonzero(tails > share)


def test_neither_memory_nor_threads_change_a_bit(route, monkeypatch):
    A = MATRICES["counts"]
    monkeypatch.setattr(slabs, "_BLOCK", 1 << 12)
    monkeypatch.setattr(slabs, "_TALLEST", 1)  # several blocks, and several groups of them
    results = []
    for memory, cores in itertools.product((1 << 21, 1 << 30), (1, 2)):
        monkeypatch.setattr(passes.threads, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(passes, "_PIECE", memory >> 10)
        found, V = solved(A, Wish(rank=5), memory)
        results.append((found.s.tobytes(), found.left.tobytes(), V.tobytes()))
    assert len(slabs.groups(*A.shape)) > 2
    assert len(set(results)) == 1


def test_who_leaves_a_pass_waits_for_no_more_than_is_being_read(monkeypatch):
    """An interruption closes it, and a group may have minutes of pieces left."""
    A, left, pieces = Held(np.ones((150, 64_000), np.uint8)), threading.Event(), []

    class Slow:
        size, length, dtype = A.size, A.length, A.dtype

        def read(self, columns):
            if columns.start >= self.length // 4:  # beyond the first group
                left.wait(60)
            pieces.append(columns)
            return A.read(columns)

    class Pool(ThreadPoolExecutor):
        def __exit__(self, *error):
            left.set()
            return super().__exit__(*error)

    monkeypatch.setattr(passes, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(slabs, "_BLOCK", 1 << 12)
    monkeypatch.setattr(slabs, "_TALLEST", 1)
    monkeypatch.setattr(slabs, "_GROUPS", 4)
    monkeypatch.setattr(passes, "_PIECE", 1)  # four blocks at a time
    monkeypatch.setattr(passes, "_RUN", 1)
    monkeypatch.setattr(passes.threads, "SMALL", 0)
    monkeypatch.setattr(passes.threads, "cores", lambda: 2)
    each = Passes(Slow(), memory=1 << 30).each(slabs.Gram(slabs.Cast()))
    next(each)
    first = len(pieces)
    each.close()
    assert first > 100
    assert len(pieces) <= first + 2


def test_a_proof_fails_where_a_vector_is_missing():
    A = MATRICES["counts"]
    P = Passes(Held(A), memory=1 << 30)
    solver = streamed._Solver(P, Wish(rank=3), slabs.Cast())
    found = solver.found(certify=True)
    assert found.certified
    assert not solver._proved(found.left[:, 1:], found.s[1:], found.sigma_next, found.norm)


def test_what_cannot_be_is_said():
    A = MATRICES["single"].copy()
    A[3, 4] = np.nan
    with pytest.raises(ImageError, match="NaN"):
        solved(A, Wish(rank=3))
    with pytest.raises(LimitError, match="--memory"):
        solved(MATRICES["noise"], Wish(rank=3), memory=1000)


def test_what_does_not_settle_is_said(route, monkeypatch):
    """Triplets whose residuals stay large are never returned: not from a space, nor after it."""
    monkeypatch.setattr(streamed, "RESIDUAL", -1.0)
    with pytest.raises(LimitError, match="3 leading terms do not settle"):
        solved(MATRICES["counts"], Wish(rank=3))


def test_zeros_are_of_rank_nothing():
    found, V = solved(np.zeros((150, 200), np.uint8), Wish(rank=3))
    assert (found.norm, found.tail, *found.s) == (0, 0, 0, 0, 0)
    assert np.abs(V @ V.T - np.eye(3)).max() == 0


# -- files ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames():
    return MATRICES["counts"].reshape(150, 20, 35)


def made(cli, source, out, *options):
    done = cli("compress", source, "-o", out, "-f", *options)
    assert done.code == 0, done.err
    return lowrank.open(out)


def test_every_source_gives_the_factors_of_the_array(cli, tmp_path, frames):
    exact = linalg.truncated_svd(frames.reshape(150, -1), 6)
    np.save(tmp_path / "a.npy", frames)
    np.save(tmp_path / "last.npy", np.moveaxis(frames, 0, -1))
    np.save(tmp_path / "big.npy", frames.astype(">u2"))
    np.save(tmp_path / "order.npy", np.asfortranarray(frames))
    pages = [Image.fromarray(frame) for frame in frames]
    for name, compression in (("plain", None), ("packed", "tiff_deflate")):
        pages[0].save(
            tmp_path / f"{name}.tif", save_all=True, append_images=pages[1:],
            compression=compression,
        )  # fmt: skip
    (tmp_path / "folder").mkdir()
    for i, page in enumerate(pages):
        page.save(tmp_path / "folder" / f"{i}.png")
    cases = {
        "a.npy": (), "last.npy": ("--axis", "-1"), "big.npy": (), "order.npy": (),
        "plain.tif": (), "packed.tif": (), "folder": ("--stack",),
    }  # fmt: skip
    for name, options in cases.items():
        stack = made(
            cli, tmp_path / name, tmp_path / "out.lrk", "-k", "6", "--memory", "50M",
            "--store", "float32", *options,
        )  # fmt: skip
        assert stack.shape == frames.shape, name
        assert stack.singular_values == pytest.approx(exact.s, rel=1e-7), name
        difference = np.asarray(stack).astype(int) - frames
        expected = frames.reshape(150, -1) - (exact.U * exact.s) @ exact.Vt
        assert np.abs(difference + expected.reshape(frames.shape)).max() < 1, name
        ((_, _, Vt),) = stack.factors
        assert np.abs(Vt @ Vt.T - np.eye(6)).max() < 1e-5, name
    # What is read in the same order is the same file.
    a = made(cli, tmp_path / "a.npy", tmp_path / "a.lrk", "-k", "6", "--memory", "50M")
    b = made(cli, tmp_path / "plain.tif", tmp_path / "b.lrk", "-k", "6", "--memory", "9M")
    assert a.to_bytes() == b.to_bytes() == (tmp_path / "a.lrk").read_bytes()


def test_what_a_folder_loses_is_said_of_all_its_frames(cli, tmp_path, frames):
    (tmp_path / "folder").mkdir()
    turned = Image.Exif()
    turned[274] = 6
    for i, frame in enumerate(frames[:4]):
        lost = {"exif": turned, "icc_profile": b"a profile"} if i == 2 else {"comment": "x"}
        Image.fromarray(frame.astype(np.uint8)).save(
            tmp_path / "folder" / f"{i}.{'png' if i == 2 else 'jpg'}", quality=100, **lost
        )
    asked = ("compress", "folder", "--stack", "-k", "1", "-o", "out.lrk", "-f")
    whole, passes = cli(*asked), cli(*asked, "--memory", "50M")
    assert "0.jpg and 2 others: Left out: comment" in whole.err
    for words in ("EXIF", "to turn", "colour profiles"):
        assert words in whole.err
    assert passes.err == whole.err


def test_what_does_nothing_for_a_stream_is_said(cli, tmp_path, frames):
    np.save(tmp_path / "a.npy", frames[:9])
    data = (tmp_path / "a.npy").read_bytes()
    for option, value in (("--memory", "1G"), ("--resume", "j")):
        done = cli("compress", "-", "-k", "1", "-o", "x.lrk", "-f", option, value, stdin=data)
        assert f"{option} did nothing" in done.succeeded().err
    cli("compress", "a.npy", "-q", "50", "-o", "y.lrk").succeeded()
    done = cli(
        "compress", "a.npy", "-q", "50", "-o", "y.lrk", "--memory", "1G", "--skip-existing"
    ).succeeded()
    assert "skipped" in done.text
    assert done.err == ""  # it was not read at all
    done = cli("compress", "a.npy", "-k", "1", "--memory", "1G", "-o", "/dev/null").succeeded()
    size = (tmp_path / "x.lrk").stat().st_size
    assert f"/dev/null: {size:,} bytes" in done.text


def test_one_picture_and_every_target(cli, tmp_path):
    A = MATRICES["counts"]
    np.save(tmp_path / "a.npy", A)
    np.save(tmp_path / "s.npy", A.reshape(150, 20, 35))
    for source, options in itertools.product(
        ("a.npy", "s.npy"), (("--error", "2%"), ("--energy", "0.999"), ("-k", "auto"),
        ("--size", "20k", "--layout", "LAYOUT"), ("-k", "500"), ("--error", "100%")),
    ):  # fmt: skip
        layout = "channels" if source == "a.npy" else "stack"
        options = [layout if x == "LAYOUT" else x for x in options]
        options += ["--store", "float32"]
        here = made(cli, tmp_path / source, tmp_path / "1.lrk", *options, "--memory", "50M")
        there = made(cli, tmp_path / source, tmp_path / "2.lrk", *options)
        assert here.ranks == there.ranks, options
        assert here.parts.head == there.parts.head
        (f,), (g,) = here.parts.body.factors, there.parts.body.factors
        assert (f.norm, f.tail) == pytest.approx((g.norm, g.tail), rel=1e-6)
        assert cli("verify", tmp_path / "1.lrk", "--decode").code == 0


def test_a_file_that_ends_early_or_changes_is_refused_and_nothing_is_written(cli, tmp_path, frames):
    np.save(tmp_path / "a.npy", frames)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-10])
    done = cli("compress", tmp_path / "a.npy", "-k", "3", "--memory", "50M")
    assert done.code == 1
    assert "lowrank: error:" in done.err
    assert [x.name for x in tmp_path.iterdir()] == ["a.npy"]


def test_arrays_that_have_slices_are_read_in_passes(frames, tmp_path):
    """zarr, dask and mapped files give the file of the array in memory."""
    np.save(tmp_path / "a.npy", frames)
    first = lowrank.compress(frames, stack=True, rank=4, memory="50M")
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert lowrank.compress(mapped, stack=True, rank=4, memory=50_000_000) == first
    assert lowrank.compress(tmp_path / "a.npy", stack=True, rank=4, memory="50M") == first
    last = lowrank.compress(np.moveaxis(frames, 0, -1), stack=True, axis=-1, rank=4, memory="50M")
    assert last.singular_values == pytest.approx(first.singular_values, rel=1e-9)
    named = lowrank.compress(frames, stack=True, rank=4, memory="50M", values=range(150), unit="s")
    assert named.axis.unit == "s"
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array({}, shape=frames.shape, chunks=(40, 7, 35), dtype="u2")
    array[:] = frames
    assert lowrank.compress(array, stack=True, rank=4, memory="50M") == first
    dask = pytest.importorskip("dask.array")
    lazy = dask.from_array(frames, chunks=(40, 7, 35))
    assert lowrank.compress(lazy, stack=True, rank=4, memory="50M") == first


# -- starting again ------------------------------------------------------------------------


class Killed(BaseException):
    pass


def test_a_layout_of_pictures_is_none_of_a_stack(frames, tmp_path, cli):
    np.save(tmp_path / "a.npy", frames)
    for source in (frames, tmp_path / "a.npy"):
        with pytest.raises(UsageError, match="layout stack is that of a stack"):
            lowrank.compress(source, stack=True, layout="channels", rank=2, memory="50M")
    assert "layout stack" in cli(
        "compress", "a.npy", "-k", "2", "--layout", "channels", "--memory", "50M"
    ).failed(2)  # fmt: skip


def test_a_run_that_was_killed_goes_on_and_writes_the_same_file(tmp_path, monkeypatch, route):
    from lowrank import targets
    from lowrank.runs import journal, large, tasks
    from lowrank.runs.plan import Job

    monkeypatch.setattr(slabs, "_BLOCK", 1 << 12)
    monkeypatch.setattr(slabs, "_TALLEST", 1)
    monkeypatch.setattr(journal, "_EVERY", 0.0)
    np.save(tmp_path / "a.npy", MATRICES["counts"].reshape(150, 20, 35))
    where = tmp_path / "passes"

    def run(name, resume=None):
        settings = tasks.Compressing(
            target=targets.Target("rank", 6.0), memory=1 << 26, resume=resume, force=True
        )
        job = Job(str(tmp_path / "a.npy"), str(tmp_path / name))
        outcome = large.compress(job, settings)
        assert outcome.error is None
        return (tmp_path / name).read_bytes()

    whole = run("whole.lrk")
    add, adds = slabs.Summed.join, itertools.count()

    def fails_later(self, state, later):
        if next(adds) % 5 == 4:
            raise Killed
        return add(self, state, later)

    monkeypatch.setattr(slabs.Summed, "join", fails_later)
    for kills in range(100):  # noqa: B007 - it is counted below
        try:
            again = run("again.lrk", str(where))
        except Killed:
            assert not (tmp_path / "again.lrk").exists()
            with open(where, "ab") as stream:
                stream.write(b"\1\2\3")  # a record that was not written whole
        else:
            break
    assert kills > 1
    assert again == whole
    assert not where.exists()


def test_a_file_of_passes_belongs_to_its_job(cli, tmp_path, frames):
    np.save(tmp_path / "a.npy", frames)
    where = tmp_path / "passes"
    where.write_bytes(b"something else")
    options = ("a.npy", "-k", "3", "--resume", where)
    assert "no file of passes" in cli("compress", *options).failed(2)
    assert where.read_bytes() == b"something else"
    from lowrank.runs.journal import Journal

    where.unlink()
    Journal(str(where), "another job")
    assert "another source" in cli("compress", *options).failed(2)
    where.unlink()
    assert cli("compress", *options).succeeded()
    assert not where.exists()


# -- reports -------------------------------------------------------------------------------


def test_a_report_in_passes_is_that_of_the_whole(cli, tmp_path, frames, monkeypatch):
    import json

    np.save(tmp_path / "a.npy", frames)
    done = cli("compress", "a.npy", "-k", "6", "--memory", "90M", "--json").succeeded()
    here = json.loads(done.text)
    there = json.loads(cli("report", "a.npy", "a.lrk", "--json").succeeded().text)
    for part in ("channels", "storage", "pixels"):
        one, other = ((x[part] if part != "channels" else x[part][0]) for x in (here, there))
        for key, value in other.items():
            mine = one[key]
            assert mine == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value)
    for key in ("snr_db", "frame_psnr_db"):
        assert here["stack"][key] == pytest.approx(there["stack"][key])
    from lowrank.report import ask

    monkeypatch.setattr(ask, "LARGE", 1)
    again = ask.report(
        str(tmp_path / "a.npy"), str(tmp_path / "a.lrk"), ranks=[], store=None, max_pixels=10**9
    ).reports[0].to_dict()  # fmt: skip
    (mine,) = again["channels"]
    for key, value in here["channels"][0].items():
        assert mine[key] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)
    assert mine["certified"]


# -- object stores -------------------------------------------------------------------------


def test_arrays_are_read_from_a_store_and_files_written_to_one(tmp_path, frames):
    fsspec = pytest.importorskip("fsspec", reason="the extra cloud is not installed")
    from lowrank import targets
    from lowrank.errors import FileError
    from lowrank.runs import large, tasks, work
    from lowrank.runs.plan import Job

    store = fsspec.filesystem("memory")
    np.save(tmp_path / "a.npy", frames)
    store.pipe("/scale/a.npy", (tmp_path / "a.npy").read_bytes())
    settings = tasks.Compressing(target=targets.Target("rank", 6.0))
    assert work.compressor([Job("memory://scale/a.npy")], settings) is large.compress
    outcome = large.compress(Job("memory://scale/a.npy"), settings)
    assert outcome.output == "memory://scale/a.lrk"
    found = lowrank.open(store.cat("/scale/a.lrk"))
    exact = linalg.truncated_svd(frames.reshape(150, -1), 6)
    assert found.singular_values == pytest.approx(exact.s, rel=1e-7)
    with pytest.raises(FileError, match="exists"):
        large.compress(Job("memory://scale/a.npy"), settings)
    with pytest.raises(FileError, match=r"none\.npy"):
        large.compress(Job("memory://scale/none.npy"), settings)
    store.pipe("/scale/a.npy", (tmp_path / "a.npy").read_bytes()[:-5])
    with pytest.raises(ImageError, match="ends"):
        large.compress(Job("memory://scale/a.npy", "memory://scale/b.lrk"), settings)
    assert not store.exists("/scale/b.lrk")


@pytest.mark.parametrize("kind", ["uint16 3", "uint8 3", "uint16", "int16", "float64"])
def test_what_is_read_in_passes_has_the_source_that_is_read_whole(monkeypatch, tmp_path, kind):
    dtype, *channels = kind.split()
    A = np.random.default_rng(0).integers(0, 99, (20, 30, *map(int, channels))).astype(dtype)
    np.save(tmp_path / "a.npy", A)
    lowrank.compress(A, rank=2).save(tmp_path / "a.lrk")
    told = []
    for large in (ask.LARGE, 1):
        monkeypatch.setattr(ask, "LARGE", large)
        found = ask.report(
            str(tmp_path / "a.npy"), str(tmp_path / "a.lrk"), ranks=[], store=None,
            max_pixels=10**6,
        )  # fmt: skip
        told.append(found.reports[0].to_dict())
        assert (found.loaded is None) == (large == 1)  # which was not read
    assert told[0]["source"] == told[1]["source"]
    assert told[0]["pixels"]["peak"] == told[1]["pixels"]["peak"]


def test_frames_of_deep_colour_are_called_so_from_a_folder_and_an_array(tmp_path):
    """Of mode `array` with no type a report said nothing."""
    A = np.random.default_rng(0).integers(0, 9999, (3, 9, 8, 3)).astype(np.uint16)
    (tmp_path / "in").mkdir()
    for i, frame in enumerate(A):
        np.save(tmp_path / "in" / f"{i}.npy", frame)
    stack = lowrank.compress(A, stack=True, rank=2)
    for original in (A, tmp_path / "in"):
        assert stack.report(original).source.title == "3 x uint16"


def test_frames_that_are_decoded_whole_are_within_the_limit_that_is_given(tmp_path):
    """The limit of whoever asks: there is none of what is read in parts of frames."""
    frames = [Image.fromarray(RNG.integers(0, 255, (20, 30), np.uint8)) for _ in range(5)]
    for name, packed in (("a.tif", {}), ("b.tif", {"compression": "tiff_lzw"})):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **packed)
    wish = {"rank": 2, "memory": 1 << 26}
    assert lowrank.compress(tmp_path / "a.tif", max_pixels=599, **wish).notes
    assert lowrank.compress(tmp_path / "b.tif", max_pixels=600, **wish).notes
    with pytest.raises(LimitError, match="above the limit of 599 a frame; raise"):
        lowrank.compress(tmp_path / "b.tif", max_pixels=599, **wish)
