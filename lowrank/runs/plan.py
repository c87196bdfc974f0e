"""Which files to work on, and where their outputs go."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lowrank import files
from lowrank.errors import FileError, UsageError
from lowrank.io import folders, urls
from lowrank.io.formats import ZARR

_NO_SUFFIX = "without suffix"
_KINDS = 8  # of files passed over, in a line


@dataclass(frozen=True)
class Job:
    """One input and where its output goes.

    Attributes
    ----------
    input : str
        A path, or `-`.
    output : str or None
        A path, or `-`; None leaves the suffix to the content.
    stem : str or None
        Path of the output but for its suffix, below a folder that is made when needed;
        None puts the output beside the input.
    folder : str or None
        The folder that the one output was asked for in: a stack fills it with its frames.
    frames : tuple of str
        Pictures that are one stack; `input` is what they are called together.
    """

    input: str
    output: str | None = None
    stem: str | None = None
    folder: str | None = None
    frames: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """What it is made from: files, URLs, `-`."""
        return self.frames or (self.input,)

    @property
    def afar(self) -> bool:
        """Whether it reads or writes elsewhere."""
        return any(map(urls.is_url, (self.input, self.output or "", self.stem or "")))

    def place(self, suffix: str) -> str:
        """Return the output's path, given what its suffix would be."""
        return self.output or (self.stem or os.path.splitext(self.input)[0]) + suffix


@dataclass
class Plan:
    """Jobs, and what a folder holds beside them: nothing is passed over in silence.

    Attributes
    ----------
    jobs : list of Job
    many : bool
        They are a batch, however few.
    passed : Counter of str
        How many files were passed over, by suffix or kind.
    notes : list of (str, str)
        A path, and what should be known of it.
    failed : list of (str, FileError)
        A folder, and why nothing in it is worked on.
    """

    jobs: list[Job] = field(default_factory=list)
    many: bool = False
    passed: Counter[str] = field(default_factory=Counter)
    notes: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, FileError]] = field(default_factory=list)


def several(inputs: list[str]) -> bool:
    """Whether inputs are a batch: more than one, or a folder, however much it holds."""
    return len(inputs) > 1 or any(name != "-" and _is_folder(name) for name in inputs)


def _is_folder(name: str) -> bool:
    """Whether a path is a folder of files; an array of zarr is one thing."""
    return os.path.isdir(name) and not _bare(name).lower().endswith(ZARR)


def _bare(name: str) -> str:
    """The name of an array of zarr without what shells put behind that of a folder."""
    bare = name.rstrip("/" + os.sep)
    return bare if bare.lower().endswith(ZARR) else name


def of(
    inputs: list[str],
    output: str | None,
    *,
    recursive: bool,
    suffixes: frozenset[str],
    made: tuple[str, ...],
) -> Plan:
    """Pair every input with its output.

    Parameters
    ----------
    inputs : list of str
        Files, folders, or `-` for standard input.
    output : str or None
        A file for one file, a folder for more; `-` is standard output.
    recursive : bool
        Descend into folders, whose tree is kept below `output`.
    suffixes : frozenset of str
        Which files of a folder to take; where that of zarr is one, its arrays, too.
    made : tuple of str
        Suffixes that outputs may have, the usual one first.

    Raises
    ------
    UsageError
        The request is ambiguous, or two inputs claim one output.
    FileError
        There is nothing to do.
    """
    inputs, output = list(dict.fromkeys(map(_bare, inputs))), output and _bare(output)
    many = several(inputs)
    output = _checked(inputs, output, many=many, suffixes=suffixes, made=made)
    one = output is not None and output.lower().endswith(ZARR)
    is_folder = many or (output and (os.path.isdir(output) or output.endswith(os.sep)) and not one)
    nowhere = output == os.devnull
    into = output if output and is_folder and not nowhere else None
    plan = Plan(many=many)
    for name in inputs:
        if name == "-":
            plan.jobs.append(Job("-", output or "-"))
        elif _is_folder(name):
            for path in _found(name, plan, recursive=recursive, suffixes=suffixes):
                plan.jobs.append(_placed(path, into, os.path.relpath(path, name)))
        elif into:
            job = _placed(name, into, os.path.basename(name))
            plan.jobs.append(job if many else replace(job, folder=into))
        else:
            if not output and _nameless(name):
                raise UsageError(f"{name} is no name to make another from; give -o a file")
            plan.jobs.append(Job(name, output))
    if nowhere:
        plan.jobs = [Job(job.input, output) for job in plan.jobs]
    elif many:
        plan.jobs = _apart(list(dict.fromkeys(plan.jobs)))
    if not plan.jobs and plan.failed:
        raise plan.failed[0][1]
    return plan


def stacked(
    inputs: list[str], output: str | None, *, recursive: bool, suffixes: frozenset[str]
) -> Plan | None:
    """One job of all pictures, as the frames of one stack; None of a single file.

    Raises
    ------
    UsageError
        Several files, and no name for what is made of them.
    FileError
        A folder holds no pictures.
    """
    if not several(inputs):  # a picture that is given twice is two frames
        return None
    _check_alone(inputs)
    stem = None
    if output and output != "-" and (os.path.isdir(output) or output.endswith(os.sep)):
        stem = os.path.join(output, os.path.basename(os.path.normpath(inputs[0])))
    if output is None and len(inputs) > 1:
        raise UsageError("several images become one stack; give it a name with -o")
    plan = Plan()
    paths: list[str] = []
    for name in inputs:
        folder = _is_folder(name)
        paths += _found(name, plan, recursive=recursive, suffixes=suffixes) if folder else [name]
    if plan.failed:
        raise plan.failed[0][1]
    name = inputs[0] if len(inputs) == 1 else os.path.commonpath(inputs) or inputs[0]
    output = None if stem else output or f"{os.path.normpath(inputs[0])}.lrk"
    plan.jobs.append(Job(name, output, stem, frames=tuple(paths)))
    if there := counted(plan.passed):  # of one job nothing is summed up
        plan.notes.append((name, f"passed over: {there}"))
    return plan


def to_read(inputs: list[str], *, recursive: bool, suffixes: frozenset[str]) -> Plan:
    """Plan files that are only read: each once, its `stem` its place below the folder given.

    Hidden ones, too: an archive may hold some, and its manifest list them.

    Raises
    ------
    UsageError
        Standard input is one of several.
    FileError
        There is nothing to do.
    """
    inputs = list(dict.fromkeys(inputs))
    plan = Plan(many=several(inputs))
    if plan.many:
        _check_alone(inputs)
    found: dict[str, Job] = {}
    for name in inputs:
        if name != "-" and os.path.isdir(name):
            for path in _found(name, plan, recursive=recursive, suffixes=suffixes, hidden=True):
                stem = os.path.splitext(os.path.relpath(path, name))[0]
                found.setdefault(os.path.normpath(path), Job(path, stem=stem))
        else:
            found.setdefault(name, Job(name))
    plan.jobs = list(found.values())
    if not plan.jobs and plan.failed:
        raise plan.failed[0][1]
    return plan


def _checked(
    inputs: list[str],
    output: str | None,
    *,
    many: bool,
    suffixes: frozenset[str],
    made: tuple[str, ...],
) -> str | None:
    """The output, which is `-` by whatever name standard output is called; or why it cannot be."""
    if output == "":
        raise UsageError("-o is empty; give it a file or a folder")
    if many:
        _check_alone(inputs)
    last = inputs[-1]
    if output is None and len(inputs) > 1 and not os.path.lexists(last):
        there = len(inputs) == 2 and os.path.splitext(last)[1].lower() in made
        if there or last.endswith(os.sep):
            raise UsageError(f"{last} does not exist; did you mean -o {last}?")
    if output is None or output == os.devnull:
        return output
    if output == "-" or files.is_standard_output(output):
        if many:
            raise UsageError("several inputs cannot share standard output; give -o a folder")
        return "-"
    if many and os.path.exists(output) and not os.path.isdir(output):
        raise UsageError(f"several inputs need a folder, and {output} is a file; give -o another")
    stem, suffix = os.path.splitext(output)
    if many and suffix.lower() in suffixes.union(made) and not os.path.isdir(output):
        other = ", or --stack for one stack" if ".lrk" in made else ""
        raise UsageError(
            f"several inputs need a folder, and -o {output} names a file; give -o {stem}/{other}"
        )
    if not many and suffix.lower() in suffixes.difference(made) and not os.path.isdir(output):
        raise UsageError(
            f"-o {output} names what is read here, not what is written; give -o {stem}{made[0]}"
        )
    return output


def _check_alone(inputs: list[str]) -> None:
    """Refuse standard input among several inputs."""
    if "-" in inputs:
        raise UsageError("standard input goes alone; leave out the other inputs")


def _nameless(name: str) -> bool:
    """Whether a path is a stream of the system's, such as /dev/stdin, and not a name."""
    if os.path.splitext(name)[1] or not os.path.exists(name):
        return False
    return bool(files.special(name)) or os.path.abspath(name).startswith(("/dev/", "/proc/"))


def _apart(jobs: list[Job]) -> list[Job]:
    """Let inputs that would share an output keep their whole name: `a.png.lrk`, `a.jpg.lrk`.

    On some systems `A.lrk` is `a.lrk`, and outputs may move to one: so does `A.jpg` beside `a.png`.
    """
    whole: set[int] = set()
    while True:
        claimed: dict[str, list[int]] = {}
        for i, job in enumerate(jobs):
            claimed.setdefault(_folded(job), []).append(i)
        shared = [several for several in claimed.values() if len(several) > 1]
        more: set[int] = set()
        for group in shared:
            names = Counter(_folded(_whole(jobs[i])) for i in group)
            more |= {i for i in group if names[_folded(_whole(jobs[i]))] == 1} - whole
        if not more:
            for group in shared:
                _check_distinct([jobs[i] for i in group])
            return jobs
        whole |= more
        jobs = [_whole(job) if i in more else job for i, job in enumerate(jobs)]


def _folded(job: Job) -> str:
    """The path of an output as systems see it that know no case, and one way to write an accent."""
    return unicodedata.normalize("NFC", os.path.normpath(job.place("")).casefold())


def _whole(job: Job) -> Job:
    stem = job.place("")
    return replace(job, stem=stem + os.path.splitext(job.input)[1])


def _check_distinct(jobs: list[Job]) -> None:
    """Refuse outputs of one path; or of paths that are one where they are to be written."""
    places: dict[str, Job] = {}
    for job in jobs:
        place = os.path.normpath(job.place(""))
        other = places.get(place) or (places and files.folds_case(place) and jobs[0])
        if other:
            raise UsageError(
                f"{other.input} and {job.input} would get the same output; do them apart"
            )
        places[place] = job


def _placed(path: str, into: str | None, below: str) -> Job:
    return Job(path, stem=os.path.join(into, os.path.splitext(below)[0]) if into else None)


def _found(
    folder: str, plan: Plan, *, recursive: bool, suffixes: frozenset[str], hidden: bool = False
) -> list[str]:
    before, failures = plan.passed.copy(), len(plan.failed)
    found = sorted(_walk(folder, plan, recursive=recursive, suffixes=suffixes, hidden=hidden))
    if not found and len(plan.failed) == failures:
        there = counted(plan.passed - before)
        holds = f", which holds {there}" if there else ""
        hint = "" if recursive else "; -r descends into its folders"
        error = FileError(f"nothing to do in folder {folder}{holds}{hint}")
        plan.failed.append((folder, error))
    return found


def _walk(
    folder: str, plan: Plan, *, recursive: bool, suffixes: frozenset[str], hidden: bool
) -> Iterator[str]:
    def failed(error: OSError) -> None:
        path = str(error.filename)
        why = (error.strerror or type(error).__name__).lower()
        plan.failed.append((path, FileError(f"cannot read the folder {path}: {why}")))

    for base, below, names in os.walk(folder, onerror=failed):
        unseen: list[str] = []
        if ZARR in suffixes:  # a folder that is one source, and no place to look for others
            arrays = [x for x in below if folders.suffix(x) == ZARR and not folders.is_hidden(x)]
            below[:] = [name for name in below if name not in arrays]
            yield from (os.path.join(base, name) for name in arrays)
        if recursive:
            if not hidden:
                unseen = list(filter(folders.is_hidden, below))
                plan.passed["hidden folder"] += len(unseen)
                below[:] = [name for name in below if name not in unseen]
            linked = sum(os.path.islink(os.path.join(base, name)) for name in below)
            plan.passed["linked folder"] += linked
        else:
            plan.passed["folder"] += len(below)
            below.clear()
        for name in names:
            path = os.path.join(base, name)
            suffix = folders.suffix(name)
            if name.startswith(folders.SIDECAR):
                plan.passed[f"{folders.SIDECAR}*"] += 1
            elif suffix not in suffixes or suffix == ZARR:
                plan.passed[suffix or _NO_SUFFIX] += 1
            elif kind := files.special(path):
                plan.passed[kind] += 1
                plan.notes.append((path, f"a {kind}, passed over"))
            elif not hidden and folders.is_hidden(name):
                plan.passed["hidden file"] += 1
                unseen.append(name)
            else:
                yield path
        if unseen:
            plan.notes.append((base, folders.unseen(unseen)))


def counted(passed: Counter[str]) -> str:
    """Return how many files were passed over as words: `3 .txt, 2 folders, 1 ._*`."""
    kinds = [(kind, count) for kind, count in passed.most_common() if count]
    words = [
        f"{count:,} {kind}{'s' if count > 1 and kind[0] != '.' and kind != _NO_SUFFIX else ''}"
        for kind, count in kinds[:_KINDS]
    ]
    rest = sum(count for _, count in kinds[_KINDS:])
    return ", ".join(words + ([f"{rest:,} of other kinds"] if rest else []))
