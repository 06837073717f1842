"""An S3 server on loopback (moto's), whose failures and delays a test sets, and which counts what it sends."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from werkzeug.serving import WSGIRequestHandler, make_server


class Answer(NamedTuple):
    """What is sent instead of moto's answer."""

    status: str
    headers: dict[str, str]
    body: bytes = b""


class S3Server:
    """moto's S3 behind a gate.

    Attributes:
        url: of the server.
        sent_bytes: of objects; asked: how often which method and path was asked for.
        gate: called with the WSGI environment of each request: a pair of status and S3's code, or an `Answer`, is sent
            instead, "reset" closes the connection in the middle of one, None lets it through.
        delay_s: before each answer.
    """

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from s3fs import S3FileSystem

        from client import remote

        # Connections to the server of another test file, which is gone.
        remote._stores.clear()
        S3FileSystem.clear_instance_cache()

        self._app = DomainDispatcherApplication(create_backend_app)
        self.sent_bytes = 0
        self.asked: Counter[str] = Counter()
        self.gate: Callable[[dict[str, Any]], tuple[str, str] | Answer | str | None] = lambda environ: None
        self.delay_s = 0.0
        self._lock = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a client of this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",  # what tries again is to be ours
        }

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        name = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        with self._lock:
            self.asked[name] += 1
        time.sleep(self.delay_s)
        refusal = self.gate(environ)
        if refusal == "reset":
            start("200 OK", [("Content-Length", "1000000")])
            return _break_off()
        if isinstance(refusal, Answer):
            start(refusal.status, list(refusal.headers.items()))
            body = refusal.body
        elif refusal is not None:
            status, code = refusal
            body = f"<Error><Code>{code}</Code><Message>made up: {code}</Message></Error>".encode()
            start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]
        else:
            body = b"".join(self._app(environ, start))
        if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].count("/") > 1:
            with self._lock:
                self.sent_bytes += len(body)
        return [body]

    def reset(self) -> None:
        self.sent_bytes, self.delay_s, self.gate = 0, 0.0, lambda environ: None
        self.asked.clear()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _break_off() -> Iterable[bytes]:
    yield bytes(1000)
    raise ConnectionResetError


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        pass
