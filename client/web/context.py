"""The objects that the routes of an app share."""

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
    """The library and its helpers.

    Attributes:
        turns: limits heavy work on the library.
        decoders: processes that read the library's files. Uploads have their own, which are busy for longer.
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
        """The state of the library, as in events; "" for Milvus, which has none."""
        try:
            return await self.library.state()
        except QueryError:
            return ""

    async def track(self, track_id: str) -> TrackInfo:
        """The track with this id; paths are refused, although the library also finds tracks by path.

        Raises:
            Problem: there is no such track.
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
    """Raise `Problem` if the library is read-only."""
    if here.settings.read_only:
        raise Problem(403, "this library is read-only", kind="read-only")
