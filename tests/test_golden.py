"""Golden files open for ever, and decode to the same samples on every machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT
from goldens import EXPECTED, data_of, known
from make_golden import CASES, GOLDEN, entry, is_open, little_endian
from threadpoolctl import threadpool_info

from lowrank import codec, stores
from lowrank import format as lrk
from lowrank.errors import TruncatedError
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.picture import DTYPES


def parse(data, *, partial=False):
    return lrk.parse(data, name="x", max_pixels=DEFAULT_MAX_PIXELS, partial=partial)


def test_no_golden_file_is_missing_or_unlisted():
    assert {name for name in CASES if not is_open(name)} == set(EXPECTED)
    assert {path.name.removesuffix(".lrk") for path in GOLDEN.glob("*.lrk")} == set(EXPECTED)
    assert len(EXPECTED) >= 24


def test_the_cases_cover_every_layout_store_mode_and_shape():
    def modes(*kind):
        return {case[0] for case in CASES.values() if case[4:] == kind}

    modes_of_pillow = {"1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"}
    for layout in ("channels", "patches"):
        assert modes(layout, "packed") >= modes_of_pillow
        assert modes(layout, "float16") >= modes_of_pillow
        for store in ("float16", "float32", "float64", "packed"):
            assert modes(layout, store), (layout, store)
        for store in ("packed", "float"):
            cases = {n: c for n, c in CASES.items() if c[4] == layout and c[5].startswith(store)}
            shapes = {case[1:3] for case in cases.values()}
            assert {(1, 1), (1, 19), (19, 1), (23, 31)} <= shapes
            assert {"cut", "metadata"} <= {name.split("-")[0] for name in cases}


def test_the_cases_cover_every_type_of_samples():
    kept = {c[0].split("-")[0] for c in CASES.values() if c[5] == "float64"}
    packed = {c[0].split("-")[0] for c in CASES.values() if c[5] == "packed"}
    assert kept >= set(DTYPES)
    assert packed >= {"uint8", "uint16", "int8", "int16", "float32"}


def test_the_cases_of_stacks_cover_every_mode_and_store():
    cases = {name: case for name, case in CASES.items() if case[4] == "stack"}
    assert {"1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"} < {c[0] for c in cases.values()}
    assert {c[5] for c in cases.values()} >= {"float16", "float32", "float64"}
    assert parse(data_of("stack-labels-float16")).head.metadata.axis is not None
    assert b"SUMS" in data_of("stack-pieces-float16")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_golden_file_decodes_to_the_samples_it_always_did(name):
    facts = EXPECTED[name]
    data = (GOLDEN / f"{name}.lrk").read_bytes()
    assert hashlib.sha256(data).hexdigest() == facts["file_sha256"], "the file itself changed"
    assert entry(data, partial=facts["partial"]) == facts
    if facts["partial"]:
        with pytest.raises(TruncatedError):
            parse(data)
    else:
        assert lrk.serialize(parse(data)) == data


def test_golden_files_differ_in_what_they_hold():
    hashes = Counter((facts["mode"], facts["sha256"]) for facts in EXPECTED.values())
    # The smallest pictures are the same in every store; no larger one is more than thrice.
    assert hashes.most_common(1)[0][1] <= 8
    ranks = [f.k for f in parse(data_of("unequal-ranks-float16")).body.factors]
    assert len(set(ranks)) > 1


@pytest.mark.parametrize(
    "name", ["metadata-float16", "metadata-patches-float16", "metadata-patches-packed",
             "metadata-channels-packed"],
)  # fmt: skip
def test_metadata_are_in_the_files_that_have_some(name):
    found = parse(data_of(name)).head.metadata
    assert (found.exif, found.icc, found.xmp) == (
        b"MM\0*\0\0\0\x08\0\0", b"a profile", b"<x:xmpmeta/>",
    )  # fmt: skip


# -- the same samples everywhere -----------------------------------------------------------

DECODE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import scipy.linalg
from make_golden import entry
from threadpoolctl import threadpool_info, threadpool_limits
threads = int(sys.argv[2])
with threadpool_limits(threads, "blas"):
    ran = [x for x in threadpool_info() if x["user_api"] == "blas"]
    found = {
        path.stem: entry(path.read_bytes(), partial=path.stem.startswith("cut"))["sha256"]
        for path in map(Path, sys.argv[3:])
    }
assert {x["num_threads"] for x in ran} == {threads}, ran
print(json.dumps([[x.get("architecture") for x in ran], found]))
"""
NEEDS = {"Nehalem": "sse4_2", "Sandybridge": "avx", "Haswell": "avx2", "SkylakeX": "avx512bw"}
# Threads of the BLAS: how it shares work among them is the same for every kernel.
THREADS = {"Nehalem": 1, "Sandybridge": 1, "Haswell": 2, "SkylakeX": 1}


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    """A folder of all golden files, and the hash of each one's samples."""
    folder, hashes = tmp_path_factory.mktemp("golden"), {}
    for name in CASES:
        data = known(name)
        if data is None:
            continue
        (folder / f"{name}.lrk").write_bytes(data)
        facts = EXPECTED.get(name) or entry(data, partial=name.startswith("cut"))
        hashes[name] = facts["sha256"]
    return folder, hashes


def share(kernel, names):
    """The golden files of one kernel: this process decodes all, and each is one other kernel's."""
    own = {x.get("architecture") for x in threadpool_info() if x["user_api"] == "blas"}
    others = [x for x in NEEDS if x not in own]
    return names[others.index(kernel) :: len(others)] if kernel in others else names[::24]


@pytest.mark.parametrize("kernel", NEEDS)
def test_decoding_is_bit_identical_on_other_processors_and_threads(gathered, kernel):
    cpu = Path("/proc/cpuinfo")
    if not cpu.exists() or NEEDS[kernel] not in cpu.read_text().split():
        pytest.skip(f"this processor is not known to run the kernels for {kernel}")
    folder, hashes = gathered
    names = share(kernel, sorted(hashes))
    paths = [str(folder / f"{name}.lrk") for name in names]
    start = [sys.executable, "-c", DECODE, str(ROOT / "tests"), str(THREADS[kernel])]
    done = subprocess.run(
        [*start, *paths],
        cwd=ROOT,
        env={
            **os.environ,
            "OPENBLAS_CORETYPE": kernel,
            "OPENBLAS_NUM_THREADS": str(THREADS[kernel]),
            "OPENBLAS_THREAD_TIMEOUT": "4",  # a thread that waits does not spin for long
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ran, found = json.loads(done.stdout)
    if kernel not in ran:
        pytest.skip(f"numpy's products here ran on {ran}, not on OpenBLAS for {kernel}")
    assert found == {name: hashes[name] for name in names}


@pytest.mark.parametrize("name", ["large-float16", "large-patches-packed", "large-channels-packed"])
def test_the_number_of_our_own_threads_changes_nothing(name, monkeypatch):
    data = data_of(name)
    expected = entry(data, partial=False)["sha256"]
    monkeypatch.setattr(stores, "_SLAB", 4096)  # many slabs
    for cores in (1, 2, 5):
        monkeypatch.setattr("lowrank.threads.cores", lambda cores=cores: cores)
        samples = codec.decode(parse(data)).picture.samples
        assert hashlib.sha256(little_endian(samples)).hexdigest() == expected
