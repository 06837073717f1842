"""Cuts a recording into windows, the model's inputs, and tells which windows count into the track's vector."""

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
QUIET = 1e-5  # mean square, -50 dBFS; a window below it may be a pause, even if no louder window is known
HEARD = 1e-4  # share of the loudest window's power, -40 dB; pauses and the tape hiss in them are below it


class Window(NamedTuple):
    """One model input.

    Attributes:
        start_s: where in the track the window begins, in seconds.
        waveform: float32 [window_samples], mono, -1...1; zero-padded at the track's end.
        power: mean square of the samples, without the padding.
    """

    start_s: float
    waveform: NDArray[np.float32]
    power: float


def heard(powers: Sequence[float]) -> NDArray[np.bool_]:
    """Which windows of a track count into its vector: those at most 40 dB below its loudest window.

    Args:
        powers: power of each window, at least one.

    Returns:
        bool [windows], at least one of them true.
    """
    return np.asarray(powers) >= HEARD * max(powers)


class WindowReader:
    """Iterates over the windows of one audio file from its start, hop = window, and decodes on the way.

    The last window is zero-padded if it is at least half full, and dropped otherwise. A track shorter than one window
    gives one zero-padded window. A window more than 40 dB below an earlier one is left out; see `heard`.

    Args:
        source: an audio file of any format that FFmpeg decodes: its path, the open file, or a function that opens it.
        sample_rate_hz: sample rate of the windows.
        window_samples: length of the windows.
        start_s: where to start reading, in seconds. Start times of windows still count from the file's beginning.
        end_s: where to stop reading, in seconds; None is the file's end.
        windows: read only this many windows, evenly spread over the whole file. They are sought, so little else is
            decoded. A file with fewer windows gives all. The samples are the same as without seeking, with two
            exceptions: noise that AAC decoders generate from its stored loudness, and samples that follow damage which
            no chosen window meets.
        far: reading costs more than decoding. With `windows`, the header is believed and little is read; see
            `Recording`.

    Attributes:
        duration_s: length of the file or part in seconds, known once all windows were read.
        warning: how much of what was read did not decode, in words; "" if everything did.
        decoded_s: seconds decoded so far.

    Raises:
        DecodeError: `end_s` is not after `start_s`, or `start_s` is below 0. During iteration: the file cannot be
            used. This may come after the first windows, so a file is good only once its last window was read.
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
            raise DecodeError(f"has no part from {start_s} to {end_s} s: expected 0 <= start < end")
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
        """Cut blocks of samples, which begin at `start_s` of the file, into all their windows."""
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
            raise DecodeError(f"contains no audio that can be decoded after {self._start_s} s")
        if self.duration_s < MIN_DURATION_S:
            raise DecodeError(f"too short: {self.duration_s:.2f} s, at least {MIN_DURATION_S} s are needed")
        if peak < SILENCE_PEAK:
            raise DecodeError(f"silent: its peak is {peak:.1e}, below -80 dBFS")
        if number == 0 or 2 * filled >= self._size:
            yield self._window(number, window, filled=filled)

    def _spread(self, count: int) -> Iterator[Window]:
        """Windows from the middles of `count` equal parts of the file; all windows if there are no more.

        If seeking meets damage, or a sought window may be a pause, the whole file is decoded twice: first to list its
        windows, then to yield evenly spread ones among those that are heard.
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
        """The chosen windows of a file without pauses; raises NotSeekable if the file may have one."""
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
        """The samples between `start_s` and `end_s`."""
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
    """Items from the middles of `count` equal parts; all items if there are no more."""
    if len(items) <= count:
        return items
    return [items[(2 * part + 1) * len(items) // (2 * count)] for part in range(count)]
