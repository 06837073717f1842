"""`AsyncMusicSearch`: the same library for web applications that must not block."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, Self, TypeVar

from .encoders import EncoderSpec
from .errors import LibraryError
from .search import MusicSearch
from .zero_shot import TaggedTrack

Given = ParamSpec("Given")
Result = TypeVar("Result")

_THREADS = 8  # searches wait for the model or its server most of their time


class AsyncMusicSearch:
    """`MusicSearch` in its own threads: each method is a coroutine with the same arguments and errors.

    If you cancel a task that awaits a method, the work still runs to its end in its thread.

    >>> async def handler(text):                                              # doctest: +SKIP
    ...     return await library.search(text, k=10)

    Args:
        library: an open library. `close` closes it. Opening a library reads from the disk and may call a server, so use
            `await open(...)` to open it in a thread.
    """

    def __init__(self, library: MusicSearch) -> None:
        self._library = library
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="music-search")
        self.add = self._awaitable(library.add)
        self.search = self._awaitable(library.search)
        self.search_audio = self._awaitable(library.search_audio)
        self.search_vector = self._awaitable(library.search_vector)
        self.along = self._awaitable(library.along)
        self.path = self._awaitable(library.path)
        self.radio = self._awaitable(library.radio)
        self.zero_shot = self._awaitable(library.zero_shot)
        self.fit_labels = self._awaitable(library.fit_labels)
        self.embed_text = self._awaitable(library.embed_text)
        self.embed_audio = self._awaitable(library.embed_audio)
        self.track_id = self._awaitable(library.track_id)
        self.track = self._awaitable(library.track)
        self.tracks_by_id = self._awaitable(library.tracks_by_id)
        self.tracks = self._awaitable(library.tracks)
        self.facets = self._awaitable(library.facets)
        self.suggest = self._awaitable(library.suggest)
        self.annotate = self._awaitable(library.annotate)
        self.put_lyrics = self._awaitable(library.put_lyrics)
        self.lyrics = self._awaitable(library.lyrics)
        self.has_lyrics = self._awaitable(library.has_lyrics)
        self.transcribe = self._awaitable(library.transcribe)
        self.remove = self._awaitable(library.remove)
        self.map = self._awaitable(library.map)
        self.missing = self._awaitable(library.missing)
        self.remove_missing = self._awaitable(library.remove_missing)
        self.failed = self._awaitable(library.failed)
        self.duplicates = self._awaitable(library.duplicates)
        self.state = self._awaitable(library.state)
        self.glance = self._awaitable(library.glance)
        self.info = self._awaitable(library.info)

    @classmethod
    async def open(cls, *arguments: Any, **named: Any) -> Self:
        """Open a library with the arguments of `MusicSearch(...)`."""
        return cls(await asyncio.to_thread(partial(MusicSearch, *arguments, **named)))

    @property
    def spec(self) -> EncoderSpec:
        """See `MusicSearch.spec`."""
        return self._library.spec

    @property
    def device(self) -> str:
        """See `MusicSearch.device`."""
        return self._library.device

    async def tag_library(self, labels: Sequence[str], **named: Any) -> AsyncIterator[TaggedTrack]:
        """`MusicSearch.tag_library`, for `async for`."""
        advance = self._awaitable(partial(next, self._library.tag_library(labels, **named), None))
        while (track := await advance()) is not None:
            yield track

    async def close(self) -> None:
        """Wait for the running calls, then release the model and the files. A map that is being computed is stopped."""
        self._library.stop_drawing()
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._library.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _awaitable(self, method: Callable[Given, Result]) -> Callable[Given, Coroutine[Any, Any, Result]]:
        async def call(*arguments: Given.args, **named: Given.kwargs) -> Result:
            loop = asyncio.get_running_loop()
            try:
                done = loop.run_in_executor(self._threads, partial(method, *arguments, **named))
            except RuntimeError as exc:  # the thread pool is shut down
                raise LibraryError("the library is closed: open it again") from exc
            return await done

        return call
