"""Ten minutes of overload: does the server keep its memory, refuse in bounds, and answer with the right vectors?"""

import functools
import itertools
import json
import multiprocessing
import os
import random
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from client import ServerBusy, TritonEncoder
from client.audio import WindowReader
from client.embedding import embed_file
from client.encoders.local import LocalEncoder
from client.encoders.server_errors import meaning_of
from serve import Ports, running_server

TITLE = "Soak: ten minutes of overload"
PROJECT = Path(__file__).parents[1]
REPOSITORY = PROJECT / "model_repository"
COLLECTION = PROJECT / "demo" / "collection"
SOAK_S = 600.0
MARKS = 10  # a minute each
SAMPLE_S = 1.0
# More than wait in the queues (256 texts, 64 requests of windows, 32 files) and run in the batches of two instances.
CALLERS = {"texts": 450, "windows": 240, "files": 40}
PAUSE_S = 0.2  # after a refusal, on average
CHECKED_TEXTS = 100  # one in so many
TOLERANCE = 1e-5  # of a component; the contract for a CPU
PHRASES = ("calm solo piano", "a lively dance of many strings " * 3, "slow music with a cello " * 9)  # of each length
TIMEOUT_S = 60.0
_KINDS = ("RssAnon", "RssShmem")


def measure(*, seconds: float = SOAK_S) -> str:
    with (
        running_server(REPOSITORY, ports=Ports(0, 0, 0)) as server,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        callers_pid = pool.submit(_prepare).result()
        soaking = pool.submit(_overload, server.grpc_url, seconds)
        memory: dict[str, list[float]] = {"private": [], "shared": [], "callers": []}
        processes = 0
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at and not soaking.done():
            group = _resident_mb(server.pid)
            memory["private"].append(sum(private for private, _ in group))
            memory["shared"].append(max(shared for _, shared in group))
            memory["callers"].append(_resident_mb(callers_pid, alone=True)[0][0])
            processes = len(group)
            time.sleep(SAMPLE_S)
        outcomes, longest_s, failures = soaking.result()
        if not server.is_alive():
            failures.append(f"tritonserver died: {server.log()[-500:]}")
    marks = range(1, MARKS + 1)
    lines = [
        f"{sum(CALLERS.values())} callers in a second process ask without a pause for {seconds / 60:g} minutes: more "
        f"than the queues and the running batches hold. Who is refused comes back after {PAUSE_S:g} s. Compared "
        f"with the vector in process ({TOLERANCE:g}) is each window's and file's, and one text's in {CHECKED_TEXTS}.",
        "",
        "| asked for | callers | answered | refused as busy | longest until refused | failed | checked | wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, count in CALLERS.items():
        of = outcomes[kind]
        lines.append(
            f"| {kind} | {count} | {of['answered']} | {of['busy']} | {longest_s[kind]:.1f} s "
            f"| {of['failed']} | {of['checked']} | {of['wrong']} |"
        )
    lines += [
        "",
        f"| resident MB at the end of minute | {' | '.join(map(str, marks))} | last ÷ first |",
        f"|---|{'---|' * (MARKS + 1)}",
    ]
    names = {
        "private": f"tritonserver and its {processes - 1} model processes, private",
        "shared": "what these share, as tritonserver maps all of it",
        "callers": "the callers' process, private",
    }
    for name, samples in memory.items():
        mb = [_at_mark(samples, mark) for mark in marks]
        lines.append(f"| {names[name]} | {' | '.join(f'{value:.0f}' for value in mb)} | {mb[-1] / mb[0]:.3f} |")
    lines += [
        "",
        "We had wanted the last within 2 % of the first. What is shared are the tensors on their way to the model "
        "processes, in the pools of the wheel's Python backend (Triton 24.10), which never shrink: 24 callers left "
        "them at 20 MB, so many make them grow by a full batch (41 MB) now and then, and we did not find out why. The "
        "C++ backend of NVIDIA's container has no such pools for the encoders.",
    ]
    if failures:
        lines += ["", "Failures, the first of each kind:", "", *(f"* `{failure}`" for failure in failures)]
    return "\n".join(lines)


def _at_mark(samples: list[float], mark: int) -> float:
    """The median of the last quarter of the minute that ends there."""
    end = len(samples) * mark // MARKS
    return statistics.median(samples[end - max(1, len(samples) // MARKS // 4) : end])


def _resident_mb(pid: int, *, alone: bool = False) -> list[tuple[float, float]]:
    """Private and shared memory of each process in the group that `pid` leads, or of itself."""
    sizes = []
    for folder in Path("/proc").glob(str(pid) if alone else "[0-9]*"):
        try:
            if alone or os.getpgid(int(folder.name)) == pid:
                status = (folder / "status").read_text()
                private, shared = (int(re.findall(rf"{kind}:\s*(\d+) kB", status)[0]) for kind in _KINDS)
                sizes.append((private / 1e3, shared / 1e3))
        except (OSError, IndexError):  # it has just ended
            continue
    return sizes


# -- the second process ------------------------------------------------------------------------------------


@functools.cache
def _local() -> LocalEncoder:
    return LocalEncoder(REPOSITORY, device="cpu")


@functools.cache
def _tracks() -> list[tuple[bytes, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]:
    """Of each file of the demo collection its bytes, first window, that window's vector, and its own vector."""
    spec = _local().spec
    tracks = []
    for line in (COLLECTION / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        path = COLLECTION / json.loads(line)["audio"]
        reader = WindowReader(path, sample_rate_hz=spec.sample_rate_hz, window_samples=spec.window_samples)
        embedding = embed_file(_local(), path)
        tracks.append((path.read_bytes(), next(iter(reader)).waveform, embedding.windows[0], embedding.vector))
    return tracks


def _prepare() -> int:
    """Load what the checks need, so that it is not taken for a leak; the id of this process."""
    _tracks()
    _local().embed_texts(PHRASES)
    return os.getpid()


def _overload(url: str, seconds: float) -> tuple[dict[str, Counter[str]], dict[str, float], list[str]]:
    """What became of the calls, by kind; the seconds of the longest refusal of each; and the failures."""
    encoder = TritonEncoder(url)
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in CALLERS}
    longest_s = dict.fromkeys(CALLERS, 0.0)
    failures: dict[str, str] = {}
    lock = threading.Lock()
    numbers = itertools.count()
    ends_at = time.monotonic() + seconds

    def call(kind: str, ask: Callable[[int], tuple[NDArray[np.float32], NDArray[np.float32] | None]]) -> None:
        while time.monotonic() < ends_at:
            began_at = time.monotonic()
            counted: Counter[str] = Counter()
            try:
                vector, expected = ask(next(numbers))
                counted["answered"] = 1
                if expected is not None:
                    counted["checked"] = 1
                    counted["wrong"] = int(not np.allclose(vector, expected, rtol=0, atol=TOLERANCE))
            except ServerBusy:
                counted["busy"] = 1
            except Exception as error:
                counted["failed"] = 1
                failures.setdefault(type(error).__name__, f"{type(error).__name__}: {error}")
            with lock:
                outcomes[kind] += counted
                if counted["busy"]:
                    waited_s = time.monotonic() - began_at
                    longest_s[kind] = max(longest_s[kind], waited_s)
            if not counted["answered"]:
                time.sleep(random.uniform(0.5, 1.5) * PAUSE_S)

    with triton.InferenceServerClient(url.removeprefix("grpc://")) as client:
        asks = {
            "texts": functools.partial(_ask_text, encoder),
            "windows": functools.partial(_ask_window, encoder),
            "files": functools.partial(_ask_file, client),
        }
        threads = [
            threading.Thread(target=call, args=(kind, asks[kind])) for kind in CALLERS for _ in range(CALLERS[kind])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    encoder.close()
    return outcomes, longest_s, list(failures.values())


def _ask_text(encoder: TritonEncoder, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    text = f"take {number} of {PHRASES[number % len(PHRASES)]}"
    vector = encoder.embed_texts([text])
    return vector, None if number % CHECKED_TEXTS else _local().embed_texts([text])


def _ask_window(encoder: TritonEncoder, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    _, window, expected, _ = _tracks()[number % len(_tracks())]
    return encoder.embed_windows(window[None])[0], expected


def _ask_file(client: triton.InferenceServerClient, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    content, _, _, expected = _tracks()[number % len(_tracks())]
    tensor = triton.InferInput("audio", [1], "BYTES").set_data_from_numpy(np.array([content], np.object_))
    try:
        return client.infer("audio_embedding", [tensor], client_timeout=TIMEOUT_S).as_numpy("embedding"), expected
    except InferenceServerException as error:
        status, message = str(error.status()).removeprefix("StatusCode."), error.message()
        raise meaning_of(status, message).error(f"{status}: {message}") from error
