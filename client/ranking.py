"""The order of search results: tracks that sound like the query, merged with those whose names or lyrics match it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .background import Background
from .fusion import DEPTH, fuse
from .index.fields import folded, several
from .index.records import Track
from .index.store import Index, Store
from .query import check_count
from .wish import Wish, nearest


class Scope(NamedTuple):
    """Which part of the results is returned. See `MusicSearch.search`."""

    k: int
    offset: int = 0
    where: Mapping[str, Any] | None = None
    per_artist: int | None = None

    def check(self) -> None:
        """Raise a `QueryError` if a number is out of its range."""
        check_count(self.k, name="k", least=1)
        check_count(self.offset, name="offset", least=0)
        if self.per_artist is not None:
            check_count(self.per_artist, name="per_artist", least=1)


class Ranked(NamedTuple):
    """A track that was found. `found_by` is the same as in a hit."""

    label: int
    score: float
    track: Track
    found_by: tuple[str, ...]


class Ranking:
    """Searches one library. The caller holds its lock."""

    def __init__(self, store: Store, index: Index) -> None:
        self._store = store
        self._index = index
        self._measured: tuple[int, Background | None] | None = None  # with the number of tracks at the time

    def find(
        self,
        wish: Wish,
        scope: Scope,
        *,
        typed: Sequence[str] = (),
        names_only: bool = False,
        sung: Mapping[int, float] = MappingProxyType({}),
    ) -> tuple[list[Ranked], float]:
        """The tracks that fit best, best first, and the best score of all tracks, which is 0 with `names_only`.

        Args:
            wish: the query as numbers.
            scope: which part of the results.
            typed: texts that may be names.
            names_only: do not find tracks by sound.
            sung: by label, how well the lyrics of tracks within the scope fit.

        Raises:
            QueryError: `scope.where` names an unknown field.
        """
        named = self._named(typed, where=scope.where)
        if names_only and not named and scope.where is not None:
            self._index.search(wish.vector, k=1, where=scope.where)  # raises the error for unknown fields
        wanted = scope.offset + scope.k
        asked = max(wanted, DEPTH) if named or sung else wanted
        of_artist: Counter[str] = Counter()
        found: list[Ranked] = []
        seen: set[int] = set()
        best_score = 0.0
        while True:
            scores: dict[int, float] = {}
            if not names_only:
                labels, cosines = nearest(wish, index=self._index, k=asked, where=scope.where)
                scores = dict(zip(labels.tolist(), cosines.tolist(), strict=True))
                best_score = next(iter(scores.values()), 0.0)
            heard = list(scores)
            vectors = self._store.vectors_of([label for label in {**named, **sung} if label not in scores])
            scored = wish.score(np.array([*vectors.values()], np.float32).reshape(-1, len(wish.vector)))
            scores |= dict(zip(vectors, scored.tolist(), strict=True))
            found_by = fuse(heard, named, sung)
            order = [label for label in found_by if label not in seen]
            for start in range(0, len(order), wanted):
                group = order[start : start + wanted]
                seen.update(group)
                tracks = {track.label: track for track in self._store.by_labels(group)}
                for label in group:
                    track = tracks.get(label)
                    if track is None or label not in scores:
                        self._store.accept_gone(label)
                        continue
                    artists = artists_of(track.metadata)
                    if scope.per_artist is None or all(of_artist[artist] < scope.per_artist for artist in artists):
                        of_artist.update(artists)
                        found.append(Ranked(label, scores[label], track, found_by[label]))
                if len(found) >= wanted:
                    break
            if len(found) >= wanted or names_only or len(heard) < asked:
                return found[scope.offset : wanted], best_score
            asked *= 4

    def background(self) -> Background | None:
        """The library's background. It is measured again when its size has changed by a tenth. None without probes."""
        tracks = len(self._store)
        if self._measured is None or abs(tracks - self._measured[0]) > 0.1 * self._measured[0]:
            best = [self._index.search(probe, k=1)[1] for probe in self._store.probes("unrelated")]
            scores = np.concatenate([*best, np.empty(0, np.float32)])
            self._measured = (tracks, Background(scores) if len(scores) else None)
        return self._measured[1]

    def _named(self, typed: Sequence[str], *, where: Mapping[str, Any] | None) -> dict[int, float]:
        """By label, how well the names of the tracks fit one of these texts."""
        named: dict[int, float] = {}
        for text in typed:
            for label, fit in self._store.named_like(text, where=where).items():
                named[label] = max(fit, named.get(label, 0.0))
        return named


def artists_of(metadata: Mapping[str, Any]) -> set[str]:
    """The artists of a track in the form in which they are compared. Empty if none is known."""
    return {folded(str(artist)) for artist in several(metadata.get("artist", []))} - {""}
