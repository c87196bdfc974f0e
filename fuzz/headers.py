"""Mutants of packed files made by the header's own writer: legal and illegal values of every field.

Bits changed at random rarely say anything else than nonsense in a header that is itself
entropy-coded. Here it is read, its fields are changed, and it is written again, before a
payload that may be the file's own, noise, or nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np

from lowrank.format import SIGNATURE
from lowrank.format.fields import VERSION
from lowrank.layouts.lapped import grid
from lowrank.picture import MODES
from lowrank.stores.packed.channels import header as channels_header
from lowrank.stores.packed.coding.wavelet import band_shapes
from lowrank.stores.packed.frames import header as frames_header
from lowrank.stores.packed.frames import tiles
from lowrank.stores.packed.frames.basis import Column
from lowrank.stores.packed.frames.classes import Classes
from lowrank.stores.packed.frames.profile import Profile
from lowrank.stores.packed.patches import header as patches_header

_CHANNELS = [len(mode.channels) for mode in MODES.values()]
_CODES = (0, 1, 1023, 1024 * 16, 1024 * 20, 1024 * 31, 65535)
_SIDES = (1, 2, 3, 15, 16, 17, 31, 33, 64, 255, 1024, 1 << 14)
_MAPS = 40  # planes of all channels, at most
_LARGE = (0, 1, 100, 1 << 20, 1 << 29, (1 << 30) - 1, 1 << 30)
_PACKED = 3
_STACK = 2
_F = 7  # mode of floats, whose header says which range they have
_FRAMES = (1, 2, 3, 9, 40, 300)
_RANGES = (0.0, 1.0, -1.0, 255.0, 1e-300, 1e30, -1e30, 3.4e38, float("inf"), float("nan"))


def mutants(seeds: list[bytes], rng: np.random.Generator, largest: int) -> Iterator[bytes]:
    """Yield mutants of the packed seeds without end, of at most `largest` pixels; or stacks."""
    packed = [
        data for data in seeds
        if data[25] < len(_CHANNELS) and data[26] < _STACK and data[27] == _PACKED
    ]  # fmt: skip
    while True:
        if rng.integers(4):
            yield _mutant(packed[rng.integers(len(packed))], rng, largest)
        else:
            yield _stack(rng, largest)


def _mutant(data: bytes, rng: np.random.Generator, largest: int) -> bytes:
    (size,) = struct.unpack_from("<I", data, 9)
    width, height, mode, layout = struct.unpack_from("<IIBB", data, 17)
    at = data.index(b"PACK", 17 + size)
    (length,) = struct.unpack_from("<I", data, at - 4)
    payload = data[at + 4 : at + 4 + length]
    channels = _CHANNELS[mode]
    if layout == 1:
        header, end = patches_header.read_header(payload, grid(height, width), channels)
    else:
        header, end = channels_header.read_header(payload, height, width, channels)
    words = payload[end + 4 * header.lanes :]
    if rng.integers(2):
        width, height = _sides(rng, largest)
    if not rng.integers(4):
        mode, layout = int(rng.integers(len(_CHANNELS))), int(rng.integers(2))
        channels = _CHANNELS[mode]
    make = _patches if layout == 1 else _channels
    head, lanes, ranks = make(header, rng, width, height, channels)
    body = head + _states(rng, lanes) + _words(rng, words)
    m, n = (height, width) if layout == 0 else (int(np.prod(grid(height, width))), 256)
    fields_ = struct.pack("<IIBBBB", width, height, mode, layout, _PACKED, 0)
    if mode == _F:
        fields_ += struct.pack("<dd", *(_one(rng, _RANGES) for _ in range(2)))
    return _file(fields_ + _stated(rng, ranks, m, n), body)


def _stated(rng: np.random.Generator, ranks: list[int], m: int, n: int) -> bytes:
    """What HEAD says of each matrix: most often ranks of the payload, and norms in order."""
    fields_ = b""
    honest = bool(rng.integers(8))  # what contradicts itself is refused before it is decoded
    for rank in ranks:
        norms = [int(x) for x in rng.integers(0, 65536, 4)]
        if honest:
            sigma_next, tail, error, norm = sorted(norms)
            k, norms = min(rank, m, n), [norm, sigma_next, tail, error]
        else:
            k = _one(rng, (1, 1, min(m, n), int(rng.integers(min(m, n) + 1)), 65535))
        fields_ += struct.pack("<HHHHH", min(k, 65535), *norms)
    return fields_


def _file(head: bytes, payload: bytes) -> bytes:
    chunks = (b"HEAD" + head, b"PACK" + payload, b"DONE")
    return (
        SIGNATURE
        + bytes([VERSION])
        + b"".join(
            struct.pack("<I", len(c) - 4) + c + struct.pack("<I", zlib.crc32(c)) for c in chunks
        )
    )


def _stack(rng: np.random.Generator, largest: int) -> bytes:
    """A packed stack of any shape, whose planes and basis are made here; or in a few tiles."""
    while True:
        frames, (width, height) = _one(rng, _FRAMES), _sides(rng, largest)
        if frames * width * height <= 4 * largest:
            break
    mode = _one(rng, (1, 2, 3, 4, 6))
    size = frames, height, width, _CHANNELS[mode]
    payload, planes = _planes(rng, *size) if rng.integers(4) else _tiles(rng, *size)
    fields_ = struct.pack("<IIBBBBI", width, height, mode, _STACK, _PACKED, 0, frames)
    return _file(fields_ + _stated(rng, [planes], frames, width * height * size[3]), payload)


def _tiles(
    rng: np.random.Generator, frames: int, height: int, width: int, channels: int
) -> tuple[bytes, int]:
    """A payload of tiles, and its planes; now and then of what is no grid, or of other planes."""
    size = frames, height, width, channels
    rows, columns = grid(height, width)
    down, across = (-(-n // _one(rng, (1, 1, 2, 3))) for n in (rows, columns))
    made = [_planes(rng, *box.size(size)) for box in tiles.boxes(size, down, across)]
    planes = sum(k for _, k in made)
    pieces = [piece for piece, _ in made]
    if not rng.integers(4):
        odd = int(rng.integers(4))
        down, across = (down + (odd == 0) * int(rng.integers(-1, 2)), across + (odd == 1))
        planes = max(planes + (odd == 2) * int(rng.integers(-1, 2)), 0)
        pieces += [b""] * (odd == 3)
    return tiles.write(max(down, 0), across, planes, pieces), planes


def _planes(
    rng: np.random.Generator, frames: int, height: int, width: int, channels: int
) -> tuple[bytes, int]:
    """A payload of planes, and how many they are."""
    most = max(_MAPS // channels, 1)
    planes = min(_one(rng, (1, frames, *range(1, frames + 1), frames + 1)), most)
    columns = None
    if frames > most or rng.integers(4):
        ends = (37, 20, 64) if rng.integers(8) else (60, 40, 70)
        columns = [
            Column(
                int(rng.integers(ends[0])),
                bool(rng.integers(2)),
                int(rng.integers(ends[1])),
                int(rng.integers(ends[2])),
            )
            for _ in range(planes)
        ]
    else:
        planes = frames
    low, _ = band_shapes(*grid(height, width))
    size = _one(rng, _LARGE)
    classes = _classes(rng, planes * channels) if rng.integers(2) else None
    transform = int(rng.integers(1, 4)) if rng.integers(4) == 0 else 0
    made = frames_header.Header(
        step=_one(rng, (0.01, 1.0, 30.0, 1e9)),
        version=3 if transform else 2 if classes else int(rng.integers(2)),
        turn=tuple(int(x) for x in rng.integers(-128, 128, 3)) if rng.integers(2) else None,
        planes=planes,
        columns=columns,
        lanes=_one(rng, (1, 1, 1, 2, 5, 16, 300)),
        late=_one(rng, (0, 0, 0, 1, 2, 50)),
        classes=classes,
        transform=transform,
        slope=int(rng.integers(32)),
        profiles=[
            Profile(
                int(rng.integers(bool(rng.integers(50)), _one(rng, (3, 97)))),
                _one(rng, (0, 1, 3, 20, 255)),
            )
            for _ in range(planes * channels)
        ],
        coarsest=[rng.integers(-size, size + 1, low) for _ in range(planes * channels)],
    )
    payload = frames_header.write_header(made, channels) + _states(rng, made.lanes)
    return payload + _words(rng, b""), planes


def _classes(rng: np.random.Generator, maps: int) -> Classes:
    """Classes of pixels, as many as fit and now and then more."""
    shape = _one(rng, (1, 2, 3, 8, 65)), _one(rng, (1, 1, 2, max(maps - 1, 1), 33))
    coarse = tuple(int(x) for x in rng.integers(0, _one(rng, (1, 5, 24)), shape[1]))
    centres = rng.integers(-9, 10, shape) << np.array(coarse)
    return Classes(
        _one(rng, (0, 1, 1, 2, 5)), int(rng.integers(16)), int(rng.integers(8)), coarse, centres
    )


def _one(rng: np.random.Generator, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _sides(rng: np.random.Generator, largest: int) -> tuple[int, int]:
    while True:
        width, height = _one(rng, _SIDES), _one(rng, _SIDES)
        if width * height <= largest:
            return width, height


def _scales(rng: np.random.Generator) -> np.ndarray:
    """Sizes of the frequencies, most of them dropped."""
    found = np.zeros(256, np.int64)
    some = rng.choice(255, _one(rng, (0, 1, 3, 20, 255)), replace=False) + 1
    found[some] = rng.integers(1, 30, len(some))
    return found


def _start(rng: np.random.Generator, channels: int) -> dict[str, Any]:
    """The fields that both layouts have; now and then flags that do not fit the channels."""
    turned = (channels >= 3 and rng.integers(2)) or not rng.integers(50)
    alpha = (channels in (2, 4) and rng.integers(2)) or not rng.integers(50)
    levels = (_one(rng, (0, 1, 255, 65535)), _one(rng, (0, 1, 255, 65535)))
    return {
        "turn": tuple(int(x) for x in rng.integers(-128, 128, 3)) if turned else None,
        "alpha": bool(alpha),
        "levels": levels if alpha and rng.integers(2) else None,
        "smooth": tuple(_one(rng, (0, 0, 8, 15)) for _ in range(channels)),
        "lanes": _one(rng, (1, 1, 1, 2, 5, 16, 300, 1 << 14)),
    }


def _mixed(header: Any, fresh: dict[str, Any], rng: np.random.Generator, *, kin: bool) -> Any:
    """A header of fresh fields, half of them the file's own if it is of the same kind."""
    own = {f.name: getattr(header, f.name) for f in fields(header)} if kin else {}
    return {key: own[key] if key in own and rng.integers(2) else x for key, x in fresh.items()}


def _patches(
    header: Any, rng: np.random.Generator, width: int, height: int, channels: int
) -> tuple[bytes, int, list[int]]:
    low, _ = band_shapes(*grid(height, width))

    def turns() -> tuple[tuple[int, int, int], ...]:
        i = rng.integers(0 if not rng.integers(50) else 1, 255, _one(rng, (0, 1, 5, 255, 256)))
        return tuple((int(x), int(rng.integers(x + 1, 256)), int(rng.integers(-64, 65))) for x in i)

    most = _one(rng, _LARGE)
    fresh = _start(rng, channels) | {
        "late": _one(rng, (0, 0, 0, 1, 2, 50, 1 << 31)),
        "scales": [_scales(rng) for _ in range(channels)],
        "turns": [turns() for _ in range(channels)],
        "coarsest": [rng.integers(-most, most + 1, low) for _ in range(channels)],
        "crossed": bool(rng.integers(2)),
        "farther": int(rng.integers(-1, 3)),
        "hidden": int(rng.integers(16)),
        "smooth": tuple(int(x) for x in rng.integers(256, size=channels) * rng.integers(2)),
        "power": int(rng.integers(32)),
        "version": int(rng.integers(3, 5)),
        "gains": None if rng.integers(3) else rng.integers(-most, most + 1, low),
    }
    kin = (
        isinstance(header, patches_header.Header)
        and len(header.scales) == channels
        and header.coarsest[0].shape == low
    )
    fields = _mixed(header, fresh, rng, kin=kin)
    made = patches_header.Header(step=0.0, **(fields | {"version": fresh["version"]}))
    ranks = [1 + int(np.count_nonzero(one)) for one in made.scales]
    return patches_header.write_header(made, _code(rng), made.lanes), made.lanes, ranks


def _channels(
    header: Any, rng: np.random.Generator, width: int, height: int, channels: int
) -> tuple[bytes, int, list[int]]:
    most = min(width, height)
    order = np.repeat(np.arange(channels), min(_one(rng, (0, 1, 2, 5, 30, most, most + 1)), 200))
    switches = (0, 1, 3, most, (1 << 32) - 2)
    fresh = _start(rng, channels) | {
        "offsets": (int(rng.integers(8)), int(rng.integers(8))),
        "switches": [(_one(rng, switches), _one(rng, switches)) for _ in range(channels)],
        "order": tuple(int(x) for x in rng.permutation(order)),
    }
    kin = isinstance(header, channels_header.Header) and len(header.smooth) == channels
    made = channels_header.Header(step=0.0, **_mixed(header, fresh, rng, kin=kin))
    if made.lanes < 1:
        made = replace(made, lanes=1)
    ranks = [made.order.count(c) for c in range(channels)]
    return channels_header.write_header(made, _code(rng), channels), made.lanes, ranks


def _code(rng: np.random.Generator) -> int:
    return int(_one(rng, (*_CODES, int(rng.integers(65536)))))


def _states(rng: np.random.Generator, lanes: int) -> bytes:
    """First states of the coders: at the ends of their range, or anything."""
    same = _one(rng, (1 << 16, (1 << 32) - 1, 1 << 31, None))
    states = rng.integers(0, 1 << 32, lanes, np.uint32) | np.uint32(1 << 16)
    return np.full(lanes, same, "<u4").tobytes() if same else states.astype("<u4").tobytes()


def _words(rng: np.random.Generator, own: bytes) -> bytes:
    count = _one(rng, (0, 10, 200, 4000))
    return _one(rng, (own, own, bytes(2 * count), b"\xff\xff" * count, rng.bytes(2 * count)))
