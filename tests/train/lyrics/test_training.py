"""A transcriber is trained on songs of three tones, killed, resumed and measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.train.lyrics.tone_songs import RATE_HZ, SMALL, config, write_songs

pytest.importorskip("jiwer")
pytest.importorskip("mir_eval")

from singing.decoding import best_path
from singing.language_model import CharacterModel
from train.checkpoint import CheckpointError, load_checkpoint
from train.evaluate.errors import EvaluationError
from train.loop import TrainingError
from train.lyrics import loop
from train.lyrics.__main__ import main
from train.lyrics.checkpoint import load_lyrics_checkpoint
from train.lyrics.config import LyricsOptimConfig
from train.lyrics.evaluate import evaluate
from train.lyrics.loop import learning_rate, train_lyrics
from train.lyrics.measures import framewise_error
from train.lyrics.networks import LyricsModel
from train.lyrics.paper import TABLE_1, TABLE_2, show_lyrics
from train.lyrics.songs import read_songs
from train.lyrics.transcribe import transcribe
from train.lyrics.windows import window_songs


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs"), {"train": 24, "val": 6, "test": 6})


@pytest.fixture(scope="module")
def run(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "multi-task"
    assert main(["train", "--data", str(songs), "--out", str(out), "--set", *SMALL, "optim.epochs=30"]) == 0
    return out


def test_it_learns_the_words_and_notes_of_songs_that_it_has_not_heard(run: Path, songs: Path):
    model = load_lyrics_checkpoint(run).build_model()
    result = evaluate(model, read_songs(songs, split="test"), decode=best_path)
    assert result["songs"] == 6 == result["windows"]
    assert result["WER"] < 0.3
    assert result["CER"] < 0.3
    assert result["COn f"] > 0.8
    assert result["COnP f"] > 0.7
    assert result["framewise error"] < 0.2
    low, high = result["intervals"]["WER"]
    assert low <= result["WER"] <= high
    assert result["WER in use"] == pytest.approx(result["WER"], abs=0.1)  # a song is one window either way
    said = {name: transcribed for name, _, transcribed in result["texts"]}
    assert set(said) == {song.track_id for song in read_songs(songs, split="test")}


def test_the_checkpoint_is_the_best_epoch(run: Path):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min(lines, key=lambda line: (line["val"]["WER"], line["val"]["loss"]))
    checkpoint = load_lyrics_checkpoint(run / "ckpt.pt")
    assert checkpoint.metrics["epoch"] == best["epoch"]
    assert checkpoint.metrics["val"] == best["val"]
    assert {"pitch", "onset", "lyrics", "loss", "WER"} == set(best["val"])
    assert checkpoint.provenance["manifest"] == "manifest.jsonl"
    assert checkpoint.config.model.method == "multi-task"


def test_results_do_not_depend_on_the_batch(run: Path, songs: Path):
    model = load_lyrics_checkpoint(run).build_model()
    windows, _ = window_songs(read_songs(songs, split="test"), frontend=model.config.frontend)
    alone, together = (
        list(transcribe(model, windows, decode=best_path, batch_size=size, workers=0)) for size in (1, 4)
    )
    assert [t.text for t in alone] == [t.text for t in together]
    assert [t.notes for t in alone] == [t.notes for t in together]


def test_notes_are_in_seconds_of_the_song(run: Path, tmp_path: Path):
    """Two songs in one file: what the second window hears lies where it is sung."""
    manifest = write_songs(tmp_path, {"train": 1, "val": 1, "test": 1})
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    sounds = [soundfile.read(tmp_path / row["audio"])[0] for row in rows[1:]]
    soundfile.write(tmp_path / "long.wav", np.concatenate([*sounds, np.zeros(RATE_HZ)]), RATE_HZ)
    later = [[[t[0] + 2, t[1] + 2, t[2]] for t in rows[2][key]] for key in ("words", "notes")]
    long = {**rows[2], "audio": "long.wav", "words": rows[1]["words"] + later[0], "notes": rows[1]["notes"] + later[1]}
    manifest.write_text(json.dumps(long) + "\n")
    model = load_lyrics_checkpoint(run).build_model()
    windows, _ = window_songs(read_songs(manifest, split="test"), frontend=model.config.frontend)
    assert len(windows) > 1
    heard = list(transcribe(model, windows, decode=best_path, batch_size=2, workers=0))
    assert [n for t in heard for n in t.true_notes] == list(windows[0].song.notes)
    starts = np.array([note.start_s for t in heard for note in t.notes])
    nearest = np.abs(starts[:, None] - np.array([note[0] for note in long["notes"]])).min(axis=0)
    assert (nearest < 0.05).sum() >= 5


def test_words_that_are_heard_where_nobody_sings_count_in_use_alone(run: Path, tmp_path: Path):
    """Ten seconds of tones follow a song, and no word is annotated there: its windows with words do not reach them."""
    manifest = write_songs(tmp_path, {"test": 6})
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    sounds = [soundfile.read(tmp_path / row["audio"])[0] for row in rows]
    soundfile.write(tmp_path / "long.wav", np.concatenate([sounds[0], np.zeros(RATE_HZ), *sounds[1:]]), RATE_HZ)
    manifest.write_text(json.dumps({**rows[0], "audio": "long.wav"}) + "\n")
    result = evaluate(load_lyrics_checkpoint(run).build_model(), read_songs(manifest, split="test"), decode=best_path)
    assert result["WER"] <= 1
    assert result["WER in use"] > 3  # three words are sung, fifteen follow
    ((_, sung, said),) = result["texts in use"]
    assert len(said.split()) > 4 * len(sung.split()) == 12


def test_a_song_is_heard_in_use_with_its_voice(run: Path, tmp_path: Path):
    rows = [json.loads(line) for line in write_songs(tmp_path, {"test": 4}).read_text().splitlines()]
    model = load_lyrics_checkpoint(run).build_model()
    heard = {}
    for name, row in {"alone": rows[0], "with a voice": {**rows[0], "voice": rows[1]["audio"]}}.items():
        (tmp_path / "one.jsonl").write_text(json.dumps(row) + "\n")
        result = evaluate(model, read_songs(tmp_path / "one.jsonl", split="test"), decode=best_path)
        assert result["texts in use"] == result["texts"]  # the song is one window
        heard[name] = result["texts"]
    assert heard["alone"] != heard["with a voice"]


@pytest.mark.parametrize(("wrong_s", "right_s"), [(1.85, 1.95), (2.15, 2.05)])
def test_a_voice_of_another_length_is_refused(run: Path, tmp_path: Path, capsys, wrong_s: float, right_s: float):
    manifest = write_songs(tmp_path, {"test": 1})  # of two seconds
    row = json.loads(manifest.read_text())
    for length_s, status in ((wrong_s, 2), (right_s, 0)):
        soundfile.write(tmp_path / f"{length_s}.wav", np.zeros(round(length_s * RATE_HZ)), RATE_HZ)
        manifest.write_text(json.dumps({**row, "voice": f"{length_s}.wav"}) + "\n")
        assert main(["evaluate", str(run), "--data", str(manifest), "--greedy"]) == status
    assert f"{wrong_s}.wav differ by 0.15 s; expected the voice that was separated" in capsys.readouterr().err


def test_what_is_annotated_past_the_end_is_left_out_and_told(songs: Path, tmp_path: Path, run: Path, capsys):
    """An annotation may be of a longer recording. It stops neither a training nor an evaluation."""
    late = {"words": [[2.5, 2.8, "me"], [9, 9.5, "hi"]], "notes": [[2.5, 2.8, 72], [9, 9.5, 84]]}
    rows = [json.loads(line) for line in songs.read_text().splitlines()]
    rows = [{**row, "audio": str(songs.parent / row["audio"])} for row in rows]
    rows = [{**row, **{key: row[key] + late[key] for key in late}} for row in rows]
    manifest = tmp_path / "late.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--out", str(tmp_path / "run"), "--set", *SMALL, "optim.epochs=1"]
    assert main(["train", "--data", str(manifest), *options]) == 0
    assert capsys.readouterr().out.count("left out: 120 words or notes past the end of their recording\n") == 1
    assert main(["evaluate", str(run), str(tmp_path / "run"), "--data", str(manifest), "--greedy", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("left out: 24 words or notes past the end of their recording\n") == 1
    model = load_lyrics_checkpoint(run).build_model()
    for key, value in evaluate(model, read_songs(songs, split="test"), decode=best_path).items():
        if key != "left_out":
            assert json.loads(printed.out)[run.name][key] == json.loads(json.dumps(value))


def test_a_checkpoint_tells_how_much_of_its_training_had_voices(songs: Path, tmp_path: Path, capsys):
    rows = [json.loads(line) for line in songs.read_text().splitlines()]
    rows = [{**row, "audio": str(songs.parent / row["audio"])} for row in rows]
    for row in rows[:6]:
        row["voice"] = row["audio"]
    manifest = tmp_path / "voices.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = config("optim.epochs=1", "model.method=baseline")
    train_lyrics(settings, manifest=manifest, run=tmp_path / "run")
    assert load_lyrics_checkpoint(tmp_path / "run").voice_share == 0.25
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), "--data", str(manifest), "--greedy"]) == 0
    assert "run: 25% of the training windows had a separated voice" in capsys.readouterr().out


def test_training_hears_parts_without_words(tmp_path: Path, capsys):
    """Of songs with six seconds of noise at their end one window each says that nothing is sung there."""
    manifest = write_songs(tmp_path / "songs", {"train": 4, "val": 2})
    noise = 0.003 * np.random.default_rng(0).standard_normal(6 * RATE_HZ)
    for row in map(json.loads, manifest.read_text().splitlines()):
        path = manifest.parent / row["audio"]
        soundfile.write(path, np.concatenate([soundfile.read(path)[0], noise]), RATE_HZ)
    train_lyrics(config("optim.epochs=1"), manifest=manifest, run=tmp_path / "run")
    said = " ".join(capsys.readouterr().out.split())
    assert "8 windows of 4 songs for training, of which 4 without words" in said
    assert "2 of 2 for validation" in said


def test_framewise_error_counts_every_frame(run: Path, songs: Path):
    model = load_lyrics_checkpoint(run).build_model()
    test = read_songs(songs, split="test")
    windows, _ = window_songs(test, frontend=model.config.frontend)
    heard = list(transcribe(model, windows, decode=best_path, batch_size=3, workers=0))
    expected = framewise_error(np.concatenate([t.true_pitch for t in heard]), np.concatenate([t.pitch for t in heard]))
    assert evaluate(model, test, decode=best_path)["framewise error"] == pytest.approx(expected)


def test_songs_without_notes_are_heard_as_songs(run: Path, songs: Path, tmp_path: Path):
    """Sets such as Jamendo's have no notes: the transcriber is told what the first network believes, as for others."""
    rows = [json.loads(line) for line in songs.read_text().splitlines()]
    bare = tmp_path / "bare.jsonl"
    bare.write_text(
        "".join(json.dumps({**r, "audio": str(songs.parent / r["audio"]), "notes": None}) + "\n" for r in rows)
    )
    model = load_lyrics_checkpoint(run).build_model()
    known, unknown = (evaluate(model, read_songs(path, split="test"), decode=best_path) for path in (songs, bare))
    assert unknown["texts"] == known["texts"]
    assert "COn f" not in unknown
    oracle = LyricsModel(config("model.method=oracle").model)
    with pytest.raises(EvaluationError, match="6 of 6 songs have no notes"):
        evaluate(oracle, read_songs(bare, split="test"), decode=best_path)


@pytest.mark.parametrize("method", ["baseline", "oracle", "pitch"])
def test_the_other_methods_train(songs: Path, tmp_path: Path, method: str):
    train_lyrics(config(f"model.method={method}", "optim.epochs=2"), manifest=songs, run=tmp_path)
    first, second = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert second["train_loss"] < first["train_loss"]
    result = evaluate(load_lyrics_checkpoint(tmp_path).build_model(), read_songs(songs, split="val"), decode=best_path)
    assert ("WER" in result, "COn f" in result) == (method != "pitch", method == "pitch")


def test_a_resumed_run_ends_with_the_same_weights(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = config("optim.epochs=3", "model.transcriber.dropout=0.2")
    train_lyrics(settings, manifest=songs, run=tmp_path / "whole")
    validate, seen = loop._validate, []

    def stop(*args, **kwargs):
        seen.append(0)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return validate(*args, **kwargs)

    monkeypatch.setattr(loop, "_validate", stop)
    with pytest.raises(KeyboardInterrupt):
        train_lyrics(settings, manifest=songs, run=tmp_path / "parts")
    train_lyrics(settings, manifest=songs, run=tmp_path / "parts", resume=True)
    whole, parts = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "parts"))
    assert (whole["epoch"], whole["step"]) == (parts["epoch"], parts["step"]) == (3, 18)
    assert all(torch.equal(value, parts["model"][name]) for name, value in whole["model"].items())
    assert len((tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_voice_that_is_missing_is_told_in_one_sentence_by_workers_too(run: Path, tmp_path: Path, capsys):
    manifest = write_songs(tmp_path, {"train": 4, "val": 2, "test": 2})
    rows = [{**json.loads(line), "voice": "none.wav"} for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    training = ["--out", str(tmp_path / "run"), "--set", *SMALL, "optim.workers=1"]
    for command in (["evaluate", str(run), "--greedy", "--workers", "1"], ["train", *training]):
        capsys.readouterr()
        assert main([command[0], "--data", str(manifest), *command[1:]]) == 2
        told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("measured")]
        assert told == [f"error: cannot decode {tmp_path / 'none.wav'}: cannot be opened (No such file or directory)"]


def test_a_run_stops_when_the_validation_no_longer_improves(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    coming = iter([(0.9, 3.0), (0.9, 2.0), (0.95, 1.0), (0.9, 2.0), (0.1, 0.1)])

    def worse(*args, **kwargs):
        error, loss = next(coming)
        return {"WER": error, "loss": loss}

    monkeypatch.setattr(loop, "_validate", worse)
    train_lyrics(config("optim.patience=2"), manifest=songs, run=tmp_path)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    assert load_lyrics_checkpoint(tmp_path).metrics["epoch"] == 2


def test_the_learning_rate_rises_and_stays():
    optim = LyricsOptimConfig()
    assert learning_rate(0, optim=optim) == pytest.approx(5e-6)
    assert learning_rate(49, optim=optim) == pytest.approx(2.5e-4)
    assert learning_rate(99, optim=optim) == learning_rate(5000, optim=optim) == 5e-4


def test_from_speech_to_song(tmp_path: Path):
    """§3.1.3: a transcriber learns from speech, which has no notes, and a model of both starts from it."""
    manifest = write_songs(tmp_path / "both", {"train": 8, "val": 3}, speech=8)
    speech = tmp_path / "speech"
    train_lyrics(config("model.method=baseline", "optim.epochs=1"), manifest=manifest, run=speech)
    settings = config("optim.epochs=1", f"start={speech}", "optim.learning_rate=1e-12")
    train_lyrics(settings, manifest=manifest, run=tmp_path / "song")
    before, after = (load_lyrics_checkpoint(tmp_path / name).state_dict for name in ("speech", "song"))
    assert any(name.startswith("pitch_onset.") for name in after)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-8, rtol=0)
    narrower = config(f"start={speech}", "model.transcriber.hidden=16")
    with pytest.raises(CheckpointError, match="does not fit this model"):
        train_lyrics(narrower, manifest=manifest, run=tmp_path / "narrower")
    with pytest.raises(TrainingError, match="rows without notes"):
        train_lyrics(config("model.method=oracle"), manifest=manifest, run=tmp_path / "oracle")


def test_speech_that_is_longer_than_a_window_is_left_out(tmp_path: Path):
    manifest = write_songs(tmp_path, {"val": 2}, speech=2)
    songs = read_songs(manifest, split="train")
    soundfile.write(songs[0].audio, np.zeros(3 * RATE_HZ), RATE_HZ)
    windows, left_out = window_songs(songs, frontend=config().model.frontend)
    assert [window.song.track_id for window in windows] == [songs[1].track_id]
    assert left_out == {"texts without times of recordings longer than a window": 1}


def test_evaluate_prints_the_papers_rows(
    run: Path, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["evaluate", str(run), "--data", str(songs)]) == 0
    printed = capsys.readouterr().out
    for figures in (*TABLE_1.values(), *TABLE_2.values()):
        assert all(figure in printed for figure in figures)
    for row in ("baseline", "oracle", "multi-task", "VOCANO"):
        assert row in printed
    others = [tmp_path / "other" / run.name, tmp_path / "third"]
    for other in others:
        shutil.copytree(run, other)
    runs = [str(path) for path in (run, *others)]
    assert main(["evaluate", *runs, "--data", str(songs), "--greedy", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert list(results) == [*runs[:2], "third"]  # two folders have one name, so these are told apart by their paths
    assert all(result["method"] == "multi-task" for result in results.values())


def test_an_oracle_has_no_error_rate_in_use():
    """Nobody tells it the notes of a song that is only heard."""
    oracle = {"method": "oracle", "WER": 0.5, "CER": 0.4, "intervals": {"WER": (0.4, 0.6), "CER": (0.3, 0.5)}}
    baseline = {**oracle, "method": "baseline", "WER in use": 0.7}
    baseline["intervals"] = {**oracle["intervals"], "WER in use": (0.6, 0.8)}
    columns = {column.header: list(column.cells) for column in show_lyrics({"a": oracle, "b": baseline}).columns}
    assert columns["WER in use"] == ["/", "70.0 %\n60.0 to 80.0", ""]
    assert columns["CER"] == ["40.0 %\n30.0 to 50.0"] * 2 + [""]


def test_the_language_model_comes_from_books_or_songs(run: Path, songs: Path, tmp_path: Path, capsys, monkeypatch):
    learnt = []
    monkeypatch.setattr(
        "train.lyrics.__main__.CharacterModel", lambda texts: learnt.append(texts) or CharacterModel(texts)
    )
    assert main(["evaluate", str(run), "--data", str(songs), "--texts", str(tmp_path / "no.txt")]) == 2
    assert "cannot read the text" in capsys.readouterr().err
    (tmp_path / "numbers.txt").write_text("1, 2, 3\n")
    assert main(["evaluate", str(run), "--data", str(songs), "--texts", str(tmp_path / "numbers.txt")]) == 2
    assert "numbers.txt has no English words for the language model" in capsys.readouterr().err
    (tmp_path / "book.txt").write_text("Oh, me!\nHi, oh hi.\n", encoding="utf-8")
    assert main(["evaluate", str(run), "--data", str(songs), "--texts", str(tmp_path / "book.txt"), "--json"]) == 0
    assert main(["evaluate", str(run), "--data", str(songs), "--json"]) == 0
    assert learnt == [["oh me", "hi oh hi"], [song.text for song in read_songs(songs, split="train")]]
    bare = tmp_path / "test.jsonl"
    bare.write_text("".join(line + "\n" for line in songs.read_text().splitlines() if '"test"' in line))
    assert main(["evaluate", str(run), "--data", str(bare)]) == 2
    assert "no songs of the split train for the language model; give --texts" in capsys.readouterr().err


def test_other_checkpoints_are_told_apart(run: Path, songs: Path, tmp_path: Path, capsys):
    with pytest.raises(CheckpointError):
        load_checkpoint(run / "ckpt.pt")
    torch.save({"format_version": 1, "config": {}}, tmp_path / "ckpt.pt")
    assert main(["evaluate", str(tmp_path), "--data", str(songs), "--greedy"]) == 2
    assert "is no lyrics transcriber" in capsys.readouterr().err
    content = torch.load(run / "ckpt.pt", weights_only=True)
    torch.save({**content, "format_version": 7}, tmp_path / "ckpt.pt")
    with pytest.raises(CheckpointError, match="format version 7"):
        load_lyrics_checkpoint(tmp_path)
    del content["state_dict"]["transcriber.output.bias"]
    torch.save(content, tmp_path / "ckpt.pt")
    with pytest.raises(CheckpointError, match="do not fit its own configuration"):
        load_lyrics_checkpoint(tmp_path).build_model()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "model.method=choir"], "expected one of baseline"),
        (["--resume"], "holds no run to resume"),
        (["--data", "none.jsonl"], "no manifest at none.jsonl"),
    ],
)
def test_a_wrong_call_is_one_sentence(songs: Path, tmp_path: Path, capsys, arguments: list[str], message: str):
    assert main(["train", "--data", str(songs), "--out", str(tmp_path / "run"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_run_is_not_overwritten(run: Path, songs: Path):
    with pytest.raises(TrainingError, match="already holds a run"):
        train_lyrics(config(), manifest=songs, run=run)
    with pytest.raises(TrainingError, match="another configuration"):
        train_lyrics(config("seed=5"), manifest=songs, run=run, resume=True)


def test_songs_without_words_are_refused(tmp_path: Path):
    manifest = write_songs(tmp_path, {"train": 1, "val": 1})
    rows = [{**json.loads(line), "words": []} for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(TrainingError, match="0 windows with words for training"):
        train_lyrics(config(), manifest=manifest, run=tmp_path / "run")
