"""Running the app: a socket, uvicorn, a browser."""

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

_PATIENCE_S = 2  # for streams of sound that are under way when the server ends


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises:
        MusicSearchError: the port is taken, or there is no such address here.
    """
    if not 0 <= port <= 65_535:  # the system would take the rest of a division
        raise QueryError(f"the port is {port}, expected 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family)
    except (OSError, OverflowError, UnicodeError) as exc:
        reason = str(getattr(exc, "strerror", None) or exc).partition(" (")[0]
        hint = "--port 0 takes any that is free"
        raise MusicSearchError(f"cannot listen at {host}, port {port} ({reason}): {hint}") from exc
    # asyncio does so by itself for sockets that name their protocol, which this one does not; else each answer waits
    # for the client's delayed acknowledgement, 40 ms on Linux.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def run(library: MusicSearch, *, settings: Settings, listening: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve a library until Ctrl-C or SIGTERM, and close it.

    Args:
        ready: called with the address once it answers.
    """
    # What goes wrong in an answer, our own log tells; what is left are streams that are cut off when the server ends.
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
    """Ends the streams of events before it waits for all streams to end; a signal ends it, and not the process."""

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
    """What to open in a browser."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    elif host in ("127.0.0.1", "::1"):
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def open_browser(address: str, *, wanted: bool | None) -> None:
    """Where that is wanted; None is on a terminal."""
    if wanted if wanted is not None else sys.stdout.isatty():
        webbrowser.open(address)
