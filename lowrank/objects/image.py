"""A picture as the leading terms of singular value decompositions.

>>> import numpy as np
>>> import lowrank
>>> image = lowrank.compress(np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8), rank=2)
>>> image
<LowRankImage 64x48 L, ranks (2,), channels, float32>
>>> image.to_array(rank=1).shape
(48, 64)
>>> image[7, 2:4]
array([ 9, 10], dtype=uint8)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from lowrank import codec, targets
from lowrank.errors import ImageError
from lowrank.io.modes import to_image
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.objects.kept import Kept
from lowrank.objects.loading import load, telling
from lowrank.picture import ARRAY, Picture, gaps

if TYPE_CHECKING:
    import PIL.Image
    from numpy.typing import ArrayLike, NDArray

    from lowrank.report import Report
    from lowrank.streams import FileLike

    Factors = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    ImageLike = FileLike | PIL.Image.Image | ArrayLike


class LowRankImage(Kept):
    """An image as the k leading terms of its singular value decompositions.

    `compress` makes one from an image, `open` reads one from a `.lrk` file. It does not change;
    `np.asarray` decodes it, notebooks show it, and two are equal where their files would be.

    Indexing is numpy's, and gives the very samples of `to_array`. The image is decoded whole, once,
    when the first of them is asked for.

    Attributes
    ----------
    notes : tuple of str
        What was lost, or should be known, on the way here: a plain sentence each.
    parts : Parts
        The file, as parsed.

    Examples
    --------
    >>> import numpy as np
    >>> import lowrank
    >>> A = np.multiply.outer(np.arange(6.0), np.arange(8.0))
    >>> image = lowrank.compress(A, rank=1, store="float64")
    >>> image.shape, image.dtype
    ((6, 8), dtype('float64'))
    >>> ((U, s, Vt),) = image.factors
    >>> np.allclose((U * s) @ Vt, A)
    True
    """

    def __repr__(self) -> str:
        head = self.head
        return (
            f"<LowRankImage {head.width}x{head.height} {head.mode.title}, ranks {self.ranks}, "
            f"{head.layout}, {head.store}>"
        )

    def _shown(self) -> Picture:
        return codec.decode(self.parts, filled=True).picture

    def __getitem__(self, key: Any) -> Any:
        return self._once()[key].copy()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded array: (height, width), or (height, width, channels)."""
        shape = self.head.samples_shape
        return shape[:-1] if shape[-1] == 1 else shape

    @property
    def factors(self) -> tuple[Factors, ...]:
        """One (U, s, Vt) for each matrix: (U * s) @ Vt is the matrix as the file holds it.

        U is (m, k), s (k,) and Vt (k, n), float64, rows and columns orthonormal but for the
        rounding of the store. In layout `channels` the matrices are the channels, in layout
        `patches` the coefficients of their (turned) patches. A packed file keeps no such factors:
        they are the singular value decomposition of what it decodes to, before its picture is
        smoothed, rounded and clipped, and of samples that are counted from another level than 0
        (floats, integers with a sign) k is the rank and one more, for that level.
        """
        return tuple(
            (np.array(U, np.float64), np.array(s, np.float64), np.array(Vt, np.float64))
            for U, s, Vt in self._factored()
        )

    def to_image(self, rank: SupportsIndex | None = None) -> PIL.Image.Image:
        """Decode to a Pillow image, from the first `rank` terms of each matrix or from all.

        Raises
        ------
        ImageError
            Pillow has no mode for such samples.
        """
        k, mode = None if rank is None else targets.rank(rank), self.head.mode
        if mode.name == ARRAY:
            raise ImageError(f"Pillow has no mode for {mode.title} samples; use to_array()")
        return to_image(codec.decode(self.parts, rank=k).picture)

    def report(self, original: ImageLike) -> Report:
        """Measure the errors against the original, beside the bounds of Eckart and Young.

        Raises
        ------
        UsageError
            The original has another size or mode.
        """
        limit = max(DEFAULT_MAX_PIXELS, self.width * self.height)
        nodata = gaps.value_of(self.head.metadata)
        with telling(original):
            return self._measured(load(original, max_pixels=limit, nodata=nodata), "the image")
