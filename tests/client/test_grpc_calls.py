"""Retries, fail-over, headers, TLS and requests in flight, against gRPC servers in this process."""

import collections
import os
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from client import EncoderError, ServerBusy, ServerMismatch, ServerUnavailable, TritonEncoder
from client.encoders import grpc_calls, open_encoder
from client.encoders.local import LocalEncoder
from tests.client.fake_triton import CONFIGS, INFERS, FakeTriton, Handler, configs_of, infers
from tests.tiny_repository import build_tiny_repository

Serve = Callable[..., FakeTriton]
ONE = np.eye(16, dtype=np.float32)[:1]


class Script:
    """Answers ModelInfer with these failures in turn, then always with `ONE`; counts the calls."""

    def __init__(self, *failures: tuple[grpc.StatusCode, str]) -> None:
        self.calls = 0
        self._failures = list(failures)

    def __call__(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        if self._failures:
            context.abort(*self._failures.pop(0))
        return infers(ONE)(request, context)


DOWN = (grpc.StatusCode.UNAVAILABLE, "connection refused")


# -- retries ---------------------------------------------------------------------------------------------


def test_an_unavailable_server_is_asked_again(serve: Serve, tiny_repository: Path) -> None:
    stopping = (grpc.StatusCode.UNAVAILABLE, "Server is stopping, scheduler for model has stopped accepting requests")
    unloaded = (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'text_embedding' has no available versions")
    died = (grpc.StatusCode.INTERNAL, "Stub process 'text_tokenizer_0_1' is not healthy.")
    script = Script(DOWN, stopping, unloaded, died)
    encoder = TritonEncoder(serve({CONFIGS: configs_of(tiny_repository), INFERS: script}).url)
    np.testing.assert_array_equal(encoder.embed_texts(["low"]), ONE)
    assert script.calls == 5


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ((grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape"), ServerMismatch),
        ((grpc.StatusCode.INTERNAL, "the graph failed"), EncoderError),
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, "rate limit"), ServerBusy),
        ((grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"), ServerBusy),
        ((grpc.StatusCode.UNAVAILABLE, "Request timeout expired"), ServerBusy),
    ],
)
def test_what_another_try_would_not_mend_is_raised_at_once(
    serve: Serve, tiny_repository: Path, failure: tuple[grpc.StatusCode, str], error: type[EncoderError]
) -> None:
    script = Script(failure)
    encoder = TritonEncoder(serve({CONFIGS: configs_of(tiny_repository), INFERS: script}).url)
    with pytest.raises(error, match=failure[1]):
        encoder.embed_texts(["low"])
    assert script.calls == 1


def test_retries_end_at_the_deadline(serve: Serve, tiny_repository: Path) -> None:
    script = Script(*[DOWN] * 1000)
    server = serve({CONFIGS: configs_of(tiny_repository), INFERS: script})
    encoder = TritonEncoder(server.url, text_timeout_s=1.0)
    with pytest.raises(ServerUnavailable):
        encoder.embed_texts(["low"])
    # Pauses of at least 0.05, 0.1, 0.2, 0.4 and 0.8 s: a sixth try would be past the deadline.
    assert 2 <= script.calls <= 5


def test_a_last_try_without_an_answer_does_not_hide_what_was_said_before(serve: Serve, tiny_repository: Path) -> None:
    released = threading.Event()
    script = Script(DOWN)

    def down_then_silent(request: bytes, context: grpc.ServicerContext) -> bytes:
        if script.calls:
            released.wait(30)
        return script(request, context)

    server = serve({CONFIGS: configs_of(tiny_repository), INFERS: down_then_silent})
    encoder = TritonEncoder(server.url, text_timeout_s=1)
    with pytest.raises(ServerUnavailable, match="connection refused"):
        encoder.embed_texts(["low"])
    released.set()


# -- several servers -------------------------------------------------------------------------------------


def url_of(*servers: FakeTriton) -> str:
    return "grpc://" + ",".join(server.url.removeprefix("grpc://") for server in servers)


def test_calls_take_turns_and_pass_over_a_dead_server_until_it_is_back(
    serve: Serve, tiny_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_calls, "_HOLD_S", 0.2)
    scripts = Script(), Script()
    handlers = [{CONFIGS: configs_of(tiny_repository), INFERS: script} for script in scripts]
    a, b = map(serve, handlers)
    encoder = TritonEncoder(url_of(a, b))
    for _ in range(6):
        encoder.embed_texts(["low"])
    assert [script.calls for script in scripts] == [3, 3]

    a.stop()
    for _ in range(6):
        np.testing.assert_array_equal(encoder.embed_texts(["low"]), ONE)
    assert [script.calls for script in scripts] == [3, 9]

    serve(handlers[0], port=a.port)
    give_up = time.monotonic() + 20
    while scripts[0].calls == 3 and time.monotonic() < give_up:
        encoder.embed_texts(["low"])
        time.sleep(0.05)
    assert scripts[0].calls > 3


def test_a_slow_server_gets_no_call_while_another_one_is_idle(serve: Serve, tiny_repository: Path) -> None:
    arrived, released = threading.Event(), threading.Event()

    def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
        arrived.set()
        released.wait(30)
        return infers(ONE)(request, context)

    quick = Script()
    handlers = [{CONFIGS: configs_of(tiny_repository), INFERS: infer} for infer in (wait, quick)]
    encoder = TritonEncoder(url_of(*map(serve, handlers)))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(encoder.embed_texts, ["low"])
        assert arrived.wait(30)
        for _ in range(6):
            encoder.embed_texts(["low"])
        assert (quick.calls, late.done()) == (6, False)
        released.set()
        np.testing.assert_array_equal(late.result(), ONE)


def test_a_client_opens_while_one_of_its_servers_is_down(
    serve: Serve, tiny_repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = (serve({CONFIGS: configs_of(tiny_repository), INFERS: Script()}) for _ in range(2))
    b.stop()
    encoder = TritonEncoder(url_of(a, b))
    assert f"the server {b.url} is not reachable" in caplog.text
    for _ in range(4):
        np.testing.assert_array_equal(encoder.embed_texts(["low"]), ONE)
    a.stop()
    with pytest.raises(ServerUnavailable, match="is not reachable"):
        TritonEncoder(url_of(a, b))


def test_a_silent_server_holds_up_a_call_for_as_long_as_its_check_may_take(
    serve: Serve, tiny_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_calls, "_CHECK_EVERY_S", 0.0)
    monkeypatch.setattr(grpc_calls, "_CHECK_TIMEOUT_S", 0.3)
    configs = configs_of(tiny_repository)
    hangs, released = threading.Event(), threading.Event()

    def hang(request: bytes, context: grpc.ServicerContext) -> bytes:
        if hangs.is_set():
            released.wait(20)
        return configs(request, context)

    a = serve({CONFIGS: hang, INFERS: hang})
    b = serve({CONFIGS: configs, INFERS: infers(ONE)})
    encoder = TritonEncoder(url_of(a, b))
    hangs.set()
    for _ in range(3):
        np.testing.assert_array_equal(encoder.embed_texts(["low"]), ONE)
    released.set()


def test_a_silent_server_leaves_time_for_another_one(
    serve: Serve, tiny_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_calls, "_CHECK_EVERY_S", 60.0)
    released = threading.Event()

    def hang(request: bytes, context: grpc.ServicerContext) -> bytes:
        released.wait(20)
        return b""

    a, b = (serve({CONFIGS: configs_of(tiny_repository), INFERS: answer}) for answer in (hang, infers(ONE)))
    encoder = TritonEncoder(url_of(a, b), text_timeout_s=2.0)
    for _ in range(4):
        np.testing.assert_array_equal(encoder.embed_texts(["low"]), ONE)
    b.stop()
    with pytest.raises(ServerUnavailable):
        encoder.embed_texts(["low"])
    released.set()


def test_calls_at_the_same_time_share_a_check(serve: Serve, tiny_repository: Path) -> None:
    answer, asked = configs_of(tiny_repository), collections.Counter()

    def count(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked[service_pb2.ModelConfigRequest.FromString(request).name] += 1
        time.sleep(0.2)  # calls go on coming
        return answer(request, context)

    encoder = TritonEncoder(serve({CONFIGS: count, INFERS: infers(ONE)}).url)
    at_first = asked.copy()
    time.sleep(grpc_calls._CHECK_EVERY_S + 0.1)
    with ThreadPoolExecutor(3) as pool:
        for vectors in pool.map(lambda _: encoder.embed_texts(["low"]), range(9)):
            np.testing.assert_array_equal(vectors, ONE)
    assert asked == at_first + at_first


def other_model(repository: Path) -> Handler:
    fingerprint = LocalEncoder(repository, device="cpu").spec.fingerprint
    edit = (fingerprint, "0" * 64)
    return configs_of(repository, audio_encoder=edit, text_encoder=edit)


def both_fingerprints(repository: Path, *, of: FakeTriton) -> str:
    return f"{of.url} serves the model tiny \\(0{{64}}\\).*{LocalEncoder(repository, device='cpu').spec.fingerprint}"


def test_servers_of_different_models_are_refused(serve: Serve, tiny_repository: Path) -> None:
    a, b = (serve({CONFIGS: configs}) for configs in (configs_of(tiny_repository), other_model(tiny_repository)))
    with pytest.raises(ServerMismatch, match=both_fingerprints(tiny_repository, of=b)):
        TritonEncoder(url_of(a, b))


def test_a_server_that_comes_back_with_another_model_gives_no_vector(serve: Serve, tiny_repository: Path) -> None:
    script, other = Script(), Script()
    server = serve({CONFIGS: configs_of(tiny_repository), INFERS: script})
    encoder = TritonEncoder(server.url)
    encoder.embed_texts(["low"])
    server.stop()
    serve({CONFIGS: other_model(tiny_repository), INFERS: other}, port=server.port)
    time.sleep(1.1)  # no restart is quicker
    with pytest.raises(ServerMismatch, match=both_fingerprints(tiny_repository, of=server)):
        encoder.embed_texts(["low"])


def test_the_other_server_takes_the_calls_of_one_that_changed_its_model(
    serve: Serve, tiny_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_calls, "_CHECK_EVERY_S", 0.0)
    answers = {"a": configs_of(tiny_repository)}
    a = serve({CONFIGS: lambda *call: answers["a"](*call), INFERS: infers(ONE[:, ::-1])})
    b = serve({CONFIGS: configs_of(tiny_repository), INFERS: infers(ONE)})
    encoder = TritonEncoder(url_of(a, b))
    answers["a"] = other_model(tiny_repository)
    for _ in range(4):
        np.testing.assert_array_equal(encoder.embed_texts(["low"]), ONE)
    b.stop()
    with pytest.raises(EncoderError):  # rather than a's vector
        encoder.embed_texts(["low"])


# -- large calls -----------------------------------------------------------------------------------------


def test_rows_keep_their_order_with_several_requests_in_flight(serve: Serve, tiny_repository: Path) -> None:
    """Each window's first sample says which unit vector is its embedding; later requests answer first."""
    lock = threading.Lock()
    running, most = 0, 0

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        content = service_pb2.ModelInferRequest.FromString(request).raw_input_contents[0]
        firsts = np.frombuffer(content, np.float32).reshape(-1, 16_000)[:, 0]
        time.sleep(0.2 if firsts[0] % 2 else 0.05)
        with lock:
            running -= 1
        return infers(np.eye(16)[firsts.astype(int)])(request, context)

    encoder = TritonEncoder(serve({CONFIGS: configs_of(tiny_repository), INFERS: answer}).url)
    rows = np.random.default_rng(0).integers(16, size=75)  # the model's largest batch is 8
    windows = np.zeros((75, 16_000), np.float32)
    windows[:, 0] = rows
    np.testing.assert_array_equal(encoder.embed_windows(windows), np.eye(16)[rows])
    assert 2 <= most <= 4


def test_when_a_request_fails_the_others_in_flight_are_cancelled(serve: Serve, tiny_repository: Path) -> None:
    begun, cancelled = [], []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        begun.append(request)
        if np.frombuffer(service_pb2.ModelInferRequest.FromString(request).raw_input_contents[0], np.float32)[0]:
            context.abort(grpc.StatusCode.INTERNAL, "the graph failed")
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            if not context.is_active():
                cancelled.append(request)
                break
            time.sleep(0.02)
        return b""

    encoder = TritonEncoder(serve({CONFIGS: configs_of(tiny_repository), INFERS: answer}).url)
    windows = np.zeros((160, 16_000), np.float32)  # 20 requests
    windows[0, 0] = 1.0
    with pytest.raises(EncoderError, match="the graph failed"):
        encoder.embed_windows(windows)
    give_up = time.monotonic() + 5
    while len(cancelled) < len(begun) - 1 and time.monotonic() < give_up:
        time.sleep(0.02)
    assert len(cancelled) == len(begun) - 1 <= 3


def test_requests_stay_below_what_gateways_take(serve: Serve, tmp_path: Path) -> None:
    sizes: dict[str, list[int]] = collections.defaultdict(list)

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        message = service_pb2.ModelInferRequest.FromString(request)
        sizes[message.model_name].append(len(request))
        return infers(np.repeat(ONE, message.inputs[0].shape[0], axis=0))(request, context)

    repository = build_tiny_repository(tmp_path, window_s=60.0)  # 3.8 MB a window, 8 windows a batch
    encoder = TritonEncoder(serve({CONFIGS: configs_of(repository), INFERS: answer}).url)
    assert encoder.embed_windows(np.zeros((5, 960_000), np.float32)).shape == (5, 16)
    texts = ["tone", *["low " * 400_000] * 6, "low " * 3_000_000, "tone"]  # 1.6 MB and 12 MB, 16 texts a batch
    assert encoder.embed_texts(texts).shape == (9, 16)
    assert len(sizes["audio_encoder"]) == 3
    assert max(sizes["audio_encoder"]) < 8 * 2**20
    # In order of arrival, which is not that of sending; only a text that is itself too long is above the limit.
    assert [size // 10**6 for size in sorted(sizes["text_embedding"])] == [0, 1, 8, 12]


# -- headers and TLS -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An authority's certificate, `ca`, and a certificate and key that it signed for 127.0.0.1, `cert` and `key`."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(arguments: str, **options: Any) -> None:
        subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True, **options)

    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    openssl(f"req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority")
    openssl(f"req {key} -keyout key.pem -out request.pem -subj /CN=server")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    openssl("x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names")
    return {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}


def tls(certificates: dict[str, Path], *, ask_client: bool = False) -> grpc.ServerCredentials:
    ca, cert, key = (certificates[name].read_bytes() for name in ("ca", "cert", "key"))
    return grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=ask_client)


def asking_for(name: str, value: str, *, then: Handler) -> Handler:
    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if (name, value) not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"no {name}")
        return then(request, context)

    return answer


def test_headers_go_with_every_call(serve: Serve, tiny_repository: Path) -> None:
    handlers = {CONFIGS: configs_of(tiny_repository), INFERS: infers(ONE)}
    server = serve({method: asking_for("x-api-key", "sesame", then=then) for method, then in handlers.items()})
    with pytest.raises(EncoderError, match=r"refuses this client: .*UNAUTHENTICATED: no x-api-key"):
        TritonEncoder(server.url)
    encoder = TritonEncoder(server.url, headers={"X-API-Key": "sesame"})
    np.testing.assert_array_equal(encoder.embed_texts(["low"]), ONE)


def test_the_environment_gives_the_token_and_the_authority(
    serve: Serve, tiny_repository: Path, certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = {CONFIGS: configs_of(tiny_repository), INFERS: infers(ONE)}
    guarded = {method: asking_for("authorization", "Bearer sesame", then=then) for method, then in handlers.items()}
    monkeypatch.setenv("MUSICSEARCH_TOKEN", "sesame")
    monkeypatch.setenv("MUSICSEARCH_CA_FILE", str(certificates["ca"]))
    encoder = open_encoder(serve(guarded, credentials=tls(certificates)).url)
    np.testing.assert_array_equal(encoder.embed_texts(["low"]), ONE)
    with pytest.raises(EncoderError, match="no authorization"):  # not over a line that others can read
        open_encoder(serve(guarded).url)


def test_a_server_proves_who_it_is(serve: Serve, tiny_repository: Path, certificates: dict[str, Path]) -> None:
    server = serve({CONFIGS: configs_of(tiny_repository), INFERS: infers(ONE)}, credentials=tls(certificates))
    encoder = TritonEncoder(server.url, ca_file=certificates["ca"])
    np.testing.assert_array_equal(encoder.embed_texts(["low"]), ONE)
    with pytest.raises(
        EncoderError, match="fails the TLS handshake: name its certificate authority in MUSICSEARCH_CA_FILE"
    ):
        TritonEncoder(server.url)
    with pytest.raises(EncoderError, match="fails the TLS handshake"):  # the certificate is for 127.0.0.1 only
        TritonEncoder(server.url.replace("127.0.0.1", "localhost"), ca_file=certificates["ca"])
    with pytest.raises(ServerUnavailable):
        TritonEncoder(server.url.replace("grpcs", "grpc"))


def test_a_server_without_tls_is_named_as_such(serve: Serve, certificates: dict[str, Path]) -> None:
    with pytest.raises(EncoderError, match="does not speak TLS: use grpc://"):
        TritonEncoder(serve({}).url.replace("grpc", "grpcs"), ca_file=certificates["ca"])


def test_a_client_proves_who_it_is(serve: Serve, tiny_repository: Path, certificates: dict[str, Path]) -> None:
    handlers = {CONFIGS: configs_of(tiny_repository), INFERS: infers(ONE)}
    server = serve(handlers, credentials=tls(certificates, ask_client=True))
    ca, cert, key = (certificates[name] for name in ("ca", "cert", "key"))
    encoder = TritonEncoder(server.url, ca_file=ca, cert_file=cert, key_file=key)
    np.testing.assert_array_equal(encoder.embed_texts(["low"]), ONE)
    with pytest.raises(ServerUnavailable):
        TritonEncoder(server.url, ca_file=ca)
    with pytest.raises(EncoderError, match="the key belongs to another certificate"):
        TritonEncoder(server.url, ca_file=ca, cert_file=ca, key_file=key)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("http://a:8000", {}, "expected grpc://host:port"),
        ("grpc://a", {}, "expected grpc://host:port"),
        ("grpc://a:8001,", {}, "several servers as grpc://a:8001,b:8001"),
        ("grpc://a:8001,grpc://b:8001", {}, "several servers as grpc://a:8001,b:8001"),
        ("grpc://a:8001", {"ca_file": "ca.pem"}, "is not encrypted, so it takes no certificates: use grpcs://"),
        ("grpcs://a:8001", {"cert_file": "cert.pem"}, "key_file=None: expected both or none"),
        ("grpc://127.0.0.1:99999", {}, "expected grpc://host:port"),
        ("grpc://a:8001,b:00000", {}, "expected grpc://host:port"),
        ("grpcs://a:8001", {"ca_file": "/no/ca.pem"}, r"cannot read /no/ca.pem \(No such file"),
        ("grpcs://a:8001", {"ca_file": os.devnull}, "has no line -----BEGIN, expected a PEM file"),
        ("grpc://a:8001", {"headers": {"a b": "c"}}, "cannot send the header 'a b'"),
        ("grpc://a:8001", {"headers": {"key": "two\nlines"}}, "a value of printable ASCII"),
    ],
)
def test_an_address_or_option_of_no_use_is_refused(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        TritonEncoder(url, **options)
