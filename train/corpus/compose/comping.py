"""Accompaniment patterns: chords, broken chords, boom-chick, pads, tremolo, montuno."""

from random import Random

from .harmony import near, voice
from .rhythm import CHANCE_OF_OPTIONAL, steps, velocity
from .score import Note, Pattern, Song


def chords(*grids: str, gate: float = 0.9, voicing: str = "close", strum: float = 0.0,
           vary: bool = False) -> Pattern:  # fmt: skip
    """Make a pattern that plays chords on a step grid.

    Symbols: X, x, o as in rhythm.VELOCITIES. `d` and `u` are a guitar's down and up strokes; up strokes are lighter and
    reach only the top strings. `?` is sometimes played.

    Args:
        grids: one is drawn per track, or per bar if `vary`.
        gate: share of each step in which the chord sounds, 0 to 1.
        voicing: see harmony.voice.
        strum: beats between neighbouring strings.
        vary: draw a grid for each bar.
    """

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        grid = rng.choice(grids)
        notes = []
        for bar in song.bars:
            if vary:
                grid = rng.choice(grids)
            for step in steps(grid, bar):
                if step.symbol == "?" and rng.random() > CHANCE_OF_OPTIONAL:
                    continue
                keys = voice(bar.chord_at(step.offset), tonic=song.tonic, centre=centre, voicing=voicing)
                strength = velocity(step.symbol, rng, base=88)
                if step.symbol == "u":
                    keys, strength = keys[-3:][::-1], strength - 16
                for i, key in enumerate(keys):
                    start = bar.start + step.offset + i * strum
                    notes.append(Note(start, max(0.08, step.length * gate - i * strum), key, strength))
        return notes

    play.__name__ = "chords"
    return play


def broken(*grids: str, gate: float = 1.0, voicing: str = "close", ring: bool = False,
           octave: int = 0) -> Pattern:  # fmt: skip
    """Make a pattern of broken chords: digits count the tones of the voicing from below, then an octave higher.

    `b` is the root and `f` the fifth, about an octave below, for a thumb or the left hand.

    Args:
        ring: tones sound to the end of their chord, as on a harp or with the pedal down.
        octave: octaves added to every digit.
    """

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        grid = rng.choice(grids)
        notes = []
        for bar in song.bars:
            share = bar.beats / len(bar.chords)
            for step in steps(grid, bar):
                chord = bar.chord_at(step.offset)
                keys = voice(chord, tonic=song.tonic, centre=centre, voicing=voicing)
                if step.symbol in "bf":
                    fifth = 7 if step.symbol == "f" else 0
                    pitch, base = near(song.tonic + chord.root + fifth, centre - 15), 92
                else:
                    turn, tone = divmod(int(step.symbol) - 1, len(keys))
                    pitch, base = keys[tone] + 12 * (turn + octave), 80
                length = (share - step.offset % share) if ring else step.length * gate
                strength = velocity("", rng, base=base + (6 if step.offset == 0 else 0))
                notes.append(Note(bar.start + step.offset, length, pitch, strength))
        return notes

    play.__name__ = "broken"
    return play


def boom_chick(*grids: str, gate: float = 0.5, voicing: str = "close") -> Pattern:
    """Make a pattern of bass notes and chords in turn, as in stride, oom-pah, waltz and country.

    Symbols: `b` root, `f` fifth, `x` chord.
    """

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        grid = rng.choice(grids)
        notes = []
        for bar in song.bars:
            for step in steps(grid, bar):
                chord = bar.chord_at(step.offset)
                if step.symbol in "bf":
                    low = near(song.tonic + chord.root + (7 if step.symbol == "f" else 0), centre - 17)
                    keys, strength = [low], velocity("", rng, base=94)
                else:
                    keys = voice(chord, tonic=song.tonic, centre=centre, voicing=voicing)
                    strength = velocity("", rng, base=78)
                start = bar.start + step.offset
                notes += [Note(start, step.length * gate, key, strength) for key in keys]
        return notes

    play.__name__ = "boom_chick"
    return play


def pad(*, voicing: str = "close", base: int = 72) -> Pattern:
    """Make a pattern of chords that are held from one change to the next."""

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        notes = []
        for bar in song.bars:
            share = bar.beats / len(bar.chords)
            for i, chord in enumerate(bar.chords):
                strength = velocity("", rng, base=base)
                for key in voice(chord, tonic=song.tonic, centre=centre, voicing=voicing):
                    notes.append(Note(bar.start + i * share, share, key, strength))
        return notes

    play.__name__ = "pad"
    return play


def tremolo(*, rate: float = 6.0, base: int = 78) -> Pattern:
    """Make a pattern that repeats each chord `rate` times a beat, in waves of loudness: mandolins, tremolo strings."""

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        notes = []
        for bar in song.bars:
            count = int(bar.beats * rate)
            for i in range(count):
                offset = i / rate
                keys = voice(bar.chord_at(offset), tonic=song.tonic, centre=centre)
                strength = velocity("", rng, base=base + round(14 * abs(2 * i / count - 1)))
                notes += [Note(bar.start + offset, 0.9 / rate, key, strength) for key in keys[-2:]]
        return notes

    play.__name__ = "tremolo"
    return play


def montuno(song: Song, rng: Random, centre: int) -> list[Note]:
    """Play the salsa pianist's two-bar figure in octaves, off the beat throughout."""
    grid = rng.choice(("x.21.31.21.31.2.|.31.21.31.21.31.", "x.12.13.12.13.1.|.21.31.21.32.12."))
    notes = []
    for bar in song.bars:
        for step in steps(grid, bar):
            chord = bar.chord_at(step.offset)
            keys = voice(chord, tonic=song.tonic, centre=centre)
            played = keys if step.symbol == "x" else [keys[(int(step.symbol) - 1) % len(keys)]]
            strength = velocity("", rng, base=92)
            for key in played:
                notes.append(Note(bar.start + step.offset, 0.3, key, strength))
                notes.append(Note(bar.start + step.offset, 0.3, key + 12, strength - 6))
    return notes


def rasgueado(song: Song, rng: Random, centre: int) -> list[Note]:
    """Strum as in flamenco: accented strokes, some of them rolled into a burst by the fingers."""
    notes = []
    for bar in song.bars:
        count = int(bar.beats * 2)
        for i in range(count):
            offset = i * bar.beats / count
            if i % 3 and rng.random() < 0.25:
                continue
            keys = voice(bar.chord_at(offset), tonic=song.tonic, centre=centre, voicing="open")
            strokes = 4 if rng.random() < 0.3 else 1
            for stroke in range(strokes):
                strength = velocity("X" if i % 3 == 0 else "x", rng) - 8 * (strokes - 1 - stroke)
                start = bar.start + offset + stroke * 0.09
                notes += [Note(start + 0.01 * j, 0.35, key, strength) for j, key in enumerate(keys)]
    return notes


def chorale(song: Song, rng: Random, centre: int) -> list[Note]:
    """Play four voices in half notes with passing tones, like a hymn."""
    notes = []
    for bar in song.bars:
        halves = 2 if bar.beats >= 4 else 1
        for half in range(halves):
            offset, length = half * bar.beats / halves, bar.beats / halves
            chord = bar.chord_at(offset)
            low = near(song.tonic + chord.root, centre - 16)
            inner = voice(chord, tonic=song.tonic, centre=centre + rng.choice((-2, 0, 2, 4)))
            for key in (low, *inner):
                notes.append(Note(bar.start + offset, length, key, velocity("", rng, base=80)))
            if rng.random() < 0.35:
                scale = song.scale_pitches(low=inner[-1] - 4, high=inner[-1] + 4)
                passing = rng.choice(scale)
                notes.append(Note(bar.start + offset + length / 2, length / 2, passing, 74))
    return notes
