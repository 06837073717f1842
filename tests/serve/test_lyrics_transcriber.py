"""A transcriber as it is exported, behind the real tritonserver: what it says there is what it says in process."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

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
    sounds = np.random.default_rng(0).uniform(-0.5, 0.5, (11, 2, FRAMES * STEP)).astype(np.float32)  # three requests
    local, remote = open_transcriber(repository, device="cpu"), open_transcriber(server.grpc_url)
    assert isinstance(remote, TritonTranscriber)
    assert remote.spec == local.spec
    expected, said = local.hear(sounds), remote.hear(sounds)
    assert list(said) == ["characters", "pitch", "onset"]
    for name, values in expected.items():
        np.testing.assert_array_equal(said[name], values)
    remote.close()


def test_a_file_is_transcribed_by_address(server: Server, tmp_path: Path):
    song = write_audio(tmp_path / "song.wav", spell("__one two___ thre_e four five__"), sample_rate_hz=RATE_HZ)
    listener = open_listener(server.grpc_url)
    assert listener.transcribe(str(song)).text == "one two three four five"
    listener.close()


def test_the_check_calls_it(server: Server):
    (call,) = call_models(server)
    assert (call.model, call.succeeded) == ("lyrics_transcriber", True)
    assert "characters [1, 34, 16]" in call.answer
