"""Full disks, closed folders and rivals for one file, met by whole runs of the command line."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from conftest import ROOT, Run

import lowrank

MAKES = {
    "compress": ("compress", "in.png", "-k", "20", "-f"),
    "decompress": ("decompress", "whole.lrk", "-f"),
    "report": ("report", "in.png", "-f"),
}
OUTPUTS = {"compress": "in.lrk", "decompress": "whole.png", "report": "page.html"}


@pytest.fixture
def folder(small_png):
    """A folder with `in.png` and the file `whole.lrk` made from it."""
    lowrank.compress(small_png, rank=20).save(small_png.with_name("whole.lrk"))
    return small_png.parent


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def run(command, folder, *, code=None):
    """Run the command line in a folder; with `code` in front of it, in the same process."""
    start = ["-m", "lowrank"] if code is None else ["-c", code]
    done = subprocess.run(
        [sys.executable, *start, *command],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr.decode())


FULL = """
import resource
from lowrank.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("command", MAKES)
def test_a_write_that_stops_halfway_leaves_the_old_file_and_no_other(folder, command):
    output = folder / OUTPUTS[command]
    output.write_bytes(b"old")
    before = names(folder)
    more = ("--html", "page.html") if command == "report" else ()
    assert "too large" in run((*MAKES[command], *more), folder, code=FULL).failed()
    assert names(folder) == before
    assert output.read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(
    "command",
    [
        ("compress", "in.png", "-k", "20", "-o", "-"),
        ("decompress", "whole.lrk", "-o", "-"),
        ("report", "in.png", "--json"),
        ("report", "in.png"),
    ],
)
def test_standard_output_that_is_cut_short_is_an_error(folder, command, buffered):
    """With PYTHONUNBUFFERED, too, where a write may take a part and say nothing."""
    with open(folder / "out", "wb") as out:
        done = redirected(folder, [sys.executable, "-c", FULL, *command], buffered, stdout=out)
    assert "too large" in done.failed(1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(
    ("command", "code"),
    [(("compress", "none.png"), 1), (("compress", "in.png", "-k", "x"), 2)],
)
def test_the_exit_code_tells_what_a_full_standard_error_cannot(folder, command, code, buffered):
    with open("/dev/full", "wb") as full:
        start = [sys.executable, "-m", "lowrank"]
        done = redirected(folder, [*start, *command], buffered, stdout=full, stderr=full)
    assert done.code == code


def redirected(folder, command, buffered, *, stdout, stderr=subprocess.PIPE):
    """Run a command as a shell would that sends its output there."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": buffered},
        timeout=60,
        check=False,
    )
    return Run(done.returncode, b"", (done.stderr or b"").decode())


@pytest.fixture
def mounted(folder):
    """Run the command line where a folder `disk` is a disk of its own, in a namespace of its own.

    The disk holds 4 kB, of which an old output takes some; or it can only be read.
    """
    if not shutil.which("unshare"):
        pytest.skip("no unshare, to mount a disk for the tests alone")
    (folder / "disk").mkdir()

    def inside(command, *, read_only=False):
        prepare = ["mount -t tmpfs -o size=4k tmpfs disk", "echo old > disk/out"]
        if read_only:
            prepare.append("mount -o remount,ro disk")
        prepare.append(f"{shlex.quote(sys.executable)} -m lowrank {shlex.join(command)}")
        script = " && ".join(prepare) + "; code=$?; ls -A disk; cat disk/out; exit $code"
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", script],
            cwd=folder,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
            check=False,
        )
        err = done.stderr.decode()
        if err.startswith(("unshare:", "mount:")):
            pytest.skip(f"no disk can be mounted for the tests alone: {err.splitlines()[0]}")
        return Run(done.returncode, done.stdout, err)

    return inside


@pytest.mark.parametrize(
    ("command", "name", "read_only"),
    [
        ("compress", "out", False),
        ("compress", "new", False),
        ("compress", "out", True),
        ("decompress", "out", False),
        ("report", "out", False),
    ],
)
def test_a_full_or_closed_disk_is_one_line_and_keeps_the_old_file(
    mounted, command, name, read_only
):
    more = {
        "compress": ["--store", "float64", "-o", f"disk/{name}"],  # 30 kB
        "decompress": ["-o", f"disk/{name}.png"],
        "report": ["--html", f"disk/{name}"],
    }
    done = mounted([*MAKES[command], *more[command]], read_only=read_only)
    assert ("may not be written to" if read_only else "space") in done.failed()
    assert done.text.split() == ["out", "old"]


# -- rivals ------------------------------------------------------------------------------------

REPLACE = """
import sys
from lowrank import files
data = open(sys.argv[1], "rb").read()
print("writing", flush=True)
while True:
    files.write_atomic("target", data, force=True)
"""


def test_two_processes_that_write_one_file_do_not_mix(tmp_path):
    contents = [bytes([byte]) * 200_000 for byte in (1, 2)]
    for byte, data in zip("12", contents, strict=True):
        (tmp_path / byte).write_bytes(data)
    (tmp_path / "target").write_bytes(contents[0])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", REPLACE, name],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
        )
        for name in "12"
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"writing\n"
        seen = set()
        end = time.monotonic() + 20
        while len(seen) < 2 and time.monotonic() < end:
            for _ in range(100):
                seen.add((tmp_path / "target").read_bytes())
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            writer.stdout.close()
    assert seen == set(contents)


@pytest.mark.parametrize("force", [True, False])
def test_of_two_runs_for_one_output_one_is_whole(cli, folder, force):
    ranks = (2, 20)
    whole = {lowrank.compress(folder / "in.png", rank=k).to_bytes() for k in ranks}
    options = ["-f"] if force else []
    runs = cli.together([("compress", "in.png", "-k", k, "-o", "out.lrk", *options) for k in ranks])
    assert sorted(done.code for done in runs) == ([0, 0] if force else [0, 1])
    for done in runs:
        assert done.code == 0 or "exists" in done.failed()
    assert (folder / "out.lrk").read_bytes() in whole
    assert names(folder) == ["in.png", "out.lrk", "whole.lrk"]


# -- bad ones among good ones ------------------------------------------------------------------


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_a_bad_file_among_good_ones_is_reported_and_the_others_are_done(folder, command, processes):
    source, result = ("in.png", ".lrk") if command == "compress" else ("whole.lrk", ".png")
    whole = (folder / source).read_bytes()
    suffix = source[source.index(".") :]
    (folder / "inputs").mkdir()
    for name in "abcd":
        (folder / "inputs" / f"{name}{suffix}").write_bytes(whole)
    (folder / "inputs" / f"c{suffix}").write_bytes(whole[: len(whole) // 2])
    options = ("-k", "3", "-r", "-o", "out", "-j", processes)
    done = run((command, "inputs", *options), folder)
    assert f"c{suffix}" in done.failed()
    assert "1 failed" in done.text
    assert names(folder / "out") == [f"{name}{result}" for name in "abd"]
    assert len({(folder / "out" / f"{name}{result}").read_bytes() for name in "abd"}) == 1
