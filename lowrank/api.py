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
from typing import TYPE_CHECKING, Any, Literal, cast

import PIL.Image

from lowrank import bounds, codec, files, images, options, truncation
from lowrank import format as lrk
from lowrank.bounds import Report
from lowrank.errors import UsageError
from lowrank.images import DEFAULT_MAX_PIXELS, Loaded
from lowrank.parts import Parts
from lowrank.rank import Kind, Target

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    ImageLike = str | os.PathLike[str] | bytes | PIL.Image.Image | ArrayLike


class LowRankImage:
    """An image as the k leading terms of its singular value decompositions.

    `compress` makes one from an image, `open` reads one from a `.lrk` file.
    """

    def __init__(self, parts: Parts, notes: tuple[str, ...] = ()) -> None:
        self.parts = parts
        self.notes = notes

    def __repr__(self) -> str:
        p = self.parts
        return (
            f"<LowRankImage {p.width}x{p.height} {p.mode.name}, ranks {self.ranks}, "
            f"{p.layout}, {p.store}>"
        )

    @property
    def width(self) -> int:
        """Columns of the image."""
        return self.parts.width

    @property
    def height(self) -> int:
        """Rows of the image."""
        return self.parts.height

    @property
    def mode(self) -> str:
        """Pillow's name of the image's mode."""
        return self.parts.mode.name

    @property
    def layout(self) -> str:
        """How the image is seen as matrices: `channels` or `patches`."""
        return self.parts.layout

    @property
    def store(self) -> str:
        """How the factors are stored: `float16`, `float32`, `float64` or `packed`."""
        return self.parts.store

    @property
    def ranks(self) -> tuple[int, ...]:
        """Number of terms of each matrix."""
        return self.parts.ranks

    def to_bytes(self) -> bytes:
        """Return the bytes of the `.lrk` file."""
        return lrk.serialize(self.parts)

    def save(self, path: str | os.PathLike[str], *, force: bool = True) -> None:
        """Write the `.lrk` file, whole or not at all.

        Parameters
        ----------
        path : path-like
        force : bool
            Replace an existing file.

        Raises
        ------
        FileError
            The file cannot be written, or exists and `force` is false.
        """
        files.write_atomic(os.fspath(path), self.to_bytes(), force=force)

    def to_image(self, rank: int | None = None) -> PIL.Image.Image:
        """Decode to a Pillow image, from the first `rank` terms of each matrix or from all."""
        return images.to_pillow(codec.decode(self.parts, rank=_checked(rank)))

    def to_array(self, rank: int | None = None) -> NDArray[Any]:
        """Decode to an array: (height, width) for one channel, else (height, width, channels)."""
        samples = codec.decode(self.parts, rank=_checked(rank)).samples
        return samples[:, :, 0] if samples.shape[2] == 1 else samples

    def truncate(self, rank: int) -> LowRankImage:
        """Keep the first `rank` terms of each matrix: the best image of that rank."""
        return LowRankImage(truncation.truncate(self.parts, Target("rank", rank)), self.notes)

    def report(self, original: ImageLike) -> Report:
        """Measure the errors against the original, beside the bounds of Eckart and Young.

        Raises
        ------
        UsageError
            The original has another size or mode.
        """
        loaded = load(original)
        check_same_image(loaded, self.parts, "the image")
        return bounds.measure(
            loaded.picture,
            self.parts,
            source=loaded.source,
            file=None,
            file_bytes=len(self.to_bytes()),
        )


def compress(
    image: ImageLike,
    *,
    rank: int | Literal["auto"] | None = None,
    energy: float | None = None,
    error: float | None = None,
    psnr: float | None = None,
    size: int | None = None,
    quality: float | None = None,
    layout: str | None = None,
    store: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> LowRankImage:
    """Compress an image; give one target at most.

    Parameters
    ----------
    image : path, bytes of an image file, PIL.Image.Image or array
        Arrays are (height, width) or (height, width, channels), of bool, uint8,
        uint16 or float.
    rank : int or "auto"
        Terms of each channel; "auto" is the threshold of Gavish and Donoho.
    energy : float
        Share of ||A||_F^2 to keep, 0 to 1.
    error : float
        Relative Frobenius error, 0 to 1.
    psnr : float
        PSNR in dB.
    size : int
        Bytes of the file, at most.
    quality : float
        1 to 100, packed store only; 75 is what no target at all means.
    layout : {"channels", "patches"}, optional
    store : {"auto", "float16", "float32", "float64", "packed"}, optional
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
        load(image, max_pixels=max_pixels),
        rank=rank,
        energy=energy,
        error=error,
        psnr=psnr,
        size=size,
        quality=quality,
        layout=layout,
        store=store,
    )


def compress_loaded(
    loaded: Loaded,
    *,
    rank: int | Literal["auto"] | None = None,
    layout: str | None = None,
    store: str | None = None,
    **wishes: float | None,
) -> LowRankImage:
    """Compress what `images` has read; the keywords are those of `compress`."""
    target = target_of(
        {
            "rank": None if rank == "auto" else rank,
            "auto": 0 if rank == "auto" else None,
            **cast("dict[Kind, float | None]", wishes),
        }
    )
    encoded = encode(loaded, target, layout=layout, store=store)
    return LowRankImage(encoded.parts, loaded.notes + encoded.notes)


def target_of(wishes: dict[Kind, float | None]) -> Target:
    """Turn wishes, of which one at most is given, into the target; none means quality 75."""
    given = [(kind, value) for kind, value in wishes.items() if value is not None]
    if len(given) > 1:
        names = " and ".join(kind for kind, _ in given)
        raise UsageError(f"{names} exclude each other; give one target")
    return Target(*given[0]) if given else Target("quality", 75)


def encode(
    loaded: Loaded,
    target: Target,
    *,
    layout: str | None = None,
    store: str | None = None,
    certify: bool = False,
) -> codec.Encoded:
    """Compress what `images.read` returned."""
    options.choice(layout, "layout", options.LAYOUTS)
    options.choice(store, "store", options.STORES)
    layout, store = codec.resolve(target, layout, store)
    return codec.encode(loaded.picture, target, layout=layout, store=store, certify=certify)


def open(
    path: str | os.PathLike[str],
    *,
    partial: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> LowRankImage:
    """Read a `.lrk` file.

    Parameters
    ----------
    path : path-like
    partial : bool
        Take a file that ends early as far as it goes.
    max_pixels : int
        A larger image is refused.

    Raises
    ------
    FileError, FormatError, TruncatedError, LimitError
    """
    name = os.fspath(path)
    return LowRankImage(
        lrk.parse(files.read_bytes(name), name=name, max_pixels=max_pixels, partial=partial)
    )


def load(image: ImageLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Loaded:
    """Read an image from wherever it is."""
    if isinstance(image, str | os.PathLike):
        name = os.fspath(image)
        return images.read(files.read_bytes(name), name=name, max_pixels=max_pixels)
    if isinstance(image, bytes):
        return images.read(image, name="image", max_pixels=max_pixels)
    if isinstance(image, PIL.Image.Image):
        return images.from_pillow(image, max_pixels=max_pixels)
    return images.from_array(image)


def check_same_image(loaded: Loaded, parts: Parts, name: str) -> None:
    """Refuse to compare a file with an image that it cannot have been made from."""
    a, b = loaded.picture, parts
    if (a.width, a.height, a.mode.name) != (b.width, b.height, b.mode.name):
        raise UsageError(
            f"{name} is {a.width}x{a.height} {a.mode.name}, the file "
            f"{b.width}x{b.height} {b.mode.name}; give the image that the file was made from"
        )


def _checked(rank: int | None) -> int | None:
    if rank is not None and rank < 1:
        raise UsageError(f"rank {rank} is out of range; give 1 or more")
    return rank
