"""The same jobs in several processes of this machine.

A process that dies, most often for want of memory, takes no other file along: the jobs
that were under way are done once more, each alone, and only one that kills its process
again has failed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process

from lowrank import signals, threads
from lowrank.errors import FileError
from lowrank.runs import work
from lowrank.runs.plan import Job
from lowrank.runs.tasks import Outcome, Settings, Worker

_POLL = 0.2  # seconds between two looks at whether a signal came
_AHEAD = 2  # jobs given out for each of several processes
_GRACE = 2  # seconds that a process without a parent has to tidy up


def run(
    worker: Worker, jobs: list[Job], settings: Settings, *, processes: int
) -> Iterator[Outcome]:
    """Run jobs and yield their outcomes as they come, holding few of them at a time.

    Parameters
    ----------
    worker : callable
        `work.compress` or `work.decompress`.
    jobs : list of Job
    settings : Settings
    processes : int
    """
    # The workers write, this process waits: so a signal is only noted, and acted on between
    # two waits. Raised inside one it would leave the pool's locks held for ever.
    with signals.noted() as came:
        waiting = iter(jobs)
        while suspects := (yield from _until_a_death(worker, waiting, settings, processes, came)):
            again = iter(suspects)
            while guilty := (
                yield from _until_a_death(worker, again, settings, 1, came, repeated=True)
            ):
                for job in guilty:
                    error = FileError(
                        f"a worker process died, perhaps for want of memory, with {job.input}"
                    )
                    yield Outcome(job.input, job.output or "", error=error)
    if came:
        raise SystemExit(128 + came[0])


def _until_a_death(
    worker: Worker,
    waiting: Iterator[Job],
    settings: Settings,
    processes: int,
    came: list[int],
    *,
    repeated: bool = False,
) -> Generator[Outcome, None, list[Job]]:
    """Run jobs until all are done, a signal comes or a process dies.

    One process gets one job at a time, so that it is known with which it died; several
    have the next ones at hand.

    Returns
    -------
    list of Job
        Those that were under way when a process died; empty otherwise.
    """
    with signals.held():  # what counts the semaphores is started, a process
        pool = ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=_start_worker
        )
    running: dict[Future[Outcome], Job] = {}
    lost: list[Job] = []
    most = processes if processes == 1 else _AHEAD * processes
    try:
        while not came:
            for job in () if lost else islice(waiting, most - len(running)):
                try:
                    with signals.held():  # a process may be started
                        running[pool.submit(_attempt, worker, job, settings, repeated)] = job
                except BrokenProcessPool:
                    lost.append(job)
                    break
            if not running:
                break
            done, _ = wait(running, timeout=_POLL, return_when=FIRST_COMPLETED)
            for future in done:
                job = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    lost.append(job)
                else:
                    yield future.result()
    finally:
        # An interruption lets the files under way be finished; the rest is not begun.
        pool.shutdown(cancel_futures=True)
    return lost


def _attempt(worker: Worker, job: Job, settings: Settings, repeated: bool) -> Outcome:
    """Run one job; a signal takes back what is half written, and then ends this process.

    Between two jobs a signal ends it on the spot. An exception would be raised wherever this
    process stands, also where it has just taken a lock of the pool, and nobody could take
    that again; of a process that is gone the parent hears.
    """
    try:
        signals.unwind()
        outcome = work.attempt(worker, job, settings, repeated=repeated)
        signals.leave_at_once()
    except SystemExit as left:
        os._exit(left.code if isinstance(left.code, int) else 1)
    return outcome


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and the other processors to the other workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals.leave_at_once()
    threads.limit(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this process when its parent was killed: it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # takes back what is half written
        time.sleep(_GRACE)
        os._exit(1)
