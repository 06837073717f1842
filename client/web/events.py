"""Server-sent events, which tell open pages what happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

from pydantic import BaseModel

from .problems import Problem

PING_S = 15.0  # pings reveal connections that are gone
_WAITING = 100  # queued events of a page; a slower page is disconnected, connects again and loads everything
_MOST_PAGES = 64
_RETRY_MS = 2000
_END = b""


class Events:
    """Sends published events to all open pages; must be used in one thread."""

    def __init__(self) -> None:
        self._pages: set[asyncio.Queue[bytes]] = set()
        self._has_ended = False

    def publish(self, kind: str, value: BaseModel) -> None:
        for page in list(self._pages):
            try:
                page.put_nowait(_event(kind, value))
            except asyncio.QueueFull:
                self._pages.discard(page)

    def listen(self, kind: str, value: BaseModel) -> AsyncIterator[bytes]:
        """Stream this event and all later ones, until the server ends or the page is too slow.

        Raises:
            Problem: there are too many pages.
        """
        if len(self._pages) >= _MOST_PAGES:
            raise Problem(503, "too many pages are open", headers={"Retry-After": "10"})
        page: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        page.put_nowait(f"retry: {_RETRY_MS}\n\n".encode() + _event(kind, value))
        return self._events(page)

    async def _events(self, page: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        self._pages.add(page)
        try:
            while not self._has_ended and (page in self._pages or not page.empty()):
                try:
                    async with asyncio.timeout(PING_S):
                        event = await page.get()
                except TimeoutError:
                    event = b": ping\n\n"
                if event != _END:
                    yield event
        finally:
            self._pages.discard(page)

    def end(self) -> None:
        """End the streams of all pages, because the server waits for them before it stops."""
        self._has_ended = True
        for page in self._pages:
            with suppress(asyncio.QueueFull):  # a full queue never blocks, so the stream sees `_has_ended`
                page.put_nowait(_END)


def _event(kind: str, value: BaseModel) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(value.model_dump(mode='json'))}\n\n".encode()
