"""The same files from a cluster as from this process; a dead worker loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowrank.errors import FileError
from lowrank.runs import cluster as ours
from lowrank.runs import tasks, work
from lowrank.runs.plan import Job
from lowrank.stores import spread
from lowrank.targets import Target

distributed = pytest.importorskip(
    "distributed", reason="the extra lowrank-image[dask] is not installed"
)

# dask itself warns of what is none of our business.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes on this machine."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        host="127.0.0.1",
    ) as cluster:
        yield cluster


@pytest.fixture
def tree(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / "in" / f"{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        A = rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)
        Image.fromarray(A).save(folder / f"{i}.png")
    (tmp_path / "in" / "0" / "bad.png").write_bytes(b"no image")
    return tmp_path


def lowrank(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "lowrank", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.lrk")}


def test_a_cluster_writes_the_same_bytes_and_reports_the_bad_file(cluster, tree):
    address = cluster.scheduler_address
    here = lowrank("compress", tree / "in", "-r", "-o", tree / "here", "-k", 5)
    there = lowrank("compress", tree / "in", "-r", "-o", tree / "there", "-k", 5, "--dask", address)
    assert here.returncode == there.returncode == 1  # the bad one
    assert "bad.png" in there.stderr
    assert len(files_of(tree / "here")) == 12
    assert files_of(tree / "here") == files_of(tree / "there")


def dies(job, settings, *, repeated=False):
    """Die once before image 0 is done, once with 1 done but not said, always with 2."""
    name, died = Path(job.input).stem, Path(f"{job.output}.died")
    if name == "2" or (name == "0" and not died.exists()):
        died.touch()
        os._exit(9)
    outcome = work.compress(job, settings, repeated=repeated)
    if name == "1" and not died.exists():
        died.touch()
        os._exit(9)
    return outcome


@pytest.mark.parametrize("allowed", [3, 0], ids=["dask's default", "blamed at once"])
def test_a_worker_that_dies_loses_nothing(cluster, tree, monkeypatch, allowed):
    """Not even the jobs that lay at a worker with one that kills all it meets."""
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", allowed)
    (tree / "out").mkdir()
    images = sorted((tree / "in").rglob("[0-9]*.png"))
    if allowed:
        images = [path for path in images if path.name != "2.png"]
    jobs = [Job(str(path), str(tree / "out" / f"{path.stem}.lrk")) for path in images]
    settings = tasks.Compressing(target=Target("rank", 5))
    found = list(ours.run(dies, jobs, settings, address=cluster.scheduler_address))
    assert sorted(x.input for x in found) == sorted(job.input for job in jobs)
    assert [Path(x.input).name for x in found if x.error] == ([] if allowed else ["2.png"])
    assert len(files_of(tree / "out")) == 11


def test_a_scheduler_that_is_not_there_is_one_line(tree, monkeypatch):
    monkeypatch.setattr(spread, "_TIMEOUT", 1)
    with pytest.raises(FileError, match="cannot reach a dask scheduler"):
        list(
            ours.run(
                work.compress,
                [Job("a.png", "a.lrk")],
                tasks.Compressing(),
                address="tcp://127.0.0.1:9",
            )
        )


class Waiting:
    """A job's future that is not done in time, the first few times."""

    def __init__(self, times, outcome):
        self.times, self.outcome = times, outcome

    def exception(self, timeout=None):
        assert timeout
        self.times -= 1
        if self.times >= 0:
            raise TimeoutError

    def result(self, timeout=None):
        return self.outcome


class Served:
    """A client of a cluster with so many workers."""

    status = "running"

    def __init__(self, workers):
        self.workers = workers

    def nthreads(self):
        return dict.fromkeys(range(self.workers), 1)


def test_a_job_is_waited_for_as_long_as_there_is_a_worker_to_do_it():
    job, outcome = Job("a.png", "a.lrk"), tasks.Outcome("a.png", "a.lrk")
    assert ours._outcome(Served(1), Waiting(5, outcome), job) is outcome
    lost = ours._outcome(Served(0), Waiting(1, outcome), job)
    assert "no workers left to do a.png" in str(lost.error)
