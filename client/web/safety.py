"""Access control and limits, as pure ASGI middlewares, which do not buffer streamed answers."""

import asyncio
import hmac
import re
import time
from collections import Counter
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import Problem, unexpected
from .settings import Settings, host_name, is_loopback

API = "/api/v1"
MOST_BODY_BYTES = 1 << 20
MOST_UPLOAD_BYTES = 64 << 20
_FORM_BYTES = 1 << 14  # form data around an upload's file
_STRANGERS_BYTES, _STRANGERS_WITHIN_S = 1 << 10, 5.0  # limits of a body where no token is needed
_BODY_WITHIN_S = 30.0
_SLOWEST_BYTES_S = 200_000  # a body gets extra time: its largest allowed size at this rate
_BURST_S = 3.0  # a client may send this many seconds' worth of requests at once
_TRIES_PER_S, _TRIES = 0.2, 10.0  # rate and burst of wrong tokens
_MOST_CLIENTS = 4096
_SIGNED_S = 12 * 3600
_SAFE = ("GET", "HEAD")

_CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Shell:
    """The outermost middleware: adds security headers to every answer, and answers unexpected errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store" if scope["path"].startswith(API) else "no-cache")
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Problem as problem:
            await problem.response()(scope, receive, send_with_headers)
        except (ClientDisconnect, ConnectionAbortedError):
            pass  # the client has gone or the answer was cut off, and the connection is closed
        except Exception as exc:
            answer = unexpected(exc, method=scope["method"], path=scope["path"])
            if not started:
                await answer(scope, receive, send_with_headers)


class SameSite:
    """Refuses requests from pages of other sites (CSRF), and names that lead here by DNS rebinding."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._check(scope["method"], scope["path"], Headers(scope=scope))
        await self._app(scope, receive, send)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._settings.accepts(hosts[0]):
            raise Problem(
                421, "the server does not accept this host name: open the address that the server printed", kind="host"
            )
        if method in _SAFE and not path.startswith(API):  # a link on another site may lead to the page
            return
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        is_ours = site in ("same-origin", "none") if site else origin is None or _authority(origin) == hosts[0].lower()
        if not is_ours:
            raise Problem(403, "requests from other sites are not answered", kind="cross-site")


class Forwarded:
    """Sets the scheme to https for requests that came through a TLS proxy under one of its names.

    Addresses in playlists and the cookie depend on the scheme.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            is_proxied = host_name(headers.get("host", "")) in self._settings.names
            if is_proxied and headers.get("x-forwarded-proto", "").strip().lower() == "https":
                scope = {**scope, "scheme": "https"}
        await self._app(scope, receive, send)


class Rate:
    """Limits the request rate of each client."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._bucket = Bucket(per_s=settings.requests_per_s, most=settings.requests_per_s * _BURST_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._bucket.spend(client_of(scope)):
            raise Problem(429, "too many requests: wait a moment")
        await self._app(scope, receive, send)


class Tokens:
    """Checks the token, the session cookie and signed addresses."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._wrong = Bucket(per_s=_TRIES_PER_S, most=_TRIES)

    def session(self, given: str, *, client: str) -> str:
        """The value of the session cookie, which does not reveal the token.

        Args:
            given: the token that the client sent.
            client: the client's address.

        Raises:
            Problem: the token is wrong (401), or the client has tried too many wrong tokens (429).
        """
        if self._token is None:
            return ""
        if not _same(given, self._token):
            if not self._wrong.spend(client):
                raise Problem(429, "too many wrong tokens: wait a minute", headers={"Retry-After": "60"})
            raise _unknown("this token is wrong")
        return _session_of(self._token)

    def signed(self, track_id: str) -> str:
        """A signed query that gives access to the sound of this track for 12 hours, as players send no cookies."""
        until = int(time.time()) + _SIGNED_S
        return f"?until={until}&signed={self._signature(track_id, until)}" if self._token is not None else ""

    def check(self, scope: Scope) -> None:
        """Raise `Problem` unless a request has the token, the cookie or a valid signature."""
        if self._token is None or self._is_signed(scope):
            return
        headers = Headers(scope=scope)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self.session(given.strip(), client=client_of(scope))
        elif not _same(cookie_parser(headers.get("cookie", "")).get(cookie_of(scope), ""), _session_of(self._token)):
            raise _unknown("this library needs a token")

    def _is_signed(self, scope: Scope) -> bool:
        track = re.fullmatch(f"{API}/tracks/([0-9a-f]{{16}})/audio", scope["path"])
        if track is None or scope["method"] not in _SAFE:
            return False
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        until, given = asked.get("until", [""])[0], asked.get("signed", [""])[0]
        if not re.fullmatch("[0-9]{1,12}", until) or int(until) < time.time():
            return False
        return _same(given, self._signature(track[1], int(until)))

    def _signature(self, track_id: str, until: int) -> str:
        token = (self._token or "").encode()
        return hmac.digest(token, f"sound of {track_id} until {until}".encode(), "sha256").hex()


class Entrance:
    """Requires the token for the API. The page itself is open to everybody, because it asks for the token."""

    def __init__(self, app: ASGIApp, *, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_for_those_with_a_token(scope):
            self._tokens.check(scope)
        await self._app(scope, receive, send)


class Share:
    """Limits the open requests of each client, including requests that have not arrived completely.

    Clients on this machine are exempt, because a proxy may stand for many. `AtWork` limits all clients together.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._most = settings.most_open_each
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = client_of(scope)
        if scope["type"] != "http" or is_loopback(client):
            await self._app(scope, receive, send)
            return
        if self._open[client] >= self._most:
            raise Problem(429, "too many of your requests are open: wait until one ends")
        self._open[client] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


class AtWork:
    """Limits the requests that are processed at the same time, and the requests that are open at the same time.

    Processing begins when the whole request has arrived. It ends when the answer begins, however long the client takes
    to read the answer.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._most_at_work, self._most_open = settings.most_at_work, settings.most_open
        self._at_work = self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        at_work = False

        def begin() -> None:
            nonlocal at_work
            if self._at_work >= self._most_at_work:
                raise _busy()
            self._at_work += 1
            at_work = True

        async def receive_and_begin() -> Message:
            message = await receive()
            if not at_work and message["type"] == "http.request" and not message.get("more_body", False):
                begin()
            return message

        def done() -> None:
            nonlocal at_work
            self._at_work -= at_work
            at_work = False

        async def send_as_done(message: Message) -> None:
            done()
            await send(message)

        if self._open >= self._most_open:
            raise _busy()
        if not _is_upload(scope):  # other bodies have been read by `BoundedBody`
            begin()
        self._open += 1
        try:
            await self._app(scope, receive_and_begin if _is_upload(scope) else receive, send_as_done)
        finally:
            done()
            self._open -= 1


class BoundedBody:
    """Refuses a body that is too large or too slow; except for uploads, reads it whole before processing begins."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, within_s = MOST_BODY_BYTES, _BODY_WITHIN_S
        if _is_upload(scope):
            most = MOST_UPLOAD_BYTES + _FORM_BYTES
        elif not _is_for_those_with_a_token(scope):
            most, within_s = _STRANGERS_BYTES, _STRANGERS_WITHIN_S
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced[:19]) > most:
            raise _too_large(most)
        ends_at = time.monotonic() + within_s + most / _SLOWEST_BYTES_S
        read, is_complete = 0, False

        async def receive_bounded() -> Message:
            nonlocal read, is_complete
            if is_complete:  # the next message is the disconnect, perhaps hours later
                return await receive()
            try:
                async with asyncio.timeout(ends_at - time.monotonic()):
                    message = await receive()
            except TimeoutError as exc:
                raise Problem(408, "the body of the request did not come in time") from exc
            read += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if read > most:
                raise _too_large(most)
            return message

        if _is_upload(scope):
            await self._app(scope, receive_bounded, send)
            return
        body = bytearray()
        while not is_complete:
            message = await receive_bounded()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def receive_again() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, receive_again, send)


class Bucket:
    """A token bucket for each client: it fills at a constant rate, up to a limit.

    Args:
        per_s: drops that are added per second.
        most: the limit.
    """

    def __init__(self, *, per_s: float, most: float) -> None:
        self._per_s, self._most = per_s, most
        self._left: dict[str, tuple[float, float]] = {}  # drops, and the time of that count

    def spend(self, client: str) -> bool:
        """Take a drop; False if there is none."""
        left = self._count(client)
        if left < 1.0:
            return False
        self._left.pop(client, None)
        self._left[client] = left - 1.0, time.monotonic()
        if len(self._left) > _MOST_CLIENTS:
            del self._left[next(iter(self._left))]  # the client that was away the longest
        return True

    def _count(self, client: str) -> float:
        left, at = self._left.get(client, (self._most, 0.0))
        return min(self._most, left + (time.monotonic() - at) * self._per_s)


def client_of(scope: Scope) -> str:
    """The address of a client."""
    return str((scope.get("client") or ("",))[0])


def cookie_of(scope: Scope) -> str:
    """The name of the session cookie, with the port, because browsers send a host's cookies to all its ports."""
    return f"musicsearch-{(scope.get('server') or ('', 0))[1]}"


def _is_upload(scope: Scope) -> bool:
    return scope.get("path") == f"{API}/uploads"


def _is_for_those_with_a_token(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith(API) and path != f"{API}/session"


def _session_of(token: str) -> str:
    return hmac.digest(token.encode(), b"session of musicsearch", "sha256").hex()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _unknown(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


def _too_large(most: int) -> Problem:
    size = f"{most >> 20} MB" if most >> 20 else f"{most >> 10} kB"
    return Problem(413, f"the body of the request is too large: expected at most {size}")


def _busy() -> Problem:
    return Problem(503, "the server is busy: try again in a moment")
