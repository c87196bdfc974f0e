"""The number of BLAS threads is ours while we work, and the user's again afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
