"""docs/FORMAT.md and docs/PACKED.md are enough: a decoder made from them agrees to the bit.

`python tests/independent.py FILE.lrk` decodes any; all golden files take half a minute.
"""

from __future__ import annotations

import ast
import hashlib
import math
import struct
import sys
import zlib
from dataclasses import replace

import independent
import numpy as np
import pytest
from conftest import ROOT, picture
from goldens import EXPECTED, data_of

from lowrank import codec
from lowrank import format as lrk
from lowrank.targets import Target

FEW = (
    "mode-1-patches-packed", "mode-i16-patches-packed", "mode-cmyk-patches-packed",
    "cutting-patches-packed", "cutting-eye-patches-packed", "1x19-patches-packed",
    "mode-rgba-channels-packed", "fine-channels-packed",
    "array-int16-1-patches-packed", "array-float32-3-channels-packed",
    "array-uint8-20-channels-packed", "stack-f-packed", "stack-int16-packed", "stack-l-packed",
    "cut-patches-packed", "cut-channels-packed", "cut-pieces-channels-packed", "cut-stack-packed",
    "classes-packed", "cut-classes-packed", "masked-4-packed", "masked-packed",
)  # fmt: skip


@pytest.mark.parametrize("name", FEW)
def test_golden_files_decode_to_the_samples_that_the_index_says(name):
    assert independent.sha256(data_of(name)) == EXPECTED[name]["sha256"]


# The types of a header's modes, and those of mode `array`, by their codes.
MODES = ("u1 1", "u1 1", "u1 2", "u1 3", "u1 4", "u1 4", "u2 1", "f4 1")
TYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8")


def of_floats(data):
    """What FORMAT.md alone says of a float file in layouts `channels` and `stack`."""
    assert data[:9] == b"\x89LRK\r\n\x1a\n\x01"
    at, chunks, terms = 9, {}, []
    while at < len(data):
        size, kind = struct.unpack_from("<I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack_from("<I", data, at + 8 + size) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        terms += [body] if kind == b"TERM" else []
        at += 12 + size
    head = chunks[b"HEAD"]
    width, height, mode, layout, store, _ = struct.unpack_from("<IIBBBB", head)
    at = 12
    if mode == 8:
        code, channels = struct.unpack_from("<BH", head, at)
        kind, at = TYPES[code], at + 3
    else:
        kind, channels = MODES[mode].split()
    matrices, shape = int(channels), (height, width, int(channels))
    m, n = height, width
    if layout == 2:
        (m,) = struct.unpack_from("<I", head, at)
        matrices, n, shape, at = 1, math.prod(shape), (m, *shape), at + 4
    ranks = [struct.unpack_from("<I", head, at + 28 * i)[0] for i in range(matrices)]
    assert at + 28 * matrices == len(head)
    sigma = np.split(np.frombuffer(chunks[b"SIGM"], "<f8"), np.cumsum(ranks)[:-1])
    order = sorted((-x, i, j) for i, s in enumerate(sigma) for j, x in enumerate(s))
    A = np.zeros((matrices, m, n))
    for (x, i, _), term in zip(order, terms, strict=True):
        u, v = np.split(np.frombuffer(term, f"<f{2 << store}").astype(float), [m])
        A[i] += (u * -x)[:, np.newaxis] * v
    A = A.reshape(shape) if layout == 2 else np.moveaxis(A, 0, 2)
    if kind[0] == "f":
        low, high = np.finfo(kind).min, np.finfo(kind).max
    else:
        low, high = (0, 1) if mode == 0 else (np.iinfo(kind).min, np.iinfo(kind).max)
        A = np.rint(A)
    samples = np.ascontiguousarray(np.clip(A, low, high).astype(f"<{kind}"))
    if gaps := chunks.get(b"NODT"):
        bits = np.unpackbits(np.frombuffer(zlib.decompress(gaps[8:]), np.uint8))
        pixels = samples.reshape(-1, int(channels))
        pixels[bits[: len(pixels)] == 1] = struct.unpack_from("<d", gaps)[0]
    return samples


def test_the_format_is_enough_for_float_files():
    names = [
        name for name, facts in EXPECTED.items()
        if "float" in name.rsplit("-", 1)[-1] and "patches" not in name and not facts["partial"]
    ]  # fmt: skip
    for name in names:
        if data_of(name)[26] != 1:  # layout
            found = hashlib.sha256(of_floats(data_of(name)).tobytes()).hexdigest()
            assert found == EXPECTED[name]["sha256"], name
    assert len(names) > 30


def ours(one, layout, **target):
    parts = codec.encode(one, Target(*target.popitem()), layout=layout, store="packed").parts
    return lrk.serialize(parts), codec.decode(parts).picture.samples


def agree(data, samples):
    *shape, letter, found = independent.decode(data)
    assert tuple(shape) == samples.shape
    little = samples.astype(f"<{letter}").tobytes()
    assert hashlib.sha256(struct.pack(f"<{len(found)}{letter}", *found)).digest() == (
        hashlib.sha256(little).digest()
    )


@pytest.mark.parametrize(
    ("mode", "quality", "layout"),
    [("RGBA", 50, "patches"), ("RGBA", 50, "channels"), ("I;16", 100, "patches"),
     ("L", 100, "patches"), ("LA", 95, "channels")],
)  # fmt: skip
def test_pictures_that_no_golden_file_has(mode, quality, layout):
    """Alpha of two values, the finest steps, filtered channels with their colours turned."""
    one = picture(mode, 21, 35, seed=quality)
    if "alpha" in one.mode.channels:
        samples = one.samples.copy()
        samples[..., -1] = np.where(samples[..., -1] > 120, 255, 7)
        one = replace(one, samples=samples)
    if mode == "L":  # black and white: sums that float32 does not hold
        one = replace(one, samples=np.where(one.samples > 90, 255, 0).astype(np.uint8))
    agree(*ours(one, layout, quality=quality))


def test_a_coefficient_that_no_encoder_writes_counts_as_it_always_did():
    """One beyond the edge of a map, in a batch of which some components are predicted."""
    data = (ROOT / "tests/data/beyond-the-edge.lrk").read_bytes()
    always = "66e14fb5a59cd1303f967e5db3d24d80f261587bddd5b51332c4dfa7a52db936"
    parts = lrk.parse(data, name="it", max_pixels=100)
    assert hashlib.sha256(codec.decode(parts).picture.samples.tobytes()).hexdigest() == always
    assert independent.sha256(data) == always


def test_the_decoder_has_nothing_of_ours():
    with open(independent.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    used = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [x.name for x in node.names]
        )
    }
    assert used <= sys.stdlib_module_names


def test_the_page_has_the_tables_of_the_code():
    """A table that decoding seldom looks up is held to the page here."""
    from lowrank.layouts import lapped
    from lowrank.stores.packed.channels import vectors, walk
    from lowrank.stores.packed.coding import smoothing
    from lowrank.stores.packed.patches import models, order, prediction, weights

    def numbers(value):
        return np.concatenate([np.ravel(x) for x in value]).tolist()

    flat = independent.flat
    assert flat("SKEW") == list(lapped.SKEW)
    assert flat("SMOOTHING") == numbers(smoothing.TABLE)
    assert flat("LUMA") == numbers(weights.LUMA)
    assert flat("CHROMA") == numbers(weights.CHROMA)
    assert flat("LOG") == list(order._LOG)
    assert flat("WEIGHTS") == numbers(order.WEIGHTS)
    assert flat("FLAGS") == list(models._PRIOR)
    assert flat("TOKENS") == models.token_model()._counts.ravel().tolist()
    assert flat("SHIFT") == models.SHIFT.tolist()
    assert flat("PREDICTION") == numbers((*k, *v) for k, v in prediction._TABLE.items())
    assert flat("START") == list(walk._START)
    assert flat("OCTAVE") == list(vectors._OCTAVE)
    assert flat("ROW_WEIGHTS") == walk._WEIGHTS.ravel().tolist()
