"""Write docs/FORMAT.md from the docstring of `lowrank.format`, which is the specification."""

from __future__ import annotations

import re
from pathlib import Path

from lowrank import format as lrk

HERE = Path(__file__).resolve().parent
_TABLE = re.compile(r"^=[= ]*=\n.*?^=[= ]*=\n.*?^=[= ]*=$", re.MULTILINE | re.DOTALL)


def markdown() -> str:
    """Return the docstring as Markdown: tables fenced, the rest as it stands."""
    title, text = (lrk.__doc__ or "").split("\n", 1)
    text = _TABLE.sub(lambda table: f"```text\n{table[0]}\n```", text)
    text = text.replace("::\n", ":\n")  # the indented block that follows is code in both
    text = text.replace("PACKED.md", "[PACKED.md](PACKED.md)", 1)
    note = "<!-- Made from the docstring of lowrank/format/__init__.py by docs/make_format.py. -->"
    return f"# {title}\n\n{note}\n{text}"


if __name__ == "__main__":
    (HERE / "FORMAT.md").write_text(markdown(), encoding="utf-8")
