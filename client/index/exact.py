"""Exact search over vectors in memory, by one matrix product; the right index for thousands of tracks."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Found(NamedTuple):
    """The results of a search, best first.

    Attributes:
        labels: int64 [n].
        scores: cosine similarities, float32 [n].
        vectors: float32 [n, dim].
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    vectors: NDArray[np.float32]


class ExactIndex:
    """Labelled unit vectors in a matrix; scores are cosine similarities."""

    def __init__(self, *, dim: int) -> None:
        self._labels = np.empty(0, np.int64)
        self._room = np.empty((0, dim), np.float32)  # has spare rows, so that adding in many parts copies few times

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def _vectors(self) -> NDArray[np.float32]:
        return self._room[: len(self)]

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        start = len(self)
        self._labels = np.concatenate([self._labels, labels])
        if len(self) > len(self._room):
            room = np.empty((max(len(self), start + start // 4), vectors.shape[1]), np.float32)
            room[:start] = self._vectors[:start]
            self._room = room
        self._room[start : len(self)] = vectors

    def remove(self, labels: NDArray[np.int64]) -> None:
        """Remove these labels; unknown labels are ignored."""
        kept = ~np.isin(self._labels, labels)
        self._labels, self._room = self._labels[kept], self._vectors[kept]

    def search(
        self, query: NDArray[np.float32], *, k: int, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The min(k, len) best labels and their scores, best first; equal scores are ordered by label.

        Args:
            query: float32 [dim].
            k: how many results.
            among: the labels to choose from, in ascending order; all must be in the index. None means all.
        """
        if among is None:
            return best(self._labels, self._vectors @ query, k=k)
        return best(among, self.vectors(among) @ query, k=k)

    def vectors(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors float32 [n, dim] of labels in the index; requires that labels were added in ascending order."""
        return self._vectors[np.searchsorted(self._labels, labels)]


def scan(
    parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]],
    queries: NDArray[np.float32] | Sequence[Callable[[NDArray[np.float32]], NDArray[np.float32]]],
    *,
    k: int,
) -> list[NDArray[np.int64]]:
    """For each query, find the k best labels, best first, among vectors that need not fit into memory together.

    Args:
        parts: labels int64 [n] and unit vectors float32 [n, dim]; see `Catalogue.vectors`.
        queries: float32 [queries, dim]; or functions, each of which gives the scores of vectors float32 [n, dim].
        k: how many labels for each query.
    """
    nearest = [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries]
    for labels, vectors in parts:
        scored = queries @ vectors.T if isinstance(queries, np.ndarray) else [score(vectors) for score in queries]
        for row, scores in enumerate(scored):
            before, before_scores = nearest[row]
            nearest[row] = best(np.concatenate([before, labels]), np.concatenate([before_scores, scores]), k=k)
    return [labels for labels, _ in nearest]


def is_among(values: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which values are in `ascending`, a sorted array: bool [len(values)]. `np.isin` would sort it again."""
    places = np.searchsorted(ascending, values)
    found = places < len(ascending)
    found[found] = ascending[places[found]] == values[found]
    return found


def best(
    labels: NDArray[np.int64], scores: NDArray[np.float32], *, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The min(k, n) labels with the best scores, best first; equal scores are ordered by label.

    Args:
        labels: int64 [n].
        scores: float32 [n].
        k: how many labels.
    """
    k = min(k, len(scores))
    # Only scores at or above the k-th best can be among the results, so only those are sorted.
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
    candidates = np.flatnonzero(scores >= threshold)
    order = candidates[np.lexsort((labels[candidates], -scores[candidates]))][:k]
    return labels[order], scores[order]
