"""Lead patterns: phrases, riffs, runs, ornaments, dialogues, counterpoint."""

from random import Random

from .harmony import Chord, near, voice
from .rhythm import steps, velocity
from .score import Note, Pattern, Song


def _chord_tone_near(song: Song, offset_chord: Chord, pitch: int) -> int:
    return min(
        (near(song.tonic + offset_chord.root + i, pitch) for i in offset_chord.intervals),
        key=lambda tone: abs(tone - pitch),
    )


def phrases(*grids: str, leap: float = 0.2, rest: float = 0.15, gate: float = 0.95, length: int = 4,
            span: int = 9, accent: int = 96) -> Pattern:  # fmt: skip
    """Make a tune: a motif of a few bars, repeated with variation (a a' b a), with chord tones on strong places.

    Args:
        grids: rhythms, drawn again for each bar of the motif; any symbol is a note.
        leap: chance that a step is a third to a fifth instead of a second.
        rest: chance that a bar of the motif is empty.
        gate: share of each note's step in which it sounds; below 0.5 is staccato, above 1 overlaps.
        length: number of bars in the motif.
        span: maximum distance of the tune from its centre, in semitones.
    """

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        scale = song.scale_pitches(low=centre - span, high=centre + span)

        def motif() -> list[tuple[str, list[int]]]:
            bars = []
            for i in range(length):
                grid = rng.choice(grids) if i == 0 or rng.random() >= rest else "-"
                moves = [
                    rng.choice((-4, -3, -2, 2, 3, 4)) if rng.random() < leap else rng.choice((-1, -1, 0, 1, 1))
                    for _ in grid
                ]
                bars.append((grid, moves))
            return bars

        themes = {"a": motif(), "b": motif()}
        notes = []
        place = len(scale) // 2
        for bar in song.bars:
            section, inside = divmod(bar.index, length)
            grid, moves = themes["aaba"[section % 4]][inside]
            if inside == 0:
                place = len(scale) // 2 + rng.choice((-1, 0, 1))
            for step, move in zip(steps(grid, bar), moves, strict=False):
                if rng.random() < 0.12:
                    move = rng.choice((-1, 1))
                place = max(0, min(len(scale) - 1, place + move))
                pitch = scale[place]
                if step.offset == 0 or step.length >= 1.5:
                    pitch = _chord_tone_near(song, bar.chord_at(step.offset), pitch)
                base = accent + (6 if step.offset == 0 else 0)
                strength = velocity("", rng, base=base, spread=7)
                notes.append(Note(bar.start + step.offset, step.length * gate, pitch, strength))
        return notes

    play.__name__ = "phrases"
    return play


def long_notes(*, hold: int = 2, base: int = 82) -> Pattern:
    """Make a slow line of chord tones, held for `hold` bars each."""

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        notes = []
        pitch = centre
        for bar in song.bars[::hold]:
            chord = bar.chords[0]
            pitch = near(song.tonic + chord.root + rng.choice(chord.intervals), pitch + rng.choice((-3, 0, 3)))
            pitch = max(centre - 12, min(centre + 12, pitch))
            length = bar.beats * hold
            if rng.random() < 0.35:  # approach the next note by step
                scale = song.scale_pitches(low=pitch + 1, high=pitch + 4) or [pitch]
                notes.append(Note(bar.start + length * 0.75, length * 0.25, scale[0], base - 6))
                length *= 0.75
            notes.append(Note(bar.start, length, pitch, velocity("", rng, base=base)))
        return notes

    play.__name__ = "long_notes"
    return play


def riff(*grids: str, gate: float = 0.7, on_chord: bool = False, octave_jump: float = 0.1,
         accent: int = 100) -> Pattern:  # fmt: skip
    """Make a hook: one or two bars that repeat without change, on low scale degrees.

    Args:
        on_chord: transpose the riff with the chord's root instead of staying on the tonic.
    """

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        grid = rng.choice(grids)
        degrees = [rng.choice((0, 0, 0, 1, 2, 2, 3, 4, -1, -2)) for _ in grid]
        degrees[0] = 0
        jumps = [12 * (rng.random() < octave_jump) for _ in grid]
        scale = song.scale
        bars_in_grid = grid.count("|") + 1
        notes = []
        position = 0
        for bar in song.bars:
            if bar.index % bars_in_grid == 0:
                position = 0
            root = song.tonic + (bar.chords[0].root if on_chord else 0)
            for step in steps(grid, bar):
                turn, degree = divmod(degrees[position], len(scale))
                pitch = near(root, centre) + 12 * turn + scale[degree] + jumps[position]
                position += 1
                strength = velocity("X" if step.symbol == "X" else "", rng, base=accent)
                notes.append(Note(bar.start + step.offset, step.length * gate, pitch, strength))
        return notes

    play.__name__ = "riff"
    return play


def bebop_line(song: Song, rng: Random, centre: int) -> list[Note]:
    """Play long strings of eighths: arpeggios up, scales down, semitone approaches to the next chord tone."""
    notes = []
    pitch = centre
    resting = 0
    for bar in song.bars:
        count = int(bar.beats * 2)
        for i in range(count):
            if resting:
                resting -= 1
                continue
            if rng.random() < 0.06:
                resting = rng.randint(1, 4)
                continue
            chord = bar.chord_at(i / 2)
            if i % 2 == 0:  # on the beat: a chord tone
                direction = 3 if pitch < centre - 5 else -3 if pitch > centre + 8 else rng.choice((-3, 2, 3))
                pitch = _chord_tone_near(song, chord, pitch + direction)
            elif i % 4 == 3 and rng.random() < 0.5:  # a semitone approach
                pitch += rng.choice((-1, 1))
            else:
                choices = song.scale_pitches(low=pitch - 3, high=pitch + 3)
                pitch = rng.choice([key for key in choices if key != pitch] or [pitch + 1])
            if rng.random() < 0.05 and i < count - 1:  # triplet turn
                for j, key in enumerate((pitch, pitch + 2, pitch)):
                    notes.append(Note(bar.start + i / 2 + j / 6, 0.15, key, velocity("", rng, base=84)))
                continue
            strength = velocity("", rng, base=98 if i % 2 else 86, spread=8)
            notes.append(Note(bar.start + i / 2, 0.46, pitch, strength))
    return notes


def blues_licks(song: Song, rng: Random, centre: int) -> list[Note]:
    """Play short calls on the blues scale with grace notes from below, then leave silence for an answer."""
    blue = Song(song.tonic, (0, 3, 5, 6, 7, 10), song.bars).scale_pitches(low=centre - 9, high=centre + 10)
    notes = []
    for bar in song.bars:
        if bar.index % 2 and rng.random() < 0.6:
            continue
        place = rng.randrange(len(blue) // 2, len(blue))
        grid = rng.choice(("x.xx.xx..x..", "..xx.x..xx..", "xxxx..x.....", "x..x.xx.x...", "..x..xx.xx.."))
        for step in steps(grid, bar):
            place = max(0, min(len(blue) - 1, place + rng.choice((-2, -1, -1, 0, 1))))
            pitch = blue[place]
            start = bar.start + step.offset
            if rng.random() < 0.3:  # a bend from a semitone below
                notes.append(Note(start, 0.1, pitch - 1, velocity("", rng, base=84)))
                start += 0.1
            notes.append(Note(start, max(0.15, step.length * 0.85), pitch, velocity("", rng, base=100)))
    return notes


def runs(*, division: int = 4, turn: float = 0.25, accent_every: int = 4, rest: float = 0.03) -> Pattern:
    """Make a line of even notes that run up and down the scale and turn on chord tones: jigs, reels, virtuosi.

    Args:
        division: notes per beat.
        turn: chance of a change of direction at each note.
        accent_every: number of notes from one accent to the next.
    """

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        scale = song.scale_pitches(low=centre - 9, high=centre + 10)
        place, direction = len(scale) // 2, 1
        phrase = [rng.random() for _ in range(64)]
        notes = []
        for bar in song.bars:
            count = int(bar.beats * division)
            for i in range(count):
                draw = phrase[(bar.index % 2 * count + i) % 64] if bar.index % 4 < 3 else rng.random()
                if draw < turn:
                    direction = -direction
                if not 0 <= place + direction < len(scale):
                    direction = -direction
                place += direction * (2 if draw > 0.8 and 0 <= place + 2 * direction < len(scale) else 1)
                pitch = scale[place]
                if i % accent_every == 0:
                    pitch = _chord_tone_near(song, bar.chord_at(i / division), pitch)
                if rng.random() < rest:
                    continue
                strength = velocity("", rng, base=104 if i % accent_every == 0 else 84)
                notes.append(Note(bar.start + i / division, 0.9 / division, pitch, strength))
        return notes

    play.__name__ = "runs"
    return play


def ornamented(tune: Pattern, *, grace: float = 0.35, trill: float = 0.15, interval: int = 2) -> Pattern:
    """Add grace notes and trills to another lead."""

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        notes = []
        for note in tune(song, rng, centre):
            draw = rng.random()
            if draw < trill and note.length >= 0.7:
                count = int(note.length / 0.14)
                for i in range(count):
                    pitch = note.pitch + interval * (i % 2)
                    notes.append(Note(note.start + i * 0.14, 0.14, pitch, note.velocity - 4 * (i % 2)))
            elif draw < trill + grace and note.length >= 0.3:
                for i, step in enumerate((interval, 0)[: rng.choice((1, 2))]):
                    notes.append(Note(note.start + 0.08 * i, 0.08, note.pitch + step, note.velocity - 10))
                notes.append(note._replace(start=note.start + 0.16, length=note.length - 0.16))
            else:
                notes.append(note)
        return notes

    play.__name__ = "ornamented"
    return play


def calls(tune: Pattern, *, bars: int = 2) -> Pattern:
    """Let another lead play for `bars` bars and pause for as many: half of a dialogue."""

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        silent = [(bar.start, bar.start + bar.beats) for bar in song.bars if bar.index // bars % 2]
        return [note for note in tune(song, rng, centre) if not any(start <= note.start < end for start, end in silent)]

    play.__name__ = "calls"
    return play


def harmonised(tune: Pattern, *, interval: int = 2) -> Pattern:
    """Double another lead `interval` scale steps above, as in brass, twin guitars and fiddles."""

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        notes = tune(song, rng, centre)
        scale = song.scale_pitches(low=0, high=127)
        upper = []
        for note in notes:
            place = min(range(len(scale)), key=lambda i: abs(scale[i] - note.pitch))
            pitch = scale[min(len(scale) - 1, place + interval)]
            upper.append(note._replace(pitch=pitch, velocity=max(1, note.velocity - 8)))
        return notes + upper

    play.__name__ = "harmonised"
    return play


def sequence(*grids: str, octave: int = 0, gate: float = 0.6) -> Pattern:
    """Make a sequencer pattern: chord tones 1 to 9 on a grid that never varies, with mechanical velocity."""

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        grid = rng.choice(grids)
        notes = []
        for bar in song.bars:
            for step in steps(grid, bar):
                keys = voice(bar.chord_at(step.offset), tonic=song.tonic, centre=centre)
                turn, tone = divmod(int(step.symbol) - 1, len(keys))
                pitch = keys[tone] + 12 * (turn + octave)
                strength = 102 if step.offset % 1 == 0 else 88
                notes.append(Note(bar.start + step.offset, step.length * gate, pitch, strength))
        return notes

    play.__name__ = "sequence"
    return play


def interlocking(*, division: int = 4, fraction: float = 0.55) -> Pattern:
    """Make ostinati of two hands that fill each other's gaps: gamelan, kalimba, marimba minimalism."""

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        scale = song.scale_pitches(low=centre - 7, high=centre + 9)
        cycle = int(song.bars[0].beats * division)
        left = [rng.random() < fraction for _ in range(cycle)]
        low = [rng.choice(scale[: len(scale) // 2]) for _ in range(cycle)]
        high = [rng.choice(scale[len(scale) // 2 :]) for _ in range(cycle)]
        notes = []
        for bar in song.bars:
            if bar.index % 4 == 3:  # change one note of the pattern in each phrase
                high[rng.randrange(cycle)] = rng.choice(scale[len(scale) // 2 :])
            for i in range(cycle):
                pitch = low[i] if left[i] else high[i]
                strength = velocity("", rng, base=98 if i % division == 0 else 82)
                notes.append(Note(bar.start + i / division, 1.6 / division, pitch, strength))
        return notes

    play.__name__ = "interlocking"
    return play


def canon(tune: Pattern, *, delay_bars: int = 1, shift: int = -12) -> Pattern:
    """Add an imitation to another lead, `delay_bars` later and `shift` semitones away: two-part counterpoint."""

    def play(song: Song, rng: Random, centre: int) -> list[Note]:
        notes = tune(song, rng, centre)
        delay = song.bars[0].beats * delay_bars
        return notes + [note._replace(start=note.start + delay, pitch=note.pitch + shift) for note in notes]

    play.__name__ = "canon"
    return play


def fanfare(song: Song, rng: Random, centre: int) -> list[Note]:
    """Play bugle calls: repeated notes and leaps through the triad, in dotted rhythms and triplets."""
    notes = []
    for bar in song.bars:
        keys = sorted(near(song.tonic + bar.chords[0].root + i, centre) for i in bar.chords[0].intervals[:3])
        keys.append(keys[0] + 12)
        grid = rng.choice(("x..xx...x..xx...", "x...x.x.x...x...", "x.xxx...x.......", "x...x...x......."))
        pitch = rng.choice(keys)
        for step in steps(grid, bar):
            if rng.random() < 0.5:
                pitch = rng.choice(keys)
            notes.append(Note(bar.start + step.offset, step.length * 0.8, pitch, velocity("", rng, base=102)))
    return notes


def free_line(song: Song, rng: Random, centre: int) -> list[Note]:
    """Play without meter, as in an alap or a taqsim: a held note, a flourish of quick steps, a pause."""
    scale = song.scale_pitches(low=centre - 8, high=centre + 12)
    beat, end = 0.0, song.bars[-1].start
    place = len(scale) // 3
    notes = []
    while beat < end:
        hold = rng.uniform(0.9, 2.6)
        notes.append(Note(beat, hold, scale[place], velocity("", rng, base=90)))
        beat += hold
        for _ in range(rng.choice((0, 2, 3, 5, 7))):
            place = max(0, min(len(scale) - 1, place + rng.choice((-1, -1, 1, 1, 2))))
            length = rng.uniform(0.14, 0.32)
            notes.append(Note(beat, length, scale[place], velocity("", rng, base=84)))
            beat += length
        if rng.random() < 0.25:
            beat += rng.uniform(0.3, 0.9)
    return notes


def waltz_tune(song: Song, rng: Random, centre: int) -> list[Note]:
    """Play a wide line in three: a long first beat, two lighter steps, an arch over eight bars."""
    scale = song.scale_pitches(low=centre - 12, high=centre + 14)
    notes = []
    for bar in song.bars:
        height = 1 - abs((bar.index % 8) / 4 - 1)  # 0 at the ends, 1 in the middle
        place = int((0.25 + 0.5 * height) * (len(scale) - 1))
        grid = rng.choice(("x...x.", "x.x.x.", "x.....", "x.xxxx", "x..xx."))
        for step in steps(grid, bar):
            pitch = scale[max(0, min(len(scale) - 1, place))]
            if step.offset == 0:
                pitch = _chord_tone_near(song, bar.chords[0], pitch)
            notes.append(Note(bar.start + step.offset, step.length * 0.97, pitch, velocity("", rng, base=94)))
            place += rng.choice((-2, -1, 1, 1, 2))
    return notes
