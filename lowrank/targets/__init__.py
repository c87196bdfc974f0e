"""One wish, and only one: from texts or numbers, or one line that says what to give.

Nothing here needs numpy, so that a wrong option is answered at once.
"""

from __future__ import annotations

import math
import numbers
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, SupportsFloat, cast

from lowrank.errors import UsageError
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.names import TUNES, WEIGHTS

Kind = Literal[
    "rank", "auto", "energy", "error", "max_error", "psnr", "psnr_worst", "size", "quality"
]

_MANY = 8  # ranks that are all named

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30}


def _number(text: str, unit: str = "") -> float:
    """A number, which may end in its unit."""
    return float(text.strip().lower().removesuffix(unit.lower()))


def _decibels(text: str) -> float:
    return _number(text, "dB")


def _quality(text: str) -> float:
    return _number(text, "%")


def _whole(text: str) -> float:
    return float(int(text))


def _share(text: str) -> float:
    """A share: 0.05 or 5%."""
    return _number(text, "%") / 100 if text.strip().endswith("%") else float(text)


def _size(text: str) -> float:
    """A number of bytes, or of anything: 20k, 1.5M, 20kB, 20KiB."""
    short = text.strip().lower().removesuffix("b")
    digits = short.rstrip("kmgi")
    return float(math.floor(float(digits) * _UNITS[short[len(digits) :]]))


class _Wish(NamedTuple):
    """A kind of number: its option as it may be typed, its range, and what to give instead."""

    options: tuple[str, ...]
    low: float
    high: float
    read: Callable[[str], float]
    advice: str


MOST_PSNR = 200.0
"""Decibels, the most that may be asked for: what no error at all comes to."""
_DECIBELS = _Wish(("--psnr",), 0, MOST_PSNR, _decibels, "a number from 0 to 200, in dB")
_RANK = _Wish(("-k", "--rank"), 1, 2**31 - 1, _whole, "a whole number from 1 on")
_PIXELS = _Wish(("--max-pixels",), 1, 2**63, _size, "a number of pixels, such as 500M")
_MEMORY = _Wish(("--memory",), 1, 2**63, _size, "a number of bytes, such as 500M or 2G")
_WISHES: dict[Kind, _Wish] = {
    "rank": _RANK._replace(advice="a whole number from 1 on, or auto"),
    "auto": _Wish(("-k", "--rank"), 0, 0, _number, "auto"),
    "energy": _Wish(("--energy",), 0, 1, _share, "a share of ||A||_F^2 from 0 to 1, such as 99%"),
    "error": _Wish(("--error",), 0, 1, _share, "a share of ||A||_F from 0 to 1, such as 5%"),
    "max_error": _Wish(
        ("--max-error",),
        0,
        1e300,
        _number,
        "a number from 0 on, in units of the samples, such as 2",
    ),
    "psnr": _DECIBELS,
    "psnr_worst": _DECIBELS._replace(options=("--psnr-worst",)),
    "size": _Wish(("--size",), 1, 2**63, _size, "a number of bytes, such as 20k or 1.5M"),
    "quality": _Wish(("-q", "--quality"), 1, 100, _quality, "a number from 1 to 100"),
}


def _plain(wish: _Wish) -> str:
    """What to give in Python: a number, without the units of the examples."""
    return wish.advice.partition(", such as ")[0]


def _in_range(wish: _Wish, value: float, shown: str) -> None:
    if not wish.low <= value <= wish.high:  # refuses NaN too
        raise UsageError(f"{shown} is out of range; give {wish.advice}")


@dataclass(frozen=True)
class Target:
    """One wish, and only one.

    Attributes
    ----------
    kind : str
        `rank` (terms of each channel), `auto` (Gavish-Donoho), `energy` (share of
        ||A||_F^2 kept, 0 to 1), `error` (relative Frobenius error, 0 to 1), `max_error`
        (of any sample, in its units), `psnr` (dB), `psnr_worst`
        (of every frame of a stack), `size` (bytes) or `quality` (1 to 100).
    value : float
        0 for `auto`.
    tune : {"psnr", "eye"}
        What a packed file is to be best for.
    weights : str or None
        `noise`: the frames of a stack count less the noisier they are.

    Raises
    ------
    UsageError
        The value is out of the kind's range.
    """

    kind: Kind
    value: float = 0.0
    tune: str = TUNES[0]
    weights: str | None = None

    def __post_init__(self) -> None:
        wish = _WISHES[self.kind]
        plain = wish._replace(advice=_plain(wish))
        _in_range(plain, self.value, f"{self.kind} {self.value:g}")


USUAL = Target("quality", 75)
"""What no target means."""


def tuned(target: Target, tune: object, option: str = "tune") -> Target:
    """Return the target, to be met by what is best for the eye, or in PSNR; None leaves it.

    Raises
    ------
    UsageError
        `tune` is neither.
    """
    choice(tune, option, TUNES)
    return target if tune is None else replace(target, tune=str(tune))


def chosen(wishes: Mapping[Kind, object], options: Mapping[Kind, str] | None = None) -> Target:
    """Turn numbers, of which one at most is not None, into the target.

    Parameters
    ----------
    wishes : mapping of str to number
        `rank` may also be "auto".
    options : mapping of str to str, optional
        What messages call the kinds; by default, as they are.

    Raises
    ------
    UsageError
        Several are given, or one is no number of its kind.
    """
    given = [(kind, value) for kind, value in wishes.items() if value is not None]
    if len(given) > 1:
        names = " and ".join(options[kind] if options else kind for kind, _ in given)
        raise UsageError(f"{names} exclude each other; give one target")
    for kind, value in given:
        if kind == "rank" and isinstance(value, str) and value == "auto":
            return Target("auto")
        return Target(kind, _real(kind, value, _WISHES[kind]))
    return USUAL


def weighted(target: Target, weights: object, option: str = "weights") -> Target:
    """Return the target, to be met with the frames weighed; None leaves it.

    Raises
    ------
    UsageError
        `weights` is none that is known.
    """
    choice(weights, option, WEIGHTS)
    return target if weights is None else replace(target, weights=str(weights))


def read(texts: Mapping[Kind, str | None], typed: Sequence[str] = ()) -> Target:
    """Turn the texts of options into the target.

    Errors name an option as it stands among the words that were typed.
    """
    options = {kind: _option(_WISHES[kind], typed) for kind in texts}
    wishes: dict[Kind, object] = {}
    for kind, text in texts.items():
        if text is None or (kind == "rank" and text.strip().lower() == "auto"):
            wishes[kind] = text and "auto"
            continue
        wishes[kind] = _read(_WISHES[kind], text, f"{options[kind]} {text or repr(text)}")
    return chosen(wishes, options)


def ranks(text: str | None, typed: Sequence[str] = ()) -> list[int]:
    """Ranks of a list such as 5,20,50; none for no text."""
    if text is None:
        return []
    shown = f"{_option(_RANK, typed)} {text}"
    return [int(_read(_RANK, one, shown)) for one in text.split(",")]


def one_rank(text: str, typed: Sequence[str]) -> int:
    """Return a rank given as a text."""
    return int(_read(_RANK, text, f"{_option(_RANK, typed)} {text or repr(text)}"))


def rank(value: object) -> int:
    """Return a rank given as a number, where it cannot be `auto`."""
    number = _real("rank", value, _RANK)
    _in_range(_RANK, number, f"rank {number:g}")
    return int(number)


def max_pixels(text: str | None) -> int:
    """Return the limit on pixels: 500M, or the default."""
    return DEFAULT_MAX_PIXELS if text is None else int(_read(_PIXELS, text, f"--max-pixels {text}"))


def memory(value: object, option: str = "memory") -> int | None:
    """Bytes of memory, of an option's text or a number: 2G is 2,000,000,000."""
    if value is None:
        return None
    if isinstance(value, str):
        return int(_read(_MEMORY, value, f"{option} {value}"))
    number = _real("memory", value, _MEMORY)
    _in_range(_MEMORY, number, f"memory {number:g}")
    return int(number)


def pixels(value: object) -> int:
    """Return the limit on pixels given as a number."""
    if not (isinstance(value, numbers.Integral) and is_real(value)) or int(value) < 1:
        raise UsageError(f"max_pixels {reprlib.repr(value)} does not do; give {_plain(_PIXELS)}")
    return int(value)


def whole(text: str, option: str, low: int, high: int | None = None) -> int:
    """Return a whole number given as a text."""
    span = f"from {low} on" if high is None else f"from {low} to {high}"
    try:
        value = int(text)
    except ValueError:
        raise UsageError(
            f"{option} {text or repr(text)} is not understood; give a whole number {span}"
        ) from None
    if value < low or (high is not None and value > high):
        raise UsageError(f"{option} {text} is out of range; give a whole number {span}")
    return value


def nodata(text: str | None) -> float | None:
    """Return the value of pixels without data: -9999, nan."""
    try:
        value = None if text is None else float(text)
    except ValueError:
        value = math.inf
    if value is not None and math.isinf(value):
        raise UsageError(f"--nodata {text}: not a sample; give a number such as -9999, or nan")
    return value


def axis(text: str | None) -> int | None:
    """Return the number of an axis: 0, -1."""
    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise UsageError(f"--axis {text} is no axis; give 0, 1, ..., or -1 for the last") from error


def frames(text: str | None) -> int | slice | None:
    """Return which frames: one, 7 or -1, or some, 0:100:2."""
    if text is None:
        return None
    try:
        numbers = [int(x) if x.strip() else None for x in text.split(":")]
        if len(numbers) == 1 and numbers[0] is not None:
            return numbers[0]
        if 2 <= len(numbers) <= 3 and numbers[2:] != [0]:
            return slice(*numbers)
    except ValueError:
        pass
    raise UsageError(f"--frames {text} is not understood; give one, 7, or some, 0:100:2")


def pixel(text: str | None) -> tuple[int, int] | None:
    """Return the row and the column of a pixel: 10,20."""
    if text is None:
        return None
    try:
        y, x = (int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"--pixel {text} is not understood; give a row and a column, Y,X"
        ) from error
    return y, x


def truth(value: object, name: str) -> bool:
    """Return True or False, also as numpy has them or as 1 and 0."""
    known = {True: True, False: False}
    try:
        return known[value]  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{name} {reprlib.repr(value)} is neither True nor False") from None


def missing(value: object) -> float | None:
    """Return the value of pixels without data given as a number."""
    if value is None:
        return None
    if not is_real(value):
        raise UsageError(f"nodata {reprlib.repr(value)} is no sample; give a number, or nan")
    try:
        return float(cast("SupportsFloat", value))
    except OverflowError:
        return math.inf  # which no sample is


def is_real(value: object) -> bool:
    """Whether it is a real number: no truth, and no span of time, an integer to numpy."""
    span = getattr(getattr(value, "dtype", None), "kind", "") == "m"
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not span


def choice(text: object, option: str, known: tuple[str, ...]) -> None:
    """Refuse what is not among the known names."""
    if text is not None and not (isinstance(text, str) and text in known):
        shown = text if isinstance(text, str) else reprlib.repr(text)
        some = f"one of {', '.join(known)}" if len(known) > 1 else known[0]
        raise UsageError(f"{option} {shown}: unknown; give {some}")


def several(ranks: Iterable[int]) -> str:
    """Ranks in a few words: 20, 20/18/17, or 3 to 21 of many."""
    found = list(ranks)
    if len(set(found)) == 1:
        return str(found[0])
    if len(found) > _MANY:
        return f"{min(found)} to {max(found)}"
    return "/".join(map(str, found))


def several_of(text: str | None, option: str) -> tuple[str, ...]:
    """Names of a list such as "jpeg, webp", in small letters; none for no text."""
    if text is None:
        return ()
    found = tuple(filter(None, (name.strip().lower() for name in text.split(","))))
    if not found:
        raise UsageError(f"{option} is empty; give a name, or several with commas between")
    return tuple(dict.fromkeys(found))


def _option(wish: _Wish, typed: Sequence[str]) -> str:
    """The option as it was typed; its usual spelling where nobody knows."""
    for option in wish.options:
        if any(word == option or word.startswith(f"{option}=") for word in typed):
            return option
    return wish.options[0]


def _read(wish: _Wish, text: str, shown: str) -> float:
    try:
        value = wish.read(text)
    except (ValueError, KeyError, OverflowError):
        value = math.nan
    if math.isnan(value):
        raise UsageError(f"{shown} is not understood; give {wish.advice}")
    if wish.read is _share and "%" not in text and 1 < value <= 100:
        raise UsageError(f"{shown} is out of range; did you mean {value:g}%?")
    _in_range(wish, value, shown)
    return value


def _real(name: str, value: object, wish: _Wish) -> float:
    """Return a number as a float; one that no float reaches as infinity, which is out of range."""
    real = is_real(value)
    try:
        number = float(cast("SupportsFloat", value)) if real else math.nan
    except OverflowError:
        number = math.inf
    if not real or (name == "rank" and math.isfinite(number) and not number.is_integer()):
        raise UsageError(f"{name} {reprlib.repr(value)} does not do; give {_plain(wish)}")
    return number
