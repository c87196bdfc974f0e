"""Work spread over the processor's cores.

Several BLAS threads on one product stall badly when another process keeps a core
busy; several products with one BLAS thread each do not. So the work is cut into
independent pieces, of a size that does not depend on the number of threads: the
result is the same to the bit for any number of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply `work` to every item, in as many threads as there are cores."""
    items = list(items)
    threads = min(cores(), len(items))
    if threads <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
