"""Files on web servers, http and https: read as a whole, or ranges of their bytes.

What `cloud` asks of a store of fsspec, with nothing but the standard library.
"""

from __future__ import annotations

import http.client
import io
import time
import urllib.request
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

from lowrank.io.urls import only_read

_TIMEOUT = 60  # seconds without an answer, or with next to none of it
_LEAST = 1024  # bytes that come while so long is waited for them, or the server only drips
_TRIES = 3  # of a range: a pass is long, and a connection is easily lost
_PAUSE = 0.5  # seconds before the next
_PART = 206  # the status of an answer that is the range asked for
_PLAIN = ("", "identity", "aws-chunked")  # codings of an answer that is the file itself


class NoRangesError(OSError):
    """The server gives whole files only, or ranges that nobody asked for."""


class _Whole:
    """An answer whose end is an error where it comes too early.

    Of what is read a piece at a time the standard library lets it pass.
    """

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer

    def __enter__(self) -> _Whole:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()

    def read(self, size: int | None = None) -> bytes:
        data = self._answer.read(size)
        if not data and self._answer.length:
            raise OSError(f"the connection ended {self._answer.length:,} bytes before the file")
        return data


class _OnTheWeb(urllib.request.HTTPRedirectHandler):
    """Redirections to addresses of the web only: what they ask for is the same.

    The standard library follows them to servers of FTP, and asks for the whole file where its
    head was asked for.
    """

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not only_read(newurl):
            raise OSError("the server sends on to an address that is none of the web")
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None:
            found.method = req.get_method()
        return found


class _Paced(io.RawIOBase):
    """What comes from a server, which may be slow, and is not waited for without end.

    A timeout begins anew with every byte.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw, self._waited, self._come = raw, 0.0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        began = time.monotonic()
        got: int = self._raw.readinto(buffer) or 0
        self._waited, self._come = self._waited + time.monotonic() - began, self._come + got
        if got and self._waited > _TIMEOUT:
            if self._come < _LEAST:
                raise OSError(f"it sends fewer than {_LEAST:,} bytes in {_TIMEOUT} seconds")
            self._waited, self._come = 0.0, 0
        return got

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedAnswer(http.client.HTTPResponse):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fp = io.BufferedReader(_Paced(self.fp.detach()))


class _InTime(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Connections whose answers are paced, from their first header on."""

    def do_open(self, http_class: Any, req: Any, **options: Any) -> Any:
        def connection(*args: Any, **more: Any) -> http.client.HTTPConnection:
            made: http.client.HTTPConnection = http_class(*args, **more)
            made.response_class = _PacedAnswer
            return made

        return super().do_open(connection, req, **options)


class Web:
    """The files of any web server, by their URLs."""

    def info(self, url: str) -> dict[str, Any]:
        """What the server says of a file, without the file."""
        with self._asked(url, method="HEAD") as answer:
            told = answer.headers
            return {
                "size": told["Content-Length"],
                "etag": told["ETag"],
                "last-modified": told["Last-Modified"],
            }

    def size(self, url: str) -> int:
        """Bytes of a file."""
        found = self.info(url)["size"]
        if found is None:
            raise OSError("the server does not say how long it is")
        return int(found)

    def open(self, url: str, mode: str) -> BinaryIO:
        """Open a file to read it from its beginning to its end."""
        if mode != "rb":
            raise OSError("a web server takes no files")
        return cast("BinaryIO", _Whole(self._asked(url)))

    def cat_file(self, url: str, start: int, end: int) -> bytes:
        """Read a range of bytes.

        Raises
        ------
        NoRangesError
            The server would give all of them, or others.
        OSError, HTTPException
            The last of some tries failed.
        """
        left = _TRIES
        while True:
            try:
                with self._asked(url, {"Range": f"bytes={start}-{end - 1}"}) as answer:
                    if answer.status != _PART:
                        raise NoRangesError("the server gives whole files only")
                    if answer.headers.get_content_maintype() == "multipart":
                        raise NoRangesError("the server gives several ranges for one")
                    told = answer.headers["Content-Range"] or ""
                    if told and told.split("-")[0].split() != ["bytes", str(start)]:
                        raise NoRangesError("the server gives other bytes than it is asked for")
                    data = bytes(answer.read(end - start))
                    if len(data) < end - start and answer.length:
                        raise OSError("the connection ended before the range did")
                    return data
            except NoRangesError:
                raise
            except (OSError, http.client.HTTPException):
                left -= 1
                if not left:
                    raise
                time.sleep(_PAUSE)

    def cat_ranges(
        self, urls: Sequence[str], starts: Sequence[int], ends: Sequence[int]
    ) -> list[bytes]:
        """Read several ranges."""
        return [self.cat_file(*some) for some in zip(urls, starts, ends, strict=True)]

    def _asked(self, url: str, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
        if not only_read(url):
            raise OSError("no address of the web")
        asked = urllib.request.Request(url, headers=headers or {}, method=method)  # noqa: S310
        answer = urllib.request.build_opener(_OnTheWeb, _InTime).open(asked, timeout=_TIMEOUT)
        coding = (answer.headers["Content-Encoding"] or "").strip().lower()
        if coding not in _PLAIN:
            answer.close()
            raise OSError(f"the server gives it packed ({coding}), which nobody asked for")
        return answer
