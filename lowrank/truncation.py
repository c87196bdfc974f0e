"""A shorter `.lrk` file from a longer one, without pixels."""

from __future__ import annotations

import math
from dataclasses import replace

from lowrank import format as lrk
from lowrank import rank
from lowrank.errors import UsageError
from lowrank.parts import Parts
from lowrank.rank import Target


def truncate(parts: Parts, target: Target) -> Parts:
    """Drop terms of a float file without touching pixels.

    The ranks follow from the singular values in the file and from the stated tail.
    """
    if parts.store == "packed":
        raise UsageError("a packed file cannot be shortened; compress its source again")
    spectra = [f.s for f in parts.factors]
    if target.kind == "rank":
        ranks = tuple(min(int(target.value), f.k) for f in parts.factors)
    elif target.kind == "size":
        matrices, turned = len(parts.factors), bool(parts.turn)

        def size(terms: int) -> int:
            return lrk.float_file_size(
                parts.shape, matrices, terms, parts.store, parts.metadata, turned=turned
            )

        terms = rank.terms_that_fit(target, size(0), size(1))
        ranks = rank.ranks_of_leading(spectra, terms)
    else:
        norm = math.sqrt(sum(f.norm**2 for f in parts.factors))
        lost = math.sqrt(sum(f.tail**2 for f in parts.factors))
        peak = parts.mode.peak
        if target.kind not in ("energy", "error") and (target.kind != "psnr" or peak is None):
            raise UsageError(f"{target.kind} needs the source image; give that, or -k, --energy")
        samples = parts.width * parts.height * len(parts.factors)
        allowed = rank.allowed_tail(target, norm, peak or 1.0, samples)
        if allowed < lost:
            raise UsageError(
                f"the file itself is {lost / norm if norm else 0:.4%} from its source, more than "
                "is asked for; compress the source again"
            )
        terms = rank.terms_for_tail(spectra, math.sqrt(allowed**2 - lost**2))
        ranks = rank.ranks_of_leading(spectra, terms)
    return replace(
        parts, factors=tuple(f.truncate(k) for f, k in zip(parts.factors, ranks, strict=True))
    )
