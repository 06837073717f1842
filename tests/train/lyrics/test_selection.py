"""Songs whose notes fit are kept, with their notes in the right octave and key."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from singing.sung import NO_PITCH, Note
from tests.train.lyrics.tone_songs import RATE_HZ, SMALL, config, write_songs
from train.data.audio import StoreSilentError
from train.evaluate.errors import EvaluationError
from train.lyrics import selection
from train.lyrics.__main__ import main
from train.lyrics.checkpoint import load_lyrics_checkpoint
from train.lyrics.networks import LyricsModel
from train.lyrics.selection import Fit, best_shift, fit_notes, select_songs
from train.lyrics.songs import Song, read_songs

pytest.importorskip("jiwer")
pytest.importorskip("mir_eval")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs"), {"train": 16, "val": 4, "test": 4})


@pytest.fixture(scope="module")
def run(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "pitch"
    settings = [*SMALL, "model.method=pitch", "optim.epochs=8"]
    assert main(["train", "--data", str(songs), "--out", str(out), "--set", *settings]) == 0
    return out


def shifted(rows: list[dict], by: int) -> list[list[float]]:
    return [[start_s, end_s, key + by] for start_s, end_s, key in rows]


@pytest.fixture
def mixed(songs: Path) -> Path:
    """Right notes, notes an octave too low, notes a fourth too high, those of another song, none, and no recording."""
    rows = [json.loads(line) for line in songs.read_text().splitlines()][-4:]
    notes = [row["notes"] for row in rows]
    rows[1]["notes"], rows[2]["notes"] = shifted(notes[1], -12), shifted(notes[2], 5)
    rows[3]["notes"] = [[0.0, 0.15, 61], [0.75, 0.78, 66], [1.3, 1.38, 63], [1.9, 2.0, 64]]
    more = [{**rows[0], "track_id": "bare", "notes": None}, {**rows[0], "track_id": "gone", "audio": "none.wav"}]
    names = ["right", "low", "high", "wrong"]
    rows = [{**row, "track_id": name} for row, name in zip(rows, names, strict=True)] + more
    path = songs.parent / "mixed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_songs_that_fit_are_kept_with_moved_notes(run: Path, songs: Path, mixed: Path, tmp_path: Path, capsys):
    out = tmp_path / "made/selected.jsonl"
    true = {song.audio.name: song.notes for song in read_songs(songs, split="test")}
    assert main(["select", str(mixed), "--model", str(run), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "3 tracks in" in printed.out
    assert "semitones: 1 by -5, 1 by +0, 1 by +12" in printed.out
    assert "1 with more than 50% wrong frames, 1 without notes, 1 that cannot be decoded" in printed.out
    assert "left out: cannot decode" in printed.err
    kept = read_songs(out, split="test")
    assert [song.track_id for song in kept] == ["right", "low", "high"]
    assert all(song.notes == true[song.audio.name] and song.audio.is_file() for song in kept)
    row = json.loads(out.read_text().splitlines()[1])
    assert row["shift"] == 12
    assert 0 <= row["framewise_error"] < 0.3


def test_notes_past_the_end_are_dropped_and_counted(run: Path, songs: Path, tmp_path: Path, capsys):
    """A song that has no others is left out."""
    row = json.loads(songs.read_text().splitlines()[-1])
    row["audio"] = str(songs.parent / row["audio"])
    late = {**row, "notes": [*shifted(row["notes"], -12), [2.5, 3, 120], [60, 61, 60]]}
    gone = {**row, "track_id": "gone", "notes": [[60, 61, 60]]}
    (tmp_path / "late.jsonl").write_text(f"{json.dumps(late)}\n{json.dumps(gone)}\n")
    options = ["--model", str(run), "--out", str(tmp_path / "selected.jsonl")]
    assert main(["select", str(tmp_path / "late.jsonl"), *options]) == 0
    printed = capsys.readouterr().out
    assert "1 without notes" in printed
    assert "of the others 2 notes past the end of their recording" in printed
    (kept,) = (json.loads(line) for line in (tmp_path / "selected.jsonl").read_text().splitlines())
    assert (kept["shift"], kept["notes"]) == (12, row["notes"])


def test_a_script_can_read_why(run: Path, mixed: Path, tmp_path: Path, capsys):
    out = tmp_path / "selected.jsonl"
    options = ["--model", str(run), "--out", str(out), "--threshold", "1", "--json"]
    assert main(["select", str(mixed), *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {name: song["shift"] for name, song in said["songs"].items() if name != "wrong"} == {
        **{"right": 0, "low": 12, "high": -5}
    }
    assert all(song["kept"] for song in said["songs"].values())
    assert said["songs"]["wrong"]["error"] > 0.5
    assert said["without_notes"] == ["bare"]
    assert list(said["undecodable"]) == ["gone"]


def test_a_store_that_does_not_answer_leaves_no_song_out(
    run: Path, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    def length(path: Path, *, sample_rate_hz: int) -> int:
        if path.name == "none.wav":
            raise StoreSilentError(f"cannot decode {path}: no answer, after retries")
        return measure(path, sample_rate_hz=sample_rate_hz)

    measure = selection.length
    monkeypatch.setattr(selection, "length", length)
    out = tmp_path / "selected.jsonl"
    assert main(["select", str(mixed), "--model", str(run), "--out", str(out)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("none.wav: no answer, after retries")
    assert not out.exists()


def test_the_best_shift_by_hand():
    """A fourth higher 3 of 4 frames are right, the silent one among them; in place only that one is."""
    true, heard = np.array([60, 60, NO_PITCH, 62]), np.array([65, 65, NO_PITCH, 60])
    assert best_shift(true, heard) == Fit(5, 0.25)


def test_of_equal_shifts_the_smallest_is_taken():
    assert best_shift(np.full(3, NO_PITCH), np.full(3, NO_PITCH)) == Fit(0, 0.0)
    assert best_shift(np.array([60, 60]), np.array([64, 58])) == Fit(-2, 0.5)


def test_notes_stay_within_the_keys():
    """An octave higher would make one of two frames right, but there is no key 132; nor is silence a key."""
    assert best_shift(np.array([120, 60]), np.array([3, 72])) == Fit(0, 1.0)
    assert best_shift(np.array([120]), np.array([NO_PITCH])).error == 1.0
    assert best_shift(np.array([5, 60]), np.array([100, 48])) == Fit(0, 1.0)


def test_only_frames_of_the_recording_count(run: Path, tmp_path: Path):
    """Half a window of silence in which notes are claimed: behind its end nothing is sung, and nothing is compared."""
    soundfile.write(tmp_path / "a.wav", 0.003 * np.random.default_rng(0).standard_normal(RATE_HZ), RATE_HZ)
    model = load_lyrics_checkpoint(run).build_model()
    fit = fit_notes(model, Song("a", tmp_path / "a.wav", None, (), (Note(0.0, 1.0, 30),)))
    assert fit.error > 0.9


def test_long_songs_are_heard_to_their_end(run: Path, tmp_path: Path, songs: Path):
    """Three songs in one recording, in more windows than songs; the notes of the last are an octave too low."""
    parts = read_songs(songs, split="test")[:3]
    sounds = [soundfile.read(part.audio)[0] for part in parts]
    soundfile.write(tmp_path / "long.wav", np.concatenate(sounds), RATE_HZ)
    notes = [
        Note(note.start_s + 2 * place, note.end_s + 2 * place, note.key)
        for place, part in enumerate(parts)
        for note in part.notes
    ]
    model = load_lyrics_checkpoint(run).build_model()
    right = fit_notes(model, Song("a", tmp_path / "long.wav", None, (), tuple(notes)))
    low = [note._replace(key=note.key - 12) if note.start_s > 4 else note for note in notes]
    wrong = fit_notes(model, Song("a", tmp_path / "long.wav", None, (), tuple(low)))
    assert right.shift == wrong.shift == 0
    assert right.error < 0.25
    assert wrong.error == pytest.approx(right.error + 0.25, abs=0.06)


def test_what_cannot_select_is_one_sentence(run: Path, mixed: Path, tmp_path: Path, capsys):
    model = load_lyrics_checkpoint(run).build_model()
    with pytest.raises(EvaluationError, match="the model's method is 'baseline', which hears no notes"):
        select_songs(LyricsModel(config("model.method=baseline").model), [], manifest=mixed)
    with pytest.raises(EvaluationError, match=r"the threshold is 1\.5; expected a share"):
        select_songs(model, [], manifest=mixed, threshold=1.5)
    with pytest.raises(ValueError, match="has no notes"):
        fit_notes(model, Song("a", mixed, None, (), None))
    assert main(["select", str(mixed), "--model", str(run), "--out", str(mixed)]) == 2
    assert "is the input itself" in capsys.readouterr().err
    out = tmp_path / "selected.jsonl"
    wrong, bare = (line for line in mixed.read_text().splitlines() if '"wrong"' in line or '"bare"' in line)
    for lines, found in {f"{wrong}\n{bare}": r"the lowest has \d\d%", bare: "no song has notes"}.items():
        mixed.write_text(lines)
        assert main(["select", str(mixed), "--model", str(run), "--out", str(out)]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert re.search(rf"none of the \d songs of .* has at most 50% wrong frames \({found}", error)
        assert not out.exists()
