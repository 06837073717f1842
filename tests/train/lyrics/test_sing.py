"""Made songs: every word is sung on notes of its own, in tune, and the manifest says when."""

import json
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
import pytest

from singing.alphabet import plain_text
from train.corpus.compose import Note as ScoreNote
from train.corpus.compose.vocals import RANGES
from train.corpus.errors import CorpusError
from train.corpus.voices.perform import sing
from train.corpus.voices.speech import FRAME_SAMPLES, RATE_HZ, SINGERS, check_synthesisers, utter
from train.corpus.voices.vocoder import Unison, synthesise
from train.data.audio import load_part
from train.lyrics.__main__ import main
from train.lyrics.sing.songs import (
    LEAST_NOTE_S,
    SUNG_STYLES,
    TEST_VOICES,
    SongMaker,
    SongsConfig,
    compose_song,
    draw_singer,
    set_lines,
)
from train.lyrics.sing.syllables import count_vowels, speak_syllables
from train.lyrics.sing.texts import draw_line, read_lines
from train.lyrics.songs import read_songs
from train.lyrics.windows import cut_windows

BOOK = (
    "He loved the little river, and the river loved him. In 1895 she went away!\n\nAll the long night\nthey waited; oh"
)


@pytest.fixture(scope="module")
def spoken() -> None:
    try:
        check_synthesisers()
    except CorpusError as error:
        pytest.skip(f"singing needs speech synthesisers: {error}")


def notes(*starts: float, length: float = 0.5, key: int = 60) -> list[ScoreNote]:
    return [ScoreNote(start, length, key, 90) for start in starts]


def letters(word: str) -> list[str]:
    """One syllable per letter, so that the tests can see which is where."""
    return list(word)


def lines_of(*lines: str):
    coming = iter([*lines, *["zz"] * 100])
    return lambda: next(coming)


def test_words_are_set_a_syllable_a_note():
    setting = set_lines(notes(0, 0.5, 1.0, 1.5), draw=lines_of("a bcd"), speak=letters)
    assert [(word.text, word.start_s, word.end_s) for word in setting.words] == [("a", 0, 0.5), ("bcd", 0.5, 2.0)]
    assert "".join(setting.syllables) == "abcd"


def test_a_word_that_does_not_fit_waits_for_the_next_phrase():
    """Two phrases of three notes: after "ab" there is one note left, which is not sung."""
    setting = set_lines(notes(0, 0.5, 1.0, 5.0, 5.5, 6.0), draw=lines_of("ab cd e"), speak=letters)
    assert [(word.text, word.start_s) for word in setting.words] == [("ab", 0), ("cd", 5.0), ("e", 6.0)]
    assert [note.start for note in setting.notes] == [0, 0.5, 5.0, 5.5, 6.0]


def test_a_word_longer_than_a_phrase_crosses_the_breath():
    setting = set_lines(notes(0, 0.5, 5.0, 5.5), draw=lines_of("abc d"), speak=letters)
    assert [word.text for word in setting.words] == ["abc", "d"]
    assert set_lines(notes(0, 0.5), draw=lines_of("abc"), speak=letters).words == ()


def test_notes_without_room_are_not_sung():
    melody = [*notes(0, 0.5), ScoreNote(0.55, 0.5, 62, 90), ScoreNote(1.5, LEAST_NOTE_S / 2, 62, 90), *notes(2.0)]
    setting = set_lines(melody, draw=lines_of("abc"), speak=letters)
    assert [note.start for note in setting.notes] == [0, 0.5, 2.0]
    assert all(a.start + a.length <= b.start for a, b in zip(setting.notes, setting.notes[1:], strict=False))


def test_lines_of_a_book(tmp_path: Path):
    book = tmp_path / "book.txt"
    book.write_text(BOOK, encoding="utf-8")
    found = {}
    for split in ("train", "val", "test"):
        with suppress(CorpusError):  # three lines do not go into each split
            found[split] = read_lines([book], split=split)
    everything = sorted(line for lines in found.values() for line in lines)
    assert everything == [
        "all the long night they waited",
        "and the river loved him",
        "he loved the little river",
    ]


def test_splits_of_a_book_share_no_line(tmp_path: Path):
    book = tmp_path / "book.txt"
    rng = Random(0)
    words = ["love", "sea", "night", "gone", "river", "away", "my", "the", "so"]
    book.write_text(". ".join(" ".join(rng.choices(words, k=5)) for _ in range(2000)), encoding="utf-8")
    train, val, test = (set(read_lines([book], split=split)) for split in ("train", "val", "test"))
    assert not train & val | train & test | val & test
    assert 0.75 < len(train) / len(train | val | test) < 0.85
    short = tmp_path / "short.txt"
    short.write_text("one word. or, none", encoding="utf-8")
    with pytest.raises(CorpusError, match="no phrase of 2 to 9 words for the split val"):
        read_lines([short], split="val")
    with pytest.raises(CorpusError, match="UTF-8"):
        read_lines([tmp_path / "none.txt"], split="train")


def test_common_words_are_drawn_without_a_book():
    lines = [draw_line(None, rng=Random(seed)) for seed in range(50)]
    assert lines == [plain_text(line) for line in lines]
    assert len({word for line in lines for word in line.split()}) > 100


@pytest.mark.parametrize(("word", "count"), [("love", 1), ("river", 2), ("beautiful", 3), ("being", 2), ("don't", 1)])
def test_vowels(spoken: None, word: str, count: int):
    assert count_vowels(word) == count


def test_syllables_are_the_whole_word(spoken: None):
    for singer in (SINGERS[0], SINGERS[8]):
        whole = utter(singer, "beautiful")
        parts = speak_syllables(singer, "beautiful")
        assert len(parts) == 3, singer
        np.testing.assert_array_equal(np.concatenate([part.f0_hz for part in parts]), whole.f0_hz)
        for part in parts:
            start, end = part.nucleus
            assert np.exp(2 * part.log_envelope[start:end]).mean() == pytest.approx(1, rel=1e-3)
    assert len(speak_syllables(SINGERS[0], "love")) == 1


@pytest.mark.parametrize("voice", ["slt", "en-us+m3"])
def test_words_are_sung_in_tune(spoken: None, voice: str):
    import pyworld

    singer = next(singer for singer in SINGERS if singer.voice == voice)
    melody = [ScoreNote(0.3 + 0.6 * i, 0.55, key, 96) for i, key in enumerate((57, 60, 64, 62, 57, 59))]
    setting = set_lines(melody, draw=lines_of("my river away oh"), speak=lambda word: speak_syllables(singer, word))
    assert len(setting.words) == 4
    track = sing(setting.notes, setting.syllables, seconds=4.2, breath=utter(singer, "ha"), rng=Random(1))
    sound = synthesise(track, [Unison()], np.random.default_rng(0)).astype(np.float64)
    f0_hz, _ = pyworld.dio(sound, RATE_HZ, frame_period=1000 * FRAME_SAMPLES / RATE_HZ)
    for note in setting.notes:
        middle = slice(round((note.start + 0.1) * 200), round((note.start + 0.4) * 200))
        heard = f0_hz[middle][f0_hz[middle] > 0]
        assert 69 + 12 * np.log2(np.median(heard) / 440) == pytest.approx(note.pitch, abs=0.5)


def test_a_test_has_voices_of_its_own():
    for who in ("male", "female"):
        voices = {
            split: {draw_singer(who, split=split, rng=Random(seed)).voice for seed in range(200)}
            for split in ("train", "val", "test")
        }
        assert voices["train"] == voices["val"]
        assert len(voices["train"]) >= 3
        assert voices["test"]
        assert voices["test"] <= set(TEST_VOICES)
        assert not voices["test"] & voices["train"]


def test_a_song_has_a_singer():
    assert len(SUNG_STYLES) > 15
    for seed in range(5):
        vocals = compose_song(Random(seed), seconds=8.0).vocals
        assert vocals.manner == "singing"
        low, high = RANGES[vocals.who][1:]
        assert all(low <= note.pitch <= high for note in vocals.notes)


def test_made_songs_are_read_and_the_same_every_time(spoken: None, sound_font: Path, tmp_path: Path):
    book = tmp_path / "book.txt"
    book.write_text(BOOK * 2, encoding="utf-8")
    made = tmp_path / "made"
    options = ["--tracks", "2", "--seed", "3", "--seconds", "6", "--split", "train", "--workers", "1"]
    assert main(["make", "--out", str(made), *options, "--texts", str(book)]) == 0
    songs = read_songs(made / "manifest.jsonl", split="train")
    allowed = set(plain_text(BOOK).split())
    for song in songs:
        assert song.words
        assert song.notes
        assert set(song.text.split()) <= allowed
        for word in song.words:
            assert any(abs(note.start_s - word.start_s) < 1e-3 for note in song.notes)
        assert max(note.end_s for note in song.notes) <= 6.0
        assert len(cut_windows(song, window_s=16.0)) == 1
        assert np.abs(load_part(song.audio, sample_rate_hz=RATE_HZ, start=0, samples=6 * RATE_HZ)).max() > 0.01
    lines = (made / "manifest.jsonl").read_text().splitlines()
    again = SongMaker(
        SongsConfig(tmp_path / "again", 2, 3, (sound_font,), seconds=6.0, split="train", texts=(book,))
    ).make(1)
    assert again == json.loads(lines[1])
    assert (tmp_path / "again" / again["audio"]).read_bytes() == songs[1].audio.read_bytes()


def test_a_text_that_is_not_there_is_one_sentence(spoken: None, sound_font: Path, tmp_path: Path, capsys):
    for workers in ("1", "2"):
        options = ["--out", str(tmp_path), "--tracks", "2", "--seed", "0", "--workers", workers]
        assert main(["make", *options, "--texts", str(tmp_path / "no.txt")]) == 2
        assert "error: cannot read the text" in capsys.readouterr().err
