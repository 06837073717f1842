"""Tracks that are nearly the same recording: copies, re-encodings, edits."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import QueryError
from .index.store import Index, Store

_NEIGHBOURS = 10


@dataclass(frozen=True)
class Duplicate:
    """Two tracks that are nearly the same.

    Attributes:
        first: the id of one track.
        second: the id of the other track.
        first_path: where the first file was when it was last added.
        second_path: where the second file was when it was last added.
        similarity: -1...1. Each window of one track is matched with the most similar window of the other, and their
            cosine similarities are averaged. Of the two directions, the lower mean counts.
    """

    first: str
    second: str
    first_path: str
    second_path: str
    similarity: float


def find_duplicates(
    store: Store, index: Index, *, least: float, lock: AbstractContextManager[object] | None = None
) -> Iterator[Duplicate]:
    """Yield pairs of tracks whose similarity is at least `least`.

    The track vectors give the candidates: the ten nearest neighbours of each track, and all tracks with a cosine
    similarity of at least `least`. The windows then decide. Two different pieces of one band may agree on average, but
    not from window to window.

    Args:
        store: the library.
        index: its index.
        least: -1...1.
        lock: held around every use of the store, if other threads search meanwhile. None if there are none.

    Raises:
        QueryError: `least` is not such a number.
    """
    if not isinstance(least, int | float | np.floating) or not -1 <= least <= 1:
        raise QueryError(f"least is {least!r}, expected a similarity of at most 1, such as 0.98")
    lock = lock or nullcontext()
    found: set[tuple[str, str]] = set()
    parts = store.vectors()
    while True:
        with lock:
            part = next(parts, None)
        if part is None:
            return
        for label, vector in zip(part[0].tolist(), part[1], strict=True):
            with lock, store.reading():
                pairs = _duplicates_of(label, vector, store=store, index=index, least=least)
            for pair in pairs:
                if (pair.first, pair.second) not in found:  # each of the two may find the other
                    found.add((pair.first, pair.second))
                    yield pair


def _duplicates_of(
    label: int, vector: NDArray[np.float32], *, store: Store, index: Index, least: float
) -> list[Duplicate]:
    k = 1 + _NEIGHBOURS  # the nearest is the track itself
    nearest, scores = index.search(vector, k=k)
    while len(nearest) == k and scores[-1] >= least:
        k *= 4
        nearest, scores = index.search(vector, k=k)
    tracks = {track.label: track for track in store.by_labels([*{label, *nearest.tolist()}]) if track.label is not None}
    windows = store.windows_of(list(tracks))
    pairs = []
    for other in sorted(windows.keys() - {label}) if label in windows else []:
        similarity = _similarity(windows[label][1], windows[other][1])
        if similarity >= least:
            first, second = tracks[min(label, other)], tracks[max(label, other)]
            pairs.append(Duplicate(first.track_id, second.track_id, first.file.path, second.file.path, similarity))
    return pairs


def _similarity(some: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    cosines = some @ others.T
    return float(min(cosines.max(axis=0).mean(), cosines.max(axis=1).mean()))
