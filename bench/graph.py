"""Which HNSW graph fits which size: links and construction effort, for vectors of music and texts that ask for it.

Takes an hour.
"""

import os
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
from numpy.typing import NDArray

from bench import million, million_beside
from bench.processes import in_a_process
from client.index.hnsw import EFS, principal_axes
from client.index.live import SAMPLED

TITLE = "Search: links, construction effort and order by size"
SIZES = (100_000, 300_000, 1_000_000)
LINKS, EFFORTS = (12, 16, 24, 32), (100, 200, 400)
MOST = (300_000, (16, 24), (100, 200))  # above that size, only these
ORDERED, ORDERED_LINKS, ORDERED_EFFORT = 300_000, 16, 200  # tracks that are put in one order or another
ORDERED_EFS = (160, 320, 640)  # candidates of a search then


def measure() -> str | None:
    from bench import retrieval

    sound_font = retrieval.SOUND_FONTS["FluidR3_GM"]
    if not os.path.isfile(sound_font):
        return None
    rows = retrieval._render(sound_font)
    lines = [
        "The *heard* vectors of *A million tracks*, along the axes that hold 99.9 % of their squared length, and its "
        f"{million.TEXTS} texts; graphs linked by one thread. What it takes until .99 of the texts' ten best are "
        "found: the candidates (ef) and the time of one search, with the best 20 compared by whole vectors.",
        "",
        "| tracks | M | ef_construction | seconds to build | GB | candidates | recall | ms a search |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(dir=retrieval.CACHE) as scratch:
        folder = Path(scratch)
        in_a_process(million._hear, folder, rows, million._texts(rows))
        real, queries = np.load(folder / "real.npy"), np.load(folder / "queries.npy")
        for size in SIZES:
            vectors = np.concatenate([*million._draw(real, "heard", size)])
            best = million_beside.nearest(vectors, queries)
            axes = principal_axes(vectors[np.random.default_rng(0).choice(size, SAMPLED, replace=False)])
            kept = vectors if axes is None else vectors @ axes
            turned = queries if axes is None else queries @ axes
            for links, effort in product(LINKS, EFFORTS):
                if size > MOST[0] and (links not in MOST[1] or effort not in MOST[2]):
                    continue
                cells = _try(kept, turned, whole=(vectors, queries), best=best, links=links, effort=effort)
                lines.append(f"| {size:,} | {links} | {effort} | {cells} |")
                print(lines[-1], flush=True)
        return "\n".join([*lines, *_orders(real, queries)])


def _orders(real: NDArray[np.float32], queries: NDArray[np.float32], *, tracks: int = ORDERED) -> list[str]:
    """Whether the order in which tracks are put into a graph decides what it finds."""
    vectors = np.concatenate([*million._draw(real, "heard", tracks)])
    best = million_beside.nearest(vectors, queries)
    rng = np.random.default_rng(1)
    like = np.lexsort((rng.random(tracks), np.argmax(vectors @ real.T, axis=1)))
    outwards = np.argsort(-vectors @ vectors.mean(axis=0))
    half, part = tracks // 2, 65_536
    orders = {
        "random": np.arange(tracks),
        "like beside like, as folders by genre": like,
        "albums of 100 alike": _albums(like, size=100, rng=rng),
        "albums of 12 alike": _albums(like, size=12, rng=rng),
        f"like beside like, but random within {part:,}": np.concatenate(
            [rng.permutation(like[first : first + part]) for first in range(0, tracks, part)]
        ),
        "a random half, then like beside like": np.concatenate([rng.permutation(like[:half]), like[half:]]),
        "from the mean outwards": outwards,
        "towards the mean": outwards[::-1],
    }
    lines = [
        "",
        f"The order in which {tracks:,} of these vectors are put into a graph of whole vectors, {ORDERED_LINKS} links "
        f"and a construction effort of {ORDERED_EFFORT}; the share of the texts' ten best that is found, by "
        "candidates.",
        "",
        f"| order | {' | '.join(map(str, ORDERED_EFS))} |",
        "|---|" + "---|" * len(ORDERED_EFS),
    ]
    for name, order in orders.items():
        graph: Any = hnswlib.Index(space="ip", dim=vectors.shape[1])
        graph.init_index(max_elements=tracks, M=ORDERED_LINKS, ef_construction=ORDERED_EFFORT)
        graph.add_items(vectors[order], order, num_threads=1)
        found = []
        for ef in ORDERED_EFS:
            graph.set_ef(ef)
            labels = graph.knn_query(queries, k=million.K, num_threads=1)[0].astype(np.int64)
            found.append(f"{million_beside.recall(list(labels), best):.4f}")
        lines.append(f"| {name} | {' | '.join(found)} |")
        print(lines[-1], flush=True)
    return lines


def _albums(order: NDArray[np.int64], *, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Groups of neighbours in this order, one anywhere after the other."""
    groups = np.array_split(order, len(order) // size)
    return np.concatenate([groups[number] for number in rng.permutation(len(groups))])


def _try(
    kept: NDArray[np.float32],
    turned: NDArray[np.float32],
    *,
    whole: tuple[NDArray[np.float32], NDArray[np.float32]],
    best: NDArray[np.int64],
    links: int,
    effort: int,
) -> str:
    graph: Any = hnswlib.Index(space="ip", dim=kept.shape[1])
    graph.init_index(max_elements=len(kept), M=links, ef_construction=effort)
    started_at = time.perf_counter()
    graph.add_items(kept, num_threads=1)
    build_s = time.perf_counter() - started_at
    vectors, queries = whole
    for ef in (*EFS, 7_241, 10_240):  # as an index tries, and further
        graph.set_ef(max(ef, 2 * million.K))
        found = []
        started_at = time.perf_counter()
        for query, asked in zip(turned, queries, strict=True):
            rows = graph.knn_query(query, k=2 * million.K, num_threads=1)[0][0]
            found.append(rows[np.argsort(-(vectors[rows] @ asked))[: million.K]])
        search_ms = 1e3 * (time.perf_counter() - started_at) / len(queries)
        reached = million_beside.recall(found, best)
        if reached >= million_beside.RECALL:
            break
    size_gb = graph.index_file_size() / 1e9
    return f"{build_s:.0f} | {size_gb:.2f} | {ef} | {reached:.4f} | {search_ms:.2f}"
