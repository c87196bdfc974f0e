"""What a file or a report states must be possible: what cannot be true is refused, not repeated."""

from __future__ import annotations

import io
import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
from conftest import picture
from goldens import EXPECTED, data_of
from handmade import DONE, chunk, head, join, lrk, sigm, split, term
from hypothesis import given, settings
from hypothesis import strategies as st
from make_golden import CASES
from PIL import Image
from rich.console import Console

import lowrank
from lowrank import codec, linalg
from lowrank import format as lrk_format
from lowrank.errors import FormatError
from lowrank.picture import MODES, Picture, Source
from lowrank.report import File, OfMatrix, measure
from lowrank.targets import Target
from lowrank.views import tables, words

PACKED = sorted(n for n, case in CASES.items() if case[5] == "packed" and not n.startswith("cut"))
BELOW = [
    name
    for name in PACKED
    if name in EXPECTED
    for parts in [lrk_format.parse(data_of(name), name=name, max_pixels=1 << 24)]
    if min(parts.ranks) < min(parts.head.shape)
]
"""Of these the files that have a matrix of less than full rank: what others state is no claim."""
SOME = ["fine-patches-packed", "fine-channels-packed", "tiny-patches-packed",
        "mode-rgba-channels-packed"]  # fmt: skip


def parse(data, *, partial=False):
    return lrk_format.parse(data, name="x.lrk", max_pixels=1 << 24, partial=partial)


def stating(data, matrix, field, value):
    """A packed file that states another number of a matrix: k, norm, sigma_next, tail or error."""
    (kind, content), *rest = split(data)
    content = bytearray(content)
    struct.pack_into("<H", content, 12 + 10 * matrix + 2 * field, value)
    return join([(kind, bytes(content)), *rest])


# -- ranks -----------------------------------------------------------------------------------


def test_there_are_files_below_full_rank_of_every_layout():
    assert {CASES[name][4] for name in BELOW} == {"channels", "patches", "stack"}
    assert len(BELOW) > 20


@pytest.mark.parametrize("name", BELOW)
def test_what_the_encoder_states_is_what_the_payload_holds(name):
    parts = parse(data_of(name))
    _, B = codec.factors(parts)
    for stated, b in zip(codec.stated(parts), B, strict=True):
        assert np.linalg.matrix_rank(b) <= stated.k


def asked(claims, A, size):
    """All that is said or decoded of a packed file: a call each."""
    facts = measure.file_facts("claims.lrk", claims, size)
    source = Source("a", "PNG", A.mode.name, A.width, A.height, 1)
    yield lambda: codec.decode(claims)
    yield lambda: codec.decode(claims, rank=1)
    yield lambda: codec.factors(claims)
    yield lambda: codec.stated(claims)
    yield lambda: codec.relative_error(claims)
    yield lambda: measure.stated(claims, file=facts)
    yield lambda: measure.measure(A, claims, source=source, file=facts, file_bytes=size)


@pytest.mark.parametrize("name", SOME)
def test_a_rank_that_is_not_the_payloads_is_refused_by_all_that_says_or_shows_anything(name):
    data = data_of(name)
    parts = parse(data)
    A, most = codec.decode(parts).picture, min(parts.head.shape)
    for matrix, k in enumerate(parts.ranks):
        for wrong in {0, 1, k - 1, k + 1, most} - {k, -1, most + 1}:
            bad = stating(data, matrix, 0, wrong)
            said = rf"states rank {wrong} of a payload of rank {k}, in claims\.lrk"
            for ask in asked(replace(parse(bad), name="claims.lrk"), A, len(bad)):
                with pytest.raises(FormatError, match=said):
                    ask()


def test_a_rank_that_is_not_the_payloads_is_refused_where_users_meet_it(cli, tmp_path):
    """The report had proved an error of a fiftieth of the optimum."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    lowrank.register_lrk_opener()
    for layout in ("patches", "channels"):
        data = lowrank.compress(noise, quality=95, layout=layout, store="packed").to_bytes()
        path = tmp_path / "b.lrk"
        path.write_bytes(stating(data, 0, 0, 1))
        for arguments in (
            ("report", "a.png", "b.lrk"),
            ("report", "a.png", "b.lrk", "--json"),
            ("report", "b.lrk"),
            ("decompress", "b.lrk", "-k", "1"),
        ):
            done = cli(*arguments)
            assert "rank 1 of a payload of rank" in done.failed()
            if "--json" in arguments:  # what went wrong, and no report
                assert list(json.loads(done.text)) == ["error"]
            else:
                assert done.text == ""
        with pytest.raises(FormatError, match=r"b\.lrk"):
            lowrank.open(path)
        with Image.open(path) as image, pytest.raises(OSError, match="payload of rank"):
            image.load()
        with Image.open(path) as image, pytest.raises(OSError, match="payload of rank"):
            image.verify()
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a.png", "b.lrk"]


def test_the_rank_of_a_cut_payload_is_checked_as_well():
    data = data_of("fine-patches-packed")
    k = parse(data).ranks[0]
    codec.decode(parse(data[:-200], partial=True))
    with pytest.raises(FormatError, match="states rank"):
        codec.decode(parse(stating(data, 0, 0, k - 1)[:-200], partial=True))


# -- norms -----------------------------------------------------------------------------------


def two_terms(norm=30**0.5, sigma_next=1.0, tail=5**0.5, s=(4.0, 3.0)):
    """A 9 x 9 matrix whose singular values are 4, 3, then five of 1: all fits together."""
    vectors = [np.eye(9)[i] for i in range(2)]
    terms = (term(v, v) for v in vectors[: len(s)])
    return lrk(head(9, 9, matrices=((len(s), norm, sigma_next, tail),)), sigm(*s), *terms, DONE)


def test_numbers_of_a_float_file_that_fit_together_are_read():
    for data in (two_terms(), two_terms(norm=math.sqrt(30) * (1 + 5e-7))):
        assert parse(data).ranks == (2,)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"norm": 2.0}, "a tail above the norm"),
        ({"norm": 0.0}, "a tail above the norm"),
        ({"sigma_next": 2.5}, "a singular value above the tail"),
        ({"sigma_next": 3.1, "s": (4.0, 3.0), "tail": math.sqrt(10), "norm": math.sqrt(35)},
         "ascend"),
        ({"norm": 5.6}, "do not add up"),
        ({"norm": 1e9}, "do not add up"),
        ({"norm": math.sqrt(30) * (1 + 1e-5)}, "do not add up"),
        ({"s": (9.0, 3.0)}, "do not add up"),
        ({"s": (4.0, 2.0)}, "do not add up"),
        ({"tail": 0.0, "sigma_next": 0.0}, "do not add up"),
        ({"tail": 2.0}, "do not add up"),
        ({"s": ()}, "do not add up"),
    ],
)  # fmt: skip
def test_numbers_of_a_float_file_that_cannot_be_true_together_are_refused(wrong, said):
    for partial in (False, True):
        with pytest.raises(FormatError, match=f"contradicts itself.*{said}.*x.lrk"):
            parse(two_terms(**wrong), partial=partial)


def test_a_matrix_of_full_rank_has_no_tail():
    terms = [term(row, row) for row in np.eye(2)]
    for tail, sigma_next in ((1.0, 0.0), (1.0, 1.0)):
        start = head(2, 2, matrices=((2, math.sqrt(26), sigma_next, tail),))
        with pytest.raises(FormatError, match="a tail of nothing"):
            parse(lrk(start, sigm(4.0, 3.0), *terms, DONE))
    parse(lrk(head(2, 2, matrices=((2, 5.0, 0.0, 0.0),)), sigm(4.0, 3.0), *terms, DONE))
    with pytest.raises(FormatError, match="do not add up"):  # a picture of zeros has no norm
        parse(lrk(head(9, 9, matrices=((0, 1.0, 0.0, 0.0),)), chunk(b"SIGM"), DONE))


def test_numbers_of_a_packed_file_that_cannot_be_true_together_are_refused():
    data = data_of("photo-patches-packed")
    codes = struct.unpack_from("<HHHHH", split(data)[0][1], 12)
    _, norm, sigma_next, tail, error = codes
    assert 0 < sigma_next < tail < error < norm
    for field, value, said in (
        (3, norm + 100, "a tail above the norm"),
        (1, tail - 100, "a tail above the norm"),
        (2, tail + 100, "a singular value above the tail"),
        (4, tail - 100, "an error below the tail"),
        (4, 0, "an error below the tail"),
    ):
        for partial in (False, True):
            with pytest.raises(FormatError, match=f"contradicts itself.*{said}"):
                parse(stating(data, 0, field, value), partial=partial)
    parse(stating(data, 0, 4, norm + 5000))  # bad factors, but possible ones


@st.composite
def pictures(draw):
    """Pictures of all kinds whose numbers come near each other, or are nothing."""
    mode = draw(st.sampled_from(["1", "L", "RGB", "RGBA", "I;16", "F"]))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    kind = draw(st.sampled_from(["plain", "flat", "zero", "rank one", "almost", "ties", "noise"]))
    A = picture(mode, height, width, seed=draw(st.integers(0, 5)))
    samples = A.samples.astype(np.float64)
    peak = MODES[mode].peak or 1000.0
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    y, x = np.mgrid[0:height, 0:width]
    if kind == "flat":
        samples[:] = peak // 3
    elif kind == "zero":
        samples[:] = 0
    elif kind == "rank one":
        samples[:] = np.minimum(np.outer(np.arange(height), np.ones(width)), peak)[..., None]
    elif kind == "almost":  # one sample is off
        samples[:] = peak // 2
        samples[height // 2, width // 2] += 1
    elif kind == "ties":
        samples[:] = (peak * (x == y))[..., None]
    elif kind == "noise":
        samples[:] = rng.integers(0, int(peak) + 1, samples.shape)
    if mode == "F":
        samples *= 10.0 ** draw(st.sampled_from([0, -30, -12, 12, 30]))
    return Picture(samples.astype(A.samples.dtype), A.mode)


@settings(max_examples=60)
@given(pictures(), st.integers(1, 50), st.sampled_from(["channels", "patches"]),
       st.sampled_from(["float16", "float32", "float64"]))  # fmt: skip
def test_every_float_file_that_is_written_is_read_however_it_was_shortened(A, k, layout, store):
    data = lrk_format.serialize(
        codec.encode(A, Target("rank", k), layout=layout, store=store).parts
    )
    parts = parse(data)
    assert lrk_format.serialize(parts) == data
    for target in (Target("rank", 1), Target("rank", max(k // 2, 1)), Target("size", len(data))):
        shorter = lrk_format.serialize(codec.shorten(parts, target))
        assert parse(shorter).ranks <= parts.ranks
    body = replace(parts.body, factors=tuple(f.truncate(0) for f in parts.body.factors))
    empty = parse(lrk_format.serialize(replace(parts, body=body)))
    assert not any(empty.ranks)
    for f, g in zip(empty.body.factors, parts.body.factors, strict=True):
        assert f.tail == pytest.approx(g.norm, rel=1e-9)


@settings(max_examples=40)
@given(pictures(), st.sampled_from([3, 40, 75, 100]), st.sampled_from(["channels", "patches"]))
def test_every_packed_file_that_is_written_is_read_and_decoded(A, quality, layout):
    parts = codec.encode(A, Target("quality", quality), layout=layout, store="packed").parts
    data = lrk_format.serialize(parts)
    assert lrk_format.serialize(parse(data)) == data
    codec.stated(parse(data))
    assert codec.decode(parse(data)).picture.samples.shape == A.samples.shape


# -- verdicts --------------------------------------------------------------------------------

HONEST = OfMatrix("grey", 9, 8, 3, 100.0, 80.0, 2.0, 2.1, 2.0, 5.2, 5.0, 0.052, 0.9975, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"spectral_error": 0.04},
        {"frobenius_error": 0.1},
        {"frobenius_error": 0.0},
        {"spectral_error": 2.0 * (1 - 2e-6)},
        {"frobenius_error": 5.0 * (1 - 2e-6)},
    ],
)
def test_no_error_below_its_bound_is_called_a_proof(wrong):
    assert words.verdict((HONEST,)).startswith("Proved")
    c = replace(HONEST, **wrong)
    for channels in ((c,), (HONEST, c), (replace(c, certified=False),)):
        said = words.verdict(channels)
        assert "contradicts itself (grey)" in said
        assert "Proved" not in said


def test_rounding_alone_contradicts_nothing():
    for few in (
        {"spectral_error": 2.0 * (1 - 5e-7), "frobenius_error": 5.0 * (1 - 5e-7)},
        # Bounds of nothing but rounding: of a matrix that its file keeps exactly.
        {"spectral_bound": 1e-12, "spectral_error": 0.0,
         "frobenius_bound": 5e-12, "frobenius_error": 0.0},
    ):  # fmt: skip
        assert words.verdict((replace(HONEST, **few),)).startswith("Proved")


def test_what_is_far_from_the_optimum_says_why():
    far = (replace(HONEST, frobenius_error=9.0),)
    for store, why in (("float32", "rounding"), ("packed", "quantisation")):
        said = words.verdict(far, File("a.lrk", 1, "channels", store, 1.0))
        assert said.endswith(f"1.80 times as far as the optimum: that is what {why} added.")
    assert words.verdict(far).endswith("that is what rounding added.")


def test_what_contradicts_itself_is_certified_nowhere():
    A = picture("L", 40, 30).samples[:, :, 0].astype(float)
    x = linalg.truncated_svd(A, 3, certify=True)
    assert x.certified
    good = linalg.residual_norms(A, x.U, x.s, x.Vt)
    assert measure.bounded("grey", x, good).certified
    for better in (
        good._replace(spectral=good.spectral / 2),
        good._replace(frobenius=good.frobenius * 0.999),
    ):
        c = measure.bounded("grey", x, better)
        assert not c.certified
        report = lowrank.compress(A, rank=3).report(A)
        report = replace(report, matrices=(c,))
        assert report.to_dict()["channels"][0]["certified"] is False
        out = io.StringIO()
        Console(file=out, width=100).print(tables.report(report))
        assert "contradicts itself" in out.getvalue()
        assert "Proved" not in out.getvalue()


@pytest.mark.parametrize("store", ["float16", "float32", "float64", "packed"])
@pytest.mark.parametrize("layout", ["channels", "patches"])
def test_no_true_report_contradicts_itself(layout, store):
    for mode, k in (("L", 1), ("RGB", 4), ("L", 20)):
        A = picture(mode, 36, 48)
        target = Target("quality", 90 - k) if store == "packed" else Target("rank", k)
        parts = codec.encode(A, target, layout=layout, store=store).parts
        source = Source("a", "PNG", mode, A.width, A.height, 1)
        r = measure.measure(A, parts, source=source, file=None, file_bytes=1)
        assert not any(c.contradicts for c in r.matrices)
        assert words.verdict(r.matrices).startswith("Proved")
