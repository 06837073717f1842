"""Bass patterns: degree lines on step grids, and lines that walk."""

from random import Random

from .harmony import near
from .rhythm import steps, velocity
from .score import Note, Pattern, Song

# Semitones above the root, for the degrees that do not depend on the chord.
_FIXED = {"1": 0, "2": 2, "4": 5, "8": 12, "s": 7, "l": -5, "6": 9}


def line(*grids: str, gate: float = 0.9, accent: int = 96) -> Pattern:
    """Make a pattern that plays a bass line on chord degrees, with one of `grids` per track.

    Symbols: 1 root, 2, 3, 4, 5, 6, 7, 8 octave (3, 5 and 7 are the chord's own), `l` the fifth below, `a` a semitone
    below the next root, `t` the tonic whatever the chord.

    Args:
        gate: share of each step in which the note sounds, 0 to 1.
    """

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        grid = rng.choice(grids)
        notes = []
        for bar in song.bars:
            for step in steps(grid, bar):
                chord = bar.chord_at(step.offset)
                root = near(song.tonic + chord.root, centre)
                if step.symbol == "a":
                    pitch = near(song.tonic + bar.next_chord.root, centre) - 1
                elif step.symbol == "t":
                    pitch = near(song.tonic, centre)
                elif step.symbol in "357":
                    # A power chord has no third, so its fifth is used instead.
                    order = {"3": 1, "5": 2, "7": 3}[step.symbol]
                    interval = chord.intervals[min(order, len(chord.intervals) - 1)]
                    pitch = root + interval % 12
                else:
                    pitch = root + _FIXED[step.symbol]
                strength = velocity("", rng, base=accent if step.offset == 0 else accent - 8)
                notes.append(Note(bar.start + step.offset, step.length * gate, pitch, strength))
        return notes

    play.__name__ = "line"
    return play


def walking(song: Song, rng: Random, centre: int) -> list[Note]:
    """Walk in quarter notes: the root on each change, then scale or chord tones, a semitone into the next root."""
    notes = []
    pitch = near(song.tonic + song.bars[0].chords[0].root, centre)
    for bar in song.bars:
        beats = int(bar.beats)
        per_chord = beats / len(bar.chords)
        for beat in range(beats):
            chord = bar.chord_at(beat)
            if beat % per_chord == 0:
                pitch = near(song.tonic + chord.root, centre if rng.random() < 0.7 else pitch)
            elif (beat + 1) % per_chord == 0:
                following = bar.next_chord if beat == beats - 1 else bar.chord_at(beat + 1)
                pitch = near(song.tonic + following.root, pitch) + rng.choice((-1, 1))
            else:
                tones = [near(song.tonic + chord.root + i, pitch) for i in chord.intervals]
                tones += [near(song.tonic + step, pitch) for step in song.scale]
                pitch = rng.choice([tone for tone in tones if 0 < abs(tone - pitch) <= 5] or tones)
            notes.append(Note(bar.start + beat, 0.92, pitch, velocity("", rng, base=94)))
            if rng.random() < 0.1:  # a skip: a ghost note on the off-beat
                notes.append(Note(bar.start + beat + 0.5, 0.3, pitch, velocity("o", rng)))
    return notes


def drone(song: Song, rng: Random, centre: int) -> list[Note]:
    """Hold the tonic, sometimes with its fifth, and play it again every other bar."""
    root = near(song.tonic, centre)
    with_fifth = rng.random() < 0.5
    notes = []
    for bar in song.bars[::2]:
        for pitch in (root, root + 7) if with_fifth else (root,):
            notes.append(Note(bar.start, bar.beats * 2, pitch, velocity("", rng, base=80)))
    return notes


def held_roots(song: Song, rng: Random, centre: int) -> list[Note]:
    """Play one long root per chord."""
    notes = []
    for bar in song.bars:
        share = bar.beats / len(bar.chords)
        for i, chord in enumerate(bar.chords):
            pitch = near(song.tonic + chord.root, centre)
            notes.append(Note(bar.start + i * share, share * 0.98, pitch, velocity("", rng, base=86)))
    return notes
