"""What a page is filled with: files of its own, text and JSON that cannot break out of it.

What comes from outside (names, metadata, notes) reaches a page in two ways only, both safe:
as text through `html.escape`, and as JSON in which no `<` is left. Should both fail, the
page's own policy runs no script but ours, named by their hashes, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib import resources
from typing import Any

from lowrank.errors import printable
from lowrank.report.ask import Result


def policy(css: str, scripts: list[str], *, own: str = "") -> str:
    """Return a Content Security Policy that allows this style and these scripts, and no more.

    `own` is "'self'" where files beside the page may be read, too.
    """
    before = f"{own} " if own else ""
    return (
        f"default-src 'none'; img-src {before}data: blob:; "
        f"style-src {_hash(css)}; script-src {before}{' '.join(map(_hash, scripts))}; "
        + (f"connect-src {own}; worker-src {own}; " if own else "")
        + "base-uri 'none'; form-action 'none'"
    )


def asset(name: str) -> str:
    """Return a file of the page."""
    return resources.files("lowrank.views").joinpath("page", name).read_text("utf-8")


def _hash(text: str) -> str:
    """Return the source expression of a Content Security Policy that allows this text."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def escaped(value: str) -> str:
    """Return text for markup: one line, printable (no reversed writing), escaped."""
    return html.escape(printable(value))


def as_script(value: Any) -> str:
    """Return JSON that cannot end the script element that it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def name_of(result: Result) -> str:
    """Return what the page calls its source."""
    source = result.reports[0].source
    path = source.path if source else ""
    return "standard input" if path == "-" else last(path)


def last(path: str) -> str:
    """Return the name at the end of a path: in which folder it lay is not what a page tells."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
