"""Where a long piece of work is: said by what works, asked by what shows it.

Whoever works says it in passing, in any thread; nothing is drawn here, and nothing waits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Some(Protocol[T_co]):
    """What can be gone through, and how much it is."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


class Place(NamedTuple):
    """A place in a stage of the work.

    Attributes
    ----------
    stage : str
        What is done: "coding"; "" before anything was said.
    done, total : int
        Of the stage's steps; a total of 0 is not known.
    since : float
        When the stage began, of `time.monotonic`.
    bytes : bool
        The steps are bytes, which have a rate.
    """

    stage: str = ""
    done: int = 0
    total: int = 0
    since: float = 0.0
    bytes: bool = False

    @property
    def rate(self) -> float | None:
        """Bytes a second, of a stage that counts them."""
        passed = time.monotonic() - self.since
        return self.done / passed if self.bytes and self.done and passed > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds that the stage will take, if it goes on as it went; None where nothing tells."""
        if not (0 < self.done < self.total):
            return None
        return (time.monotonic() - self.since) * (self.total - self.done) / self.done


_now = Place()
_part = _inner = ""


def now() -> Place:
    """Where the work is."""
    return _now


def begin(part: str) -> None:
    """Name the part of the work that the stages to come belong to: "try 2"; "" for none."""
    global _part, _inner, _now  # noqa: PLW0603 - there is one terminal
    _part, _inner = part, ""
    _now = Place(part, since=time.monotonic())


def inside(part: str) -> None:
    """Name what the stages to come belong to inside that part: "tile 3 of 6"."""
    global _inner  # noqa: PLW0603
    _inner = part


def at(stage: str, done: int, total: int = 0, *, bytes: bool = False) -> None:
    """Say that so many steps of a stage are done, or so many bytes; the first word begins it."""
    global _now  # noqa: PLW0603
    name = ", ".join(x for x in (_part, _inner, stage) if x)
    before = _now
    new = before.stage != name or done < before.done
    _now = Place(name, done, total, time.monotonic() if new else before.since, bytes)


def steps(stage: str, items: Some[T]) -> Iterator[T]:
    """Pass items by, each of which is a step of a stage."""
    for done, item in enumerate(items):
        at(stage, done, len(items))
        yield item
