"""The singular value decomposition with a proof: linear algebra that knows no picture.

The face of the room: `svd` has the decompositions, `certificate` the proof, `triplets`
chooses between routes, `krylov` finds leading subspaces and `tridiagonal` larger ones, and
`matrix` reads A slab by slab.
"""

from __future__ import annotations

from lowrank.linalg.svd import (
    GRAM_ROUNDING,
    ResidualNorms,
    Spectrum,
    TruncatedSVD,
    certify,
    frobenius_norm,
    residual_norms,
    rounding,
    spectral_norm,
    spectrum,
    truncated_svd,
)

__all__ = [
    "GRAM_ROUNDING",
    "ResidualNorms",
    "Spectrum",
    "TruncatedSVD",
    "certify",
    "frobenius_norm",
    "residual_norms",
    "rounding",
    "spectral_norm",
    "spectrum",
    "truncated_svd",
]
