"""`music-search web`: a web page for a library."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from ..errors import MusicSearchError
from .command import Commands
from .finding import open_existing
from .output import print_json

_TOKEN = "MUSICSEARCH_WEB_TOKEN"


def declare_web(commands: Commands) -> None:
    command = commands.add(
        "web",
        web,
        "open a library as a page in the browser",
        "library",
        "library --port 0 --no-open",
        "library --host 0.0.0.0 --token 'a long secret'",
        model=True,
    )
    command.add_argument("--port", type=int, default=8765, help="default 8765; 0: any free port")
    command.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1: this machine only); other machines need --token",
    )
    command.add_argument(
        "--token", metavar="TEXT", help="token that other machines need (default: MUSICSEARCH_WEB_TOKEN)"
    )
    command.add_argument(
        "--name",
        metavar="HOST",
        action="append",
        default=[],
        help="another host name of this machine, such as the name of its proxy; other machines need --token",
    )
    command.add_argument(
        "--read-only",
        action=argparse.BooleanOptionalAction,
        help="forbid or allow changes from the page (default: forbid if other machines can connect)",
    )
    command.add_argument(
        "--open", action=argparse.BooleanOptionalAction, help="open the browser (default: only on a terminal)"
    )


def web(options: argparse.Namespace) -> int:
    try:
        from ..web import server
        from ..web.settings import Settings
    except ModuleNotFoundError as exc:
        raise MusicSearchError(f"the page needs more packages: pip install 'musicsearch[web]' ({exc})") from exc
    settings = Settings(
        name=_name_of(options.library),
        host=options.host,
        token=options.token or os.environ.get(_TOKEN) or None,
        names=tuple(options.name),
    )
    settings = replace(settings, read_only=not settings.is_local if options.read_only is None else options.read_only)
    listening = server.bind(options.host, options.port)

    def ready(address: str) -> None:
        if options.json:
            print_json({"address": address, "read_only": settings.read_only, "token": settings.token is not None})
        else:
            print(
                f"{settings.name} is at {address}{' (read-only)' * settings.read_only}; Ctrl-C stops the server",
                flush=True,
            )
        server.open_browser(address, wanted=options.open)

    with listening:
        server.run(open_existing(options), settings=settings, listening=listening, ready=ready)
    return 0


def _name_of(library: Path | str) -> str:
    """The last part of a path or of a Milvus address, for people."""
    return library.resolve().name if isinstance(library, Path) else library.rstrip("/").rpartition("/")[2]
