"""Voices of the corpus: in tune, in time, as loud as said, the same every time, and told by captions."""

import json
import re
import shutil
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest

from train.corpus import sound_fonts, vocabulary
from train.corpus.__main__ import main
from train.corpus.attributes import Attributes, describe
from train.corpus.captions import write_captions
from train.corpus.compose import STYLES, Note, Part, Score, compose
from train.corpus.compose.score import Vocals
from train.corpus.compose.vocals import MANNERS, RANGES, SINGING, SPOKEN_KEYS
from train.corpus.errors import CorpusError
from train.corpus.generate import CorpusConfig, TrackMaker
from train.corpus.render import Renderer
from train.corpus.sound_fonts import can_play, find_all_sound_fonts, missing_presets
from train.corpus.templates import SPLITS
from train.corpus.voices import Voices, speech
from train.corpus.voices.speech import FRAME_SAMPLES, RATE_HZ, SINGERS, check_synthesisers, utter
from train.corpus.voices.vocoder import Track, Unison, synthesise

SECONDS = 4.0


@pytest.fixture(scope="module")
def voices() -> Voices:
    try:
        return Voices()
    except CorpusError as error:
        pytest.skip(f"singing needs speech synthesisers: {error}")


def _score(who: str, manner: str, *pitches: int, parts: tuple[Part, ...] = (), level_db: float = 0.0) -> Score:
    length_s = SECONDS / len(pitches)
    notes = tuple(Note(i * length_s, length_s * 0.95, pitch, 96) for i, pitch in enumerate(pitches))
    vocals = Vocals(who, manner, "en", notes, level_db)
    return Score("soul", SECONDS, 100.0, "4/4", "major", 0, "backbeat", parts, 0.0, 0.0, vocals)


@cache
def _facts(count: int) -> tuple[Attributes, ...]:
    """`count` compositions of every style, and more of those that are sung alone."""
    names = [*STYLES, *["choral", "unaccompanied solo", "trap", "gospel"] * 5]
    return tuple(
        describe(compose(Random(f"{name}/{place}/{i}"), seconds=6.0, style=name))
        for i in range(count)
        for place, name in enumerate(names)
    )


# --- sound


@pytest.mark.parametrize(
    ("who", "manner", "pitches"),
    [("male", "singing", (50, 55, 52, 57)), ("female", "singing", (64, 69, 67, 72)),
     ("female", "humming", (62, 65, 69, 60)), ("male", "vocalise", (48, 53, 60, 55))],
)  # fmt: skip
def test_sung_notes_are_in_tune(voices: Voices, who: str, manner: str, pitches: tuple[int, ...]):
    """Median error over voiced frames, as WORLD's own pitch tracker hears the result, under 30 cents."""
    world = pytest.importorskip("pyworld")
    score = _score(who, manner, *pitches)
    errors = []
    for seed in range(3):
        sound = voices.perform(score, seed=str(seed)).astype(np.float64)
        f0_hz, times = world.harvest(sound, RATE_HZ, f0_floor=70, f0_ceil=800)
        keys = 69 + 12 * np.log2(np.where(f0_hz > 0, f0_hz, np.nan) / 440)
        assert score.vocals is not None
        for note in score.vocals.notes:
            held = keys[(times > note.start + 0.15) & (times < note.start + note.length - 0.2)]
            errors.append(100 * np.abs(held - note.pitch))
    error_cents = np.concatenate(errors)
    assert np.mean(np.isfinite(error_cents)) > 0.6
    assert np.nanmedian(error_cents) < 30


def test_a_vowel_starts_with_its_note(voices: Voices):
    """Energy jumps up within 60 ms of each note after a rest."""
    notes = (Note(0.5, 0.6, 55, 96), Note(2.0, 0.6, 57, 96), Note(3.2, 0.6, 52, 96))
    score = _score("male", "vocalise", 55)
    assert score.vocals is not None
    score = replace(score, vocals=replace(score.vocals, notes=notes))
    for seed in range(3):
        sound = voices.perform(score, seed=str(seed))
        for note in notes:
            start = round(note.start * RATE_HZ)
            before = np.mean(sound[start - 3200 : start - 1600] ** 2)
            after = np.mean(sound[start + 960 : start + 2560] ** 2)
            assert after > 10 * before, (seed, note)


def test_the_vocoder_gives_back_pitch_and_envelope():
    """A flat envelope: pulses of the pitch asked for, as strong in each octave of a harmonic spectrum."""
    track = Track.silent(2.0)
    track.log_envelope[:], track.noise[:], track.voiced[:], track.gain[:] = 0, 0, 1, 1
    track.pitch[:] = 57  # 220 Hz
    sound = synthesise(track, [Unison()], np.random.default_rng(0))
    assert sound.shape == (2 * RATE_HZ,)
    spectrum = np.abs(np.fft.rfft(sound[8000:24_000] * np.hanning(16_000)))
    harmonics = np.array([spectrum[220 * k - 6 : 220 * k + 7].max() for k in range(1, 12)])
    between = np.array([spectrum[220 * k + 100 : 220 * k + 120].max() for k in range(1, 12)])
    assert np.all(harmonics > 3 * between)
    assert harmonics.max() / harmonics.min() < 3
    warped = Track.silent(2.0)
    for name in ("log_envelope", "noise", "voiced", "pitch", "gain"):
        getattr(warped, name)[:] = getattr(track, name)
    warped.log_envelope[:, 80:] = -6  # nothing above 2.5 kHz
    for factor in (1.0, 1.2):
        sound = synthesise(warped, [Unison()], np.random.default_rng(0), formants=factor)
        spectrum = np.abs(np.fft.rfft(sound[8000:24_000]))
        edge_hz = np.flatnonzero(spectrum > 0.1 * spectrum.max())[-1]
        assert edge_hz == pytest.approx(2500 * factor, rel=0.06)


def test_speech_comes_back_the_same(voices: Voices):
    singer = SINGERS[0]
    first = utter(singer, "love")
    speech._spoken.cache_clear()
    again = utter(singer, "love")
    np.testing.assert_array_equal(first.log_envelope, again.log_envelope)
    start, end = first.nucleus
    assert 0 < start < end <= len(first)
    assert np.all(first.f0_hz[start:end] > 0)


@pytest.mark.parametrize(
    ("who", "manner"),
    [("male", "rap"), ("female", "spoken word"), ("choir", "singing"), ("choir", "humming"), ("female", "singing")],
)
def test_a_performance_depends_on_its_seed_alone(voices: Voices, who: str, manner: str):
    pitches = (46, 47) if manner == "rap" else (55,) if manner == "spoken word" else (60, 64, 62)
    score = _score(who, manner, *pitches)
    first = voices.perform(score, seed="a")
    voices.perform(score, seed="b")
    np.testing.assert_array_equal(voices.perform(score, seed="a"), first)
    assert first.shape == (SECONDS * RATE_HZ,)
    assert np.isfinite(first).all()
    assert np.sqrt(np.mean(first**2)) > 0.01
    assert not np.array_equal(voices.perform(score, seed="b"), first)


def test_every_singer_speaks(voices: Voices):
    for singer in SINGERS:
        utterance = utter(singer, "la")
        assert len(utterance) * FRAME_SAMPLES / RATE_HZ > 0.1, singer
        assert np.isfinite(utterance.log_envelope).all()
        if singer.program == "espeak-ng":  # it ignores a variant that it does not know
            usual = replace(singer, voice=singer.voice.partition("+")[0])
            assert not np.array_equal(utter(usual, "la").log_envelope, utterance.log_envelope), singer
            assert (np.median(utterance.f0_hz[utterance.f0_hz > 0]) > 130) == (singer.gender == "female"), singer


@pytest.mark.parametrize("level_db", [-3.0, 6.0])
def test_the_voice_is_as_loud_as_its_score_says(voices: Voices, sound_font: Path, level_db: float):
    renderer = Renderer(sound_font, sample_rate_hz=16_000)
    notes = tuple(Note(0.25 * i, 0.24, 60, 90) for i in range(16))
    score = _score(
        "female", "vocalise", 64, 67, 69, parts=(Part("comping", "piano", "p", notes, 100),), level_db=level_db
    )
    dry = renderer._play(score)
    voice = voices.perform(score, seed="level")
    sung = renderer._mix(dry, voice, level_db=level_db) - dry
    assert 10 * np.log10(np.mean(sung**2) / np.mean(dry**2)) == pytest.approx(level_db, abs=1.5)
    assert np.abs(renderer.render(score, seed=1, voice=voice)).max() <= 0.96


@pytest.mark.parametrize("sample_rate_hz", [16_000, 22_050])
def test_what_is_only_sung_is_heard(voices: Voices, sound_font: Path, sample_rate_hz: int):
    score = _score("choir", "singing", 60, 62, 64)
    renderer = Renderer(sound_font, sample_rate_hz=sample_rate_hz)
    waveform = renderer.render(score, seed=3, voice=voices.perform(score, seed="alone"))
    assert waveform.shape == (SECONDS * sample_rate_hz,)
    assert -32 < 20 * np.log10(np.sqrt(np.mean(waveform**2))) < -10


def test_a_score_without_vocals_is_not_performed(voices: Voices):
    with pytest.raises(ValueError, match="no vocals"):
        voices.perform(replace(_score("male", "singing", 50), vocals=None), seed="1")


# --- composing


def test_vocals_can_be_sung():
    met = set()
    for name, singing in SINGING.items():
        assert name in STYLES
        for i in range(6 if singing.chance > 0.1 else 0):
            score = compose(Random(f"sung {name} {i}"), seconds=6.0, style=name)
            if score.vocals is None:
                continue
            met.add((score.vocals.who, score.vocals.manner))
            _, low, high = RANGES[score.vocals.who]
            if score.vocals.manner in ("rap", "spoken word"):
                low, high = SPOKEN_KEYS[score.vocals.who]
                high += 2
            for note in score.vocals.notes:
                assert low <= note.pitch <= high
                assert 0 <= note.start < note.start + note.length <= score.seconds + 1e-6
    assert {manner for _, manner in met} == set(MANNERS)
    assert {who for who, _ in met} == {"male", "female", "choir"}


def test_about_a_third_of_the_corpus_has_a_voice():
    share = np.mean([SINGING[name].chance if name in SINGING else 0 for name in STYLES])
    assert 0.3 < share < 0.4


# --- attributes and captions


def test_attributes_say_who_sings_and_how():
    facts = describe(_score("female", "rap", 55, 56))
    assert (facts.voice, facts.manner, facts.a_cappella, facts.instrumental) == ("female", "rap", True, False)
    assert facts.instruments == ()
    assert {"female voice", "rap voice", "a cappella"} <= set(facts.labels)
    piano = Part("comping", "piano", "p", tuple(Note(i * 0.5, 0.4, 60, 90) for i in range(8)), 100)
    accompanied = describe(_score("male", "singing", 55, 56, parts=(piano,)))
    assert (accompanied.ensemble, accompanied.a_cappella) == ("duo", False)
    assert "no voice" not in accompanied.labels
    alone = describe(replace(_score("male", "singing", 55, parts=(piano,)), vocals=None))
    assert alone.instrumental
    assert "no voice" in alone.labels
    choir = replace(piano, instrument="choir")
    assert not describe(replace(_score("male", "singing", 55, parts=(choir,)), vocals=None)).instrumental


_VOICE_WORDS = re.compile(r"\b(vocals?|vocalists?|singers?|rapp\w+|spoken word|humming|a cappella|(fe)?male \w+)\b")
_NO_VOICE = sorted({*vocabulary.NO_VOICE, *vocabulary.INSTRUMENTAL_TAGS}, key=len, reverse=True)


def _without_absence(text: str) -> str:
    for phrase in _NO_VOICE:
        text = text.replace(phrase, "")
    return text


def _captions(facts: Attributes, i: int) -> list[str]:
    return [
        caption.text.lower()
        for split in SPLITS
        for caption in write_captions(facts, split=split, count=8, rng=Random(i))
    ]


def test_captions_name_a_voice_only_where_one_sounds():
    named, captions = 0, 0
    for i, facts in enumerate(_facts(2)):
        for text in _captions(facts, i):
            said = _VOICE_WORDS.search(_without_absence(text).replace("rapping over", "").replace("rapper's", ""))
            if facts.instrumental:
                assert said is None, text
            elif facts.voice:
                named, captions = named + (said is not None), captions + 1
    assert 0.3 < named / captions < 0.8


def test_captions_never_call_a_track_with_a_voice_instrumental():
    said = 0
    for i, facts in enumerate(_facts(2)):
        for text in _captions(facts, i):
            absent = any(re.search(rf"\b{phrase}\b", text) for phrase in (*_NO_VOICE, "instrumental"))
            if absent and "solo instrumental" not in text:
                said += 1
                assert facts.instrumental, text
    assert said > 50


def test_captions_tell_men_from_women():
    for i, facts in enumerate(_facts(2)):
        for text in _captions(facts, i):
            if facts.voice == "male":
                assert not re.search(r"\b(female|woman|girl)\b", re.sub("homework girl", "", text)), text
            if facts.voice == "female":
                assert not re.search(r"\b(male|man|guy)\b (voice|sing|rap|speak|talk|hum|vocal)", text), text


# --- generating


def test_rows_say_what_is_sung(voices: Voices, sound_font: Path, tmp_path: Path):
    config = CorpusConfig(out=tmp_path, tracks=81, seed=3, sound_fonts=(sound_font,), seconds=3.0)
    maker = TrackMaker(config)
    index = next(i for i in range(81) if config.style_of(i) == "choral")
    row = maker.make(index)
    assert json.loads(json.dumps(row)) == row
    score_facts = row["attributes"]
    if score_facts["voice"]:
        assert f"{score_facts['voice']} voice" in row["labels"]
    assert TrackMaker(config).make(index) == row


# --- sound fonts


def test_the_header_says_which_presets_a_font_has(sound_font: Path):
    assert missing_presets(sound_font) == []


def _font(path: Path, *presets: tuple[int, int]) -> Path:
    """A file with nothing of a sound font but its list of presets."""
    records = b"".join(
        b"x".ljust(20, b"\0") + program.to_bytes(2, "little") + bank.to_bytes(2, "little") + bytes(14)
        for bank, program in presets
    )
    chunk = b"pdta" + b"phdr" + len(records).to_bytes(4, "little") + records
    body = b"sfbk" + b"LIST" + len(chunk).to_bytes(4, "little") + chunk
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
    return path


def test_a_font_that_lacks_presets_is_left_out_with_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    melodic, kits = [(0, program) for program in range(128)], [(128, kit) for kit in (0, 8, 16, 24, 25, 32, 40, 48)]
    whole = _font(tmp_path / "whole.sf2", *melodic, *kits)
    partial = _font(tmp_path / "partial.sf2", *melodic, *kits[:-1])
    fonts = tuple(sound_fonts.SoundFont("p", str(path)) for path in (partial, whole, tmp_path / "absent.sf2"))
    monkeypatch.setattr(sound_fonts, "DEBIAN_SOUND_FONTS", fonts)
    assert find_all_sound_fonts() == ([whole], [f"{partial} is left out: it has no preset for orchestra kit"])


def test_all_fonts_where_none_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    absent = sound_fonts.SoundFont("a-font", str(tmp_path / "no.sf2"))
    monkeypatch.setattr(sound_fonts, "DEBIAN_SOUND_FONTS", (absent, absent))
    assert main(["--out", str(tmp_path), "--tracks", "1", "--seed", "1", "--soundfont", "all"]) == 1
    assert "apt-get install a-font" in capsys.readouterr().err


def test_a_font_without_a_list_of_presets_is_refused(tmp_path: Path):
    path = tmp_path / "empty.sf2"
    path.write_bytes(b"RIFF\x04\x00\x00\x00sfbk")
    with pytest.raises(CorpusError, match="no list of presets"):
        missing_presets(path)


def test_a_font_does_not_get_what_it_cannot_play():
    whistle = Part("lead", "tin whistle", "p", (Note(0, 1, 80, 90),), 100)
    score = replace(_score("male", "singing", 50, parts=(whistle,)), vocals=None)
    assert not can_play(Path("TimGM6mb.sf2"), score)
    assert can_play(Path("FluidR3_GM.sf2"), score)


# --- errors


def test_missing_synthesisers_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sound_font: Path, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CorpusError, match="apt-get install espeak-ng flite"):
        check_synthesisers()
    assert main(["--out", str(tmp_path), "--tracks", "1", "--seed", "1"]) == 1
    assert capsys.readouterr().err.startswith("error: the vocals need espeak-ng and flite; install")


def test_a_missing_vocoder_library_is_named(monkeypatch: pytest.MonkeyPatch, voices: Voices):
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(CorpusError, match="pyworld-prebuilt"):
        check_synthesisers()
