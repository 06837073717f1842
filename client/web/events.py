"""What happens while a page is open, told to it as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

from pydantic import BaseModel

from .problems import Problem

PING_S = 15.0  # so that a connection that is gone is noticed
_WAITING = 100  # events that a page may be late; one that is later connects anew and asks for everything
_MOST_PAGES = 64
_RETRY_MS = 2000


class Events:
    """Passes on to every page what is published; to be used in one thread."""

    def __init__(self) -> None:
        self._pages: set[asyncio.Queue[bytes]] = set()
        self._ended = asyncio.Event()

    def publish(self, kind: str, value: BaseModel) -> None:
        for page in list(self._pages):
            try:
                page.put_nowait(_event(kind, value))
            except asyncio.QueueFull:
                self._pages.discard(page)

    def listen(self, kind: str, value: BaseModel) -> AsyncIterator[bytes]:
        """All events from now on, the first of which is this one, until the server ends or the page is too late.

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
        ended = asyncio.create_task(self._ended.wait())
        try:
            while page in self._pages or not page.empty():
                event = asyncio.create_task(page.get())
                done, _ = await asyncio.wait((event, ended), timeout=PING_S, return_when=asyncio.FIRST_COMPLETED)
                if event not in done:
                    event.cancel()
                if ended in done:
                    return
                yield event.result() if event in done else b": ping\n\n"
        finally:
            self._pages.discard(page)
            ended.cancel()
            with suppress(asyncio.CancelledError):
                await ended

    def end(self) -> None:
        """Let every page's stream end, as the server waits for them."""
        self._ended.set()


def _event(kind: str, value: BaseModel) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(value.model_dump(mode='json'))}\n\n".encode()
