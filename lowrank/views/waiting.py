"""One line on standard error while a single long job runs: what, how far, how much longer.

It comes after two seconds and needs no library, no colour and no escape sequence: any terminal
will do, and a run that is ended on the spot leaves none in a strange state.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from lowrank import pace

PATIENCE = 2.0
"""Seconds before the line is drawn."""
_EVERY = 0.2
_LENGTH = 20  # of the bar
_MARK, _REST = "#", "."
_WIDTH = 79


@contextmanager
def shown(stream: TextIO) -> Iterator[None]:
    """Draw the line while the body runs; it is gone afterwards.

    Parameters
    ----------
    stream : text stream
        A terminal.
    """
    done = threading.Event()
    began = time.monotonic()
    pace.begin("")

    def draw() -> None:
        if done.wait(PATIENCE):
            return
        while True:
            stream.write("\r" + line(pace.now(), time.monotonic() - began).ljust(_WIDTH))
            stream.flush()
            if done.wait(_EVERY):
                break
        stream.write("\r" + " " * _WIDTH + "\r")
        stream.flush()

    drawing = threading.Thread(target=draw, daemon=True)
    drawing.start()
    try:
        yield
    finally:
        done.set()
        drawing.join()


def line(place: pace.Place, elapsed: float) -> str:
    """What the line says: ASCII, for every terminal, and less than 80 columns."""
    words = [f"lowrank: {clock(elapsed)}", place.stage or "working"]
    if place.total > 0:
        full = min(place.done, place.total) * _LENGTH // place.total
        words.append(_MARK * full + _REST * (_LENGTH - full))
    elif place.done and not place.bytes:
        words.append(str(place.done))
    if place.rate is not None:
        words.append(f"{place.rate / 1e6:,.0f} MB/s")
    if place.left is not None:
        words.append(f"{clock(place.left)} left")
    return "  ".join(words)[:_WIDTH]


def clock(seconds: float) -> str:
    """Minutes and seconds, hours where there are some."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
