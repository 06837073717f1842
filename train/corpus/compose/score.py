"""The data of the composer: notes, bars, songs, parts, scores."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from .harmony import Chord


class Note(NamedTuple):
    """One note. Patterns write beats from the start of the piece; a finished Score holds seconds."""

    start: float
    length: float
    pitch: int  # MIDI key; on the drum part, the General MIDI drum
    velocity: int  # 1 to 127


@dataclass(frozen=True)
class Bar:
    """One bar of the form, before any note is written."""

    index: int
    start: float  # beats from the start of the piece
    beats: float  # length in beats: 4 in 4/4, 3 in 3/4, 2 (dotted) in 6/8, 3.5 in 7/8
    chords: tuple[Chord, ...]  # they share the bar equally
    next_chord: Chord
    is_fill: bool  # the last bar of a phrase: drummers play a fill here

    def chord_at(self, offset: float) -> Chord:
        """Return the chord that sounds `offset` beats into the bar."""
        part = int(offset / self.beats * len(self.chords) + 1e-6)
        return self.chords[min(part, len(self.chords) - 1)]


@dataclass(frozen=True)
class Song:
    """The plan that every pattern of one track reads."""

    tonic: int  # pitch class 0 to 11, 0 is C
    scale: tuple[int, ...]  # semitones above the tonic, ascending, first is 0
    bars: tuple[Bar, ...]

    def scale_pitches(self, *, low: int, high: int) -> list[int]:
        """Return the MIDI keys of the scale in [low, high], ascending."""
        classes = {(self.tonic + step) % 12 for step in self.scale}
        return [pitch for pitch in range(low, high + 1) if pitch % 12 in classes]


# (song, rng, centre) -> notes in beats. `centre` is the MIDI key around which the part plays.
Pattern = Callable[[Song, Random, int], list[Note]]


@dataclass(frozen=True)
class Part:
    """One instrument's notes, in seconds from the start of the clip."""

    role: str  # lead, comping, bass or drums
    instrument: str  # a key of instruments.INSTRUMENTS, or of instruments.KITS for drums
    pattern: str  # name of the pattern function that wrote it
    notes: tuple[Note, ...]
    level: int  # MIDI channel volume, 0 to 127


@dataclass(frozen=True)
class Vocals:
    """Singing, rap, humming or speech, in seconds from the start of the clip."""

    who: str  # male, female or choir
    manner: str  # one of vocals.MANNERS
    language: str  # of the words
    notes: tuple[Note, ...]  # one per syllable; one per line for rap and spoken word
    level_db: float  # level over the accompaniment while the voice sounds


@dataclass(frozen=True)
class Score:
    """A composed clip, ready to render."""

    style: str
    seconds: float
    tempo_bpm: float  # felt beats per minute
    meter: str
    mode: str  # a key of harmony.SCALES
    tonic: int
    rhythm: str  # the style's rhythm feel
    parts: tuple[Part, ...]
    reverb_s: float  # RT60 of the room, 0 is dry
    reverb_mix: float  # energy of the room relative to the direct sound
    vocals: Vocals | None = None
