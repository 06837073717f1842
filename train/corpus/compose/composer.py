"""Composes one clip: draws the players, a key and a tempo, lets the patterns write notes, and cuts a window."""

import math
from dataclasses import replace
from random import Random

from .harmony import SCALES, Chord, parse_progression
from .instruments import INSTRUMENTS, KITS
from .rhythm import swing
from .score import Bar, Note, Part, Score, Song, Vocals
from .style import CENTRES, LEVELS, METERS, Layer, Style
from .styles import STYLES
from .vocals import write_vocals

MAX_START_BARS = 16  # a clip starts at one of the first bars of the form
MIN_PART_NOTES = 2  # a listener does not notice a part with fewer notes
MAX_SILENT_START_S = 0.4
MIN_NOTE_S = 0.05
MAX_MELODIC_PARTS = 15  # number of MIDI channels without the drums' channel
# With a singer, the instrumental lead is usually left out.
LEAD_BESIDE_VOICE, LEAD_LEVEL_BESIDE_VOICE = 0.3, -22


def compose(rng: Random, *, seconds: float, style: str) -> Score:
    """Compose a clip.

    Args:
        rng: makes all random choices; the same state gives the same score.
        seconds: length of the clip.
        style: a key of STYLES.

    Returns:
        A score with at least one part or with vocals; every part plays at least MIN_PART_NOTES notes.
    """
    while True:
        score = _compose(rng, STYLES[style], seconds)
        if score.parts or score.vocals:
            return score


def _compose(rng: Random, style: Style, seconds: float) -> Score:
    tempo_bpm = rng.uniform(*style.tempo_bpm)
    meter = rng.choice(style.meter)
    mode = rng.choice(sorted(style.harmony))
    tonic = rng.randrange(12)
    beat_s = 60 / tempo_bpm
    start_bar = rng.randrange(MAX_START_BARS)
    bars = start_bar + math.ceil(seconds / beat_s / METERS[meter]) + 2
    progression = parse_progression(rng.choice(style.harmony[mode]))
    song = Song(tonic, SCALES[mode], _bars(progression, bars, METERS[meter], style.phrase_bars))

    ratio = rng.uniform(*style.swing)
    parts = []
    for layer in _players(rng, style):
        pattern = rng.choice(layer.patterns)
        instrument = rng.choice(layer.instruments)
        centre = layer.centre if layer.centre is not None else CENTRES[layer.role]
        if instrument in INSTRUMENTS:
            centre = _playable_centre(centre, instrument)
        notes = pattern(song, rng, centre)
        swung = [_swing(note, ratio, style.swing_unit) for note in notes]
        timed = _clip(swung, beat_s, song.bars[start_bar].start * beat_s, seconds)
        final = _finish(timed, instrument, style.timing_ms / 1000, seconds, rng)
        if len(final) >= MIN_PART_NOTES:
            level = (LEVELS[layer.role] if layer.level is None else layer.level) + rng.randint(-8, 8)
            parts.append(Part(layer.role, instrument, pattern.__name__, tuple(final), min(127, level)))
    vocals = None
    sung = write_vocals(style.name, song, rng, beat_s=beat_s)
    if sung is not None:
        vocals, alone = sung
        swung = [_swing(note, ratio, style.swing_unit) for note in vocals.notes]
        timed = _clip(swung, beat_s, song.bars[start_bar].start * beat_s, seconds)
        whole = tuple(sorted(note._replace(length=min(note.length, seconds - note.start)) for note in timed))
        vocals = replace(vocals, notes=whole) if len(whole) >= MIN_PART_NOTES else None
        if vocals is not None:
            parts = [] if alone else _make_room(parts, rng)
    first = min((note.start for notes in _all_notes(parts, vocals) for note in notes), default=0.0)
    if first > MAX_SILENT_START_S:  # do not let the clip start with silence
        parts = [replace(part, notes=_earlier(part.notes, first)) for part in parts]
        vocals = vocals and replace(vocals, notes=_earlier(vocals.notes, first))
    return Score(
        style=style.name,
        seconds=seconds,
        tempo_bpm=tempo_bpm,
        meter=meter,
        mode=mode,
        tonic=tonic,
        rhythm=style.rhythm,
        parts=tuple(parts),
        reverb_s=rng.uniform(*style.reverb),
        reverb_mix=style.reverb_mix * rng.uniform(0.5, 1.5),
        vocals=vocals,
    )


def _bars(progression: list[tuple[Chord, ...]], count: int, beats: float, phrase_bars: int) -> tuple[Bar, ...]:
    return tuple(
        Bar(
            index=i,
            start=i * beats,
            beats=beats,
            chords=progression[i % len(progression)],
            next_chord=progression[(i + 1) % len(progression)][0],
            is_fill=i % phrase_bars == phrase_bars - 1,
        )
        for i in range(count)
    )


def _players(rng: Random, style: Style) -> list[Layer]:
    """Draw the players: each layer by its chance, or with the chance `style.solo` a single melodic one."""
    melodic = [layer for layer in style.layers if layer.role in ("lead", "comping")]
    if melodic and rng.random() < style.solo:
        # An accompaniment sounds better alone than a melody line does.
        weights = [3 if layer.role == "comping" else 2 for layer in melodic]
        first = rng.choices(melodic, weights)[0]
        return [first] + [
            layer for layer in melodic if layer is not first and set(layer.instruments) == set(first.instruments)
            and len(set(layer.instruments)) == 1
        ]  # fmt: skip
    players = [layer for layer in style.layers if rng.random() < layer.chance]
    if not any(layer in melodic for layer in players) and melodic and rng.random() < 0.8:
        players.append(max(melodic, key=lambda layer: layer.chance))
    return players[:MAX_MELODIC_PARTS] or list(style.layers[:1])


def _playable_centre(centre: int, instrument: str) -> int:
    """Move a register by octaves into the instrument's range."""
    low, high = INSTRUMENTS[instrument].low, INSTRUMENTS[instrument].high
    while centre + 7 > high and centre - 12 >= low:
        centre -= 12
    while centre - 7 < low and centre + 12 <= high:
        centre += 12
    return centre


def _swing(note: Note, ratio: float, unit: float) -> Note:
    start = swing(note.start, ratio=ratio, unit=unit)
    end = swing(note.start + note.length, ratio=ratio, unit=unit)
    return note._replace(start=start, length=end - start)


def _clip(notes: list[Note], beat_s: float, from_s: float, seconds: float) -> list[Note]:
    """Convert beats to seconds and keep only the notes that sound inside the window."""
    inside = []
    for note in notes:
        start, end = note.start * beat_s - from_s, (note.start + note.length) * beat_s - from_s
        if start < 0 and end > 2 * MIN_NOTE_S:  # the note is held over from before the window
            start = 0.0
        if 0 <= start < seconds - MIN_NOTE_S:
            inside.append(note._replace(start=start, length=end - start))
    return inside


def _finish(notes: list[Note], instrument: str, timing_s: float, seconds: float, rng: Random) -> list[Note]:
    """Humanise the timing, fold notes into the instrument's range, and separate notes of the same key."""
    low, high = (0, 127) if instrument in KITS else INSTRUMENTS[instrument][1:3]
    ready = []
    for note in notes:
        pitch = note.pitch
        while pitch > high:
            pitch -= 12
        while pitch < low:
            pitch += 12
        start = max(0.0, note.start + rng.gauss(0, timing_s))
        length = max(MIN_NOTE_S, note.length)
        ready.append(Note(start, min(length, seconds - start), pitch, max(1, min(127, note.velocity))))
    ready.sort()
    # If a key is struck again while it sounds, release it just before.
    last: dict[int, int] = {}
    parted: list[Note] = []
    for note in ready:
        if note.length < MIN_NOTE_S:
            continue
        before = last.get(note.pitch)
        if before is not None:
            gap = note.start - parted[before].start
            if gap < MIN_NOTE_S:  # two voices in unison
                continue
            if parted[before].length > gap:
                parted[before] = parted[before]._replace(length=gap - 0.005)
        last[note.pitch] = len(parted)
        parted.append(note)
    return parted


def _make_room(parts: list[Part], rng: Random) -> list[Part]:
    """Usually remove the leads beside a voice; a lead that stays becomes softer."""
    if len(parts) > 1 and any(part.role != "lead" for part in parts) and rng.random() >= LEAD_BESIDE_VOICE:
        return [part for part in parts if part.role != "lead"]
    return [
        replace(part, level=max(40, part.level + LEAD_LEVEL_BESIDE_VOICE)) if part.role == "lead" else part
        for part in parts
    ]


def _all_notes(parts: list[Part], vocals: Vocals | None) -> list[tuple[Note, ...]]:
    return [part.notes for part in parts] + ([vocals.notes] if vocals else [])


def _earlier(notes: tuple[Note, ...], by_s: float) -> tuple[Note, ...]:
    return tuple(note._replace(start=note.start - by_s) for note in notes)
