"""A report as JSON: plain numbers, with units in the names."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lowrank.report import finite

if TYPE_CHECKING:
    from lowrank.report.ask import Result
    from lowrank.runs.tasks import Outcome, Total
    from lowrank.runs.verify import Tally


def result_object(result: Result) -> dict[str, Any]:
    """Return one report as itself, several as `ranks` beside their common source."""
    ranks = [r.to_dict() for r in result.reports]
    if len(ranks) > 1:
        return {"source": ranks[0]["source"], "ranks": ranks}
    if result.peers:
        rows = [asdict(peer) | {"exact": peer.psnr_db == math.inf} for peer in result.peers]
        ranks[0]["against"] = finite(rows)
    return ranks[0]


def outcome_object(outcome: Outcome) -> dict[str, Any]:
    """Return what became of one file: its report where there is one."""
    if outcome.error:
        return {"input": outcome.input, "error": str(outcome.error)}
    if outcome.report:
        return outcome.report.to_dict()
    return {
        "input": outcome.input,
        "output": outcome.output,
        "skipped": outcome.skipped,
        "bytes_before": outcome.bytes_before,
        "bytes_after": outcome.bytes_after,
        **finite(outcome.facts),
    }


def total_object(total: Total) -> dict[str, Any]:
    """Return the sum of many files: the last line of a batch."""
    return {
        "summary": {
            "done": total.done,
            "skipped": total.skipped,
            "failed": total.failed,
            "bytes_before": total.before,
            "bytes_after": total.after,
            "worst_relative_error": total.worst if total.worst_input else None,
            "worst_input": total.worst_input or None,
            "passed_over": {kind: n for kind, n in total.passed.most_common() if n},
        }
    }


def verdict_object(outcome: Outcome) -> dict[str, Any]:
    """Return what `verify` found of one file; `state` is "whole", or why `ok` is false."""
    facts: dict[str, Any] = finite(outcome.facts)
    said = {"input": outcome.input, "ok": outcome.error is None, **facts}
    return said | {"error": str(outcome.error)} if outcome.error else said


def tally_object(tally: Tally) -> dict[str, Any]:
    """Return what `verify` found of many: the last line."""
    return {
        "summary": {
            "files": tally.states.total(),
            "good": tally.good,
            "bad": tally.bad,
            "states": dict(tally.states.most_common()),
            "bytes": tally.bytes,
            "worst_psnr_db": tally.worst if tally.worst_input else None,
            "worst_input": tally.worst_input or None,
            "passed_over": {kind: n for kind, n in tally.passed.most_common() if n},
        }
    }


def dumps(fields: dict[str, Any], *, lines: bool = False, encoding: str = "utf-8") -> str:
    """Return one JSON object: indented for people, or on one line as one of many.

    What would steer a terminal, or has no place in the encoding, is escaped: names come back
    as they are, `os.fsencode` of one that is not UTF-8 too.
    """
    text = json.dumps(fields, allow_nan=False, ensure_ascii=False, indent=None if lines else 1)
    return "".join(
        c if c == "\n" or (c.isprintable() and _fits(c, encoding)) else json.dumps(c)[1:-1]
        for c in text
    )


def _fits(c: str, encoding: str) -> bool:
    try:
        return c.isascii() or bool(c.encode(encoding))
    except UnicodeError:
        return False
