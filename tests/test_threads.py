"""The number of BLAS threads is ours while we work, and the user's again afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from lowrank import threads

pytest.importorskip("threadpoolctl", reason="threadpoolctl reads the number of BLAS threads")

CODE = """
import threadpoolctl, numpy, scipy.linalg
from lowrank import threads
def counts():
    return {x["num_threads"] for x in threadpoolctl.threadpool_info() if x["user_api"] == "blas"}
threadpoolctl.threadpool_limits(2, "blas")
print(counts(), threads.each(lambda _: counts(), [1, 2]), counts())
"""


def test_blas_has_one_thread_inside_and_its_own_number_outside():
    out = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    if "openblas" not in _blas():
        pytest.skip("numpy's BLAS is not OpenBLAS")
    assert out.stdout.strip() == "{2} [{1}, {1}] {2}"


def _blas():
    import numpy as np

    return np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]


def test_scipy_loaded_inside_gets_one_thread_then_as_many_as_numpy():
    code = CODE.replace(", scipy.linalg", "").replace(
        "lambda _: counts()", "lambda _: (__import__('scipy.linalg'), counts())[1]"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if "openblas" not in _blas():
        pytest.skip("numpy's BLAS is not OpenBLAS")
    assert out.stdout.strip() == "{2} [{1}, {1}] {2}"


WORK = """
import numpy as np, lowrank
from importlib import import_module
from lowrank import linalg
seen = []
def watch(room, name):
    module = import_module("lowrank." + room)
    work = getattr(module, name)
    def watched(*a, **k):
        seen.append((room, *counts()))
        return work(*a, **k)
    setattr(module, name, watched)
watch("stores.truncation", "encode")
watch("stores.packed.dial", "encode")
for layout in ("patches", "channels", "frames"):
    watch(f"stores.packed.{layout}.codec", "decode")
watch("stores.packed.patches.codec", "factors")
watch("stores.passes", "leading")
watch("report.measure", "matrices")
watch("linalg.streamed", "scanned")
A = np.random.default_rng(0).integers(0, 256, (7, 40, 48), np.uint8)
np.save("a.npy", A)
for image, wish in ((A[0], {"rank": 3}), (A[0], {"quality": 60}), (A[0], {"psnr": 30}),
                    (A[0], {"rank": 3, "layout": "channels", "store": "packed"})):
    made = lowrank.compress(image, **wish)
    made.report(image), made.to_array()
made = lowrank.compress(A, stack=True, psnr=30)
made.report(A), made.to_array()
made = lowrank.compress("a.npy", stack=True, rank=2, memory="1G")
made.report("a.npy")
print({room for room, *_ in seen} >= {
    "stores.packed.dial", "stores.packed.patches.codec", "stores.packed.channels.codec",
    "stores.packed.frames.codec", "stores.passes", "report.measure"})
print({x for _, *x in seen for x in x}, counts())
"""


def test_whatever_the_library_does_has_one_thread(tmp_path):
    """Several stall where another process keeps a core busy, and give other last bits."""
    out = subprocess.run(
        [sys.executable, "-c", CODE.rpartition("print")[0] + WORK],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    if "openblas" not in _blas():
        pytest.skip("numpy's BLAS is not OpenBLAS")
    assert out.stdout.split("\n")[:2] == ["True", "{1} {2}"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_of_a_process_that_works_has_its_own_number_again():
    """It may be made by a thread of the user's, while lowrank works in another."""
    code = CODE.rpartition("print")[0] + (
        "import os\n"
        "with threads.one_blas_thread(), threads._lock:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        before, inside = counts(), threads.each(lambda _: counts(), [1])\n"
        "        print(before, inside, counts(), flush=True)\n"
        "        os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(counts())\n"
    )
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    if "openblas" not in _blas():
        pytest.skip("numpy's BLAS is not OpenBLAS")
    assert out.stdout.split("\n")[:2] == ["{2} [{1}] {2}", "{2}"]


def test_results_stand_in_order_and_a_failure_ends_the_others(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    assert threads.each(lambda x: x * x, range(50)) == [x * x for x in range(50)]
    began, before = [], threading.active_count()

    def work(number):
        began.append(number)
        if number == 4:
            raise ZeroDivisionError(number)
        if number > 4:
            deadline.wait(0.01)
        return number

    deadline = threading.Event()
    with pytest.raises(ZeroDivisionError, match="4"):
        threads.each(work, range(1000))
    assert len(began) < 1000
    assert threading.active_count() == before


def test_work_that_waits_has_twice_as_many_threads(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    for waits, at_once in ((False, 2), (True, 4)):
        together = threading.Barrier(at_once)

        def work(i, together=together):
            together.wait(30)  # passed by so many only together
            return i, threading.get_ident()

        found = threads.each(work, range(3 * at_once), waits=waits)
        assert [i for i, _ in found] == list(range(3 * at_once))
        assert len({thread for _, thread in found}) == at_once
