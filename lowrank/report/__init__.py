"""What a report says: plain numbers, in levels of the source where they are errors."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lowrank.picture import Source
from lowrank.picture.distance import Pixels

if TYPE_CHECKING:
    from lowrank.report.stacks import OfStack

NOTHING = 1e-9
"""A bound below this share of ||A||_F is rounding, and a ratio to it is noise."""
TIE = 1e-6
"""What an error may seem to lie below its bound: both are measured this well."""


@dataclass(frozen=True)
class File:
    """The `.lrk` file that a report is about; its path is None where it is in memory only."""

    path: str | None
    bytes: int
    layout: str
    store: str
    bits_per_pixel: float


@dataclass(frozen=True)
class OfMatrix:
    """One matrix: errors in levels of the source, beside their bounds.

    What was not measured, or is not stated by a file alone, is None.
    `norm` is ||A||_F, and `energy` the share of its square that the best rank-k matrix keeps.
    """

    name: str
    m: int
    n: int
    k: int
    norm: float
    sigma_1: float | None
    sigma_next: float
    spectral_error: float | None
    spectral_bound: float
    frobenius_error: float | None
    frobenius_bound: float
    relative_error: float
    energy: float
    certified: bool

    @property
    def contradicts(self) -> bool:
        """Whether an error is below what any matrix of rank k can have, by more than rounding.

        Then the rank, a bound or a measurement is wrong, and nothing is proved.
        """
        pairs = (
            (self.spectral_error, self.spectral_bound),
            (self.frobenius_error, self.frobenius_bound),
        )
        return any(
            error is not None and bound > NOTHING * self.norm and error < bound * (1 - TIE)
            for error, bound in pairs
        )


@dataclass(frozen=True)
class Storage:
    """What is stored against what was there; ratios are original over ours.

    `floats` is the sum of k(m+n+1), `original_floats` that of mn; `raw_bytes` the
    samples uncompressed; `break_even_rank` the rank mn/(m+n+1) from which on the
    factors hold more floats than the matrix.
    """

    floats: int
    original_floats: int
    float_ratio: float
    bytes: int
    raw_bytes: int
    byte_ratio: float
    source_ratio: float | None
    break_even_rank: float


@dataclass(frozen=True)
class Report:
    """What `lowrank report` says of one file, or of one rank.

    Attributes
    ----------
    source : Source or None
    file : File or None
    matrices : tuple of OfMatrix
    storage : Storage
    pixels : Pixels or None
    stack : OfStack or None
        What is said of a stack alone.
    """

    source: Source | None
    file: File | None
    matrices: tuple[OfMatrix, ...]
    storage: Storage
    pixels: Pixels | None
    stack: OfStack | None = None

    @property
    def channels(self) -> tuple[OfMatrix, ...]:
        """The matrices, by the name that they have in JSON."""
        return self.matrices

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `lowrank report --json` prints.

        Numbers are plain, units in the names; what is infinite or unknown is None.
        """
        told = asdict(self)
        if self.stack is None:
            del told["stack"]
        if self.source is not None and self.source.dtype is None:
            del told["source"]["dtype"], told["source"]["channels"]
        fields = {"channels" if key == "matrices" else key: value for key, value in told.items()}
        found: dict[str, Any] = finite(fields)
        return found


def finite(value: Any) -> Any:
    """JSON knows no infinity: what has no finite value is None."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
