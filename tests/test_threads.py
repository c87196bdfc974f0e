"""The number of BLAS threads is ours while we work, and the user's again afterwards."""

from __future__ import annotations

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


def test_large_matrices_taken_one_after_another_get_one_thread_too():
    code = CODE.rpartition("print")[0] + (
        "import numpy as np\n"
        "from lowrank import linalg\n"
        "from lowrank.linalg import svd\n"
        "from lowrank.stores import growing\n"
        "svd._EXACT_SPECTRUM = 10\n"
        "truncate, seen = linalg.Spectrum.truncate, []\n"
        "def watched(*a, **k):\n"
        "    seen.append(counts())\n"
        "    return truncate(*a, **k)\n"
        "linalg.Spectrum.truncate = watched\n"
        "A = [np.random.default_rng(c).standard_normal((90, 110)) for c in (0, 1)]\n"
        "growing.of_spectra(A, lambda s: (3, 4), certify=False)\n"
        "print(seen, counts())\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if "openblas" not in _blas():
        pytest.skip("numpy's BLAS is not OpenBLAS")
    assert out.stdout.strip() == "[{1}, {1}] {2}"


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
