"""MP3 streams of files that browsers cannot play, each made by its own process, which ends with the stream."""

import asyncio
import json
import logging
import math
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from ..apart import can_start_python, python_command
from . import mp3
from .problems import Problem

_MOST = 4
_RESTS_S = 3.0  # a player that has not read for so long has a full buffer; it sends a new request when it needs more
_LOOKS_AGAIN_S = 0.05
_READ_BYTES = 1 << 16
_KILLED = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows SIGTERM does that
_PROGRAM = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"  # importing the package would be slow

log = logging.getLogger(__name__)


class Transcoders:
    """Starts these processes, a few at a time; after the first one, a spare process is always ready."""

    def __init__(self) -> None:
        self._streams: set[Transcoded] = set()
        self._spare: asyncio.Task[asyncio.subprocess.Process | None] | None = None
        self._opening = 0

    async def open(self, path: str, *, frames: int, begin: int, end: int) -> "Transcoded":
        """Open the bytes from `begin` to `end` of the MP3 that a file is converted to.

        Args:
            path: the file.
            frames: frames of the whole MP3, without the Info frame.
            begin: the first byte.
            end: the exclusive end.

        Raises:
            Problem: too many streams are open, or the machine cannot start a process.
        """
        await self._wait_for_room()
        self._opening += 1
        try:
            spare, self._spare = self._spare, None
            process = await asyncio.shield(spare) if spare is not None else None
            if process is None or process.returncode is not None:
                process = await _start()
            if process is None:
                raise Problem(503, "no track can be converted now: try again in a moment")
            if self._spare is None:
                self._spare = asyncio.create_task(_start())
            return Transcoded(process, self._streams, path=path, frames=frames, begin=begin, end=end)
        finally:
            self._opening -= 1

    async def _wait_for_room(self) -> None:
        """Wait until a stream has ended; a stream whose player rests is closed to make room."""
        gives_up_at = time.monotonic() + _RESTS_S
        while len(self._streams) + self._opening >= _MOST:
            now = time.monotonic()
            rests = min(self._streams, key=lambda stream: stream.offered_at, default=None)
            if rests is not None and now - rests.offered_at >= _RESTS_S:
                await rests.aclose()
            elif now > gives_up_at:
                raise Problem(503, "too many tracks are converted at the same time: try again in a moment")
            else:
                await asyncio.sleep(_LOOKS_AGAIN_S)

    async def close(self) -> None:
        for stream in list(self._streams):
            await stream.aclose()
        if self._spare is not None and (spare := await self._spare) is not None:
            await _end(spare)


class Transcoded:
    """The bytes of one answer.

    Attributes:
        offered_at: since when a part waits for the client to read it; infinite while no part is ready.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        streams: "set[Transcoded]",
        *,
        path: str,
        frames: int,
        begin: int,
        end: int,
    ) -> None:
        self.offered_at = time.monotonic()
        self._process = process
        self._streams = streams
        self._begin, self._end = begin, end
        self._frames = frames
        self._path = path
        streams.add(self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        first, skipped = divmod(self._begin, mp3.FRAME_BYTES)
        last = -(-self._end // mp3.FRAME_BYTES)  # exclusive; frame 0 of the file is the Info frame
        left = self._end - self._begin
        if first == 0:
            part = mp3.info_frame(self._frames)[skipped : skipped + left]
            left, skipped, first = left - len(part), 0, 1
            self.offered_at = time.monotonic()
            yield part
        if left <= 0:
            return
        request = {"path": os.fspath(self._path), "first": first - 1, "frames": last - first}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self.offered_at = math.inf
        stdin.write(json.dumps(request).encode() + b"\n")
        await stdin.drain()
        while left > 0 and (part := await stdout.read(_READ_BYTES)):
            part, skipped = part[skipped:], max(skipped - len(part), 0)
            part = part[:left]
            left -= len(part)
            self.offered_at = time.monotonic()
            yield part
            self.offered_at = math.inf
        if left:
            raise ConnectionAbortedError("the process that converts has ended")  # so that the player notices

    async def aclose(self) -> None:
        self._streams.discard(self)
        await _end(self._process)


async def _start() -> asyncio.subprocess.Process | None:
    """Start a process; None if the machine cannot."""
    if not can_start_python():
        return None
    try:
        return await asyncio.create_subprocess_exec(
            *python_command(_PROGRAM, mp3.__file__),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C must reach only the server
        )
    except OSError as exc:
        log.warning("cannot start a process that converts: %s", exc)
        return None


async def _end(process: asyncio.subprocess.Process) -> None:
    # `process.kill()` would look whether it has ended. Where it has, asyncio then misses its end, and prints a warning.
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, _KILLED)
    await process.wait()
