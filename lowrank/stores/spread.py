"""One matrix on the workers of a dask.distributed cluster, in passes as of one machine.

Needs the extra `lowrank-image[dask]`. A task is a group of columns: workers read theirs once and
keep them, if all of it fits into the memory of all; what they work with is sent to each, and what
they find is added up here, in the order of the columns. So the file is that of one machine, byte
for byte, whatever the number of workers, as long as their BLAS is the same. A worker that dies
loses nothing: its columns are read again elsewhere. Files must be where all workers see them;
the blocks of a dask array are made where they are.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from lowrank import threads
from lowrank.errors import FileError, LowrankError, UsageError, pip_install
from lowrank.io.matrices import InFile, OfArray
from lowrank.io.wall import one_line
from lowrank.linalg import slabs
from lowrank.linalg.passes import Journal, Passes
from lowrank.linalg.slabs import Work
from lowrank.picture.lazy import ByColumns

if TYPE_CHECKING:
    from distributed import Client, Future

_TIMEOUT = 20  # seconds until a scheduler that does not answer is given up
_POLL = 0.2  # seconds between two looks for workers
_AHEAD = 2  # groups given out for each thread of the cluster
_KEPT = 0.6  # of the memory of all workers, which columns may take
_STEP = 1 << 26  # bytes that a worker reads at a time, of columns that it does not keep
_RETRIES = 5

# What dask raises where it is not given what it can take: no scheduler, a scheme without its
# library or its certificates, an address that is none.
_UNREACHABLE = (OSError, ValueError, TypeError, ImportError, RuntimeError, LookupError)


def check(address: str) -> None:
    """Refuse an empty address, and one where the extra is not installed, by a UsageError."""
    if not address.strip():
        raise UsageError("--dask is empty; give a scheduler's address, such as tcp://host:8786")
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise UsageError(f"--dask needs an extra: {pip_install('dask')}") from None


@contextmanager
def reached(address: str, say: Callable[[str], None] = lambda _: None) -> Iterator[Client]:
    """Reach a cluster that has a worker, or wait for one.

    Raises
    ------
    FileError
        The scheduler cannot be reached.
    """
    from distributed import Client

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # it becomes an error
    with _translated(address):
        found = Client(address, timeout=_TIMEOUT)
    with found as client:
        with _translated(address):
            if not client.nthreads():
                say(f"the scheduler at {address} has no workers yet; waiting for one")
            while not client.nthreads():
                time.sleep(_POLL)
        yield client


@contextmanager
def made(
    dask: str | Client | None, memory: int, journal: Journal | None = None
) -> Iterator[Callable[[ByColumns], Passes]]:
    """What makes passes on a cluster: that of an address or a client, or the one that is in use.

    Without any: what makes them here.
    """
    if isinstance(dask, str):
        check(dask)
        with reached(dask) as client:
            yield lambda columns: Spread(columns, client, memory=memory, journal=journal)
        return
    yield (
        lambda columns: (
            Passes(columns, memory=memory, journal=journal)
            if dask is None
            else Spread(columns, dask, memory=memory, journal=journal)
        )
    )


def in_use(array: Any) -> Client | None:
    """The client that a dask array is computed by; None of any other array, and of none."""
    if not hasattr(array, "__dask_graph__"):
        return None
    try:
        from distributed import get_client
    except ImportError:
        return None
    try:
        return get_client()
    except ValueError:  # there is none
        return None


@contextmanager
def _translated(address: str) -> Iterator[None]:
    try:
        yield
    except _UNREACHABLE as cause:
        raise FileError(
            f"cannot reach a dask scheduler at {address} "
            f"({type(cause).__name__}: {one_line(cause)}); start one with: dask scheduler"
        ) from cause


class Spread(Passes):
    """Passes over a matrix whose columns lie with the workers of a cluster.

    Parameters
    ----------
    columns : ByColumns
        Of a file that all workers see, or of a dask array.
    client : Client
    memory : int
        Bytes that may be taken here; workers have limits of their own.
    journal : Journal, optional

    Raises
    ------
    UsageError
        The columns cannot be read elsewhere.
    """

    def __init__(
        self, columns: ByColumns, client: Client, *, memory: int, journal: Journal | None = None
    ) -> None:
        super().__init__(columns, memory=memory, journal=journal)
        self._client = client
        self._source = columns
        self._held: dict[int, Future[Any]] = {}
        matrix = columns.matrix
        lazy = isinstance(matrix, OfArray) and hasattr(matrix.array, "__dask_graph__")
        if not (lazy or isinstance(matrix, InFile)):
            raise UsageError(
                "--dask takes one stack from a file that all workers see, of samples as they "
                "stand (.npy, TIFF without compression), or from a dask array"
            )
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        room = sum(w.get("memory_limit") or 0 for w in workers)
        size = self.size * self.length * self.dtype.itemsize
        self._keeps = lazy or not room or size <= _KEPT * room

    def _each(
        self, work: Work, groups: Sequence[slice], stage: str
    ) -> Iterator[tuple[slice, list[Any]]]:
        from distributed import CancelledError, KilledWorker

        self._begin(groups, stage)
        # A task and no scattered data: the scheduler can have it made again.
        shared = self._client.submit(_same, work, pure=False, retries=_RETRIES)
        waiting: deque[tuple[slice, Future[list[Any]]]] = deque()
        ahead = _AHEAD * max(sum(self._client.nthreads().values()), 1)
        left = deque(groups)
        try:
            while left or waiting:
                while left and len(waiting) < ahead:
                    group = left.popleft()
                    waiting.append((group, self._given(shared, group)))
                group, future = waiting.popleft()
                found = future.result()
                self._said(stage, group.stop - group.start)
                yield group, found
        except (KilledWorker, CancelledError, OSError) as cause:
            if isinstance(cause, LowrankError):
                raise
            raise FileError(
                f"the cluster gave up ({type(cause).__name__}: {one_line(cause)}); --resume goes "
                "on where it was"
            ) from cause

    def _given(self, shared: Future[Any], group: slice) -> Future[list[Any]]:
        if not self._keeps:
            return self._client.submit(
                _read, shared, self._source, group, pure=False, retries=_RETRIES
            )
        held = self._held.get(group.start)
        if held is None:
            held = self._held[group.start] = self._loaded(group)
        return self._client.submit(_of_held, shared, held, self.size, pure=False, retries=_RETRIES)

    def _loaded(self, group: slice) -> Future[Any]:
        matrix = self._source.matrix
        if isinstance(matrix, InFile):
            return self._client.submit(_load, self._source, group, pure=False, retries=_RETRIES)
        if not isinstance(matrix, OfArray):
            raise UsageError("--dask takes a file or a dask array")
        part, at, first = matrix.part(group, rows=self._source.transposed)
        blocks = self._client.compute(part, retries=_RETRIES)
        return self._client.submit(
            _cut, blocks, at, first, group, self._source.transposed, pure=False, retries=_RETRIES
        )


def _same(work: Work) -> Work:
    return work


def _load(columns: ByColumns, group: slice) -> Any:
    return columns.read(group)


def _cut(block: Any, at: int, first: int, group: slice, transposed: bool) -> Any:
    """Columns of frames that stand in their own axis of a block; or frames, as columns."""
    frames = np.moveaxis(np.asarray(block), at, 0)
    flat = frames.reshape(len(frames), -1)
    if transposed:
        return flat.T
    return flat[:, group.start - first : group.stop - first]


def _of_held(work: Work, raw: Any, size: int) -> list[Any]:
    with threads.one_blas_thread():
        return slabs.of_columns(work, raw, size)


def _read(work: Work, columns: ByColumns, group: slice) -> list[Any]:
    """The same of columns that are read in the course of it."""
    with threads.one_blas_thread():
        state = work.zero(columns.size)
        width = slabs.width(columns.size) * work.at_once
        step = max(_STEP // (columns.size * columns.dtype.itemsize) // width, 1) * width
        for a in range(group.start, group.stop, step):
            raw = columns.read(slice(a, min(a + step, group.stop)))
            for block in slabs.blocks(work, raw, columns.size):
                work.add(state, block)
        return state
