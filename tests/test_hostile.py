"""Damaged files are refused, in bounded time, with our own errors; golden files open for ever."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from make_golden import CASES, GOLDEN, INDEX, entry, little_endian

from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import FormatError, LimitError, LowrankError, TruncatedError
from lowrank.limits import DEFAULT_MAX_PIXELS

sys.path.insert(0, str(ROOT / "fuzz"))
import mutate

EXPECTED = json.loads(INDEX.read_text())
SMALL = sorted(
    name
    for name, facts in EXPECTED.items()
    if not facts["partial"] and (GOLDEN / name).stat().st_size <= 290
)


def parse(data, *, partial=False):
    return lrk.parse(data, name="x", max_pixels=DEFAULT_MAX_PIXELS, partial=partial)


# -- golden files ----------------------------------------------------------------------------


def test_no_golden_file_is_missing_or_unlisted():
    assert {f"{name}.lrk" for name in CASES} == set(EXPECTED)
    assert {path.name for path in GOLDEN.glob("*.lrk")} == set(EXPECTED)
    assert len(EXPECTED) >= 24
    assert {facts["mode"] for facts in EXPECTED.values()} == {
        "1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_golden_file_decodes_to_the_samples_it_always_did(name):
    facts = EXPECTED[name]
    data = (GOLDEN / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == facts["file_sha256"], "the file itself changed"
    assert entry(data, partial=facts["partial"]) == facts
    if facts["partial"]:
        with pytest.raises(TruncatedError):
            parse(data)
    else:
        assert lrk.serialize(parse(data)) == data


def test_golden_files_differ_in_what_they_hold():
    hashes = Counter((facts["mode"], facts["sha256"]) for facts in EXPECTED.values())
    assert hashes.most_common(1)[0][1] <= 3  # the same picture in three stores at most
    ranks = [f.k for f in parse((GOLDEN / "unequal-ranks-float16.lrk").read_bytes()).factors]
    assert len(set(ranks)) > 1
    assert parse((GOLDEN / "metadata-float16.lrk").read_bytes()).metadata.icc == b"a profile"


DECODE = """
import hashlib, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from make_golden import INDEX, GOLDEN, entry
index = json.loads(INDEX.read_text())
found = {n: entry((GOLDEN / n).read_bytes(), partial=e["partial"]) for n, e in index.items()}
assert found == index, [n for n in index if found[n] != index[n]]
print("same", len(found))
"""


def kernels():
    """OpenBLAS kernels that this processor can run."""
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().split()) if cpu.exists() else set()
    needs = {"Nehalem": "sse4_2", "Sandybridge": "avx", "Haswell": "avx2", "SkylakeX": "avx512bw"}
    return [name for name, flag in needs.items() if flag in flags] or [""]


@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize("threads", ["1", "2"])
def test_decoding_is_bit_identical_on_other_processors_and_threads(kernel, threads):
    done = subprocess.run(
        [sys.executable, "-c", DECODE, str(ROOT / "tests")],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": threads},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["same", str(len(EXPECTED))]


def test_the_number_of_our_own_threads_changes_nothing(monkeypatch):
    data = (GOLDEN / "large-float16.lrk").read_bytes()
    monkeypatch.setattr(codec, "_SLAB", 4096)  # many slabs
    found = set()
    for cores in (1, 2, 5):
        monkeypatch.setattr("lowrank.threads.cores", lambda cores=cores: cores)
        found.add(hashlib.sha256(little_endian(codec.decode(parse(data)).samples)).hexdigest())
    assert found == {EXPECTED["large-float16.lrk"]["sha256"]}


# -- damage ------------------------------------------------------------------------------------


def test_small_golden_files_stand_for_every_store():
    stores = {parse((GOLDEN / name).read_bytes()).store for name in SMALL}
    assert stores == {parse((GOLDEN / n).read_bytes(), partial=True).store for n in EXPECTED}


@pytest.mark.parametrize("name", SMALL)
def test_every_bit_flip_and_truncation_of_a_golden_file_is_refused(name):
    data = (GOLDEN / name).read_bytes()
    damaged = bytearray(data)
    for bit in range(8 * len(data)):
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((FormatError, LimitError)):
            parse(bytes(damaged))
        damaged[bit // 8] ^= 1 << bit % 8
    for end in range(len(data)):
        with pytest.raises(FormatError):
            parse(data[:end])
    for more in (b"\0", b"\r\n", data):
        with pytest.raises(FormatError):
            parse(data + more)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_text_mangling_of_a_golden_file_is_refused(name):
    data = (GOLDEN / name).read_bytes()
    for mangled in (data.replace(b"\n", b"\r\n"), data.replace(b"\r\n", b"\n")):
        for partial in (False, True):
            with pytest.raises(FormatError):
                parse(mangled, partial=partial)


def test_only_our_errors_escape_from_mutants():
    files = mutate.mutants(mutate.seeds(), np.random.default_rng(20))
    counts = Counter()
    for _ in range(2000):
        data = next(files)
        counts.update(mutate.read(data, partial=partial) for partial in (False, True))
    assert counts["FormatError"] > 500
    assert counts["TruncatedError"] > 50
    assert counts["decoded"] > 200  # mended mutants reach the decoder


def test_the_mutator_mends_checksums_and_repeats_itself():
    files = [(GOLDEN / name).read_bytes() for name in SMALL]
    for data in files:
        broken = bytearray(data)
        broken[-1] ^= 1
        assert mutate.mend(broken) == data
    one, two = (mutate.mutants(files, np.random.default_rng(3)) for _ in range(2))
    assert [next(one) for _ in range(50)] == [next(two) for _ in range(50)]


@pytest.mark.parametrize("name", SMALL)
def test_files_that_are_no_lrk_are_refused_whatever_they_are(name):
    data = (GOLDEN / name).read_bytes()
    for foreign in (data[::-1], b"", b"\0" * len(data), data[9:], b"\x89PNG\r\n\x1a\n" + data[8:]):
        for partial in (False, True):
            with pytest.raises(LowrankError, match=r"not a \.lrk file"):
                parse(foreign, partial=partial)


# -- the corpora, where they are ---------------------------------------------------------------


@pytest.mark.parametrize("part", ["pngsuite", "zune-fuzz"])
def test_no_file_of_the_corpora_passes_for_a_lrk(shared, part):
    files = [path for path in sorted((shared / "corpora" / part).rglob("*")) if path.is_file()]
    if not files:
        pytest.skip(f"no corpus {part} in {shared}")
    for path in files[::7]:
        with pytest.raises(FormatError):
            parse(path.read_bytes())
