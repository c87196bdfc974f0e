"""Sources that change while they are read, and connections that end before their files do."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

import lowrank
from lowrank import files, linalg
from lowrank.errors import FileError, UsageError
from lowrank.io import matrices
from lowrank.io.taking import Taking
from lowrank.report import ask
from lowrank.runs import originals, tasks, verify, work
from lowrank.runs.plan import Job
from lowrank.targets import Target

RNG = np.random.default_rng(4)
FRAMES = np.rint(RNG.random((40, 4)) @ RNG.random((4, 24 * 35)) * 9000).astype(np.uint16)
FRAMES = FRAMES.reshape(40, 24, 35)


def compress(job, kind="rank", value=4.0, **options):
    settings = tasks.Compressing(target=Target(kind, value), **options)
    return work.compressor([job], settings)(job, settings)


def made(kind, folder):
    """A source of a kind: the job that compresses it, and a file of it."""
    if kind == "npy":
        np.save(folder / "in.npy", FRAMES)
        return Job(str(folder / "in.npy"), str(folder / "out.lrk")), folder / "in.npy"
    pages = [Image.fromarray(frame) for frame in FRAMES]
    if kind == "folder":
        for i, page in enumerate(pages):
            page.save(folder / f"{i:02}.png")
        names = tuple(str(folder / f"{i:02}.png") for i in range(len(pages)))
        return Job(str(folder), str(folder / "out.lrk"), frames=names), folder / "07.png"
    packed = {"compression": "tiff_lzw"} if kind == "packed tiff" else {}
    pages[0].save(folder / "in.tif", save_all=True, append_images=pages[1:], **packed)
    return Job(str(folder / "in.tif"), str(folder / "out.lrk")), folder / "in.tif"


KINDS = ("npy", "tiff", "packed tiff", "folder")


def touch(file):
    status = os.stat(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


@pytest.mark.parametrize("again", ["later", "longer"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_changes_while_it_is_read_is_refused(kind, again, tmp_path, monkeypatch):
    job, file = made(kind, tmp_path)

    def change():
        if again == "longer":
            with open(file, "ab") as stream:
                stream.write(b"\0")
        else:
            touch(file)

    for memory in (None, 1 << 29):
        for output in (job.output, "-"):
            with monkeypatch.context() as patched:
                after(patched, change)
                with pytest.raises(FileError, match="changed while it was read"):
                    compress(replace(job, output=output), memory=memory)
        assert not os.path.exists(job.output)
    assert compress(job, memory=1 << 29).error is None


def after(patched, change):
    """Do something as soon as samples have been read, in whatever way."""
    readers = (matrices.InFile, "_read"), (matrices.OfFrames, "rows"), (matrices.OfArray, "_taken")
    for owner, name in readers:
        patched.setattr(owner, name, then(getattr(owner, name), change))
    patched.setattr(work, "_read", then(work._read, change))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("goes", [False, True])
def test_what_is_in_memory_may_change_in_its_file(kind, goes, tmp_path, monkeypatch):
    """As pictures do that are replaced every few seconds, or deleted once they are read."""
    job, file = made(kind, tmp_path)

    def change():
        if kind == "npy":  # mapped: read where it is used, and not to be cut
            os.utime(file, (0, 0))
        elif goes:
            os.unlink(file)
        else:
            file.write_bytes(b"another")

    expected = str(tmp_path / "before.lrk")
    assert compress(replace(job, output=expected)).error is None
    monkeypatch.setattr("lowrank.codec.encode", then(work.codec.encode, change))
    if kind == "npy":
        with pytest.raises(FileError, match="changed while it was read"):
            compress(job)
        return
    assert compress(job).error is None
    with open(expected, "rb") as before, open(job.output, "rb") as after:
        assert after.read() == before.read()


def then(do, change):
    done = []

    def both(*args, **options):
        result = do(*args, **options)
        if not done:
            done.append(change())
        return result

    return both


@pytest.mark.parametrize("kind", KINDS)
def test_passes_over_a_source_that_has_changed_since_are_not_gone_on_with(
    kind, tmp_path, monkeypatch
):
    job, file = made(kind, tmp_path)
    kept = str(tmp_path / "passes")
    with monkeypatch.context() as patched:
        patched.setattr("lowrank.runs.large.written", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compress(job, resume=kept)
    status = os.stat(file)
    touch(file)
    with pytest.raises(UsageError, match="belongs to another source"):
        compress(job, resume=kept)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert compress(job, resume=kept).error is None
    assert not os.path.exists(kept)


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Taking(frames=slice(0, 10)), Taking(frames=slice(10, 20))),
        (Taking(axis=0), Taking(axis=1)),
    ],
)
def test_passes_over_other_frames_are_not_gone_on_with(one, other, tmp_path, monkeypatch):
    np.save(tmp_path / "cube.npy", FRAMES[:24, :24, :24])
    job = Job(str(tmp_path / "cube.npy"), str(tmp_path / "out.lrk"))
    kept = str(tmp_path / "passes")
    with monkeypatch.context() as patched:
        patched.setattr("lowrank.runs.large.written", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compress(job, resume=kept, taking=one)
    with pytest.raises(UsageError, match="belongs to another source"):
        compress(job, resume=kept, taking=other)
    assert compress(job, resume=kept, taking=one).error is None


def test_an_array_of_zarr_is_all_of_its_files(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    path = str(tmp_path / "in.zarr")
    array = zarr.open_array(path, mode="w", shape=FRAMES.shape, chunks=(1, 24, 35), dtype="u2")
    array[:] = FRAMES
    job, kept = Job(path, str(tmp_path / "out.lrk")), str(tmp_path / "passes")

    def change():
        array[7] = FRAMES[8]

    for memory in (None, 1 << 29):
        with monkeypatch.context() as patched:
            after(patched, change)
            with pytest.raises(FileError, match="changed while it was read"):
                compress(job, memory=memory)
    with monkeypatch.context() as patched:
        patched.setattr("lowrank.runs.large.written", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compress(job, resume=kept)
    array[7] = FRAMES[7]
    with pytest.raises(UsageError, match="belongs to another source"):
        compress(job, resume=kept)
    with pytest.raises(UsageError, match="a manifest lists one file"):
        compress(job, manifest=str(tmp_path / "m.csv"))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", ["npy", "tiff", "packed tiff"])
def test_reports_and_verify_refuse_what_changes_while_they_read_it(
    kind, large, tmp_path, monkeypatch
):
    job, file = made(kind, tmp_path)
    assert compress(job).error is None
    if large:
        monkeypatch.setattr(ask, "LARGE", 1)

    def report():
        ask.report(job.input, job.output, ranks=[], store=None, max_pixels=10**8)

    def verified():
        subject = originals.Subject(job.output, originals=(job.input,))
        if error := verify.verify(subject, verify.Verifying()).error:
            raise error

    read = files.read_bytes

    def read_and_touched(path):
        data = read(path)
        if path == job.input:
            touch(file)
        return data

    for run in (report, verified):
        with monkeypatch.context() as patched:
            after(patched, lambda: touch(file))
            patched.setattr(files, "read_bytes", read_and_touched)
            with pytest.raises(FileError, match="changed while it was read"):
                run()
        run()


def test_the_library_refuses_what_changes_while_it_is_read_in_passes(tmp_path, monkeypatch):
    job, file = made("npy", tmp_path)
    with monkeypatch.context() as patched:
        after(patched, lambda: touch(file))
        with pytest.raises(FileError, match="changed while it was read"):
            lowrank.compress(job.input, rank=4, memory=1 << 29)
    lowrank.compress(job.input, rank=4, memory=1 << 29)


class Short(SimpleHTTPRequestHandler):
    """A server that says how long a file is, and closes the connection before its end."""

    ranges, failures = False, 1

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        with open(self.translate_path(self.path), "rb") as stream:
            data = stream.read()
        asked = self.headers.get("Range", "")
        if self.ranges and asked:
            start, last = map(int, asked.removeprefix("bytes=").split("-"))
            data = data[start : last + 1]
        self.send_response(206 if self.ranges and asked else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        fails = type(self).failures > 0 and len(data) > 100
        type(self).failures -= fails
        self.wfile.write(data[: len(data) // 2] if fails else data)


@pytest.fixture
def short(request, tmp_path):
    make = type("Own", (Short,), request.param)
    (tmp_path / "web").mkdir()
    handler = partial(make, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", tmp_path / "web"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("short", [{"ranges": False}], indirect=True)
def test_a_download_that_ends_early_is_refused_as_that(short, tmp_path):
    address, folder = short
    pages = [Image.fromarray((frame >> 6).astype(np.uint8)) for frame in FRAMES]
    pages[0].save(folder / "in.gif", save_all=True, append_images=pages[1:])
    job = Job(f"{address}/in.gif", str(tmp_path / "out.lrk"))
    with pytest.raises(FileError, match="the connection ended"):
        compress(job)
    assert not os.path.exists(job.output)
    assert compress(job).error is None
    assert len(lowrank.open(job.output)) == len(FRAMES)


@pytest.mark.parametrize("short", [{"ranges": True, "failures": 2}], indirect=True)
def test_a_range_that_ends_early_is_asked_for_again(short, tmp_path, monkeypatch):
    monkeypatch.setattr("lowrank.io.web._PAUSE", 0)
    address, folder = short
    np.save(folder / "in.npy", FRAMES)
    job = Job(f"{address}/in.npy", str(tmp_path / "out.lrk"))
    assert compress(job).error is None
    exact = linalg.spectrum(FRAMES.reshape(40, -1).astype(float))[:4]
    assert lowrank.open(job.output).singular_values == pytest.approx(exact, rel=1e-6)


class Dripping(Short):
    """A server that sends a byte now and then, from some byte on."""

    after = 0

    def do_GET(self):
        with open(self.translate_path(self.path), "rb") as stream:
            body = stream.read()
        answer = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        with suppress(OSError):  # whoever asked has gone
            self.connection.sendall(answer[: self.after])
            for i in range(self.after, len(answer)):
                self.connection.sendall(answer[i : i + 1])
                time.sleep(0.01)


@pytest.mark.parametrize("start", [0, 9, 900])
def test_a_server_that_drips_is_not_waited_for_without_end(start, tmp_path, monkeypatch):
    """Each byte comes in time, of its first header or of the file; all of them never would."""
    monkeypatch.setattr("lowrank.io.web._TIMEOUT", 1.5)
    Image.fromarray(FRAMES[0]).save(tmp_path / "in.tif")
    make = type("Own", (Dripping,), {"after": start})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(make, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            job = Job(f"http://127.0.0.1:{server.server_port}/in.tif", str(tmp_path / "out.lrk"))
            with pytest.raises(FileError, match="sends fewer than 1,024 bytes"):
                compress(job)
            monkeypatch.setattr("lowrank.io.web._LEAST", 1)  # what is slow comes in the end
            make.after = max(start, 1700)
            assert compress(job).error is None
        finally:
            server.shutdown()
            thread.join()


class Marked(Short):
    """A server that gives ranges, and marks of a file; each of its machines has its own."""

    ranges, failures = True, 0
    tags, times = ["one"], ["Sat, 28 Nov 2026 10:00:00 GMT"]

    def end_headers(self):
        for name, values in (("ETag", self.tags), ("Last-Modified", self.times)):
            if values:
                values.append(values.pop(0))
                self.send_header(name, values[-1])
        super().end_headers()

    def send_header(self, keyword, value):
        if keyword != "Last-Modified" or value in self.times:  # none of the library's own
            super().send_header(keyword, value)


MANY = [str(i) for i in range(10**4)]


@pytest.mark.parametrize(
    ("tags", "times", "changes"),
    [
        (["one"], ["Sat"], False),
        (MANY, ["Sat"], False),
        (["one"], MANY, False),
        ([], ["Sat"], False),
        ([], [], False),
        (MANY, MANY, True),
        (MANY, [], True),
        ([], MANY, True),
    ],
)
def test_a_file_of_the_web_has_changed_where_all_of_its_marks_have(tags, times, changes, tmp_path):
    make = type("Own", (Marked,), {"tags": [*tags], "times": [*times]})
    np.save(tmp_path / "in.npy", FRAMES)
    job = Job("", str(tmp_path / "out.lrk"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(make, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            job = replace(job, input=f"http://127.0.0.1:{server.server_port}/in.npy")
            if changes:
                with pytest.raises(FileError, match="changed while it was read"):
                    compress(job)
            else:
                assert compress(job).error is None
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("changes", [False, True])
def test_a_store_that_says_when_a_file_was_read_does_not_say_that_it_changed(
    changes, tmp_path, monkeypatch
):
    """As SFTP and SMB do, by the name of "time"."""
    fsspec = pytest.importorskip("fsspec")
    info, now = fsspec.get_filesystem_class("memory").info, iter(range(10**6))

    def told(self, path, **options):
        found = {**info(self, path, **options), "mtime": 7, "time": next(now)}
        return {**found, "mtime": found["time"] if changes else 7}

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "info", told)
    with fsspec.open("memory://changing/in.npy", "wb") as stream:
        np.save(stream, FRAMES)
    job = Job("memory://changing/in.npy", str(tmp_path / "out.lrk"))
    if changes:
        with pytest.raises(FileError, match="changed while it was read"):
            compress(job)
    else:
        assert compress(job).error is None
