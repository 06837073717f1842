"""Songs of a manifest, and their windows."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from singing.alphabet import decode
from singing.sung import NO_PITCH, Note, Word
from train.config import FrontendConfig
from train.data.audio import AudioDecodeError, load_part
from train.data.manifest import ManifestError
from train.lyrics.songs import Song, read_songs
from train.lyrics.windows import (
    OVERLAP_S,
    WindowSet,
    collate,
    cut_windows,
    find_gap,
    fit_to_recording,
    melody_frames,
)

RATE_HZ = 16_000
FRONTEND = FrontendConfig(window_s=1.6, n_fft=512, hop_samples=256, n_mels=16, f_min_hz=0.0)


def song(*words: tuple[float, float, str], notes: tuple[Note, ...] | None = ()) -> Song:
    return Song("s", Path("s.flac"), None, tuple(Word(*word) for word in words), notes)


def write_manifest(folder: Path, **values: object) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text(json.dumps({"audio": "a.flac", "split": "train", **values}) + "\n", encoding="utf-8")
    return path


def test_a_song_is_read(tmp_path: Path):
    manifest = write_manifest(
        tmp_path,
        voice="v.flac",
        words=[[2, 3, "Don\u2019t!"], [0.5, 1, "Oh"], [1, 2, "-"]],
        notes=[[2, 3, 65], [0.5, 1, 64]],
    )
    (read,) = read_songs(manifest, split="train")
    assert read.audio == tmp_path / "a.flac"
    assert read.voice == tmp_path / "v.flac"
    assert read.text == "oh don't"
    assert read.notes == (Note(0.5, 1, 64), Note(2, 3, 65))


def test_speech_is_a_text_without_times_and_notes(tmp_path: Path):
    (read,) = read_songs(write_manifest(tmp_path, words="He was NOT there."), split="train")
    assert (read.text, read.notes) == ("he was not there", None)
    (window,) = cut_windows(read, window_s=16.0)
    assert (window.start_s, window.sound_s, window.text) == (0.0, 16.0, "he was not there")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "words is None"),
        ({"words": [[1, "love"]]}, "start, end, what is sung"),
        ({"words": [[2, 1, "love"]]}, "0 <= start < end"),
        ({"words": [[1, 2, 3]]}, "a word is 3"),
        ({"words": [], "notes": [[1, 2, 200]]}, "MIDI key"),
        ({"words": [], "notes": [[1, 2, 60.5]]}, "MIDI key"),
        ({"words": [], "voice": 3}, "voice is 3"),
    ],
)
def test_a_wrong_row_is_one_sentence(tmp_path: Path, values: dict[str, object], message: str):
    with pytest.raises(ManifestError, match=message):
        read_songs(write_manifest(tmp_path, **values), split="train")


def test_windows_split_no_word():
    """Three words of a second in windows of 1.6 s: one each; the next word is silenced where it would begin."""
    windows = cut_windows(song((0.5, 1.5, "one"), (1.6, 2.6, "two"), (9, 10, "six")), window_s=1.6)
    assert [window.text for window in windows] == ["one", "two", "six"]
    assert [window.start_s for window in windows] == [0.25, 1.5, 8.75]
    assert [window.sound_s for window in windows] == [pytest.approx(1.25), pytest.approx(1.6), pytest.approx(1.6)]


def test_windows_have_all_words_once():
    rng = np.random.default_rng(0)
    starts = np.cumsum(rng.uniform(0.2, 1.0, 200))
    words = [(start, start + 0.19, f"w{'a' * place}") for place, start in enumerate(starts)]
    windows = cut_windows(song(*words), window_s=4.0)
    assert " ".join(window.text for window in windows) == song(*words).text
    for before, after in pairwise(windows):
        assert before.start_s + before.sound_s <= after.start_s + 1e-9
    assert len(windows) < 200 / 3


def test_a_word_longer_than_a_window_is_left_out():
    """Nor is its end in the window of the next word."""
    windows = cut_windows(song((0, 1, "a"), (2, 9, "ooooh"), (9.1, 11, "b")), window_s=4.0)
    assert [window.text for window in windows] == ["a", "b"]
    assert windows[1].start_s == 9


def test_a_word_may_end_after_the_next_one():
    windows = cut_windows(song((0.5, 1.8, "ooh"), (0.9, 1.2, "hey"), (1.9, 2.9, "you")), window_s=1.6)
    assert [window.text for window in windows] == ["ooh hey", "you"]
    assert windows[1].start_s == 1.8


def test_what_overlaps_a_word_that_is_left_out_is_left_out():
    """Its sound would be in their window without being in the text, or their own beginning would be missing."""
    longer = (1, 40, "ooooh"), (5, 6, "b"), (7, 8, "c"), (41, 42, "d")
    assert [(window.start_s, window.text) for window in cut_windows(song(*longer), window_s=16.0)] == [(40.75, "d")]
    two = (0.5, 15, "a"), (14, 17, "b"), (17, 18, "c")
    assert [(window.start_s, window.text) for window in cut_windows(song(*two), window_s=16.0)] == [(17, "c")]


def test_words_whose_times_touch_are_not_one():
    """Forty words of a second, each of which ends a little after the next begins."""
    windows = cut_windows(song(*[(start, start + 1 + 0.9 * OVERLAP_S, "la") for start in range(40)]), window_s=16.0)
    assert [window.text.split() for window in windows] == [["la"] * 15, ["la"] * 15, ["la"] * 10]
    assert [window.start_s for window in windows] == [0, 15, 30]


def test_windows_of_any_words_hold_them_whole():
    """Words of any length that may overlap: each is wholly in its window or wholly out of all."""
    rng = np.random.default_rng(3)
    for _ in range(100):
        starts = np.sort(rng.uniform(0, 60, 30))
        words = [(s, s + rng.choice([0.3, 1.0, 5.0]), f"w{'a' * place}") for place, s in enumerate(starts)]
        for window in cut_windows(song(*words), window_s=4.0):
            end_s = window.start_s + window.sound_s
            inside = [word for word in words if word[1] > window.start_s + OVERLAP_S and word[0] < end_s - OVERLAP_S]
            assert " ".join(word[2] for word in inside) == window.text
            assert min(word[0] for word in inside) >= window.start_s
            assert max(word[1] for word in inside) <= end_s + 1e-9


def test_what_is_past_the_end_of_a_recording_is_left_out():
    """A word stays if more than half of it is there, a note if it begins there; both end with the recording."""
    words = (18, 19, "on"), (19.5, 20.4, "and"), (19.8, 20.4, "and"), (21, 22, "on"), (25, 26, "on")
    notes = (Note(18, 19, 60), Note(19.9, 22, 61), Note(20, 21, 62))
    fitted, past_end = fit_to_recording(song(*words, notes=notes), length_s=20.0)
    assert fitted.words == (Word(18, 19, "on"), Word(19.5, 20, "and"))
    assert fitted.notes == (Note(18, 19, 60), Note(19.9, 20, 61))
    assert past_end == 4
    speech = Song("s", Path("s.flac"), None, (Word(0.0, 0.0, "he was"),), None)
    assert fit_to_recording(speech, length_s=20.0) == (speech, 0)


def test_the_longest_part_without_words_is_a_window_without_words():
    """Between 6 and 14 s there are notes without a word, so the longest part is the one after 20 s."""
    words, notes = ((5, 6, "on"), (14, 20, "and")), (Note(5, 6, 60), Note(9, 10, 60))
    gap = find_gap(song(*words, notes=notes), length_s=50.0, window_s=16.0)
    assert (gap.start_s, gap.sound_s, gap.text) == (27, 16, "")
    short = find_gap(song(*words, notes=notes), length_s=21.0, window_s=16.0)
    assert (short.start_s, short.sound_s) == (0, 4.75)
    assert find_gap(song((1, 2, "on"), notes=None), length_s=5.9, window_s=16.0) is None
    assert find_gap(song(notes=None), length_s=60.0, window_s=16.0) is None
    assert find_gap(Song("s", Path("s.flac"), None, (Word(0.0, 0.0, "he"),), None), length_s=9, window_s=16.0) is None


def test_melody_frames_by_hand():
    """Frames of 0.1 s from second 1: the first note has its middle in frames 2 to 4, the second from 5 on."""
    notes = [Note(1.22, 1.49, 60), Note(1.49, 3.0, 62), Note(0.0, 0.5, 70)]
    pitch, onset = melody_frames(notes, start_s=1.0, frames=8, frame_s=0.1)
    assert pitch.tolist() == [NO_PITCH, NO_PITCH, 60, 60, 60, 62, 62, 62]
    assert onset.nonzero()[0].tolist() == [2, 4]


def test_a_note_that_began_before_the_window_has_no_onset():
    pitch, onset = melody_frames([Note(0.5, 1.12, 60)], start_s=1.0, frames=3, frame_s=0.1)
    assert pitch.tolist() == [60, NO_PITCH, NO_PITCH]
    assert not onset.any()


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_part_is_what_the_whole_has_there(tmp_path: Path, suffix: str):
    path = tmp_path / f"noise.{suffix}"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE_HZ), RATE_HZ)
    whole = load_part(path, sample_rate_hz=RATE_HZ, start=0, samples=3 * RATE_HZ)
    part = load_part(path, sample_rate_hz=RATE_HZ, start=20_000, samples=5_000)
    np.testing.assert_allclose(part, whole[20_000:25_000], atol=1e-6)
    end = load_part(path, sample_rate_hz=RATE_HZ, start=47_000, samples=2_000)
    np.testing.assert_allclose(end[:1_000], whole[47_000:], atol=1e-6)
    assert not end[1_000:].any()
    with pytest.raises(AudioDecodeError, match="ends before 10 s"):
        load_part(path, sample_rate_hz=RATE_HZ, start=10 * RATE_HZ, samples=5)


def test_what_a_window_holds(tmp_path: Path):
    mixture = np.random.default_rng(1).uniform(-0.5, 0.5, 4 * RATE_HZ).astype(np.float32)
    soundfile.write(tmp_path / "m.wav", mixture, RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "v.wav", 0.5 * mixture, RATE_HZ, subtype="FLOAT")
    words = (Word(0.5, 1.0, "oh"), Word(2.0, 2.4, "my"))
    notes = (Note(0.5, 1.0, 60), Note(1.7, 2.4, 62))
    both = [Song("s", tmp_path / "m.wav", voice, words, notes) for voice in (tmp_path / "v.wav", None)]
    windows = [cut_windows(each, window_s=FRONTEND.window_s)[0] for each in both]
    items = WindowSet(windows, frontend=FRONTEND)
    separated, twice = items[0].waveforms, items[1].waveforms
    heard = round(windows[0].sound_s * RATE_HZ)
    np.testing.assert_array_equal(separated[0, :heard], mixture[4_000 : 4_000 + heard])
    np.testing.assert_array_equal(separated[1], 0.5 * separated[0])
    np.testing.assert_array_equal(twice[1], twice[0])
    waveforms, truth = collate([items[0], items[1]])
    assert waveforms.shape == (2, 2, FRONTEND.window_samples)
    assert truth.lengths.tolist() == [2, 2]
    assert decode(truth.characters.tolist()) == "ohoh"
    assert truth.sung.tolist() == [True, True]
    assert truth.onset[0].nonzero().flatten().tolist() == [int(0.25 / 0.016), int(1.45 / 0.016)]


@pytest.mark.parametrize(
    ("values", "sung", "noted"),
    [
        ({"words": [[0.1, 0.5, "oh"]], "notes": [[0.1, 0.5, 60]]}, True, True),
        ({"words": [[0.1, 0.5, "oh"]]}, True, False),
        ({"words": "oh", "notes": []}, True, True),
        ({"words": "oh"}, False, False),
    ],
)
def test_a_song_whose_notes_are_not_known_is_no_speech(tmp_path: Path, values: dict, sung: bool, noted: bool):
    soundfile.write(tmp_path / "a.flac", np.full(RATE_HZ, 0.5), RATE_HZ)
    (read,) = read_songs(write_manifest(tmp_path, **values), split="train")
    _, truth = collate([WindowSet(cut_windows(read, window_s=1.6), frontend=FRONTEND)[0]])
    assert (truth.sung.tolist(), truth.noted.tolist()) == ([sung], [noted])


def test_nothing_is_sung_where_a_window_is_silenced(tmp_path: Path):
    """Windows of 1.6 s: the second word begins inside of the first window, and its note must not be in it."""
    soundfile.write(tmp_path / "m.wav", np.full(3 * RATE_HZ, 0.5, np.float32), RATE_HZ)
    words, notes = (Word(0.5, 1.0, "oh"), Word(1.5, 2.4, "my")), (Note(0.5, 1.5, 60), Note(1.5, 2.4, 62))
    first = cut_windows(Song("s", tmp_path / "m.wav", None, words, notes), window_s=1.6)[0]
    assert first.sound_s == pytest.approx(1.0)
    item = WindowSet([first], frontend=FRONTEND)[0]
    assert item.waveforms[0].nonzero()[0].max() == RATE_HZ - 1
    assert item.onset.sum() == 1
    assert set(item.pitch.tolist()) == {60, NO_PITCH}
    assert np.flatnonzero(item.pitch == 60).max() == 61  # of 62 frames and a half: it would sound on, but is silenced
