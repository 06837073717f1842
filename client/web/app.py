"""The server as an ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from ..asynchronous import AsyncMusicSearch
from ..errors import AudioError, MusicSearchError
from ..recent import Recent
from . import models
from .context import Context
from .decoding import Decoders
from .events import Events
from .jobs import Jobs
from .kinds import read_kind
from .maps import Maps
from .problems import handle_problems
from .routes import ROUTERS
from .safety import API, AtWork, BoundedBody, Entrance, Forwarded, Rate, SameSite, Share, Shell, Tokens
from .settings import Settings
from .transcoding import Transcoders
from .turns import Duplicates, Turns
from .uploads import Uploads

_PAGE = Path(__file__).parent / "page"
_LOOK_EVERY_S = 2.0
_LOOKING, _UPLOADING = 2, 1  # decoder processes
_KEPT_COVER_BYTES = 32 << 20
_KEPT_KINDS = 10_000
_PROBLEM: dict[str, Any] = {
    "description": "A problem (RFC 9457); its detail is one sentence for people",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            }
        }
    },
}


def make_app(library: AsyncMusicSearch, *, settings: Settings) -> FastAPI:
    """Make the app with the page and its API; the library stays open when the app ends.

    A server waits for event streams before it stops. So it must first call `state.context.events.end()`, which ends
    them.

    Args:
        library: the open library.
        settings: who may do what, and how much.
    """
    events, turns = Events(), Turns()
    here = Context(
        library=library,
        settings=settings,
        tokens=Tokens(settings.token),
        events=events,
        jobs=Jobs(library, events),
        maps=Maps(library, events, turns),
        turns=turns,
        duplicates=Duplicates(library, turns),
        decoders=Decoders(_LOOKING),
        transcoders=Transcoders(),
        uploads=Uploads(Decoders(_UPLOADING)),
        covers=Recent(most=_KEPT_COVER_BYTES, size=lambda cover: 256 + (len(cover.content) if cover else 0)),
        kinds=Recent(most=_KEPT_KINDS, size=lambda _: 1),
    )
    app = FastAPI(
        title="MusicSearch",
        version=version("musicsearch"),
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # FastAPI's pages load scripts from other servers; ours is /api
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        middleware=[
            Middleware(Shell),
            Middleware(SameSite, settings=settings),
            Middleware(Forwarded, settings=settings),
            Middleware(Rate, settings=settings),
            Middleware(Entrance, tokens=here.tokens),
            Middleware(Share, settings=settings),
            Middleware(BoundedBody),
            Middleware(AtWork, settings=settings),
        ],
    )
    app.state.context = here
    handle_problems(app, settings=settings)
    for router in ROUTERS:
        app.include_router(router, prefix=API, responses={422: _PROBLEM, "default": _PROBLEM})
    for path, name in [("/", "index.html"), ("/api", "api.html")]:
        app.add_api_route(path, _file(name), methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/page", GZipMiddleware(StaticFiles(directory=_PAGE, check_dir=False)))
    return app


def _file(name: str) -> Any:
    async def page() -> Response:
        return FileResponse(_PAGE / name)

    return page


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    here: Context = app.state.context
    tasks = [asyncio.create_task(_watch(here)), asyncio.create_task(_warm_up(here.decoders))]
    try:
        yield
    finally:
        here.events.end()
        for task in tasks:
            task.cancel()
        await here.jobs.end()
        await here.transcoders.close()
        here.decoders.close()
        here.uploads.close()


async def _watch(here: Context) -> None:
    """Publish an event when the library has changed, and delete old uploads, again and again."""
    known: str | None = None
    while True:
        here.uploads.forget()
        with suppress(MusicSearchError):
            state = await here.state()
            if known not in (None, state):
                here.events.publish("library", models.State(state=state))
            known = state
        await asyncio.sleep(_LOOK_EVERY_S)


async def _warm_up(decoders: Decoders) -> None:
    """Start a decoder process in advance, so that the first sound plays without delay."""
    with suppress(AudioError):
        await decoders.call(read_kind, __file__)
