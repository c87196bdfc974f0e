"""What a path says of where its file lies: here, on the web, or in a store."""

from __future__ import annotations

WEB = ("http://", "https://")
"""What URLs of the web begin with, where nothing is written."""


def is_url(path: str) -> bool:
    """Whether a path is one of fsspec's: s3://bucket/name."""
    return "://" in path


def only_read(path: str) -> bool:
    """Whether it is of the web."""
    return path.lower().startswith(WEB)
