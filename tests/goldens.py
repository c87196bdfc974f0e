"""The golden files, as the tests see them."""

from __future__ import annotations

import json
from functools import cache

import pytest
from make_golden import CASES, GOLDEN, INDEX, content, is_open

from lowrank.errors import UsageError

EXPECTED = {
    name.removesuffix(".lrk"): facts for name, facts in json.loads(INDEX.read_text()).items()
}
"""What the index says of each golden file, by its name without the suffix."""


def _is_small(name):
    _, height, width, _, layout, store = CASES[name]
    widest = 1 if layout == "patches" and store != "packed" else 19  # of 256 coefficients each
    return height * width <= widest and not name.startswith("cut")


SMALL = sorted(filter(_is_small, CASES))
"""Cases of every layout and store that are small enough to be damaged bit by bit."""


@cache
def known(name):
    """The golden file of a case; where files of its kind may still change, one made now.

    None where this version does not write such files yet.
    """
    if not is_open(name):
        return (GOLDEN / f"{name}.lrk").read_bytes()
    try:
        return content(name)
    except UsageError:
        return None


def data_of(name):
    """What `known` gives, or a skip."""
    data = known(name)
    if data is None:
        pytest.skip(f"this version does not write {CASES[name][5]} {CASES[name][4]} yet")
    return data
