"""Step grids, the notation of every rhythm in the corpus.

A grid is a string that divides one bar into equal steps: sixteen steps are sixteenths in 4/4, twelve are triplets. `|`
separates bars that alternate. Spaces have no meaning. A `.` lets the last event ring, a `-` silences it. Any other
character starts an event, and the pattern that reads the grid interprets it.

    "x..x..x...x.x..."        son clave over one bar
    "1...5...|1...5.a."       a bass line of two bars
"""

from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import NamedTuple

from .score import Bar

# Strength of a hit by symbol; `?` is only sometimes played.
VELOCITIES = {"X": 112, "x": 92, "o": 52, "?": 66}
CHANCE_OF_OPTIONAL = 0.4


class Step(NamedTuple):
    """One event of a grid."""

    offset: float  # beats from the start of the bar
    length: float  # beats until the next event or rest, or to the end of the bar
    symbol: str


def steps(grid: str, bar: Bar) -> Iterator[Step]:
    """Yield the events of a grid in one bar."""
    bars = grid.replace(" ", "").split("|")
    cells = bars[bar.index % len(bars)]
    width = bar.beats / len(cells)
    places = [place for place, symbol in enumerate(cells) if symbol != "."] + [len(cells)]
    for place, following in pairwise(places):
        if cells[place] != "-":
            yield Step(place * width, (following - place) * width, cells[place])


def velocity(symbol: str, rng: Random, *, base: int = 92, spread: int = 5) -> int:
    """Draw the MIDI velocity of an event: its symbol's strength (or `base`) with a small human variation."""
    return max(1, min(127, round(rng.gauss(VELOCITIES.get(symbol, base), spread))))


def swing(beat: float, *, ratio: float, unit: float) -> float:
    """Delay the off-beats: the middle of each `unit` of beats moves to `ratio` of it.

    >>> swing(2.5, ratio=0.66, unit=1.0)
    2.66
    """
    whole, fraction = divmod(beat, unit)
    fraction /= unit
    bent = 2 * ratio * fraction if fraction < 0.5 else ratio + (2 * fraction - 1) * (1 - ratio)
    return round((whole + bent) * unit, 6)
