"""Processes of the command line without their start-up: forks of one that has loaded everything.

A test that runs `lowrank` wants a process of its own: its exit code, streams, folder and
environment. It does not want to load numpy and Pillow again, which takes ten times as long as
the run. So one process per worker loads them, and is forked for each run. What depends on
the start itself (closed streams, terminals, the interpreter's own variables) is tested with
processes that are started.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

POSSIBLE = hasattr(os, "fork") and hasattr(socket, "AF_UNIX")
_READ_AT_START = ("PYTHON", "LC_", "LANG", "OPENBLAS", "_TYPER_COMPLETE_TEST")


def suits(environment):
    """Whether a run with these variables may be a fork: none is read when Python starts."""
    return POSSIBLE and not any(name.startswith(_READ_AT_START) for name in environment)


class Zygote:
    """The process that is forked, as the tests see it."""

    def __init__(self, environment):
        self._folder = tempfile.mkdtemp(prefix="lowrank-zygote-")
        self._path = os.path.join(self._folder, "socket")
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._path], stdin=subprocess.PIPE, env=environment
        )

    def _connected(self):
        for _ in range(600):
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self._path)
            except OSError:
                connection.close()
                time.sleep(0.05)
            else:
                return connection
        raise RuntimeError("the process to fork did not start")

    def run(self, arguments, *, cwd, environment, stdin, timeout):
        """Exit code, standard output and standard error of one run."""
        with contextlib.ExitStack() as stack:
            given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            given.write(stdin)
            given.seek(0)
            connection = stack.enter_context(self._connected())
            connection.settimeout(timeout)
            mask = os.umask(0)
            os.umask(mask)
            request = {
                "arguments": arguments, "cwd": str(cwd), "environment": environment, "umask": mask,
            }  # fmt: skip
            fds = [stream.fileno() for stream in (given, out, err)]
            socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], fds)
            code = int(connection.recv(64))
            out.seek(0)
            err.seek(0)
            return code, out.read(), err.read()

    def close(self):
        """Let the process end: it goes, with its folder, when nobody holds its standard input."""
        self._process.stdin.close()
        self._process.wait(30)


def serve(path):
    """Fork for each request until standard input is closed; say how each fork ended."""
    _load_everything()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    ended, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    running = {}
    while True:
        ready, _, _ = select.select([listener, sys.stdin, ended], [], [])
        if sys.stdin in ready:
            shutil.rmtree(os.path.dirname(path))  # also where the tests were killed
            return
        if ended in ready:
            os.read(ended, 4096)
            _tell(running)
        if listener in ready:
            connection, _ = listener.accept()
            request, fds = _asked(connection)
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                for one in (connection, *running.values()):
                    one.close()
                os.close(ended)
                os.close(waker)
                os._exit(_run(request, fds))
            for fd in fds:
                os.close(fd)
            running[child] = connection


def _load_everything():
    """Import the package, and make the commands of Typer: that takes longer than most runs."""
    import numpy.fft
    import numpy.ma  # noqa: F401
    import typer
    from PIL import Image
    from rich import cells

    import lowrank
    from lowrank import cli

    for module in pkgutil.walk_packages(lowrank.__path__, "lowrank."):
        if not module.name.startswith(("lowrank.chunks", "lowrank.__main__")):  # zarr is not asked
            importlib.import_module(module.name)
    for name in ("rich._emoji_codes", "importlib.resources.readers"):
        importlib.import_module(name)
    Image.preinit()  # the formats that Pillow tries first
    cells.cell_len("\u2026")  # a table of widths
    built = typer.main.get_command(cli.app)
    typer.main.get_command = lambda _: built
    os.fsync = os.fstat  # see conftest.py


def _asked(connection):
    data, fds, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not data.endswith(b"\n"):
        data += connection.recv(1 << 20)
    return json.loads(data), fds


def _tell(running):
    """Send the exit codes of the forks that have ended."""
    while running:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with running.pop(child) as connection, contextlib.suppress(OSError):  # it gave up
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _run(request, fds):
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["lowrank", *request["arguments"]]
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(os.fdopen(number, mode), "utf-8", errors, line_buffering=number == 2)
        for number, mode, errors in (
            (0, "rb", "strict"),
            (1, "wb", "strict"),
            (2, "wb", "backslashreplace"),
        )
    )
    from lowrank.__main__ import main

    try:
        main()
        code = 0
    except SystemExit as left:
        code = left.code or 0
    except BaseException:  # as the interpreter would: a traceback, and 1
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120
    return code


if __name__ == "__main__":
    serve(sys.argv[1])
