"""The encoder behind gRPC: parity with the one in process, and what each failure is called.

Parity runs against the real tritonserver; failures that a healthy one cannot show come from `fake_triton`.
"""

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from client import (
    EncoderError,
    MusicSearch,
    ServerBusy,
    ServerMismatch,
    ServerTimeout,
    ServerUnavailable,
    TritonEncoder,
)
from client.encoders.local import LocalEncoder
from client.encoders.server_errors import MESSAGE_MEANINGS, STATUS_MEANINGS, meaning_of
from tests.client.fake_triton import CONFIGS, INFERS, FakeTriton, Handler, configs_of, infers

# -- the real server -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def remote(triton: Any) -> Iterator[TritonEncoder]:
    encoder = TritonEncoder(triton.grpc_url)
    yield encoder
    encoder.close()


def test_the_spec_is_the_repositorys(remote: TritonEncoder, encoder: LocalEncoder) -> None:
    assert remote.spec == encoder.spec
    assert remote.device.startswith("grpc://")


@pytest.mark.parametrize("count", [0, 1, 8, 19])  # the model's largest batch is 8
def test_windows_give_the_vectors_of_the_model_in_process(
    remote: TritonEncoder, encoder: LocalEncoder, count: int
) -> None:
    windows = np.random.default_rng(0).uniform(-1, 1, (count, 16_000)).astype(np.float32)
    np.testing.assert_allclose(remote.embed_windows(windows), encoder.embed_windows(windows), atol=1e-5)


def test_texts_give_the_vectors_of_the_model_in_process(remote: TritonEncoder, encoder: LocalEncoder) -> None:
    texts = ["low", "a high tone", "middle " * 15, "low " * 30, "high " * 500, "é, unknown ☃"] * 4
    np.testing.assert_allclose(remote.embed_texts(texts), encoder.embed_texts(texts), atol=1e-5)
    assert remote.embed_texts([]).shape == (0, 16)


def test_a_library_is_the_same_through_either(
    remote: TritonEncoder, encoder: LocalEncoder, tones: Path, tmp_path: Path
) -> None:
    with MusicSearch(tmp_path / "library", encoder=remote.device) as ms:
        assert ms.add(tones).failed == []
        through_triton = ms.search("a low tone")
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        in_process = ms.search("a low tone")
    assert [hit.path for hit in through_triton] == [hit.path for hit in in_process]
    np.testing.assert_allclose([hit.score for hit in through_triton], [hit.score for hit in in_process], atol=1e-5)


def test_the_servers_own_refusal_is_translated(remote: TritonEncoder) -> None:
    with pytest.raises(ServerMismatch, match=r"refuses the tensors of this client: .*INVALID_ARGUMENT"):
        remote.embed_windows(np.zeros((1, 10), np.float32))


def test_a_closed_connection_says_so(remote: TritonEncoder) -> None:
    closed = TritonEncoder(remote.device)
    closed.close()
    with pytest.raises(EncoderError, match="open a new MusicSearch"):
        closed.embed_texts(["low"])


# -- no server -----------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_nobody_listens() -> None:
    url = f"grpc://127.0.0.1:{free_port()}"
    with pytest.raises(ServerUnavailable, match=rf"the server {url} is not reachable: start it \(python -m serve\)"):
        TritonEncoder(url)


def test_somebody_listens_who_does_not_speak_grpc() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"grpc://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServerUnavailable, match=r"is not reachable|did not answer in time"):
            TritonEncoder(url, text_timeout_s=0.5)


# -- a server that does what it is told ------------------------------------------------------------------


@pytest.mark.parametrize(("verbosity", "is_written"), [(None, False), ("INFO", True)])
def test_grpc_writes_of_a_connection_that_ends_only_where_it_was_asked_to(
    verbosity: str | None, is_written: bool
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    if verbosity:
        environment["GRPC_VERBOSITY"] = verbosity
    script = (
        "import sys; from client import TritonEncoder; from client.encoders import open_encoder; "
        "open_encoder().close(); TritonEncoder(sys.argv[1], text_timeout_s=3)"
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        url = f"grpc://127.0.0.1:{listening.getsockname()[1]}"
        client = subprocess.Popen(
            [sys.executable, "-c", script, url], env=environment, stderr=subprocess.PIPE, text=True
        )
        connection, _ = listening.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))  # SETTINGS: RFC 9113, sections 4.1 and 6.5
        connection.sendall(bytes([0, 0, 8, 7, 0, 0, 0, 0, 0]) + struct.pack(">II", 0, 2))  # GOAWAY, for an error: 6.8
        _, written = client.communicate(timeout=30)
    assert "client.errors.Server" in written
    assert ("Got goaway" in written) == is_written


def test_not_a_triton(serve: Callable[..., FakeTriton]) -> None:
    with pytest.raises(ServerMismatch, match="is not a Triton server: give the address of Triton's gRPC port"):
        TritonEncoder(serve({}).url)


def failing(status: grpc.StatusCode, words: str) -> Handler:
    def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(status, words)

    return fail


@pytest.mark.parametrize("status", [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK])
def test_every_grpc_status_has_its_error(
    serve: Callable[..., FakeTriton], tiny_repository: Path, status: grpc.StatusCode
) -> None:
    server = serve({CONFIGS: configs_of(tiny_repository), INFERS: failing(status, "the details")})
    encoder = TritonEncoder(server.url, text_timeout_s=1)
    meaning = STATUS_MEANINGS[status.name]
    with pytest.raises(EncoderError) as caught:
        encoder.embed_texts(["low"])
    assert type(caught.value) is meaning.error
    assert f"{server.url} {meaning.advice} ({status.name}: the details)" in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("status", "words", "error"),
    [
        # As Triton 2.51 said them: a queue that is full, one that was too slow, a server told to stop.
        ("UNAVAILABLE", "in ensemble 'e', [request id: <id_unknown>] Exceeds maximum queue size", ServerBusy),
        ("UNAVAILABLE", "in ensemble 'e', Request timeout expired", ServerBusy),
        ("UNAVAILABLE", "[request id: 1] Server is stopping, scheduler for model has stopped", ServerUnavailable),
        ("NOT_FOUND", "Request for unknown model: 'e' has no available versions", ServerUnavailable),
        ("NOT_FOUND", "Request for unknown model: 'e' is not found", ServerMismatch),
        ("UNAVAILABLE", "Request for unknown model: 'e' is not found", ServerMismatch),  # as older ones said it
        ("UNAVAILABLE", "Request for unknown model: 'e' version 1 is not at ready state", ServerUnavailable),
        ("UNAVAILABLE", "Failed for execute the inference request. Model 'm' is not ready.", ServerUnavailable),
        ("INTERNAL", "in ensemble 'e', Stub process 'text_tokenizer_0_1' is not healthy.", ServerUnavailable),
        ("UNAVAILABLE", "Received http2 header with status: 429", ServerBusy),  # of a gateway, as gRPC tells it
        ("UNKNOWN", "Received http2 header with status: 413", ServerMismatch),
        ("UNAVAILABLE", "Received http2 header with status: 502", ServerUnavailable),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)", ServerMismatch),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (9 vs. 4)", ServerMismatch),
        ("A_STATUS_OF_TOMORROW", "", EncoderError),
    ],
)
def test_what_triton_says_tells_what_its_status_does_not(status: str, words: str, error: type) -> None:
    assert meaning_of(status, words).error is error


def test_a_model_that_is_not_ready_is_no_address_to_correct() -> None:
    meaning = meaning_of("UNAVAILABLE", "Failed for execute the inference request. Model 'm' is not ready.")
    assert (meaning.advice, meaning.is_transient) == (
        "is stopping or still loading its models: try again later",
        True,
    )


def test_only_an_unreachable_or_restarting_server_is_worth_another_try() -> None:
    transient = {name for name, meaning in STATUS_MEANINGS.items() if meaning.is_transient}
    assert transient == {"UNAVAILABLE"}
    assert all(meaning.error is ServerUnavailable for meaning in MESSAGE_MEANINGS.values() if meaning.is_transient)


def test_every_call_has_a_deadline(serve: Callable[..., FakeTriton], tiny_repository: Path) -> None:
    def sleep(request: bytes, context: grpc.ServicerContext) -> bytes:
        time.sleep(3)
        return b""

    with pytest.raises(ServerTimeout, match="did not answer in time"):
        TritonEncoder(serve({CONFIGS: sleep}).url, text_timeout_s=0.2)
    encoder = TritonEncoder(
        serve({CONFIGS: configs_of(tiny_repository), INFERS: sleep}).url, text_timeout_s=0.3, audio_timeout_s=0.3
    )
    with pytest.raises(ServerTimeout, match="did not answer in time"):
        encoder.embed_texts(["low"])
    with pytest.raises(ServerTimeout, match="did not answer in time"):
        encoder.embed_windows(np.zeros((1, 16_000), np.float32))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"audio_encoder": ("fingerprint", "finger")}, "audio_encoder has no parameter fingerprint"),
        ({"text_encoder": ('"tiny"', '"huge"')}, "model_name is tiny in one and huge in the other"),
        ({"text_encoder": ("dims: [ 16 ]", "dims: [ 8 ]")}, r"text_encoder declares embedding with dims \[\[8\]\]"),
    ],
)
def test_a_server_with_other_models_is_refused(
    serve: Callable[..., FakeTriton], tiny_repository: Path, edit: dict[str, tuple[str, str]], message: str
) -> None:
    with pytest.raises(ServerMismatch, match=f"{message}.*load the exported model_repository"):
        TritonEncoder(serve({CONFIGS: configs_of(tiny_repository, **edit)}).url)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (infers(np.eye(16)[:1], name="logits"), "sent no tensor named embedding"),
        (infers(np.eye(16)[:2]), r"float32 \[2, 16\], expected float32 \[1, 16\]"),
        (infers(np.eye(8)[:1]), r"float32 \[1, 8\], expected float32 \[1, 16\]"),
        (infers(np.full((1, 16), np.nan)), "norm nan, expected 1"),
        (infers(np.ones((1, 16))), "norm 4, expected 1"),
    ],
)
def test_a_wrong_reply_is_refused(
    serve: Callable[..., FakeTriton], tiny_repository: Path, answer: Any, message: str
) -> None:
    encoder = TritonEncoder(serve({CONFIGS: configs_of(tiny_repository), INFERS: answer}).url)
    with pytest.raises(ServerMismatch, match=message):
        encoder.embed_texts(["low"])
