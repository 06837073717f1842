"""Performs the vocals of a score: syllables on notes, lines on bars."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from random import Random

import numpy as np
from numpy.typing import NDArray

from ..compose.score import Note, Score, Vocals
from .speech import FRAME_SAMPLES, RATE_HZ, SINGERS, Singer, Utterance, check_synthesisers, utter
from .vocoder import Track, Unison, synthesise
from .words import HUMS, LINES, SYLLABLES, VOCALISES

FRAMES_PER_S = RATE_HZ / FRAME_SAMPLES
POOL_SYLLABLES = 8  # different syllables in a clip, because a chorus repeats its words
ONSET_S, CODA_S = 0.14, 0.16  # maximum length of the consonants before and after a vowel
GLIDE_S = 0.07  # from one note to the next
PHRASE_GAP_S = 0.3  # a longer rest ends a phrase
EFFORT_DB = (-3.0, 5.0)  # difference in effort between singing and speaking, see speech.Singer
BREATH = "ha"  # its h is the sound of a breath
BREATH_S, BREATH_LOG = 0.22, -3.2  # before a phrase; log amplitude next to a vowel
DRIFT_FRAMES, DRIFT_KEYS = 40, 0.08  # interval and standard deviation of a voice's slow pitch drift
CHOIR_UNISON = 4  # singers per tone of a choir's chord
MAX_CHOIR_TONES = 4


class Voices:
    """Singers that perform scores; everything that they have spoken is cached.

    Raises:
        CorpusError: a synthesiser is missing.
    """

    def __init__(self) -> None:
        check_synthesisers()

    def perform(self, score: Score, *, seed: str) -> NDArray[np.float32]:
        """Sing, rap, hum or speak a score's vocals.

        Args:
            score: a score with vocals.
            seed: for the random singers, words and expression.

        Returns:
            float32 [about score.seconds at speech.RATE_HZ], mono; silence while nobody sings.

        Raises:
            ValueError: the score has no vocals.
        """
        if score.vocals is None:
            raise ValueError("the score has no vocals; give a score with vocals")
        rng = Random(seed)
        noise = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
        vocals = score.vocals
        if vocals.manner in ("rap", "spoken word"):
            singer = _cast(vocals, rng)
            track = _say(vocals, score, singer, rng)
            return synthesise(track, [Unison()], noise, formants=singer.formants, effort_db=singer.effort_db)
        if vocals.who == "choir":
            return _choir(vocals, score, rng, noise)
        singer = _cast(vocals, rng)
        syllables = [utter(singer, text) for text in _text(vocals, singer, rng)]
        track = sing(vocals.notes, syllables, seconds=score.seconds, breath=utter(singer, BREATH), rng=rng)
        return synthesise(track, [Unison()], noise, formants=singer.formants, effort_db=singer.effort_db)


def _cast(vocals: Vocals, rng: Random, gender: str | None = None) -> Singer:
    """Draw a singer of the right gender and, if there is one, of the right language."""
    able = [singer for singer in SINGERS if singer.gender == (gender or vocals.who)]
    if vocals.manner in ("rap", "spoken word"):
        able = [singer for singer in able if singer.language in LINES]
    fluent = [singer for singer in able if singer.language == vocals.language] or able
    return vary(rng.choice(fluent), rng=rng)


def vary(singer: Singer, *, rng: Random) -> Singer:
    """Draw somebody with nearly the same voice, who sings louder or softer."""
    return replace(
        singer, formants=singer.formants * rng.uniform(0.97, 1.03), effort_db=singer.effort_db + rng.uniform(*EFFORT_DB)
    )


def _text(vocals: Vocals, singer: Singer, rng: Random) -> list[str]:
    """Draw the syllables of a clip in the order in which they are sung; the list repeats."""
    if vocals.manner == "vocalise":
        return list(rng.choice(VOCALISES))
    if vocals.manner == "humming":
        return list(rng.choice(HUMS))
    pool = rng.sample(SYLLABLES[singer.language], POOL_SYLLABLES)
    return [*pool, *pool[:4], *rng.sample(pool, 4)]


def sing(
    notes: Sequence[Note],
    syllables: Sequence[Utterance],
    *,
    seconds: float,
    breath: Utterance,
    rng: Random,
    late_s: float = 0.0,
) -> Track:
    """Sing one line of notes, one syllable a note.

    Args:
        notes: in seconds; one ends where the next begins, and those of less than 20 ms are left out.
        syllables: in the order in which they are sung; the list repeats.
        seconds: length of the track.
        breath: what a breath before a phrase sounds like.
        rng: for expression.
        late_s: delay of the whole line.

    Returns:
        The controls of one voice.
    """
    track = Track.silent(seconds)
    frames = len(track.pitch)
    notes = sorted(notes)
    ends = [min(note.start + note.length, following.start) for note, following in pairwise(notes)]
    ends.append(notes[-1].start + notes[-1].length)
    breathy = rng.uniform(0.0, 0.25)
    previous_end = -1.0
    syllable = 0
    for note, end_s in zip(notes, ends, strict=True):
        start, end = (round((time + late_s) * FRAMES_PER_S) for time in (note.start, end_s))
        end = min(end, frames)
        if end - start < 4:
            continue
        utterance = syllables[syllable % len(syllables)]
        syllable += 1
        if note.start - previous_end > PHRASE_GAP_S and previous_end >= 0:
            _breathe(track, breath, start)
        _place(track, utterance, start, end, loudness=(note.velocity / 96) ** 1.5)
        previous_end = end_s
    track.noise += breathy * (1 - track.noise)
    track.pitch[:] = _melody(notes, ends, frames, late_s, rng)
    return track


def _place(track: Track, utterance: Utterance, start: int, end: int, *, loudness: float) -> None:
    """Place a syllable on frames start to end; the vowel starts on time and is stretched, the consonants are not."""
    vowel_start, vowel_end = utterance.nucleus
    onset = min(vowel_start, round(ONSET_S * FRAMES_PER_S), start)
    coda = min(len(utterance) - vowel_end, round(CODA_S * FRAMES_PER_S), (end - start) // 3)
    held = end - start - coda
    index = np.concatenate(
        [
            np.arange(vowel_start - onset, vowel_start),
            np.linspace(vowel_start, vowel_end - 1, held).round().astype(int),
            np.arange(vowel_end, vowel_end + coda),
        ]
    )
    at = slice(start - onset, start - onset + len(index))
    _fill(track, utterance, index, at, loudness=loudness)
    fade = min(8, len(index) // 2)
    track.gain[at.stop - fade : at.stop] *= np.linspace(1, 0.15, fade, dtype=np.float32)
    rise = min(3, len(index))
    track.gain[at.start : at.start + rise] *= np.linspace(0.3, 1, rise, dtype=np.float32)


def _fill(track: Track, utterance: Utterance, index: NDArray[np.int64], at: slice, *, loudness: float) -> None:
    track.log_envelope[at] = utterance.log_envelope[index]
    track.noise[at] = utterance.noise[index]
    track.voiced[at] = utterance.f0_hz[index] > 0
    track.gain[at] = loudness


def _breathe(track: Track, breath: Utterance, start: int) -> None:
    """Add a breath before frame `start`: the sound of an h that gets louder."""
    length = min(round(BREATH_S * FRAMES_PER_S), start)
    if length < 10:
        return
    at = slice(start - length, start)
    track.log_envelope[at] = breath.log_envelope[: max(1, breath.nucleus[0])].mean(axis=0)
    track.log_envelope[at] += BREATH_LOG - track.log_envelope[at].max()
    track.noise[at] = 1
    track.voiced[at] = 0
    track.gain[at] = np.linspace(0, 1, length) ** 2


def _melody(notes: list[Note], ends: list[float], frames: int, late_s: float, rng: Random) -> NDArray[np.float32]:
    """Make the pitch in MIDI keys by frame: glides, a scoop into phrases, drift, and vibrato on held notes."""
    pitch = np.full(frames, float(notes[0].pitch), np.float32)
    vibrato = np.zeros(frames, np.float32)
    rate_hz, depth = rng.uniform(4.8, 6.4), rng.uniform(0.12, 0.45)
    times = np.arange(frames) / FRAMES_PER_S
    previous_end = -1.0
    for note, end_s in zip(notes, ends, strict=True):
        start, end = (min(frames, round((time + late_s) * FRAMES_PER_S)) for time in (note.start, end_s))
        lead = round(0.5 * GLIDE_S * FRAMES_PER_S)
        pitch[max(0, start - lead) :] = note.pitch
        if note.start - previous_end > PHRASE_GAP_S and rng.random() < 0.4:
            scoop = min(round(0.09 * FRAMES_PER_S), end - start)
            pitch[start : start + scoop] -= np.linspace(rng.uniform(0.5, 1.5), 0, scoop)
        held = times[start:end] - note.start - late_s
        growth = np.clip((held - 0.22) / 0.25, 0, 1)
        vibrato[start:end] = depth * growth * np.sin(2 * np.pi * rate_hz * held)
        previous_end = end_s
    width = round(GLIDE_S * FRAMES_PER_S)
    glide = np.hanning(width + 2)[1:-1]
    padded = np.pad(pitch, width // 2, mode="edge")
    pitch = np.convolve(padded, glide / glide.sum(), mode="valid")[:frames]
    turns = np.arange(0, frames + DRIFT_FRAMES, DRIFT_FRAMES)
    drift = np.interp(np.arange(frames), turns, [rng.gauss(0, DRIFT_KEYS) for _ in turns])
    return (pitch + vibrato + drift).astype(np.float32)


def _choir(vocals: Vocals, score: Score, rng: Random, noise: np.random.Generator) -> NDArray[np.float32]:
    """Sing each tone of the chords with several singers who are slightly apart."""
    chords = [
        sorted(chord, key=lambda note: note.pitch)
        for _, chord in groupby(sorted(vocals.notes), key=lambda n: round(n.start, 2))
    ]
    desks = min(MAX_CHOIR_TONES, max(len(chord) for chord in chords))
    text: list[str] | None = None
    sound = np.zeros(1, np.float32)
    for desk in range(desks):
        # Desk 0 has the lowest tone. If a chord has fewer tones than there are desks, several desks share a tone.
        notes = [chord[min(len(chord) - 1, desk * len(chord) // desks)] for chord in chords]
        middle = sorted(note.pitch for note in notes)[len(notes) // 2]
        singer = _cast(vocals, rng, "female" if middle >= 60 else "male")
        if text is None:
            text = _text(vocals, singer, rng)
        syllables = [utter(singer, syllable) for syllable in text]
        late_s = max(0.0, rng.gauss(0.02, 0.015))
        breath = utter(singer, BREATH)
        track = sing(notes, syllables, seconds=score.seconds, breath=breath, rng=rng, late_s=late_s)
        unison = [
            Unison(
                rng.gauss(0, 11),
                max(0.0, rng.gauss(0.02, 0.015)),
                rng.uniform(4.6, 6.4),
                rng.uniform(8, 30),
                rng.random(),
            )
            for _ in range(CHOIR_UNISON)
        ]
        part = synthesise(track, unison, noise, formants=singer.formants, effort_db=singer.effort_db)
        sound = part if desk == 0 else sound + part
    return sound


def _say(vocals: Vocals, score: Score, singer: Singer, rng: Random) -> Track:
    """Say one line per note: rapped in the time of its bar, or spoken at its own pace."""
    track = Track.silent(score.seconds)
    frames = len(track.pitch)
    lines = list(LINES[singer.language])
    rng.shuffle(lines)
    sixteenth = 15 / score.tempo_bpm * FRAMES_PER_S
    for place, note in enumerate(sorted(vocals.notes)):
        utterance = utter(singer, lines[place % len(lines)])
        start, room = round(note.start * FRAMES_PER_S), round(note.length * FRAMES_PER_S)
        index = _on_the_grid(utterance, room, sixteenth) if vocals.manner == "rap" else np.arange(len(utterance))
        index = index[: frames - start]
        at = slice(start, start + len(index))
        _fill(track, utterance, index, at, loudness=(note.velocity / 96) ** 1.5)
        voiced = np.flatnonzero(utterance.f0_hz > 0)
        contour = np.interp(index, voiced, 69 + 12 * np.log2(utterance.f0_hz[voiced] / 440))
        # Rap has a flatter contour than speech; both keep its shape.
        liveliness = 0.7 if vocals.manner == "rap" else 1.0
        track.pitch[at] = note.pitch + liveliness * (contour - np.median(contour))
        fade = min(10, len(index))
        track.gain[at.stop - fade : at.stop] *= np.linspace(1, 0, fade)
    return track


def _on_the_grid(utterance: Utterance, room: int, sixteenth: float) -> NDArray[np.int64]:
    """Map the frames of a line so that its syllables fall on sixteenths and it fills `room` frames."""
    loud = np.convolve(np.where(utterance.f0_hz > 0, utterance.energy_db, -60.0), np.ones(9) / 9, mode="same")
    peaks = [
        i for i in range(8, len(loud) - 8) if loud[i] == loud[i - 8 : i + 9].max() and loud[i] > loud.max() - 25
    ]  # fmt: skip
    if not peaks:
        return np.linspace(0, len(utterance) - 1, room).round().astype(int)
    scale = room / len(utterance)
    targets, sources = [0.0], [0.0]
    for peak in peaks:
        beat = round((peak - peaks[0]) * scale / sixteenth)
        target = 6 + beat * sixteenth
        if target > targets[-1] + 5 and target < room - 4 and peak > sources[-1]:
            targets.append(target)
            sources.append(float(peak))
    targets.append(float(room))
    sources.append(float(len(utterance) - 1))
    return np.interp(np.arange(room), targets, sources).round().astype(int)
