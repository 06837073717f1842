"""The synthetic corpus: determinism, honest attributes and captions, styles that differ, errors."""

import functools
import itertools
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile

from train.corpus import render, vocabulary
from train.corpus.__main__ import main
from train.corpus.attributes import describe
from train.corpus.captions import write_captions
from train.corpus.compose import STYLES, Note, Part, Score, compose
from train.corpus.compose.harmony import parse_chord, parse_progression, voice
from train.corpus.compose.instruments import INSTRUMENTS, KITS
from train.corpus.errors import CorpusError
from train.corpus.generate import CAPTIONS_PER_TRACK, CorpusConfig, TrackMaker, generate
from train.corpus.render import Renderer, find_sound_font
from train.corpus.sound_fonts import check_sound_font
from train.corpus.templates import FAMILIES, SPLITS

CLIP_S = 3.0


@pytest.fixture(scope="module")
def renderer(sound_font: Path) -> Renderer:
    return Renderer(sound_font, sample_rate_hz=16_000)


@pytest.fixture(scope="module")
def run_of_ten(sound_font: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    argv = ["--out", out, "--tracks", 10, "--seed", 5, "--seconds", CLIP_S, "--workers", 2]
    assert main([str(value) for value in [*argv, "--soundfont", sound_font]]) == 0
    return out


def _rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def _config(out: Path, sound_font: Path, **changes) -> CorpusConfig:
    return CorpusConfig(out=out, tracks=10, seed=5, sound_fonts=(sound_font,), seconds=CLIP_S, **changes)


@functools.cache
def _composed(name: str, i: int) -> Score:
    return compose(Random(f"{name}/{i}"), seconds=6.0, style=name)


def _scores(count: int) -> list[Score]:
    """`count` compositions of every style."""
    return [_composed(name, i) for name in STYLES for i in range(count)]


# --- determinism


def test_one_worker_makes_the_bytes_of_two(run_of_ten: Path, sound_font: Path, tmp_path: Path):
    rows = list(generate(_config(tmp_path, sound_font), workers=1))
    assert rows == _rows(run_of_ten)
    for row in rows:
        assert (tmp_path / row["audio"]).read_bytes() == (run_of_ten / row["audio"]).read_bytes()


class Dying:
    def __init__(self, config: CorpusConfig) -> None: ...

    def make(self, index: int) -> dict:
        os._exit(1)


def test_a_process_that_dies_ends_the_run_in_one_sentence(tmp_path: Path):
    config = _config(tmp_path, tmp_path / "none.sf2")
    with pytest.raises(CorpusError, match=r"a process that renders died.* fewer --workers"):
        list(generate(config, workers=2, maker=Dying))


def test_a_track_alone_has_the_bytes_it_has_in_a_run(run_of_ten: Path, sound_font: Path, tmp_path: Path):
    row = TrackMaker(_config(tmp_path, sound_font)).make(7)
    assert row == _rows(run_of_ten)[7]
    assert (tmp_path / row["audio"]).read_bytes() == (run_of_ten / row["audio"]).read_bytes()


def test_rendering_does_not_depend_on_what_was_rendered_before(renderer: Renderer):
    scores = [compose(Random(i), seconds=2.0, style=name) for i, name in enumerate(list(STYLES)[:6])]
    first = [renderer.render(score, seed=i) for i, score in enumerate(scores)]
    for i in (3, 0, 5, 1, 4, 2):
        np.testing.assert_array_equal(renderer.render(scores[i], seed=i), first[i])


def test_seed_and_split_change_the_music(sound_font: Path, tmp_path: Path):
    train, test = (TrackMaker(_config(tmp_path, sound_font, split=split)).make(0) for split in ("train", "test"))
    assert train["track_id"] != test["track_id"]
    assert train["attributes"] != test["attributes"]


# --- manifest


def test_manifest_rows_are_valid(run_of_ten: Path):
    for row in _rows(run_of_ten):
        assert row["split"] == "train"  # the first 18 of 20
        assert row["caption_styles"][0] == "sentence"
        assert set(row["caption_styles"]) == {"sentence", "tags", "title"}
        assert len(row["captions"]) == len(row["caption_styles"]) == len(set(row["captions"])) == CAPTIONS_PER_TRACK
        assert row["labels"][0] == row["attributes"]["style"]
        info = soundfile.info(run_of_ten / row["audio"])
        assert (info.samplerate, info.channels, info.subtype, info.format) == (16_000, 1, "PCM_16", "FLAC")
        assert info.frames == CLIP_S * 16_000


def test_auto_splits_are_90_5_5_and_do_not_depend_on_the_number_of_tracks(tmp_path: Path):
    config = CorpusConfig(out=tmp_path, tracks=200, seed=1, sound_fonts=(tmp_path,))
    splits = [config.split_of(i) for i in range(200)]
    assert [splits.count(split) for split in SPLITS] == [180, 10, 10]
    assert splits[:40] == [replace(config, tracks=40).split_of(i) for i in range(40)]


def test_every_style_comes_once_in_each_block(tmp_path: Path):
    config = CorpusConfig(out=tmp_path, tracks=2 * len(STYLES), seed=1, sound_fonts=(tmp_path,))
    styles = [config.style_of(i) for i in range(2 * len(STYLES))]
    assert set(styles[: len(STYLES)]) == set(styles[len(STYLES) :]) == set(STYLES)
    assert styles[: len(STYLES)] != styles[len(STYLES) :]


# --- composing


def test_scores_are_playable():
    for score in _scores(3):
        assert len(score.parts) <= 15
        sounding = [part.notes for part in score.parts] + ([score.vocals.notes] if score.vocals else [])
        low, high = STYLES[score.style].tempo_bpm
        assert low <= score.tempo_bpm <= high
        assert min(note.start for notes in sounding for note in notes) <= 0.4
        for part in score.parts:
            held: dict[int, float] = {}
            for note in part.notes:
                assert 1 <= note.velocity <= 127
                assert note.start >= held.get(note.pitch, 0.0)  # a key is up before it goes down
                assert note.start + note.length <= score.seconds + 1e-6
                held[note.pitch] = note.start + note.length
            if part.role != "drums":
                instrument = INSTRUMENTS[part.instrument]
                assert all(instrument.low <= note.pitch <= instrument.high for note in part.notes)


def test_every_style_uses_only_its_own_players():
    for score in _scores(4):
        layers = STYLES[score.style].layers
        for part in score.parts:
            assert any(part.role == layer.role and part.instrument in layer.instruments for layer in layers)


def test_required_layers_play_unless_the_clip_is_a_solo():
    for score in _scores(3):
        required = {layer.role for layer in STYLES[score.style].layers if layer.chance == 1.0}
        if len(score.parts) > 1:
            assert required & {part.role for part in score.parts} or not required


def test_roles_are_sometimes_absent_and_sometimes_alone():
    facts = [describe(score) for score in _scores(5)]
    share = {
        "no drums": np.mean([fact.drums is None for fact in facts]),
        "no bass": np.mean([fact.bass is None for fact in facts]),
        "no lead": np.mean([not fact.lead for fact in facts]),
        "solo": np.mean([fact.ensemble == "solo" for fact in facts]),
    }
    assert all(0.08 < value < 0.7 for value in share.values()), share


def _features(score: Score) -> np.ndarray:
    """Where in the bar each role plays, how long, how high, which drums: no instrument names."""
    bar_s = 60 / score.tempo_bpm * 4
    vector = []
    for role in ("lead", "comping", "bass", "drums"):
        notes = [note for part in score.parts if part.role == role for note in part.notes]
        phase = np.bincount([round(note.start / bar_s * 16) % 16 for note in notes], minlength=16)
        # The clip starts at a bar, unless its first note was late.
        vector += list(phase / max(1, len(notes)) * 3)
        lengths = [note.length / bar_s for note in notes] or [0.0]
        vector += [len(notes) / score.seconds / 8, min(2.0, float(np.mean(lengths)) * 4)]
        if role == "drums":
            keys = np.bincount([note.pitch - 35 for note in notes], minlength=60)[:60]
            vector += list(keys / max(1, len(notes)) * 3)
        else:
            intervals = np.bincount([(note.pitch - score.tonic) % 12 for note in notes], minlength=12)
            vector += list(intervals / max(1, len(notes)) * 2)
    return np.array([*vector, score.tempo_bpm / 40])


def test_styles_are_recognisable_from_their_notes():
    """Nearest centroid on where, how long and what is played: far above chance (1 in 81)."""
    names = list(STYLES)
    known, unknown = (
        np.array([[_features(compose(Random(f"{name}{salt}{i}"), seconds=6, style=name)) for i in range(count)]
                  for name in names])
        for salt, count in (("known", 8), ("unknown", 3))
    )  # fmt: skip
    centroids = known.mean(axis=1)
    distance = np.linalg.norm(unknown[:, :, None] - centroids, axis=-1)
    accuracy = np.mean(distance.argmin(axis=-1) == np.arange(len(names))[:, None])
    assert len(names) >= 28
    assert accuracy > 0.5, accuracy


@pytest.mark.parametrize(
    ("symbol", "root", "intervals"),
    [("I", 0, (0, 4, 7)), ("ii7", 2, (0, 3, 7, 10)), ("bVII", 10, (0, 4, 7)), ("iim7b5", 2, (0, 3, 6, 10)),
     ("V7b9", 7, (0, 4, 7, 10, 13)), ("#IVo7", 6, (0, 3, 6, 9))],
)  # fmt: skip
def test_chord_symbols(symbol: str, root: int, intervals: tuple[int, ...]):
    assert parse_chord(symbol) == (root, intervals)


def test_unknown_chord_is_refused():
    with pytest.raises(ValueError, match="'H7' is not a Roman numeral"):
        parse_progression("I H7")
    with pytest.raises(ValueError, match="unknown quality 'foo'"):
        parse_chord("Ifoo")


def test_close_voicing_keeps_common_tones():
    tonic, subdominant = (voice(parse_chord(s), tonic=0, centre=60) for s in ("I", "IV"))
    assert set(tonic) & set(subdominant) == {60}
    assert all(54 <= key < 66 for key in tonic + subdominant)


# --- rendering


def test_every_style_sounds_at_a_sensible_level(renderer: Renderer):
    for name in STYLES:
        score = replace(compose(Random(f"level {name}"), seconds=CLIP_S, style=name), vocals=None)
        if not score.parts:  # what is only sung is in test_voices.py
            continue
        waveform = renderer.render(score, seed=1)
        assert waveform.dtype == np.float32
        assert waveform.shape == (CLIP_S * 16_000,)
        assert np.abs(waveform).max() <= 0.96
        level_dbfs = 20 * np.log10(np.sqrt(np.mean(waveform**2)))
        assert -32 < level_dbfs < -10, (name, level_dbfs)
        start = np.argmax(np.abs(waveform) > 0.003) / 16_000
        assert start <= 0.5, (name, start)


def test_each_part_is_audible(renderer: Renderer):
    """A score without one of its parts sounds different: no instrument is silent."""
    for name in ("swing jazz", "hard rock", "gamelan", "trap", "symphonic orchestra"):
        score = compose(Random(f"parts {name}"), seconds=CLIP_S, style=name)
        for part in score.parts:
            alone = renderer._play(replace(score, parts=(part,)))
            assert 20 * np.log10(np.sqrt(np.mean(alone**2)) + 1e-9) > -65, (name, part.instrument)


def test_no_note_sticks(renderer: Renderer):
    score = compose(Random("stuck"), seconds=8.0, style="techno")
    early = tuple(
        replace(part, notes=tuple(n._replace(length=min(n.length, 0.3)) for n in part.notes if n.start < 1.0))
        for part in score.parts
    )
    waveform = renderer._play(replace(score, parts=early))
    assert np.abs(waveform[: len(waveform) // 4]).max() > 0.01
    assert np.abs(waveform[-len(waveform) // 4 :]).max() < 1e-3


def test_downsampling_keeps_pitch_and_removes_what_is_above_nyquist(renderer: Renderer):
    rate, seconds = 32_000, 1.0
    time_s = np.arange(int(rate * seconds)) / rate
    dry_room = Score("swing jazz", seconds, 120.0, "4/4", "major", 0, "swing", (), 0.0, 0.0)
    levels = {}
    for tone_hz in (1_000, 7_990, 12_000):
        tone = np.sin(2 * np.pi * tone_hz * time_s).astype(np.float32)
        out = renderer._produce(tone, score=dry_room, samples=16_000, rng=np.random.default_rng(0))
        levels[tone_hz] = np.sqrt(np.mean(out**2))
        if tone_hz == 1_000:
            assert np.argmax(np.abs(np.fft.rfft(out))) == 1_000
    assert levels[7_990] < 0.05 * levels[1_000]  # rolled off before the edge, so that nothing rings
    assert levels[12_000] < 0.01 * levels[1_000]


# --- attributes


def _score(*parts: Part, tempo_bpm: float = 120.0, mode: str = "major", style: str = "swing jazz") -> Score:
    return Score(style, 10.0, tempo_bpm, "4/4", mode, 0, "swing", parts, 0.3, 0.1)


def _part(role: str, instrument: str, *, every_s: float, length_s: float) -> Part:
    notes = tuple(Note(i * every_s, length_s, 60, 90) for i in range(int(10 / every_s)))
    return Part(role, instrument, "test", notes, 100)


def test_attributes_of_a_known_score():
    facts = describe(
        _score(
            _part("lead", "trumpet", every_s=1.0, length_s=0.2),
            _part("comping", "piano", every_s=1.0, length_s=0.9),
            tempo_bpm=60,
            mode="minor",
        )
    )
    assert (facts.lead, facts.comping, facts.bass, facts.drums) == (("trumpet",), ("piano",), None, None)
    assert (facts.tempo, facts.tonality, facts.ensemble) == ("slow", "minor", "duo")
    assert (facts.density, facts.articulation, facts.energy, facts.mood) == (
        "sparse",
        "staccato",
        "low",
        "sad",
    )


def test_attributes_list_exactly_what_sounds():
    for score in _scores(3):
        facts = describe(score)
        assert set(facts.instruments) == {part.instrument for part in score.parts}
        assert (facts.drums is not None) == any(part.role == "drums" for part in score.parts)
        assert (facts.bass is not None) == any(part.role == "bass" for part in score.parts)


# --- captions


def test_vocabulary_is_complete():
    assert set(vocabulary.STYLES) == set(STYLES)
    assert set(vocabulary.INSTRUMENTS) == set(INSTRUMENTS)
    assert set(vocabulary.DRUMS) == set(KITS)
    feels = {style.rhythm for style in STYLES.values()} - {"straight"}
    assert feels == set(vocabulary.RHYTHM) == set(vocabulary.RHYTHM_TAGS)
    for words in vocabulary.STYLES.values():
        assert all(len(phrases) >= 3 for phrases in words)


def _skeletons(template: str) -> set[str]:
    """All texts with slots that a template can yield, its options in and out."""
    pieces = re.split(r"(\[[^]]*\]|\([^()]*\|[^()]*\))", template)
    choices = []
    for piece in pieces:
        if piece.startswith("["):
            choices.append(("", piece[1:-1]))
        elif piece.startswith("(") and "|" in piece:
            choices.append(tuple(piece[1:-1].split("|")))
        else:
            choices.append((piece,))
    return {"".join(parts).lower().removesuffix(".") for parts in itertools.product(*choices)}


@pytest.mark.parametrize("kind", list(FAMILIES))
def test_template_families_are_disjoint(kind: str):
    skeletons = {split: set().union(*map(_skeletons, FAMILIES[kind][split])) for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not skeletons[one] & skeletons[other]


def test_captions_of_one_split_never_appear_in_another():
    texts: dict[str, set[str]] = {split: set() for split in SPLITS}
    for i, score in enumerate(_scores(4)):
        facts = describe(score)
        for split in SPLITS:
            captions = write_captions(facts, split=split, count=6, rng=Random(i))
            assert {caption.template.split("/")[0] for caption in captions} == {split}
            assert captions[0].kind == "sentence"
            texts[split] |= {caption.text.lower().removesuffix(".") for caption in captions}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not texts[one] & texts[other]


def test_every_template_is_used():
    used = set()
    a_cappella = [_composed(name, i) for name in ("choral", "gospel", "unaccompanied solo") for i in range(20)]
    for i, score in enumerate(_scores(5) + a_cappella):
        facts = describe(score)
        for split in SPLITS:
            used |= {caption.template for caption in write_captions(facts, split=split, count=8, rng=Random(i))}
    expected = {
        f"{split}/{kind}/{i}"
        for kind, families in FAMILIES.items()
        for split, templates in families.items()
        for i in range(len(templates))
    }
    assert expected - used == set()


_ABSENCE = re.compile("|".join(sorted(map(re.escape, vocabulary.NO_DRUMS + vocabulary.NO_BASS), key=len, reverse=True)))
_GENRES = re.compile(r"synth pop|drum and bass|drum'n'bass|piano music|mere percussion|horn of|string of")


def test_captions_name_no_instrument_that_is_absent():
    owners: dict[str, set[str]] = {}
    for name, phrases in (*vocabulary.INSTRUMENTS.items(), *vocabulary.DRUMS.items()):
        for phrase in phrases:
            owners.setdefault(re.sub("^a ", "", phrase.lower()), set()).add(name)
    # What contains a word is one: a jazz guitar is a guitar, and a double bass is a bass.
    for phrase, other in itertools.permutations(owners, 2):
        if re.search(rf"\b{re.escape(phrase)}\b", other):
            owners[phrase] |= owners[other]
    owners["bass"] |= {name for layer in _layers("bass") for name in layer.instruments}
    owners["strings"] |= {"violin", "viola", "cello", "fiddle"}
    owners["brass"] |= {"french horn"}
    owners["percussion"] |= set(KITS)
    owners["drums"] |= set(KITS)
    owners["drummer"] |= set(KITS)
    patterns = {phrase: re.compile(rf"\b{re.escape(phrase)}\b") for phrase in owners}
    for i, score in enumerate(_scores(3)):
        facts = describe(score)
        heard = {*facts.instruments, *(("choir", "humming voices") if facts.voice else ())}
        for split in SPLITS:
            for caption in write_captions(facts, split=split, count=6, rng=Random(i)):
                text = _GENRES.sub("", _ABSENCE.sub("", caption.text.lower()))
                absent = {
                    phrase
                    for phrase, pattern in patterns.items()
                    if pattern.search(text) and not owners[phrase] & heard
                }
                assert not absent, (caption.text, absent, facts.instruments)


def _layers(role: str):
    return [layer for style in STYLES.values() for layer in style.layers if layer.role == role]


def test_absence_is_said_only_of_what_is_absent():
    said = 0
    for i, score in enumerate(_scores(5)):
        facts = describe(score)
        for caption in write_captions(facts, split="train", count=6, rng=Random(i)):
            text = caption.text.lower()
            if any(phrase in text for phrase in vocabulary.NO_DRUMS) and "drum" in text:
                said += 1
                assert facts.drums is None, caption.text
            if any(phrase in text for phrase in vocabulary.NO_BASS):
                assert facts.bass is None, caption.text
    assert said > 20


# --- errors


def test_no_sound_font_names_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    monkeypatch.setattr(render, "SYSTEM_SOUND_FONTS", (str(tmp_path / "none.sf2"),))
    with pytest.raises(CorpusError, match="apt-get install fluidsynth fluid-soundfont-gm"):
        find_sound_font()
    assert main(["--out", str(tmp_path), "--tracks", "1", "--seed", "1"]) == 1
    assert capsys.readouterr().err.startswith("error: found no General MIDI sound font")


def test_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch, sound_font: Path):
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(CorpusError, match="apt-get install fluidsynth"):
        Renderer(sound_font, sample_rate_hz=16_000)


def test_a_file_that_is_no_sound_font_is_refused(tmp_path: Path, capsys):
    (tmp_path / "notes.sf2").write_text("hello")
    with pytest.raises(CorpusError, match=r"notes\.sf2 is not a sound font"):
        check_sound_font(tmp_path / "notes.sf2")
    argv = ["--out", str(tmp_path), "--tracks", "1", "--seed", "1", "--soundfont", str(tmp_path / "gone.sf2")]
    assert main(argv) == 1
    assert "gone.sf2 does not exist" in capsys.readouterr().err


def test_a_damaged_sound_font_is_refused(tmp_path: Path, sound_font: Path):
    damaged = tmp_path / "damaged.sf2"
    damaged.write_bytes(b"RIFF\x10\x00\x00\x00sfbk" + bytes(64))
    with pytest.raises(CorpusError, match="cannot read the sound font"):
        Renderer(damaged, sample_rate_hz=16_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"tracks": 0}, "--tracks is 0"), ({"seconds": 0.5}, "--seconds is 0.5"),
     ({"sample_rate_hz": 1000}, "--sample-rate is 1000 Hz"), ({"split": "dev"}, "--split is 'dev'")],
)  # fmt: skip
def test_bad_numbers_are_refused(change: dict, message: str, tmp_path: Path):
    values = {"out": tmp_path, "tracks": 1, "seed": 1, "sound_fonts": (tmp_path,), **change}
    with pytest.raises(ValueError, match=message):
        CorpusConfig(**values)
