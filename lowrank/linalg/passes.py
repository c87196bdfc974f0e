"""Passes over a matrix that stays where it is: read by columns, in threads, added up in order.

How much is read at a time follows from the memory that may be taken, and changes no result; see
`slabs` for why. What passes gave may be kept in a journal: whoever starts again with it goes on
where the last one was killed, and comes to the same bits, since all that is computed between
passes is computed again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from lowrank import pace, threads
from lowrank.linalg import slabs
from lowrank.linalg.slabs import Columns, Work

_PIECE = 1 << 26  # bytes read at a time: more only where runs of a row would be short
_HERE_AND_THERE = 4  # blocks
_RUN = 1 << 14  # bytes of a row, which a disk finds and reads in about the same time
_SHARE = 3  # of the memory, of a piece and the floats that a thread makes of its blocks


class Journal(Protocol):
    """What is kept of passes, for whoever starts again."""

    def found(self, number: int) -> tuple[int, list[Any]] | None:
        """Groups of a pass that are done, and what they gave; None where nothing is known."""

    def keep(self, number: int, done: int, state: list[Any], *, last: bool) -> None:
        """Keep what a pass has given so far, if it is time to; the `last` time in any case."""


class Passes:
    """A matrix, and what computes over all of its columns.

    Parameters
    ----------
    columns : Columns
    memory : int
        Bytes that may be taken in all.
    journal : Journal, optional

    Attributes
    ----------
    size, length : int
        Rows and columns.
    dtype : dtype
        Of what is read.
    memory : int
    number : int
        Passes so far.
    groups : list of slice
        Columns that are added up together.
    """

    def __init__(self, columns: Columns, *, memory: int, journal: Journal | None = None) -> None:
        self._columns = columns
        self._journal = journal
        self.size, self.length, self.dtype = columns.size, columns.length, columns.dtype
        self.memory = memory
        self.number = 0
        self.groups = slabs.groups(self.size, self.length)
        self._lock = threading.Lock()
        self._read = 0

    def some_blocks(self) -> Iterator[Any]:
        """A few blocks of columns, here and there, as they are."""
        wide = slabs.width(self.size)
        for group in self.groups[:: max(len(self.groups) // _HERE_AND_THERE, 1)]:
            yield self._columns.read(slice(group.start, min(group.start + wide, group.stop)))

    def total(self, work: Work, *, of: int = 0) -> list[Any]:
        """Compute a work of all columns.

        Parameters
        ----------
        work : Work
        of : int
            Passes that there will be in all, at a guess, for whoever waits; 0 says nothing.
        """
        number = self.number
        self.number += 1
        done, state = 0, None
        if self._journal is not None and (found := self._journal.found(number)):
            done, state = found
        left = self.groups[done:]
        for _, more in self._each(work, left, self._stage(of)) if left else ():
            state = more if state is None else work.join(state, more)
            done += 1
            if self._journal is not None:
                self._journal.keep(number, done, state, last=done == len(self.groups))
        return state or []

    def each(self, work: Work) -> Iterator[tuple[slice, list[Any]]]:
        """Compute a work of each group of columns, from left to right."""
        self.number += 1
        return self._each(work, self.groups, self._stage(self.number))

    def _stage(self, of: int) -> str:
        return f"pass {self.number}" + (f" of about {max(of, self.number)}" if of else "")

    def _each(
        self, work: Work, groups: Sequence[slice], stage: str
    ) -> Iterator[tuple[slice, list[Any]]]:
        self._begin(groups, stage)
        over = threading.Event()  # who is interrupted waits for a piece, not for groups of them
        if self.size * self.length < threads.SMALL:
            for group in groups:
                yield group, self._of_group(work, group, stage, over)
            return
        at_once = threads.cores()
        with threads.one_blas_thread(), ThreadPoolExecutor(at_once) as pool:
            waiting: deque[tuple[slice, Future[list[Any]]]] = deque()
            try:
                for group in groups:
                    waiting.append((group, pool.submit(self._of_group, work, group, stage, over)))
                    if len(waiting) > at_once:
                        columns, future = waiting.popleft()
                        yield columns, future.result()
                while waiting:
                    columns, future = waiting.popleft()
                    yield columns, future.result()
            finally:
                over.set()
                for _, future in waiting:
                    future.cancel()

    def _begin(self, groups: Sequence[slice], stage: str) -> None:
        self._read = self.length - sum(g.stop - g.start for g in groups)
        self._said(stage, 0)

    def _of_group(self, work: Work, group: slice, stage: str, over: threading.Event) -> list[Any]:
        state = work.zero(self.size)
        step = self.step(work.at_once)
        for a in range(group.start, group.stop, step):
            if over.is_set():
                break
            piece = slice(a, min(a + step, group.stop))
            for block in slabs.blocks(work, self._columns.read(piece), self.size):
                work.add(state, block)
            self._said(stage, piece.stop - piece.start)
        return state

    def step(self, at_once: int) -> int:
        """Columns that are read at a time: whole blocks, as many as the memory allows."""
        column = self.size * self.dtype.itemsize
        most = self.memory // (_SHARE * threads.cores())
        wanted = min(max(_PIECE, column * (_RUN // self.dtype.itemsize)), most)
        width = slabs.width(self.size) * at_once
        return max(wanted // column // width * width, width)

    def _said(self, stage: str, columns: int) -> None:
        with self._lock:
            self._read += columns
            column = self.size * self.dtype.itemsize
            pace.at(stage, self._read * column, self.length * column, bytes=True)
