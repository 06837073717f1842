"""Runs the app: opens a socket, starts uvicorn and opens a browser."""

import asyncio
import logging
import socket
import sys
import webbrowser
from collections.abc import Callable
from types import FrameType

import uvicorn

from ..asynchronous import AsyncMusicSearch
from ..errors import MusicSearchError, QueryError
from ..search import MusicSearch
from .app import make_app
from .connections import Connection
from .events import Events
from .settings import Settings

_PATIENCE_S = 2  # time for running audio streams when the server ends


def bind(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes any free port.

    Raises:
        QueryError: the port is out of range.
        MusicSearchError: the port is taken, or this machine does not have the address.
    """
    if not 0 <= port <= 65_535:  # the system would take the port modulo 65,536
        raise QueryError(f"the port is {port}, expected 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family)
    except (OSError, OverflowError, UnicodeError) as exc:
        reason = str(getattr(exc, "strerror", None) or exc).partition(" (")[0]
        hint = "--port 0 takes any free port"
        raise MusicSearchError(f"cannot listen at {host}, port {port} ({reason}): {hint}") from exc
    # Without TCP_NODELAY each answer waits for the client's delayed acknowledgement, 40 ms on Linux. asyncio sets it
    # only for sockets that name their protocol, and this one does not.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def run(library: MusicSearch, *, settings: Settings, listening: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve a library until Ctrl-C or SIGTERM, then close it.

    Args:
        library: the open library.
        settings: who may do what, and how much.
        listening: a socket from `bind`.
        ready: called with the address once the server answers.
    """
    # Our own log has the errors of answers. uvicorn's would only add streams that are cut off when the server ends.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    asyncio.run(_serve(library, settings=settings, listening=listening, ready=ready))


async def _serve(
    library: MusicSearch, *, settings: Settings, listening: socket.socket, ready: Callable[[str], None]
) -> None:
    async with AsyncMusicSearch(library) as ms:
        app = make_app(ms, settings=settings)
        config = uvicorn.Config(
            app,
            access_log=False,
            http=Connection,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_PATIENCE_S,
            ws="none",
        )
        server = _Server(config, events=app.state.context.events)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            ready(address_of(listening))
        await serving


class _Server(uvicorn.Server):
    """A server that ends its event streams before it waits for open streams; a signal stops it, not the process."""

    def __init__(self, config: uvicorn.Config, *, events: Events) -> None:
        super().__init__(config)
        self._events = events

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._events.end()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def address_of(listening: socket.socket) -> str:
    """The address of the page, to open in a browser."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    elif host in ("127.0.0.1", "::1"):
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def open_browser(address: str, *, wanted: bool | None) -> None:
    """Open the page in a browser if `wanted`; with None, only if stdout is a terminal."""
    if wanted if wanted is not None else sys.stdout.isatty():
        webbrowser.open(address)
