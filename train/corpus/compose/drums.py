"""Drum patterns: grooves as step grids, with fills at the ends of phrases."""

from collections.abc import Callable
from random import Random

from .rhythm import CHANCE_OF_OPTIONAL, steps, velocity
from .score import Bar, Note, Pattern, Song

# General MIDI drum keys by the names in grooves.
DRUMS = {
    "kick": 36, "kick2": 35, "stick": 37, "snare": 38, "clap": 39, "snare2": 40, "hat": 42, "pedal": 44,
    "open": 46, "crash": 49, "ride": 51, "bell": 53, "tambourine": 54, "cowbell": 56, "bongo_high": 60,
    "bongo_low": 61, "conga_mute": 62, "conga": 63, "conga_low": 64, "timbale": 65, "timbale_low": 66,
    "agogo": 67, "agogo_low": 68, "cabasa": 69, "maracas": 70, "guiro": 73, "claves": 75, "wood": 76,
    "wood_low": 77, "triangle_mute": 80, "triangle": 81, "tom1": 50, "tom2": 47, "tom3": 45, "tom4": 43,
    "tom5": 41,
}  # fmt: skip
HIT_BEATS = 0.2

Fill = Callable[[Bar, Random], list[Note]]


def _hit(bar: Bar, offset: float, drum: str, strength: int) -> Note:
    return Note(bar.start + offset, HIT_BEATS, DRUMS[drum], max(1, min(127, strength)))


def tom_fill(bar: Bar, rng: Random) -> list[Note]:
    """Play sixteenths down the toms over the last beat or two, with gaps."""
    beats = rng.choice((1, 2))
    toms = ["snare", "snare", "tom1", "tom1", "tom2", "tom3", "tom4", "tom5"][-4 * beats :]
    first = bar.beats - beats
    return [
        _hit(bar, first + i / 4, tom, 78 + 4 * i)
        for i, tom in enumerate(toms)
        if rng.random() < 0.85 and first + i / 4 >= 0
    ]


def snare_fill(bar: Bar, rng: Random) -> list[Note]:
    """Play a snare roll that gets louder over the last beat or two."""
    beats = rng.choice((1, 2))
    return [_hit(bar, bar.beats - beats + i / 4, "snare", 58 + 50 * i // (4 * beats)) for i in range(4 * beats)]


def build_fill(bar: Bar, rng: Random) -> list[Note]:
    """Play a dance-music build-up: a bar of snare sixteenths from quiet to loud."""
    count = int(bar.beats * 4)
    return [_hit(bar, i / 4, "snare2", 40 + 65 * i // count) for i in range(count)]


def triplet_fill(bar: Bar, rng: Random) -> list[Note]:
    """Play jazz triplets around the kit over the last beat or two."""
    beats = rng.choice((1, 2))
    drums = [rng.choice(("snare", "snare", "tom1", "tom3", "kick")) for _ in range(3 * beats)]
    return [_hit(bar, bar.beats - beats + i / 3, drum, rng.randint(55, 100)) for i, drum in enumerate(drums)]


def conga_fill(bar: Bar, rng: Random) -> list[Note]:
    """Play a run on congas and timbales over the last two beats."""
    drums = [rng.choice(("conga", "conga_low", "timbale", "timbale_low", "bongo_high")) for _ in range(8)]
    return [_hit(bar, bar.beats - 2 + i / 4, drum, rng.randint(70, 110)) for i, drum in enumerate(drums)]


def groove(*fills: Fill, every_crash: bool = False, **voices: str) -> Pattern:
    """Make a pattern with one step grid per drum; one of `fills` may end the last bar of a phrase.

    Args:
        fills: possible ends of a phrase; without any, the groove continues.
        every_crash: whether a crash cymbal opens the bar after a fill.
        voices: a grid for each drum of DRUMS; see rhythm.py. `?` hits are optional, `o` are ghost notes.
    """

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        notes: list[Note] = []
        filled = False
        for bar in song.bars:
            fill = rng.choice(fills)(bar, rng) if fills and bar.is_fill and rng.random() < 0.8 else []
            fill_start = min((note.start for note in fill), default=bar.start + bar.beats)
            for drum, grid in voices.items():
                for step in steps(grid, bar):
                    if step.symbol == "?" and rng.random() > CHANCE_OF_OPTIONAL:
                        continue
                    if bar.start + step.offset < fill_start - 1e-6:
                        notes.append(_hit(bar, step.offset, drum, velocity(step.symbol, rng, spread=6)))
            notes += fill
            if every_crash and filled:
                notes.append(_hit(bar, 0.0, "crash", 100))
            filled = bool(fill)
        return notes

    play.__name__ = "groove"
    return play


def drum_solo(song: Song, rng: Random, centre: int) -> list[Note]:
    """Play a drum solo: a foot ostinato under bursts, rolls and rests around the kit."""
    notes = []
    for bar in song.bars:
        for beat in range(int(bar.beats)):
            notes.append(_hit(bar, beat, "kick" if beat % 2 == 0 else "pedal", rng.randint(75, 95)))
            division = rng.choice((0, 2, 3, 4, 4, 6))
            drum = rng.choice(("snare", "snare", "tom1", "tom2", "tom3", "tom5", "hat"))
            for i in range(division):
                if rng.random() < 0.3:
                    drum = rng.choice(("snare", "tom1", "tom3", "tom4", "crash", "ride"))
                notes.append(_hit(bar, beat + i / division, drum, rng.randint(50, 118)))
    return notes
