"""Folders of images: nothing is lost, whatever dies, and nothing is done twice."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT, on_a_terminal, picture
from rich.console import Console

import lowrank
from lowrank.errors import FormatError
from lowrank.io import pillow
from lowrank.runs import pool, tasks, work
from lowrank.runs.plan import Job, several
from lowrank.runs.tasks import Compressing, Outcome
from lowrank.targets import Target
from lowrank.views import as_json, progress, tables

SETTINGS = Compressing(target=Target("rank", 2))


@pytest.fixture
def tree(tmp_path):
    """Return a function that makes a folder `in` of so many small images, three folders deep."""

    def make(count):
        for i in range(count):
            path = tmp_path / "in" / f"{i % 2}" / f"{i % 3}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pillow.write(picture("L", 20, 24, seed=i), format="PNG"))
        return tmp_path / "in"

    return make


def outputs(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.lrk")}


def planned(folder, out):
    return [Job(str(p), str(out / f"{p.stem}.lrk")) for p in sorted(folder.rglob("*.png"))]


# -- processes that die ------------------------------------------------------------------------


def dies(job, settings, *, repeated=False):
    """Die once before image 0 is done, once with image 1 done but not said, always with 2."""
    name = Path(job.input).stem
    if name == "2" or (name == "0" and not repeated):
        os._exit(9)
    outcome = work.compress(job, settings, repeated=repeated)
    if name == "1" and not repeated:
        os._exit(9)
    return outcome


def test_a_process_that_dies_loses_nothing_but_an_image_that_kills_every_one(tree, tmp_path):
    (tmp_path / "out").mkdir()
    jobs = planned(tree(8), tmp_path / "out")
    found = list(pool.run(dies, jobs, SETTINGS, processes=2))
    assert sorted(x.input for x in found) == [job.input for job in jobs]
    (failed,) = [x for x in found if x.error]
    assert Path(failed.input).name == "2.png"
    assert "died" in str(failed.error)
    for job in jobs:
        assert job.input == failed.input or lowrank.open(job.output).ranks == (2,)


def test_a_repeated_job_takes_its_own_output_and_no_other(tree, tmp_path):
    (job,) = planned(tree(1), tmp_path)
    assert work.attempt(work.compress, job, SETTINGS).error is None
    assert work.attempt(work.compress, job, SETTINGS).error is not None
    assert work.attempt(work.compress, job, SETTINGS, repeated=True).error is None
    Path(job.output).write_bytes(b"mine")
    assert "exists" in str(work.attempt(work.compress, job, SETTINGS, repeated=True).error)
    assert Path(job.output).read_bytes() == b"mine"


def test_killed_in_the_middle_and_run_again_every_output_is_whole(tree, tmp_path, cli):
    count = 60
    folder = tree(count)
    cli("compress", folder, "-r", "-k", 9, "-o", "whole").succeeded()
    run = ["compress", str(folder), "-r", "-k", "9", "-o", "out", "-j", "2", "--skip-existing"]
    with subprocess.Popen(
        [sys.executable, "-m", "lowrank", *run],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    ) as process:
        process.stdout.readline()
        process.kill()
        process.stdout.read()  # ends when the last process that holds it has gone
    done = outputs(tmp_path / "out")
    assert 1 <= len(done) < count
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in done}
    cli(*run).succeeded()
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    assert times == {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in done}


# -- what is said ------------------------------------------------------------------------------


def test_json_is_a_line_for_each_file_and_a_summary(tree, cli):
    folder = tree(4)
    (folder / "0" / "bad.png").write_bytes(b"no image")
    cli("compress", folder / "0" / "0", "-k", 2, "-o", "out/0/0").succeeded()
    done = cli("compress", folder, "-r", "-k", 2, "--json", "-o", "out", "--skip-existing")
    done.failed(1)
    *lines, last = [json.loads(line) for line in done.text.splitlines()]
    assert [set(x) for x in lines if "error" in x] == [{"input", "error"}]
    assert sum("channels" in x for x in lines) == 3
    assert sum(x.get("skipped", False) for x in lines) == 1
    summary = last["summary"]
    assert (summary["done"], summary["skipped"], summary["failed"]) == (3, 1, 1)
    assert summary["bytes_before"] == sum(x["source"]["bytes"] for x in lines if "file" in x)
    assert summary["bytes_after"] == sum(x["file"]["bytes"] for x in lines if "file" in x)


def test_json_of_a_folder_is_lines_however_little_it_holds(tree, cli):
    lines = cli("compress", tree(1), "-r", "-k", 2, "--json").succeeded().text.splitlines()
    assert ["channels" in json.loads(line) for line in lines] == [True, False]


def test_lines_come_as_files_are_done(tmp_path):
    """The first line can be read while the second input is still being written."""
    (tmp_path / "a.png").write_bytes(pillow.write(picture("L", 20, 24), format="PNG"))
    os.mkfifo(tmp_path / "b.png")
    with subprocess.Popen(
        [sys.executable, "-m", "lowrank", "compress", "a.png", "b.png", "-k", "2", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert json.loads(process.stdout.readline())["file"]["path"] == "a.lrk"
        (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
        assert len(process.stdout.read().splitlines()) == 2
    assert process.returncode == 0


def test_a_batch_ends_with_a_table_of_80_columns(tree, cli):
    text = cli("compress", tree(3), "-r", "-k", 2, "-o", "out").succeeded().text
    header, _, row, worst = text.splitlines()[-4:]
    assert re.split(r"  +", header) == [
        "files",
        "bytes before",
        "bytes after",
        "ratio",
        "worst error",
    ]
    assert row.split()[0] == "3"
    errors = [float(x) for x in re.findall(r"error (\d+\.\d+)%", text)]
    assert row.split()[-1] == f"{max(errors):.3f}%"
    assert worst.startswith("worst error: ")


def test_a_large_total_fits_80_columns():
    total = tasks.Total(10**6, 10**6, 10**6, 10**12, 10**11, 1.5, "a.png")
    stream = io.StringIO()
    Console(file=stream, width=80).print(tables.total(total))
    assert "1,000,000,000,000" in stream.getvalue()
    assert "…" not in stream.getvalue()


def test_nothing_was_done_is_said_too():
    total = tasks.Total()
    total.add(Outcome("a", "b", error=FormatError("bad")))
    total.add(Outcome("a", "b", skipped=True))
    assert as_json.total_object(total)["summary"]["worst_input"] is None
    stream = io.StringIO()
    Console(file=stream, width=80).print(tables.total(total))
    assert stream.getvalue().split()[-9:-4] == ["0", "0", "0", "-", "-"]
    assert stream.getvalue().endswith("1 skipped, 1 failed\n")


def test_a_batch_is_more_than_one_file(tmp_path):
    assert several(["a", "b"])
    assert several([str(tmp_path)])
    assert not several(["a"])
    assert not several(["-"])


# -- the bar -----------------------------------------------------------------------------------


def test_the_bar_leaves_standard_output_alone(tree, tmp_path):
    with (tmp_path / "log").open("wb") as log:
        drawn = on_a_terminal(
            ["compress", tree(5), "-r", "-k", 2, "-o", "out"], tmp_path, stdout=log
        )
    lines = (tmp_path / "log").read_text().splitlines()
    assert sum(" -> " in line for line in lines) == 5
    assert " -> " not in drawn
    assert "5/5" in drawn


def test_the_bar_goes_while_lines_are_written(tree, tmp_path):
    """A line begins at the left, where nothing is left of the bar, and so does an error."""
    folder = tree(5)
    (folder / "0" / "bad.png").write_bytes(b"no image")
    drawn = on_a_terminal(["compress", folder, "-r", "-k", 2, "-o", "out"], tmp_path, code=1)
    lines = re.findall(
        r"([^\r\n]*)(?:in/\S+ -> |lowrank: error: )", drawn.replace(str(tmp_path), "")
    )
    assert len(lines) == 6
    for before in lines:
        assert before.rpartition("\x1b[2K")[2].replace("\x1b[?25h", "") in ("", "/")
    assert "6/6" in drawn


def test_json_on_a_terminal_is_not_drawn_over(tree, tmp_path):
    drawn = on_a_terminal(["compress", tree(2), "-r", "-k", 2, "-o", "out", "--json"], tmp_path)
    assert "\x1b" not in drawn
    assert len([json.loads(line) for line in drawn.splitlines()]) == 3


def test_no_bar_where_there_is_no_terminal(tree, cli):
    assert cli("compress", tree(2), "-r", "-k", 2, "-o", "out").succeeded().err == ""


def test_the_bar_counts_what_is_done_and_leaves_out_what_is_skipped(monkeypatch):
    """Rate and time left are of the files that take time."""
    stream = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda **_: Console(file=stream, force_terminal=True, width=80)
    )
    outcomes = [Outcome("a", "b", skipped=True)] * 3 + [Outcome("a", "b")] * 2

    def slowly():
        for outcome in outcomes:
            time.sleep(0.06)
            yield outcome

    assert list(progress.watched(slowly(), 5)) == outcomes
    assert "2/2" in stream.getvalue()
    rates = [float(x) for x in re.findall(r"([\d.]+) files/s", stream.getvalue())]
    assert rates
    assert max(rates) < 20  # no file took less than 0.06 s


def test_a_thread_may_run_a_pool(tree, tmp_path):
    """Where no signal handler can be set."""
    (tmp_path / "out").mkdir()
    jobs, found = planned(tree(2), tmp_path / "out"), []
    thread = threading.Thread(
        target=lambda: found.extend(pool.run(work.compress, jobs, SETTINGS, processes=2))
    )
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert [x.error for x in found] == [None, None]
    assert signal.getsignal(signal.SIGINT) == before
