"""Words and notes that are sung, with their times."""

from typing import NamedTuple

PITCHES = 129  # K of the paper (§3.1.1): the MIDI keys 0 to 127, and no pitch
NO_PITCH = PITCHES - 1


class Word(NamedTuple):
    """A word, or several without a time of their own, and the seconds at which it is sung."""

    start_s: float
    end_s: float
    text: str


class Note(NamedTuple):
    """A note of the voice: seconds, and the MIDI key."""

    start_s: float
    end_s: float
    key: int
