"""Ctrl-C and SIGTERM: exit code 130 or 143, and no temporary file left behind.

An exception that a signal raises while modules load can get lost in them. So a signal
ends the process on the spot, until a command is about to write; from then on it leaves
by way of every `finally`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType


def leave_at_once() -> None:
    """Let a signal end the process where it stands: nothing is being written."""
    _handle(_exit)


def unwind() -> None:
    """Let a signal leave by way of every `finally`: files may be half written."""
    _handle(_raise)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, handler)


def _exit(signum: int, frame: FrameType | None) -> None:
    os._exit(128 + signum)


def _raise(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)
