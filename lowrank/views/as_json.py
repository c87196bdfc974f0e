"""A report as JSON: plain numbers, with units in the names."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from lowrank.batch import Outcome, Total
from lowrank.bounds import Report
from lowrank.reporting import Result


def report_object(report: Report) -> dict[str, Any]:
    """Return the report as an object that JSON can hold."""
    fields: dict[str, Any] = _finite(asdict(report))
    return fields


def result_object(result: Result) -> dict[str, Any]:
    """Return one report as itself, several as `ranks` beside their common source."""
    ranks = [report_object(r) for r in result.reports]
    if len(ranks) > 1:
        return {"source": ranks[0]["source"], "ranks": ranks}
    if result.rivals:
        ranks[0]["against"] = _finite([asdict(rival) for rival in result.rivals])
    return ranks[0]


def outcome_object(outcome: Outcome) -> dict[str, Any]:
    """Return what became of one file: its report where there is one."""
    if outcome.error:
        return {"input": outcome.input, "error": str(outcome.error)}
    if outcome.report:
        return report_object(outcome.report)
    return {
        "input": outcome.input,
        "output": outcome.output,
        "skipped": outcome.skipped,
        "bytes_before": outcome.bytes_before,
        "bytes_after": outcome.bytes_after,
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
        }
    }


def dumps(fields: dict[str, Any], *, lines: bool = False) -> str:
    """Return one JSON object: indented for people, or on one line as one of many."""
    return json.dumps(fields, allow_nan=False, ensure_ascii=False, indent=None if lines else 1)


def _finite(value: Any) -> Any:
    """JSON knows no infinity: what has no finite value is null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
