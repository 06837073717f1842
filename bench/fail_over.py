"""Over three Triton servers, of which one is slow and one comes and goes: does any call fail, and who answers?"""

import asyncio
import contextlib
import itertools
import re
import threading
import time
import urllib.request
from collections.abc import Coroutine
from typing import Any

import numpy as np

from bench.serving import REPOSITORY
from client import MusicSearchError
from client.encoders.triton import TEXT_SERVICE, TritonEncoder
from serve import Ports, Server, running_server

TITLE = "Serving: three servers, one slow and one that comes and goes"
SECONDS, CALLERS = 60.0, 8
DELAY_S = 0.25  # of each piece of the slow server's answers
UP_S, DOWN_S = 5.0, 3.0
NAMES = ("as it is", "slow", "comes and goes")


def measure() -> str:
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(running_server(REPOSITORY, ports=Ports(0, 0, 0))) for _ in NAMES]
        gates = [stack.enter_context(contextlib.closing(Gate(server.ports.grpc))) for server in servers]
        gates[1].delay_s = DELAY_S
        alone = _load([gates[0]], seconds=SECONDS / 4)
        before = [_answered(server) for server in servers]
        all_three = _load(gates, seconds=SECONDS, flapping=gates[2])
        answered = [_answered(server) - count for server, count in zip(servers, before, strict=True)]
    lines = [
        f"{CALLERS} callers with new texts for {SECONDS:.0f} s, through one `TritonEncoder` of three addresses. Each "
        f"leads to a tritonserver of its own on this machine: one as it is, one whose answers wait {DELAY_S:g} s, one "
        f"that is cut off (its connections reset, new ones refused) for {DOWN_S:g} s after every {UP_S:g} s. "
        "*Answered* is by Triton's own count.",
        "",
        "| server | answered | texts/s |",
        "|---|---|---|",
        *(f"| {name} | {count} | {count / SECONDS:.1f} |" for name, count in zip(NAMES, answered, strict=True)),
        "",
        "| | calls | failed | p50, ms | p99, ms |",
        "|---|---|---|---|---|",
        _row("the first server alone", alone),
        _row("all three", all_three),
    ]
    return "\n".join(lines)


def _row(name: str, calls: tuple[list[float], list[MusicSearchError]]) -> str:
    took_s, failures = calls
    p50, p99 = 1e3 * np.percentile(took_s, [50, 99])
    return f"| {name} | {len(took_s)} | {len(failures)} | {p50:.0f} | {p99:.0f} |"


def _load(
    gates: "list[Gate]", *, seconds: float, flapping: "Gate | None" = None
) -> tuple[list[float], list[MusicSearchError]]:
    """How long each call took, in seconds, and the failures."""
    took_s: list[float] = []
    failures: list[MusicSearchError] = []
    numbers = itertools.count()
    encoder = TritonEncoder("grpc://" + ",".join(f"127.0.0.1:{gate.port}" for gate in gates))
    end = time.monotonic() + seconds

    def call() -> None:
        while (started := time.monotonic()) < end:
            try:
                encoder.embed_texts([f"calm piano, take {id(encoder)} {next(numbers)}"])  # none is in a cache
            except MusicSearchError as exc:
                failures.append(exc)
                print(exc, flush=True)
            took_s.append(time.monotonic() - started)

    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    while flapping is not None and time.monotonic() < end:
        time.sleep(UP_S)
        flapping.shut()
        time.sleep(DOWN_S)
        flapping.open()
    for caller in callers:
        caller.join()
    encoder.close()
    return took_s, failures


def _answered(server: Server) -> int:
    """Texts that the server has embedded so far."""
    time.sleep(0.3)  # it counts a request after it has answered it
    with urllib.request.urlopen(f"http://127.0.0.1:{server.ports.metrics}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    counts = re.findall(rf'^nv_inference_request_success{{model="{TEXT_SERVICE}",[^}}]*}} (\d+)', text, re.MULTILINE)
    return sum(map(int, counts))


class Gate:
    """A port of this machine that leads to another one, slowly or not at all.

    Attributes:
        delay_s: before each piece of an answer is passed on.
    """

    def __init__(self, target: int) -> None:
        self.delay_s = 0.0
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.open()

    def open(self) -> None:
        self._wait(self._open())

    def shut(self) -> None:
        self._wait(self._shut())

    def close(self) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        await asyncio.gather(
            self._pass_on(reader, far_writer, slowly=False), self._pass_on(far_reader, writer, slowly=True)
        )
        self._writers -= {writer, far_writer}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowly: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                if slowly and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(piece)
                await writer.drain()
        writer.close()
