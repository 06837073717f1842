"""Failures of retrieval: the worst queries, and the labels whose captions do not find their tracks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.data.manifest import Row
from train.evaluate.metrics import ranks

TOP = 3
CONFUSIONS = 3


@dataclass(frozen=True)
class Failure:
    """A failed query.

    Attributes:
        query: index of the caption.
        rank: rank of its own track (1 = best).
        returned: the first tracks of the result, as (index, similarity).
    """

    query: int
    rank: int
    returned: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class LabelFailures:
    """Retrieval results of the captions of all tracks with one label.

    Attributes:
        label: the label.
        queries: number of these captions.
        recall_at_10: share of captions whose own track is among the first ten.
        label_first: share of captions whose first track has the label, whether or not it is their own track.
        instead: labels of the first track, when it does not have this label; the most frequent first, with counts.
        worst: the query with the worst rank.
    """

    label: str
    queries: int
    recall_at_10: float
    label_first: float
    instead: tuple[tuple[str, int], ...]
    worst: Failure


def find_failure(text_to_audio: NDArray[np.float32], *, query: int) -> Failure:
    """Result of caption number `query` in the similarity matrix text_to_audio, float [n, n]."""
    similarity = text_to_audio[query]
    first = np.argsort(-similarity, kind="stable")[:TOP]
    rank = int((similarity >= similarity[query]).sum())
    return Failure(query, rank, tuple((int(place), float(similarity[place])) for place in first))


def find_worst(text_to_audio: NDArray[np.float32], *, count: int) -> list[Failure]:
    """The queries with the worst ranks, the worst first. A query that ranks its own track first is not a failure."""
    rank = ranks(text_to_audio)
    order = np.argsort(-rank, kind="stable")[:count]
    return [find_failure(text_to_audio, query=int(query)) for query in order if rank[query] > 1]


def find_label_failures(text_to_audio: NDArray[np.float32], *, rows: Sequence[Row]) -> list[LabelFailures]:
    """One entry per label. The labels with the worst results come first.

    Args:
        text_to_audio: float [n, n]; caption i belongs to `rows[i]`.
        rows: the n rows.
    """
    rank = ranks(text_to_audio)
    first = text_to_audio.argmax(axis=1)
    lines = []
    for label in sorted({label for row in rows for label in row.labels}):
        queries = np.array([i for i, row in enumerate(rows) if label in row.labels])
        missed = [rows[place].labels for place in first[queries] if label not in rows[place].labels]
        lines.append(
            LabelFailures(
                label=label,
                queries=len(queries),
                recall_at_10=float((rank[queries] <= 10).mean()),
                label_first=1 - len(missed) / len(queries),
                instead=tuple(Counter(other for labels in missed for other in labels).most_common(CONFUSIONS)),
                worst=find_failure(text_to_audio, query=int(queries[rank[queries].argmax()])),
            )
        )
    return sorted(lines, key=lambda line: (line.recall_at_10, line.label_first, -line.queries))
