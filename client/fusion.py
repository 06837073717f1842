"""Merges the tracks found by sound and the tracks found by name into one list.

It uses reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): a track scores 1 / (60 + rank) in each list
that has it. Tracks whose names fit equally well share a rank, so that the sound orders the tracks of one artist.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from .index.names import EXACT, SAME_WORDS, WHOLE

Names = Literal["also", "only", "never"]
"""Whether a search also looks for the words of a query in titles, artists and albums."""

_SMOOTHING = 60
DEPTH = 100
"""Only this many of the tracks found by sound gain from a match by name too, on every page of a search."""


def fuse(heard: Sequence[int], named: Mapping[int, float]) -> dict[int, tuple[str, ...]]:
    """Labels, best first, each with how it was found: "name", "sound" or both.

    A complete name counts extra, so that no lesser match comes before it. With a typing mistake it counts as one more
    first place. If only words such as "the" differ, it counts as two more. If it is exact, it counts as three more. If
    two tracks have the same score, the one found by name comes first.

    Args:
        heard: labels found by sound, best first.
        named: by label, how well its names fit. See `names.fit`.

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
