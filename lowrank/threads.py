"""Work spread over the processor's cores, one BLAS thread to each piece.

Several BLAS threads on one product stall badly when another process keeps a core
busy; several products with one BLAS thread each do not. So the work is cut into
independent pieces, of a size that does not depend on the number of threads, and BLAS
is held to one thread meanwhile: the result is the same to the bit for any number of
cores, and the same in a user's process as on the command line.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple, TypeVar

SMALL = 1 << 16
"""Entries of matrices that are factorised sooner than threads are started."""

T = TypeVar("T")
R = TypeVar("R")

_VARIABLE = "OPENBLAS_NUM_THREADS"
# Modules linked to the OpenBLAS that numpy and scipy bring, each with its own copy.
_BLAS_USERS = ("numpy._core._multiarray_umath", "scipy.linalg._fblas")
_NAMES = (
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads",
)

_KEPT = 8 << 20
"""Bytes of a block that the C library is to keep when it is freed, and not give back."""

_lock = threading.Lock()
_inside = 0
_limit = 0
_before: dict[str, int] = {}
_environment: list[str | None] = []


def cores() -> int:
    """Threads to spread work over: the processors of this process, unless limited."""
    if _limit:
        return _limit
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit(threads: int) -> None:
    """Spread work over so many threads from now on; 0 means as many as processors."""
    global _limit  # noqa: PLW0603 - processes that share a machine are limited as a whole
    _limit = threads


def each(
    work: Callable[[T], R], items: Iterable[T], *, small: bool = False, waits: bool = False
) -> list[R]:
    """Apply `work` to every item, in as many threads as there are cores.

    What is `small` takes less time than to start a thread: it is done one after the other. Where
    work `waits` for a disk about as long as it takes itself, there are twice as many threads.
    """
    items = list(items)
    threads = 1 if small else min(cores() * (2 if waits else 1), len(items))
    with one_blas_thread():
        if threads <= 1:
            return [work(item) for item in items]
        return _together(work, items, threads)


# Not concurrent.futures: six modules more at every start of the command.
def _together(work: Callable[[T], R], items: list[T], count: int) -> list[R]:
    """Results in the order of the items; what fails first ends the others, and is raised."""
    left = deque(range(len(items)))
    results: dict[int, R] = {}
    failures: list[BaseException] = []

    def take() -> int | None:
        try:
            return None if failures else left.popleft()
        except IndexError:
            return None

    def run() -> None:
        try:
            while (number := take()) is not None:
                results[number] = work(items[number])
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(items))]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread; may be nested, and entered by several threads.

    Where numpy's BLAS is another than OpenBLAS nothing is changed: the results are as
    good, but may differ in the last bits with the number of its threads.
    """
    global _inside  # noqa: PLW0603 - the number of BLAS threads is global itself
    with _lock:
        if not _inside:
            # scipy may be loaded only inside, and then reads the environment.
            _environment.append(os.environ.get(_VARIABLE))
            os.environ[_VARIABLE] = "1"
            for name, library in _libraries():
                _before[name] = library.get()
                library.set(1)
            _keep_memory()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _let_go()


def _let_go() -> None:
    for name, library in _libraries():
        library.set(_before.get(name, _before.get(_BLAS_USERS[0], 1)))
    _before.clear()
    value = _environment.pop()
    if value is None:
        del os.environ[_VARIABLE]
    else:
        os.environ[_VARIABLE] = value


def _in_a_fork() -> None:
    """Hold nothing: whoever did so works on in the process that this one is a fork of."""
    global _lock, _inside  # noqa: PLW0603 - they are this process's own
    _lock = threading.Lock()
    if _inside:
        _inside = 0
        _let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_fork)


def _keep_memory() -> None:
    """Have slabs of matrices lie in memory that the process holds, not each in new pages.

    glibc takes from the system anew, in pages to be cleared first, every block that is
    larger than the largest it has seen freed (mallopt(3), M_MMAP_THRESHOLD): a tenth of
    the time of a proof. This one is never written to, and so costs nothing.
    """
    if sys.platform == "linux":
        malloc, free = _memory()
        free(malloc(_KEPT))


@cache
def _memory() -> tuple[Callable[[int], Any], Callable[[Any], Any]]:
    c = ctypes.CDLL(None)
    c.malloc.argtypes, c.malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
    c.free.argtypes = (ctypes.c_void_p,)
    return c.malloc, c.free


def _libraries() -> Iterator[tuple[str, _Blas]]:
    for name in _BLAS_USERS:
        path = getattr(sys.modules.get(name), "__file__", None)
        if path:
            yield name, _blas(path)


class _Blas(NamedTuple):
    """How many threads an OpenBLAS has, and how many it is to have; of another always 1."""

    get: Callable[[], int]
    set: Callable[[int], object]


@cache
def _blas(path: str) -> _Blas:
    """Those of a module, looked up once: that takes as long as to read a trace of a stack."""
    library = ctypes.CDLL(path)
    for name in _NAMES:
        get, set_ = (getattr(library, name.format(verb), None) for verb in ("get", "set"))
        if get is not None and set_ is not None:
            return _Blas(get, set_)
    return _Blas(lambda: 1, lambda _: None)
