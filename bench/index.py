"""Does the search keep hnswlib's speed and the recall it was asked for, beside usearch, faiss and exact NumPy?

Needs `pip install faiss-cpu usearch`, which nothing else here does.
"""

import bisect
import contextlib
import functools
import hashlib
import importlib.util
import itertools
import json
import math
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.processes import in_a_process, memory_mb
from client import MusicSearch
from client.encoders import EncoderSpec
from client.index.catalogue import Catalogue
from client.index.live import LiveIndex
from client.index.records import FileState, Model, NewTrack, TrackVectors

TITLE = "Search: ours beside hnswlib, usearch, faiss and exact NumPy"
CACHE = Path(__file__).parent / "cache"
COLLECTION = Path(__file__).parents[1] / "demo" / "collection"
SIZES = (20_000, 200_000)
DIM = 512
FACTORS, TRACKS_A_CLUSTER, NOISE = 32, 1_000, 0.5
LINKS, EF_CONSTRUCTION = 16, 200  # as in client/index/hnsw.py
K = 10
RECALLS = (0.95, 0.99, 1.0)
QUERIES = 500  # that the peers' ef is tuned on, and as many others that count
JUDGED = slice(QUERIES, 2 * QUERIES)
EXACT_QUERIES = 50  # for what compares with every vector
FILTERED_QUERIES = 200
PROBES = 96  # that our catalogue holds: as many as it holds texts
EFS = sorted({round(10 * 1.1**step) for step in range(58)})  # 10 to 2286
ROUNDS, TURN_S = 4, 0.5
SELECTED = (0.5, 0.1, 0.01, 0.001)
TEXTS = 5_000
SEED = 6
LIBRARY = "library"
GRAPHS = ("hnswlib", "usearch", "faiss")
EXACT = ("NumPy", "hnswlib BFIndex")
OURS = {recall: f"ours, recall={recall:g}" for recall in RECALLS}


def measure(*, sizes: Sequence[int] = SIZES) -> str | None:
    if not all(map(importlib.util.find_spec, GRAPHS)):
        return None
    parts = [
        f"{DIM} numbers a vector. A row is g/‖g‖ + {NOISE:g} e with e ~ N(0, 1/{DIM}), scaled to unit length, where "
        f"g = B (c + z), z ~ N(0, I) in {FACTORS} dimensions, B an orthonormal basis of a random subspace "
        f"and c ~ N(0, I) one of n/{TRACKS_A_CLUSTER} centres. Queries are further rows, never indexed: the peers' "
        f"ef is the smallest (in steps of a tenth) that finds the recall at {K} on {QUERIES} of them, ours is what "
        f"the library chose by itself from its own vectors and {PROBES} more queries; recall and queries/s are those "
        f"of {QUERIES} others (the former of {EXACT_QUERIES} where 1 is asked for). All graphs: M = {LINKS}, "
        f"ef_construction = {EF_CONSTRUCTION}, float32, built by all cores, ours by one. One caller, one query and one "
        "thread at a time (NumPy's products take what they get), each library in a process of its own, in turns: "
        f"{ROUNDS} of {TURN_S:g} s each."
    ]
    for count in sizes:
        parts += _compare(count)
    parts.append(_text_recall())
    return "\n\n".join(parts)


def _compare(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        filled_s = in_a_process(_fill, folder, count)
        built_s = {name: in_a_process(_build, name, folder) for name in (OURS[0.99], *GRAPHS, *EXACT)}
        sides = {name: stack.enter_context(_Side(name, folder)) for name in (*OURS.values(), *GRAPHS, *EXACT)}
        for name, side in sides.items():
            print(f"{count} {name}: opened in {side.opened_s:.2f} s, {side.resident_mb:.0f} MB", flush=True)
        speeds = {recall: _race(recall, sides) for recall in RECALLS}
        hits = in_a_process(_full_hits, folder)
        filtered = in_a_process(_filtered, folder)
    return [
        f"### {count:,} vectors",
        _verdict(speeds),
        _speed_table(speeds),
        f"Filling the catalogue took {filled_s:.0f} s ({filled_s / count * 1e6:.0f} µs a track); *build* starts from "
        "there for ours, from an array in a file for the others, and ends when it is saved. *Resident*: what the "
        f"process grew by when it opened that and answered {EXACT_QUERIES} queries. Ours compares all of the graph "
        "with its checksum before it opens it.",
        _size_table(sides, built_s),
        f"Whole hits (`MusicSearch.search_vector`, recall=0.99, k={K}), of the queries/s for ids and scores: "
        f"{hits['hits']:.2f} with path, metadata and the flags, {hits['starts']:.2f} with where each track fits best "
        f"beside these, which is the default ({hits['rate']:.0f}, {hits['hits'] * hits['rate']:.0f} and "
        f"{hits['starts'] * hits['rate']:.0f} queries/s).",
        "Filtered (`where`, recall=0.99, asked for: 0.99 everywhere), by a field that has nothing to do with the "
        "vectors and by one that follows their first factor, so that most queries are far from all that fits:",
        filtered,
    ]


# -- the data ----------------------------------------------------------------------------------------------


def _fill(folder: Path, count: int) -> float:
    """Vectors, queries and the truth about them in files, and our catalogue of them: the seconds of that."""
    rng = np.random.default_rng((SEED, count))
    basis = np.linalg.qr(rng.standard_normal((DIM, FACTORS)))[0].T
    centres = rng.standard_normal((max(1, count // TRACKS_A_CLUSTER), FACTORS))

    def draw(rows: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        factors = centres[rng.integers(len(centres), size=rows)] + rng.standard_normal((rows, FACTORS))
        factors /= np.linalg.norm(factors, axis=1, keepdims=True)
        noise = rng.standard_normal((rows, DIM), dtype=np.float32) * np.float32(NOISE / math.sqrt(DIM))
        vectors = factors.astype(np.float32) @ basis.astype(np.float32) + noise
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), factors

    vectors, factors = draw(count)
    queries = draw(2 * QUERIES + PROBES)[0]
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "queries.npy", queries)
    np.save(folder / "truth.npy", _nearest(vectors, queries))
    fields = {"chance": rng.permutation(count) / count, "factor": factors[:, 0].argsort().argsort() / count}
    np.savez(folder / "fields.npz", **fields)
    started_at = time.perf_counter()
    catalogue = Catalogue(folder / LIBRARY, create=Model("synthetic", "synthetic", DIM))
    catalogue.put_probes({"music": queries[2 * QUERIES :]})
    start_s = np.zeros(1, np.float32)
    for rows in np.array_split(np.arange(count), math.ceil(count / 5_000)):
        catalogue.put(
            [
                NewTrack(
                    FileState(f"/music/{row}.flac", 1, 1, f"{row:064x}"),
                    10.0,
                    TrackVectors(vectors[row], start_s, vectors[row, None]),
                    {"title": f"Track {row}", "artist": f"Artist {row % 999}"}
                    | {name: float(values[row]) for name, values in fields.items()},
                )
                for row in rows.tolist()
            ]
        )
    catalogue.close()
    return time.perf_counter() - started_at


def _nearest(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """The K best rows of `vectors` (all of fewer) for each query, int64 [queries, K], in no order."""
    parts = np.array_split(queries, math.ceil(len(queries) / 100))
    best = min(K, len(vectors))
    return np.concatenate([np.argpartition(part @ vectors.T, -best, axis=1)[:, -best:] for part in parts])


def _recall(found: Sequence[NDArray[np.int64]], truth: NDArray[np.int64]) -> float:
    pairs = zip(found, truth, strict=True)
    return statistics.fmean(len(np.intersect1d(some, all_)) / len(all_) for some, all_ in pairs)


# -- the libraries -----------------------------------------------------------------------------------------


class _Ours:
    def __init__(self, recall: float) -> None:
        importlib.import_module("hnswlib")
        self._asked = recall

    def build(self, folder: Path) -> None:
        LiveIndex(Catalogue(folder / LIBRARY), recall=self._asked).save()

    def open(self, folder: Path) -> None:
        self._index = LiveIndex(Catalogue(folder / LIBRARY), recall=self._asked)
        self._index.refresh()

    @property
    def ef(self) -> int | None:
        """What it chose; None where it compares with every vector."""
        return self._index.recall().candidates

    def search(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        return self._index.search(query, k=K)[0]


class _Hnswlib:
    def __init__(self) -> None:
        import hnswlib

        self._index = hnswlib.Index(space="ip", dim=DIM)

    def build(self, folder: Path) -> None:
        vectors = np.load(folder / "vectors.npy")
        self._index.init_index(max_elements=len(vectors), M=LINKS, ef_construction=EF_CONSTRUCTION)
        self._index.add_items(vectors)
        self._index.save_index(str(folder / "hnswlib"))

    def open(self, folder: Path) -> None:
        self._index.load_index(str(folder / "hnswlib"))

    def set_ef(self, ef: int) -> None:
        self._index.set_ef(ef)

    def search(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = self._index.knn_query(query, k=K, num_threads=1)[0][0]
        return rows


class _HnswlibExact:
    def __init__(self) -> None:
        import hnswlib

        self._index = hnswlib.BFIndex(space="ip", dim=DIM)

    def build(self, folder: Path) -> None:
        vectors = np.load(folder / "vectors.npy")
        self._index.init_index(max_elements=len(vectors))
        self._index.add_items(vectors)
        self._index.save_index(str(folder / "hnswlib_exact"))

    def open(self, folder: Path) -> None:
        self._index.load_index(str(folder / "hnswlib_exact"))

    def search(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = self._index.knn_query(query, k=K, num_threads=1)[0][0]
        return rows


class _Usearch:
    def __init__(self) -> None:
        from usearch.index import Index

        self._index = Index(ndim=DIM, metric="ip", dtype="f32", connectivity=LINKS, expansion_add=EF_CONSTRUCTION)

    def build(self, folder: Path) -> None:
        vectors = np.load(folder / "vectors.npy")
        self._index.add(np.arange(len(vectors)), vectors)
        self._index.save(str(folder / "usearch"))

    def open(self, folder: Path) -> None:
        self._index.load(str(folder / "usearch"))

    def set_ef(self, ef: int) -> None:
        self._index.expansion_search = ef

    def search(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = self._index.search(query, K, threads=1).keys
        return rows


class _Faiss:
    def __init__(self) -> None:
        import faiss

        self._faiss = faiss

    def build(self, folder: Path) -> None:
        index = self._faiss.IndexHNSWFlat(DIM, LINKS, self._faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        index.add(np.load(folder / "vectors.npy"))
        self._faiss.write_index(index, str(folder / "faiss"))

    def open(self, folder: Path) -> None:
        self._faiss.omp_set_num_threads(1)
        self._index: Any = self._faiss.read_index(str(folder / "faiss"))  # of a kind that the file says

    def set_ef(self, ef: int) -> None:
        self._index.hnsw.efSearch = ef

    def search(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = self._index.search(query[None], K)[1][0]
        return rows


class _NumPy:
    def build(self, folder: Path) -> None:
        np.save(folder / "numpy.npy", np.load(folder / "vectors.npy"))

    def open(self, folder: Path) -> None:
        self._vectors = np.load(folder / "numpy.npy")

    def search(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        scores = self._vectors @ query
        best = np.argpartition(scores, -K)[-K:]
        return best[np.argsort(-scores[best])]


ENGINES: dict[str, Callable[[], Any]] = {
    "hnswlib": _Hnswlib,
    "usearch": _Usearch,
    "faiss": _Faiss,
    "NumPy": _NumPy,
    "hnswlib BFIndex": _HnswlibExact,
    **{name: functools.partial(_Ours, recall) for recall, name in OURS.items()},
}


# -- their processes ---------------------------------------------------------------------------------------


class _Side(contextlib.ExitStack):
    """The process that has one library's index open."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__()
        spawn = multiprocessing.get_context("spawn")
        self._pool = self.enter_context(ProcessPoolExecutor(1, mp_context=spawn))
        self.opened_s, self.resident_mb = self.call(_open, name, folder)

    def call(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self._pool.submit(work, *arguments).result()


_opened: dict[str, Any] = {}  # what the functions below share, each in the process of its library


def _build(name: str, folder: Path) -> float:
    started_at = time.perf_counter()
    ENGINES[name]().build(folder)
    seconds = time.perf_counter() - started_at
    print(f"{name}: built in {seconds:.1f} s", flush=True)
    return seconds


def _open(name: str, folder: Path) -> tuple[float, float]:
    queries = np.load(folder / "queries.npy")
    truth = np.load(folder / "truth.npy") + (name in OURS.values())  # our labels count from 1
    engine = ENGINES[name]()  # imports its library
    before_mb = memory_mb("VmRSS")
    started_at = time.perf_counter()
    engine.open(folder)
    seconds = time.perf_counter() - started_at
    for query in queries[:EXACT_QUERIES]:
        engine.search(query)
    _opened.update(engine=engine, queries=queries, truth=truth)
    return seconds, memory_mb("VmRSS") - before_mb


def _tune(recall: float) -> int | None:
    """The smallest ef that reaches it on the queries for tuning; None where none does."""
    place = bisect.bisect_left(EFS, recall, key=_tuned)
    return EFS[place] if place < len(EFS) else None


@functools.cache
def _tuned(ef: int) -> float:
    return _reached(ef, slice(0, QUERIES))


def _chosen() -> int | None:
    ef: int | None = _opened["engine"].ef
    return ef


def _reached(ef: int | None, part: slice) -> float:
    """The recall on some of the queries."""
    engine = _opened["engine"]
    if ef is not None:
        engine.set_ef(ef)
    return _recall([engine.search(query) for query in _opened["queries"][part]], _opened["truth"][part])


def _turn(ef: int | None) -> float:
    """Queries a second."""
    engine = _opened["engine"]
    if ef is not None:
        engine.set_ef(ef)
    return _rate(engine.search, _opened["queries"][JUDGED])


def _rate(search: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32]) -> float:
    done = 0
    started_at = now = time.perf_counter()
    for query in itertools.cycle(queries):
        search(query)
        done += 1
        now = time.perf_counter()
        if now > started_at + TURN_S:
            break
    return done / (now - started_at)


# -- the measurements --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Speed:
    """What a library does for one recall."""

    ef: int | None
    recall: float
    rate: float


def _race(recall: float, sides: Mapping[str, _Side]) -> dict[str, _Speed]:
    """By name; a graph that does not reach the recall is left out."""
    ours = OURS[recall]
    chosen = sides[ours].call(_chosen)
    runners: dict[str, tuple[_Side, int | None]] = {"ours": (sides[ours], None)}
    for name in GRAPHS:
        if (ef := sides[name].call(_tune, recall)) is not None:
            runners[name] = (sides[name], ef)
    if chosen is not None:
        runners["hnswlib at our ef"] = (sides["hnswlib"], chosen)
    if recall == 1.0:
        runners |= {name: (sides[name], None) for name in EXACT}
    judged = JUDGED if recall < 1 else slice(QUERIES, QUERIES + EXACT_QUERIES)
    recalls = {name: side.call(_reached, ef, judged) for name, (side, ef) in runners.items()}
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(ROUNDS):
        for name, (side, ef) in runners.items():
            rates[name].append(side.call(_turn, ef))
    efs = {name: ef for name, (_, ef) in runners.items()} | {"ours": chosen}
    return {name: _Speed(efs[name], recalls[name], statistics.median(rates[name])) for name in runners}


class _GivenVectors:
    """Stands where a `MusicSearch` has its model; nothing here asks it for an embedding."""

    spec = EncoderSpec(16_000, 160_000, DIM, 77, "synthetic", "synthetic")
    batch_size = 1
    device = "cpu"


def _full_hits(folder: Path) -> dict[str, float]:
    """Queries/s for ids and scores, and that of whole hits as shares of it."""
    queries = np.load(folder / "queries.npy")[JUDGED]
    rates: dict[str, list[float]] = {"rate": [], "hits": [], "starts": []}
    # It has none of a model's methods, as none is called.
    with MusicSearch(folder / LIBRARY, encoder=_GivenVectors()) as ms:  # type: ignore[arg-type]
        searches: dict[str, Callable[[NDArray[np.float32]], object]] = {
            "rate": lambda query: ms._index.search(query, k=K),
            "hits": lambda query: ms.search_vector(query, k=K, starts=False),
            "starts": lambda query: ms.search_vector(query, k=K),
        }
        for search in searches.values():
            search(queries[0])
        for _ in range(ROUNDS):
            for name, search in searches.items():
                rates[name].append(_rate(search, queries))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    bare = medians["rate"]
    return {"rate": bare, "hits": medians["hits"] / bare, "starts": medians["starts"] / bare}


def _filtered(folder: Path) -> str:
    queries = np.load(folder / "queries.npy")[JUDGED][:FILTERED_QUERIES]
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    fields = np.load(folder / "fields.npz")
    index = LiveIndex(Catalogue(folder / LIBRARY), recall=0.99)
    index.refresh()
    lines = [
        "| fit | by chance: recall | worst 1 % | queries/s | first query | by factor: recall | worst 1 % | queries/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for share in SELECTED:
        cells = [f"{share:.1%}"]
        for name in ("chance", "factor"):
            where = {name: (None, share - 1e-9)}
            rows = np.flatnonzero(fields[name] < share - 1e-9)
            truth = rows[_nearest(vectors[rows], queries)]
            started_at = time.perf_counter()
            index.search(queries[0], k=K, where=where)
            first_ms = 1e3 * (time.perf_counter() - started_at)
            found = [index.search(query, k=K, where=where)[0] - 1 for query in queries]
            each = sorted(_recall([some], all_[None]) for some, all_ in zip(found, truth, strict=True))
            rate = _rate(functools.partial(index.search, k=K, where=where), queries)
            cells += [f"{statistics.fmean(each):.4f}", f"{each[len(each) // 100]:.1f}", f"{rate:.0f}"]
            if name == "chance":
                cells.append(f"{first_ms:.0f} ms")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _text_recall() -> str:
    """Of the starter model's captions among its tracks, which lie elsewhere than its texts."""
    manifests = [*sorted(CACHE.glob("*/manifest.jsonl")), COLLECTION / "manifest.jsonl"]
    rows = [
        (manifest.parent, json.loads(line))
        for manifest in manifests
        for line in manifest.read_text(encoding="utf-8").splitlines()
    ]
    paths = {hashlib.sha256(path.read_bytes()).digest(): path for path in (of / row["audio"] for of, row in rows)}
    texts = sorted({caption for _, row in rows for caption in row["captions"]})
    texts = np.random.default_rng(SEED).permutation(texts)[:TEXTS].tolist()
    lines = ["| asked for | recall at 10 | texts that found all 10 | worst 1 % | ef |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        with MusicSearch(folder) as ms:
            ms.add(paths.values())
            queries = ms.embed_text(texts)
        catalogue = Catalogue(Path(folder))
        labels, vectors = map(np.concatenate, zip(*catalogue.vectors_after(0), strict=True))
        truth = labels[_nearest(vectors, queries)]
        for recall in RECALLS[:2]:
            index = LiveIndex(catalogue, recall=recall, exact_below=0)
            found = [index.search(query, k=K)[0] for query in queries]
            each = np.sort([_recall([some], all_[None]) for some, all_ in zip(found, truth, strict=True)])
            ef = index.recall().candidates
            lines.append(
                f"| {recall:g} | {each.mean():.4f} | {np.mean(each == 1.0):.1%} | {each[len(each) // 100]:.1f} | {ef} |"
            )
        catalogue.close()
    return "\n".join(
        [
            f"### Texts of the starter model\n\n{len(texts):,} captions of rendered corpora as queries, among "
            f"their and the demo collection's {len(labels):,} tracks (no two of one content), through the graph, also "
            "where a library of that size would not use it yet. None of the captions is among the texts that the "
            "library measures its recall with.",
            "",
            *lines,
        ]
    )


# -- what is shown -----------------------------------------------------------------------------------------


def _verdict(speeds: Mapping[float, Mapping[str, _Speed]]) -> str:
    claims = []
    for recall in RECALLS[:2]:
        of = speeds[recall]
        claims.append(
            f"at {recall:g} {_ratio(of, 'hnswlib')} of the tuned one (with a recall of {of['ours'].recall:.3f} against "
            f"{of['hnswlib'].recall:.3f}), {_ratio(of, 'hnswlib at our ef')} with the same ef"
            if "hnswlib" in of
            else f"at {recall:g} hnswlib finds no ef"
        )
    exact = speeds[1.0]
    beside = f", {_ratio(exact, 'hnswlib')} of hnswlib's where its ef found all" if "hnswlib" in exact else ""
    return (
        f"Ours ÷ raw hnswlib, ids and scores (asked for: 0.9): {'; '.join(claims)}. With recall=1 ours compares with "
        f"every vector, so that it holds for any query: {_ratio(exact, 'NumPy')} of NumPy's queries/s, "
        f"{_ratio(exact, EXACT[1])} of hnswlib's exact BFIndex's{beside}."
    )


def _ratio(speeds: Mapping[str, _Speed], name: str) -> str:
    return f"{speeds['ours'].rate / speeds[name].rate:.2f}" if name in speeds else "—"


def _speed_table(speeds: Mapping[float, Mapping[str, _Speed]]) -> str:
    lines = ["| recall at 10 | library | ef | reached | queries/s | ours ÷ it |", "|---|---|---|---|---|---|"]
    for recall, of in speeds.items():
        for name, speed in of.items():
            lines.append(
                f"| {recall:g} | {name} | {speed.ef or 'all'} | {speed.recall:.4f} | {speed.rate:.0f} "
                f"| {_ratio(of, name)} |"
            )
        for name in GRAPHS:
            if name not in of:
                lines.append(f"| {recall:g} | {name} | above {EFS[-1]} | | | |")
    return "\n".join(lines)


def _size_table(sides: Mapping[str, _Side], built_s: Mapping[str, float]) -> str:
    lines = ["| library | build | open | resident |", "|---|---|---|---|"]
    for name, side in sides.items():
        built = f"{built_s[name]:.1f} s" if name in built_s else ""
        lines.append(f"| {name} | {built} | {side.opened_s:.2f} s | {side.resident_mb:.0f} MB |")
    return "\n".join(lines)
