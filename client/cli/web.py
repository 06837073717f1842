"""`music-search web`: a page on a library. Imported only when it is asked for, as its packages take a while."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from ..errors import MusicSearchError
from .finding import open_existing
from .output import print_json

_TOKEN = "MUSICSEARCH_WEB_TOKEN"


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
            print(f"{settings.name} is at {address}{' (read-only)' * settings.read_only}; Ctrl-C ends it", flush=True)
        server.open_browser(address, wanted=options.open)

    with listening:
        server.run(open_existing(options), settings=settings, listening=listening, ready=ready)
    return 0


def _name_of(library: Path | str) -> str:
    """For people: the last part of a path, or of an address of Milvus."""
    return library.resolve().name if isinstance(library, Path) else library.rstrip("/").rpartition("/")[2]
