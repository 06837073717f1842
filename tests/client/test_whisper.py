"""A Whisper in place of our transcriber: one of random weights, made here, through transformers' own pipeline."""

import builtins
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from client import AudioError, EncoderError, MusicSearch, QueryError
from client.cli import main
from client.lyrics.listening import open_listener
from client.lyrics.whisper import Whisper
from tests.client.audio_files import write_audio
from tests.tiny_whisper import build_tiny_whisper

DURATION_S = 2.5  # two and a half of its windows
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(DURATION_S * RATE_HZ))
    return write_audio(tmp_path_factory.mktemp("songs") / "noise.wav", noise, sample_rate_hz=RATE_HZ)


@pytest.fixture(scope="module", params=[True, False], ids=["word times", "phrase times"])
def whisper(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    return build_tiny_whisper(tmp_path_factory.mktemp("whisper"), word_times=request.param), request.param


def test_it_says_what_the_pipeline_says(whisper: tuple[Path, bool], song: Path, monkeypatch: pytest.MonkeyPatch):
    folder, has_word_times = whisper
    listener = open_listener(None, device="cpu", asr=folder)
    assert isinstance(listener, Whisper)
    asked: dict[str, Any] = {}
    recognise = listener._recognise

    def noting(sound: dict[str, Any], **options: Any) -> Any:
        asked.update(options, rate_hz=sound["sampling_rate"], samples=len(sound["raw"]))
        asked["said"] = recognise(sound, **options)
        return asked["said"]

    noting.feature_extractor = recognise.feature_extractor  # type: ignore[attr-defined]
    monkeypatch.setattr(listener, "_recognise", noting)
    transcript = listener.transcribe(str(song))
    assert asked["return_timestamps"] == ("word" if has_word_times else True)
    assert (asked["rate_hz"], asked["samples"]) == (RATE_HZ, DURATION_S * RATE_HZ)
    chunks = [chunk for chunk in asked["said"]["chunks"] if chunk["text"].strip()]
    assert len(chunks) >= 2  # more than the first window was heard
    assert [word.text for word in transcript.words] == [chunk["text"].strip() for chunk in chunks]
    for word, chunk in zip(transcript.words, chunks, strict=True):
        start_s, end_s = chunk["timestamp"]
        assert word.start_s == min(start_s, DURATION_S)
        assert word.end_s == (DURATION_S if end_s is None else min(end_s, DURATION_S))
    assert (transcript.notes, transcript.duration_s) == (None, DURATION_S)


def test_missing_ends_and_empty_texts_are_tidied(whisper: tuple[Path, bool], song: Path, monkeypatch):
    listener = Whisper(str(whisper[0]), device="cpu")
    chunks = [
        {"text": " Oh", "timestamp": (-0.02, -0.02)},
        {"text": " One two", "timestamp": (0.0, 1.0)},
        {"text": " ", "timestamp": (1.0, 1.1)},
        {"text": " three", "timestamp": (None, None)},
        {"text": " four", "timestamp": (3.0, 3.5)},  # after the end of the file, which is padded
    ]

    def say(*_: Any, **__: Any) -> Any:
        return {"chunks": chunks}

    say.feature_extractor = listener._recognise.feature_extractor  # type: ignore[attr-defined]
    monkeypatch.setattr(listener, "_recognise", say)
    words = listener.transcribe(str(song)).words
    assert words == ((0.0, 0.0, "Oh"), (0.0, 1.0, "One two"), (1.0, 2.5, "three"), (2.5, 2.5, "four"))


def test_the_library_and_the_command_take_it(
    whisper: tuple[Path, bool], tiny_repository: Path, song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with MusicSearch(tmp_path / "library", encoder=tiny_repository) as ms:
        transcript = ms.transcribe(song, asr=whisper[0])
    assert main(["transcribe", str(song), "--asr", str(whisper[0]), "--device", "cpu", "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert [word["text"] for word in said["words"]] == [word.text for word in transcript.words]
    assert said["notes"] is None


def test_it_hears_a_voice_in_place_of_the_file(whisper: tuple[Path, bool], song: Path, tmp_path: Path, monkeypatch):
    voice = np.zeros(round(DURATION_S * RATE_HZ), np.float32)
    path = write_audio(tmp_path / "vocals.wav", voice, sample_rate_hz=RATE_HZ)
    listener = Whisper(str(whisper[0]), device="cpu")
    heard: list[Any] = []

    def note(sound: dict[str, Any], **_: Any) -> Any:
        heard.append(sound["raw"])
        return {"chunks": []}

    note.feature_extractor = listener._recognise.feature_extractor  # type: ignore[attr-defined]
    monkeypatch.setattr(listener, "_recognise", note)
    listener.transcribe(str(song), voice=str(path))
    assert np.array_equal(heard, [voice])
    short = write_audio(tmp_path / "short.wav", voice[:RATE_HZ], sample_rate_hz=RATE_HZ)
    with pytest.raises(AudioError, match=r"short\.wav: lasts 1\.00 s, but .*noise\.wav lasts 2\.50 s"):
        listener.transcribe(str(song), voice=str(short))


def test_a_model_that_is_no_whisper_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"cannot open .* as a Whisper \(.*\): give a folder, or a name on the Hug"):
        Whisper(str(tmp_path), device="cpu")


def test_a_model_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch):
    other = SimpleNamespace(model=SimpleNamespace(config=SimpleNamespace(model_type="wav2vec2")))
    # transformers replaces itself there, so the name that a test imported may be another module.
    monkeypatch.setattr(sys.modules["transformers"], "pipeline", lambda *_, **__: other)
    with pytest.raises(EncoderError, match=r"letters is a model of type 'wav2vec2': give a Whisper"):
        Whisper("letters", device="cpu")


def test_without_transformers_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    imported = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "transformers":
            raise ImportError("No module named 'transformers'")
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(EncoderError, match=r"a Whisper needs transformers .*: pip install 'musicsearch\[asr\]'"):
        Whisper("openai/whisper-small", device="cpu")


def test_a_file_that_is_no_sound_is_the_files_fault(whisper: tuple[Path, bool], tmp_path: Path):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"text\.wav"):
        Whisper(str(whisper[0]), device="cpu").transcribe(str(tmp_path / "text.wav"))


def test_a_whisper_and_a_transcriber_are_not_asked_at_once(song: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(QueryError, match=r"got asr='a' together with model or texts"):
        open_listener("b", asr="a")
    assert main(["transcribe", str(song), "--asr", "a", "--encoder", "b"]) == 2
    assert "got asr='a' together with model or texts" in capsys.readouterr().err
