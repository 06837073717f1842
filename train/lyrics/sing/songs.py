"""Sets lines to composed melodies, has them sung, and renders the songs."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import soundfile

from singing.sung import Note, Word
from train.corpus.compose import STYLES, Score, compose
from train.corpus.compose import Note as ScoreNote
from train.corpus.compose.vocals import MANNERS, SINGING
from train.corpus.generate import CorpusConfig
from train.corpus.render import Renderer
from train.corpus.sound_fonts import can_play
from train.corpus.voices.perform import BREATH, PHRASE_GAP_S, sing, vary
from train.corpus.voices.speech import SINGERS, Singer, Utterance, check_synthesisers, utter
from train.corpus.voices.vocoder import Unison, synthesise
from train.lyrics.sing.syllables import speak_syllables
from train.lyrics.sing.texts import draw_line, read_lines

LEAST_NOTE_S = 0.12  # shorter notes have no room for a syllable and are left out
SUNG_STYLES = tuple(
    style
    for style, singing in sorted(SINGING.items())
    if singing.chance >= 0.4
    and singing.manner[MANNERS.index("singing")] > 0
    and singing.who[0] + singing.who[1] > 0
    and "en" in singing.languages.split()
    and style in STYLES
)
"""Styles in which a man or a woman often sings in English."""
# Voices that only a test hears: their other variants, with other sizes of the head, are not in training either.
TEST_VOICES = ("awb", "en-us+f5", "en-us+m7")


@dataclass(frozen=True)
class SongsConfig(CorpusConfig):
    """The settings of a run: the corpus', and the texts to sing; without texts, common words are sung."""

    texts: tuple[Path, ...] = ()


class Setting(NamedTuple):
    """Words on notes: what is sung, and the syllable of each note."""

    words: tuple[Word, ...]
    notes: tuple[ScoreNote, ...]
    syllables: tuple[Utterance, ...]


class SongMaker:
    """Makes songs one by one, each from its own seed.

    Raises:
        CorpusError: a synthesiser is missing, or a text cannot be read.
    """

    def __init__(self, config: SongsConfig) -> None:
        check_synthesisers()
        self._config = config
        self._renderers: dict[Path, Renderer] = {}
        splits = {config.split_of(index) for index in range(config.tracks)}
        self._lines = {split: read_lines(config.texts, split=split) if config.texts else None for split in splits}
        (config.out / "audio").mkdir(parents=True, exist_ok=True)

    def make(self, index: int) -> dict[str, Any]:
        """Compose, sing, render and store one song; return its manifest row, see `train.lyrics.songs`."""
        config = self._config
        split = config.split_of(index)
        key = f"{config.seed}/{split}/{index}"
        score = compose_song(Random(f"song/{key}"), seconds=config.seconds)
        assert score.vocals is not None
        rng = Random(f"voice/{key}")
        singer = draw_singer(score.vocals.who, split=split, rng=rng)
        setting = set_lines(
            score.vocals.notes,
            draw=lambda: draw_line(self._lines[split], rng=rng),
            speak=lambda word: speak_syllables(singer, word),
        )
        breath = utter(singer, BREATH)
        track = sing(setting.notes, setting.syllables, seconds=score.seconds, breath=breath, rng=rng)
        noise = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
        voice = synthesise(track, [Unison()], noise, formants=singer.formants, effort_db=singer.effort_db)
        able = [font for font in config.sound_fonts if can_play(font, score)]
        font = Random(f"font/{key}").choice(able or config.sound_fonts)
        room_seed = int.from_bytes(hashlib.sha256(f"room/{key}".encode()).digest()[:8], "little")
        waveform = self._renderer(font).render(score, seed=room_seed, voice=voice)
        track_id = f"{split}-{config.seed}-{index:06d}"
        audio = f"audio/{track_id}.flac"
        soundfile.write(config.out / audio, waveform, config.sample_rate_hz, subtype="PCM_16")
        notes = true_notes(setting.notes, seconds=score.seconds)
        return {
            "audio": audio,
            "track_id": track_id,
            "split": split,
            "words": [[round(word.start_s, 4), round(word.end_s, 4), word.text] for word in setting.words],
            "notes": [[round(note.start_s, 4), round(note.end_s, 4), note.key] for note in notes],
            "style": score.style,
            "singer": f"{singer.program} {singer.voice}",
            "soundfont": font.name,
        }

    def _renderer(self, font: Path) -> Renderer:
        if font not in self._renderers:
            self._renderers[font] = Renderer(font, sample_rate_hz=self._config.sample_rate_hz)
        return self._renderers[font]


def compose_song(rng: Random, *, seconds: float) -> Score:
    """Compose a clip in which a man or a woman sings; clips without are composed again."""
    while True:
        score = compose(rng, seconds=seconds, style=rng.choice(SUNG_STYLES))
        vocals = score.vocals
        if vocals and vocals.manner == "singing" and vocals.who != "choir" and _long_enough(vocals.notes):
            return score


def draw_singer(who: str, *, split: str, rng: Random) -> Singer:
    """Draw an English voice, male or female; those of `TEST_VOICES` sing in the test alone."""
    able = [
        singer
        for singer in SINGERS
        if (singer.gender, singer.language) == (who, "en") and (singer.voice in TEST_VOICES) == (split == "test")
    ]
    return vary(rng.choice(able), rng=rng)


def set_lines(
    notes: Sequence[ScoreNote], *, draw: Callable[[], str], speak: Callable[[str], list[Utterance]]
) -> Setting:
    """Set words to a melody, a syllable a note.

    A word that does not fit into the rest of a phrase begins with the next phrase, and the notes before are not sung. A
    word that is longer than a phrase crosses the breath.

    Args:
        notes: of the melody; those shorter than `LEAST_NOTE_S` are left out.
        draw: gives the next line.
        speak: gives the syllables of a word.

    Returns:
        The words with their times, the notes that are sung, and their syllables.
    """
    phrases = _phrases(_long_enough(notes))
    words: list[Word] = []
    sung: list[ScoreNote] = []
    syllables: list[Utterance] = []
    coming: list[str] = []
    place = 0  # of the next note in the first phrase
    while phrases:
        if not coming:
            coming = draw().split()
        spoken = speak(coming[0])
        if len(spoken) > len(phrases[0]) - place:
            # In a phrase of its own it may still not fit. Then the next one is added to it.
            if place:
                phrases, place = phrases[1:], 0
            elif len(phrases) > 1:
                phrases = [[*phrases[0], *phrases[1]], *phrases[2:]]
            else:
                break
            continue
        own = phrases[0][place : place + len(spoken)]
        sung += own
        syllables += spoken
        words.append(Word(own[0].start, own[-1].start + own[-1].length, coming.pop(0)))
        place += len(spoken)
        if place == len(phrases[0]):
            phrases, place = phrases[1:], 0
    return Setting(tuple(words), tuple(sung), tuple(syllables))


def _long_enough(notes: Sequence[ScoreNote]) -> list[ScoreNote]:
    """The notes with room for a syllable, by time; each ends where the next begins."""
    kept: list[ScoreNote] = []
    for note in sorted(notes):
        if note.length < LEAST_NOTE_S or (kept and note.start - kept[-1].start < LEAST_NOTE_S):
            continue
        if kept:
            last = kept[-1]
            kept[-1] = last._replace(length=min(last.length, note.start - last.start))
        kept.append(note)
    return kept


def _phrases(notes: Sequence[ScoreNote]) -> list[list[ScoreNote]]:
    phrases = [list(notes[:1])] if notes else []
    for before, note in pairwise(notes):
        if note.start - (before.start + before.length) > PHRASE_GAP_S:
            phrases.append([])
        phrases[-1].append(note)
    return phrases


def true_notes(notes: Sequence[ScoreNote], *, seconds: float) -> list[Note]:
    """The notes as a manifest has them; a voice may sound a little beyond the end of its clip."""
    return [Note(note.start, min(note.start + note.length, seconds), note.pitch) for note in notes]
