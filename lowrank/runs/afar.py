"""Files that lie elsewhere: brought here to be worked on, and what is made of them taken back."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lowrank.errors import LowrankError, UsageError
from lowrank.io import cloud, urls
from lowrank.runs import tasks
from lowrank.runs.plan import Job

if TYPE_CHECKING:
    from lowrank.report import Report


def placed(job: Job) -> Job:
    """The same job; what is made of a file from the web, which takes none, has a place here."""
    if not urls.only_read(job.input) or job.output or job.stem:
        return job
    name = os.path.splitext(cloud.named(job.input))[0]
    return replace(job, stem=os.path.join(os.curdir, name))


def done(
    worker: tasks.Worker, job: Job, settings: tasks.Settings, *, writes: bool = True
) -> tasks.Outcome:
    """Do a job whose input, or output, is a URL: here, in a folder of its own.

    Parameters
    ----------
    worker : Worker
    job : Job
    settings : Settings
    writes : bool
        Something is written, beside what is said.

    Raises
    ------
    FileError
        It cannot be read or written there; or is there already, and may not be replaced.
    UsageError
        A folder of frames is to be written to a store.
    """
    job = placed(job) if writes else job
    target = job.output or job.stem or os.path.splitext(job.input)[0]
    far = writes and urls.is_url(target)
    if far and job.folder is not None:
        raise UsageError(f"-o {job.folder}: frames are written to folders here; name one file")
    if far and job.output:
        if settings.skip_existing and cloud.exists(job.output):
            return tasks.Outcome(job.input, job.output, skipped=True)
        cloud.check_output(job.output, force=settings.force)
    with TemporaryDirectory(prefix="lowrank-") as folder:
        here = job
        shown: list[tuple[str, str]] = []
        if urls.is_url(job.input):
            here = replace(here, input=cloud.fetch(job.input, folder))
            shown.append((here.input, job.input))
        if far:
            made = os.path.join(folder, "made", cloud.named(target))
            os.mkdir(os.path.dirname(made))
            here = replace(here, output=made) if job.output else replace(here, stem=made)
            shown.append((made, target))

        def said(text: str) -> str:
            for path, url in shown:
                text = text.replace(path, url)
            return text

        try:
            outcome = worker(here, settings)
        except LowrankError as error:
            raise type(error)(said(str(error))) from error
        output = said(outcome.output)
        if far and not outcome.skipped:
            cloud.check_output(output, force=settings.force)
            if os.path.isdir(outcome.output):
                cloud.put_folder(output, outcome.output)
            else:
                with open(outcome.output, "rb") as stream:
                    cloud.put(output, stream)
        failed = outcome.error and type(outcome.error)(said(str(outcome.error)))
        return replace(
            outcome, input=job.input, output=output, summary=said(outcome.summary), error=failed,
            notes=tuple(map(said, outcome.notes)), report=_renamed(outcome.report, said),
        )  # fmt: skip


def _renamed(report: Report | None, said: Callable[[str], str]) -> Report | None:
    if report is None:
        return None
    source, file = report.source, report.file
    if source is not None:
        source = replace(source, path=said(source.path))
    if file is not None and file.path is not None:
        file = replace(file, path=said(file.path))
    return replace(report, source=source, file=file)
