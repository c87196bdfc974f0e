"""The same files from a cluster as from this process; a dead worker loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_a_worker_that_dies_loses_nothing(cluster, tree):
    (tree / "in" / "0" / "bad.png").unlink()

    def kill() -> None:
        time.sleep(1.5)
        with distributed.Client(cluster.scheduler_address) as client:
            pids = client.run(os.getpid)
        os.kill(next(iter(pids.values())), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    address = cluster.scheduler_address
    out = lowrank("compress", tree / "in", "-r", "-o", tree / "out", "-k", 40, "--dask", address)
    killer.join()
    assert out.returncode == 0, out.stderr
    assert len(files_of(tree / "out")) == 12
    assert not list((tree / "out").rglob("*.tmp"))


def test_a_scheduler_that_is_not_there_is_one_line(tree, monkeypatch):
    from lowrank import cluster as ours

    monkeypatch.setattr(ours, "_TIMEOUT", 1)
    from lowrank import batch
    from lowrank.errors import FileError
    from lowrank.jobs import Job

    with pytest.raises(FileError, match="cannot reach a dask scheduler"):
        list(
            ours.run(
                batch.compress,
                [Job("a.png", "a.lrk")],
                batch.Settings(),
                address="tcp://127.0.0.1:9",
            )
        )
