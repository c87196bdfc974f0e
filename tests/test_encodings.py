"""The encoder writes what it wrote: golden files hold the decoder, these hashes the encoder."""

from __future__ import annotations

import json
from functools import cache

import pytest
from make_encodings import ENCODINGS, IMAGES, cases, entry, kernel, pick, samples_of

import lowrank

EXPECTED = json.loads(ENCODINGS.read_text(encoding="utf-8"))
CASES = {name: (image, request) for name, image, request in cases()}


@cache
def arrays(image):
    return samples_of(image)


def test_no_encoding_is_missing_or_unlisted():
    assert list(CASES) == list(EXPECTED["files"])
    assert len(CASES) >= 150
    facts = EXPECTED["files"].values()
    assert len({x["sha256"] for x in facts}) > 0.8 * len(CASES), "they should differ"
    assert {(x["layout"], x["store"]) for x in facts} == {
        (layout, store)
        for layout in ("channels", "patches")
        for store in ("float16", "float32", "float64", "packed")
    } | {("stack", store) for store in ("float16", "float64", "packed")}


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_written_stays_byte_for_byte(image):
    same_kernel = kernel() == EXPECTED["kernel"]
    whole, crop = arrays(image)
    for name in (x for x in CASES if CASES[x][0] == image):
        request = CASES[name][1]
        found = entry(lowrank.compress(pick(name, whole, crop), **request))
        wanted = EXPECTED["files"][name]
        if same_kernel:
            assert found == wanted, name
            continue
        # Another kernel sums in another order: the last bits differ, and what hangs on them.
        assert (found["layout"], found["store"]) == (wanted["layout"], wanted["store"]), name
        if request.get("rank") != "auto":
            assert abs(found["bytes"] - wanted["bytes"]) <= 0.02 * wanted["bytes"], name
