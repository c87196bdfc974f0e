"""The decoder in JavaScript: a second implementation of the format agrees with the first one."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, picture
from goldens import EXPECTED
from make_golden import GOLDEN, little_endian

from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import FormatError, LimitError, TruncatedError
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.picture import Metadata, Picture, array_mode, gaps
from lowrank.targets import Target

sys.path.append(str(ROOT / "fuzz"))

import headers
import mutators
import reading

NODE = shutil.which("node")
JS = ROOT / "js"
BUILT = JS / "img-lrk.js"
ROOM = ["--min-semi-space-size=64", "--max-semi-space-size=64"]
"""Megabytes: garbage is collected a few times, not a few hundred."""
MUTANTS = 120
"""Ten thousand by hand: python tests/test_javascript.py 10000 SEED."""

needs_node = pytest.mark.skipif(NODE is None, reason="no node on the path: install Node.js 20")


def decoded(folder, files, script="src/index.js"):
    """What the decoder says of (bytes, options), all in one process of node."""
    lines = []
    for i, (data, options) in enumerate(files):
        path = folder / f"{i}.lrk"
        path.write_bytes(data)
        lines.append(json.dumps({"path": str(path), **options}))
    done = subprocess.run(
        [NODE, *ROOM, str(ROOT / "tests" / "decode.mjs"), str(JS / script)],
        input="\n".join(lines), capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def expected(data, *, partial=False, maxPixels=DEFAULT_MAX_PIXELS, rank=None, frame=None):
    """The same of the decoder in Python: what the file holds, or how it is refused."""
    try:
        parts = lrk.parse(data, name="it", max_pixels=maxPixels, partial=partial)
        found = codec.decode(parts, rank=rank).picture
    except TruncatedError:
        return {"refused": "truncated"}
    except LimitError:
        return {"refused": "limit"}
    except FormatError:
        return {"refused": "format"}
    samples = found.samples if frame is None else found.samples[frame]
    return {
        "mode": found.mode.name,
        "shape": list(samples.shape),
        "sha256": hashlib.sha256(little_endian(samples)).hexdigest(),
    }


def without_reasons(said):
    return [{key: x for key, x in one.items() if key != "why"} for one in said]


def agree(folder, files, script="src/index.js"):
    found = without_reasons(decoded(folder, files, script))
    wanted = [expected(data, **options) for data, options in files]
    for i, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert one == other, (i, files[i][1])
    return wanted


@needs_node
def test_every_golden_file_decodes_to_the_samples_it_always_did(tmp_path):
    data = {name: (GOLDEN / f"{name}.lrk").read_bytes() for name in EXPECTED}
    files = [(data[name], {"partial": x["partial"]}) for name, x in EXPECTED.items()]
    # The file that pages use is the same decoder, made small.
    said = decoded(tmp_path, files, "img-lrk.js")
    for (name, x), one in zip(EXPECTED.items(), said, strict=True):
        wanted = {key: x[key] for key in ("mode", "shape", "sha256")}
        assert one == wanted, name


def mutants(count, seed):
    seeds = reading.seeds([reading.GOLDEN], 2000)
    damaged = mutators.mutants(seeds, np.random.default_rng(seed))
    written = headers.mutants(
        [x for x in seeds if x[25] < 7], np.random.default_rng(seed), reading.MAX_PIXELS
    )
    files = itertools.chain.from_iterable(zip(damaged, damaged, damaged, written, strict=False))
    for data in itertools.islice(files, count):
        for partial in (False, True):
            yield data, {"partial": partial, "maxPixels": reading.MAX_PIXELS}


@needs_node
def test_damaged_files_are_refused_alike_or_give_the_same_samples(tmp_path):
    wanted = agree(tmp_path, list(mutants(MUTANTS, 18)))
    assert {x.get("refused") for x in wanted} >= {None, "format", "truncated"}
    assert sum("refused" not in x for x in wanted) > MUTANTS // 10


def written(original, target, **options):
    encoded = codec.encode(original, target, **options)
    return lrk.serialize(encoded.parts)


@needs_node
def test_a_coefficient_that_no_encoder_writes_counts_alike(tmp_path):
    agree(tmp_path, [((ROOT / "tests/data/beyond-the-edge.lrk").read_bytes(), {})])


@needs_node
@pytest.mark.parametrize("script", ["src/index.js", "img-lrk.js"])
def test_frames_so_large_that_a_group_has_fewer_maps_than_the_first_that_predict(tmp_path, script):
    """Five frames of eight colours, 272 x 272: groups of 28, where none predicts the first 32."""
    data = (ROOT / "tests/data/fewer-maps-than-predict.lrk").read_bytes()
    assert "refused" not in agree(tmp_path, [(data, {})], script)[0]


def not_measured():
    """Pictures with pixels that have no data, by every value that their samples can hold for it."""
    holes = np.zeros((6, 7), bool)
    holes[1:3, 2:5] = True
    values = {"float32": (np.nan, -9999.0), "float64": (np.nan, -9999.1), "int16": (-32768.0,)}
    for dtype, marks in values.items():
        A = np.arange(84).reshape(6, 7, 2).astype(dtype)
        for value in marks:
            yield gaps.filled(Picture(A, array_mode(dtype, 2)), holes, value)


@needs_node
def test_fewer_terms_frames_arrays_and_gaps(tmp_path):
    rng = np.random.default_rng(1)
    rgb = picture("RGB", 40, 60)
    stack = Picture(rng.integers(0, 4000, (5, 9, 11, 1)).astype(np.int16), array_mode("int16", 1))
    five = Picture(rng.integers(0, 60000, (12, 9, 5)).astype(np.uint16), array_mode("uint16", 5))
    holes = np.zeros((40, 60), bool)
    holes[3:7, 5:30] = True
    gappy = gaps.filled(picture("F", 40, 60), holes, -9999.0)
    files = [
        (written(rgb, Target("rank", 9)), {"rank": 4}),
        (written(rgb, Target("rank", 9), layout="patches"), {"rank": 4}),
        (written(rgb, Target("quality", 80)), {"rank": 3}),
        (written(rgb, Target("rank", 9), store="packed", layout="channels"), {"rank": 3}),
        (written(stack, Target("rank", 3)), {"frame": 4}),
        (written(stack, Target("rank", 3)), {"frame": 0, "rank": 1}),
        (written(stack, Target("quality", 90)), {"frame": 4}),
        (written(stack, Target("quality", 90)), {"frame": 0, "rank": 2}),
        (written(five, Target("rank", 4)), {}),
        (written(gappy, Target("rank", 20)), {}),
        *((written(x, Target("rank", 2), store="float64"), {}) for x in not_measured()),
    ]
    wanted = agree(tmp_path, files, "img-lrk.js")
    assert not any("refused" in x for x in wanted)


@needs_node
def test_a_tree_of_checksums_behind_a_large_stack(tmp_path):
    rng = np.random.default_rng(2)
    stack = Picture(rng.integers(0, 255, (3, 80, 90, 1)).astype(np.uint8), array_mode("uint8", 1))
    axis = Metadata(axis=b'{"labels":["a","b","c"],"unit":"nm"}')
    data = written(Picture(stack.samples, stack.mode, axis), Target("rank", 2))
    assert b"SUMS" in data
    at = data.index(b"SUMS") + 12
    swapped = bytearray(data)
    swapped[at : at + 1] = bytes([data[at] ^ 1])
    other = data.replace(b'"c"]', b'"c",')
    files = [
        (data, {"frame": 2}),
        (mutators.mend(swapped), {"frame": 0}),
        (mutators.mend(bytearray(other)), {"frame": 0}),
    ]
    assert [x.get("refused") for x in agree(tmp_path, files)] == [None, "format", "format"]


TURNED = """
import { readFileSync } from "node:fs";
import { toSamples } from "%s";
const all = new Float32Array(new Uint8Array(readFileSync(0)).buffer), n = all.length / 3;
const planes = [0, 1, 2].map((c) => all.subarray(c * n, c * n + n)), out = new Uint8Array(3 * n);
toSamples(planes, [-49, 29, -77], [0, 255], Math.fround, out);
process.stdout.write(out.filter((_, i) => i %% 3 === 0));
"""


@needs_node
def test_turned_colours_are_rounded_before_the_half_is_added():
    w, a, b, c = 127, -49, 29, -77
    n = w * w + a * a + b * b + c * c
    column = (w * w + a * a - b * b - c * c, 2 * (a * b + w * c), 2 * (a * c - w * b))
    R = (np.array(column) / n).astype(np.float32)
    x = np.random.default_rng(5).uniform(-2, 2, (3, 20000)).astype(np.float32)
    x[2] = (0.5 - R[0] * x[0] - R[1] * x[1]) / R[2]  # sums that are nearly a half: 0 or 1
    sums = (x[0] * R[0] + x[1] * R[1]) + x[2] * R[2]
    script = TURNED % (JS / "src/lapped.js").as_uri()
    command = [NODE, "--input-type=module", "-e", script]
    done = subprocess.run(command, input=x.tobytes(), capture_output=True, check=True)
    wanted = np.floor(sums + np.float32(0.5))
    assert np.count_nonzero(wanted) not in (0, len(wanted))
    assert np.array_equal(np.frombuffer(done.stdout, np.uint8), wanted)


# -- the file that pages use -----------------------------------------------------------------


def test_the_built_file_is_small_and_that_of_its_sources():
    sources = "".join(
        path.read_text("utf-8") for path in sorted((JS / "src").iterdir(), key=lambda x: x.name)
    )
    first, _, _ = BUILT.read_text("utf-8").partition("\n")
    digest = hashlib.sha256(sources.encode()).hexdigest()[:16]
    assert first.endswith(digest), "stale: make js"
    assert BUILT.stat().st_size <= 40 * 1024


def test_the_package_holds_what_it_names():
    facts = json.loads((JS / "package.json").read_text("utf-8"))
    for path in (facts["main"], *facts["exports"].values(), *facts["files"]):
        assert (JS / path).exists(), path
    assert "dependencies" not in facts


def main():
    """By hand: many mutants of a seed, by the sources or a file named third; refusals count."""
    import tempfile
    from pathlib import Path

    files = list(mutants(int(sys.argv[1]), int(sys.argv[2])))
    with tempfile.TemporaryDirectory() as folder:
        wanted = agree(Path(folder), files, *sys.argv[3:])
    refused = sum("refused" in x for x in wanted)
    sys.stdout.write(f"{len(wanted)} readings, {refused} refused alike, the others the same\n")


if __name__ == "__main__":
    main()
