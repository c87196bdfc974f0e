"""docs/FORMAT.md and docs/PACKED.md are enough: a decoder made from them agrees to the bit.

`python tests/independent.py FILE.lrk` decodes any; all golden files take half a minute.
"""

from __future__ import annotations

import ast
import hashlib
import struct
import sys
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
