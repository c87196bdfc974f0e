"""The codec `lowrank` of zarr's third format: an array's serializer.

>>> import numpy as np
>>> import zarr
>>> zarr.registry.register_codec("lowrank", LowrankCodec)  # an installed lowrank is found
>>> frames = np.add.outer(np.arange(40), np.arange(300)).astype(np.uint16).reshape(40, 15, 20)
>>> array = zarr.create_array({}, data=frames, chunks=(20, 15, 20),
...                           serializer=LowrankCodec(error=0.001), compressors=None)
>>> bool(np.abs(array[:] - 1.0 * frames).max() <= 1)
True
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from lowrank import chunks
from lowrank.errors import FormatError, pip_install

try:
    from zarr.abc.codec import ArrayBytesCodec
    from zarr.core.common import parse_named_configuration
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; {pip_install('zarr')}") from error

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer


@dataclass(frozen=True)
class LowrankCodec(ArrayBytesCodec):
    """Chunks of two or more axes as matrices of low rank, the first axis by the rest.

    The parameters are those of `lowrank.chunks.numcodecs.Lowrank`.
    """

    is_fixed_size = False

    rank: int | Literal["auto"] | None = None
    error: float | None = None
    max_error: float | None = None
    store: str = "auto"

    def __post_init__(self) -> None:
        _ = self._wish  # which checks it

    @property
    def _wish(self) -> chunks.Wish:
        return chunks.Wish(self.rank, self.error, self.max_error, self.store)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make a codec of its entry in `zarr.json`."""
        _, configuration = parse_named_configuration(data, "lowrank")
        return cls(**configuration)

    def to_dict(self) -> dict[str, Any]:
        """Return its entry in `zarr.json`."""
        return {"name": "lowrank", "configuration": self._wish.config()}

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        # Of a transposed chunk zarr wants the axes, and not the memory, in their order.
        chunk = np.asarray(chunk_data.as_numpy_array(), order="C")
        data = await asyncio.to_thread(chunks.encode, chunk, self._wish)
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype = chunk_spec.dtype.to_native_dtype()
        expected = math.prod(chunk_spec.shape) * int(dtype.itemsize)
        samples = await asyncio.to_thread(chunks.decode, chunk_data.to_bytes(), nbytes=expected)
        if samples.nbytes != expected:
            raise FormatError(
                f"a chunk of {samples.nbytes:,} bytes where the array has {expected:,}; "
                "the store is damaged"
            )
        shaped = samples.view(dtype).reshape(chunk_spec.shape)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(shaped)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Refuse: how long a chunk becomes depends on what is in it."""
        raise NotImplementedError
