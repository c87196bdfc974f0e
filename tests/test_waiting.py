"""One long job says how far it is: on a terminal only, after a while, and leaves nothing there."""

from __future__ import annotations

import io
import sys
import threading
import time

import numpy as np
import pytest
from conftest import picture

from lowrank import api, console, pace
from lowrank.views import waiting


class Terminal(io.StringIO):
    def __init__(self):
        super().__init__()
        self.drawn = threading.Event()

    def isatty(self):
        return True

    def flush(self):
        self.drawn.set()

    def wait_for_a_line(self):
        """Until the thread that draws has drawn what it now finds, however busy the machine is."""
        for _ in range(2):  # the first may have begun before
            self.drawn.clear()
            assert self.drawn.wait(60)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    monkeypatch.setattr(waiting, "_EVERY", 0.005)


def seen(stream):
    """What stood there, line after line; and what is left."""
    lines = stream.getvalue().split("\r")
    return [line.rstrip() for line in lines if line.strip()], lines[-1]


def test_a_search_says_its_try_and_how_far_its_coding_is(at_once, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    said, at = set(), pace.at

    def at_and_drawn(stage, *rest):
        at(stage, *rest)
        if (place := pace.now().stage) not in said:
            said.add(place)
            sys.stderr.wait_for_a_line()

    monkeypatch.setattr(pace, "at", at_and_drawn)
    with console.waiting(quiet=False):
        api.compress(picture("L", 60, 70).samples, psnr=41)
    lines, left = seen(sys.stderr)
    assert left == ""
    assert any("coding" in line for line in lines)
    assert any("try 2" in line for line in lines)
    assert all(line.isascii() and line.isprintable() and len(line) < 80 for line in lines)
    assert all(line.startswith("lowrank: 0:") for line in lines)


def test_a_solver_and_a_decoder_say_where_they_are(monkeypatch):
    said = set()
    at = pace.at
    monkeypatch.setattr(pace, "at", lambda stage, *x: (said.add(stage), at(stage, *x)))
    A = np.random.default_rng(0).random((600, 700)).astype(np.float32)
    api.compress(A, rank=5)
    for layout in ("patches", "channels"):
        packed = api.compress(
            picture("L", 40, 50).samples, quality=60, layout=layout, store="packed"
        )
        packed.to_array()
    assert said >= {"subspace", "coding", "decoding"}


def test_nothing_is_drawn_in_the_first_seconds_nor_where_nobody_looks(monkeypatch):
    assert waiting.PATIENCE >= 1
    monkeypatch.setattr(waiting, "PATIENCE", 60.0)  # however busy the machine is
    for stream, quiet in ((Terminal(), False), (io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        with console.waiting(quiet=quiet):
            pace.at("coding", 1, 2)
        assert stream.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)
    with console.waiting(quiet=False):
        pass


def test_the_line_goes_whatever_happens(at_once, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())

    def interrupted():
        with console.waiting(quiet=False):
            sys.stderr.wait_for_a_line()
            raise SystemExit(130)

    with pytest.raises(SystemExit):
        interrupted()
    lines, left = seen(sys.stderr)
    assert lines
    assert left == ""


def test_time_left_is_that_of_the_stage():
    pace.begin("try 3")
    assert pace.now().left is None
    pace.at("coding", 0, 4)
    assert pace.now().left is None
    place = pace.Place("coding", 1, 4, time.monotonic() - 60)
    assert place.left == pytest.approx(180, abs=1)
    assert waiting.line(place, 75.0) == "lowrank: 1:15  coding  #####...............  3:00 left"
    assert waiting.line(pace.Place(), 3700.0) == "lowrank: 1:01:40  working"
    assert waiting.line(pace.Place("passes", 7), 5.0) == "lowrank: 0:05  passes  7"
    pace.begin("")
    assert [*pace.steps("coding", [5, 6])] == [5, 6]
    assert pace.now().stage == "coding"
