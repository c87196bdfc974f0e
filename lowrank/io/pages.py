"""Files of several images: animations and multi-page TIFFs as stacks.

Frames are read as single pictures are, in whatever way is right for their file, and must be of
one size and mode. Animations are the exception, where a decoder gives grey or colour as each
frame needs it: they get the mode that holds all. The times of an animation's frames travel.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lowrank.errors import ImageError, LimitError, called, number_of
from lowrank.io import dtypes, endings, metadata, pillow, tiff, tifffile
from lowrank.io import nodata as missing
from lowrank.io.modes import check_finite, from_image, stored_as
from lowrank.io.taking import TIFFS, Taking
from lowrank.io.wall import one_line, printed_errors, wall
from lowrank.limits import FRAME, STACK, fits, stack_fits
from lowrank.picture import MODES, Loaded, Metadata, Mode, Picture, Source, array_mode
from lowrank.picture.axis import Axis
from lowrank.picture.thumbnail import orientation

if TYPE_CHECKING:
    from lowrank.picture.lazy import Lazy

Samples = NDArray[Any]

_RICHER = ("L", "LA", "RGB", "RGBA")  # what the frames of an animation may be


class UnequalError(ImageError):
    """The images of a file are of several sizes or modes: no stack."""


def read(
    data: bytes, *, name: str, taking: Taking, max_pixels: int, nodata: float | None
) -> Loaded | None:
    """Read the frames of a file; None where it holds one image only.

    Raises
    ------
    UnequalError
        The images are of several sizes or modes.
    ImageError, LimitError
        As for single images.
    """
    if data.startswith(TIFFS) and tiff.beyond_pillow(data) and tifffile.installed():
        return _by_tifffile(data, name, taking, max_pixels, nodata)
    with wall(f"read {called(name)}", pillow.DAMAGED, max_pixels) as warned:
        try:
            opened = Image.open(BytesIO(data), formats=pillow.formats_of(data))
        except UnidentifiedImageError:  # whoever reads it as one image knows what to say
            return None
        with opened as image:
            return _read(image, data, name, taking, max_pixels, nodata, warned)


def of_images(
    images: Sequence[Image.Image], *, max_pixels: int, nodata: float | None = None
) -> Loaded:
    """Take images that Pillow holds as one stack; of a single one, all of its frames.

    Raises
    ------
    UnequalError
        They are of several sizes or modes.
    ImageError, LimitError
        As for single images.
    """
    everything = Taking(stack=True)
    first = images[0]
    if len(images) == 1 and getattr(first, "n_frames", 1) > 1:
        at = first.tell()
        with wall("read image", pillow.DAMAGED, max_pixels) as warned:
            loaded = _read(first, b"", "image", everything, max_pixels, nodata, warned)
            first.seek(at)
        if loaded is not None:
            return loaded
    notes: list[str] = []
    stack = _Stack(len(images), max_pixels)
    carried: dict[Metadata, None] = {}
    for number, image in enumerate(images):
        one = pillow.from_pillow(image, max_pixels=max_pixels)
        notes += one.notes
        stack.add(one.picture.samples, one.picture.mode, number, animated=False)
        carried[one.picture.metadata] = None
    notes += left_out(carried)
    icc = Metadata(icc=next(iter(carried)).icc)
    kind = first.format or "memory"
    return _loaded(stack, "image", kind, everything, icc, notes, 0, nodata, None)


def left_out(carried: Iterable[Metadata]) -> list[str]:
    """What a stack does not keep of the metadata of single pictures, in sentences."""
    said = []
    several = list(carried)
    if any(x.exif or x.xmp for x in several):
        said.append("EXIF and XMP of the single pictures were left out.")
    if any(orientation(x.exif) != 1 for x in several):
        said.append("Pictures that EXIF says to turn were taken as they are stored.")
    if len({x.icc for x in several}) > 1:
        said.append("The pictures have several colour profiles: that of the first was kept.")
    return said


def _read(
    image: Image.Image, data: bytes, name: str, taking: Taking, max_pixels: int,
    nodata: float | None, warned: list[warnings.WarningMessage],
) -> Loaded | None:  # fmt: skip
    frames = getattr(image, "n_frames", 1)
    if frames < 2:
        return None
    notes: list[str] = []
    with printed_errors() as said:
        stack = _frames(image, data, taking.chosen(frames), max_pixels, notes)
    image.seek(0)
    carried = metadata.of_image(image, notes, data)
    notes += _said_of_animation(image)
    notes += endings.said(image.format or "", data)
    said += (one_line(str(warning.message)) for warning in warned)
    notes += (f"The decoder warns: {text}." for text in said)
    stated = missing.stated_by(image)
    return _loaded(
        stack, name, image.format or "", taking, carried, notes, len(data), nodata, stated
    )


def _said_of_animation(image: Image.Image) -> list[str]:
    """What a stack does not know of an animation."""
    notes = []
    if getattr(image, "default_image", False):  # of a PNG
        notes.append("The first image is not part of the animation: others show it alone.")
    plays = image.info.get("loop", 0)
    if image.format == "GIF" and (plays or "loop" not in image.info):
        plays += 1  # it says how often it is repeated, and nothing where it is not
    if plays and image.format != "TIFF":
        often = "once" if plays == 1 else f"{plays:,} times"
        notes.append(f"Left out: that the animation plays {often}.")
    return notes


class _Stack:
    """Frames that are filled in one after another, and what each is in time."""

    def __init__(self, count: int, max_pixels: int) -> None:
        self.count = count
        self.max_pixels = max_pixels
        self.samples: Samples | None = None
        self.mode: Mode = MODES["L"]
        self.numbers: list[int] = []
        self.times: list[float] = []

    def add(self, frame: Samples, mode: Mode, number: int, *, animated: bool) -> None:
        """Add a frame."""
        if self.samples is None:
            self.mode = mode
            self.samples = self._room(frame.shape, frame.dtype)
        same = mode == self.mode
        if animated and not same and {mode.name, self.mode.name} <= set(_RICHER):
            both = _joint(mode, self.mode)
            self.samples = _widened(self.samples, self.mode, both)
            frame, mode, self.mode = _widened(frame, mode, both), both, both
            same = True
        if not same or frame.shape != self.samples.shape[1:]:
            raise UnequalError(
                f"image {number} is {frame.shape[1]}x{frame.shape[0]} {mode.title}, image "
                f"{self.numbers[0]} {self.samples.shape[2]}x{self.samples.shape[1]} "
                f"{self.mode.title}: they are no frames of one stack; --frames takes some"
            )
        self.samples[len(self.numbers)] = frame
        self.numbers.append(number)

    def _room(self, shape: tuple[int, ...], dtype: Any) -> Samples:
        check_room((self.count, *shape), np.dtype(dtype), self.max_pixels)
        return np.empty((self.count, *shape), dtype)


def check_room(shape: tuple[int, ...], dtype: np.dtype[Any], max_pixels: int) -> None:
    """Refuse a stack of (frames, height, width, ...) beyond the limits or the memory.

    Raises
    ------
    LimitError
    """
    frames, height, width = shape[:3]
    claims = f"{number_of(frames, 'frame')} of {width} x {height} pixels"
    if not stack_fits(frames, height * width, max_pixels):
        raise LimitError(
            f"{claims} are above the limit of {max_pixels:,} a frame, and {STACK} times as many "
            f"in all, where each counts as {FRAME:,} at least; raise the limit, or take some with "
            "--frames"
        )
    if not fits(int(np.prod(shape, dtype=object)) * dtype.itemsize):
        raise LimitError(f"not enough memory for {claims}; take some with --frames")


def _frames(
    image: Image.Image, data: bytes, chosen: range, max_pixels: int, notes: list[str]
) -> _Stack:
    """Decode frames in their order; those that are passed over may be needed to know the next."""
    stack = _Stack(len(chosen), max_pixels)
    animated = image.format != "TIFF"
    time, times = 0.0, {}
    last = max(chosen)
    order = sorted(chosen)
    place = {number: i for i, number in enumerate(order)}
    for number in range(last + 1):
        if not animated and number not in place:
            continue
        image.seek(number)
        times[number] = time
        if number in place:
            pillow.check_size(image, max_pixels)
            samples, mode = frame(image, data, notes)
            stack.add(samples, mode, number, animated=animated)
        if animated:
            image.load()
            time += float(image.info.get("duration", 0) or 0)
    _settle(stack, image, notes)
    if list(chosen) != order and stack.samples is not None:
        turn = [place[number] for number in chosen]
        stack.samples = stack.samples[turn]
    stack.times = [times[number] for number in chosen] if animated and time else []
    return stack


def frame(
    image: Image.Image, data: bytes = b"", notes: list[str] | None = None
) -> tuple[Samples, Mode]:
    """Samples and mode of the image that an open file is at; what is lost of them goes to notes."""
    notes = [] if notes is None else notes
    raw = pillow.raw_mode(image)
    if pillow.is_deeper(image, raw, data):
        more = pillow.DEEPER["TIFF"] if image.format == "TIFF" else ""  # of animations none does
        notes.append(f"Samples of more than 8 bits were reduced to 8: Pillow holds no more{more}.")
    reader = pillow.declared(image, raw, data, notes)
    image.load()
    if reader is not None or image.mode == "I":  # integers: all frames are narrowed together
        samples, name = reader(image) if reader else (np.asarray(image), "I")
        if name == "I":
            return samples[..., np.newaxis], array_mode(str(samples.dtype), 1)
    return from_image(image, raw, notes, reader)


def _settle(stack: _Stack, image: Image.Image, notes: list[str]) -> None:
    """Take back what a decoder widened: integers of 16 bits, grey frames, frames without alpha."""
    samples = stack.samples
    if samples is None:
        return
    if stack.mode.name == "array" and samples.dtype == np.int32:
        bits = getattr(image, "tag_v2", {}).get(258, (32,))
        if max(bits if isinstance(bits, tuple) else (bits,)) <= 16:
            low = samples.min() < 0
            stack.mode = array_mode("int16", 1) if low else MODES["I;16"]
            stack.samples = samples.astype(stack.mode.dtype)
    elif image.format == "WEBP" and stack.mode.name == "RGBA" and samples[..., 3].min() == 255:
        stack.samples, stack.mode = np.ascontiguousarray(samples[..., :3]), MODES["RGB"]
    elif image.format == "GIF" and stack.mode.name == "RGB":
        first = samples[..., :1]
        if all(np.array_equal(samples[..., c : c + 1], first) for c in (1, 2)):
            stack.samples, stack.mode = np.ascontiguousarray(first), MODES["L"]
            notes[:] = [stored_as("L") if x == stored_as("RGB") else x for x in notes]


def _joint(a: Mode, b: Mode) -> Mode:
    colour = any(len(m.channels) >= 3 for m in (a, b))
    alpha = any("alpha" in m.channels for m in (a, b))
    return MODES[("RGB" if colour else "L") + ("A" if alpha else "")]


def _widened(samples: Samples, mode: Mode, wider: Mode) -> Samples:
    """8-bit samples in a mode that has colour, or alpha, or both besides."""
    colours = samples[..., : mode.colours]
    if wider.colours > mode.colours:
        colours = np.repeat(colours, wider.colours, axis=-1)
    if "alpha" not in wider.channels:
        return colours
    alpha = samples[..., mode.colours :]
    if not alpha.shape[-1]:
        alpha = np.full((*samples.shape[:-1], 1), 255, samples.dtype)
    return np.concatenate([colours, alpha], axis=-1)


def _loaded(
    stack: _Stack, name: str, format: str, taking: Taking, carried: Metadata, notes: list[str],
    size: int, nodata: float | None, stated: float | None,
) -> Loaded:  # fmt: skip
    samples, mode = stack.samples, stack.mode
    if samples is None:
        raise ImageError("it holds no frame; get it again")
    one = isinstance(taking.frames, int)
    if not one:
        axis = Axis(values=tuple(stack.times), unit="ms" if stack.times else "").pack()
        carried = Metadata(carried.exif, carried.icc, carried.xmp, None, axis)
    picture = Picture(samples[0] if one else samples, mode, carried)
    said = list(dict.fromkeys(notes))
    images = f"image {taking.frames} of it" if one else f"its {number_of(stack.count, 'image')}"
    said.append(taken_for(picture, images))
    picture = missing.taken(picture, nodata, said, stated=stated)
    check_finite(picture.samples, mode)
    size = size or picture.samples.nbytes
    source = Source(name, format, mode.title, picture.width, picture.height, size)
    return Loaded(picture, source, tuple(filter(None, said)))


def in_order(pictures: int) -> str:
    """What some files are as one stack, for a note."""
    return "1 picture" if pictures == 1 else f"{pictures:,} pictures in the order of their names"


def taken_for(picture: Picture | Lazy, what: str) -> str:
    """The note that says what a source was taken for; none where `what` is empty."""
    if not what:
        return ""
    size = f"{picture.width}x{picture.height} {picture.mode.title}"
    if picture.frames is None:
        return f"Taken for one picture of {size}: {what}."
    return f"Taken for a stack of {number_of(picture.frames, 'frame')} of {size}: {what}."


def _by_tifffile(
    data: bytes, name: str, taking: Taking, max_pixels: int, nodata: float | None
) -> Loaded | None:
    with tifffile.opened(data, name=called(name), max_pixels=max_pixels) as file:
        if file.frames + file.others < 2:
            return None
        if file.frames < 2:
            raise UnequalError(
                "its images are of several sizes or types: they are no frames of a stack"
            )
        chosen = taking.chosen(file.frames)
        check_room((len(chosen), *file.shape[1:]), file.dtype, max_pixels)
        samples = np.empty((len(chosen), *file.shape[1:]), file.dtype)
        for i, number in enumerate(chosen):
            samples[i] = file.frame(number)
        notes = tiff.said_of(data)
        if file.others:
            notes.append(f"Left out: {number_of(file.others, 'image')} of another size or type.")
        carried, stated = metadata.of_tiff(data, notes)
        notes += dict.fromkeys(file.notes)
        typed, mode = dtypes.typed(samples, notes, inks=tiff.inks(data))
        stack = _Stack(len(chosen), max_pixels)
        stack.samples, stack.mode = typed, mode
        value, stated = (
            missing.of_type(x, samples.dtype) for x in (nodata, missing.number(stated))
        )
        return _loaded(stack, name, "TIFF", taking, carried, notes, len(data), value, stated)
