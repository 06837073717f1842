"""Calls to Triton over gRPC, with deadlines, retries, failover between servers and a check of the served models."""

import itertools
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import InferResult, service_pb2, service_pb2_grpc

from ..errors import EncoderError, ServerMismatch, ServerTimeout
from .server_errors import meaning_of

# A server that was restarted with another model returns other vectors on the same address, and its replies do not tell.
# A restart takes longer than this interval, and calls fail meanwhile, so a check always notices it.
_CHECK_EVERY_S = 1.0
_CHECK_TIMEOUT_S = 5.0  # the check comes first on a connection, so a silent host can delay a call by as much
_HOLD_S = 5.0  # how long a failed server is skipped while another one is available
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0

_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # By default gRPC waits for up to 120 s before it connects again.
    ("grpc.initial_reconnect_backoff_ms", round(1000 * _FIRST_PAUSE_S)),
    ("grpc.max_reconnect_backoff_ms", round(1000 * _LONGEST_PAUSE_S)),
]

_ADDRESS = re.compile(r"([^\s/@:\[\],]+|\[[0-9a-fA-F:.%]+\]):([0-9]{1,5})")
_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")

log = logging.getLogger(__name__)


class Server:
    """One address, and the state of the server there.

    Attributes:
        url: for people.
        checked_at: when the last check began that its models passed. `time.monotonic()` in seconds, like the others.
        held_until: the server failed, and is skipped until this time if another server is available.
        check: when the last check began that has not failed yet, and its pending replies.
        in_flight: a token for each request that the server has not answered yet.
    """

    def __init__(self, url: str, channel: grpc.Channel, *, metadata: Sequence[tuple[str, str]]) -> None:
        self.url = url
        self.checked_at = self.held_until = float("-inf")
        self.check: tuple[float, list[Any]] = (float("-inf"), [])
        self.in_flight: set[object] = set()
        self._channel = channel
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._metadata = metadata

    def infer(self, request: Any, *, timeout_s: float, token: object) -> Any:
        self.in_flight.add(token)  # before it is sent, so that no other thread takes this server for idle
        try:
            reply = self._begin(self._stub.ModelInfer, request, timeout_s=timeout_s)
        except BaseException:
            self.in_flight.discard(token)
            raise
        reply.add_done_callback(lambda _: self.in_flight.discard(token))  # also where nobody waits for it any more
        return reply

    def ask_config(self, model: str, *, timeout_s: float) -> Any:
        return self._begin(self._stub.ModelConfig, service_pb2.ModelConfigRequest(name=model), timeout_s=timeout_s)

    def hold(self) -> None:
        """Skip the server for a while, and check it before it is used again."""
        self.held_until = time.monotonic() + _HOLD_S
        self.checked_at = float("-inf")
        self.check = (float("-inf"), [])

    def close(self) -> None:
        self._channel.close()

    def _begin(self, method: Any, request: Any, *, timeout_s: float) -> Any:
        try:
            return method.future(request, timeout=timeout_s, metadata=self._metadata)
        except ValueError as exc:  # the channel was closed
            raise EncoderError(f"cannot call {self.url}: {exc}; open a new MusicSearch") from exc


@dataclass(eq=False)
class Call:
    """A request on its way, see `ServerPool.start`. `try_deadline` is the deadline of the try with `server`."""

    request: Any
    deadline: float
    try_deadline: float
    server: Server
    check: tuple[float, list[Any]] | None = None  # if one is due; this call or another one began it
    reply: Any = None
    token: object = None  # in its server's `in_flight`
    pause_s: float = _FIRST_PAUSE_S  # before the next try
    error: EncoderError | None = None  # from the tries so far


@dataclass(frozen=True)
class _Failure:
    error: EncoderError
    is_transient: bool


class ServerPool:
    """Servers of one model. A call goes to the server with the fewest requests in flight.

    Servers with equal numbers take turns. A failed call is retried on another server or on the same one.

    All calls are idempotent. Errors that `server_errors` calls transient are retried until the call's deadline. If
    another server is available, a server that is silent for half of the remaining time also counts as a transient
    error.

    Args:
        servers: at least one.
        models: the models whose configurations are checked.
        check: called with a server's url and these configurations. It raises `ServerMismatch` to refuse them.
        timeout_s: for the first check of all servers.

    Raises:
        ServerUnavailable: no server answers. This is not retried.
        ServerMismatch: a server that answers is refused.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        models: Sequence[str],
        check: Callable[[str, list[Any]], None],
        timeout_s: float,
    ) -> None:
        self._servers = servers
        self._models = models
        self._check = check
        self._turns = itertools.count()
        self._asking = threading.Lock()
        try:
            self._open(timeout_s=timeout_s)
        except BaseException:
            self.close()
            raise

    def start(
        self, model: str, name: str, kind: str, content: bytes, *, shape: Sequence[int], timeout_s: float
    ) -> Call:
        """Send one tensor to a model without waiting for the reply.

        Args:
            model: the model's name.
            name: the tensor's name, as Triton calls it.
            kind: the tensor's data type, as Triton calls it.
            content: the tensor's bytes.
            shape: the tensor's shape.
            timeout_s: how long until `wait` returns or raises, with all tries.
        """
        request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[content])
        request.inputs.add(name=name, datatype=kind, shape=shape)
        deadline = time.monotonic() + timeout_s
        call = Call(request, deadline=deadline, try_deadline=deadline, server=self._next_server())
        self._send(call)
        return call

    def wait(self, call: Call) -> InferResult:
        """Wait for the reply.

        Raises:
            EncoderError: a final failure, or a transient one that lasted until the deadline.
        """
        while True:
            outcome = self._outcome(call)
            if not isinstance(outcome, _Failure):
                return InferResult(outcome)
            # The last try may time out only because little time was left. The error before it tells more.
            is_late = isinstance(outcome.error, ServerTimeout)
            error = call.error if is_late and call.error else outcome.error
            if not outcome.is_transient:
                raise error
            call.error = error
            call.reply.cancel()
            self._pause(call, error)
            call.server = self._next_server()
            self._send(call)

    def close(self) -> None:
        for server in self._servers:
            server.close()

    def _open(self, *, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        calls = [Call(None, deadline=deadline, try_deadline=deadline, server=server) for server in self._servers]
        for call in calls:
            self._ask_configs(call)
        failures = [failure for call in calls if (failure := self._check_configs(call))]
        for failure in failures:
            if not failure.is_transient or len(failures) == len(calls):
                raise failure.error
            log.warning("%s; its calls go to the other servers", failure.error)

    def _next_server(self) -> Server:
        """The server with the fewest requests in flight, in turns; if all are held, the one whose hold ends first."""
        now = time.monotonic()
        turn = next(self._turns) % len(self._servers)
        in_turn = [*self._servers[turn:], *self._servers[:turn]]
        return min(in_turn, key=lambda server: (max(0.0, server.held_until - now), len(server.in_flight)))

    def _has_other_server(self, than: Server) -> bool:
        now = time.monotonic()
        return any(server is not than and server.held_until <= now for server in self._servers)

    def _send(self, call: Call) -> None:
        now = time.monotonic()
        # The server may be silent, so half of the time is kept for another one.
        share = 0.5 if self._has_other_server(call.server) else 1.0
        call.try_deadline = now + share * (call.deadline - now)
        call.check = None
        if now - call.server.checked_at > _CHECK_EVERY_S:
            self._ask_configs(call)  # runs at the same time as the call, so it adds no latency
        call.token = object()
        call.reply = call.server.infer(call.request, timeout_s=call.try_deadline - now, token=call.token)

    def _ask_configs(self, call: Call) -> None:
        """Begin a check, or join the running one, so that a busy server is not checked by every call."""
        server, now = call.server, time.monotonic()
        with self._asking:
            if now - server.check[0] > _CHECK_EVERY_S:
                timeout_s = min(_CHECK_TIMEOUT_S, call.try_deadline - now)
                server.check = (now, [server.ask_config(model, timeout_s=timeout_s) for model in self._models])
            call.check = server.check

    def _outcome(self, call: Call) -> Any:
        """The reply, or a _Failure."""
        failure = self._check_configs(call) if call.check else None
        if failure is None:
            try:
                return call.reply.result()
            except grpc.RpcError as exc:
                failure = _failed(call.server, exc)
            finally:
                call.server.in_flight.discard(call.token)  # the callback may come later
            if not isinstance(failure.error, ServerTimeout):
                return failure
        # Another server may have the right models, or answer in time.
        return replace(failure, is_transient=failure.is_transient or self._has_other_server(call.server))

    def _check_configs(self, call: Call) -> _Failure | None:
        assert call.check is not None
        asked_at, replies = call.check
        try:
            left_s = max(0.0, call.try_deadline - time.monotonic())
            self._check(call.server.url, [reply.result(timeout=left_s).config for reply in replies])
        except (grpc.RpcError, grpc.FutureTimeoutError) as exc:
            call.server.hold()
            failure = _failed(call.server, exc)
            # Configurations are quick to send, so a server that is late with them does not answer at all.
            return replace(failure, is_transient=True) if isinstance(failure.error, ServerTimeout) else failure
        except ServerMismatch as exc:
            call.server.hold()
            return _Failure(exc, is_transient=False)
        call.server.checked_at = asked_at
        return None

    def _pause(self, call: Call, error: EncoderError) -> None:
        """Wait before the next try, or not if another server can take the call. Raise the error at the deadline."""
        pause_s = 0.0
        if not self._has_other_server(call.server):
            # Random jitter of up to half of the pause, so that callers that failed together do not retry together.
            pause_s = call.pause_s * random.uniform(0.5, 1.0)
        left_s = call.deadline - time.monotonic()
        if pause_s >= left_s:
            raise error
        if pause_s:
            if call.pause_s == _FIRST_PAUSE_S:
                log.warning("%s; trying again for up to %.0f s", error, left_s)
            call.pause_s = min(2 * call.pause_s, _LONGEST_PAUSE_S)
        time.sleep(pause_s)


def _failed(server: Server, exc: grpc.RpcError | grpc.FutureTimeoutError) -> _Failure:
    is_late = isinstance(exc, grpc.FutureTimeoutError)  # the check belongs to another call with a later deadline
    status, message = ("DEADLINE_EXCEEDED", "its configuration") if is_late else (exc.code().name, exc.details() or "")
    meaning = meaning_of(status, message)
    error = meaning.error(f"the server {server.url} {meaning.advice} ({status}: {message})")
    error.__cause__ = exc
    if meaning.is_transient or isinstance(error, ServerTimeout):
        server.hold()
    return _Failure(error, meaning.is_transient)


def open_servers(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    ca_file: str | Path | None = None,
    cert_file: str | Path | None = None,
    key_file: str | Path | None = None,
) -> list[Server]:
    """Create channels to the servers of a url. They are not connected yet. See `TritonEncoder` for the arguments.

    Raises:
        EncoderError: an argument cannot be used.
    """
    scheme, _, rest = url.partition("://")
    addresses = rest.removesuffix("/").split(",")
    if scheme not in ("grpc", "grpcs") or not all(map(_is_address, addresses)):
        raise EncoderError(
            f"cannot use the server address {url!r}: expected grpc://host:port, grpcs://host:port for TLS, or several "
            "servers as grpc://a:8001,b:8001"
        )
    files = (ca_file, cert_file, key_file)
    if scheme == "grpc" and any(files):
        raise EncoderError(f"{url} is not encrypted, so it takes no certificates: use grpcs://")
    if bool(cert_file) != bool(key_file):
        raise EncoderError(f"got cert_file={cert_file} and key_file={key_file}: expected both or none")
    metadata = [(name.lower(), value) for name, value in (headers or {}).items()]
    for name, value in metadata:
        if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise EncoderError(f"cannot send the header {name!r}: expected a plain name and a value of printable ASCII")
    if scheme == "grpcs":
        ca, cert, key = map(_read, files)
        credentials = grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)
        channels = [grpc.secure_channel(address, credentials, options=_CHANNEL_OPTIONS) for address in addresses]
    else:
        channels = [grpc.insecure_channel(address, options=_CHANNEL_OPTIONS) for address in addresses]
    return [
        Server(f"{scheme}://{address}", channel, metadata=metadata)
        for address, channel in zip(addresses, channels, strict=True)
    ]


def _is_address(text: str) -> bool:
    match = _ADDRESS.fullmatch(text)
    return match is not None and 1 <= int(match[2]) <= 65535  # gRPC dials a larger one modulo 65536


def _read(path: str | Path | None) -> bytes | None:
    if not path:
        return None
    try:
        content = Path(path).expanduser().read_bytes()
    except OSError as exc:
        raise EncoderError(f"cannot read {path} ({exc.strerror}): expected a PEM file") from exc
    if b"-----BEGIN " not in content:  # gRPC treats an empty file as no file
        raise EncoderError(f"cannot use {path}: it has no line -----BEGIN, expected a PEM file")
    return content
