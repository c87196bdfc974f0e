"""The same jobs on the workers of a dask.distributed cluster.

Needs the extra `lowrank-image[dask]`, and a file system that the workers share: paths
travel, files do not. A job whose worker dies is run again elsewhere; outputs appear
whole or not at all, so a repeated job does no harm. When worker after worker dies, dask
blames every job that lay at them; those are run again one at a time, and only what kills
its workers alone, twice, has failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from lowrank import threads
from lowrank.errors import FileError, UsageError
from lowrank.io.wall import one_line
from lowrank.runs import work
from lowrank.runs.plan import Job
from lowrank.runs.tasks import Outcome, Settings, Worker
from lowrank.stores import spread

if TYPE_CHECKING:
    from distributed import Client, Future

_AHEAD = 4  # jobs given out for each thread of the cluster
_PATIENCE = 60  # seconds that a job waits for a worker where the last one is gone


def run(
    worker: Worker,
    jobs: list[Job],
    settings: Settings,
    *,
    address: str,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Outcome]:
    """Run jobs on a cluster and yield their outcomes as they come.

    Parameters
    ----------
    worker : callable
        `work.compress` or `work.decompress`.
    jobs : list of Job
    settings : Settings
    address : str
        Of the scheduler: `tcp://host:8786`.
    say : callable
        Is told what takes time.

    Raises
    ------
    UsageError
        There is no address, the extra is not installed, or a job reads standard input or
        writes standard output.
    FileError
        The scheduler cannot be reached.
    """
    spread.check(address)
    from distributed import as_completed

    if any("-" in (job.input, job.output) for job in jobs):
        raise UsageError("--dask works on files; standard input and output stay here")
    # A worker has a working folder of its own.
    waiting = (_absolute(job) for job in jobs)
    with spread.reached(address, say) as client:
        window = _AHEAD * max(sum(client.nthreads().values()), 1)
        names: dict[Any, Job] = {}
        blamed: list[Job] = []

        def submit(job: Job) -> Future[Outcome]:
            future: Future[Outcome] = client.submit(
                _attempt, worker, job, settings, pure=False, retries=2
            )
            names[future.key] = job
            return future

        running = as_completed([submit(job) for job in islice(waiting, window)])
        for future in running:
            if client.status != "running":  # what was given out is lost, the rest would wait
                for job in [*names.values(), *waiting]:
                    yield _failed(job, f"lost the scheduler before {job.input} was done")
                return
            job = names.pop(future.key)
            outcome = _outcome(client, future, job)
            if outcome:
                yield outcome
            else:
                blamed.append(job)
            running.update([submit(job) for job in islice(waiting, 1)])
        for job in blamed:
            # Twice: the first time a worker may die that another job has killed.
            alone = (_outcome(client, submit(job), job) for _ in range(2))
            yield next(filter(None, alone), None) or _failed(
                job, f"the cluster gave up on {job.input}: its workers died with it"
            )


def _outcome(client: Client, future: Future[Outcome], job: Job) -> Outcome | None:
    """Return what became of a job, or None where dask gave up on it for workers that died.

    A result that was lost with its worker is waited for: the scheduler has it made again, if
    there is a worker to make it.
    """
    from distributed import CancelledError, KilledWorker

    failure: BaseException | None = None
    while True:
        try:
            failure = future.exception(timeout=_PATIENCE)
            if failure is None:
                outcome: Outcome = future.result(timeout=_PATIENCE)
                return outcome
        except TimeoutError:  # ours: a job's own comes as `failure`
            if client.status == "running" and client.nthreads():
                continue
            return _failed(job, f"the cluster has no workers left to do {job.input}")
        except (KilledWorker, CancelledError) as cause:
            failure = cause
        if isinstance(failure, KilledWorker):
            return None
        why = one_line(failure)
        return _failed(
            job, f"the cluster failed with {job.input} ({type(failure).__name__}: {why})"
        )


def _failed(job: Job, why: str) -> Outcome:
    return Outcome(job.input, job.output or "", error=FileError(why))


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
