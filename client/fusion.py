"""One list of what was found by its sound and what was found by its name.

Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): a track scores 1 / (60 + rank) in each list that it
is in. Tracks whose names fit alike share a rank, so that among an artist's the sound decides.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from .index.names import EXACT, SAME_WORDS, WHOLE

Names = Literal["also", "only", "never"]
"""Whether a search looks for the words of a query in titles, artists and albums."""

_SMOOTHING = 60
DEPTH = 100
"""So many of the tracks found by sound gain from being found by name too; the same for every page of a search."""


def fuse(heard: Sequence[int], named: Mapping[int, float]) -> dict[int, tuple[str, ...]]:
    """Labels, best first, and by what each was found: "name", "sound" or both.

    A whole name counts as one more first place if it was typed with a mistake, as two more but for words such as "the",
    as three more as it is, so that none that was meant less stands before it. Of two that score alike the one with the
    name comes first.

    Args:
        heard: labels, best first.
        named: by label, how well its names fit; see `names.fit`.

    >>> list(fuse([1, 2, 3], {3: 1.0, 9: 0.7}))
    [3, 1, 9, 2]
    """
    rank_of = {label: rank for rank, label in enumerate(heard, start=1) if rank <= DEPTH or label not in named}
    place_of: dict[float, int] = {}
    for place, fit in enumerate(sorted(named.values(), reverse=True), start=1):
        place_of.setdefault(fit, place)
    scores = {label: 1 / (_SMOOTHING + rank) for label, rank in rank_of.items()}
    for label, fit in named.items():
        whole = sum(fit >= kind for kind in (WHOLE, SAME_WORDS, EXACT)) / (_SMOOTHING + 1)
        scores[label] = scores.get(label, 0.0) + 1 / (_SMOOTHING + place_of[fit]) + whole
    last = len(heard) + 1
    order = sorted(scores, key=lambda label: (-scores[label], label not in named, rank_of.get(label, last), label))
    return {label: ("name",) * (label in named) + ("sound",) * (label in rank_of) for label in order}
