"""The windows of a recording: what the model takes, and which of them stand for the track."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import DecodeError
from .files import Source
from .recording import NotSeekable, Recording

MIN_DURATION_S = 0.5
SILENCE_PEAK = 1e-4  # -80 dBFS, the smallest peak that a 16-bit master still resolves (3 steps)
QUIET = 1e-5  # mean square, -50 dBFS: of a window that may be a pause, where nothing louder is known
HEARD = 1e-4  # of the power of the loudest window, -40 dB: pauses, and the hiss of a tape in them, are below


class Window(NamedTuple):
    """One model input.

    Attributes:
        start_s: where in the track it begins.
        waveform: float32 [window_samples], mono, -1...1; zero-padded at the track's end.
        power: mean square of what is not padded.
    """

    start_s: float
    waveform: NDArray[np.float32]
    power: float


def heard(powers: Sequence[float]) -> NDArray[np.bool_]:
    """Which windows of a track count into its vector: those that are at most 40 dB below its loudest.

    Args:
        powers: of its windows, at least one.

    Returns:
        bool [windows], at least one of them true.
    """
    return np.asarray(powers) >= HEARD * max(powers)


class WindowReader:
    """The windows of one audio file, from its start, hop = window, decoded as they are iterated.

    The last window is zero-padded if at least half full, else dropped; a track shorter than one window is one
    zero-padded window. Windows that are more than 40 dB below one that came before are left out; see `heard`.

    Args:
        source: the path of an audio file of any format that FFmpeg decodes, the open file, or what opens it.
        sample_rate_hz: rate of the windows.
        window_samples: length of the windows.
        start_s, end_s: only this part of it, in seconds; None is its end. A window's start is counted from the
            beginning of the file.
        windows: of the whole file, only so many of these windows, evenly spread, which are sought: little else is
            decoded. A file that has no more gives all. They hold the same samples, but for the noise that AAC decoders
            draw where a file says just how loud it is, and for what comes after damage that none of them meets.
        far: reading costs more than decoding; with `windows` the header is believed, and little is read (see
            `Recording`).

    Attributes:
        duration_s: length of the file or part, once all windows were read.
        warning: what does not decode of what was read, in words; "" where that is nothing.
        decoded_s: how much was decoded so far.

    Raises:
        DecodeError: `end_s` is not after `start_s`, or that is below 0. In the iteration: the file cannot be used,
            possibly after the first windows: it is good only once its last window was read.
    """

    def __init__(
        self,
        source: Source,
        *,
        sample_rate_hz: int,
        window_samples: int,
        start_s: float = 0.0,
        end_s: float | None = None,
        windows: int | None = None,
        far: bool = False,
    ) -> None:
        if not 0 <= start_s < (math.inf if end_s is None else end_s):
            raise DecodeError(f"has no part from {start_s} to {end_s} s: start at 0 or later, and end after it")
        self.duration_s = 0.0
        self._recording = Recording(source, sample_rate_hz=sample_rate_hz, far=far)
        self._rate_hz = sample_rate_hz
        self._size = window_samples
        self._start_s = start_s
        self._first = round(start_s * sample_rate_hz)
        self._last = None if end_s is None else round(end_s * sample_rate_hz)
        self._windows = windows

    @property
    def decoded_s(self) -> float:
        return self._recording.decoded_s

    @property
    def warning(self) -> str:
        return self._recording.warning

    def announced_s(self) -> float | None:
        """See `Recording`."""
        return self._recording.announced_s()

    def __iter__(self) -> Iterator[Window]:
        loudest = 0.0
        everything = self._cut(self._part(self._recording.blocks()))
        for window in everything if self._windows is None else self._spread(self._windows):
            loudest = max(loudest, window.power)
            if window.power >= HEARD * loudest:
                yield window

    def _cut(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[Window]:
        """All windows of these samples, which are the file's from `start_s` on."""
        window, filled, number, read, peak = np.zeros(self._size, np.float32), 0, 0, 0, 0.0
        for block in blocks:
            peak = max(peak, float(np.max(np.abs(block), initial=0.0)))
            read += len(block)
            while len(block):
                part, block = block[: self._size - filled], block[self._size - filled :]
                window[filled : filled + len(part)] = part
                filled += len(part)
                if filled == self._size:
                    yield self._window(number, window, filled=filled)
                    window, filled, number = np.zeros(self._size, np.float32), 0, number + 1
        self.duration_s = read / self._rate_hz
        if read == 0:
            raise DecodeError(f"nothing in it from {self._start_s} s on decodes as audio")
        if self.duration_s < MIN_DURATION_S:
            raise DecodeError(f"too short: {self.duration_s:.2f} s, at least {MIN_DURATION_S} s are needed")
        if peak < SILENCE_PEAK:
            raise DecodeError(f"silent: its peak is {peak:.1e}, below -80 dBFS throughout")
        if number == 0 or 2 * filled >= self._size:
            yield self._window(number, window, filled=filled)

    def _spread(self, count: int) -> Iterator[Window]:
        """So many windows, in the middles of as many equal parts; all, where there are no more.

        Where something in the way does not decode, or what was sought may be a pause, all of the file is decoded: once
        to know its windows, and once more for those that are taken, in the same way, of the ones that are heard.
        """
        last_s, left = -1.0, count
        try:
            for window in self._sought(count):
                yield window
                last_s, left = window.start_s, left - 1
            return
        except NotSeekable:
            pass
        every = [(window.start_s, window.power) for window in self._cut(self._recording.blocks())]
        is_heard = heard([power for _, power in every])
        audible = [start_s for (start_s, _), counts in zip(every, is_heard, strict=True) if counts and start_s > last_s]
        chosen = _spread_evenly(audible, left)
        yield from (window for window in self._cut(self._recording.blocks()) if window.start_s in chosen)

    def _sought(self, count: int) -> Iterator[Window]:
        """The windows that are taken of a file without pauses; raises NotSeekable where it may not be one."""
        recording, size = self._recording, self._size
        extent = recording.measure()
        samples = recording.length(extent)
        total = (2 * samples + size) // (2 * size)
        if total <= count:
            yield from self._cut(recording.blocks())
            return
        numbers = _spread_evenly(range(total), count)
        loudest = 0.0
        for number, part in zip(
            numbers, recording.parts(extent, starts=[number * size for number in numbers], samples=size), strict=True
        ):
            filled = min(size, samples - number * size)
            if len(part) < filled:
                raise NotSeekable
            waveform = np.zeros(size, np.float32)
            waveform[:filled] = part[:filled]
            window = self._window(number, waveform, filled=filled)
            loudest = max(loudest, window.power)
            if window.power < max(QUIET, HEARD * loudest):
                raise NotSeekable
            yield window
        self.duration_s = samples / self._rate_hz

    def _part(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """What of the blocks lies between the first and the last sample that are wanted."""
        position = 0
        for block in blocks:
            begin, end = max(self._first - position, 0), None if self._last is None else max(self._last - position, 0)
            position += len(block)
            yield block[begin:end]
            if self._last is not None and position >= self._last:
                return

    def _window(self, number: int, waveform: NDArray[np.float32], *, filled: int) -> Window:
        power = float(np.einsum("i,i", waveform, waveform)) / max(filled, 1)
        return Window(self._window_start_s(number), waveform, power)

    def _window_start_s(self, number: int) -> float:
        return self._start_s + number * self._size / self._rate_hz


_Item = TypeVar("_Item")


def _spread_evenly(items: Sequence[_Item], count: int) -> Sequence[_Item]:
    """So many of them, from the middles of as many equal parts; all, where there are no more."""
    if len(items) <= count:
        return items
    return [items[(2 * part + 1) * len(items) // (2 * count)] for part in range(count)]
