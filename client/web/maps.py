"""The map of a library, computed in the background because it may take minutes; an event tells when it is ready."""

import asyncio
import logging
from typing import Literal

from ..asynchronous import AsyncMusicSearch
from ..errors import MusicSearchError
from ..results import LibraryMap
from . import models
from .events import Events
from .turns import Turns

_AT_ONCE_S = 1.0  # a request waits this long for a map that is nearly ready

log = logging.getLogger(__name__)


class Maps:
    """Computes the map of the library, one at a time."""

    def __init__(self, library: AsyncMusicSearch, events: Events, turns: Turns) -> None:
        self._library = library
        self._events = events
        self._turns = turns
        self._drawing: asyncio.Task[LibraryMap] | None = None
        self._drawn = ""  # the library's state when the current map was computed

    @property
    def state(self) -> Literal["ready", "computing", "none"]:
        if self._drawing is not None and not self._drawing.done():
            return "computing"
        return "ready" if self._drawn else "none"

    async def get(self, *, state: str, by: str | None = None, fits: str | None = None) -> LibraryMap | None:
        """The map of the library in this state; None while it is being computed.

        Args:
            state: the state of the library.
            by: add the values of this field.
            fits: add how well each track fits this text.
        """
        if self._drawn != state:
            if self._drawing is None or self._drawing.done():
                self._drawing = asyncio.create_task(self._draw(state))
                self._drawing.add_done_callback(lambda task: task.cancelled() or task.exception())  # `_draw` reports it
            done, _ = await asyncio.wait([self._drawing], timeout=_AT_ONCE_S)
            if not done:
                return None
            if by is None and fits is None:
                return self._drawing.result()
            self._drawing.result()
        async with self._turns.one():
            return await self._library.map(by=by, fits=fits)

    async def _draw(self, state: str) -> LibraryMap:
        try:
            drawn = await self._library.map()
        except Exception as exc:
            log.error("no map: %s", exc, exc_info=None if isinstance(exc, MusicSearchError) else exc)
            self._drawn = ""
            self._events.publish("map", models.MapState(state="none"))
            raise
        self._drawn = state
        self._events.publish("map", models.MapState(state="ready"))
        return drawn
