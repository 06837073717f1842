"""How well a library finds the tracks that its owner knows to be right."""

import csv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .encoders import Encoder
from .errors import LibraryError, QueryError
from .index.exact import scan
from .index.records import Model
from .index.store import Store, open_index
from .query import Reading, check_texts, read_query
from .wish import WishMaker, nearest

_DRAWS = 1000  # bootstrap samples


@dataclass(frozen=True)
class Measure:
    """A mean over queries and its 95 % bootstrap interval, as fractions."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Ranking:
    """The tracks that a model finds in a library.

    Attributes:
        model: the name of the model.
        found: by query, the ids of the ten best tracks as searches find them, best first.
        exact: by query, the ids of the ten best tracks of a comparison with every track, best first.
        readings: by query, how it was read.
    """

    model: str
    found: dict[str, list[str]]
    exact: dict[str, list[str]]
    readings: dict[str, Reading]

    @property
    def recall(self) -> float:
        """The share of the exact search's tracks that searches find."""
        pairs = [(set(self.found[query]), set(best)) for query, best in self.exact.items()]
        return sum(len(found & best) for found, best in pairs) / max(sum(len(best) for _, best in pairs), 1)


def rank(library: Store, encoder: Encoder, queries: Sequence[str], *, literal: bool = False) -> Ranking:
    """Find the best tracks with the library's model, or with a model that `reembed` has embedded the library with.

    Args:
        library: the library.
        encoder: the model.
        queries: the texts to search for.
        literal: do not look for negations in the queries. See `MusicSearch.search`.

    Raises:
        QueryError: a query is empty or too long.
        LibraryError: the model is not the library's, and it has not embedded every track.
        LibraryBusy: the model is not the library's, and another process is writing to the library.
    """
    check_texts(queries, what="queries")
    spec = encoder.spec
    readings = [read_query(query, literal=literal) for query in queries]
    with ExitStack() as stack:
        embedded = library
        if spec.fingerprint != library.model.fingerprint:
            model = Model(spec.model_name, spec.fingerprint, spec.embedding_dim)
            with library.writing():
                other = stack.enter_context(closing(library.beside(model)))
            lacking = len(other.lacking())
            if lacking:
                raise LibraryError(
                    f"{model.name} has not embedded {lacking} tracks of {library.name}: run `music-search reembed "
                    f"{library.name} --encoder MODEL` first"
                )
            embedded = other
        with embedded.reading():
            index = open_index(embedded)
            maker = WishMaker(embedded, encoder)
            made = [maker.make(reading.wanted, unwanted=reading.unwanted) for reading in readings]
            readings = [replace(reading, parts=parts) for reading, (_, parts) in zip(readings, made, strict=True)]
            wishes = [wish for wish, _ in made]
            found = [nearest(wish, index=index, k=10)[0] for wish in wishes]
            exact = scan(embedded.vectors(), [wish.score for wish in wishes], k=10)
            ids = [[_ids(embedded, labels.tolist()) for labels in best] for best in (found, exact)]
    found_ids, exact_ids = (dict(zip(queries, best, strict=True)) for best in ids)
    return Ranking(spec.model_name, found_ids, exact_ids, dict(zip(queries, readings, strict=True)))


def _ids(store: Store, labels: Sequence[int]) -> list[str]:
    ids = {track.label: track.track_id for track in store.by_labels(labels)}
    for label in set(labels) - ids.keys():
        store.accept_gone(label)
    return [ids[label] for label in labels if label in ids]


def read_queries(path: Path) -> dict[str, set[str]]:
    """Read the right tracks of each query from a CSV file.

    It has the columns "query" and "track" (a track id or a path). A query may be in several rows.

    Raises:
        QueryError: the file cannot be read, or a column or a value is missing.
    """
    wanted: dict[str, set[str]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = {"query", "track"} - set(rows.fieldnames or ())
            if missing:
                raise QueryError(
                    f"{path} has no column {' and '.join(sorted(missing))}: its first line must name query and track"
                )
            for row in rows:
                if not row["query"] or not row["track"]:
                    raise QueryError(f"{path}, line {rows.line_num}: query or track is empty")
                wanted.setdefault(row["query"], set()).add(row["track"])
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise QueryError(f"cannot read {path}: {exc}") from exc
    if not wanted:
        raise QueryError(f"{path} holds no queries")
    return wanted


def measure(
    found: Mapping[str, Sequence[str]],
    wanted: Mapping[str, set[str]],
    *,
    than: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Measure]:
    """R@1, R@5, R@10, nDCG@10 and mAP@10 of search results.

    Args:
        found: by query, the ids of at least the ten best tracks, best first.
        wanted: by query, the ids of the right tracks, at least one.
        than: the results of another search. The measures are then differences: how much better `found` is. Both are
            resampled on the same queries, so an interval without 0 is a significant difference.

    Returns:
        Recall at k is the share of the right tracks among the k best (of at most k). nDCG and average precision are
        those of trec_eval, cut off at 10.
    """
    rows = np.array([_of_query(found[query], right) for query, right in wanted.items()])
    if than is not None:
        rows -= np.array([_of_query(than[query], right) for query, right in wanted.items()])
    drawn = np.random.default_rng(0).integers(len(rows), size=(_DRAWS, len(rows)))
    means = rows[drawn].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    names = ("R@1", "R@5", "R@10", "nDCG@10", "mAP@10")
    return {name: Measure(float(rows[:, i].mean()), float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _of_query(found: Sequence[str], right: set[str]) -> list[float]:
    hits: NDArray[np.float64] = np.array([track in right for track in found[:10]], float)
    hits = np.pad(hits, (0, 10 - len(hits)))
    recalls = [hits[:k].sum() / min(k, len(right)) for k in (1, 5, 10)]
    discounts = 1 / np.log2(np.arange(2, 12))
    ndcg = (hits * discounts).sum() / discounts[: min(10, len(right))].sum()
    precisions = np.cumsum(hits) / np.arange(1, 11)
    return [*recalls, ndcg, (precisions * hits).sum() / min(10, len(right))]
