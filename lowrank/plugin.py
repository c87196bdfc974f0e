"""`.lrk` as a format of Pillow: importing this module registers it.

>>> import lowrank
>>> lowrank.register_lrk_opener()
>>> from PIL import Image
>>> Image.open("photo.lrk").size  # doctest: +SKIP
(768, 512)

`Image.open` reads the header and the metadata only; the pixels are decoded on the first
`load`. `save` takes the targets of `lowrank.compress` as keywords: `im.save("photo.lrk",
rank=20)`.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import replace
from typing import IO, Any

from PIL import Image, ImageFile

from lowrank import api, codec, images
from lowrank import format as lrk
from lowrank.errors import FormatError, LimitError, LowrankError, TruncatedError
from lowrank.limits import MAX_METADATA_BYTES
from lowrank.metadata import EXIF_PREFIX
from lowrank.parts import Parts

_OPTIONS = ("rank", "energy", "error", "psnr", "size", "quality", "layout", "store")
_HEAD_CHUNKS = (b"HEAD", b"EXIF", b"ICCP", b"XMP_")


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

    _parts: Parts | None = None

    def _open(self) -> None:
        """Read as far as the first term; the file may be a stream."""
        assert self.fp is not None  # noqa: S101 - for the type checker: Pillow sets it
        start = self.fp.tell()
        try:
            head = lrk.parse_header(
                _read_head(self.fp), name=self._name(), max_pixels=_pixel_limit()
            )
        except LimitError as error:
            raise Image.DecompressionBombError(str(error)) from error
        except FormatError as error:
            raise SyntaxError(str(error)) from error  # Pillow goes on to the next format
        self.fp.seek(start)
        self._mode = head.mode.name
        self._size = head.width, head.height
        self.info.update(
            {
                key: value
                for key, value in (
                    ("exif", head.metadata.exif),
                    ("icc_profile", head.metadata.icc),
                    ("xmp", head.metadata.xmp),
                )
                if value
            }
        )
        self.info["layout"], self.info["store"] = head.layout, head.store
        self.info["rank"] = head.ranks
        self._parts = head

    def load(self) -> Any:
        """Decode the pixels, once.

        With `ImageFile.LOAD_TRUNCATED_IMAGES`, a file that ends early is decoded from
        the terms that are there.
        """
        if self._parts is not None and self.fp is not None:
            picture = codec.decode(self._parse(partial=bool(ImageFile.LOAD_TRUNCATED_IMAGES)))
            self.im = images.to_pillow(picture).im
            self.tile = []
            self._parts = None
            if self._exclusive_fp and self._close_exclusive_fp_after_loading:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Check the whole file, every checksum included, without decoding pixels."""
        if self._parts is None:
            raise RuntimeError("verify must be called directly after open")
        self._parse(partial=False)
        if self._exclusive_fp and self.fp is not None:
            self.fp.close()
        self.fp = None
        self._parts = None

    def _parse(self, *, partial: bool) -> Parts:
        assert self.fp is not None  # noqa: S101 - see _open
        try:
            return lrk.parse(
                self.fp.read(), name=self._name(), max_pixels=_pixel_limit(), partial=partial
            )
        except TruncatedError as error:
            raise OSError(
                f"image file is truncated ({error.terms} of {error.total} terms)"
            ) from error
        except LowrankError as error:
            raise OSError(str(error)) from error

    def _name(self) -> str:
        name = self.filename
        return (name.decode(errors="replace") if isinstance(name, bytes) else name) or "image"


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
    options = {key: image.encoderinfo[key] for key in _OPTIONS if key in image.encoderinfo}
    loaded = images.from_pillow(image, max_pixels=_pixel_limit())
    given = {}
    for key, name in (("exif", "exif"), ("icc", "icc_profile"), ("xmp", "xmp")):
        value = image.encoderinfo.get(name)
        if value:
            block = value.tobytes() if isinstance(value, Image.Exif) else bytes(value)
            given[key] = block.removeprefix(EXIF_PREFIX)
    picture = loaded.picture
    if given:
        picture = replace(picture, metadata=replace(picture.metadata, **given))
    try:
        stream.write(api.compress_loaded(replace(loaded, picture=picture), **options).to_bytes())
    except LowrankError as error:
        raise ValueError(str(error)) from error


Image.register_open(LrkImageFile.format, LrkImageFile, _accept)
Image.register_save(LrkImageFile.format, _save)
Image.register_extension(LrkImageFile.format, ".lrk")
Image.register_mime(LrkImageFile.format, "image/x-lrk")
