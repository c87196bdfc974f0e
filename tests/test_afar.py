"""Files that lie elsewhere: on a web server, with ranges and without, and in a store of fsspec."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import shutil
import stat
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
from conftest import files_below
from PIL import Image

import lowrank
from lowrank.errors import FileError, ImageError, UsageError
from lowrank.io import zarr as zarr_files
from lowrank.runs import frames as stacks
from lowrank.runs import plan, tasks, verify, work
from lowrank.runs.plan import Job
from lowrank.targets import Target

RNG = np.random.default_rng(8)
FRAMES = np.rint(
    (RNG.random((60, 4)) @ RNG.random((4, 24 * 35))) * 90 + RNG.random((60, 24 * 35)) * 9
).astype(np.uint16).reshape(60, 24, 35)  # fmt: skip


class Handler(SimpleHTTPRequestHandler):
    """The standard library's, which gives whole files only; or ranges of them, and counts these."""

    ranges = False
    parts = 0

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not (self.ranges and asked):
            super().do_GET()
            return
        type(self).parts += 1
        start, last = map(int, asked.groups())
        with open(self.translate_path(self.path), "rb") as stream:
            stream.seek(start)
            data = stream.read(last + 1 - start)
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(params=["whole files", "ranges"])
def web(request, tmp_path):
    """A web server of a folder: its address, the folder, and what it counts."""
    handler = type("Own", (Handler,), {"ranges": request.param == "ranges"})
    (tmp_path / "web").mkdir()
    make = partial(handler, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), make) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", tmp_path / "web", handler
        server.shutdown()
        thread.join()


def compress(source, output=None, kind="rank", value=4.0, **options):
    settings = tasks.Compressing(target=Target(kind, value), **options)
    job = Job(str(source), output)
    return work.compressor([job], settings)(job, settings)


def decompress(source, output=None, **options):
    return stacks.decompress(Job(str(source), output), tasks.Decompressing(**options))


def test_a_web_server_gives_what_a_folder_does(web, tmp_path, monkeypatch):
    address, folder, handler = web
    monkeypatch.chdir(tmp_path)
    np.save(folder / "a.npy", FRAMES)
    outcome = compress(f"{address}/a.npy")
    assert handler.parts > 3 if handler.ranges else handler.parts == 0
    assert outcome.output == os.path.join(os.curdir, "a.lrk")  # it takes none back
    assert outcome.input == f"{address}/a.npy"
    assert outcome.input in outcome.summary
    data = (tmp_path / "a.lrk").read_bytes()
    exact = np.linalg.svd(FRAMES.reshape(60, -1).astype(float), compute_uv=False)[:4]
    assert lowrank.open(data).singular_values == pytest.approx(exact, rel=1e-7)
    (folder / "a.lrk").write_bytes(data)
    assert decompress(f"{address}/a.lrk?version=2").output == os.path.join(os.curdir, "a.tif")
    assert decompress(f"{address}/a.lrk", "a.npy").error is None
    decoded = np.load("a.npy")
    assert np.array_equal(decoded, np.asarray(lowrank.open(data)))
    trace = decompress(f"{address}/a.lrk", pixel=(3, 4)).data.decode().split()
    assert trace[8] == f"7,{decoded[7, 3, 4]}"
    assert verify.verify(Job(f"{address}/a.lrk"), verify.Verifying()).facts["state"] == "whole"
    (folder / "a.lrk").write_bytes(data[:-3])
    found = verify.verify(Job(f"{address}/a.lrk"), verify.Verifying())
    assert found.facts["state"] == "damaged"
    assert f"{address}/a.lrk" in str(found.error)
    with pytest.raises(FileError, match=r"\(the server says 404, "):
        decompress(f"{address}/none.lrk")
    with pytest.raises(UsageError, match="takes no files"):
        compress(folder / "a.npy", f"{address}/b.lrk")
    monkeypatch.setattr("lowrank.io.web._PAUSE", 0)
    with pytest.raises(FileError, match=r"http://127\.0\.0\.1:1/a\.npy \(Connection refused\)"):
        compress("http://127.0.0.1:1/a.npy")


def test_what_verify_cannot_fetch_is_unreadable_as_what_is_not_here(web, cli, tmp_path):
    """Its verdict is that of a file that is not there, but for the cause."""
    address, folder, _ = web
    lowrank.compress(FRAMES[0], rank=2).save(folder / "a.lrk")
    for jobs in ("1", "2"):
        names = [f"{address}/none.lrk", f"{address}/a.lrk", "none.lrk"]
        done = cli("verify", *names, "-j", jobs, "--json")
        assert (done.code, done.err.count("lowrank: error: ")) == (1, 2)
        *verdicts, last = map(json.loads, done.text.splitlines())
        states = {verdict["input"]: verdict["state"] for verdict in verdicts}
        assert states == dict(zip(names, ["unreadable", "whole", "unreadable"], strict=True))
        assert last["summary"]["states"] == {"unreadable": 2, "whole": 1}
    alone = json.loads(cli("verify", names[0], "--json").text)
    assert alone == {
        "input": names[0], "ok": False, "state": "unreadable", "error": alone["error"],
    }  # fmt: skip
    assert "404" in alone["error"]


class Liar(Handler):
    """It answers with a range that starts before the one that was asked for, and says so."""

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not asked:
            super().do_GET()
            return
        start, last = map(int, asked.groups())
        start, last = (start, last) if start == 0 else (start - 1, last - 1)
        with open(self.translate_path(self.path), "rb") as stream:
            stream.seek(start)
            data = stream.read(last + 1 - start)
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Range", f"bytes {start}-{last}/*")
        self.end_headers()
        self.wfile.write(data)


def test_a_range_that_was_not_asked_for_is_not_taken_for_one_that_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", FRAMES)
    make = partial(Liar, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), make) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            compress(f"http://127.0.0.1:{server.server_port}/a.npy", "far.lrk")
        finally:
            server.shutdown()
            thread.join()
    compress(tmp_path / "a.npy", "here.lrk")
    assert (tmp_path / "far.lrk").read_bytes() == (tmp_path / "here.lrk").read_bytes()


class Odd(SimpleHTTPRequestHandler):
    """Answers that the web allows, or does not, and that are no file."""

    asked: ClassVar[list[str]] = []

    def log_message(self, format, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.asked.append(f"{self.command} {self.path}")
        told, body, status = {}, b"", 200
        how = self.path.split("/")[1]
        if how in ("ftp", "file"):
            told, status = {"Location": f"{how}://127.0.0.1:9/etc/passwd"}, 302
        elif how == "on":
            told, status = {"Location": "/head/a.npy"}, 302
        elif how == "head":
            told = {"ETag": "one"}
        elif how == "packed":
            told, body = {"Content-Encoding": "gzip"}, gzip.compress(b"x" * 99)
        elif how == "several":
            told, status = {"Content-Type": "multipart/byteranges; boundary=A"}, 206
            body = b"--A\r\n\r\n1234567890"
        else:
            body = b"x" * 5000
        self.send_response(status)
        for name, value in (told | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.mark.parametrize("command", ["compress", "decompress", "report", "verify"])
@pytest.mark.parametrize("name", ["[::1/x", "[/", "/x", "127.0.0.1:99999/x", "127.0.0.1:x/x", " "])
def test_an_address_that_is_none_is_refused_in_a_line(cli, command, name):
    said = cli(command, f"http://{name}.{'npy' if command == 'compress' else 'lrk'}").failed(1)
    assert said.startswith("lowrank: error: cannot read http://")


def test_the_web_is_that_in_capitals_too(web, tmp_path):
    address, folder, _ = web
    np.save(folder / "a.npy", FRAMES)
    assert (
        compress(address.replace("http", "HTTP") + "/a.npy", str(tmp_path / "a.lrk")).error is None
    )


@pytest.mark.parametrize("address", ["http://127.0.0.1/m", "memory://afar/m"])
def test_lists_and_pages_are_written_here_only(cli, address, tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    done = cli("compress", "a.npy", "-k", "2", "--manifest", f"{address}.csv")
    assert "give the name of a file" in done.failed(2)
    assert "give --html page.html" in cli("report", "a.npy", "--html", f"{address}.html").failed(2)
    assert os.listdir(tmp_path) == ["a.npy"]


def test_answers_that_are_no_file_are_named(monkeypatch):
    from lowrank.io import cloud
    from lowrank.io import web as stores

    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            for how, why in (
                ("ftp", "none of the web"), ("file", "none of the web|not allowed"),
                ("packed", "gzip"),
            ):  # fmt: skip
                with pytest.raises(FileError, match=why):
                    cloud.read(f"{address}/{how}/a.npy")
            with pytest.raises(stores.NoRangesError):
                stores.Web().cat_file(f"{address}/several/a.npy", 0, 10)
            assert not cloud.gives_ranges(f"{address}/several/a.npy")
            # The head of a file stays that where the server sends on.
            assert stores.Web().info(f"{address}/on/a.npy")["etag"] == "one"
            assert Odd.asked[-2:] == ["HEAD /on/a.npy", "HEAD /head/a.npy"]
            assert len(cloud.read(f"{address}/whole/a.npy")) == 5000
            monkeypatch.setattr(cloud, "MAX_BYTES", 4999)
            with pytest.raises(FileError, match=r"larger than 4,999"):
                cloud.read(f"{address}/whole/a.npy")
        finally:
            server.shutdown()
            thread.join()


def test_pictures_and_packed_files_come_from_the_web_too(web, cli, tmp_path):
    address, folder, _ = web
    Image.fromarray(FRAMES[0].astype(np.uint8)).save(folder / "p.png")
    done = cli("compress", f"{address}/p.png", "-q", "60", "--json").succeeded()
    assert f'"{address}/p.png"' in done.text
    assert "lowrank-" not in done.text + done.err
    assert cli("compress", folder / "p.png", "-q", "60", "-o", "here.lrk").succeeded()
    assert (tmp_path / "p.lrk").read_bytes() == (tmp_path / "here.lrk").read_bytes()
    (folder / "p.lrk").write_bytes((tmp_path / "p.lrk").read_bytes())
    far = cli("report", f"{address}/p.png", f"{address}/p.lrk", "--json").succeeded().text
    here = cli("report", folder / "p.png", folder / "p.lrk", "--json").succeeded().text
    assert far == here.replace(str(folder), address)
    assert f"{address}/none.lrk" in cli("report", f"{address}/none.lrk").failed()
    message = cli("decompress", f"{address}/p.png").failed()
    assert f"{address}/p.png" in message
    assert "--manifest" in cli("compress", f"{address}/p.png", "--manifest", "m.csv").failed(2)


def test_a_store_is_read_and_written(tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="the extra cloud is not installed")
    store = fsspec.filesystem("memory")
    np.save(tmp_path / "a.npy", FRAMES)
    store.pipe("/afar/a.npy", (tmp_path / "a.npy").read_bytes())
    assert compress("memory://afar/a.npy").output == "memory://afar/a.lrk"
    assert compress(tmp_path / "a.npy", "memory://afar/q.lrk", "quality", 50.0).error is None
    for name in ("a", "q"):
        expected = np.asarray(lowrank.open(store.cat(f"/afar/{name}.lrk")))
        assert decompress(f"memory://afar/{name}.lrk").output == f"memory://afar/{name}.tif"
        decompress(f"memory://afar/{name}.lrk", f"memory://afar/{name}.npy", force=True)
        (tmp_path / "b.npy").write_bytes(store.cat(f"/afar/{name}.npy"))
        assert np.array_equal(np.load(tmp_path / "b.npy"), expected)
    decompress("memory://afar/a.lrk", "memory://afar/a.zarr")
    one = np.frombuffer(store.cat("/afar/a.zarr/c/7/0/0"), "<u2").reshape(24, 35)
    assert np.array_equal(one, np.asarray(lowrank.open(store.cat("/afar/a.lrk")))[7])
    before = store.cat("/afar/a.tif")
    with pytest.raises(FileError, match=r"memory://afar/a\.tif exists"):
        decompress("memory://afar/a.lrk", rank=1)
    assert decompress("memory://afar/a.lrk", "memory://afar/a.tif", skip_existing=True).skipped
    assert store.cat("/afar/a.tif") == before
    with pytest.raises(FileError, match=r"none\.lrk"):
        decompress("memory://afar/none.lrk")
    with pytest.raises(UsageError, match=r"standard|stream"):
        decompress("memory://afar/a.lrk", "-", format="zarr")


# -- zarr ----------------------------------------------------------------------------------


def test_a_stack_becomes_an_array_of_zarr(cli, tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    colours = np.stack([FRAMES, FRAMES // 2, FRAMES // 3], 3).astype(np.float32)
    np.save(tmp_path / "c.npy", colours)
    assert cli("compress", "a.npy", "-k", "4").succeeded()
    assert cli("compress", "a.npy", "-q", "70", "-o", "q.lrk").succeeded()
    assert cli("compress", "c.npy", "-k", "4").succeeded()
    for name in "aqc":
        assert cli("decompress", f"{name}.lrk", "-o", f"{name}.zarr").succeeded()
    assert cli("decompress", "a.lrk", "-o", "some.zarr", "--frames", "3:30:9").succeeded()
    expected = {name: np.asarray(lowrank.open(tmp_path / f"{name}.lrk")) for name in "aqc"}
    expected["some"] = expected["a"][3:30:9]
    for name, right in expected.items():  # as the specification has it, by hand
        told = json.loads((tmp_path / f"{name}.zarr" / "zarr.json").read_text())
        assert (tuple(told["shape"]), told["data_type"]) == (right.shape, right.dtype.name)
        zeros = "/0" * (right.ndim - 1)
        there = [
            np.frombuffer((tmp_path / f"{name}.zarr" / f"c/{i}{zeros}").read_bytes(), right.dtype)
            for i in range(len(right))
        ]
        assert np.array_equal(np.stack(there).reshape(right.shape), right)
    assert "exists" in cli("decompress", "a.lrk", "-o", "a.zarr").failed()
    assert cli("decompress", "a.lrk", "-o", "a.zarr", "-f", "-k", "1").succeeded()
    (tmp_path / "other.zarr").mkdir()
    assert "no array" in cli("decompress", "a.lrk", "-o", "other.zarr", "-f").failed()
    assert not [x for x in os.listdir(tmp_path) if x.startswith(".lowrank")]


@pytest.mark.parametrize("when", ["rename", "rmtree"])
def test_an_array_of_zarr_is_replaced_whole_or_not(when, cli, tmp_path, monkeypatch):
    """Whatever interrupts it, and through a link; and what holds the input is not replaced."""
    from lowrank.io import zarr

    np.save(tmp_path / "a.npy", FRAMES)
    assert cli("compress", "a.npy", "-k", "4").succeeded()
    assert cli("decompress", "a.lrk", "-o", "a.zarr").succeeded()
    first = tmp_path / "a.zarr" / "c/0/0/0"
    before, new = first.read_bytes(), np.zeros((2, *FRAMES.shape[1:], 1), FRAMES.dtype)
    (tmp_path / "link.zarr").symlink_to("a.zarr")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for name in ("a.zarr", "link.zarr"):
        with monkeypatch.context() as patched:
            if when == "rename":  # the second one, of what is new to its place
                once = first_then(interrupted, os.rename)
                patched.setattr(os, when, first_then(os.rename, once))
            else:
                patched.setattr(shutil, when, first_then(interrupted, shutil.rmtree))
            with pytest.raises(KeyboardInterrupt):
                zarr.write(str(tmp_path / name), new.shape, new.dtype, [new], force=True)
        assert not [x for x in os.listdir(tmp_path) if x.startswith(".lowrank")]
        assert first.read_bytes() == (before if when == "rename" else bytes(len(before)))
    zarr.write(str(tmp_path / "link.zarr"), FRAMES.shape, FRAMES.dtype, [FRAMES], force=True)
    assert (tmp_path / "link.zarr").is_symlink()
    assert first.read_bytes() == FRAMES[0].tobytes()
    os.replace(tmp_path / "a.lrk", tmp_path / "a.zarr" / "a.lrk")
    done = cli("decompress", "a.zarr/a.lrk", "-o", "link.zarr", "-f")
    assert "holds the input" in done.failed(2)
    assert (tmp_path / "a.zarr" / "a.lrk").exists()


def first_then(do, other):
    """Do something once, and then another thing."""
    calls = iter((do,))

    def either(*args, **options):
        return next(calls, other)(*args, **options)

    return either


def test_zarr_reads_it(tmp_path):
    zarr = pytest.importorskip("zarr", exc_type=ImportError)
    np.save(tmp_path / "a.npy", FRAMES)
    compress(tmp_path / "a.npy", str(tmp_path / "a.lrk"), memory=1 << 27)
    decompress(tmp_path / "a.lrk", str(tmp_path / "a.zarr"))
    array = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert array.chunks == (1, 24, 35)
    assert np.array_equal(array[:], np.asarray(lowrank.open(tmp_path / "a.lrk")))


def test_an_array_of_zarr_is_compressed_as_it_lies(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    array = zarr.create_array("a.zarr", shape=FRAMES.shape, chunks=(7, 10, 35), dtype="u2")
    array[:] = FRAMES
    np.save("a.npy", FRAMES)
    planned = plan.of(["a.zarr"], None, recursive=False, suffixes=frozenset(), made=(".lrk",))
    assert not planned.many
    (job,) = planned.jobs
    for name, target in (("passes", Target("rank", 4.0)), ("whole", Target("quality", 60.0))):
        memory = 1 << 27 if name == "passes" else None
        settings = tasks.Compressing(target=target, memory=memory, force=True)
        outcome = work.compressor([job], settings)(job, settings)
        assert (outcome.error, outcome.output) == (None, "a.lrk")
        data = (tmp_path / "a.lrk").read_bytes()
        other = Job("a.npy", "b.lrk")
        work.compressor([other], settings)(other, settings)
        assert data == (tmp_path / "b.lrk").read_bytes()
    assert lowrank.compress("a.zarr", rank=4, memory="99M").shape == FRAMES.shape
    (tmp_path / "none.zarr").mkdir()
    with pytest.raises(ImageError, match=r"none\.zarr"):
        compress("none.zarr")


def test_a_server_of_s3_is_read_and_written(tmp_path, monkeypatch):
    """Of moto, which is none of what tests need: it brings a hundred libraries."""
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        import s3fs

        store = s3fs.S3FileSystem()
        store.mkdir("afar")
        np.save(tmp_path / "a.npy", FRAMES)
        store.put(str(tmp_path / "a.npy"), "afar/a.npy")
        assert compress("s3://afar/a.npy").output == "s3://afar/a.lrk"
        right = np.asarray(lowrank.open(store.cat("afar/a.lrk")))
        decompress("s3://afar/a.lrk", "s3://afar/b.npy")
        store.get("afar/b.npy", str(tmp_path / "b.npy"))
        assert np.array_equal(np.load(tmp_path / "b.npy"), right)
        with pytest.raises(FileError, match="exists"):
            decompress("s3://afar/a.lrk", "s3://afar/b.npy")
        with pytest.raises(FileError, match=r"none\.npy"):
            compress("s3://afar/none.npy")
    finally:
        running.stop()


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_array_of_zarr_is_what_its_npy_is_to_every_command(cli, tmp_path, slash):
    """Shells put a slash behind the names of folders."""
    zarr = pytest.importorskip("zarr", exc_type=ImportError)
    np.save(tmp_path / "a.npy", FRAMES)
    for place in ("a.zarr", "tree/a.zarr"):
        array = zarr.create_array(
            tmp_path / place, shape=FRAMES.shape, chunks=(7, 9, 11), dtype=FRAMES.dtype
        )
        array[:] = FRAMES
    name = f"a.zarr{slash}"
    for options in (("-k", "4"), ("-q", "70"), ("-k", "4", "--memory", "100M")):
        cli("compress", "a.npy", "-f", *options, "-o", "npy.lrk").succeeded()
        cli("compress", name, "-f", *options, "-o", "a.lrk").succeeded()
        assert (tmp_path / "a.lrk").read_bytes() == (tmp_path / "npy.lrk").read_bytes()
    for rest in ((), ("-k", "2,3"), ("a.lrk",)):
        said = [json.loads(cli("report", x, *rest, "--json").out) for x in ("a.npy", name)]
        for one in said:
            del one["source"]
            if "ranks" in one:
                for rung in one["ranks"]:
                    del rung["source"], rung["storage"]["source_ratio"]
            else:
                del one["storage"]["source_ratio"]
        assert said[0] == said[1]
    for original in (name, f"tree{slash}"):
        cli("verify", "a.lrk", "--against", original).succeeded()
    cli("decompress", "a.lrk", "-o", f"b.zarr{slash}").succeeded()
    assert (tmp_path / "b.zarr" / "zarr.json").exists()
    found = np.asarray(lowrank.compress(str(tmp_path / "b.zarr") + slash, stack=True, error=0))
    np.testing.assert_array_equal(found, np.asarray(lowrank.open(tmp_path / "a.lrk")))


def test_arrays_of_zarr_in_a_folder_are_sources_like_files(cli, tmp_path):
    """Whether or not its folders are descended into; a hidden one is passed over as files are."""
    pytest.importorskip("zarr", exc_type=ImportError)
    for place in ("top", "sub/deep", "sub/.hidden"):
        (tmp_path / "d" / place).parent.mkdir(parents=True, exist_ok=True)
        path = str(tmp_path / "d" / f"{place}.zarr")
        zarr_files.write(path, FRAMES.shape, FRAMES.dtype, [FRAMES], force=False)
    (tmp_path / "linked.zarr").symlink_to("d/top.zarr")
    (tmp_path / "d" / "linked.zarr").symlink_to(tmp_path / "linked.zarr")
    (tmp_path / "d" / "packed.zarr").write_bytes(b"PK")  # a store in a file is not read
    np.save(tmp_path / "d" / "top.npy", FRAMES)
    cli("compress", "d/top.npy", "-k", 2, "-o", "right.lrk").succeeded()
    right = (tmp_path / "right.lrk").read_bytes()
    flat = cli("compress", "d", "-k", 2, "-o", "flat", "--json").succeeded()
    assert files_below(tmp_path / "flat") == ["linked.lrk", "top.npy.lrk", "top.zarr.lrk"]
    deep = cli("compress", "d", "-k", 2, "-o", "deep", "-r", "-j", 2, "--json").succeeded()
    made = files_below(tmp_path / "deep")
    assert made == ["linked.lrk", "sub/deep.lrk", "top.npy.lrk", "top.zarr.lrk"]
    assert all((tmp_path / "deep" / name).read_bytes() == right for name in made)
    for run, passed in ((flat, {"folder": 1}), (deep, {"hidden folder": 1})):
        summary = json.loads(run.text.splitlines()[-1])["summary"]
        assert summary["passed_over"] == {".zarr": 1, **passed}
    cli("verify", "deep", "-r", "--against", "d").succeeded()


@pytest.mark.skipif(os.name != "posix", reason="permission bits of POSIX")
def test_what_an_array_of_zarr_becomes_keeps_its_bits_and_its_time(cli, tmp_path):
    """Those of its files: a folder that may be entered says nothing of what is in it."""
    pytest.importorskip("zarr", exc_type=ImportError)
    path = tmp_path / "a.zarr"
    zarr_files.write(str(path), FRAMES.shape, FRAMES.dtype, [FRAMES], force=False)
    chunks = [x for x in path.rglob("*") if x.is_file()]
    for chunk in chunks:
        chunk.chmod(0o644)
        os.utime(chunk, ns=(0, 10**18))
    chunks[-1].chmod(0o600)

    def made(name):
        status = (tmp_path / name).stat()
        return stat.S_IMODE(status.st_mode), status.st_mtime_ns

    for options in (("-k", 2), ("-k", 2, "--memory", "99M"), ("-q", 40)):
        cli("compress", "a.zarr", "-f", *options).succeeded()
        assert made("a.lrk")[0] == 0o600
        cli("compress", "a.zarr", "-f", "-p", *options).succeeded()
        assert made("a.lrk") == (0o600, 10**18)  # though most of its files may be read by all
        again = ("compress", "a.zarr", "--skip-existing", *options)
        assert "skipped" in cli(*again).succeeded().text
        os.utime(chunks[1], ns=(0, 10**18 + 1))  # one chunk is written anew
        assert "skipped" not in cli(*again).succeeded().text
        os.utime(chunks[1], ns=(0, 10**18))
    cli("report", "a.zarr", "--html", "page.html").succeeded()
    assert made("page.html")[0] == 0o600


class Program:
    """What makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


COMMANDS = (
    ("compress", "a.zarr", "-k", 1, "-o", "x.lrk"),
    ("compress", "a.zarr", "-q", 50, "-o", "x.lrk"),
    ("report", "a.zarr"),
    ("report", "a.zarr", "good.lrk"),
    ("verify", "good.lrk", "--against", "a.zarr"),
)


def described(path, filters, compressor=None, dtype="|u1", fill=0):
    """An array of zarr's second format, in one chunk that holds a program."""
    path.mkdir()
    fields = {
        "zarr_format": 2, "shape": [2, 3, 4], "chunks": [2, 3, 4], "dtype": dtype, "order": "C",
        "fill_value": fill, "filters": filters, "compressor": compressor,
    }  # fmt: skip
    (path / ".zarray").write_text(json.dumps(fields))
    (path / "0.0.0").write_bytes(pickle.dumps(Program()))


PICKLED = {"id": "pickle", "protocol": 4}


@pytest.mark.parametrize(
    ("filters", "compressor", "dtype"),
    [
        ([PICKLED], None, "|u1"),
        (None, PICKLED, "|u1"),
        ([{"id": "vlen-utf8"}, PICKLED], None, "|O"),
        ([{"id": "vlen-bytes"}], PICKLED, "|O"),
    ],
)
def test_a_pickled_array_of_zarr_is_refused_and_not_run(
    tmp_path, monkeypatch, filters, compressor, dtype
):
    pytest.importorskip("zarr", exc_type=ImportError)
    pickles = pytest.importorskip("numcodecs.pickles")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pickles, "ALLOW", True, raising=False)  # as versions before 0.16 do
    described(tmp_path / "a.zarr", filters, compressor, dtype, 0 if dtype == "|u1" else "")
    for read in (zarr_files.opened, compress, partial(lowrank.compress, rank=1)):
        with pytest.raises(ImageError, match="is pickled, and is not read"):
            read("a.zarr")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("what", ["damaged", "texts", "no metadata"])
def test_an_array_of_zarr_that_cannot_be_read_is_one_line_of_every_command(cli, tmp_path, what):
    zarr = pytest.importorskip("zarr", exc_type=ImportError)
    np.save(tmp_path / "good.npy", FRAMES)
    cli("compress", "good.npy", "-k", 2).succeeded()
    if what == "texts":
        described(tmp_path / "a.zarr", [{"id": "vlen-utf8"}], None, "|O", "")
    else:
        array = zarr.create_array(
            tmp_path / "a.zarr", shape=FRAMES.shape, chunks=(7, 24, 35), dtype=FRAMES.dtype
        )
        array[:] = FRAMES
        place = "c/1/0/0" if what == "damaged" else "zarr.json"
        (tmp_path / "a.zarr" / place).write_bytes(b"{]")
    for command in COMMANDS:
        line = cli(*command).failed(1)
        assert "a.zarr" in line or "the array" in line
        assert "defect" not in line
    assert not (tmp_path / "x.lrk").exists()
