"""Tracks that are nearly the same recording: copies, re-encodings, edits."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .index.store import Index, Store

_NEIGHBOURS = 10


@dataclass(frozen=True)
class Duplicate:
    """Two tracks that are nearly the same.

    Attributes:
        first, second: their ids.
        first_path, second_path: where their files were when they were last added.
        similarity: the mean cosine of their windows, each with the best of the other's, in the direction in which it
            is lower, -1...1.
    """

    first: str
    second: str
    first_path: str
    second_path: str
    similarity: float


def find_duplicates(store: Store, index: Index, *, least: float) -> Iterator[Duplicate]:
    """Pairs of tracks whose similarity is at least `least`, in the order in which they were added.

    The track vectors name the candidates, ten for each track; their windows decide, as two different pieces of one
    band may agree on average, but not from window to window.
    """
    for labels, vectors in store.vectors():
        for label, vector in zip(labels.tolist(), vectors, strict=True):
            nearest, scores = index.search(vector, k=_NEIGHBOURS)
            candidates = [
                other for other, score in zip(nearest.tolist(), scores, strict=True) if other > label and score >= least
            ]
            if not candidates:
                continue
            windows = store.windows(label)[1]
            for track in store.by_labels(candidates):
                assert track.label is not None
                similarity = _similarity(windows, store.windows(track.label)[1])
                if similarity >= least:
                    first = store.by_label(label)
                    assert first is not None
                    yield Duplicate(first.track_id, track.track_id, first.file.path, track.file.path, similarity)


def _similarity(some: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    cosines = some @ others.T
    return float(min(cosines.max(axis=0).mean(), cosines.max(axis=1).mean()))
