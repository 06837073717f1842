"""What a user would take instead of our index, on the same vectors."""

import importlib.util
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.processes import in_a_process, memory_mb

K = 10
LINKS, EF_CONSTRUCTION = 16, 200  # as in client/index/hnsw.py
EFFORTS = tuple(round(10 * 2 ** (step / 2)) for step in range(18))  # 10 to 3620
RECALL = 0.99
ROWS = 50_000  # that are handed over at once
LIMIT_S = 1_200  # for building, and for searching, after which we wait no longer


def nearest(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """The rows of the K best for each query, int64 [queries, K], in no order."""
    scores = np.full((len(queries), K), -np.inf, np.float32)
    rows = np.zeros((len(queries), K), np.int64)
    for first in range(0, len(vectors), ROWS):
        part = queries @ vectors[first : first + ROWS].T
        scores = np.concatenate([scores, part], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(np.arange(first, first + part.shape[1]), part.shape)], axis=1)
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        scores, rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
    return rows


def recall(found: Sequence[NDArray[np.int64]], best: NDArray[np.int64]) -> float:
    return float(np.mean([len(np.intersect1d(some, all_)) / K for some, all_ in zip(found, best, strict=True)]))


# -- the others --------------------------------------------------------------------------------------------


class _Hnswlib:
    keeps = "float32 vectors, HNSW; in memory"
    needs = "hnswlib"

    def build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        import hnswlib

        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), M=LINKS, ef_construction=EF_CONSTRUCTION)
        for first in range(0, len(vectors), ROWS):
            index.add_items(vectors[first : first + ROWS])
        index.save_index(str(folder / "hnswlib"))

    def open(self, folder: Path, dim: int) -> None:
        import hnswlib

        self._index = hnswlib.Index(space="ip", dim=dim)
        self._index.load_index(str(folder / "hnswlib"))

    def search(self, query: NDArray[np.float32], effort: int) -> NDArray[np.int64]:
        self._index.set_ef(effort)
        rows: NDArray[np.int64] = self._index.knn_query(query, k=K, num_threads=1)[0][0]
        return rows


class _Usearch:
    keeps = "float16 vectors, HNSW; mapped from the disk"
    needs = "usearch"

    def build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        index = self._new(vectors.shape[1])
        for first in range(0, len(vectors), ROWS):
            part = vectors[first : first + ROWS]
            index.add(np.arange(first, first + len(part)), part)
        index.save(str(folder / "usearch"))

    def open(self, folder: Path, dim: int) -> None:
        self._index = self._new(dim)
        self._index.view(str(folder / "usearch"))

    def search(self, query: NDArray[np.float32], effort: int) -> NDArray[np.int64]:
        self._index.expansion_search = effort
        rows: NDArray[np.int64] = self._index.search(query, K, threads=1).keys
        return rows

    def _new(self, dim: int) -> Any:
        from usearch.index import Index

        return Index(ndim=dim, metric="ip", dtype="f16", connectivity=LINKS, expansion_add=EF_CONSTRUCTION)


class _FaissHnsw:
    keeps = "float32 vectors, HNSW; in memory"
    needs = "faiss"

    def build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        import faiss

        index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        for first in range(0, len(vectors), ROWS):
            index.add(vectors[first : first + ROWS])
        faiss.write_index(index, str(folder / "faiss"))

    def open(self, folder: Path, dim: int) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self._index: Any = faiss.read_index(str(folder / "faiss"))  # of a kind that the file says

    def search(self, query: NDArray[np.float32], effort: int) -> NDArray[np.int64]:
        self._index.hnsw.efSearch = effort
        rows: NDArray[np.int64] = self._index.search(query[None], K)[1][0]
        return rows


class _FaissIvfPq:
    keeps = (
        "4,096 lists of codes of 64 bytes (of 128 principal components) in memory, and the best 200 compared by "
        "float32 vectors in a mapped file"
    )
    needs = "faiss"

    def build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        import faiss

        index = faiss.index_factory(vectors.shape[1], "PCAR128,IVF4096,PQ64", faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:: max(1, len(vectors) // 200_000)])
        for first in range(0, len(vectors), ROWS):
            index.add(vectors[first : first + ROWS])
        faiss.write_index(index, str(folder / "faiss"))
        np.save(folder / "vectors.npy", vectors)

    def open(self, folder: Path, dim: int) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self._faiss = faiss
        self._index = faiss.read_index(str(folder / "faiss"))
        self._vectors = np.load(folder / "vectors.npy", mmap_mode="r")

    def search(self, query: NDArray[np.float32], effort: int) -> NDArray[np.int64]:
        self._faiss.extract_index_ivf(self._index).nprobe = effort
        rows: NDArray[np.int64] = self._index.search(query[None], 200)[1][0]
        rows = rows[rows >= 0]
        best: NDArray[np.int64] = rows[np.argsort(-(self._vectors[rows] @ query))[:K]]
        return best


def _padded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """With zeros at the end, which change no product: 4 divides the length, and 4 numbers share a byte of a code."""
    return np.pad(vectors, [(0, 0), (0, -vectors.shape[1] % 4)])


class _LanceDb:
    keeps = "float32 vectors in columns on the disk, IVF-PQ, and the best 200 compared by whole vectors; filters by SQL"
    needs = "lancedb"

    def build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        import lancedb
        import pyarrow

        dim = _padded(vectors[:1]).shape[1]
        schema = pyarrow.schema([("id", pyarrow.int64()), ("vector", pyarrow.list_(pyarrow.float32(), dim))])

        def batches() -> Iterable[Any]:
            for first in range(0, len(vectors), ROWS):
                part = _padded(vectors[first : first + ROWS])
                rows = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(part.reshape(-1)), dim)
                ids = pyarrow.array(np.arange(first, first + len(part)))
                yield pyarrow.record_batch([ids, rows], schema=schema)

        table = lancedb.connect(folder).create_table("tracks", batches(), schema=schema)
        table.create_index(metric="dot", num_partitions=1024, num_sub_vectors=dim // 4)

    def open(self, folder: Path, dim: int) -> None:
        import lancedb

        self._table = lancedb.connect(folder).open_table("tracks")

    def search(self, query: NDArray[np.float32], effort: int) -> NDArray[np.int64]:
        search = self._table.search(_padded(query[None])[0]).metric("dot").nprobes(min(effort, 1024)).refine_factor(20)
        rows: NDArray[np.int64] = search.select(["id", "_distance"]).limit(K).to_arrow()["id"].to_numpy()
        return rows


class _SqliteVec:
    keeps = "float32 vectors in SQLite, compared with each"
    needs = "sqlite_vec"

    def build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        self.open(folder, vectors.shape[1])
        self._db.execute(
            f"CREATE VIRTUAL TABLE tracks USING vec0(vector float[{vectors.shape[1]}] distance_metric=cosine)"
        )
        with self._db:
            for first in range(0, len(vectors), ROWS):
                part = vectors[first : first + ROWS]
                rows = ((first + row, vector.tobytes()) for row, vector in enumerate(part))
                self._db.executemany("INSERT INTO tracks (rowid, vector) VALUES (?, ?)", rows)
        self._db.close()

    def open(self, folder: Path, dim: int) -> None:
        import apsw  # Python's own sqlite3 loads no extensions everywhere
        import sqlite_vec

        self._db = apsw.Connection(str(folder / "tracks.db"))
        self._db.enable_load_extension(True)
        self._db.load_extension(sqlite_vec.loadable_path())

    def search(self, query: NDArray[np.float32], effort: None) -> NDArray[np.int64]:
        rows = self._db.execute("SELECT rowid FROM tracks WHERE vector MATCH ? AND k = ?", (query.tobytes(), K))
        return np.array([row for (row,) in rows])


class _MilvusLite:
    keeps = "float32 vectors and scalars in Milvus Lite's file, HNSW"
    needs = "milvus_lite"

    def build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        from pymilvus import DataType, MilvusClient

        client = MilvusClient(str(folder / "tracks.db"))
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        parameters = client.prepare_index_params()
        parameters.add_index(
            "vector",
            index_type="HNSW",
            metric_type="COSINE",
            params={"M": LINKS, "efConstruction": EF_CONSTRUCTION},
        )
        client.create_collection("tracks", schema=schema, index_params=parameters)
        for first in range(0, len(vectors), 2_000):
            rows = [{"id": first + row, "vector": vector} for row, vector in enumerate(vectors[first : first + 2_000])]
            client.insert("tracks", rows)
        client.flush("tracks")
        client.close()

    def open(self, folder: Path, dim: int) -> None:
        from pymilvus import MilvusClient

        self._client = MilvusClient(str(folder / "tracks.db"))
        self._client.load_collection("tracks")

    def search(self, query: NDArray[np.float32], effort: int) -> NDArray[np.int64]:
        parameters = {"metric_type": "COSINE", "params": {"ef": effort}}
        (hits,) = self._client.search("tracks", [query], limit=K, search_params=parameters)
        return np.array([hit["id"] for hit in hits])


class _Clapback:
    keeps = "float32 vectors in one .npy and paths in one JSON, read whole at each start, compared with each"
    needs = "clapback_cli"

    def build(self, vectors: NDArray[np.float32], folder: Path) -> None:
        np.save(folder / "vectors.npy", vectors)
        entries = [{"path": f"/music/{row}.flac", "mtime": 1.0, "size": 1} for row in range(len(vectors))]
        (folder / "index.json").write_text(json.dumps({"entries": entries}, indent=1))

    def open(self, folder: Path, dim: int) -> None:
        from clapback_cli.store import Store

        self._store = Store(folder).load()

    def search(self, query: NDArray[np.float32], effort: None) -> NDArray[np.int64]:
        return np.array([row for row, _ in self._store.nearest(query, K)])


ENGINES: dict[str, type[Any]] = {
    "hnswlib": _Hnswlib,
    "usearch": _Usearch,
    "faiss HNSW": _FaissHnsw,
    "faiss IVF-PQ": _FaissIvfPq,
    "LanceDB": _LanceDb,
    "Milvus Lite": _MilvusLite,
    "sqlite-vec": _SqliteVec,
    "clapback": _Clapback,
}
EXACT = ("sqlite-vec", "clapback")


# -- how they do -------------------------------------------------------------------------------------------


def measure(folder: Path) -> str:
    """Of the vectors and queries in this folder's files."""
    lines = [
        f"What others take for the same vectors (no tags, no windows, no checksums): the least effort that finds "
        f"{RECALL:g} of the texts' ten best, one text at a time, one thread where that can be set. *Open*: until the "
        "first hits, in a process that has their packages imported.",
        "",
        "| | keeps | on disk | build | open | resident | recall | p50 / p99 ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, engine in ENGINES.items():
        if importlib.util.find_spec(engine.needs) is None:
            lines.append(f"| {name} | not installed | | | | | | |")
            continue
        try:
            lines.append(_row(name, folder))
        except Exception as exc:
            lines.append(f"| {name} | failed: {' '.join(str(exc).split())[:120]} | | | | | | |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def _row(name: str, folder: Path) -> str:
    own = folder / "beside"
    own.mkdir()
    try:
        build_s = in_a_process(_build, name, folder / "vectors.npy", own, limit_s=LIMIT_S)
        disk_gb = sum(path.stat().st_size for path in own.rglob("*") if path.is_file()) / 1e9
        open_s, resident_mb, found, effort, percentiles = in_a_process(_search, name, folder, own, limit_s=LIMIT_S)
    finally:
        _delete(own)
    p50, p99 = percentiles
    asked = "all" if effort is None else f"effort {effort}"
    return (
        f"| {name} | {ENGINES[name].keeps} | {disk_gb:.2f} GB | {build_s:.0f} s | {open_s:.2f} s | "
        f"{resident_mb:.0f} MB | {found:.4f} ({asked}) | {p50:.1f} / {p99:.1f} |"
    )


def _build(name: str, vectors: Path, folder: Path) -> float:
    rows = np.load(vectors, mmap_mode="r")
    started_at = time.perf_counter()
    ENGINES[name]().build(rows, folder)
    return time.perf_counter() - started_at


def _search(name: str, folder: Path, own: Path) -> tuple[float, float, float, int | None, tuple[float, float]]:
    queries = np.load(folder / "queries.npy")
    importlib.import_module(ENGINES[name].needs)
    engine = ENGINES[name]()
    started_at = time.perf_counter()
    engine.open(own, queries.shape[1])
    engine.search(queries[0], None if name in EXACT else EFFORTS[0])
    open_s = time.perf_counter() - started_at
    best = nearest(np.load(folder / "vectors.npy", mmap_mode="r"), queries)
    resident_mb = memory_mb("RssAnon")
    for effort in (None,) if name in EXACT else EFFORTS:
        spent_ms, found = [], []
        for query in queries:
            started_at = time.perf_counter()
            found.append(engine.search(query, effort))
            spent_ms.append(1e3 * (time.perf_counter() - started_at))
        reached = recall(found, best)
        if reached >= RECALL:
            break
    percentiles = float(np.percentile(spent_ms, 50)), float(np.percentile(spent_ms, 99))
    return open_s, resident_mb, reached, effort, percentiles


def _delete(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()
