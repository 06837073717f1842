"""A library on a Milvus server: how soon is it filled from Parquet, and what share of the best tracks do filters find?

The environment variable MUSICSEARCH_MILVUS_SERVER names the server, as host:port. What this makes there is dropped.
"""

import os
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.processes import seconds
from client import LibraryError
from client.encoders import EncoderSpec
from client.index.fields import Value
from client.index.maintenance import import_to_milvus
from client.index.milvus import MilvusStore
from client.index.milvus_entities import to_label
from client.index.parquet import id_of, write_part
from client.index.records import FileState, NewTrack, TrackVectors
from client.index.store import open_index, open_milvus

TITLE = "A library in Milvus"
SERVER = "MUSICSEARCH_MILVUS_SERVER"
TRACKS = 1_000_000
PART = 10_000  # tracks of a file, which are in memory together
DIM, WINDOWS = 256, 3  # the starter's numbers, and windows as `add --windows 3` keeps them
FACTORS, CENTRES, NOISE = 32, 1_000, 0.5
QUERIES, K, SEED = 200, 10, 6
SHARES = (0.5, 0.01, 0.001)
SETTLED_S = 3_600.0  # after which we wait no longer for what is indexed to be loaded
SPEC = EncoderSpec(16_000, 160_000, DIM, 77, "made up", "0" * 64)


def measure(*, tracks: int = TRACKS) -> str | None:
    """Measure on the server that the environment names.

    Args:
        tracks: how many to fill it with, so many that some fit the rarest filter.
    """
    address = os.environ.get(SERVER)
    if not address:
        print(f"{SERVER} names no server (host:port)")
        return None
    uri = f"milvus://{address}/bench_{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            return _measure(uri, Path(folder), tracks)
        finally:
            with suppress(LibraryError), closing(open_milvus(uri, create=None)) as store:
                store.client.drop_alias(store.alias)
                for name in (store.collection, f"{store.collection}_notes"):
                    store.client.drop_collection(name)


def _measure(uri: str, folder: Path, tracks: int) -> str:
    for first in range(0, tracks, PART):
        write_part(folder / f"{first:09}.parquet", _new_tracks(first, min(PART, tracks - first)), spec=SPEC)
    parquet_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    queries = _draw(tracks, QUERIES)
    filters = _find_best(queries, tracks)
    filled_s = seconds(lambda: import_to_milvus(folder, uri, progress=False))
    with closing(open_milvus(uri, create=None)) as store:
        at_once = _search(store, queries, filters)
        again_s = seconds(lambda: import_to_milvus(folder, uri, progress=False))
        settled_s = seconds(lambda: _settle(store, tracks))
        settled = _search(store, queries, filters)
        version = store.client.get_server_version()
        kind = store.vector_index()
        lines = [
            f"`music-search import` of {tracks:,} made-up tracks of {WINDOWS} windows and {DIM} numbers, "
            f"{parquet_mb:,.0f} MB of Parquet in files of {PART:,}, into Milvus {version}: "
            f"{tracks / filled_s:,.0f} tracks/s ({filled_s:,.0f} s). The same command again, which finds them all "
            f"there: {again_s:,.0f} s.",
            "",
            f"Searches for the {K} best by {QUERIES} queries that are not among the tracks, one at a time. *Recall* is "
            "the share of the tracks that NumPy finds by comparing with every one that fits. The tracks that fit are "
            f"drawn at random. *At once*: right after the first import, which ends with a flush. *Indexed*: once the "
            f"server had loaded its index ({kind}) of all of them, {settled_s:,.0f} s after the second.",
            "",
            "| filter | recall at once | p50, ms | p99, ms | recall indexed | p50, ms | p99, ms |",
            "|---|---|---|---|---|---|---|",
            *(f"| {name} | {at_once[name]} | {figures} |" for name, figures in settled.items()),
        ]
    return "\n".join(lines)


class _Filter(NamedTuple):
    """A filter, and the labels of the best tracks for each query among those that fit."""

    name: str
    where: Mapping[str, Any] | None
    best: list[set[int]]


def _find_best(queries: NDArray[np.float32], tracks: int) -> list[_Filter]:
    vectors = np.concatenate([_draw(first, min(PART, tracks - first)) for first in range(0, tracks, PART)])
    draws = np.concatenate([_draws(first, min(PART, tracks - first)) for first in range(0, tracks, PART)])
    labels = np.array([to_label(id_of(_path(row))) for row in range(tracks)], np.int64)

    def best_of(fits: NDArray[np.bool_]) -> list[set[int]]:
        those, fitting = labels[fits], vectors[fits]
        return [set(those[np.argsort(-(fitting @ query))[:K]].tolist()) for query in queries]

    filters = [_Filter("none", None, best_of(np.ones(tracks, bool)))]
    for share in SHARES:
        best = best_of(draws < share)
        filters.append(_Filter(f"a text that {share:.1%} have", {"among": f"{share:g}"}, best))
        filters.append(_Filter(f"a range that {share:.1%} are in", {"draw": (0.0, share)}, best))
    return filters


def _search(store: MilvusStore, queries: NDArray[np.float32], filters: Sequence[_Filter]) -> dict[str, str]:
    """Recall, and the 50th and 99th percentile of the time in ms, by the filter's name."""
    index = open_index(store)
    figures = {}
    for name, where, best in filters:
        found, took_s = [], []
        for query in queries:
            started_at = time.perf_counter()
            found.append(index.search(query, k=K, where=where)[0])
            took_s.append(time.perf_counter() - started_at)
        pairs = zip(best, found, strict=True)
        recall = np.mean([len(right.intersection(labels.tolist())) / len(right) for right, labels in pairs])
        p50, p99 = 1e3 * np.percentile(took_s, [50, 99])
        figures[name] = f"{recall:.4f} | {p50:.1f} | {p99:.1f}"
    return figures


def _settle(store: MilvusStore, tracks: int) -> None:
    """Wait until the server has indexed every track, and searches by this index."""
    store.wait_for_index()
    give_up_at = time.monotonic() + SETTLED_S
    while (loaded := _loaded(store)) < tracks:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"of {tracks} tracks, {loaded} were loaded with their index after {SETTLED_S:.0f} s")
        time.sleep(1)


def _loaded(store: MilvusStore) -> int:
    segments = store.client.list_loaded_segments(store.collection)
    return sum(segment.num_rows for segment in segments if segment.index_name == "vector")


# -- the tracks ----------------------------------------------------------------------------------------


def _draw(first: int, rows: int) -> NDArray[np.float32]:
    """Unit vectors float32 [rows, DIM] in clusters, the same for the same arguments."""
    fixed, rng = np.random.default_rng(SEED), np.random.default_rng((SEED, first))
    basis = np.linalg.qr(fixed.standard_normal((DIM, FACTORS)))[0].T
    centres = fixed.standard_normal((CENTRES, FACTORS))
    points = (centres[rng.integers(CENTRES, size=rows)] + rng.standard_normal((rows, FACTORS))) @ basis
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points += NOISE / np.sqrt(DIM) * rng.standard_normal((rows, DIM))
    vectors: NDArray[np.float32] = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    return vectors


def _draws(first: int, rows: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each track, by which it fits filters."""
    return np.random.default_rng((SEED, first, 1)).random(rows)


def _new_tracks(first: int, rows: int) -> list[NewTrack]:
    rng = np.random.default_rng((SEED, first, 2))
    tracks = []
    for row, vector, draw in zip(range(first, first + rows), _draw(first, rows), _draws(first, rows), strict=True):
        windows = vector + NOISE / np.sqrt(DIM) * rng.standard_normal((WINDOWS, DIM))
        windows /= np.linalg.norm(windows, axis=1, keepdims=True)
        vectors = TrackVectors(vector, np.arange(WINDOWS, dtype=np.float32) * 10, windows.astype(np.float32))
        tags: dict[str, Value] = {
            "title": f"Track {row}",
            "artist": f"Artist {row % 9_999}",
            "draw": float(draw),
        }
        if among := [f"{share:g}" for share in SHARES if draw < share]:
            tags["among"] = among
        tracks.append(NewTrack(FileState(_path(row), 20_000_000, row, f"packets:{row:048}"), 180.0, vectors, tags))
    return tracks


def _path(row: int) -> str:
    return f"/music/{row}.flac"
