"""One matrix on a cluster: the bytes of one machine, also where a worker dies."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

import lowrank
from lowrank.linalg import slabs
from lowrank.runs import large, tasks
from lowrank.runs.plan import Job
from lowrank.targets import Target

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(3)
    A = (rng.random((150, 12)) * 0.7 ** np.arange(12)) @ rng.random((12, 28000)) * 900
    return (A + 9 * rng.random(A.shape)).astype(np.uint16).reshape(150, 140, 200)


def cluster(workers):
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None,
        host="127.0.0.1",
    )  # fmt: skip


def compressed(path, out, address=None):
    settings = tasks.Compressing(
        target=Target("rank", 5.0), memory=1 << 28, force=True, spread=address
    )
    assert large.compress(Job(str(path), str(out)), settings).error is None
    return out.read_bytes()


def test_four_workers_write_the_file_of_one_machine(frames, tmp_path):
    assert len(slabs.groups(150, 28000)) > 3
    path = tmp_path / "a.npy"
    np.save(path, frames)
    local = compressed(path, tmp_path / "local.lrk")
    array = pytest.importorskip("dask.array").from_array(frames, chunks=(50, 30, 200))
    with cluster(4) as running, distributed.Client(running) as client:
        assert compressed(path, tmp_path / "far.lrk", running.scheduler_address) == local
        stack = lowrank.compress(array, stack=True, rank=5, memory="300M")
        assert stack.to_bytes() == local
        dying = threading.Thread(target=_kill_one, args=(client,))
        dying.start()
        for _ in range(3):
            again = compressed(path, tmp_path / "far.lrk", running.scheduler_address)
            assert again == local
        dying.join()


def _kill_one(client):
    time.sleep(0.3)
    pids = client.run(os.getpid)
    os.kill(next(iter(pids.values())), signal.SIGKILL)


def test_an_empty_address_is_refused(frames, cli, tmp_path):
    np.save(tmp_path / "a.npy", frames)
    where = ("a.npy", "-k", "3", "--memory", "1G", "--dask", " ")
    assert "--dask is empty" in cli("compress", *where).failed(2)
    assert not (tmp_path / "a.lrk").exists()
