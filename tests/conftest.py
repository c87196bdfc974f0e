"""What several test modules share: places, pictures and a way to run the command line."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: were BLAS to have several threads in each, or in the processes
    # that they start, these would wait for each other, and wait busily. Before numpy loads.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"

# Before dask loads. Its workers are forks of a process that has loaded what they need; and who
# asks one that has died is not kept waiting for half a minute.
if os.name == "posix":
    os.environ.setdefault("DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD", "forkserver")
os.environ.setdefault("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "4s")

import atexit
import gc
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import chromium
import numpy as np
import pytest
import zygote
from hypothesis import settings

import lowrank
from lowrank.io import pillow
from lowrank.picture import MODES, Picture

# What is written is there when the power fails, says fsync. No test can see that, but half of
# them would wait for the disk: one does that the descriptor is good for. That it is called is
# tested, and processes that are started call the real one.
os.fsync = os.fstat

settings.register_profile("lowrank", deadline=None, derandomize=True)
settings.load_profile("lowrank")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items):
    """Put what a browser shows first: Chromium is started once, and the rest shares the cores."""
    items.sort(key=lambda item: item.path.name not in chromium.MODULES)


def pytest_collection_finish():
    """The tests themselves stay: the collector of garbage need not look at them each time."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Leave Chromium when the next test is none of those that it shows."""
    try:
        return (yield)
    finally:
        if nextitem is None or nextitem.path.name not in chromium.MODULES:
            chromium.leave()


@pytest.fixture(scope="session")
def root():
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, or a skip that says what is missing."""
    return chromium.browser()


@pytest.fixture(scope="session")
def samples(root):
    """The folder of sample images."""
    return root / "sample_images"


@pytest.fixture(scope="session")
def shared(root):
    """A folder of images and corpora that are too large for the repository, or a skip."""
    folder = Path(os.environ.get("LOWRANK_SHARED", root.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set LOWRANK_SHARED to one with images/ and corpora/")
    return folder


@pytest.fixture(scope="session")
def kodak(shared):
    """The Kodak photographs, or a skip."""
    found = sorted((shared / "images").glob("*.png"))
    if not found:
        pytest.skip(f"no photographs in {shared / 'images'}")
    return found


@pytest.fixture(scope="session")
def photo(samples):
    """A colour photograph, read."""
    path = samples / "parrots.png"
    return pillow.read(path.read_bytes(), name=str(path))


@pytest.fixture
def small_png(tmp_path):
    """A colour PNG of 40 x 30 pixels, `in.png` in a folder of its own."""
    path = tmp_path / "in.png"
    path.write_bytes(pillow.write(picture("RGB", 30, 40), format="PNG"))
    return path


@pytest.fixture
def small_lrk(small_png):
    """`in.lrk` beside `in.png`, of rank 6."""
    path = small_png.with_suffix(".lrk")
    lowrank.compress(small_png, rank=6).save(path)
    return path


def picture(mode, height, width, seed=0):
    """Make a picture of any mode: gradients, an edge and a little noise, over its whole range."""
    mode = MODES[mode]
    rng = np.random.default_rng([seed, height, width])
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    channels = []
    for c in range(len(mode.channels)):
        A = 0.4 + 0.3 * np.sin(5 * x * (c + 1) + 3 * y) + 0.3 * ((x - y) > 0.1 * c)
        channels.append(A + rng.normal(0, 0.03, A.shape))
    A = np.stack(channels, axis=2)
    if mode.peak is None:
        return Picture(((A - 0.5) * 1000).astype(np.float32), mode)
    return Picture(np.clip(np.rint(A * mode.peak), 0, mode.peak).astype(mode.dtype), mode)


def files_below(folder):
    return sorted(str(x.relative_to(folder)) for x in folder.rglob("*") if x.is_file())


def strictly(text):
    """Read JSON that holds no NaN and no infinity."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


class Held:
    """Columns of a matrix in memory, as passes read them."""

    def __init__(self, A):
        self._A = A
        self.size, self.length = A.shape
        self.dtype = A.dtype

    def read(self, columns):
        return self._A[:, columns]


class Run:
    """One finished run of the command line; `out` and `err` are bytes and text."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def text(self):
        return self.out.decode()

    def failed(self, code=1):
        """Assert a failure as promised: its code and one line that says what to do."""
        assert self.code == code, (self.code, self.err)
        lines = [x for x in self.err.splitlines() if not x.startswith("lowrank: note: ")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("lowrank: error: ")
        return lines[0]

    def succeeded(self):
        assert self.code == 0, (self.code, self.err)
        return self


@cache
def _zygote():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    one = zygote.Zygote(environment)
    atexit.register(one.close)
    return one


def run_lowrank(*arguments, cwd=None, stdin=b"", environment=None, stdout=None):
    """Run the command line in a process of its own; a traceback is a failed test."""
    arguments = list(map(str, arguments))
    own = {"COLUMNS": "80", "PYTHONPATH": str(ROOT), "LOWRANK_DEBUG": "1", **(environment or {})}
    whole = {**os.environ, **own}
    if stdout is None and zygote.suits(environment or {}):
        code, out, err = _zygote().run(
            arguments,
            cwd=cwd or os.getcwd(),
            environment=whole,
            stdin=stdin,
            timeout=120,
        )
    else:
        done = subprocess.run(
            [sys.executable, "-m", "lowrank", *arguments],
            cwd=cwd,
            input=stdin,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            env=whole,
            timeout=120,
            check=False,
        )
        code, out, err = done.returncode, done.stdout or b"", done.stderr
    err = err.decode()
    assert "Traceback" not in err, err
    assert "Warning" not in err, err
    return Run(code, out, err)


def on_a_terminal(arguments, cwd, *, stdout=None, environment=None, code=0):
    """Run the command line with standard error (and output, unless given) on a terminal."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals here")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lowrank", *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout or slave,
        stderr=slave,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "COLUMNS": "80",
            **(environment or {}),
        },
    )
    os.close(slave)
    drawn = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        drawn += piece
    os.close(master)
    assert process.wait(60) == code, drawn
    return drawn.decode()


@pytest.fixture
def cli(tmp_path):
    """Run the command line in a folder of the test's own."""

    def run(*arguments, **options):
        return run_lowrank(*arguments, **{"cwd": tmp_path, **options})

    def together(runs):
        """Several runs that do not touch each other, two at a time."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda arguments: run(*arguments), runs))

    run.together = together
    return run
