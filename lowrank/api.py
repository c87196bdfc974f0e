"""The library: `compress`, `open` and the image between them.

>>> import numpy as np
>>> import lowrank
>>> A = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
>>> image = lowrank.compress(A, rank=2)
>>> image
<LowRankImage 64x48 L, ranks (2,), channels, float32>
>>> np.array_equal(image.to_array(), A)
True
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import PIL.Image

from lowrank import codec, files, targets
from lowrank import format as lrk
from lowrank.errors import UsageError
from lowrank.format.parts import Parts
from lowrank.io import arrays, images, pillow
from lowrank.io.modes import to_image
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.picture import Loaded, gaps
from lowrank.targets import Kind, Target

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from lowrank.report import Report

    FileLike = str | os.PathLike[str] | bytes | IO[bytes]
    ImageLike = FileLike | PIL.Image.Image | ArrayLike


class LowRankImage:
    """An image as the k leading terms of its singular value decompositions.

    `compress` makes one from an image, `open` reads one from a `.lrk` file.
    """

    def __init__(self, parts: Parts, notes: tuple[str, ...] = ()) -> None:
        self.parts = parts
        self.notes = notes

    def __repr__(self) -> str:
        head = self.parts.head
        return (
            f"<LowRankImage {head.width}x{head.height} {head.mode.name}, ranks {self.ranks}, "
            f"{head.layout}, {head.store}>"
        )

    @property
    def width(self) -> int:
        """Columns of the image."""
        return self.parts.head.width

    @property
    def height(self) -> int:
        """Rows of the image."""
        return self.parts.head.height

    @property
    def mode(self) -> str:
        """Pillow's name of the image's mode."""
        return self.parts.head.mode.name

    @property
    def layout(self) -> str:
        """How the image is seen as matrices: `channels` or `patches`."""
        return self.parts.head.layout

    @property
    def store(self) -> str:
        """How the factors are stored: `float16`, `float32`, `float64` or `packed`."""
        return self.parts.head.store

    @property
    def ranks(self) -> tuple[int, ...]:
        """Number of terms of each matrix."""
        return self.parts.ranks

    def to_bytes(self) -> bytes:
        """Return the bytes of the `.lrk` file.

        Raises
        ------
        UsageError
            It is a packed file that was cut or damaged: no whole file can be made of its parts.
        """
        return lrk.serialize(self.parts)

    def save(self, path: str | os.PathLike[str] | IO[bytes], *, force: bool = True) -> None:
        """Write the `.lrk` file, whole or not at all.

        Parameters
        ----------
        path : path-like or binary file object
        force : bool
            Replace an existing file.

        Raises
        ------
        FileError
            The file cannot be written, or exists and `force` is false.
        """
        data = self.to_bytes()
        if isinstance(path, str | os.PathLike):
            files.write_atomic(_named(path), data, force=force)
        else:
            path.write(data)

    def to_image(self, rank: int | None = None) -> PIL.Image.Image:
        """Decode to a Pillow image, from the first `rank` terms of each matrix or from all."""
        return to_image(codec.decode(self.parts, rank=_checked(rank)).picture)

    def to_array(self, rank: int | None = None) -> NDArray[Any]:
        """Decode to an array: (height, width) for one channel, else (height, width, channels)."""
        samples = codec.decode(self.parts, rank=_checked(rank)).picture.samples
        return samples[:, :, 0] if samples.shape[2] == 1 else samples

    def truncate(self, rank: int) -> LowRankImage:
        """Keep the first `rank` terms of each matrix: the best image of that rank."""
        shorter = codec.shorten(self.parts, Target("rank", targets.rank(rank)))
        return LowRankImage(shorter, self.notes)

    def report(self, original: ImageLike) -> Report:
        """Measure the errors against the original, beside the bounds of Eckart and Young.

        Raises
        ------
        UsageError
            The original has another size or mode.
        """
        from lowrank.report import measure

        loaded = load(original, nodata=gaps.value_of(self.parts.head.metadata))
        measure.check_same_image(loaded, self.parts, "the image")
        return measure.measure(
            loaded.picture,
            self.parts,
            source=loaded.source,
            file=None,
            file_bytes=lrk.file_size(self.parts),
        )


def compress(
    image: ImageLike,
    *,
    rank: int | Literal["auto"] | None = None,
    energy: float | None = None,
    error: float | None = None,
    max_error: float | None = None,
    psnr: float | None = None,
    size: int | None = None,
    quality: float | None = None,
    layout: str | None = None,
    store: str | None = None,
    nodata: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> LowRankImage:
    """Compress an image; give one target at most.

    Parameters
    ----------
    image : path, bytes of an image file, binary file object, PIL.Image.Image or array
        Arrays are (height, width) or (height, width, channels), of bool, uint8,
        uint16 or float.
    rank : int or "auto"
        Terms of each channel; "auto" is the threshold of Gavish and Donoho.
    energy : float
        Share of ||A||_F^2 to keep, 0 to 1.
    error : float
        Relative Frobenius error, 0 to 1.
    max_error : float
        Largest error of any sample, in the units of the samples.
    psnr : float
        PSNR in dB.
    size : int
        Bytes of the file, at most.
    quality : float
        1 to 100, packed store only; 75 is what no target at all means.
    layout : {"channels", "patches"}, optional
    store : {"auto", "float16", "float32", "float64", "packed"}, optional
    nodata : float, optional
        Pixels of this value (NaN too) have no data: they are filled for the factorisation,
        have the value again after decoding, and are left out of the errors of pixels.
    max_pixels : int
        A larger image is refused.

    Raises
    ------
    UsageError
        More than one target, or one that cannot be met.
    ImageError, LimitError, FileError
        The image cannot be read.

    See Also
    --------
    LowRankImage.save, LowRankImage.report
    """
    return compress_loaded(
        load(image, max_pixels=max_pixels, nodata=nodata),
        rank=rank,
        energy=energy,
        error=error,
        max_error=max_error,
        psnr=psnr,
        size=size,
        quality=quality,
        layout=layout,
        store=store,
    )


def compress_loaded(
    loaded: Loaded,
    *,
    layout: str | None = None,
    store: str | None = None,
    **wishes: object,
) -> LowRankImage:
    """Compress what `io` has read; the keywords are those of `compress`."""
    wanted = targets.chosen(cast("dict[Kind, object]", wishes))
    encoded = codec.encode(loaded.picture, wanted, layout=layout, store=store)
    return LowRankImage(encoded.parts, loaded.notes + encoded.notes)


def open(
    path: FileLike,
    *,
    partial: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> LowRankImage:
    """Read a `.lrk` file.

    Parameters
    ----------
    path : path-like, bytes of a file, or binary file object
    partial : bool
        Take a file that ends early or is damaged as far as it is whole; `notes` tell what it
        lost.
    max_pixels : int
        A larger image is refused.

    Raises
    ------
    FileError, FormatError, TruncatedError, LimitError
    """
    data, name = _read(path)
    parts = lrk.parse(data, name=name, max_pixels=max_pixels, partial=partial)
    codec.stated(parts)  # refuses a packed file whose ranks are not those of its payload
    return LowRankImage(parts, parts.notes)


def load(
    image: ImageLike, *, max_pixels: int = DEFAULT_MAX_PIXELS, nodata: float | None = None
) -> Loaded:
    """Read an image from wherever it is."""
    if isinstance(image, PIL.Image.Image):
        return pillow.from_pillow(image, max_pixels=max_pixels, nodata=nodata)
    if isinstance(image, str | os.PathLike | bytes) or hasattr(image, "read"):
        data, name = _read(cast("FileLike", image))
        return images.read(data, name=name, max_pixels=max_pixels, nodata=nodata)
    return arrays.from_array(cast("ArrayLike", image), max_pixels=max_pixels, nodata=nodata)


def _read(source: FileLike) -> tuple[bytes, str]:
    """The bytes of a file, wherever it is, and what messages call it."""
    if isinstance(source, str | os.PathLike):
        name = _named(source)
        return files.read_bytes(name), name
    if isinstance(source, bytes):
        return source, "the bytes"
    if not hasattr(source, "read"):
        raise UsageError(f"{type(source).__name__} is no file; give a path, bytes or a file object")
    data = source.read()
    if not isinstance(data, bytes):
        raise UsageError("the file object gives text; open it in binary mode, 'rb'")
    return data, str(getattr(source, "name", "the file object"))


def _named(path: str | os.PathLike[str]) -> str:
    """A path as a string; `-` is a file of that name here, not standard input."""
    name = os.fspath(path)
    return os.path.join(os.curdir, name) if name == "-" else name


def _checked(rank: int | None) -> int | None:
    return None if rank is None else targets.rank(rank)
