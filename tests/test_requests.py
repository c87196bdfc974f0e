"""What a request means: understood as it was meant, or refused with what to type instead."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, files_below, picture
from PIL import Image

import lowrank
from lowrank import files, targets
from lowrank.errors import UsageError
from lowrank.io import pillow
from lowrank.runs import plan

posix = pytest.mark.skipif(os.name != "posix", reason="devices and pipes of POSIX")
bash = pytest.mark.skipif(not shutil.which("bash"), reason="no bash")


@pytest.fixture
def fold(small_png, tmp_path):
    """A folder that holds an image and much else."""
    folder = tmp_path / "d"
    (folder / "below").mkdir(parents=True)
    for name in ("a.png", "below/c.png", "._a.png"):
        (folder / name).write_bytes(small_png.read_bytes())
    for name in ("n.txt", "m.TXT", "README", ".DS_Store", "x.psd"):
        (folder / name).write_bytes(b"no image")
    return folder


def shell(script, cwd):
    """Run a script of bash in which `lowrank` is ours; codes and streams as they come."""
    start = f'lowrank() {{ {shlex.quote(sys.executable)} -m lowrank "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-c", start + script],
        cwd=cwd,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LOWRANK_DEBUG": "1"},
        timeout=120,
        check=False,
    )
    assert b"Traceback" not in done.stderr + done.stdout, done.stderr
    return done.returncode, done.stdout, done.stderr.decode()


# -- formats and names --------------------------------------------------------------------------


def test_names_made_here_follow_the_format(cli, small_lrk, small_png, tmp_path):
    starts = {"tif": b"II*\0", ".TIFF": b"II*\0", "jpg": b"\xff\xd8", "webp": b"RIFF", "bmp": b"BM"}
    for name, start in starts.items():
        suffix = "." + name.lower().lstrip(".")
        assert f"in.lrk -> in{suffix}" in cli("decompress", "in.lrk", "--format", name).text
        assert (tmp_path / f"in{suffix}").read_bytes().startswith(start)
    cli("decompress", "in.lrk", "--format", "tif", "-o", "folder/").succeeded()
    assert (tmp_path / "folder" / "in.tif").read_bytes().startswith(b"II*\0")
    cli("decompress", "in.lrk", "--format", "tif", "-o", "bare").succeeded()
    assert (tmp_path / "bare").read_bytes().startswith(b"II*\0")
    (tmp_path / "two").mkdir()
    shutil.copy(small_lrk, tmp_path / "two" / "x.lrk")
    cli("decompress", "two", "--format", "qoi", "-o", "out").succeeded()
    assert files_below(tmp_path / "out") == ["x.qoi"]


def test_a_format_that_contradicts_the_output_is_refused(cli, small_lrk, tmp_path):
    before = files_below(tmp_path)
    for name, output in (("tif", "o.png"), ("png", "o.tif"), ("jpg", "o.webp")):
        line = cli("decompress", "in.lrk", "--format", name, "-o", output).failed(2)
        assert f"--format {name}" in line
        assert f"-o {output}" in line
    assert files_below(tmp_path) == before
    for name, output in (("tiff", "o.tif"), ("jpeg", "o.jpg"), ("PNG", "o.png")):
        cli("decompress", "in.lrk", "--format", name, "-o", output).succeeded()


def test_an_output_that_says_another_kind_is_refused_with_the_name_to_give(
    cli, small_png, small_lrk, tmp_path
):
    before = files_below(tmp_path)
    for run, advice in (
        (("compress", "in.png", "-o", "out.png"), "-o out.lrk"),
        (("compress", "in.png", "-o", "a/out.JPEG"), "-o a/out.lrk"),
        (("compress", "in.lrk", "-k", "1", "-o", "out.tif"), "-o out.lrk"),
        (("decompress", "in.lrk", "-o", "out.lrk"), "-o out.png"),
        (("report", "in.png", "--html", "page.png"), "--html page.html"),
        (("report", "in.png", "--html", "page.lrk"), "--html page.html"),
        (("report", "in.png", "--html", "-"), "--html page.html"),
    ):
        assert advice in cli(*run, "-f").failed(2), run
    assert files_below(tmp_path) == before
    (tmp_path / "folder.png").mkdir()
    cli("compress", "in.png", "-k", 1, "-o", "folder.png").succeeded()  # it is a folder
    cli("compress", "in.png", "-k", 1, "-o", "out.bin").succeeded()  # it may be called so


def test_a_second_name_that_is_not_there_gets_the_option_it_lacks(
    cli, small_png, small_lrk, tmp_path
):
    before = files_below(tmp_path)
    for run in (
        ("decompress", "in.lrk", "b.png"),
        ("decompress", "in.lrk", "b.TIF"),
        ("compress", "in.png", "b.lrk"),
        ("compress", "in.png", "new/"),
    ):
        assert f"did you mean -o {run[-1]}?" in cli(*run).failed(2)
    assert files_below(tmp_path) == before
    for run in (("compress", "in.png", "b.png"), ("decompress", "in.lrk", "b.lrk")):
        done = cli(*run, "-f")
        assert done.code == 1
        assert "did you mean" not in done.err
        assert f"{run[-1]}" in done.err


def test_a_page_says_that_it_was_written_and_nothing_else(cli, small_png, tmp_path):
    done = cli("report", "in.png", "--html", "page.html").succeeded()
    size = (tmp_path / "page.html").stat().st_size
    assert done.text == f"in.png -> page.html: {size:,} bytes\n"
    assert cli("report", "in.png", "--html", "page.html", "-f", "--quiet").succeeded().out == b""
    found = json.loads(cli("report", "in.png", "--html", "page.html", "-f", "--json").text)
    assert "ranks" in found


@pytest.mark.parametrize("store", ["float16", "float32", "float64"])
def test_a_report_of_ranks_names_their_store(cli, small_png, store):
    for ranks in ("3", "3,5"):
        text = cli("report", "in.png", "-k", ranks, "--store", store).succeeded().text
        assert f"{store} factors" in text
    assert f"{store} factors" in cli("report", "in.png", "--store", store).succeeded().text


# -- numbers ------------------------------------------------------------------------------------

MEANS = [
    ("size", "20KB", 20_000), ("size", "20 kB", 20_000), ("size", "20k", 20_000),
    ("size", "1.5MB", 1_500_000), ("size", "20KiB", 20_480), ("size", "20b", 20),
    ("size", "1e4", 10_000), ("psnr", "38dB", 38), ("psnr", " 38 db ", 38), ("psnr", "38.5", 38.5),
    ("quality", "75%", 75), ("quality", "75", 75), ("error", "5%", 0.05), ("error", " 5 % ", 0.05),
    ("error", ".05", 0.05), ("energy", "99%", 0.99), ("energy", "1", 1), ("rank", "7", 7),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "value"), MEANS)
def test_a_number_may_have_its_unit(kind, text, value):
    found = targets.read({kind: text})
    assert found.kind == kind
    assert found.value == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "text", "advice"),
    [
        ("error", "5", "did you mean 5%?"),
        ("error", "2.5", "did you mean 2.5%?"),
        ("energy", "99", "did you mean 99%?"),
        ("energy", "101", "such as 99%"),
        ("error", "200%", "such as 5%"),
        ("error", "-1", "such as 5%"),
        ("size", "20q", "such as 20k"),
        ("size", "", "such as 20k"),
        ("size", "kb", "such as 20k"),
        ("size", "1,000", "such as 20k"),
        ("psnr", "loud", "in dB"),
        ("quality", "0.75", "from 1 to 100"),
        ("quality", "high", "from 1 to 100"),
        ("rank", "half", "whole number from 1 on, or auto"),
    ],
)
def test_a_number_that_is_none_gets_the_right_advice(kind, text, advice):
    with pytest.raises(UsageError) as caught:
        targets.read({kind: text})
    assert advice in str(caught.value)
    assert text in str(caught.value)


def test_messages_name_an_option_as_it_was_typed(cli, small_png, small_lrk):
    runs = [
        (("compress", "in.png", "--quality", "101"), "--quality 101"),
        (("compress", "in.png", "--quality=101"), "--quality 101"),
        (("compress", "in.png", "-q", "101"), "-q 101"),
        (("compress", "in.png", "-q101"), "-q 101"),
        (("compress", "in.png", "--rank", "0"), "--rank 0"),
        (("compress", "in.png", "-k", "0"), "-k 0"),
        (("compress", "in.png", "--rank", "3", "-q", "5"), "--rank and -q exclude"),
        (("compress", "in.png", "-k", "3", "--psnr", "5"), "-k and --psnr exclude"),
        (("decompress", "in.lrk", "--rank", "auto"), "--rank auto"),
        (("report", "in.png", "--rank", "2,x"), "--rank 2,x"),
        (("report", "in.png", "-k", "2,x"), "-k 2,x"),
        (("compress", "in.png", "--max-pixels", "many"), "pixels, such as"),
    ]
    for (run, shown), done in zip(runs, cli.together([run for run, _ in runs]), strict=True):
        assert shown in done.failed(2), run
    assert "or auto" not in cli("decompress", "in.lrk", "-k", "auto").failed(2)


def test_rivals_may_be_spaced_and_must_be_some(cli, small_png, small_lrk):
    run = ("report", "in.png", "in.lrk", "--json", "--against")
    found = json.loads(cli(*run, "JPEG, png,jpg,").succeeded().text)["against"]
    assert [x["codec"] for x in found] == ["jpeg", "png"]
    for nothing in ("", " , "):
        assert "--against is empty" in cli(*run, nothing).failed(2)
    assert "gif: unknown" in cli(*run, "jpeg,gif").failed(2)


# -- batches ------------------------------------------------------------------------------------


def test_inputs_of_one_stem_are_both_done(cli, tmp_path):
    (tmp_path / "d").mkdir()
    made = {"a.png": 1, "a.tif": 2, "a.png.tif": 3, "b.png": 4}
    for name, seed in made.items():
        form = "PNG" if name.endswith("png") else "TIFF"
        (tmp_path / "d" / name).write_bytes(pillow.write(picture("L", 9, 12, seed), format=form))
    cli("compress", "d", "-k", 2, "-o", "out").succeeded()
    expected = ["a.png.lrk", "a.png.tif.lrk", "a.tif.lrk", "b.lrk"]
    assert files_below(tmp_path / "out") == expected
    for name in made:
        output = "b.lrk" if name == "b.png" else f"{name}.lrk"
        whole = lowrank.compress(tmp_path / "d" / name, rank=2).to_bytes()
        assert (tmp_path / "out" / output).read_bytes() == whole
    cli("compress", "d", "-k", 2, "-r").succeeded()
    assert [x for x in files_below(tmp_path / "d") if x.endswith(".lrk")] == expected
    cli("compress", "d/a.png", "d/a.tif", "-k", 2, "-o", "two", "-j", 2).succeeded()
    assert files_below(tmp_path / "two") == ["a.png.lrk", "a.tif.lrk"]
    cli("decompress", "out", "-o", "back").succeeded()
    assert files_below(tmp_path / "back") == ["a.png.png", "a.png.tif.png", "a.tif.png", "b.png"]


def test_the_same_name_in_two_folders_is_refused(cli, tmp_path):
    for folder in "xy":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(pillow.write(picture("L", 9, 12), format="PNG"))
    line = cli("compress", "x", "y", "-k", 1, "-o", "out").failed(2)
    assert "x/a.png and y/a.png would get the same output" in line
    assert not (tmp_path / "out").exists()
    cli("compress", "x/a.png", "x/a.png", "x", "-k", 1, "-o", "out").succeeded()  # it is one
    assert files_below(tmp_path / "out") == ["a.lrk"]


def test_outputs_that_differ_in_case_only_are_kept_apart(cli, tmp_path):
    """They may be moved to a system that knows no case, or be written there."""
    (tmp_path / "d").mkdir()
    made = ["A.TIF", "a.png", "B.png", "b.jpg", "b.tif", "\u00e9.png", "e\u0301.tif"]
    for seed, name in enumerate(made):
        form = {"t": "TIFF", "p": "PNG", "j": "JPEG"}[name[-3].lower()]
        (tmp_path / "d" / name).write_bytes(pillow.write(picture("L", 9, 12, seed), format=form))
    cli("compress", "d", "-k", 2, "-o", "out").succeeded()
    assert files_below(tmp_path / "out") == sorted(f"{name}.lrk" for name in made)
    for name in made:
        right = lowrank.compress(tmp_path / "d" / name, rank=2).to_bytes()
        assert (tmp_path / "out" / f"{name}.lrk").read_bytes() == right


def test_outputs_that_no_suffix_tells_apart_are_refused_where_they_are_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()

    def planned(*names):
        made = plan.of(
            list(names), "x", recursive=False, suffixes=frozenset({".png"}), made=(".lrk",)
        )
        return [job.place(".lrk") for job in made.jobs]

    place = os.path.join("x", "")
    monkeypatch.setattr(files, "folds_case", lambda path: False)
    assert planned("A.png", "a.PNG") == [f"{place}A.lrk", f"{place}a.lrk"]
    assert planned("A.png", "a.PNG", "a.tif") == [
        f"{place}A.lrk",
        f"{place}a.lrk",
        f"{place}a.tif.lrk",
    ]
    monkeypatch.setattr(files, "folds_case", lambda path: True)
    with pytest.raises(UsageError, match=r"A\.png and a\.PNG would get the same output"):
        planned("A.png", "b.png", "a.PNG")


@pytest.mark.parametrize("folds", [False, True])
def test_whether_a_system_knows_case_is_told_from_a_folder_that_is_there(
    tmp_path, monkeypatch, folds
):
    here = tmp_path / "Some"
    here.mkdir()
    asked = []

    def samefile(a, b):
        asked.append((a, b))
        return folds and a.lower() == b.lower()

    monkeypatch.setattr(os.path, "samefile", samefile)
    for path in (here / "a.lrk", here / "12" / "a.lrk", here / "not" / "there" / "a.lrk"):
        assert files.folds_case(str(path)) is folds
    assert set(asked) == {(str(here), str(tmp_path / "sOME"))}
    assert not files.folds_case("/a.lrk")


def test_a_folder_passes_over_nothing_in_silence(cli, fold, tmp_path):
    text = cli("compress", "d", "-k", 1, "-o", "out").succeeded().text
    passed = text.splitlines()[-1]
    assert passed.startswith("passed over: ")
    found = set(passed.removeprefix("passed over: ").split(", "))
    assert found == {"2 .txt", "2 without suffix", "1 .psd", "1 ._*", "1 folder"}
    assert files_below(tmp_path / "out") == ["a.lrk"]
    done = cli("compress", "d", "-k", 1, "-o", "deep", "-r", "--json").succeeded()
    summary = json.loads(done.text.splitlines()[-1])["summary"]
    assert summary["passed_over"] == {".txt": 2, "without suffix": 2, ".psd": 1, "._*": 1}
    assert files_below(tmp_path / "deep") == ["a.lrk", "below/c.lrk"]
    assert "passed over" not in cli("compress", "d/below", "-k", 1, "-o", "b").succeeded().text


@pytest.fixture
def hiding(small_png, tmp_path):
    """A folder of two pictures, and much that nobody sees there."""
    folder = tmp_path / "h"
    (folder / ".trash").mkdir(parents=True)
    shown, hidden = ("b.png", "a.png"), (".thumb.png", "._a.png", ".trash/c.png")
    for name in (*shown, *hidden):
        (folder / name).write_bytes(small_png.read_bytes())
    for name in (".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"no image")
    return folder


@pytest.mark.parametrize("deep", [(), ("-r",)])
def test_what_is_hidden_is_no_picture_of_a_batch_and_no_frame(cli, hiding, tmp_path, deep):
    """And a note names what might have been one."""
    shown = ".thumb.png, .trash" if deep else ".thumb.png"
    note = f"lowrank: note: h: {1 + bool(deep)} hidden passed over ({shown}); "
    batch = cli("compress", "h", "-k", 1, "-o", "out", *deep).succeeded()
    assert files_below(tmp_path / "out") == ["a.lrk", "b.lrk"]
    stack = cli("compress", "h", "--stack", "-k", 1, "-o", "s.lrk", *deep).succeeded()
    assert lowrank.open(tmp_path / "s.lrk").axis.labels == ("a.png", "b.png")
    for done in (batch, stack):
        assert note in done.err
        last = (done.text if done is batch else done.err).split("passed over: ")[1].splitlines()[0]
        kinds = {"1 hidden file", "1 ._*", "1 without suffix", "1 .db"}
        assert set(last.split(", ")) == kinds | {"1 hidden folder" if deep else "1 folder"}
    alone = cli("compress", "h/.thumb.png", "h/.trash", "-k", 1, "-o", "named").succeeded()
    assert "hidden" not in alone.err
    assert files_below(tmp_path / "named") == [".thumb.lrk", "c.lrk"]


def test_what_is_hidden_is_no_frame_of_the_library_and_of_a_report(cli, hiding, tmp_path):
    stack = lowrank.compress(hiding, stack=True, rank=1)
    assert len(stack) == 2
    assert any("1 hidden passed over (.thumb.png)" in note for note in stack.notes)
    stack.save(tmp_path / "h.lrk")
    assert "1 hidden passed over" in cli("report", "h", "h.lrk", "--stack").succeeded().err
    assert cli("verify", "h.lrk", "--against", ".").succeeded()
    assert len(stack.report(hiding).matrices) == 1


def test_hidden_files_are_decompressed_by_name_and_verified_anyway(cli, small_lrk, tmp_path):
    (tmp_path / "d").mkdir()
    for name in ("a.lrk", ".b.lrk"):
        shutil.copy(small_lrk, tmp_path / "d" / name)
    assert "hidden passed over (.b.lrk)" in cli("decompress", "d", "-o", "out").succeeded().err
    assert files_below(tmp_path / "out") == ["a.png"]
    summary = cli("verify", "d", "--json").succeeded().text.splitlines()[-1]
    assert json.loads(summary)["summary"]["good"] == 2


def test_nothing_to_do_says_what_is_there(cli, fold, tmp_path):
    line = cli("decompress", "d").failed()
    assert "nothing to do in folder d" in line
    assert "2 .txt" in line
    assert "-r" in line
    (tmp_path / "empty").mkdir()
    done = cli("compress", "empty", "in.png", "-k", 1)  # the other is done all the same
    assert "empty" in done.failed()
    assert (tmp_path / "in.lrk").exists()


def test_many_kinds_stay_one_line(tmp_path):
    for i in range(100):
        (tmp_path / f"x.{i:03}").touch()
    (tmp_path / "a.png").touch()
    found = plan.of(
        [str(tmp_path)], None, recursive=False, suffixes=frozenset({".png"}), made=(".lrk",)
    )
    assert sum(found.passed.values()) == 100
    words = plan.counted(found.passed)
    assert "92 of other kinds" in words
    assert len(words) < 200


@posix
@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_pipes_and_sockets_in_a_folder_are_passed_over_with_a_note(
    cli, small_png, small_lrk, tmp_path, command
):
    folder = tmp_path / "d"
    folder.mkdir()
    source = small_png if command == "compress" else small_lrk
    shutil.copy(source, folder)
    os.mkfifo(folder / f"pipe{source.suffix}")
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(folder / f"s{source.suffix}"))
        (folder / f"null{source.suffix}").symlink_to(os.devnull)
        for jobs in (1, 2):
            done = cli(command, "d", "-o", f"out{jobs}", "-j", jobs).succeeded()
            for name, kind in (("pipe", "pipe"), ("s", "socket"), ("null", "device")):
                assert f"lowrank: note: d/{name}{source.suffix}: a {kind}, passed over" in done.err
            assert len(files_below(tmp_path / f"out{jobs}")) == 1
            assert {"1 pipe", "1 socket", "1 device"} <= set(
                done.text.splitlines()[-1].removeprefix("passed over: ").split(", ")
            )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_cannot_be_read_is_an_error(cli, fold, tmp_path):
    (fold / "below").chmod(0)
    try:
        done = cli("compress", "d", "-r", "-k", 1, "-o", "out")
    finally:
        (fold / "below").chmod(0o755)
    assert "d/below" in done.failed()
    assert files_below(tmp_path / "out") == ["a.lrk"]


def test_what_walking_cannot_read_is_an_error(monkeypatch, cli, fold):
    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", f"{folder}/below"))
        yield str(folder), [], ["a.png"]

    monkeypatch.setattr(os, "walk", walk)
    found = plan.of([str(fold)], None, recursive=True, suffixes=frozenset({".png"}), made=(".lrk",))
    assert len(found.jobs) == 1
    ((path, error),) = found.failed
    assert path.endswith("below")
    assert "permission" in str(error)


# -- devices and streams ------------------------------------------------------------------------


@posix
@bash
def test_devices_are_outputs(small_png, small_lrk, tmp_path):
    before = files_below(tmp_path)
    for run in (
        "compress in.png -k 2 -o /dev/null",
        "compress in.png -k 2 -o /dev/null --skip-existing -p",
        "decompress in.lrk -o /dev/null",
        "decompress in.lrk --format tif -o /dev/null",
        "compress in.png in.lrk -k 2 -o /dev/null",
        "report in.png --html /dev/null",
    ):
        code, _, err = shell(f"lowrank {run}", tmp_path)
        assert (code, err) == (0, ""), run
    assert files_below(tmp_path) == before
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    whole = lowrank.compress(small_png, rank=2).to_bytes()
    code, out, _ = shell("lowrank compress in.png -k 2 -o /dev/stdout | cat", tmp_path)
    assert (code, out) == (0, whole)
    code, out, _ = shell("lowrank decompress in.lrk -o /dev/stdout | cat", tmp_path)
    assert out.startswith(b"\x89PNG")
    code, _, err = shell(
        "lowrank compress in.png --json -o /dev/stdout | cat; exit ${PIPESTATUS[0]}", tmp_path
    )
    assert code == 2
    assert "--json" in err


@posix
@bash
def test_a_stream_without_a_name_asks_for_one(small_png, tmp_path):
    for run in (
        "lowrank compress /dev/stdin -k 2 < in.png",
        "cat in.png | lowrank compress /dev/stdin -k 2",
        "lowrank compress <(cat in.png) -k 2",
    ):
        code, _, err = shell(run, tmp_path)
        assert code == 2
        assert err.count("\n") == 1
        assert "give -o a file" in err
    assert files_below(tmp_path) == ["in.png"]
    assert not os.path.exists("/dev/stdin.lrk")
    whole = lowrank.compress(small_png, rank=2).to_bytes()
    for i, run in enumerate(("/dev/stdin < in.png", "<(cat in.png)", "/dev/stdin < <(cat in.png)")):
        assert shell(f"lowrank compress -k 2 -o {i}.lrk {run}", tmp_path)[0] == 0
        assert (tmp_path / f"{i}.lrk").read_bytes() == whole


@contextmanager
def piped(path, data):
    """A pipe with a name, through which some bytes come."""
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(data))
    writer.start()
    yield
    writer.join()


@posix
def test_a_pipe_with_a_name_is_read(cli, small_png, tmp_path):
    with piped(tmp_path / "p.png", small_png.read_bytes()):
        cli("compress", "p.png", "-k", 2).succeeded()
    assert (tmp_path / "p.lrk").exists()


@posix
def test_a_pipe_with_a_name_is_called_by_it(cli, small_lrk, tmp_path):
    with piped(tmp_path / "p.lrk", small_lrk.read_bytes()):
        said = cli("decompress", "p.lrk", "--frames", "0", "-o", "x.png").failed(2)
    assert "p.lrk holds one picture" in said


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero")
def test_an_endless_device_is_read_to_a_limit(cli, tmp_path):
    line = cli("compress", "/dev/zero", "-o", "x.lrk").failed()
    assert "/dev/zero is larger than 268,435,456 bytes" in line
    assert files_below(tmp_path) == []


@posix
@bash
@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("lowrank compress in.png -k 2 -o - >&-", 1, "standard output is closed"),
        ("lowrank decompress in.lrk -o - >&-", 1, "standard output is closed"),
        ("lowrank decompress s.lrk --pixel 1,2 >&-", 1, "standard output is closed"),
        ("lowrank decompress s.lrk --pixel 1,2 -o t.csv >&-", 0, ""),
        ("lowrank decompress s.lrk --pixel 1,2 --json >&-", 0, ""),
        ("lowrank compress - -k 2 <&-", 1, "standard input is closed"),
        ("lowrank compress in.png b.png -k 2 -f 2>&-", 0, ""),
        ("lowrank compress in.png b.png -k 2 -f >&- 2>&-", 0, ""),
        ("lowrank compress in.png b.png -k 2 -f -j 2 >&- 2>&- <&-", 0, ""),
        ("lowrank compress in.png none.png -k 2 -f -j 2 2>&-", 1, ""),
        ("lowrank compress in.png -k 2 -f --json >&-", 0, ""),
        ("lowrank compress in.png -k 2 -f --certify >&- 2>&-", 0, ""),
        ("lowrank report in.png >&-", 0, ""),
        ("lowrank report in.png --html p.html -f 2>&- >&-", 0, ""),
        ("lowrank report t.tif 2>&-", 0, ""),
        ("lowrank 2>&-", 2, ""),
        ("lowrank --help >&-", 0, ""),
        ("lowrank nonsense 2>&-", 2, ""),
    ],
)
def test_closed_streams_are_no_fault(small_png, small_lrk, tmp_path, script, code, said):
    shutil.copy(small_png, tmp_path / "b.png")
    with Image.open(small_png) as image:
        image.save(tmp_path / "t.tif")
        lowrank.compress([image], rank=1, stack=True).save(tmp_path / "s.lrk")
    found, _, err = shell(script, tmp_path)
    assert found == code
    if said:
        assert said in err
        assert err.count("\n") == 1
    whole = lowrank.compress(small_png, rank=2).to_bytes()
    if code == 0 and "b.png" in script:
        assert (tmp_path / "b.lrk").read_bytes() == whole  # nothing else was written into it


@posix
@bash
def test_no_file_comes_to_stand_where_a_stream_was(tmp_path):
    """A library that writes to standard error must not write into an output."""
    code = """
        import os
        from lowrank import console
        console.occupy_closed_streams()
        number = os.open("x", os.O_CREAT | os.O_WRONLY)
        os.write(os.open("said", os.O_CREAT | os.O_WRONLY), str(number).encode())
    """
    run = f"{shlex.quote(sys.executable)} -c {shlex.quote(textwrap.dedent(code))}"
    shell(f"{run} <&- >&- 2>&-", tmp_path)
    assert int((tmp_path / "said").read_text()) > 2


def test_a_defect_is_one_line_too(cli, small_png, monkeypatch, capsys):
    from lowrank import cli as command

    def fail(*_, **__):
        raise ZeroDivisionError("two\nlines \x1b[2J")

    monkeypatch.setattr(command.console, "run", fail)
    monkeypatch.setattr(sys, "argv", ["lowrank", "compress", str(small_png), "-k", "2"])
    monkeypatch.delenv("LOWRANK_DEBUG", raising=False)
    assert command.run() == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.strip().isprintable()
    assert line.startswith("lowrank: error: a defect of lowrank (ZeroDivisionError: two lines ")
    monkeypatch.setenv("LOWRANK_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        command.run()


# -- clusters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", "  "])
def test_an_empty_address_is_refused(cli, small_png, address):
    assert "--dask is empty" in cli("compress", "in.png", "-k", 2, "--dask", address).failed(2)


@pytest.mark.parametrize(
    "address",
    ["tls://127.0.0.1:9", "ucx://127.0.0.1:9", "foo://x", "nonsense", "inproc://x", "\x1b"],
)
def test_an_address_that_leads_nowhere_is_one_line(cli, small_png, tmp_path, address):
    pytest.importorskip("distributed", reason="the extra lowrank-image[dask] is not installed")
    line = cli("compress", "in.png", "-k", 2, "--dask", address).failed()
    assert line.startswith("lowrank: error: cannot reach a dask scheduler at ")
    assert line.isprintable()
    assert files_below(tmp_path) == ["in.png"]


SCHEDULER = """
import asyncio, os, sys
from distributed import Scheduler
async def serve():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        os._exit(0)
asyncio.run(serve())
"""


IMPATIENT = """
from lowrank.__main__ import main
from lowrank.stores import spread
spread._TIMEOUT = 2
main()
"""


def test_waiting_for_workers_says_so_and_a_lost_scheduler_ends_it(small_png, tmp_path):
    pytest.importorskip("distributed", reason="the extra lowrank-image[dask] is not installed")
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCHEDULER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as scheduler:  # fmt: skip
        address = scheduler.stdout.readline().strip()
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", IMPATIENT, "compress", "in.png", "-k", "2",
             "--dask", address],
            cwd=tmp_path, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as run:  # fmt: skip
            line = run.stderr.readline()
            assert (
                line == f"lowrank: note: the scheduler at {address} has no workers yet; "
                "waiting for one\n"
            )
            scheduler.stdin.close()
            rest = run.stderr.read()
        assert run.returncode == 1
    assert rest.startswith("lowrank: error: cannot reach a dask scheduler at ")
    assert rest.count("\n") == 1
    assert files_below(tmp_path) == ["in.png"]


def test_plan_is_made_without_touching_anything(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.png").touch()
    plan.of(["a.png"], "new/", recursive=False, suffixes=frozenset({".png"}), made=(".lrk",))
    assert files_below(tmp_path) == ["a.png"]
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("command", "inputs", "output", "hint"),
    [
        ("compress", ["a.png", "b.png"], "movie.lrk", "give -o movie/, or --stack for one stack"),
        ("compress", ["tree", "-r"], "movie.lrk", "give -o movie/, or --stack for one stack"),
        ("compress", ["a.png", "b.png"], "c.png", "give -o c/"),
        ("decompress", ["x.lrk", "y.lrk"], "z.tif", "give -o z/"),
    ],
)
def test_a_file_is_no_folder_for_several(cli, tmp_path, command, inputs, output, hint):
    (tmp_path / "tree").mkdir()
    for name in ("a.png", "b.png", "tree/c.png"):
        (tmp_path / name).write_bytes(pillow.write(picture("L", 6, 5), format="PNG"))
    for name in ("x.lrk", "y.lrk"):
        lowrank.compress([[1.0, 2.0], [3.0, 5.0]], rank=2).save(tmp_path / name)
    error = cli(command, *inputs, "-k", "2", "-o", output).failed(2)
    assert f"-o {output} names a file; {hint}" in error
    assert not (tmp_path / output).exists()
    cli(command, *inputs, "-k", "2", "-o", f"{output}/").succeeded()  # who says so means a folder
    assert (tmp_path / output).is_dir()
