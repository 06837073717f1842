"""Where retrieval fails: the worst queries, and the labels whose captions do not find their tracks."""

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
    """A caption, the rank of its own track (1 = best), and the tracks that came first with their similarities."""

    query: int
    rank: int
    returned: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class LabelFailures:
    """How captions of tracks of one label fare.

    Attributes:
        queries: how many there are.
        recall_at_10: share whose own track is among the first ten.
        label_first: share whose first track has the label, their own or another.
        instead: labels of the first track where it lacks this one, the most frequent first, with their counts.
        worst: the query of the worst rank.
    """

    label: str
    queries: int
    recall_at_10: float
    label_first: float
    instead: tuple[tuple[str, int], ...]
    worst: Failure


def find_failure(text_to_audio: NDArray[np.float32], *, query: int) -> Failure:
    """What caption number `query` finds among the tracks of text_to_audio, float [n, n]."""
    similarity = text_to_audio[query]
    first = np.argsort(-similarity, kind="stable")[:TOP]
    rank = int((similarity >= similarity[query]).sum())
    return Failure(query, rank, tuple((int(place), float(similarity[place])) for place in first))


def find_worst(text_to_audio: NDArray[np.float32], *, count: int) -> list[Failure]:
    """The queries of the highest rank, the worst first; those that find their track at once are no failures."""
    rank = ranks(text_to_audio)
    order = np.argsort(-rank, kind="stable")[:count]
    return [find_failure(text_to_audio, query=int(query)) for query in order if rank[query] > 1]


def find_label_failures(text_to_audio: NDArray[np.float32], *, rows: Sequence[Row]) -> list[LabelFailures]:
    """A line a label, the one whose captions find least first.

    Args:
        text_to_audio: float [n, n]; caption i belongs to `rows[i]`.
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
