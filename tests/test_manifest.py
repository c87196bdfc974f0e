"""A manifest lists what a batch made, without loss; `--check` lets nothing unsound take a name."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import pytest
from conftest import ROOT, picture

from lowrank import api, files, verifying
from lowrank.errors import FileError, FormatError
from lowrank.io import pillow
from lowrank.picture import Picture
from lowrank.runs import manifest, tasks, work
from lowrank.runs.manifest import Entry
from lowrank.runs.plan import Job
from lowrank.targets import Target


def entry(output, **changes):
    fields = {
        "input": "in.png", "output": output, "input_bytes": 3, "output_bytes": 4,
        "input_sha256": "0a" * 32, "output_sha256": "0b" * 32, "ranks": (3, 2, 1),
        "relative_error": 0.125, "psnr_db": None, "max_abs_error": 7.0, "seconds": 0.25,
    }  # fmt: skip
    return Entry(**fields | changes)


NAMES = [
    "plain.lrk", "a b/c,d;e.lrk", '"quoted".lrk', "=1+1.lrk", "+x.lrk", "-x.lrk", "@x.lrk",
    "＝x.lrk", "file:x.lrk", "file:%41.lrk", "100%.lrk", "ünïcode/σ.lrk", "line\nbreak.lrk",
    "tab\t.lrk", "\x1b[31m.lrk", os.fsdecode(b"not-\xff\xfe-utf8.lrk"), " space.lrk", "'.lrk",
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_every_name_comes_back_and_leads_to_its_file(suffix, tmp_path):
    path = tmp_path / f"m{suffix}"
    (tmp_path / "in.png").write_bytes(b"abc")
    entries = [entry(name, input=f"{name}.png") for name in NAMES]
    manifest.write(str(path), entries, force=False)
    found = manifest.read(str(path))
    text = path.read_bytes().decode("utf-8")
    assert {os.path.normpath(x.output) for x in found} == {os.path.normpath(n) for n in NAMES}
    by_name = {os.path.normpath(x.output): x for x in found}
    for name in NAMES:
        one = by_name[os.path.normpath(name)]
        assert os.fsencode(os.path.normpath(one.input)) == os.fsencode(f"{name}.png")
        assert one.ranks == (3, 2, 1)
        assert (one.relative_error, one.psnr_db, one.seconds) == (0.125, None, 0.25)
    assert text.count("\n") == len(NAMES) + (1 if suffix == ".csv" else 2)
    assert "\x1b" not in text


def test_no_cell_is_a_formula(tmp_path):
    """Spreadsheets take a cell for one that starts with = + - @, a tab or a line's end."""
    path = tmp_path / "m.csv"
    manifest.write(str(path), [entry(name, input=name) for name in NAMES], force=False)
    for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))):
        for cell in row:
            assert not cell or cell[0].isalnum() or cell[0] in "./\\_"


DEEP = b'{"files": ' + b"[" * 100_000


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"a,b\n1,2\n", b"{}", b'{"files": 3}', b'{"files": [{}]}', b"[]", DEEP],
)
def test_what_is_no_manifest_is_refused_in_one_line(tmp_path, data):
    (tmp_path / "m.csv").write_bytes(data)
    with pytest.raises(FileError, match="is no manifest"):
        manifest.read(str(tmp_path / "m.csv"))


ODD = ["", "a\0b", "\ud800", None, 5, -1, 1e400, "x", [], ["a"], {}, "9" * 5000, "../../x", "/"]


@pytest.mark.parametrize("value", ODD, ids=lambda x: repr(x)[:20])
@pytest.mark.parametrize("name", manifest._NAMES)
def test_a_manifest_of_odd_values_is_read_or_refused_in_one_line(tmp_path, capsys, name, value):
    (tmp_path / "a.lrk").write_bytes(b"none")
    row = asdict(entry("a.lrk")) | {name: value}
    (tmp_path / "m.json").write_text(json.dumps({"files": [row]}))
    arguments = {
        "decode": False, "against": str(tmp_path), "frames": None, "axis": None,
        "recursive": False, "jobs": "1", "max_pixels": None, "json": False, "quiet": False,
    }  # fmt: skip
    said = "is no manifest"
    try:
        code = verifying.verify([str(tmp_path)], str(tmp_path / "m.json"), **arguments)
    except FileError as error:
        code, said = error.exit_code, str(error)
    capsys.readouterr()
    assert code == 1
    assert "is no manifest" in said
    assert said.isprintable()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of pictures compressed with both kinds of manifest; read only."""
    from conftest import run_lowrank

    top = tmp_path_factory.mktemp("made")
    for i, name in enumerate(("a", "b", "sub/c", "sub/=d")):
        path = top / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pillow.write(picture("RGB", 30, 40, seed=i), format="PNG"))
    (top / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    batch = ("compress", "photos", "-r", "-o", "small")
    done = run_lowrank(*batch, "--manifest", "m.csv", "-k", "4", cwd=top)
    assert done.code == 1
    assert "m.csv does not list what failed" in done.err
    done = run_lowrank(*batch, "--manifest", "m.json", "-k", "4", "--skip-existing", cwd=top)
    assert done.code == 1
    return top


@pytest.mark.parametrize("name", ["m.csv", "m.json"])
def test_a_manifest_says_what_is_there(made, name):
    entries = manifest.read(str(made / name))
    assert len(entries) == 4
    for one in entries:
        for side in ("input", "output"):
            data = (made / getattr(one, side)).read_bytes()
            assert getattr(one, f"{side}_bytes") == len(data)
            assert getattr(one, f"{side}_sha256") == hashlib.sha256(data).hexdigest()
        A = api.load(made / one.input).picture.samples.astype(float)
        image = api.open(made / one.output)
        E = A - image.to_array()
        assert one.ranks == image.ranks
        assert one.relative_error == pytest.approx(np.linalg.norm(E) / np.linalg.norm(A))
        assert one.psnr_db == pytest.approx(20 * np.log10(255 / np.sqrt(np.mean(E**2))))
        assert one.max_abs_error == np.abs(E).max()
        assert (one.seconds is not None) is (name == "m.csv")


def test_the_manifest_finds_what_is_missing_changed_exchanged_and_new(cli, made, tmp_path):
    shutil.copytree(made, tmp_path / "x")
    here = tmp_path / "x"

    def states(*arguments):
        done = cli("verify", *arguments, "--json", cwd=here)
        rows = [json.loads(line) for line in done.text.splitlines()]
        assert done.code == (0 if rows[-1]["summary"]["bad"] == 0 else 1)
        return {os.path.basename(r["input"]): r["state"] for r in rows[:-1] if not r["ok"]}

    def run():
        return states("small", "--manifest", "m.csv")

    small = here / "small"
    assert states("--manifest", "m.json") == run() == {}
    for name in ("b.lrk", "sub/c.lrk"):  # exchanged
        os.replace(small / name, small / f"{name}.x")
    os.replace(small / "b.lrk.x", small / "sub/c.lrk")
    os.replace(small / "sub/c.lrk.x", small / "b.lrk")
    assert run() == states("--manifest", "m.json") == {"b.lrk": "exchanged", "c.lrk": "exchanged"}
    os.replace(small / "sub/=d.lrk", small / "new.lrk")
    found = {"b.lrk": "exchanged", "c.lrk": "exchanged", "=d.lrk": "missing", "new.lrk": "extra"}
    assert run() == found
    api.compress(here / "photos/a.png", rank=3).save(small / "a.lrk")
    assert run() == found | {"a.lrk": "changed"}


UNTRUE = {
    "output_bytes": 5, "ranks": [4, 4, 3], "relative_error": 1e-4, "psnr_db": 99.5,
    "max_abs_error": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("name", UNTRUE)
def test_a_number_that_is_listed_and_untrue_is_named(cli, made, tmp_path, name):
    shutil.copytree(made / "small", tmp_path / "small")
    rows = json.loads((made / "m.json").read_text())["files"]
    one = next(row for row in rows if row["output"].endswith("b.lrk"))
    there, one[name] = one[name], UNTRUE[name]
    (tmp_path / "m.json").write_text(json.dumps({"files": rows}))
    run = ("verify", "small", "--manifest", "m.json", "--json")
    # Errors are known beside the originals only.
    alone, both = cli(*run), cli(*run, "--against", str(made / "photos"))
    assert alone.code == (1 if name in ("output_bytes", "ranks") else 0)
    assert both.code == 1
    found = [json.loads(line) for line in both.text.splitlines()]
    assert found[-1]["summary"]["states"] == {"whole": 3, "misstated": 1}
    (bad,) = (row for row in found[:-1] if not row["ok"])
    assert os.path.basename(bad["input"]) == "b.lrk"
    assert "m.json" in bad["error"]
    one[name] = there
    (tmp_path / "m.json").write_text(json.dumps({"files": rows}))
    cli(*run, "--against", str(made / "photos")).succeeded()


def test_a_list_whose_original_was_exchanged_is_untrue(cli, made, tmp_path):
    """For a file of the same picture, which measures alike."""
    shutil.copytree(made / "photos", tmp_path / "photos")
    run = ("verify", str(made / "small"), "--manifest", str(made / "m.csv"), "--json")
    cli(*run, "--against", "photos").succeeded()
    samples = api.load(tmp_path / "photos/b.png").picture
    (tmp_path / "photos/b.tif").write_bytes(pillow.write(samples, format="TIFF"))
    cli(*run, "--against", "photos").succeeded()  # the one that is listed is there still
    (tmp_path / "photos/b.png").unlink()
    done = cli(*run, "--against", "photos")
    assert done.code == 1
    rows = list(map(json.loads, done.text.splitlines()[:-1]))
    assert not any("originals_sha256" in row for row in rows)
    (bad,) = (row for row in rows if not row["ok"])
    assert (os.path.basename(bad["input"]), bad["state"]) == ("b.lrk", "misstated")
    assert os.path.join("photos", "b.tif has another") in bad["error"]


def test_an_archive_may_move(cli, made, tmp_path):
    shutil.copytree(made / "small", tmp_path / "elsewhere" / "deep")
    shutil.copy(made / "m.csv", tmp_path / "m.csv")
    cli("verify", "elsewhere/deep", "--manifest", "m.csv").succeeded()
    shutil.copytree(made / "small", tmp_path / "y" / "small")
    shutil.copy(made / "m.csv", tmp_path / "y" / "m.csv")
    cli("verify", "--manifest", os.path.join("y", "m.csv")).succeeded()
    shutil.rmtree(tmp_path / "y" / "small" / "sub")
    gone = cli("verify", "y/small", "--manifest", "m.csv", "--quiet")
    assert gone.code == 1
    assert gone.err.count("missing: ") == 2


def test_a_manifest_is_refused_before_any_work(cli, small_png, tmp_path):
    (tmp_path / "m.csv").write_text("mine")
    run = ("compress", "in.png", "-k", "2")
    assert "exists" in cli(*run, "--manifest", "m.csv").failed(1)
    assert ".csv nor .json" in cli(*run, "--manifest", "m.txt").failed(2)
    assert "lists files" in cli(*run, "-o", "-", "--manifest", "x.csv").failed(2)
    for output in ("m.csv", "./x.csv"):
        same = (*run, "-o", output, "--manifest", os.path.basename(output), "-f")
        assert "is the output itself" in cli(*same).failed(2)
    assert not (tmp_path / "x.csv").exists()
    assert not (tmp_path / "in.lrk").exists()
    assert (tmp_path / "m.csv").read_text() == "mine"
    cli(*run, "--manifest", "m.csv", "-f").succeeded()
    assert [x.output for x in manifest.read(str(tmp_path / "m.csv"))] == ["in.lrk"]


# -- --check ------------------------------------------------------------------------------


def test_an_output_that_does_not_read_back_gets_no_name(small_png, monkeypatch):
    output = str(small_png.with_suffix(".lrk"))
    settings = tasks.Compressing(target=Target("rank", 3), check=True)
    job = Job(str(small_png), output)
    whole = files.read_bytes

    def worn(path, **limits):
        data = bytearray(whole(path, **limits))
        if str(path).endswith(".tmp"):
            data[len(data) // 2] ^= 1
        return bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_bytes", worn)
        with pytest.raises(FormatError, match="checksum does not hold"):
            work.compress(job, settings)
    assert os.listdir(small_png.parent) == ["in.png"]
    work.compress(job, settings)
    assert os.path.exists(output)


def test_an_output_of_another_picture_gets_no_name(small_png, monkeypatch):
    """A fault of the encoder that no checksum knows of."""
    from lowrank import codec

    one = picture("RGB", 30, 40)
    upside_down = Picture(one.samples[::-1], one.mode)
    other = codec.encode(upside_down, Target("rank", 3))
    monkeypatch.setattr(codec, "encode", lambda *_, **__: other)
    settings = tasks.Compressing(target=Target("rank", 3), check=True)
    with pytest.raises(FormatError, match="another picture"):
        work.compress(Job(str(small_png)), settings)
    assert os.listdir(small_png.parent) == ["in.png"]


@pytest.mark.parametrize(
    ("mode", "target"),
    [
        *((mode, Target("rank", 1)) for mode in ("1", "LA", "CMYK", "I;16", "F")),
        *((mode, Target("rank", 20)) for mode in ("1", "L", "RGBA", "I;16", "F")),
        *((mode, Target("quality", 9)) for mode in ("1", "L")),
    ],
)
def test_no_sound_output_is_refused(mode, target, tmp_path):
    suffix = {"CMYK": ".tif", "F": ".tif"}.get(mode, ".png")
    path = tmp_path / f"a{suffix}"
    form = "TIFF" if suffix == ".tif" else "PNG"
    path.write_bytes(pillow.write(picture(mode, 24, 33), format=form))
    work.compress(Job(str(path)), tasks.Compressing(target=target, check=True))


# -- kills --------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_batch_that_was_killed_goes_on_and_is_whole(cli, tmp_path):
    """fuzz/kill.py --batches does the same a hundred times."""
    draw = random.Random(1)
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(30):
        data = pillow.write(picture("RGB", 60, 80, seed=i), format="PNG")
        (photos / f"{i}.png").write_bytes(data)
    batch = ["compress", "photos", "-o", "small", "-k", "5", "--skip-existing"]
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "lowrank", *batch], cwd=tmp_path, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        process.stdout.readline()  # it has begun to write
        time.sleep(draw.uniform(0, 0.05))
        process.kill()
        process.communicate()
        if (tmp_path / "small").exists():
            cli("verify", "small", "--decode").succeeded()  # what is there is whole at any time
    cli(*batch, "--manifest", "m.csv").succeeded()
    assert "30" in cli("verify", "small", "--decode", "--manifest", "m.csv").succeeded().text
