"""A pool of decoder processes with a timeout, for all work in which FFmpeg or mutagen open a file."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from ..decoders import Decoder, Workers
from ..errors import AudioError

_WITHIN_S = 60.0

_Said = TypeVar("_Said")


class Decoders:
    """A pool of decoder processes; each is started when it is first needed."""

    def __init__(self, processes: int) -> None:
        workers = Workers()  # keeps nothing, because decoders that were stopped leave nothing
        self._all = [Decoder(workers, sample_rate_hz=16_000, window_samples=1, windows=1) for _ in range(processes)]
        self._idle: asyncio.LifoQueue[Decoder] = asyncio.LifoQueue()
        for decoder in self._all:
            self._idle.put_nowait(decoder)

    async def call(self, function: Callable[[str], _Said], path: str) -> _Said:
        """Call a function of this package on a file, in a decoder process, and return its result.

        Raises:
            AudioError: the function raised it, it took too long, or the process ended.
        """
        decoder = await self._idle.get()
        loop = asyncio.get_running_loop()

        def work() -> _Said:  # a cancelled task leaves its thread running, so the thread returns the decoder
            try:
                return _within_time(decoder, function, path)
            finally:
                loop.call_soon_threadsafe(self._idle.put_nowait, decoder)

        return await asyncio.to_thread(work)

    def close(self) -> None:
        """End the processes."""
        for decoder in self._all:
            decoder.stop()
            decoder.close()


def _within_time(decoder: Decoder, function: Callable[[str], _Said], path: str) -> _Said:
    patience = threading.Timer(_WITHIN_S, decoder.stop)
    patience.start()
    try:
        return decoder.call(function, path)
    except AudioError as exc:
        if patience.is_alive():
            raise
        raise AudioError(path, f"takes longer than {_WITHIN_S:.0f} s to read") from exc
    finally:
        patience.cancel()
