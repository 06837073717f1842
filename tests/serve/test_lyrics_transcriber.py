"""A transcriber as it is exported, behind the real tritonserver: what it says there is what it says in process."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferInput

import serve.check
from client import EncoderError, ServerMismatch
from client.lyrics.listening import open_listener
from client.lyrics.transcriber import TritonTranscriber, open_transcriber
from serve import Ports, Server, running_server
from serve.check import call_models
from tests.client.audio_files import write_audio
from tests.spelling_transcriber import FRAMES, RATE_HZ, STEP, build_spelling_transcriber, spell


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_spelling_transcriber(tmp_path_factory.mktemp("spelling") / "models")


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[Server]:
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("needs the wheel nvidia-pytriton (Linux): pip install -e '.[serve]'")
    with running_server(repository, ports=Ports(http=0, grpc=0, metrics=0)) as running:
        yield running


def test_the_server_says_what_the_graph_says(server: Server, repository: Path):
    sounds = np.random.default_rng(0).uniform(-0.5, 0.5, (35, 2, FRAMES * STEP)).astype(np.float32)
    local, remote = open_transcriber(repository, device="cpu"), open_transcriber(server.grpc_url)
    assert isinstance(remote, TritonTranscriber)
    assert remote.spec == local.spec
    assert remote.batch_size == 2 * 16  # the server's largest batch, so that these are three requests
    expected, said = local.hear(sounds), remote.hear(sounds)
    assert list(said) == ["characters", "pitch", "onset"]
    for name, values in expected.items():
        np.testing.assert_array_equal(said[name], values)
    remote.close()


def test_an_answer_that_is_no_number_is_refused(server: Server, repository: Path):
    sounds = np.full((1, 2, FRAMES * STEP), np.nan, np.float32)
    remote = open_transcriber(server.grpc_url)
    with pytest.raises(ServerMismatch, match="sent a wrong reply: got NaN or infinity in characters"):
        remote.hear(sounds)
    remote.close()
    with pytest.raises(EncoderError, match="failed on cpu: got NaN or infinity in characters"):
        open_transcriber(repository, device="cpu").hear(sounds)


def test_a_file_is_transcribed_by_address(server: Server, tmp_path: Path):
    song = write_audio(tmp_path / "song.wav", spell("__one two___ thre_e four five__"), sample_rate_hz=RATE_HZ)
    listener = open_listener(server.grpc_url)
    assert listener.transcribe(str(song)).text == "one two three four five"
    voice = write_audio(tmp_path / "voice.wav", spell("__one two___ thre_e four five_!"), sample_rate_hz=RATE_HZ)
    transcript = listener.transcribe(str(song), voice=str(voice))
    assert (transcript.text, len(transcript.notes or ())) == ("one two three four five", 2)
    listener.close()


def test_the_check_calls_it(server: Server):
    (call,) = call_models(server)
    assert (call.model, call.succeeded) == ("lyrics_transcriber", True)
    assert "characters [1, 34, 16]" in call.answer


def test_the_check_tells_an_answer_that_is_no_number(server: Server, monkeypatch: pytest.MonkeyPatch):
    def make_no_sound(tensor: dict[str, Any], *, batched: bool) -> InferInput:
        made = make_input(tensor, batched=batched)
        return made.set_data_from_numpy(np.full(made.shape(), np.nan, np.float32))

    make_input = serve.check._input
    monkeypatch.setattr(serve.check, "_input", make_no_sound)
    (call,) = call_models(server)
    assert (call.succeeded, call.answer) == (False, "NaN or infinity in characters, pitch, onset")
