"""What may be asked for: text to numbers and names, or one line that says what to give."""

from __future__ import annotations

from lowrank.errors import UsageError
from lowrank.limits import DEFAULT_MAX_PIXELS

LAYOUTS = ("channels", "patches")
FLOAT_STORES = ("auto", "float16", "float32", "float64")
STORES = (*FLOAT_STORES, "packed")


def number(text: str | None, option: str) -> float | None:
    """Return a number, or None for no text."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{option} {text}: not a number; give one such as 40") from None


def whole(text: str | None, option: str) -> float:
    """Return a whole number from 1 on."""
    try:
        value = int(text or "")
    except ValueError:
        value = 0
    if value < 1:
        raise UsageError(f"{option} {text}: not a rank; give a whole number from 1 on")
    return value


def share(text: str | None, option: str) -> float | None:
    """Return a share: 0.05 or 5%."""
    if text is None or not text.endswith("%"):
        return number(text, option)
    value = number(text[:-1], option)
    return None if value is None else value / 100


def size(text: str | None, option: str) -> float | None:
    """Return a number of bytes: 20k, 1.5M."""
    if text is None:
        return None
    units = {"k": 1e3, "m": 1e6, "g": 1e9}
    unit = units.get(text[-1:].lower())
    try:
        value = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        value = float("nan")
    if not 1 <= value < 2**63:
        raise UsageError(f"{option} {text}: not a size; give one such as 20k or 1.5M")
    return float(int(value))


def max_pixels(text: str | None) -> int:
    """Return the limit on pixels: 500M, or the default."""
    value = size(text, "--max-pixels")
    return DEFAULT_MAX_PIXELS if value is None else int(value)


def choice(text: str | None, option: str, known: tuple[str, ...]) -> None:
    """Refuse a name that is not among the known ones."""
    if text is not None and text not in known:
        raise UsageError(f"{option} {text}: unknown; give one of {', '.join(known)}")
