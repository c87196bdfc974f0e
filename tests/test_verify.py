"""`lowrank verify`: it names what is bad, all of it and nothing else."""

from __future__ import annotations

import json
import math
import os
import shutil

import numpy as np
import pytest
from conftest import picture
from goldens import EXPECTED, data_of
from handmade import join, split
from PIL import Image

import lowrank
from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import ImageError
from lowrank.io import pillow
from lowrank.runs import originals, verify
from lowrank.runs.plan import Job
from lowrank.targets import Target

HOLDING = {  # golden files that hold each kind of chunk
    "HEAD": "1x1-float16",
    "SIGM": "tiny-float32",
    "TERM": "mode-rgb-float16",
    "EXIF": "metadata-float16",
    "ICCP": "metadata-channels-packed",
    "XMP_": "metadata-patches-packed",
    "SUMS": "pieces-channels-packed",
    "PACK": "mode-rgb-patches-packed",
    "DONE": "black-float16",
}


def bad_inputs(done):
    """Inputs that lines of JSON call bad."""
    rows = [json.loads(line) for line in done.text.splitlines()]
    assert "summary" in rows[-1]
    return {row["input"] for row in rows[:-1] if not row["ok"]}, rows


def at_chunk(data, kind):
    """Where the data of a chunk lie, or its head where it has none."""
    chunks, at = split(data), 9
    for found, content in chunks:
        if found == kind.encode():
            return at + 8 + len(content) // 2
        at += len(content) + 12
    raise AssertionError(kind)


def checked(path, **settings):
    """What verifying one file finds, in this process."""
    return verify.verify(Job(str(path)), verify.Verifying(**settings))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_golden_file_is_whole_unless_it_was_cut(name, tmp_path):
    path = tmp_path / "a.lrk"
    path.write_bytes(data_of(name))
    found = checked(path)
    assert (found.facts["state"] == "whole") is not name.startswith("cut")
    assert (found.error is None) is not name.startswith("cut")


@pytest.mark.parametrize("kind", HOLDING)
def test_a_bit_in_any_kind_of_chunk_is_found(kind, tmp_path):
    data = bytearray(data_of(HOLDING[kind]))
    path = tmp_path / "a.lrk"
    path.write_bytes(data)
    assert checked(path).error is None
    data[at_chunk(data, kind)] ^= 4
    path.write_bytes(data)
    found = checked(path)
    assert found.facts["state"] == "damaged"
    assert str(path) in str(found.error)


def test_what_contradicts_itself_behind_sound_checksums_is_found(tmp_path):
    """An identity: sum of sigma^2 + tail^2 = ||A||_F^2; and k is the payload's."""
    floats = split(data_of("mode-rgb-float16"))
    halved = [
        (kind, (np.frombuffer(data, "<f8") / 2).tobytes() if kind == b"SIGM" else data)
        for kind, data in floats
    ]
    packed = split(data_of("mode-rgb-patches-packed"))
    head = bytearray(packed[0][1])
    head[12] -= 1  # k of the first matrix
    for chunks in (halved, [(b"HEAD", bytes(head)), *packed[1:]]):
        path = tmp_path / "a.lrk"
        path.write_bytes(join(chunks))
        assert checked(path).facts["state"] == "damaged"


def test_decode_finds_what_checksums_cannot(tmp_path):
    chunks = split(data_of("photo-patches-packed"))
    at = next(i for i, (kind, _) in enumerate(chunks) if kind == b"PACK")
    payload = chunks[at][1]
    chunks[at] = b"PACK", payload[: len(payload) // 2] + payload[: len(payload) // 2]
    path = tmp_path / "a.lrk"
    path.write_bytes(join(x for x in chunks if x[0] != b"SUMS"))
    assert checked(path).facts["state"] == "whole"
    assert checked(path, decode=True).facts["state"] == "damaged"


def test_seven_damaged_files_of_a_thousand_are_named_and_no_other(cli, tmp_path):
    tree = tmp_path / "tree"
    kinds = [data_of(n) for n in ("mode-rgb-float16", "mode-l-patches-packed", "metadata-float16")]
    for i in range(1000):
        folder = tree / f"{i % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.lrk").write_bytes(kinds[i % 3])
    whole = kinds[0]

    def flipped(kind):
        data = bytearray(whole)
        data[at_chunk(data, kind)] ^= 1
        return bytes(data)

    damage = {
        "0/120.lrk": whole[:-30],
        "1/331.lrk": flipped("TERM"),
        "2/2.lrk": flipped("HEAD"),
        "3/993.lrk": whole + b"\0",
        "4/404.lrk": b"",
        "5/55.lrk": pillow.write(picture("L", 5, 5), format="PNG"),
        "6/666.lrk": b"not a picture at all\n",
    }
    for name, data in damage.items():
        (tree / name).write_bytes(data)
    (tree / "notes.txt").write_text("passed over")
    done = cli("verify", "tree", "-r", "--json")
    assert done.code == 1
    bad, rows = bad_inputs(done)
    assert bad == {os.path.join("tree", *name.split("/")) for name in damage}
    assert len(rows) == 1001
    summary = rows[-1]["summary"]
    assert (summary["files"], summary["good"], summary["bad"]) == (1000, 993, 7)
    assert summary["passed_over"] == {".txt": 1}
    lines = done.err.splitlines()
    assert len(lines) == 7
    for name in bad:
        assert sum(f"{name}" in line for line in lines) == 1
    shown = cli("verify", "tree/0", "tree/1", "-j", "2", "--quiet")
    assert (shown.code, shown.text) == (1, "")
    assert set(shown.err.splitlines()) == {x for x in lines if "tree/0" in x or "tree/1" in x}
    for name in damage:
        shutil.copy(tree / "7" / "57.lrk", tree / name)
    assert "1,000" in cli("verify", "tree", "-r").succeeded().text


def test_single_files_and_standard_input(cli, tmp_path):
    (tmp_path / "a.lrk").write_bytes(data_of("mode-rgb-float16"))
    assert "a.lrk: whole, " in cli("verify", "a.lrk").succeeded().text
    piped = cli("verify", "-", "--decode", "--json", stdin=data_of("metadata-float16")).succeeded()
    assert json.loads(piped.text)["ok"] is True
    assert cli("verify").failed(2)
    assert cli("verify", "gone.lrk").failed(1)
    bad, _ = bad_inputs(cli("verify", "a.lrk", "gone.lrk", "--json"))
    assert bad == {"gone.lrk"}


# -- beside originals --------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Three pictures and their files, of different stores; read only."""
    top = tmp_path_factory.mktemp("archive")
    targets = {
        "a": (Target("rank", 3), None),
        "sub/b": (Target("quality", 60), None),
        "sub/c": (Target("rank", 2), "packed"),
    }
    for i, (name, (target, store)) in enumerate(targets.items()):
        one = picture("RGB", 40, 50, seed=i)
        for folder, suffix, data in (
            ("photos", ".png", pillow.write(one, format="PNG")),
            ("small", ".lrk", lrk.serialize(codec.encode(one, target, store=store).parts)),
        ):
            path = top / folder / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return top


def test_a_file_is_no_farther_from_its_original_than_it_states(cli, archive):
    done = cli("verify", "small", "-r", "--against", "photos", "--json", cwd=archive).succeeded()
    rows = [json.loads(line) for line in done.text.splitlines()[:-1]]
    assert len(rows) == 3
    for row in rows:
        original = pillow.read((archive / row["against"]).read_bytes(), name="x").picture
        parts = lrk.parse((archive / row["input"]).read_bytes(), name="x", max_pixels=10**6)
        A = original.samples.astype(float)
        E = A - codec.decode(parts).picture.samples
        assert row["psnr_db"] == pytest.approx(20 * np.log10(255 / np.sqrt(np.mean(E**2))))
        assert row["max_abs_error"] == np.abs(E).max()
        assert row["factor_error"] == pytest.approx(row["stated_error"], rel=0.003)
        stem = os.path.splitext(row["input"])[0].replace("small", "photos", 1)
        assert row["against"] == f"{stem}.png"


def test_a_file_of_another_picture_is_listed(cli, archive, tmp_path):
    for folder in ("photos", "small"):
        shutil.copytree(archive / folder, tmp_path / folder)
    os.replace(tmp_path / "photos/a.png", tmp_path / "photos/sub/b.png")
    done = cli("verify", "small", "-r", "--against", "photos", "--json")
    bad, rows = bad_inputs(done)
    assert done.code == 1
    states = {row["input"]: row["state"] for row in rows[:-1] if not row["ok"]}
    assert states == {
        os.path.join("small", "a.lrk"): "unmatched",
        os.path.join("small", "sub", "b.lrk"): "unlike",
    }
    assert bad == set(states)
    # A file outside the tree's order is found by its name.
    alone = cli("verify", "small/sub/c.lrk", "--against", "photos").succeeded()
    assert "dB" in alone.text
    assert cli("verify", "small/sub/c.lrk", "--against", "photos/sub/c.png").succeeded()
    assert cli("verify", "small/a.lrk", "--against", "gone").failed(1)


def test_dots_in_a_name_are_part_of_it(cli, tmp_path):
    """frame.0001.png and frame.0002.png: no suffix of theirs is .0001."""
    (tmp_path / "in").mkdir()
    names = ("frame.0001.png", "frame.0002.png", "twice.x.png", "twice.x.bmp")
    for i, name in enumerate(names):
        Image.new("L", (9, 8), 30 * i).save(tmp_path / "in" / name)
    cli("compress", "in", "-o", "out", "-k", "1").succeeded()
    done = cli("verify", "out", "--against", "in", "--json").succeeded()
    rows = [json.loads(line) for line in done.text.splitlines()[:-1]]
    assert sorted(row["against"] for row in rows) == sorted(f"in{os.sep}{name}" for name in names)


def test_a_folder_may_be_the_frames_of_a_stack_itself(cli, tmp_path):
    rng = np.random.default_rng(0)
    frames = (60 * rng.random((5, 2)) @ rng.random((2, 72))).reshape(5, 9, 8).astype(np.uint8)
    (tmp_path / "in").mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "in" / f"{i}.png")
    cli("compress", "in", "--stack", "-k", "2", "-o", "movie.lrk").succeeded()
    decoded = lowrank.open(tmp_path / "movie.lrk").to_array()
    rmse = math.sqrt(np.mean((decoded - 1.0 * frames) ** 2))
    done = cli("verify", "movie.lrk", "--against", "in", "--json").succeeded()
    row = json.loads(done.text)
    assert (row["against"], row["state"]) == ("in", "whole")
    assert row["rmse"] == pytest.approx(rmse)
    # Of some of its pictures, with what was said to compress; of others, it is not.
    cli("compress", "in", "--stack", "--frames", "1:4", "-k", "2", "-o", "some.lrk").succeeded()
    cli("verify", "some.lrk", "--against", "in", "--frames", "1:4").succeeded()
    assert "5 frames" in cli("verify", "some.lrk", "--against", "in").failed(1)
    Image.fromarray(frames[0]).save(tmp_path / "one.png")
    cli("compress", "one.png", "-k", "2").succeeded()
    assert "no original" in cli("verify", "one.lrk", "--against", "in").failed(1)


def test_a_stack_is_measured_beside_its_array(cli, tmp_path):
    A = np.einsum("nk,kij->nij", *(np.random.default_rng(0).random(x) for x in ((9, 2), (2, 8, 7))))
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", (90 * A).astype(np.int16))
    np.save(tmp_path / "in" / "b.npy", (A + 1).astype(np.float32))
    cli("compress", "in", "-o", "out", "-k", "2", "--manifest", "m.csv").succeeded()
    done = cli("verify", "out", "--decode", "--manifest", "m.csv", "--against", "in", "--json")
    rows = [json.loads(line) for line in done.succeeded().text.splitlines()[:-1]]
    assert [row["against"] for row in rows] == [os.path.join("in", x) for x in ("a.npy", "b.npy")]
    os.replace(tmp_path / "in" / "a.npy", tmp_path / "in" / "b.npy")
    assert cli("verify", "out/b.lrk", "--against", "in").failed(1)


@pytest.mark.parametrize("said", [("--axis", "-1"), ("--axis", "1", "--frames", "2:6")])
def test_what_was_said_of_an_original_is_said_again(monkeypatch, cli, tmp_path, said):
    """`--axis` and `--frames` mean what they mean to compress and report."""
    from lowrank import targets
    from lowrank.io.taking import Taking
    from lowrank.report import ask
    from lowrank.runs import originals, verify

    cube = np.random.default_rng(0).integers(-500, 999, (9, 9, 9)).astype(np.int16)
    np.save(tmp_path / "cube.npy", cube)
    cli("compress", "cube.npy", "-k", "4", *said).succeeded()
    assert cli("verify", "cube.lrk", "--against", "cube.npy", *said).succeeded()
    assert cli("report", "cube.npy", "cube.lrk", *said).succeeded()
    other = ("--axis", "0", *said[2:])
    assert "not made from" in cli("verify", "cube.lrk", "--against", "cube.npy", *other).failed(1)
    assert "--against" in cli("verify", "cube.lrk", *said).failed(2)
    assert "no axis" in cli("verify", "cube.lrk", "--against", "cube.npy", "--axis", "x").failed(2)
    # The same of what is larger than memory.
    monkeypatch.setattr(ask, "LARGE", 1)
    job = originals.Subject(str(tmp_path / "cube.lrk"), originals=(str(tmp_path / "cube.npy"),))
    which = targets.frames(said[3]) if len(said) > 2 else None
    for axis, state in ((int(said[1]), "whole"), (0, "unlike")):
        taking = Taking(axis=axis, frames=which)
        found = verify.verify(job, verify.Verifying(max_pixels=10**6, taking=taking))
        assert found.facts["state"] == state


@pytest.mark.parametrize(
    ("layout", "store"),
    [("channels", "float16"), ("patches", "float32"), ("channels", "float64"),
     ("channels", "packed"), ("patches", "packed")],
)  # fmt: skip
def test_what_is_allowed_covers_rounding_and_little_more(layout, store):
    """Whatever the store: its own file passes, one of a picture a little apart does not."""
    from dataclasses import replace

    from lowrank.picture import Loaded, Source
    from lowrank.report import compared

    one = picture("RGB", 48, 64)
    ranked = store != "packed" or layout == "channels"
    target = Target("rank", 4) if ranked else Target("quality", 70)
    parts = codec.encode(one, target, layout=layout, store=store).parts
    source = Source("a.png", "PNG", "RGB", 64, 48, 1)
    assert not compared.against(Loaded(one, source), parts).above
    changed = one.samples.copy()
    changed[:8, :8] = 255 - changed[:8, :8]
    assert compared.against(Loaded(replace(one, samples=changed), source), parts).above


@pytest.mark.parametrize(
    ("shape", "dtype", "said"),
    [((12, 14), "uint8", (None, 14, 12, "L")), ((12, 14, 5), "int16", (None, 14, 12, "5 x int16")),
     ((7, 12, 14), "float32", (7, 14, 12, "F"))],
)  # fmt: skip
def test_json_says_what_a_file_holds(cli, tmp_path, shape, dtype, said):
    A = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    lowrank.compress(A, rank=2, stack=said[0] is not None).save(tmp_path / "a.lrk")
    row = json.loads(cli("verify", "a.lrk", "--json").succeeded().text)
    assert (row.get("frames"), row["width"], row["height"], row["mode"]) == said


@pytest.mark.parametrize("wish", [{"quality": 70}, {"rank": 4}])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 5), (5, 20, 30)])
def test_samples_of_any_type_are_as_far_off_as_their_file_states(shape, dtype, wish):
    """Packed floats and negative samples are counted from the lowest: so is the original."""
    from lowrank.objects.loading import load, taken
    from lowrank.report import compared

    rng = np.random.default_rng(1)
    A = rng.standard_normal((shape[0], 3)) @ rng.standard_normal((3, math.prod(shape[1:])))
    A = 20 * A.reshape(shape) + rng.standard_normal(shape)
    lowest = {"int8": -128, "uint16": 0}.get(dtype, -np.inf)
    A = (A if dtype[0] in "if" else A + 100).clip(lowest, 127).astype(dtype)
    stack = len(shape) == 3 and shape[2] > 5
    image = lowrank.compress(A, stack=stack, **wish)
    found = compared.against(load(A, taking=taken(stack, 0)), image.parts)
    assert not found.above
    assert found.factor_error == pytest.approx(found.stated_error, rel=0.01)
    report = image.report(A)
    squares = sum(c.frobenius_error**2 for c in report.matrices)
    norm2 = sum(c.norm**2 for c in report.matrices)
    assert found.factor_error == pytest.approx(math.sqrt(squares / norm2), rel=1e-4)


@pytest.mark.parametrize("wish", [("-q", "100"), ("--size", "2k"), ("-q", "50", "--check")])
@pytest.mark.parametrize("shape", [(30, 40), (3, 20, 30)])
def test_what_rounding_takes_of_float64_is_no_fault_of_a_packed_file(cli, tmp_path, shape, wish):
    """Of a small range far from zero float32 rounds to many levels of the packed store."""
    rng = np.random.default_rng(3)
    np.save(tmp_path / "far.npy", 1e5 + 0.01 * rng.random(shape))
    np.save(tmp_path / "flat.npy", np.full(shape, 0.1))
    for name in ("far", "flat"):
        cli("compress", f"{name}.npy", *wish, cwd=tmp_path).succeeded()
        cli("verify", f"{name}.lrk", "--against", f"{name}.npy", cwd=tmp_path).succeeded()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("along", [0, 1, 2, 3])
def test_an_original_is_seen_along_the_axis_of_the_file(monkeypatch, tmp_path, along, large):
    """Whatever axis counted the frames, and read whole or in passes: the shape says which."""
    from lowrank.io.taking import Taking
    from lowrank.report import ask, compared

    if large:
        monkeypatch.setattr(ask, "LARGE", 1)
    A = np.random.default_rng(0).integers(0, 255, (5, 6, 7, 8)).astype(np.uint8)
    np.save(tmp_path / "a.npy", A)
    parts = lowrank.compress(A, stack=True, axis=along, rank=2).parts
    path = str(tmp_path / "a.npy")
    later = ask.read_later(path, parts, Taking(stack=True))
    assert (later is not None) == large
    if later is not None:
        assert not compared.in_passes(later, parts).above
    content = (tmp_path / "a.npy").read_bytes()
    found = ask.original(path, content, parts, max_pixels=10**6)
    assert not compared.against(found, parts).above


@pytest.mark.parametrize("along", [0, 1, 2])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("wish", [{"rank": 2}, {"quality": 60}])
def test_of_a_cube_the_nearest_axis_is_taken(monkeypatch, tmp_path, along, wish, large):
    """Its shape says nothing of the axis, whether it is read whole or in passes."""
    from lowrank.io.taking import Taking
    from lowrank.report import ask, compared

    if large:
        monkeypatch.setattr(ask, "LARGE", 1)
    cube = np.random.default_rng(0).integers(-500, 999, (6, 6, 6)).astype(np.int16)
    np.save(tmp_path / "cube.npy", cube)
    parts = lowrank.compress(cube, stack=True, axis=along, **wish).parts
    later = ask.read_later(str(tmp_path / "cube.npy"), parts, Taking(stack=True))
    assert (later is not None) == (large and "rank" in wish)
    if later is not None:
        assert not compared.in_passes(later, parts).above
    content = (tmp_path / "cube.npy").read_bytes()
    found = ask.original(str(tmp_path / "cube.npy"), content, parts, max_pixels=10**6)
    assert np.array_equal(found.picture.samples[..., 0], np.moveaxis(cube, along, 0))
    assert not compared.against(found, parts).above


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_file_was_made_from_what_is_no_number(monkeypatch, tmp_path, value, large):
    """A distance that is none is not larger than any."""
    from lowrank.report import ask

    A = np.random.default_rng(0).random((6, 7, 8)).astype(np.float32)
    lowrank.compress(A, stack=True, rank=2).save(tmp_path / "a.lrk")
    A[3, 4, 5] = value
    np.save(tmp_path / "a.npy", A)
    if large:
        monkeypatch.setattr(ask, "LARGE", 1)
    subject = originals.Subject(str(tmp_path / "a.lrk"), originals=(str(tmp_path / "a.npy"),))
    outcome = verify.verify(subject, verify.Verifying())
    assert outcome.facts["state"] == "unmatched"
    with pytest.raises(ImageError, match="NaN") as report:
        ask.report(
            str(tmp_path / "a.npy"), str(tmp_path / "a.lrk"), ranks=[], store=None,
            max_pixels=10**6,
        )  # fmt: skip
    for said in (outcome.error, report.value):
        assert str(tmp_path / "a.npy") in str(said)
