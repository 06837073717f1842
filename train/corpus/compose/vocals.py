"""Draws who sings in a style, and writes the notes: lines, choir chords, bars of rap."""

import math
from random import Random
from typing import NamedTuple

from .harmony import voice
from .melody import long_notes, phrases
from .rhythm import steps, velocity
from .score import Note, Song, Vocals

MANNERS = ("singing", "rap", "spoken word", "humming", "vocalise")
# (MIDI key around which a voice sings, lowest key, highest key), and the range of keys at which it speaks.
RANGES = {"male": (55, 43, 69), "female": (66, 55, 81), "choir": (62, 43, 81)}
SPOKEN_KEYS = {"male": (42, 49), "female": (53, 59)}
LEVEL_DB = (-2.0, 5.0)  # level of the voice over the accompaniment while the voice sounds
SYLLABLES_PER_S = (1.3, 3.6)
SPOKEN_LINE_S = 3.2


class Singing(NamedTuple):
    """How a style is sung."""

    chance: float  # chance that there is a voice
    who: tuple[int, int, int] = (1, 1, 0)  # weights of male, female, choir
    manner: tuple[int, int, int, int, int] = (12, 0, 0, 1, 1)  # weights of MANNERS
    alone: float = 0.0  # chance that the voice has no accompaniment
    languages: str = "en en en en de fr es it pt"


_CLASSICAL = "it it la de fr"
_RAP = (3, 12, 1, 0, 0)

SINGING: dict[str, Singing] = {
    "swing jazz": Singing(0.35, (1, 2, 0), languages="en"),
    "big band swing": Singing(0.35, (2, 1, 0), languages="en"),
    "jazz ballad": Singing(0.45, (1, 3, 0), languages="en"),
    "bebop": Singing(0.08, manner=(1, 0, 0, 0, 2)),
    "modal vibraphone jazz": Singing(0.1, (1, 2, 0), (1, 0, 1, 1, 1)),
    "bossa nova": Singing(0.5, (1, 3, 0), languages="pt pt en"),
    "samba": Singing(0.45, (2, 1, 1), languages="pt"),
    "salsa": Singing(0.55, (3, 1, 0), languages="es"),
    "mambo cha-cha": Singing(0.4, (2, 1, 0), languages="es"),
    "tango": Singing(0.3, (2, 1, 0), languages="es"),
    "blues shuffle": Singing(0.5, (3, 1, 0), languages="en"),
    "slow blues": Singing(0.55, (3, 2, 0), languages="en"),
    "gospel": Singing(0.85, (2, 3, 4), alone=0.15, languages="en"),
    "dixieland": Singing(0.15, (3, 1, 0), languages="en"),
    "flamenco": Singing(0.45, (3, 2, 0), languages="es"),
    "rock and roll": Singing(0.65, (4, 1, 0), languages="en"),
    "hard rock": Singing(0.65, (5, 1, 0), languages="en"),
    "heavy metal": Singing(0.6, (6, 1, 0), languages="en de"),
    "punk rock": Singing(0.7, (4, 1, 0), languages="en"),
    "indie rock": Singing(0.65, (3, 2, 0), languages="en"),
    "piano pop ballad": Singing(0.75, (2, 3, 0), languages="en en fr it"),
    "fingerstyle folk guitar": Singing(0.5, (2, 2, 0), languages="en"),
    "campfire strumming": Singing(0.75, (2, 2, 1), alone=0.05, languages="en"),
    "country": Singing(0.65, (3, 2, 0), languages="en"),
    "bluegrass": Singing(0.3, (3, 1, 0), languages="en"),
    "reggae": Singing(0.6, (4, 1, 0), (8, 3, 0, 0, 1), languages="en"),
    "ska": Singing(0.5, (4, 1, 0), languages="en"),
    "funk": Singing(0.5, (2, 2, 0), (8, 1, 0, 0, 2), languages="en"),
    "soul": Singing(0.75, (2, 2, 0), languages="en"),
    "doo-wop oldies": Singing(0.8, (3, 1, 2), (6, 0, 0, 0, 3), alone=0.15, languages="en"),
    "surf rock": Singing(0.08, (3, 1, 0)),
    "celtic jig": Singing(0.08),
    "celtic air": Singing(0.45, (1, 3, 0), (4, 0, 0, 1, 2), alone=0.2, languages="en"),
    "polka": Singing(0.25, (3, 1, 0), languages="de"),
    "disco": Singing(0.65, (1, 3, 0), languages="en"),
    "house": Singing(0.4, (1, 3, 0), (6, 0, 2, 0, 3), languages="en"),
    "techno": Singing(0.08, (1, 1, 0), (0, 0, 3, 0, 1), languages="en de"),
    "trance": Singing(0.3, (1, 4, 0), (3, 0, 0, 0, 3), languages="en"),
    "drum and bass": Singing(0.25, (1, 2, 0), (4, 2, 0, 0, 2), languages="en"),
    "boom bap hip hop": Singing(0.8, (4, 2, 0), _RAP, alone=0.06, languages="en en en fr de es"),
    "lo-fi hip hop": Singing(0.2, (1, 1, 0), (1, 2, 2, 2, 1), languages="en"),
    "trap": Singing(0.8, (4, 2, 0), _RAP, alone=0.04, languages="en en en fr de es"),
    "synthwave": Singing(0.25, (2, 2, 0), languages="en"),
    "eighties synth pop": Singing(0.7, (2, 2, 0), languages="en"),
    "chiptune": Singing(0.03),
    "ambient": Singing(0.15, (1, 2, 2), (0, 0, 2, 2, 3)),
    "dub": Singing(0.2, (4, 1, 0), (3, 2, 1, 0, 0), languages="en"),
    "baroque": Singing(0.15, (1, 2, 1), languages=_CLASSICAL),
    "romantic piano nocturne": Singing(0.08, (1, 1, 0), languages=_CLASSICAL),
    "romantic waltz": Singing(0.12, (1, 2, 0), languages=_CLASSICAL),
    "cinematic strings": Singing(0.2, (0, 2, 2), (1, 0, 1, 1, 3), languages="la"),
    "epic trailer": Singing(0.4, (0, 1, 5), (3, 0, 0, 0, 2), languages="la"),
    "horror suspense": Singing(0.2, (1, 1, 2), (0, 0, 2, 1, 2)),
    "sugar plum orchestra": Singing(0.08, (0, 0, 1), (0, 0, 0, 1, 2)),
    "symphonic orchestra": Singing(0.2, (2, 2, 2), languages=_CLASSICAL),
    "church organ": Singing(0.25, (1, 1, 4), languages="la"),
    "choral": Singing(0.85, (0, 0, 1), (6, 0, 0, 1, 2), alone=0.7, languages="la"),
    "music box lullaby": Singing(0.25, (0, 1, 0), (2, 0, 0, 3, 1), languages="en"),
    "minimalist": Singing(0.08, (0, 1, 1), (0, 0, 1, 0, 2)),
    "unaccompanied solo": Singing(0.25, (1, 1, 0), (4, 1, 2, 1, 2), alone=1.0),
    "klezmer": Singing(0.15, (1, 1, 0), languages="de"),
    "balkan brass": Singing(0.12, (1, 1, 0)),
    "sitar raga": Singing(0.25, (1, 2, 0), (1, 0, 0, 0, 3)),
    "middle eastern": Singing(0.35, (2, 2, 0), (1, 0, 0, 0, 2)),
    "kalimba": Singing(0.15, (0, 1, 0), (1, 0, 0, 1, 1)),
    "west african drumming": Singing(0.4, (1, 1, 3), (1, 0, 0, 0, 2), alone=0.05, languages="pt es"),
    "afrobeat highlife": Singing(0.45, (3, 1, 0), languages="en"),
    "chinese traditional": Singing(0.15, (0, 1, 0), (0, 0, 0, 0, 1)),
    "andean panpipes": Singing(0.12, (1, 1, 0), languages="es"),
    "calypso steel drums": Singing(0.45, (3, 1, 0), languages="en"),
    "mariachi ranchera": Singing(0.65, (4, 1, 0), languages="es"),
    "hawaiian": Singing(0.45, (1, 2, 0), (4, 0, 0, 1, 1), languages="en"),
}


def write_vocals(style: str, song: Song, rng: Random, *, beat_s: float) -> tuple[Vocals, bool] | None:
    """Draw whether and how a clip of a style is sung, and write the notes in beats.

    Returns:
        The vocals and whether they are alone; None if nobody sings.
    """
    singing = SINGING.get(style)
    if singing is None or rng.random() >= singing.chance:
        return None
    who = rng.choices(("male", "female", "choir"), singing.who)[0]
    manner = rng.choices(MANNERS, singing.manner)[0]
    if who == "choir" and manner in ("rap", "spoken word"):
        who = rng.choice(("male", "female"))
    if manner in ("rap", "spoken word"):
        notes = _spoken(song, rng, who, beat_s=beat_s, in_time=manner == "rap")
    elif who == "choir":
        notes = _chorus(song, rng, beat_s=beat_s)
    else:
        notes = _line(song, rng, who, beat_s=beat_s, wordless=manner != "singing")
    language = rng.choice(singing.languages.split())
    return Vocals(who, manner, language, tuple(notes), rng.uniform(*LEVEL_DB)), rng.random() < singing.alone


def _line(song: Song, rng: Random, who: str, *, beat_s: float, wordless: bool) -> list[Note]:
    """Write a tune with a natural number of syllables per second and rests to breathe."""
    centre = RANGES[who][0] + rng.randint(-4, 5)
    if wordless and rng.random() < 0.4:
        return _fold(long_notes(hold=1 if song.bars[0].beats * beat_s > 1.5 else 2)(song, rng, centre), who)
    rate = rng.uniform(*SYLLABLES_PER_S)
    grids = [_grid(rng, song.bars[0].beats, rate * beat_s) for _ in range(4)]
    tune = phrases(*grids, leap=rng.uniform(0.1, 0.35), rest=0.12, gate=rng.uniform(0.85, 1.0), span=8)
    return _fold(tune(song, rng, centre), who)


def _grid(rng: Random, beats: float, syllables_per_beat: float) -> str:
    """Write a bar in eighths (sixteenths for slow beats): random onsets, mostly on strong places; may end in a rest."""
    division = 4 if syllables_per_beat > 1.6 else 2
    places = round(beats * division)
    count = max(1, min(places - 1, round(beats * syllables_per_beat * rng.uniform(0.7, 1.2))))
    weights = [3.0 if place % division == 0 else 1.5 if place % 2 == 0 else 1.0 for place in range(places)]
    order = sorted(range(places), key=lambda place: rng.random() ** (1 / weights[place]), reverse=True)
    cells = ["x" if place in order[:count] else "." for place in range(places)]
    last = max(place for place, cell in enumerate(cells) if cell == "x")
    if rng.random() < 0.4 and last + 2 < places:
        cells[last + 2] = "-"
    if cells[0] == ".":
        cells[0] = "-"
    return "".join(cells)


def _chorus(song: Song, rng: Random, *, beat_s: float) -> list[Note]:
    """Write chords in close harmony, all in the same rhythm."""
    centre = RANGES["choir"][0] + rng.randint(-3, 3)
    rate = rng.uniform(0.5, 1.8)
    grids = [_grid(rng, song.bars[0].beats, rate * beat_s) for _ in range(3)]
    notes = []
    for bar in song.bars:
        for step in steps(rng.choice(grids), bar):
            keys = voice(bar.chord_at(step.offset), tonic=song.tonic, centre=centre)
            keys = sorted({keys[0] - 12 if keys[0] > 52 else keys[0], *keys[:3]})
            strength = velocity("", rng, base=92, spread=4)
            notes += [Note(bar.start + step.offset, step.length * 0.95, key, strength) for key in keys]
    return _fold(notes, "choir")


def _spoken(song: Song, rng: Random, who: str, *, beat_s: float, in_time: bool) -> list[Note]:
    """Write one note per line: every bar or two in time with the beat, or freely with pauses."""
    low, high = SPOKEN_KEYS[who]
    key = rng.randint(low, high)
    notes = []
    if in_time:
        beats = song.bars[0].beats
        bars_a_line = max(1, math.ceil(1.5 / (beats * beat_s)))
        for bar in song.bars[::bars_a_line]:
            if rng.random() < 0.94:
                length = beats * bars_a_line * 0.94
                notes.append(Note(bar.start, length, key + rng.choice((0, 0, 1, 2)), velocity("", rng, base=98)))
        return notes
    time_s, end_s = rng.uniform(0, 1.0), song.bars[-1].start * beat_s
    while time_s < end_s:
        notes.append(Note(time_s / beat_s, SPOKEN_LINE_S / beat_s, key, velocity("", rng, base=94)))
        time_s += SPOKEN_LINE_S + rng.uniform(0.3, 1.2)
    return notes


def _fold(notes: list[Note], who: str) -> list[Note]:
    """Move notes by octaves into a voice's range."""
    _, low, high = RANGES[who]
    return [
        note._replace(pitch=low + (note.pitch - low) % 12 if not low <= note.pitch <= high else note.pitch)
        for note in notes
    ]
