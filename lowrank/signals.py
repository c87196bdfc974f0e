"""Ctrl-C, SIGTERM and SIGHUP: exit code 130, 143 or 129, and no temporary file left behind.

An exception that a signal raises while modules load can get lost in them. So a signal
ends the process on the spot, until a command is about to write; from then on it leaves
by way of every `finally`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):  # of a terminal that was closed; not on Windows
    _ENDING.append(signal.SIGHUP)


def leave_at_once() -> None:
    """Let a signal end the process where it stands: nothing is being written."""
    _handle(_exit)


def unwind() -> None:
    """Let a signal leave by way of every `finally`: files may be half written."""
    _handle(_raise)


@contextmanager
def noted() -> Iterator[list[int]]:
    """Only note signals, for code that asks: an exception out of nowhere breaks locks.

    Yields
    ------
    list of int
        Numbers of the signals that came, in order.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # where no handler can be set, and none of ours runs
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    _handle(lambda number, _: came.append(number))
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Let what a terminal sends wait, also in processes that are started meanwhile.

    They inherit it. Until such a process has loaded its modules and can say what a signal shall
    do, an interruption would end it with a traceback; and what keeps count of a pool's semaphores
    knows of Ctrl-C and SIGTERM, but not of SIGHUP.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set(_ENDING) - {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handle(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, handler)


def _exit(signum: int, frame: FrameType | None) -> None:
    os._exit(128 + signum)


def _raise(signum: int, frame: FrameType | None) -> None:
    # A second signal, as of a pool that ends its other workers, must not interrupt what
    # the first one makes them take back.
    _handle(signal.SIG_IGN)
    raise SystemExit(128 + signum)
