"""The encoder behind gRPC: parity with the one in process, and what each failure is called.

Parity runs against the real tritonserver. Failures that a healthy Triton cannot show come from a real gRPC
server in this process that answers what the test tells it.
"""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2

from client import EncoderError, MusicSearch, ServerMismatch, ServerUnavailable
from client.encoders.local import LocalEncoder
from client.encoders.triton import STATUS_ERRORS, TritonEncoder

CONFIGS = "/inference.GRPCInferenceService/ModelConfig"
INFERS = "/inference.GRPCInferenceService/ModelInfer"


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
    with pytest.raises(ServerMismatch, match=r"refuses our tensors: .*INVALID_ARGUMENT"):
        remote.embed_windows(np.zeros((1, 10), np.float32))
    with pytest.raises(ServerMismatch, match=r"does not serve our models: .*NOT_FOUND"):
        remote._config("another_model")


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
            TritonEncoder(url, timeout_s=0.5)


# -- a server that does what it is told ------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, Any]], str]]:
    """Start a gRPC server with these handlers, method -> function(request bytes, context); gives its address."""
    servers = []

    def start(handlers: dict[str, Any]) -> str:
        class Handlers(grpc.GenericRpcHandler):
            def service(self, call: grpc.HandlerCallDetails) -> Any:
                return handlers.get(call.method) and grpc.unary_unary_rpc_method_handler(handlers[call.method])

        server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Handlers()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"grpc://127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None)


def configs_of(repository: Path, **edits: tuple[str, str]) -> Callable[[bytes, Any], bytes]:
    """Answers ModelConfig from a repository's files; `model=(old, new)` edits one of them."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        model = service_pb2.ModelConfigRequest.FromString(request).name
        text = (repository / model / "config.pbtxt").read_text()
        old, new = edits.get(model, ("", ""))
        assert old in text
        config = text_format.Parse(text.replace(old, new) if old else text, model_config_pb2.ModelConfig())
        return service_pb2.ModelConfigResponse(config=config).SerializeToString()

    return answer


def infers(embeddings: np.ndarray, *, name: str = "embedding") -> Callable[[bytes, Any], bytes]:
    """Answers every ModelInfer with these float32 embeddings."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        reply = service_pb2.ModelInferResponse(raw_output_contents=[embeddings.astype(np.float32).tobytes()])
        reply.outputs.add(name=name, datatype="FP32", shape=embeddings.shape)
        return reply.SerializeToString()

    return answer


def test_not_a_triton(serve: Callable[..., str]) -> None:
    with pytest.raises(ServerMismatch, match="is not a Triton server: give the address of Triton's gRPC port"):
        TritonEncoder(serve({}))


@pytest.mark.parametrize("status", grpc.StatusCode)
def test_every_grpc_status_has_its_error(
    serve: Callable[..., str], tiny_repository: Path, status: grpc.StatusCode
) -> None:
    if status is grpc.StatusCode.OK:
        assert "OK" not in STATUS_ERRORS
        return

    def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(status, "the details")

    encoder = TritonEncoder(serve({CONFIGS: configs_of(tiny_repository), INFERS: fail}))
    error, meaning = STATUS_ERRORS[status.name]
    with pytest.raises(EncoderError) as caught:
        encoder.embed_texts(["low"])
    assert type(caught.value) is error
    assert f"{encoder.device} {meaning} ({status.name}: the details)" in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_model_that_triton_calls_unavailable_is_a_mismatch(serve: Callable[..., str]) -> None:
    def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAVAILABLE, "Request for unknown model: 'audio_encoder' is not found")

    with pytest.raises(ServerMismatch, match="does not serve our models: load the exported model_repository"):
        TritonEncoder(serve({CONFIGS: fail}))


def test_every_call_has_a_deadline(serve: Callable[..., str], tiny_repository: Path) -> None:
    def sleep(request: bytes, context: grpc.ServicerContext) -> bytes:
        time.sleep(3)
        return b""

    with pytest.raises(ServerUnavailable, match="did not answer in time"):
        TritonEncoder(serve({CONFIGS: sleep}), timeout_s=0.2)
    encoder = TritonEncoder(serve({CONFIGS: configs_of(tiny_repository), INFERS: sleep}), timeout_s=0.5)
    with pytest.raises(ServerUnavailable, match="did not answer in time"):
        encoder.embed_texts(["low"])
    with pytest.raises(ServerUnavailable, match="did not answer in time"):
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
    serve: Callable[..., str], tiny_repository: Path, edit: dict[str, tuple[str, str]], message: str
) -> None:
    with pytest.raises(ServerMismatch, match=f"{message}.*load the exported model_repository"):
        TritonEncoder(serve({CONFIGS: configs_of(tiny_repository, **edit)}))


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
def test_a_wrong_reply_is_refused(serve: Callable[..., str], tiny_repository: Path, answer: Any, message: str) -> None:
    encoder = TritonEncoder(serve({CONFIGS: configs_of(tiny_repository), INFERS: answer}))
    with pytest.raises(ServerMismatch, match=message):
        encoder.embed_texts(["low"])
