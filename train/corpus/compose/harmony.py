"""Scales, chords written as Roman numerals, and voicings."""

import re
from functools import cache
from typing import NamedTuple

# Semitones above the tonic.
SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "phrygian dominant": (0, 1, 4, 5, 7, 8, 10),
    "double harmonic": (0, 1, 4, 5, 7, 8, 11),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "hirajoshi": (0, 2, 3, 7, 8),
    "pelog": (0, 1, 3, 7, 8),
    "chromatic": tuple(range(12)),
}

# How a mode sounds to a listener. Both lists are complete; a mode in neither list is ambiguous.
BRIGHT_MODES = {"major", "lydian", "mixolydian", "major pentatonic"}
DARK_MODES = {"minor", "harmonic minor", "dorian", "phrygian", "locrian", "minor pentatonic", "hirajoshi"}

_QUALITIES: dict[str, tuple[int, ...]] = {
    "maj7": (0, 4, 7, 11), "maj9": (0, 4, 7, 11, 14), "7": (0, 4, 7, 10), "9": (0, 4, 7, 10, 14),
    "13": (0, 4, 10, 14, 21), "6": (0, 4, 7, 9), "69": (0, 4, 7, 9, 14), "7b9": (0, 4, 7, 10, 13),
    "7#9": (0, 4, 7, 10, 15), "m7b5": (0, 3, 6, 10), "o": (0, 3, 6), "o7": (0, 3, 6, 9), "+": (0, 4, 8),
    "sus2": (0, 2, 7), "sus4": (0, 5, 7), "5": (0, 7), "add9": (0, 4, 7, 14), "maj7#11": (0, 4, 7, 11, 18),
    "": (0, 4, 7),
}  # fmt: skip
_MINOR_QUALITIES: dict[str, tuple[int, ...]] = {
    "": (0, 3, 7), "7": (0, 3, 7, 10), "9": (0, 3, 7, 10, 14), "6": (0, 3, 7, 9), "maj7": (0, 3, 7, 11),
    "add9": (0, 3, 7, 14), "11": (0, 3, 7, 10, 17),
}  # fmt: skip
_NUMERALS = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_SYMBOL = re.compile(r"([b#]?)(VII|VI|IV|V|III|II|I|vii|vi|iv|v|iii|ii|i)(.*)")


class Chord(NamedTuple):
    """A chord in a key: `root` in semitones above the tonic's pitch class, intervals above the root."""

    root: int
    intervals: tuple[int, ...]


@cache
def parse_chord(symbol: str) -> Chord:
    """Read one Roman numeral; degrees refer to the major scale in every mode, as in `bVII`.

    Raises:
        ValueError: the symbol is not a Roman numeral with a known quality.

    >>> parse_chord("bVII7")
    Chord(root=10, intervals=(0, 4, 7, 10))
    """
    match = _SYMBOL.fullmatch(symbol)
    if match is None:
        raise ValueError(f"chord {symbol!r} is not a Roman numeral such as ii7 or bVII")
    accidental, numeral, quality = match.groups()
    minor = numeral.islower()
    intervals = _MINOR_QUALITIES.get(quality) if minor else None
    intervals = intervals or _QUALITIES.get(quality)
    if intervals is None:
        raise ValueError(f"chord {symbol!r} has the unknown quality {quality!r}")
    root = _NUMERALS[numeral.lower()] + {"b": -1, "#": 1, "": 0}[accidental]
    return Chord(root % 12, intervals)


def parse_progression(text: str) -> list[tuple[Chord, ...]]:
    """Read a progression: spaces separate bars, commas separate chords inside a bar, `x4` repeats a bar.

    >>> [len(bar) for bar in parse_progression("ii7,V7 Imaj7x2")]
    [2, 1, 1]
    """
    bars: list[tuple[Chord, ...]] = []
    for token in text.split():
        symbols, _, count = token.partition("x")
        bars += [tuple(parse_chord(symbol) for symbol in symbols.split(","))] * int(count or 1)
    return bars


def near(pitch_class: int, centre: int) -> int:
    """Return the MIDI key of a pitch class that is closest to `centre` (in [centre - 6, centre + 5])."""
    return centre - 6 + (pitch_class - centre + 6) % 12


def voice(chord: Chord, *, tonic: int, centre: int, voicing: str = "close") -> list[int]:
    """Voice a chord as ascending MIDI keys.

    Args:
        voicing: "close": every tone as close to `centre` as possible, so common tones stay and the others move little;
            "root": stacked on the root; "open": root and fifth below, the rest close; "shell": only third and seventh
            (or third and fifth); "power": root, fifth, octave.
    """
    root = tonic + chord.root
    tones = [root + interval for interval in chord.intervals]
    if voicing == "power":
        low = near(root, centre - 6)
        return [low, low + 7, low + 12]
    if voicing == "root":
        low = near(root, centre - 4)
        return [low + interval for interval in chord.intervals]
    if voicing == "shell":
        guide = [tones[1], tones[3] if len(tones) > 3 else tones[-1]]
        return sorted(near(tone, centre) for tone in guide)
    if voicing == "open":
        low = near(root, centre - 12)
        return sorted({low, low + 7, *(near(tone, centre) for tone in tones[1:])})
    # Chords of five or more tones omit the root, because the bass plays it.
    return sorted({near(tone, centre) for tone in (tones[1:] if len(tones) > 4 else tones)})
