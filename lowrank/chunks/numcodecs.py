"""The codec `lowrank` of numcodecs: zarr's second format, kerchunk, and whoever takes its codecs.

>>> import numcodecs
>>> import numpy as np
>>> codec = Lowrank(rank=2)
>>> codec.get_config()
{'id': 'lowrank', 'rank': 2, 'store': 'auto'}
>>> chunk = np.add.outer(np.arange(20.0), np.arange(30.0))
>>> np.allclose(codec.decode(codec.encode(chunk)).reshape(chunk.shape), chunk, atol=0.05)
True
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np

from lowrank import chunks
from lowrank.errors import pip_install

try:
    from numcodecs.abc import Codec
    from numcodecs.compat import ensure_bytes, ensure_contiguous_ndarray, ndarray_copy
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; {pip_install('zarr')}") from error


class Lowrank(Codec):
    """Chunks of two or more axes as matrices of low rank, the first axis by the rest.

    Parameters
    ----------
    rank : int or "auto", optional
        Terms of each chunk's matrix; "auto" is the threshold of Gavish and Donoho.
    error : float, optional
        Largest relative Frobenius error of each decoded chunk, 0 to 1.
    max_error : float, optional
        Largest error of any decoded sample, in its units. Give exactly one of the three.
    store : {"auto", "float16", "float32", "float64"}
        How the factors are kept; `auto` is the narrowest whose rounding does not show.

    Raises
    ------
    UsageError
        No target, several, or one out of its range.

    Notes
    -----
    What is no matrix of numbers (see `lowrank.chunks`) is stored whole, exactly. The codec needs
    the shape of its chunks: let it be the compressor, with no filter before it but those that
    keep the shape.
    """

    codec_id = "lowrank"

    def __init__(
        self,
        rank: int | Literal["auto"] | None = None,
        error: float | None = None,
        max_error: float | None = None,
        store: str = "auto",
    ) -> None:
        self._wish = chunks.Wish(rank, error, max_error, store)

    def encode(self, buf: Any) -> bytes:
        """Encode an array, or any buffer."""
        if isinstance(buf, np.ma.MaskedArray):  # of which a buffer is the data alone
            return chunks.encode(buf, self._wish)
        return chunks.encode(ensure_contiguous_ndarray(buf, flatten=False), self._wish)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode to the samples in the order of memory, or into `out`."""
        if out is not None:
            out = ensure_contiguous_ndarray(out)
        return ndarray_copy(chunks.decode(ensure_bytes(buf)), out)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes an equal codec of."""
        return {"id": self.codec_id, **self._wish.config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a codec of a configuration."""
        return cls(**config)

    def __repr__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self._wish.config().items())
        return f"Lowrank({given})"
