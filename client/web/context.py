"""What the routes of an app share."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from ..asynchronous import AsyncMusicSearch
from ..errors import LibraryError, QueryError
from ..recent import Recent
from ..results import TrackInfo
from .covers import Cover
from .decoding import Decoders
from .events import Events
from .jobs import Jobs
from .kinds import Kind
from .maps import Maps
from .problems import Problem
from .safety import Tokens
from .settings import Settings
from .transcoding import Transcoders
from .turns import Duplicates, Turns
from .uploads import Uploads


@dataclass(frozen=True)
class Context:
    """The library, and what works beside it.

    Attributes:
        turns: of heavy work on the library.
        decoders: of what is asked of the library's files; those of uploads are others, which are busy for longer.
    """

    library: AsyncMusicSearch
    settings: Settings
    tokens: Tokens
    events: Events
    jobs: Jobs
    maps: Maps
    turns: Turns
    duplicates: Duplicates
    decoders: Decoders
    transcoders: Transcoders
    uploads: Uploads
    covers: Recent[Cover | None]
    kinds: Recent[Kind]

    async def state(self) -> str:
        """Of the library, as events tell of it; Milvus cannot tell."""
        try:
            return await self.library.state()
        except QueryError:
            return ""

    async def track(self, track_id: str) -> TrackInfo:
        """By its id alone, although the library also knows tracks by their paths.

        Raises:
            Problem: there is none.
        """
        gone = Problem(404, "there is no such track; it may have been removed")
        if not re.fullmatch("[0-9a-f]{16}", track_id):
            raise gone
        try:
            return await self.library.track(track_id)
        except LibraryError as exc:
            if type(exc) is LibraryError:
                raise gone from exc
            raise


def _context(connection: HTTPConnection) -> Context:
    context: Context = connection.app.state.context
    return context


Here = Annotated[Context, Depends(_context)]


def may_change(here: Here) -> None:
    """Raise `Problem` where the library is open for reading alone."""
    if here.settings.read_only:
        raise Problem(403, "this library is open for reading alone", kind="read-only")
