"""How long from a text to its hits among 100,000 tracks, where does it go, and how soon can a process answer?"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.processes import in_a_process
from client import MusicSearch
from client.background import make_probes
from client.embedding import Read
from client.encoders import open_encoder
from client.encoders.base import TEXT_MODEL
from client.encoders.local import LocalEncoder
from client.index.catalogue import Catalogue
from client.index.exact import ExactIndex
from client.index.fields import Value
from client.index.hnsw import HnswIndex
from client.index.live import LiveIndex
from client.index.records import FileState, NewTrack, TrackVectors

TITLE = "Latency: text to hits"
COLLECTION = Path(__file__).parents[1] / "demo" / "collection"
TRACKS, COLD_TRACKS = 100_000, 10_000
WINDOWS = 18  # of ten seconds: three minutes
K = 10
TEXTS = 600
BLOCK = 20  # texts that a side answers before it is the other's turn
STARTS = 7
MIXED, NOISE = 3, 0.3
SEED = 6
ASKED = 1.15
QUERY = "calm solo piano at night"
FIRST_HITS = f"""
import re, sys
from client import MusicSearch
with MusicSearch(sys.argv[1]) as ms:
    assert len(ms.search({QUERY!r})) == {K}
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""
COMMAND = "from client.cli import main; raise SystemExit(main())"


def measure(*, tracks: int = TRACKS, cold_tracks: int = COLD_TRACKS) -> str:
    with tempfile.TemporaryDirectory() as folder:
        libraries = {count: Path(folder) / str(count) for count in sorted({cold_tracks, tracks})}
        for count, library in libraries.items():
            in_a_process(_fill, library, count)
        spent_ms, ef = in_a_process(_ask, libraries[tracks])
        starts = {count: _start(library) for count, library in libraries.items()}
    ours, raw = spent_ms["whole"], spent_ms["raw"]
    overhead = {of.__name__: of(ours) / of(raw) for of in (np.median, np.mean)}
    lines = [
        f"{tracks:,} tracks of {WINDOWS} windows with title, artist, album, genre and year; their vectors are means of "
        f"{MIXED} of the demo collection's, drawn with random weights, and noise. {TEXTS} captions of that "
        f"collection, each asked once, k={K}, the starter model in this process, {ef or 'all'} candidates (ef) for "
        f"recall=0.99. *Raw*: its tokenizer, graph and hnswlib index called one after the other, in blocks of {BLOCK} "
        "texts in turn with ours; no paths, no metadata, no calibration. Percentiles of parts do not add up.",
        "",
        f"Ours takes {overhead['median']:.3f} times as long as raw (medians; means: {overhead['mean']:.3f}; asked for: "
        f"at most {ASKED}). Without `start_s` (`starts=False`) it is "
        f"{np.median(spent_ms['without starts']) / np.median(raw):.3f}.",
        "",
        "| milliseconds | p50 | p99 |",
        "|---|---|---|",
    ]
    names = {
        "whole": "**text → hits**",
        "tokenise": "tokenise",
        "encode": "encode",
        "search": "search",
        "hits": "hits: where each fits best, paths, metadata, flags",
        "known": "**text → hits**, the same text once more",
        "without starts": "**text → hits**, `starts=False`",
        "raw": "**raw**: tokenise + encode + search",
        "raw search": "its search alone",
    }
    lines += [
        f"| {name} | {np.percentile(spent_ms[key], 50):.2f} | {np.percentile(spent_ms[key], 99):.2f} |"
        for key, name in names.items()
    ]
    lines += [
        "",
        f"Cold start, median of {STARTS} fresh processes with the files in the page cache:",
        "",
        "| tracks | process start → first hits | peak memory | the same by `music-search search` |",
        "|---|---|---|---|",
    ]
    for count, (seconds, peak_mb, command_s) in starts.items():
        lines.append(f"| {count:,} | {seconds:.2f} s | {peak_mb:.0f} MB | {command_s:.2f} s |")
    return "\n".join(lines)


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (COLLECTION / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def _fill(folder: Path, count: int) -> None:
    """A library as `add` would leave it."""
    encoder = open_encoder()
    with MusicSearch(folder, encoder=encoder) as ms:
        real = ms.embed_audio([COLLECTION / row["audio"] for row in _rows()])
    rng = np.random.default_rng((SEED, count))
    catalogue = Catalogue(folder)
    catalogue.put_probes(make_probes(encoder))
    dim = encoder.spec.embedding_dim
    starts_s = np.arange(WINDOWS, dtype=np.float32) * np.float32(encoder.spec.window_s)

    def near(vectors: NDArray[np.float32], noise: float) -> NDArray[np.float32]:
        moved = vectors + rng.standard_normal(vectors.shape, np.float32) * np.float32(noise / math.sqrt(dim))
        unit: NDArray[np.float32] = moved / np.linalg.norm(moved, axis=-1, keepdims=True)
        return unit

    with catalogue.writing():
        for first in range(0, count, 1_000):
            tracks = []
            for row in range(first, min(first + 1_000, count)):
                chosen = real[rng.integers(len(real), size=MIXED)]
                vector = near(rng.dirichlet(np.ones(MIXED)).astype(np.float32) @ chosen, NOISE)
                windows = near(np.tile(vector, (WINDOWS, 1)), NOISE)
                metadata: dict[str, Value] = {
                    "title": f"Track {row}",
                    "artist": f"Artist {row % 4_999}",
                    "album": f"Album {row % 9_973}",
                    "genre": f"Genre {row % 31}",
                    "year": 1960 + row % 67,
                }
                file = FileState(f"/music/{row % 4_999}/{row}.flac", 20_000_000, 1, f"{row:064x}")
                tracks.append(NewTrack(file, 180.0, TrackVectors(vector, starts_s, windows), metadata))
            catalogue.put(tracks)
        LiveIndex(catalogue).save()
    catalogue.close()


def _ask(folder: Path) -> tuple[dict[str, NDArray[np.float64]], int | None]:
    """Milliseconds of each text, by part; and the candidates (ef) of a search, None where it compares with all."""
    texts = sorted({caption for row in _rows() for caption in row["captions"]})
    texts = np.random.default_rng(SEED).permutation(texts)[: TEXTS + BLOCK].tolist()
    spent_ms: defaultdict[str, list[float]] = defaultdict(list)
    with MusicSearch(folder) as ms:
        ms.search(QUERY)
        raw = _Raw(ms)

        def ask_raw(text: str) -> None:
            with _timed("raw", spent_ms):
                raw.search(text, spent_ms)

        def ask_ours(text: str) -> None:
            forget_texts()
            parts_ms: defaultdict[str, list[float]] = defaultdict(list)
            with _parts_timed(ms, parts_ms), _timed("whole", spent_ms):
                ms.search(text, k=K)
            for name, several in parts_ms.items():  # what is unwanted may take several searches
                spent_ms[name].append(sum(several))
            with _timed("known", spent_ms):
                ms.search(text, k=K)

        def forget_texts() -> None:
            ms._wishes._read = Read(ms._encoder)

        def ask_without_starts(text: str) -> None:
            forget_texts()
            with _timed("without starts", spent_ms):
                ms.search(text, k=K, starts=False)

        sides = deque([ask_raw, ask_ours, ask_without_starts])
        for first in range(0, len(texts), BLOCK):
            for ask in sides:
                for text in texts[first : first + BLOCK]:
                    ask(text)
            sides.rotate()  # who comes first finds the caches cold
    spent = {name: np.array(values[BLOCK:]) for name, values in spent_ms.items()}  # without the first block
    spent["hits"] = spent["whole"] - spent["embed"] - spent["search"]
    spent["encode"] = spent["embed"] - spent["tokenise"]
    return spent, raw.ef


class _Raw:
    """The model and the graph that a library has open, without the library."""

    def __init__(self, ms: MusicSearch) -> None:
        encoder, live = ms._encoder, ms._index
        assert isinstance(encoder, LocalEncoder)
        assert isinstance(live, LiveIndex)
        index = live._index
        self._tokenizer = encoder._tokenizer
        self._session = encoder._session(TEXT_MODEL)
        self.ef = live.recall().candidates
        self._graph: Any = None
        if self.ef and isinstance(index, HnswIndex):
            self._graph, self._along_axes = index._graph, index.along_axes
        else:
            self._vectors = (index if isinstance(index, ExactIndex) else index._scan())._vectors

    def search(self, text: str, spent_ms: dict[str, list[float]]) -> None:
        ids = self._tokenizer.encode(text).ids
        input_ids = np.array([ids], np.int32)
        feeds = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
        (embedding,) = self._session.run(["embedding"], feeds)
        with _timed("raw search", spent_ms):
            if self._graph is None:
                scores = self._vectors @ embedding[0]
                best = np.argpartition(scores, -K)[-K:]
                best[np.argsort(-scores[best])]
            else:
                self._graph.set_ef(self.ef)
                self._graph.knn_query(self._along_axes(embedding), k=K, num_threads=1)


@contextmanager
def _timed(name: str, spent_ms: dict[str, list[float]]) -> Iterator[None]:
    started_at = time.perf_counter()
    yield
    spent_ms[name].append(1e3 * (time.perf_counter() - started_at))


@contextmanager
def _parts_timed(ms: MusicSearch, spent_ms: dict[str, list[float]]) -> Iterator[None]:
    """Within the block, what a search calls notes how long it takes."""
    parts = [
        (ms._encoder, "_tokenise", "tokenise"),
        (ms._encoder, "read_texts", "embed"),
        (ms._index, "search", "search"),
        (ms._index, "search_whole", "search"),
    ]
    for owner, method, name in parts:
        setattr(owner, method, _timing(getattr(owner, method), name, spent_ms))
    yield
    for owner, method, _ in parts:
        delattr(owner, method)  # the class's own is seen again


def _timing(call: Callable[..., Any], name: str, spent_ms: dict[str, list[float]]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        with _timed(name, spent_ms):
            return call(*arguments, **options)

    return timed


def _start(library: Path) -> tuple[float, float, float]:
    """Seconds and peak memory in MB of a process that asks once, and seconds of the command that does."""
    alone_s, peak_mb, command_s = [], [], []
    for _ in range(STARTS):
        seconds, output = _run([sys.executable, "-c", FIRST_HITS, str(library)])
        alone_s.append(seconds)
        peak_mb.append(int(output) / 1e3)
        command_s.append(_run([sys.executable, "-c", COMMAND, "search", str(library), QUERY])[0])
    return statistics.median(alone_s), statistics.median(peak_mb), statistics.median(command_s)


def _run(command: list[str]) -> tuple[float, str]:
    started_at = time.perf_counter()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - started_at, output
