"""`.lrk` as a format of Pillow: importing this module registers it.

>>> import lowrank
>>> lowrank.register_lrk_opener()
>>> from PIL import Image
>>> Image.open("photo.lrk").size  # doctest: +SKIP
(768, 512)

`Image.open` reads the header and the metadata only; the pixels are decoded on the first
`load`, with `ImageFile.LOAD_TRUNCATED_IMAGES` also those of a file that ends early or is
damaged, from what is whole of it: `info["notes"]` then says how much that is. `save` takes the
targets of `lowrank.compress` as keywords, `im.save("photo.lrk", rank=20)`, and `exif`,
`icc_profile`, `xmp` and `dpi`: what is not given comes from the image's own `info`, and None
leaves it out (a resolution goes with the `exif`, which carries it).
`save_all=True`, with `append_images` or without, writes a stack.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, Any

from PIL import Image, ImageFile, ImageSequence

from lowrank import api, codec, targets
from lowrank import format as lrk
from lowrank.errors import (
    FormatError,
    LimitError,
    LowrankError,
    TruncatedError,
    UsageError,
    number_of,
)
from lowrank.format.parts import Parts
from lowrank.io import modes, pages, pillow, resolution
from lowrank.io.metadata import EXIF_PREFIX
from lowrank.limits import MAX_METADATA_BYTES
from lowrank.picture import ARRAY, Loaded

_OPTIONS = (
    "rank", "energy", "error", "max_error", "psnr", "psnr_worst", "size", "quality",
    "tune", "layout", "store", "weights",
)  # fmt: skip
_METADATA = (("exif", "exif"), ("icc", "icc_profile"), ("xmp", "xmp"))  # ours, Pillow's
_HEAD_CHUNKS = (b"HEAD", b"EXIF", b"ICCP", b"XMP_", b"NODT", b"AXIS")


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(lrk.SIGNATURE)


def _pixel_limit() -> int:
    """Pixels that Pillow itself would refuse as a bomb: twice its limit."""
    limit = Image.MAX_IMAGE_PIXELS
    return sys.maxsize if limit is None else 2 * limit


class LrkImageFile(ImageFile.ImageFile):
    """A `.lrk` file opened by Pillow."""

    format = "LRK"
    format_description = "Low-rank image"

    def _open(self) -> None:
        """Read as far as the first term; the file may be a stream."""
        assert self.fp is not None  # noqa: S101 - for the type checker: Pillow sets it
        start = self.fp.tell()
        try:
            parts = lrk.parse_header(
                _read_head(self.fp),
                name=self._name(),
                max_pixels=_pixel_limit(),
                partial=_lenient(),
            )
        except LimitError as error:
            raise Image.DecompressionBombError(str(error)) from error
        except FormatError as error:
            raise SyntaxError(str(error)) from error  # Pillow goes on to the next format
        head = parts.head
        if head.mode.name == ARRAY:
            raise OSError(
                f"no mode of Pillow holds {head.mode.title} samples; lowrank.open gives the array"
            )
        self._mode = head.mode.name
        self._size = head.width, head.height
        for ours, theirs in _METADATA:
            block = getattr(head.metadata, ours)
            if block:
                # As in a JPEG, so that it may be handed to any `save` as it is.
                self.info[theirs] = EXIF_PREFIX + block if ours == "exif" else block
        dots = resolution.of_exif(head.metadata.exif)
        if dots is not None and dots.unit != resolution.NONE:
            self.info["dpi"] = dots.dpi
        self.info["layout"], self.info["store"] = head.layout, head.store
        self.info["rank"] = parts.ranks
        self._frames, self._at, self._start = head.frames or 1, 0, start
        if self._frames > 1:  # another may be asked for once this one is loaded
            self._fp, self._close_exclusive_fp_after_loading = self.fp, False
        self._point()

    def _point(self) -> None:
        """Let Pillow decode this frame next."""
        args = (self._name(), self.info, self._at)
        self.tile = [ImageFile._Tile("lrk", (0, 0, *self._size), self._start, args)]

    @property
    def n_frames(self) -> int:
        """Frames of a stack."""
        return self._frames

    @property
    def is_animated(self) -> bool:
        """Whether it has several."""
        return self._frames > 1

    def tell(self) -> int:
        """Number of the current frame."""
        return self._at

    def seek(self, frame: int) -> None:
        """Go to a frame of a stack."""
        if self._seek_check(frame):
            self.fp, self._at = self._fp, frame  # type: ignore[assignment]
            self._point()

    def verify(self) -> None:
        """Check the whole file, every checksum included, without decoding pixels."""
        if self.fp is None or not self.tile:
            raise RuntimeError("verify must be called directly after open")
        self.fp.seek(self.tile[0].offset)
        with _as_pillow_says():
            codec.stated(_parse(self.fp, self._name(), partial=False))
        super().verify()

    def load_seek(self, pos: int) -> None:
        """Go to where the file begins. That it is here tells Pillow's parser to wait for all."""
        assert self.fp is not None  # noqa: S101 - as above
        self.fp.seek(pos)

    def _name(self) -> str:
        name = self.filename
        return (name.decode(errors="replace") if isinstance(name, bytes) else name) or "image"


class LrkDecoder(ImageFile.PyDecoder):
    """Decode the pixels of a whole file; the arguments are its name for messages, and its info."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        """Set the image's pixels and say that all is done."""
        assert self.fd is not None  # noqa: S101 - as above
        name, info, frame = self.args
        with _as_pillow_says():
            decoded = codec.decode(_parse(self.fd, name, partial=_lenient()))
        if decoded.notes:
            info["notes"] = decoded.notes
        picture = decoded.picture
        if picture.frames is not None:
            picture = replace(picture, samples=picture.samples[frame])
        self.set_as_raw(modes.raw(picture))
        return -1, 0


def _lenient() -> bool:
    """Whether Pillow is to take files that are cut or damaged."""
    return bool(ImageFile.LOAD_TRUNCATED_IMAGES)


@contextmanager
def _as_pillow_says() -> Iterator[None]:
    """Pillow's callers expect OSError of whatever is wrong with a file."""
    try:
        yield
    except TruncatedError as error:
        terms = f" ({error.terms} of {number_of(error.total, 'term')})" if error.total else ""
        raise OSError(f"image file is truncated{terms}") from error
    except LowrankError as error:
        raise OSError(str(error)) from error


def _parse(stream: IO[bytes], name: str, *, partial: bool) -> Parts:
    return lrk.parse(stream.read(), name=name, max_pixels=_pixel_limit(), partial=partial)


def _read_head(stream: IO[bytes]) -> bytes:
    """Bytes of the signature, the header and the metadata, and no more."""
    data = stream.read(len(lrk.SIGNATURE) + 1)
    while True:
        head = stream.read(8)
        data += head
        if len(head) < 8:
            return data
        size, kind = struct.unpack("<I4s", head)
        if kind not in _HEAD_CHUNKS or size > MAX_METADATA_BYTES:
            return data
        data += stream.read(size + 4)


def _save(image: Image.Image, stream: IO[bytes], filename: str | bytes) -> None:
    _write(image, stream, partial(pillow.from_pillow, image))


def _save_all(image: Image.Image, stream: IO[bytes], filename: str | bytes) -> None:
    """All frames of an image, and of those that are to follow it, as a stack."""
    every = [image]
    if more := list(image.encoderinfo.get("append_images") or ()):
        every = [x for one in (image, *more) for x in ImageSequence.all_frames(one)]
    _write(image, stream, partial(pages.of_images, every))


def _write(image: Image.Image, stream: IO[bytes], read: Callable[..., Loaded]) -> None:
    options = {key: image.encoderinfo[key] for key in _OPTIONS if key in image.encoderinfo}
    given = {}
    for ours, theirs in _METADATA:
        if theirs in image.encoderinfo:
            value = image.encoderinfo[theirs] or b""
            # Bytes of a number would be as many zeros: what has no buffer is a TypeError.
            block = value.tobytes() if isinstance(value, Image.Exif) else bytes(memoryview(value))
            given[ours] = block.removeprefix(EXIF_PREFIX) or None
    try:
        nodata = targets.missing(image.encoderinfo.get("nodata"))
        loaded = read(max_pixels=_pixel_limit(), nodata=nodata)
        metadata = replace(loaded.picture.metadata, **given)
        if image.encoderinfo.get("dpi"):
            dots = resolution.of_dpi(image.encoderinfo["dpi"])
            metadata = replace(metadata, exif=resolution.put(metadata.exif, dots, []))
        loaded = replace(loaded, picture=replace(loaded.picture, metadata=metadata))
        stream.write(api.compress_loaded(loaded, **options).to_bytes())
    except UsageError as error:
        raise ValueError(str(error)) from error
    except LowrankError as error:
        raise OSError(str(error)) from error


Image.register_open(LrkImageFile.format, LrkImageFile, _accept)
Image.register_decoder("lrk", LrkDecoder)
Image.register_save(LrkImageFile.format, _save)
Image.register_save_all(LrkImageFile.format, _save_all)
Image.register_extension(LrkImageFile.format, ".lrk")
Image.register_mime(LrkImageFile.format, "image/x-lrk")
