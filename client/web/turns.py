"""Limits on heavy work, so that a thread of the library is always free for searches."""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..asynchronous import AsyncMusicSearch
from ..duplicates import Duplicate
from .problems import Problem

_AT_ONCE = 2
_MOST_WAITING = 32  # half of `Settings.most_at_work` by default, so that there is always room for other requests
_WITHIN_S = 30.0
_MOST_PAIRS = 500
_MOST_KEPT = 8


class Turns:
    """A semaphore whose queue is bounded in length and waiting time."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._waiting = 0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it during the block; raises `Problem` if the queue is full or the wait too long."""
        busy = Problem(503, "the server is busy: try again in a moment", headers={"Retry-After": "5"})
        if self._free.locked() and self._waiting >= _MOST_WAITING:
            raise busy
        self._waiting += 1
        try:
            async with asyncio.timeout(_WITHIN_S):
                await self._free.acquire()
        except TimeoutError as exc:
            raise busy from exc
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()


class Duplicates:
    """Finds duplicates, and shares the result among all requests for one library state and least similarity."""

    def __init__(self, library: AsyncMusicSearch, turns: Turns) -> None:
        self._library = library
        self._turns, self._alone = turns, Turns(1)  # two of them would block all other heavy work
        self._tasks: dict[tuple[str, float], asyncio.Task[list[Duplicate]]] = {}

    async def find(self, *, least: float, state: str) -> list[Duplicate]:
        """The most similar pairs, at most 500, the most similar first."""
        name = state, least
        task = self._tasks.get(name)
        if task is None or (task.done() and (not state or task.cancelled() or task.exception() is not None)):
            self._forget(state)
            task = self._tasks[name] = asyncio.create_task(self._find(least))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting any more
        return await asyncio.shield(task)

    def _forget(self, state: str) -> None:
        done = [name for name, task in self._tasks.items() if task.done()]
        old = [name for name in done if name[0] != state]
        for name in old or done[: max(0, len(done) - _MOST_KEPT + 1)]:
            del self._tasks[name]

    async def _find(self, least: float) -> list[Duplicate]:
        async with self._alone.one(), self._turns.one():
            found = await self._library.duplicates(least=least)
            return await asyncio.to_thread(heapq.nlargest, _MOST_PAIRS, found, lambda pair: pair.similarity)
