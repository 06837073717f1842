"""The windows of a recording: what the model takes, and which of them stand for the track."""

import math
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import DecodeError
from .files import ByteFile
from .recording import NotSeekable, Recording

MIN_DURATION_S = 0.5
SILENCE_PEAK = 1e-4  # -80 dBFS, the smallest peak that a 16-bit master still resolves (3 steps)
MAX_PEAK = 16.0  # +24 dBFS: no mix reaches it, float files with integer-scaled samples do
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
        source: the path of an audio file of any format that FFmpeg decodes, or the open file.
        sample_rate_hz: rate of the windows.
        window_samples: length of the windows.
        start_s, end_s: only this part of it, in seconds; None is its end. A window's start is counted from the
            beginning of the file.
        windows: of the whole file, only so many of these windows, evenly spread, which are sought: little else is
            decoded. A file that has no more gives all. They hold the same samples, but for the noise that AAC decoders
            draw where a file says just how loud it is.

    Attributes:
        duration_s: length of the file or part, once all windows were read.
        warning: what does not decode of the file, in words; "" where that is nothing.
        decoded_s: how much was decoded so far.

    Raises:
        DecodeError: `end_s` is not after `start_s`, or that is below 0. In the iteration: the file cannot be used,
            possibly after the first windows: it is good only once its last window was read.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | ByteFile,
        *,
        sample_rate_hz: int,
        window_samples: int,
        start_s: float = 0.0,
        end_s: float | None = None,
        windows: int | None = None,
    ) -> None:
        if not 0 <= start_s < (math.inf if end_s is None else end_s):
            raise DecodeError(f"has no part from {start_s} to {end_s} s: start at 0 or later, and end after it")
        self.duration_s = 0.0
        self._recording = Recording(source, sample_rate_hz=sample_rate_hz)
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
            peak = max(peak, _checked_peak(block))
            np.clip(block, -1.0, 1.0, out=block)  # as a player would: lossy codecs overshoot a little
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
        self._check(peak, where="throughout")
        if number == 0 or 2 * filled >= self._size:
            yield self._window(number, window, filled=filled)

    def _spread(self, count: int) -> Iterator[Window]:
        """So many windows, in the middles of as many equal parts; all, where there are no more."""
        recording, size = self._recording, self._size
        try:
            extent = recording.measure()
            samples = recording.length(extent)
        except NotSeekable:
            extent, samples = None, sum(map(len, recording.blocks()))
        total = (2 * samples + size) // (2 * size)
        if total <= count:
            yield from self._cut(recording.blocks())
            return
        left = [(2 * part + 1) * total // (2 * count) for part in range(count)]
        if extent is not None:
            try:
                peak = 0.0
                for part in recording.parts(extent, starts=[number * size for number in left], samples=size):
                    filled = min(size, samples - left[0] * size)
                    if len(part) < filled:
                        raise NotSeekable
                    peak = max(peak, _checked_peak(part))
                    waveform = np.zeros(size, np.float32)
                    np.clip(part[:filled], -1.0, 1.0, out=waveform[:filled])
                    yield self._window(left.pop(0), waveform, filled=filled)
                self.duration_s = samples / self._rate_hz
                self._check(peak, where=f"in the {count} windows that were read")
                return
            except NotSeekable:
                pass
        chosen = {self._window_start_s(number) for number in left}
        yield from (window for window in self._cut(recording.blocks()) if window.start_s in chosen)

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

    def _check(self, peak: float, *, where: str) -> None:
        if self.duration_s < MIN_DURATION_S:
            raise DecodeError(f"too short: {self.duration_s:.2f} s, at least {MIN_DURATION_S} s are needed")
        if peak < SILENCE_PEAK:
            raise DecodeError(f"silent: its peak is {peak:.1e}, below -80 dBFS {where}")


def _checked_peak(block: NDArray[np.float32]) -> float:
    peak = float(np.max(np.abs(block), initial=0.0))  # NaN and infinity survive the maximum
    if not peak <= MAX_PEAK:
        raise DecodeError(f"holds a sample of magnitude {peak:g}, expected -1...1: rescale the file")
    return peak
