"""The score of a track for a query: how well it fits the wanted sound, minus a penalty for unwanted sounds.

Subtracting the vector of an unwanted sound from the query vector does not work. If little is subtracted, the unwanted
sound stays. If much is subtracted, the search finds whatever is most unlike it, wanted or not (`bench/negation.py`
measures both). Instead, an unwanted sound lowers the score of the tracks that have it. The more a track has of it,
compared with the rest of the library, the more it loses. All other tracks are ranked by the wanted sound alone.
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
"""The limit above which a cosine similarity with an unwanted sound counts, in standard deviations from the library's
mean. A sound that few tracks have, or half of them, lies well above the limit. A sound that a track does not have lies
near it or below."""

STEEPNESS = 2.0
"""How steep the penalty is.

At a weight of 1 the penalty is this number times the square of the distance above the limit, both in standard
deviations. The square is lenient with tracks that fit very well and in which the model is not sure of the unwanted
sound. If the model is sure, two deviations above the limit put a track behind almost all others."""

TEMPLATES = ("{}", "music with {}", "A {} track")
"""The mean of these sentences' vectors stands for an unwanted sound. A model is less sure of the name alone."""

_STEEPEST = 1e6  # limit for the largest weights, as scores are float32
_SAMPLE = 1_000  # random tracks that the library's mean and deviation are estimated from
_FIRST_CANDIDATES, _MOST_CANDIDATES = 50, 10_000


@dataclass(frozen=True)
class Against:
    """An unwanted sound.

    Attributes:
        vector: float32 [dim], unit L2 norm.
        limit: the cosine similarity above which it counts.
        steepness: the penalty is this number times the square of the distance above the limit. Above 0.
    """

    vector: NDArray[np.float32]
    limit: float
    steepness: float


@dataclass(frozen=True)
class Wish:
    """A query as numbers.

    Attributes:
        vector: float32 [dim], unit L2 norm.
        against: unwanted sounds, which lower the score.
        usual: the scores of the library's tracks. Only set if the query only excludes sounds. The vector is then the
            opposite of those sounds.
    """

    vector: NDArray[np.float32]
    against: tuple[Against, ...] = ()
    usual: Background | None = None

    def fits(self, score: float, *, background: Background) -> float:
        """How sure it is that a track with this score fits, 0 to 1.

        It is the share of unrelated queries whose best hit scores lower.

        If the query only excludes sounds, an unrelated query may get any score. The result is then the share of the
        library's tracks that have more of the unwanted sound. It is at most the share of unrelated queries that fit
        better than the unwanted sound does.
        """
        if self.usual is None:
            return background.probability(score)
        return min(self.usual.probability(score), 1 - background.probability(-score))

    def score(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores of unit vectors float32 [n, dim]: cosine similarity with the wanted sound, minus penalties."""
        scores: NDArray[np.float32] = vectors @ self.vector
        for item in self.against:
            beyond = np.maximum(0, vectors @ item.vector - np.float32(item.limit))
            scores = scores - np.float32(item.steepness) * beyond**2
        return scores


def nearest(
    wish: Wish, *, index: Index, k: int, where: Mapping[str, object] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k labels with the best scores, and the scores, best first.

    The index compares with one vector only. So it returns candidates, and these are scored. More candidates are taken
    until no other track can be better, but at most 10,000.
    """
    if not wish.against:
        return index.search(wish.vector, k=k, where=where)
    # The penalty at a distance x above the limit is s * max(0, x)^2. It lies above each of its tangents,
    # slope * x - slope^2 / (4 * s). So a score is at most the score for this vector plus an offset.
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
    """Turns texts and sounds into wishes, for one library.

    Args:
        lock: held while the store is read.
    """

    def __init__(self, store: Store, encoder: Encoder, *, lock: AbstractContextManager[Any] | None = None) -> None:
        self._store = store
        self._read = Read(encoder)
        self._lock = lock or nullcontext()
        self._usual: tuple[int, NDArray[np.float32]] | None = None  # the number of tracks at the time, and a sample

    def make(
        self,
        wanted: Mapping[str, float],
        *,
        unwanted: Mapping[str, float],
        sounds: Sequence[tuple[NDArray[np.float32], float]] = (),
        unlike: Sequence[tuple[NDArray[np.float32], float]] = (),
    ) -> tuple[Wish, dict[str, list[str]]]:
        """Make a wish. Also return the parts of texts that are too long for the model.

        Args:
            wanted: wanted texts and their weights, above 0.
            unwanted: unwanted texts and their weights, above 0.
            sounds: vectors of wanted sounds, and their weights.
            unlike: vectors of unwanted sounds, and their weights.

        Raises:
            QueryError: the wanted and the unwanted texts or sounds cancel out.
        """
        sentences = [template.replace("{}", text) for text in unwanted for template in TEMPLATES]
        vectors, parts = self._read.texts([*wanted, *sentences])
        parts = {text: parts[text] for text in (*wanted, *unwanted) if text in parts}
        dim = vectors.shape[1]
        positive = [*vectors[: len(wanted)], *(vector for vector, _ in sounds)]
        negative = vectors[len(wanted) :].reshape(len(unwanted), len(TEMPLATES), dim).mean(axis=1)
        if wanted and not sounds and wanted.keys() <= unwanted.keys():
            raise QueryError(f"wanted and unwanted sounds cancel out: {', '.join(map(repr, wanted))}")
        if positive:
            weights = np.array([*wanted.values(), *(weight for _, weight in sounds)], np.float32)
            vector = unit(weights @ np.array(positive, np.float32), dim=dim)
            if not unwanted and not unlike:
                return Wish(vector), parts
        with self._lock:
            common, sample = self._common(dim), self._sample()
        usual = sample.mean(axis=0) if len(sample) else np.zeros(dim, np.float32)
        # The part that all texts have in common, or all tracks, is not meant, so it is removed.
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
            # "Jazz without saxophone": the part that jazz and saxophone have in common stays wanted.
            rest = unit(_without(direction, own) if direction @ own > 0 else direction, dim=dim)
            against.append(_against(rest, sample=sample, weight=weight))
        return Wish(vector, tuple(against)), parts

    def _common(self, dim: int) -> NDArray[np.float32]:
        """The part that all texts about music have in common, float32 [dim]. 0 in a library without such texts."""
        probes = self._store.probes("music")
        return probes.mean(axis=0) if len(probes) else np.zeros(dim, np.float32)

    def _sample(self) -> NDArray[np.float32]:
        """A sample of the library's tracks. It is drawn again when the library has grown or shrunk by a tenth."""
        tracks = len(self._store)
        if self._usual is None or abs(tracks - self._usual[0]) > 0.1 * self._usual[0]:
            self._usual = tracks, self._store.sample(_SAMPLE)
        return self._usual[1]


def _against(direction: NDArray[np.float32], *, sample: NDArray[np.float32], weight: float) -> Against:
    cosines = sample @ direction if len(sample) else np.zeros(1, np.float32)
    deviation = max(float(cosines.std()), 1e-3)  # it is 0 in a library of one track
    limit = float(cosines.mean()) + LIMIT_DEVIATIONS * deviation
    return Against(direction, limit, min(STEEPNESS * weight / deviation, _STEEPEST))


def _apart(vector: NDArray[np.float32], base: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of a vector that is orthogonal to `base`, or all of it if that is 0, as in a library of one track."""
    rest = _without(vector, base)
    return rest if float(rest @ rest) > 1e-6 else vector


def _without(vector: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of a vector that is orthogonal to another, or all of it if the other is 0."""
    length = float(other @ other)
    return vector - (vector @ other) / np.float32(length) * other if length > 1e-12 else vector
