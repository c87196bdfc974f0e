"""The same jobs on the workers of a dask.distributed cluster.

Needs the extra `lowrank-image[dask]`, and a file system that the workers share: paths
travel, files do not. A job whose worker dies is run again elsewhere; outputs appear
whole or not at all, so a repeated job does no harm. When worker after worker dies, dask
blames every job that lay at them; those are run again one at a time, and only what kills
its workers alone has failed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from lowrank import threads
from lowrank.errors import FileError, UsageError
from lowrank.runs import work
from lowrank.runs.plan import Job
from lowrank.runs.work import Outcome, Settings, Worker

if TYPE_CHECKING:
    from distributed import Future

_TIMEOUT = 20  # seconds until a scheduler that does not answer is given up
_AHEAD = 4  # jobs given out for each thread of the cluster


def run(worker: Worker, jobs: list[Job], settings: Settings, *, address: str) -> Iterator[Outcome]:
    """Run jobs on a cluster and yield their outcomes as they come.

    Parameters
    ----------
    worker : callable
        `work.compress` or `work.decompress`.
    jobs : list of Job
    settings : Settings
    address : str
        Of the scheduler: `tcp://host:8786`.

    Raises
    ------
    UsageError
        The extra is not installed, or a job reads standard input or writes standard output.
    FileError
        The scheduler cannot be reached.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise UsageError("--dask needs an extra: pip install 'lowrank-image[dask]'") from None
    if any("-" in (job.input, job.output) for job in jobs):
        raise UsageError("--dask works on files; standard input and output stay here")
    # A worker has a working folder of its own.
    waiting = (_absolute(job) for job in jobs)
    try:
        client = Client(address, timeout=_TIMEOUT)
    except (OSError, ValueError) as cause:
        raise FileError(
            f"cannot reach a dask scheduler at {address} ({type(cause).__name__}); "
            "start one with: dask scheduler"
        ) from cause
    with client:
        window = _AHEAD * max(sum(client.nthreads().values()), 1)
        names: dict[Any, Job] = {}
        blamed: list[Job] = []

        def submit(job: Job) -> Future[Outcome]:
            future = client.submit(_attempt, worker, job, settings, pure=False, retries=2)
            names[future.key] = job
            return future

        running = as_completed([submit(job) for job in islice(waiting, window)])
        for future in running:
            job = names.pop(future.key)
            outcome = _outcome(future, job)
            if outcome:
                yield outcome
            else:
                blamed.append(job)
            running.update([submit(job) for job in islice(waiting, 1)])
        for job in blamed:
            error = FileError(f"the cluster gave up on {job.input}: its workers died with it")
            yield _outcome(submit(job), job) or Outcome(job.input, job.output or "", error=error)


def _outcome(future: Future[Outcome], job: Job) -> Outcome | None:
    """Return what became of a job, or None where dask gave up on it for workers that died.

    A result that was lost with its worker is waited for: the scheduler has it made again.
    """
    from distributed import CancelledError, KilledWorker

    failure = future.exception()
    if failure is None:
        try:
            outcome: Outcome = future.result()
        except (KilledWorker, CancelledError) as cause:
            failure = cause
        else:
            return outcome
    if isinstance(failure, KilledWorker):
        return None
    error = FileError(f"the cluster failed with {job.input} ({type(failure).__name__}: {failure})")
    return Outcome(job.input, job.output or "", error=error)


def _attempt(worker: Worker, job: Job, settings: Settings) -> Outcome:
    threads.limit(1)  # the cluster's workers share the machine among themselves
    # Whether a worker died with this very job, nobody says.
    return work.attempt(worker, job, settings, repeated=True)


def _absolute(job: Job) -> Job:
    return replace(
        job,
        input=os.path.abspath(job.input),
        output=job.output and os.path.abspath(job.output),
        stem=job.stem and os.path.abspath(job.stem),
    )
