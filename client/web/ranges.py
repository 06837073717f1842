"""Range requests of players, which ask for the bytes from their position on (RFC 9110, section 14)."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from email.utils import formatdate
from typing import BinaryIO, Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from .problems import Problem

_READ_BYTES = 1 << 18


class Part(Protocol):
    """An asynchronous stream of bytes to send."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class FilePart:
    """The bytes of an open file from `begin` to `end`."""

    def __init__(self, file: BinaryIO, *, begin: int, end: int) -> None:
        self._file = file
        self._begin, self._end = begin, end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        position = self._begin
        while position < self._end:
            part = await asyncio.to_thread(self._read, position)
            if not part:
                raise ConnectionAbortedError("the file was cut off while it was sent")
            position += len(part)
            yield part

    async def aclose(self) -> None:
        self._file.close()

    def _read(self, position: int) -> bytes:
        self._file.seek(position)
        return self._file.read(min(_READ_BYTES, self._end - position))


def version_of(status: os.stat_result, *, form: str = "") -> str:
    """An entity tag that changes when the file's size or time changes; `form` tells representations apart."""
    return f'"{status.st_size:x}-{status.st_mtime_ns:x}{form}"'


def is_known(request: Request, *, tag: str) -> bool:
    """Whether the client has the version with this entity tag already (If-None-Match)."""
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    return tag in known or "*" in known


async def answer(
    request: Request,
    *,
    size: int,
    tag: str,
    status: os.stat_result,
    media_type: str,
    open_part: Callable[[int, int], Awaitable[Part]],
) -> Response:
    """Answer a request with the whole content or the requested range; HEAD gets only the headers.

    A request for several ranges gets the whole content. RFC 9110 allows that, and every player accepts it.

    Args:
        request: the request.
        size: length of the whole content in bytes.
        tag: its entity tag.
        status: the status of the file; its time is the time of the last change.
        media_type: its media type.
        open_part: opens the bytes from a begin to an end, which is exclusive.

    Raises:
        Problem: the range begins after the content's end (416).
    """
    modified = formatdate(status.st_mtime, usegmt=True)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "ETag": tag,
        "Last-Modified": modified,
    }
    if is_known(request, tag=tag):
        return Response(status_code=304, headers=headers)
    begin, end = 0, size
    is_same = request.headers.get("if-range", tag) in (tag, modified)
    part = _range(request.headers.get("range", ""), size=size) if is_same and request.method == "GET" else None
    if part is not None:
        begin, end = part
        if begin >= end:
            raise Problem(416, f"there are {size} bytes", headers={**headers, "Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - begin)
    if request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    return _Parts(await open_part(begin, end), status_code=206 if part else 200, headers=headers, media_type=media_type)


def _range(header: str, *, size: int) -> tuple[int, int] | None:
    """Begin and exclusive end of the requested range; None if the header does not ask for exactly one range.

    If the content has no such range, the end is not after the begin. An invalid header gives None, because it must be
    ignored (RFC 9110, section 14.2).
    """
    found = re.fullmatch(r"bytes=[ \t]*(?:(\d{1,4000})-(\d{1,4000})?|-(\d{1,4000}))[ \t]*", header, re.ASCII)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return max(size - int(suffix), 0) if int(suffix) else size, size
    if last is not None and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last is not None else size


class _Parts(StreamingResponse):
    """A streaming answer that always closes its part, also if the client disconnects early."""

    def __init__(self, part: Part, *, status_code: int, headers: dict[str, str], media_type: str) -> None:
        super().__init__(part, status_code, headers, media_type)
        self._part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._part):
            await super().__call__(scope, receive, send)
