"""Merges the tracks found by sound, by name and by lyrics into one list.

It uses reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): a track scores 1 / (60 + rank) in each list
that has it. Tracks whose names fit equally well share a rank, so that the sound orders the tracks of one artist. The
same holds for lyrics, so that the sound orders the recordings of one song.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from .index.names import EXACT, SAME_WORDS, WHOLE

Names = Literal["also", "only", "never"]
"""Whether a search also looks for the words of a query in titles, artists and albums."""

_SMOOTHING = 60
DEPTH = 100
"""Only this many of the tracks found by sound gain from a match by name or lyrics too, on every page of a search."""
SUNG = 0.8
"""Lyrics that fit so well are what was remembered, but for a letter or two."""


def fuse(
    heard: Sequence[int], named: Mapping[int, float], sung: Mapping[int, float] = MappingProxyType({})
) -> dict[int, tuple[str, ...]]:
    """Labels, best first, each with how it was found: "lyrics", "name", "sound", or several of these.

    A complete name counts extra, so that no lesser match comes before it. With a typing mistake it counts as one more
    first place. If only words such as "the" differ, it counts as two more. If it is exact, it counts as three more. A
    line of lyrics that is almost exactly as remembered counts as one more. If two tracks have the same score, the one
    found by lyrics comes first, then the one found by name.

    Args:
        heard: labels found by sound, best first.
        named: by label, how well its names fit. See `names.fit`.
        sung: by label, how well its lyrics fit. See `SungLine`.

    >>> list(fuse([1, 2, 3], {3: 1.0, 9: 0.7}))
    [3, 1, 9, 2]
    >>> fuse([1, 2, 3], {}, {3: 0.5})
    {3: ('lyrics', 'sound'), 1: ('sound',), 2: ('sound',)}
    """
    rank_of = {
        label: rank
        for rank, label in enumerate(heard, start=1)
        if rank <= DEPTH or (label not in named and label not in sung)
    }
    scores = {label: 1 / (_SMOOTHING + rank) for label, rank in rank_of.items()}
    for said, wholes in ((named, (WHOLE, SAME_WORDS, EXACT)), (sung, (SUNG,))):
        place_of: dict[float, int] = {}
        for place, fit in enumerate(sorted(said.values(), reverse=True), start=1):
            place_of.setdefault(fit, place)
        for label, fit in said.items():
            whole = sum(fit >= kind for kind in wholes) / (_SMOOTHING + 1)
            scores[label] = scores.get(label, 0.0) + 1 / (_SMOOTHING + place_of[fit]) + whole
    last = len(heard) + 1

    def key(label: int) -> tuple[float, bool, bool, int, int]:
        return -scores[label], label not in sung, label not in named, rank_of.get(label, last), label

    return {
        label: ("lyrics",) * (label in sung) + ("name",) * (label in named) + ("sound",) * (label in rank_of)
        for label in sorted(scores, key=key)
    }
