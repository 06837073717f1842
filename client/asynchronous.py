"""`AsyncMusicSearch`: the same library for web applications that must not wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, Self, TypeVar

from .search import MusicSearch

Given = ParamSpec("Given")
Result = TypeVar("Result")

_THREADS = 8  # searches wait for the model or its server most of their time


class AsyncMusicSearch:
    """What `MusicSearch` does, in threads of its own: each method is a coroutine with the same arguments and errors.

    >>> async def handler(text):                                              # doctest: +SKIP
    ...     return await library.search(text, k=10)

    Args:
        arguments: those of `MusicSearch`. Opening reads from the disk and may ask a server, so it is `await open(...)`.
    """

    def __init__(self, library: MusicSearch) -> None:
        self._library = library
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="music-search")
        self.add = self._awaitable(library.add)
        self.search = self._awaitable(library.search)
        self.search_audio = self._awaitable(library.search_audio)
        self.search_vector = self._awaitable(library.search_vector)
        self.zero_shot = self._awaitable(library.zero_shot)
        self.fit_labels = self._awaitable(library.fit_labels)
        self.embed_text = self._awaitable(library.embed_text)
        self.embed_audio = self._awaitable(library.embed_audio)
        self.annotate = self._awaitable(library.annotate)
        self.remove = self._awaitable(library.remove)
        self.failed = self._awaitable(library.failed)
        self.duplicates = self._awaitable(library.duplicates)
        self.info = self._awaitable(library.info)

    @classmethod
    async def open(cls, *arguments: Any, **named: Any) -> Self:
        """As `MusicSearch(...)`."""
        return cls(await asyncio.to_thread(partial(MusicSearch, *arguments, **named)))

    async def close(self) -> None:
        """Wait for the calls under way, then give back the model and the files."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._library.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _awaitable(self, method: Callable[Given, Result]) -> Callable[Given, "asyncio.Future[Result]"]:
        def call(*arguments: Given.args, **named: Given.kwargs) -> "asyncio.Future[Result]":
            loop = asyncio.get_running_loop()
            return loop.run_in_executor(self._threads, partial(method, *arguments, **named))

        return call
