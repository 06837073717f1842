"""audio_embedding gives a file the client's vectors, refuses it in the client's words, and has limits."""

import http.client
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from client import AudioError, MusicSearch
from client.embedding import embed_file
from client.encoders import Encoder, open_encoder
from serve import Server
from tests.client.audio_files import SAMPLE_RATE_HZ, tone, write_audio

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs/reference/model-repository.md"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return open_encoder(None, device="cpu")


def embed(
    client: grpc.InferenceServerClient, content: bytes, *, model: str = "audio_embedding"
) -> dict[str, np.ndarray]:
    tensor = grpc.InferInput("audio", [1], "BYTES").set_data_from_numpy(np.array([content], np.object_))
    result = client.infer(model, [tensor], client_timeout=60)
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


def melody(*, seconds: float) -> np.ndarray:
    """A sweep with a beat: no two windows of it are alike."""
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.4 * np.sin(2 * np.pi * (200 + 40 * time_s) * time_s) * (time_s % 0.5)).astype(np.float32)


@pytest.mark.parametrize("kind", ["u8.wav", "s16.wav", "flac", "mp3", "ogg", "m4a"])
def test_every_format_has_the_clients_vectors(shipped_client, encoder, tmp_path: Path, kind: str) -> None:
    # 15.5 s: a window and a last one of more than half, which is kept.
    path = write_audio(tmp_path / f"a.{kind}", np.stack([melody(seconds=15.5), tone(440, seconds=15.5)]), kind=kind)
    with MusicSearch(tmp_path / "library", encoder=encoder) as search:
        expected = search.embed_audio([path])[0]
    windows = embed_file(encoder, path)
    got = embed(shipped_client, path.read_bytes())
    dim = encoder.spec.embedding_dim
    assert {name: (value.dtype, value.shape) for name, value in got.items()} == {
        "embedding": (np.float32, (dim,)),
        "window_embeddings": (np.float32, (2, dim)),
        "window_start_s": (np.float32, (2,)),
    }
    np.testing.assert_allclose(got["embedding"], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(got["window_embeddings"], windows.windows, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(got["window_start_s"], windows.starts_s)


@pytest.mark.parametrize("damage", ["a pause", "zeros", "chained", "right = -left"])
def test_what_is_odd_has_the_clients_vectors(shipped_client, encoder, tmp_path: Path, damage: str) -> None:
    song = melody(seconds=24)
    if damage == "a pause":
        path = write_audio(
            tmp_path / "a.flac", np.concatenate([song, np.zeros(30 * SAMPLE_RATE_HZ), song]), kind="flac"
        )
    elif damage == "right = -left":
        path = write_audio(tmp_path / "a.m4a", np.stack([song, -song]), kind="m4a")
    else:
        path = write_audio(tmp_path / "a.opus", song, kind="opus")
        content = path.read_bytes()
        half = len(content) // 2
        path.write_bytes(2 * content if damage == "chained" else content[:half] + bytes(4096) + content[half + 4096 :])
    expected, got = embed_file(encoder, path), embed(shipped_client, path.read_bytes())
    np.testing.assert_array_equal(got["window_start_s"], expected.starts_s)
    np.testing.assert_allclose(got["window_embeddings"], expected.windows, rtol=0, atol=1e-5)
    np.testing.assert_allclose(got["embedding"], expected.vector, rtol=0, atol=1e-5)
    if damage == "a pause":  # of the windows from 0 to 70 s, those from 30 to 50 s hold nothing else
        assert got["window_start_s"].tolist() == [0, 10, 20, 50, 60, 70]


@pytest.mark.parametrize("kind", ["m4a", "opus"])
def test_eight_channels_have_the_clients_vectors(shipped_client, encoder, tmp_path: Path, kind: str) -> None:
    path = write_audio(tmp_path / f"a.{kind}", np.tile(melody(seconds=2), (8, 1)), kind=kind)
    got = embed(shipped_client, path.read_bytes())
    np.testing.assert_allclose(got["embedding"], embed_file(encoder, path).vector, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("seconds", "windows"), [(0.6, 1), (10.0, 1), (14.9, 1), (15.0, 2), (326.0, 33)])
def test_windows_are_cut_as_the_client_cuts_them(
    shipped_client, encoder, tmp_path: Path, seconds: float, windows: int
) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:  # 8 kHz, so that the long ones are small
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((30_000 * melody(seconds=seconds * 8000 / SAMPLE_RATE_HZ)).astype("<i2").tobytes())
    expected, got = embed_file(encoder, path), embed(shipped_client, path.read_bytes())
    assert len(got["window_embeddings"]) == windows  # 32 go to the encoder at a time
    np.testing.assert_allclose(got["window_embeddings"], expected.windows, rtol=0, atol=1e-5)
    np.testing.assert_allclose(got["embedding"], expected.vector, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(got["window_start_s"], expected.starts_s)


def most_cut_off(path: Path) -> Path:
    os.truncate(path, round(0.4 * path.stat().st_size))
    return path


def holding(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


NOISE = 0.3 * np.random.default_rng(1).standard_normal(20 * SAMPLE_RATE_HZ)
UNUSABLE: dict[str, Callable[[Path], Path]] = {
    "empty": lambda path: holding(path, b""),
    "zip": lambda path: holding(path, b"PK\x03\x04" + np.random.default_rng(0).bytes(5000)),
    "text": lambda path: holding(path, b"this is not music\n" * 100),
    "playlist": lambda path: holding(path, b"#EXTM3U\n#EXTINF:5,\n/etc/hostname\n#EXT-X-ENDLIST\n"),
    "truncated mp3": lambda path: most_cut_off(write_audio(path, NOISE, kind="mp3")),
    "truncated flac": lambda path: most_cut_off(write_audio(path, NOISE, kind="flac")),
    "truncated m4a": lambda path: most_cut_off(write_audio(path, NOISE, kind="m4a")),
    "silent": lambda path: write_audio(path, np.zeros(SAMPLE_RATE_HZ), kind="flac"),
    "too short": lambda path: write_audio(path, tone(440, seconds=0.1)),
    "NaN": lambda path: write_audio(path, np.full(SAMPLE_RATE_HZ, np.nan), kind="f32.wav"),
    "infinity": lambda path: write_audio(path, np.full(SAMPLE_RATE_HZ, -np.inf), kind="f32.wav"),
    "too loud": lambda path: write_audio(path, 20_000 * tone(440, seconds=1), kind="f32.wav"),
}
SUFFIXES = {"silent": "flac", "truncated flac": "flac", "truncated m4a": "m4a", "zip": "mp3", "truncated mp3": "mp3"}


@pytest.mark.parametrize("problem", UNUSABLE)
def test_an_unusable_file_is_refused_in_the_clients_words(
    shipped_client, encoder, tmp_path: Path, problem: str
) -> None:
    path = UNUSABLE[problem](tmp_path / f"a.{SUFFIXES.get(problem, 'wav')}")
    with pytest.raises(AudioError) as here:
        embed_file(encoder, path)
    with pytest.raises(InferenceServerException) as there:
        embed(shipped_client, path.read_bytes())
    assert there.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert there.value.message() == f"input 'audio': {here.value.reason}"


def write_bytes_at_1_khz(path: Path, *, seconds: int) -> bytes:
    """A WAV of 1 kB a second."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(1000)
        file.writeframes(bytes([100, 150]) * (seconds * 500))
    return path.read_bytes()


def test_limits_are_model_parameters(shipped_client, tmp_path: Path) -> None:
    with pytest.raises(InferenceServerException, match=r"input 'audio': longer than 3600 s.* \(max_audio_s\)"):
        embed(shipped_client, write_bytes_at_1_khz(tmp_path / "a.wav", seconds=3 * 3600))
    content = write_bytes_at_1_khz(tmp_path / "a.wav", seconds=21)
    assert len(embed(shipped_client, content)["window_embeddings"]) == 2
    with pytest.raises(InferenceServerException, match="input 'audio': longer than 20 s"):
        embed(shipped_client, content, model="audio_embedding_limited")
    with pytest.raises(InferenceServerException, match=r"input 'audio': 5000001 bytes, expected at most 5000000"):
        embed(shipped_client, b"\0" * 5_000_001, model="audio_embedding_limited")


@pytest.mark.parametrize("sample_rate_hz", [1, 999, 768_001, 100_000_000])
def test_a_header_cannot_ask_for_an_enormous_resampler(shipped_client, tmp_path: Path, sample_rate_hz: int) -> None:
    content = bytearray(write_bytes_at_1_khz(tmp_path / "a.wav", seconds=10))
    content[24:28] = sample_rate_hz.to_bytes(4, "little")
    with pytest.raises(InferenceServerException, match=rf"input 'audio': (sampled at {sample_rate_hz} Hz|longer than)"):
        embed(shipped_client, bytes(content))


def test_a_length_that_the_header_hides_is_refused_while_decoding(shipped_client, tmp_path: Path) -> None:
    second = write_audio(tmp_path / "a.mp3", tone(440, seconds=1), kind="mp3").read_bytes()
    with pytest.raises(InferenceServerException, match="longer than 20 s"):  # the header counts one second's frames
        embed(shipped_client, second * 180, model="audio_embedding_limited")


def test_the_encoders_refusal_is_passed_on(shipped_client, tmp_path: Path) -> None:
    content = write_bytes_at_1_khz(tmp_path / "a.wav", seconds=700)  # 70 windows in one call
    with pytest.raises(InferenceServerException, match=r"audio_encoder.* batch-size must be <= 64"):
        embed(shipped_client, content, model="audio_embedding_overfull")


def documented_command() -> list[str]:
    """The page's `curl ...`, split as a shell splits it."""
    blocks = re.findall(r"```sh\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    [command] = [block for block in blocks if "audio_embedding/infer" in block]
    return shlex.split(command)


def send(command: list[str], *, file: Path, address: str) -> bytes:
    """What a documented command writes, about another file and to another server."""
    words = [word.replace("song.mp3", str(file)).replace("127.0.0.1:8000", address) for word in command]
    words, [redirect, answer] = words[:-2], words[-2:]
    assert (words[0], redirect, answer) == ("curl", ">", "answer")
    if shutil.which("curl"):
        return subprocess.run([*words, "--silent", "--show-error"], check=True, capture_output=True, timeout=60).stdout
    # The same request where there is no curl.
    headers = dict(value.split(": ") for option, value in itertools.pairwise(words) if option == "-H")
    host, _, path = words[-1].partition("/")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("POST", f"/{path}", body=file.read_bytes(), headers=headers)
    content = connection.getresponse().read()
    connection.close()
    return content


@pytest.mark.parametrize("size_mb", [0.2, 20])
def test_the_documented_command_embeds_a_whole_file(
    shipped: Server, shipped_client, encoder, tmp_path: Path, size_mb: float
) -> None:
    path = tmp_path / "a song.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        seconds = size_mb * 1e6 / (4 * 44_100)
        samples = (30_000 * melody(seconds=seconds * 44_100 / SAMPLE_RATE_HZ)).astype("<i2")
        file.writeframes(np.repeat(samples, 2).tobytes())
    assert path.stat().st_size >= size_mb * 1e6
    reply = send(documented_command(), file=path, address=f"127.0.0.1:{shipped.ports.http}")
    described, end = json.JSONDecoder().raw_decode(reply.decode("latin-1"))
    first = described["outputs"][0]
    assert (first["name"], first["shape"]) == ("embedding", [encoder.spec.embedding_dim])
    embedding = np.frombuffer(reply[end : end + first["parameters"]["binary_data_size"]], "<f4")
    np.testing.assert_allclose(embedding, embed(shipped_client, path.read_bytes())["embedding"], rtol=0, atol=1e-6)


def test_every_command_that_sends_a_file_calls_it_binary() -> None:
    pages = [
        PROJECT / "README.md",
        *(path for room in ("serve", "docs", "bench", "model_repository") for path in _pages(room)),
    ]
    commands = [
        command
        for page in pages
        for command in re.findall(r"curl(?:[^\n]|\\\n)*", page.read_text(encoding="utf-8"))
        if re.search(r"\s(--data|-d\b|--upload-file|-T\b|-F\b)", command)
    ]
    assert len(commands) >= 2  # the page's, and the model's own
    for command in commands:
        assert re.search(r"-H ['\"]Content-Type: application/octet-stream['\"]", command), command


def _pages(room: str) -> Iterator[Path]:
    for path in (PROJECT / room).rglob("*"):
        if path.suffix in {".md", ".py", ".sh", ".conf", ".yaml", ".pbtxt"} or path.name == "Dockerfile":
            yield path
