"""What goes in comes out, for any shape, mode, layout and store."""

from __future__ import annotations

import os

import numpy as np
from conftest import picture
from goldens import known
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank import codec
from lowrank import format as lrk
from lowrank.io import formats, pillow
from lowrank.picture import MODES, Metadata, Picture
from lowrank.targets import Target

EXAMPLES = 1000 if os.environ.get("CI") else 150


def targets(layout, store):
    """Targets that a layout and store take."""
    ranks = st.builds(Target, st.just("rank"), st.integers(1, 30))
    if store != "packed":
        return ranks | st.builds(Target, st.just("error"), st.floats(0.001, 0.5))
    if layout == "channels":
        return ranks
    return st.builds(Target, st.just("quality"), st.integers(1, 70))


@settings(max_examples=EXAMPLES)
@given(
    mode=st.sampled_from(sorted(MODES)),
    layout=st.sampled_from(("channels", "patches")),
    store=st.sampled_from(("float16", "float32", "float64", "packed")),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 9),
    metadata=st.builds(
        Metadata, *[st.none() | st.binary(min_size=1, max_size=9)] * 3
    ),
    data=st.data(),
)  # fmt: skip
def test_any_picture_is_written_read_and_written_again(
    mode, layout, store, height, width, seed, metadata, data
):
    if store == "packed" and (mode == "F" or not known(f"1x1-{layout}-packed")):
        store = "float32"
    drawn = picture(mode, height, width, seed)
    A = Picture(drawn.samples, drawn.mode, metadata)
    target = data.draw(targets(layout, store))
    parts = codec.encode(A, target, layout=layout, store=store).parts
    written = lrk.serialize(parts)
    read = lrk.parse(written, name="x", max_pixels=height * width)
    assert lrk.serialize(read) == written
    assert (read.head.mode.name, read.head.layout, read.head.store) == (mode, layout, store)
    assert (read.head, read.missing) == (parts.head, None)
    B = codec.decode(read).picture
    assert B.samples.dtype == A.samples.dtype
    assert B.samples.shape == A.samples.shape
    np.testing.assert_array_equal(B.samples, codec.decode(parts).picture.samples)
    form = formats.format_for(formats.default_suffix(A.mode), A.mode)
    stored = pillow.read(pillow.write(Picture(B.samples, B.mode), format=form), name="x")
    assert stored.picture.mode.name == mode
    np.testing.assert_array_equal(stored.picture.samples, B.samples)


@settings(max_examples=EXAMPLES)
@given(
    mode=st.sampled_from(sorted(MODES)),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    seed=st.integers(0, 9),
)
def test_all_terms_of_patches_in_float64_give_every_sample_back(mode, height, width, seed):
    A = picture(mode, height, width, seed)
    parts = codec.encode(A, Target("rank", 10_000), layout="patches", store="float64").parts
    read = lrk.parse(lrk.serialize(parts), name="x", max_pixels=height * width)
    B = codec.decode(read).picture.samples
    if mode == "F":
        np.testing.assert_allclose(B, A.samples, rtol=0, atol=1e-6 * np.abs(A.samples).max())
    else:
        np.testing.assert_array_equal(B, A.samples)
