"""The README as PyPI shows it: links to files of the repository become absolute.

In the repository they stay relative, so that they lead somewhere in every clone; its address
stands in pyproject.toml alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)]+)\)")


def absolute(text: str, home: str) -> str:
    """Return Markdown whose relative links lead to the newest files of a repository."""

    def link(found: re.Match[str]) -> str:
        kind = "raw" if found[1] else "blob"
        return f"{found[1]}[{found[2]}]({home}/{kind}/HEAD/{found[3]})"

    return LINK.sub(link, text)


class Readme(MetadataHookInterface):
    """Gives the project's metadata its README."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `readme`."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, metadata["urls"]["Repository"]),
        }
