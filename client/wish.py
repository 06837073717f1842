"""What a search looks for: how well a track fits what is wanted, less what it has of what is not.

Taking the vector of what is unwanted away from that of what is wanted does not do: little of it leaves the unwanted in,
and much of it finds whatever is most unlike it, wanted or not (`bench/negation.py` measures both). So what is unwanted
only counts against the tracks in which there is some, compared with the library's others, and the more the more there
is; among the rest, what is wanted decides alone.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .background import Background
from .embedding import Read
from .encoders import Encoder
from .errors import QueryError
from .index.exact import best
from .index.store import Index, Store
from .query import unit

LIMIT_DEVIATIONS = -1.0
"""From where on a cosine with what is unwanted counts: so many standard deviations from the library's mean. What is
heard in few tracks or in half of them lies well above it; what is not heard at all, about there or below."""

STEEPNESS = 2.0
"""What it takes from the score, at a weight of 1: its square beyond the limit, so many times, in standard deviations.
The square spares tracks of which the model is not sure, when they fit what is wanted very well; where it is sure, two
deviations beyond the limit put a track behind almost all others."""

TEMPLATES = ("{}", "music with {}", "A {} track")
"""The mean of these sentences stands for what is unwanted: of its name alone a model is less sure."""

_STEEPEST = 1e6  # for the largest weights: what a float32 score can bear
_SAMPLE = 1_000  # tracks of the library that tell what is usual
_FIRST_CANDIDATES, _MOST_CANDIDATES = 50, 10_000


@dataclass(frozen=True)
class Against:
    """Something unwanted.

    Attributes:
        vector: float32 [dim], unit L2 norm.
        limit: from which cosine on it counts.
        steepness: how much its square beyond the limit takes from the score, above 0.
    """

    vector: NDArray[np.float32]
    limit: float
    steepness: float


@dataclass(frozen=True)
class Wish:
    """A query as numbers.

    Attributes:
        vector: float32 [dim], unit L2 norm.
        against: what takes from the score.
        usual: the library's own scores, where nothing is wanted and the vector is the opposite of what is not.
    """

    vector: NDArray[np.float32]
    against: tuple[Against, ...] = ()
    usual: Background | None = None

    def fits(self, score: float, *, background: Background) -> float:
        """How surely a track with this score fits, 0 to 1: better than that share of unrelated queries' best hits.

        Where nothing is wanted, any score may be such a query's. Then it is the share of the library's tracks that
        have more of what is not; no more, however, than the share of unrelated queries that do better than what is not.
        """
        if self.usual is None:
            return background.probability(score)
        return min(self.usual.probability(score), 1 - background.probability(-score))

    def score(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of unit vectors float32 [n, dim]: their cosines with what is wanted, less what counts against them."""
        scores: NDArray[np.float32] = vectors @ self.vector
        for item in self.against:
            beyond = np.maximum(0, vectors @ item.vector - np.float32(item.limit))
            scores = scores - np.float32(item.steepness) * beyond**2
        return scores


def nearest(
    wish: Wish, *, index: Index, k: int, where: Mapping[str, object] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k labels with the best scores, and these, best first.

    The index compares with one vector only, so candidates come from it, and are scored: as many as it takes until no
    other track can be better, but at most 10,000.
    """
    if not wish.against:
        return index.search(wish.vector, k=k, where=where)
    # What x beyond the limit takes, s * max(0, x)^2, lies above each of its tangents, slope * x - slope^2 / (4 * s). So
    # a score is at most that of this vector plus an offset.
    vector, offset = wish.vector.astype(np.float64), 0.0
    for item in wish.against:
        slope = min(0.5, 0.2 * item.steepness)
        vector = vector - slope * item.vector
        offset += slope * item.limit + slope**2 / (4 * item.steepness)
    norm = float(np.linalg.norm(vector))
    direction = unit(vector, dim=len(vector))
    asked = max(_FIRST_CANDIDATES, 4 * k)
    most = max(_MOST_CANDIDATES, asked)
    while True:
        found = index.search_whole(direction, k=asked, where=where)
        labels, scores = best(found.labels, wish.score(found.vectors), k=k)
        if len(found.labels) < asked or asked == most:
            return labels, scores
        if scores[-1] >= norm * found.scores[-1] + offset:
            return labels, scores
        asked = min(4 * asked, most)


class WishMaker:
    """Makes wishes of texts and sounds, for one library.

    Args:
        lock: held while the store is read.
    """

    def __init__(self, store: Store, encoder: Encoder, *, lock: AbstractContextManager[Any] | None = None) -> None:
        self._store = store
        self._read = Read(encoder)
        self._lock = lock or nullcontext()
        self._usual: tuple[int, NDArray[np.float32]] | None = None  # how many tracks there were, and some of them

    def make(
        self,
        wanted: Mapping[str, float],
        *,
        unwanted: Mapping[str, float],
        sounds: Sequence[tuple[NDArray[np.float32], float]] = (),
        unlike: Sequence[tuple[NDArray[np.float32], float]] = (),
    ) -> tuple[Wish, dict[str, list[str]]]:
        """A wish, and what texts that are longer than the model takes were split into.

        Args:
            wanted, unwanted: texts and their weights, above 0.
            sounds, unlike: vectors of sounds that are wanted, and that are not, and their weights.

        Raises:
            QueryError: what is wanted and what is not cancel out.
        """
        sentences = [template.replace("{}", text) for text in unwanted for template in TEMPLATES]
        vectors, parts = self._read.texts([*wanted, *sentences])
        parts = {text: parts[text] for text in (*wanted, *unwanted) if text in parts}
        dim = vectors.shape[1]
        positive = [*vectors[: len(wanted)], *(vector for vector, _ in sounds)]
        negative = vectors[len(wanted) :].reshape(len(unwanted), len(TEMPLATES), dim).mean(axis=1)
        if wanted and not sounds and wanted.keys() <= unwanted.keys():
            raise QueryError(f"what is wanted and what is not cancel out: {', '.join(map(repr, wanted))}")
        if positive:
            weights = np.array([*wanted.values(), *(weight for _, weight in sounds)], np.float32)
            vector = unit(weights @ np.array(positive, np.float32), dim=dim)
            if not unwanted and not unlike:
                return Wish(vector), parts
        with self._lock:
            common, sample = self._common(dim), self._sample()
        usual = sample.mean(axis=0) if len(sample) else np.zeros(dim, np.float32)
        # What all texts have in common, or all tracks, is not meant.
        bases = [common] * len(unwanted) + [usual] * len(unlike)
        given = [*negative, *(vector for vector, _ in unlike)]
        directions = [unit(_apart(vector, base), dim=dim) for vector, base in zip(given, bases, strict=True)]
        shares = [*unwanted.values(), *(weight for _, weight in unlike)]
        if not positive:
            weights = np.array(shares) / max(shares)
            opposite = unit(-weights @ np.array(directions), dim=dim)
            return Wish(
                opposite, usual=Background(sample @ opposite if len(sample) else np.zeros(1, np.float32))
            ), parts
        against = []
        for weight, direction, base in zip(shares, directions, bases, strict=True):
            own = _without(vector, base)
            # "Jazz without saxophone": what jazz has in common with it stays wanted.
            rest = unit(_without(direction, own) if direction @ own > 0 else direction, dim=dim)
            against.append(_against(rest, sample=sample, weight=weight))
        return Wish(vector, tuple(against)), parts

    def _common(self, dim: int) -> NDArray[np.float32]:
        """What texts about music have in common, float32 [dim]; 0 in a library that holds none of them."""
        probes = self._store.probes("music")
        return probes.mean(axis=0) if len(probes) else np.zeros(dim, np.float32)

    def _sample(self) -> NDArray[np.float32]:
        """Tracks of the library as it is now; drawn anew when it has grown or shrunk by a tenth."""
        tracks = len(self._store)
        if self._usual is None or abs(tracks - self._usual[0]) > 0.1 * self._usual[0]:
            self._usual = tracks, self._store.sample(_SAMPLE)
        return self._usual[1]


def _against(direction: NDArray[np.float32], *, sample: NDArray[np.float32], weight: float) -> Against:
    cosines = sample @ direction if len(sample) else np.zeros(1, np.float32)
    deviation = max(float(cosines.std()), 1e-3)  # a library of one track has none
    limit = float(cosines.mean()) + LIMIT_DEVIATIONS * deviation
    return Against(direction, limit, min(STEEPNESS * weight / deviation, _STEEPEST))


def _apart(vector: NDArray[np.float32], base: NDArray[np.float32]) -> NDArray[np.float32]:
    """What of a vector is its own; all of it where it has nothing else, as in a library of one track."""
    rest = _without(vector, base)
    return rest if float(rest @ rest) > 1e-6 else vector


def _without(vector: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """What of a vector is at a right angle to another; all of it where that is 0."""
    length = float(other @ other)
    return vector - (vector @ other) / np.float32(length) * other if length > 1e-12 else vector
