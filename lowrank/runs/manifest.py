r"""A list of what a batch made: names, sizes, SHA-256 of both sides, ranks, measured errors.

CSV or JSON, by the suffix. A cell of the CSV that holds a name starts with no character that a
spreadsheet takes for a formula: a relative name gets `./` before it, which leads to the same
file. A name that is no text, or would break a line, is a URI reference, `file:` and its bytes in
percent-encoding, which RFC 3986 makes of any name (a name that starts with `file:` gets `./`).
JSON holds names as they are, what is no text as `\udc80` to `\udcff`, like `--json`.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from lowrank import files
from lowrank.errors import FileError, UsageError
from lowrank.io import urls

SUFFIXES = (".csv", ".json")
_URI = "file:"
_HARMLESS = "./\\_"  # beside letters and digits, at the start of a cell
_MOST = 1 << 30  # bytes of a manifest that is read: four million files


@dataclass(frozen=True)
class Entry:
    """One output and what it was made from.

    Attributes
    ----------
    input, output : str
        Paths as they were given.
    input_bytes, output_bytes : int
    input_sha256, output_sha256 : str
        In hexadecimal.
    ranks : tuple of int
        Terms of each matrix.
    relative_error : float or None
        ||A - B||_F / ||A||_F of the decoded samples B, measured; None of a `.lrk` file that was
        shortened, whose picture was not at hand.
    psnr_db : float or None
        None where the samples are equal, too.
    max_abs_error : float or None
        Largest error of a sample, in levels.
    seconds : float or None
        That the work took; None for an output that was there before.
    """

    input: str
    output: str
    input_bytes: int
    output_bytes: int
    input_sha256: str
    output_sha256: str
    ranks: tuple[int, ...]
    relative_error: float | None = None
    psnr_db: float | None = None
    max_abs_error: float | None = None
    seconds: float | None = None


_NAMES = tuple(field.name for field in fields(Entry))


def check(path: str, outputs: Iterable[tuple[str, str | None]], *, force: bool) -> None:
    """Refuse early a manifest that cannot be.

    Parameters
    ----------
    path : str
    outputs : iterable of (str, str or None)
        Input and output of each job, as far as they are known.
    force : bool
        An existing manifest may be replaced.

    Raises
    ------
    UsageError
        Its suffix is none of `SUFFIXES`, it is an output itself, or a job reads or writes a stream.
    FileError
        It cannot be written.
    """
    if os.path.splitext(path)[1].lower() not in SUFFIXES:
        raise UsageError(f"--manifest {path} is neither .csv nor .json; give it one of these")
    pairs = list(outputs)
    if any("-" in pair or files.special(pair[1] or "") for pair in pairs):
        raise UsageError("--manifest lists files; standard input and output are none")
    if urls.is_url(path):
        raise UsageError(f"--manifest {path} is not here; give the name of a file")
    if any(files.same_file(path, output) for _, output in pairs if output):
        raise UsageError(f"--manifest {path} is the output itself; give another name")
    files.check_output(
        path, force=force, inputs=(pair[0] for pair in pairs), makes_folder=True,
        option="--manifest",
    )  # fmt: skip


_WRONG = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What a text raises that is no list of such rows."""


def write(path: str, entries: list[Entry], *, force: bool) -> None:
    """Write a manifest whole or not at all, in the order of the outputs.

    No more people may read it than may read every input.
    """
    entries = sorted(map(_portable, entries), key=lambda entry: entry.output)
    suffix = os.path.splitext(path)[1].lower()
    text = _csv(entries) if suffix == ".csv" else _json(entries)
    files.make_folder(os.path.dirname(path))
    allowed = files.permissions(*(entry.input for entry in entries))
    files.write_atomic(path, text.encode("utf-8"), force=force, allowed=allowed)


def read(path: str) -> list[Entry]:
    """Read a manifest.

    Raises
    ------
    FileError
        It cannot be read, or is none.
    """
    data = files.read_bytes(path, limit=_MOST)
    try:
        text = data.decode("utf-8-sig")
        rows = json.loads(text)["files"] if text.lstrip().startswith("{") else _rows(text)
        return [_entry(row) for row in rows]
    except (*_WRONG, csv.Error) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise FileError(f"{path} is no manifest ({why}); compress --manifest writes one") from error


def _portable(entry: Entry) -> Entry:
    """With `/` between folders, which every system understands."""
    if os.sep == "/":
        return entry
    sides = {side: getattr(entry, side).replace(os.sep, "/") for side in ("input", "output")}
    return replace(entry, **sides)


def _csv(entries: list[Entry]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(_NAMES)
    for entry in entries:
        row = asdict(entry)
        row |= {side: _cell(row[side]) for side in ("input", "output")}
        row["ranks"] = " ".join(map(str, entry.ranks))
        table.writerow("" if row[name] is None else row[name] for name in _NAMES)
    return out.getvalue()


def _json(entries: list[Entry]) -> str:
    rows = [json.dumps(asdict(entry), allow_nan=False) for entry in entries]
    return '{"files": [\n' + ",\n".join(rows) + "\n]}\n"


def _rows(text: str) -> Iterable[dict[str, Any]]:
    table = csv.DictReader(io.StringIO(text, newline=""))
    for name in _NAMES:
        if name not in (table.fieldnames or ()):
            raise KeyError(name)
    for row in table:
        found: dict[str, Any] = {name: value or None for name, value in row.items()}
        found |= {side: _name(row[side]) for side in ("input", "output")}
        found["ranks"] = (row["ranks"] or "").split()
        yield found


def _entry(row: dict[str, Any]) -> Entry:
    def number(name: str) -> float | None:
        return None if row[name] is None else float(row[name])

    before, after = (str(row[f"{side}_sha256"]).lower() for side in ("input", "output"))
    if not all(len(bytes.fromhex(x)) == 32 for x in (before, after)):
        raise ValueError("a SHA-256 has 64 digits")
    for side in ("input", "output"):
        if not row[side] or b"\0" in os.fsencode(str(row[side])):
            raise ValueError(f"an {side} that is no name of a file")
    return Entry(
        str(row["input"]), str(row["output"]),
        int(row["input_bytes"]), int(row["output_bytes"]), before, after,
        tuple(map(int, row["ranks"])),
        number("relative_error"), number("psnr_db"), number("max_abs_error"), number("seconds"),
    )  # fmt: skip


def _cell(name: str) -> str:
    """A name as a cell: text on one line, and no formula."""
    if not name.isprintable():
        return _URI + quote_from_bytes(os.fsencode(name))
    if name.startswith(_URI) or not (name[0].isalnum() or name[0] in _HARMLESS):
        return os.path.join(os.curdir, name)
    return name


def _name(cell: str) -> str:
    if cell.startswith(_URI):
        return os.fsdecode(unquote_to_bytes(cell.removeprefix(_URI)))
    return cell
