"""What does the real tritonserver deliver to 1 to 64 callers, beside ONNX Runtime called directly?"""

import contextlib
import functools
import io
import itertools
import json
import math
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnxruntime
import tritonclient.grpc as triton
from google.protobuf import text_format
from numpy.typing import NDArray
from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import model_config_pb2

from bench.export_speed import AUDIO as TOWERS
from bench.processes import in_a_process
from client.audio import WindowReader
from client.encoders.local import LocalEncoder
from export.towers import export_audio, type_float16
from serve import Ports, Server, running_server
from train.dual_encoder import DualEncoder

TITLE = "Serving: 1 to 64 callers"
PROJECT = Path(__file__).parents[1]
REPOSITORY = PROJECT / "model_repository"
COLLECTION = PROJECT / "demo" / "collection"
CALLERS = (1, 2, 4, 8, 16, 32, 64)
FILE_CALLERS = CALLERS[:-1]  # 64 would overflow the queue of audio_embedding, which is a test's business
JUDGED_CALLERS = 16
WIDE, WIDE_CALLERS = "ResNet-50, width 64, 10 s", (1, 4, 16)
ROUNDS, TURN_S = 2, 2.5
COUNTED_AFTER_S = 0.3  # Triton counts a request after it has answered it
CACHED_TEXTS = 64
TOKENS = 16  # what every text here is padded to, as most queries are
TIMEOUT_S = 60.0
BESIDE = {"÷ direct": "direct", "÷ direct, 1": "direct_1"}


@dataclass
class Side:
    """What one of the sides that take turns has done."""

    items: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    graph_items: int = 0
    graph_runs: int = 0

    @property
    def rate(self) -> float:
        return self.items / self.seconds

    @property
    def batch(self) -> float:
        return self.graph_items / self.graph_runs

    def milliseconds(self, percentile: int) -> float:
        return 1e3 * float(np.percentile(self.latencies_s, percentile))

    def add(self, turn: "Side") -> None:
        self.items += turn.items
        self.seconds += turn.seconds
        self.latencies_s += turn.latencies_s
        self.graph_items += turn.graph_items
        self.graph_runs += turn.graph_runs


@dataclass(frozen=True)
class Served:
    """A kind of call."""

    model: str
    graph: str  # whose batches are counted
    is_cached: bool = False


AUDIO = Served("audio_encoder", "audio_encoder")
FILE = Served("audio_embedding", "audio_encoder")
TEXT = Served("text_embedding", "text_encoder")
CACHED_TEXT = Served("text_embedding", "text_encoder", is_cached=True)


def measure() -> str:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server(REPOSITORY, ports=Ports(0, 0, 0)))
        unbatched = stack.enter_context(running_server(stack.enter_context(_without_batching()), ports=Ports(0, 0, 0)))
        # The callers' Python has a process of its own; the direct calls have this one.
        pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")))

        def serve(kind: Served, *, by: Server = server) -> Callable[[int], Side]:
            return functools.partial(_serve, pool, by, kind)

        wide = stack.enter_context(_wide_repository())
        wide_server = stack.enter_context(running_server(wide, ports=Ports(0, 0, 0)))
        pool.submit(_fill_cache, _address(server)).result()
        audio = _take_turns(CALLERS, serve(AUDIO), direct=_open_audio())
        text = _take_turns(
            CALLERS, serve(TEXT), direct=_open_text(), unbatched=serve(TEXT, by=unbatched), cached=serve(CACHED_TEXT)
        )
        files = _take_turns(FILE_CALLERS, serve(FILE))
        wide_audio = _take_turns(WIDE_CALLERS, serve(AUDIO, by=wide_server), direct=_open_audio(wide))
        (graph,) = (model for model in server.models() if model["name"] == AUDIO.graph)
    device = graph["instance_group"][0]["kind"].removeprefix("KIND_")
    return "\n\n".join(
        [
            "On the wheel's tritonserver with the stand-in for the ONNX Runtime backend (`serve/backends/`), not on "
            f"Triton's own in C++. Closed loop, on the {device}: each caller, a thread of a second process, sends a "
            "window of 10 s, a text that nobody asked before or a file of 12 s (Opus), waits for the answer over "
            "gRPC, and sends the next. *Batch* is the mean that Triton made. *÷ direct*: of the rate of ONNX Runtime "
            "called in a loop, in one process, with as many threads as an encoder's instances have together "
            f"({_threads(AUDIO.graph)}), on batches of the size that Triton had just made (*1*: of one), inputs ready; "
            f"the texts have {TOKENS} tokens with their padding, and the direct side does not tokenize. *÷ unbatched*: "
            "of the same repository's without its `dynamic_batching` blocks. The sides of a row alternate, "
            f"{ROUNDS} turns of {TURN_S:g} s each; server, callers and direct calls share the cores.",
            _verdict(audio[JUDGED_CALLERS], wide_audio[JUDGED_CALLERS], text[JUDGED_CALLERS]),
            _table("windows", audio, BESIDE),
            f"The same windows, served and directly, by a {WIDE}, the size of the papers' (random weights):",
            _table("windows", wide_audio, BESIDE),
            _table(
                "texts",
                text,
                BESIDE | {"÷ unbatched": "unbatched"},
                cached=True,
            ),
            _table("files", files, {}),
            _plot("windows", audio),
            _plot("texts", text),
        ]
    )


# -- the sides ---------------------------------------------------------------------------------------------


def _take_turns(
    all_callers: tuple[int, ...],
    served: Callable[[int], Side],
    *,
    direct: Callable[[int], Side] | None = None,
    **others: Callable[[int], Side],
) -> dict[int, dict[str, Side]]:
    """By the number of callers, the sides by name: `served`, `direct` in batches like its, `direct_1`, `others`."""
    rows: dict[int, dict[str, Side]] = {}
    for callers in all_callers:
        sides = rows[callers] = defaultdict(Side)
        for _ in range(ROUNDS):
            turn = served(callers)
            sides["served"].add(turn)
            if direct:
                sides["direct"].add(direct(round(turn.batch)))
                sides["direct_1"].add(direct(1))
            for name, other in others.items():
                sides[name].add(other(callers))
        print(callers, {name: round(side.rate) for name, side in sides.items()}, flush=True)
    return rows


def _serve(pool: ProcessPoolExecutor, server: Server, kind: Served, callers: int) -> Side:
    with triton.InferenceServerClient(_address(server)) as client:
        before = _runs(client, kind.graph)
        latencies_s, seconds = pool.submit(_call_in_a_loop, _address(server), kind, callers, TURN_S).result()
        time.sleep(COUNTED_AFTER_S)
        items, runs = (after - count for after, count in zip(_runs(client, kind.graph), before, strict=True))
    calls = len(latencies_s)
    expected = {TEXT: calls, CACHED_TEXT: 0}.get(kind, items)
    if items != expected:
        raise RuntimeError(f"{calls} calls were {items} texts for the graph, expected {expected}: is the cache on?")
    return Side(calls, seconds, latencies_s, items, runs)


def _address(server: Server) -> str:
    return server.grpc_url.removeprefix("grpc://")


def _runs(client: triton.InferenceServerClient, graph: str) -> tuple[int, int]:
    """Items that the graph has had, and batches of them, since the server started."""
    statistics = client.get_inference_statistics(graph).model_stats[0]
    return statistics.inference_count, statistics.execution_count


@contextlib.contextmanager
def _without_batching() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(shutil.copytree(REPOSITORY, Path(folder) / "unbatched"))
        for path in repository.glob("*/config.pbtxt"):
            config = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
            config.ClearField("dynamic_batching")
            path.write_text(text_format.MessageToString(config), encoding="utf-8")
        yield repository


@contextlib.contextmanager
def _wide_repository() -> Iterator[Path]:
    """The same repository, with the audio graph of WIDE."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(shutil.copytree(REPOSITORY, Path(folder) / "wide"))
        (repository / AUDIO.graph / "1/model.onnx").write_bytes(in_a_process(_export_wide))
        yield repository


def _export_wide() -> bytes:
    (dim,) = _config(AUDIO.graph).output[0].dims
    config = replace(TOWERS[WIDE], embedding_dim=dim)
    model = type_float16(DualEncoder(config).eval())
    graph: bytes = export_audio(model, samples=config.frontend.window_samples).SerializeToString()
    return graph


def _threads(graph: str) -> int:
    """How many compute in all instances of a graph's model."""
    config = _config(graph)
    each = int(config.parameters["intra_op_thread_count"].string_value)
    instances: int = sum(group.count for group in config.instance_group)
    return each * instances


def _config(graph: str) -> model_config_pb2.ModelConfig:
    text = (REPOSITORY / graph / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def _open_audio(repository: Path = REPOSITORY) -> Callable[[int], Side]:
    return _open_direct(AUDIO.graph, {"waveform": _windows()}, repository=repository)


def _open_text() -> Callable[[int], Side]:
    tokens = np.ones((max(CALLERS), TOKENS), np.int32)
    return _open_direct(TEXT.graph, {"input_ids": tokens, "attention_mask": tokens})


def _open_direct(
    graph: str, feed: Mapping[str, NDArray[np.float32] | NDArray[np.int32]], *, repository: Path = REPOSITORY
) -> Callable[[int], Side]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads(graph)
    path = repository / graph / "1/model.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(batch: int) -> Side:
        part = {name: rows[:batch] for name, rows in feed.items()}
        session.run(None, part)  # a first run of a shape allocates
        runs = 0
        started = now = time.perf_counter()
        while now < started + TURN_S:
            session.run(None, part)
            runs += 1
            now = time.perf_counter()
        return Side(runs * batch, now - started)

    return run


# -- the second process ------------------------------------------------------------------------------------


def _fill_cache(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        for _ in range(CACHED_TEXTS):
            client.infer(CACHED_TEXT.model, next(_requests(CACHED_TEXT)), client_timeout=TIMEOUT_S)


def _call_in_a_loop(address: str, kind: Served, callers: int, turn_s: float) -> tuple[list[float], float]:
    """Seconds of each call, and of all together: every caller finishes the call that it began in time."""
    latencies_s: list[float] = []
    failures: list[Exception] = []
    requests = _requests(kind)

    def call() -> None:
        try:
            while (began := time.perf_counter()) < started + turn_s:
                client.infer(kind.model, next(requests), client_timeout=TIMEOUT_S)
                latencies_s.append(time.perf_counter() - began)
        except Exception as error:
            failures.append(error)

    with triton.InferenceServerClient(address) as client:
        client.is_server_live()  # connects
        threads = [threading.Thread(target=call) for _ in range(callers)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
    if failures:
        raise RuntimeError(f"{len(failures)} of {callers} callers failed: {failures[0]}")
    return latencies_s, seconds


@functools.cache
def _requests(kind: Served) -> Iterator[list[triton.InferInput]]:
    """Without an end, for many threads; no new text comes twice."""
    if kind == TEXT:
        return map(_text, itertools.count())
    if kind == CACHED_TEXT:
        ready = [_text(-number) for number in range(1, CACHED_TEXTS + 1)]
    elif kind == FILE:
        ready = [_string("audio", [1], path.read_bytes()) for path in _files()]
    else:
        ready = [
            [triton.InferInput("waveform", [1, len(window)], "FP32").set_data_from_numpy(window[None])]
            for window in _windows()
        ]
    return itertools.cycle(ready)


def _text(number: int) -> list[triton.InferInput]:
    return _string("text", [1, 1], f"calm solo piano, take {number}".encode())


def _string(name: str, shape: list[int], content: bytes) -> list[triton.InferInput]:
    return [triton.InferInput(name, shape, "BYTES").set_data_from_numpy(np.full(shape, content, np.object_))]


def _files() -> list[Path]:
    rows = (COLLECTION / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[: max(CALLERS)]
    return [COLLECTION / json.loads(row)["audio"] for row in rows]


def _windows() -> NDArray[np.float32]:
    """The first window of each file, float32 [64, window_samples]."""
    spec = LocalEncoder(REPOSITORY).spec
    readers = [
        WindowReader(path, sample_rate_hz=spec.sample_rate_hz, window_samples=spec.window_samples) for path in _files()
    ]
    return np.stack([next(iter(reader)).waveform for reader in readers])


# -- what is shown -----------------------------------------------------------------------------------------


def _verdict(audio: dict[str, Side], wide: dict[str, Side], text: dict[str, Side]) -> str:
    def ratio(sides: dict[str, Side], name: str, other: str) -> str:
        return f"{sides[name].rate / sides[other].rate:.2f}"

    return (
        f"At {JUDGED_CALLERS} callers audio is served at {ratio(audio, 'served', 'direct')} of the direct rate in "
        f"batches of that size, and by a {WIDE} at {ratio(wide, 'served', 'direct')} (we had wanted 0.90); text at "
        f"{ratio(text, 'served', 'direct')} of it (0.60) and at {ratio(text, 'served', 'unbatched')} times the "
        "unbatched rate (above 1), and a text that was asked before at "
        f"{ratio(text, 'cached', 'served')} times the rate of a new one (5)."
    )


def _table(items: str, rows: dict[int, dict[str, Side]], beside: dict[str, str], *, cached: bool = False) -> str:
    header = ["callers", f"{items}/s", "p50 ms", "p95", "p99", "batch", *beside]
    if cached:
        header += ["cached texts/s", "p50 ms", "p99", "÷ new"]
    lines = [header, ["---"] * len(header)]
    for callers, sides in rows.items():
        served = sides["served"]
        line = [str(callers), f"{served.rate:.0f}", *_latencies(served, 50, 95, 99), f"{served.batch:.1f}"]
        line += [f"{served.rate / sides[name].rate:.2f}" for name in beside.values()]
        if cached:
            known = sides["cached"]
            line += [f"{known.rate:.0f}", *_latencies(known, 50, 99), f"{known.rate / served.rate:.1f}"]
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _latencies(side: Side, *percentiles: int) -> list[str]:
    return [f"{side.milliseconds(percentile):.1f}" for percentile in percentiles]


def _plot(items: str, rows: dict[int, dict[str, Side]]) -> str:
    """Bars of text: the rate, and on a logarithmic axis the span of the latency from p50 to p99."""
    served = {callers: sides["served"] for callers, sides in rows.items()}
    fastest = max(side.rate for side in served.values())
    shortest = min(side.milliseconds(50) for side in served.values())
    longest = max(side.milliseconds(99) for side in served.values())
    table = Table(box=None)
    for header in ("callers", f"{items}/s", "", "ms, p50 to p99", f"{shortest:.1f} to {longest:.0f}, logarithmic"):
        table.add_column(header, justify="left" if header == "" or "log" in header else "right", no_wrap=True)
    for callers, side in served.items():
        p50, p99 = side.milliseconds(50), side.milliseconds(99)
        table.add_row(
            str(callers),
            f"{side.rate:.0f}",
            Bar(fastest, 0, side.rate, width=30),
            f"{p50:.1f} to {p99:.1f}",
            Bar(math.log(longest / shortest), math.log(p50 / shortest), math.log(p99 / shortest), width=40),
        )
    sheet = io.StringIO()
    Console(file=sheet, width=120).print(table)
    drawn = sheet.getvalue()
    return "\n".join(["```text", *(line.rstrip() for line in drawn.splitlines()), "```"])
