"""Audio file -> mono float32 windows at the model's sample rate: decode, downmix, resample, cut.

Everything is streamed: a four-hour file costs the memory of one window. The log-mel front end is inside
the audio graph, so nothing else happens to the signal here.
"""

import math
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from .errors import AudioError

MIN_DURATION_S = 0.5
SILENCE_PEAK = 1e-4  # -80 dBFS, the smallest peak that a 16-bit master still resolves (3 steps)
MAX_PEAK = 16.0  # +24 dBFS: no mix reaches it, float files with integer-scaled samples do
SOURCE_RATES_HZ = (1000, 768_000)  # what audio files have; FFmpeg's filter from 100 MHz takes 860 MB and 15 s to make
MAX_MISSING_S = 0.5  # decoded less than announced: more than encoder delay and padding explain

MAX_PLANES = 8  # 7.1; with more channels in planes of their own, PyAV 18.1 counts them in foreign memory

# FFmpeg's sample formats: type and full scale; 8-bit samples are unsigned around 128.
_SAMPLES = {
    "u8": ("u1", 128.0),
    "s16": ("i2", 2.0**15),
    "s32": ("i4", 2.0**31),
    "s64": ("i8", 2.0**63),
    "flt": ("f4", 1.0),
    "dbl": ("f8", 1.0),
}
_GATHERED = 16_384  # samples that are converted at once
# Raw streams without an index: unless an encoder's header says better, their length is a guess.
_ESTIMATED_LENGTH = frozenset({"mp3", "aac"})
# Decoded before what is wanted and dropped: Opus settles in 80 ms (RFC 7845, section 4.6), MP3's bit reservoir spans
# nine frames of 26 ms at most.
_LEAD_IN_S = 0.5


class Window(NamedTuple):
    """One model input.

    Attributes:
        start_s: where in the track it begins.
        waveform: float32 [window_samples], mono, -1...1; zero-padded at the track's end.
    """

    start_s: float
    waveform: NDArray[np.float32]


class WindowReader:
    """The windows of one audio file, from its start, hop = window, decoded as they are iterated.

    The last window is zero-padded if at least half full, else dropped; a track shorter than one window
    is one zero-padded window.

    Args:
        path: an audio file of any format that FFmpeg decodes; channels are averaged.
        sample_rate_hz: rate of the windows.
        window_samples: length of the windows.
        start_s, end_s: only this part of it, in seconds; None is its end. A window's start is counted from the
            beginning of the file.
        windows: of the whole file, only so many of these windows, evenly spread, which are sought: little else is
            decoded. A file that has no more gives all. They hold the same samples, but for the noise that AAC decoders
            draw where a file says just how loud it is.

    Iteration raises `AudioError`, possibly after the first windows: a file is good only once its last
    window was read. `duration_s` is then the length of the file or part, and `decoded_s` how much was decoded.

    Raises:
        AudioError: `end_s` is not after `start_s`, or that is below 0.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sample_rate_hz: int,
        window_samples: int,
        start_s: float = 0.0,
        end_s: float | None = None,
        windows: int | None = None,
    ) -> None:
        if not 0 <= start_s < (math.inf if end_s is None else end_s):
            raise AudioError(
                str(path), f"has no part from {start_s} to {end_s} s: start at 0 or later, and end after it"
            )
        self.path = str(path)
        self.duration_s = self.decoded_s = 0.0
        self._sample_rate_hz = sample_rate_hz
        self._window_samples = window_samples
        self._start_s = start_s
        self._first = round(start_s * sample_rate_hz)
        self._last = None if end_s is None else round(end_s * sample_rate_hz)
        self._windows = windows
        self._chosen: Sequence[int] | None = None  # the numbers of the windows that are sought

    def __iter__(self) -> Iterator[Window]:
        size = self._window_samples
        window = np.zeros(size, dtype=np.float32)
        filled = read = yielded = 0
        peak = self.decoded_s = 0.0
        for block in self._part(self._decode()) if self._windows is None else self._seek(self._windows):
            peak = max(peak, self._checked_peak(block))
            np.clip(block, -1.0, 1.0, out=block)  # as a player would: lossy codecs overshoot a little
            read += len(block)
            while len(block):
                part, block = block[: size - filled], block[size - filled :]
                window[filled : filled + len(part)] = part
                filled += len(part)
                if filled == size:
                    yield Window(self._window_start_s(yielded), window)
                    window, filled, yielded = np.zeros(size, dtype=np.float32), 0, yielded + 1
        if read == 0:
            where = f" from {self._start_s} s on" if self._start_s else ""
            raise AudioError(self.path, f"nothing in it{where} decodes as audio")
        if self._chosen is None:
            self.duration_s = read / self._sample_rate_hz
        if self.duration_s < MIN_DURATION_S:
            raise AudioError(self.path, f"too short: {self.duration_s:.2f} s, at least {MIN_DURATION_S} s are needed")
        if peak < SILENCE_PEAK:
            where = "throughout" if self._chosen is None else f"in the {len(self._chosen)} windows that were read"
            raise AudioError(self.path, f"silent: its peak is {peak:.1e}, below -80 dBFS {where}")
        if yielded == 0 or 2 * filled >= size:
            yield Window(self._window_start_s(yielded), window)

    def _part(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """What of the blocks lies between the first and the last sample that are wanted."""
        position = 0
        for block in blocks:
            begin, end = max(self._first - position, 0), None if self._last is None else max(self._last - position, 0)
            position += len(block)
            yield block[begin:end]
            if self._last is not None and position >= self._last:
                return

    def _checked_peak(self, block: NDArray[np.float32]) -> float:
        peak = float(np.max(np.abs(block), initial=0.0))  # NaN and infinity survive the maximum
        if not peak <= MAX_PEAK:
            raise AudioError(self.path, f"holds a sample of magnitude {peak:g}, expected -1...1: rescale the file")
        return peak

    def _window_start_s(self, yielded: int) -> float:
        number = yielded if self._chosen is None else self._chosen[yielded]
        return self._start_s + number * self._window_samples / self._sample_rate_hz

    def _decode(self) -> Iterator[NDArray[np.float32]]:
        """Mono float32 blocks at the model's sample rate."""
        with self._open() as (container, stream):
            yield from _resample(self._frames(container, stream), sample_rate_hz=self._sample_rate_hz)
            announced_s = _announced_s(container, stream)
            if announced_s is not None and announced_s - self.decoded_s > MAX_MISSING_S:
                raise AudioError(
                    self.path,
                    f"truncated or damaged: {self.decoded_s:.1f} s of the {announced_s:.1f} s in its header decode",
                )

    def _seek(self, count: int) -> Iterator[NDArray[np.float32]]:
        """As `_decode`, of `count` windows in the middles of as many equal parts; of all, where there are no more."""
        size, rate_hz = self._window_samples, self._sample_rate_hz
        with self._open() as (container, stream):
            origin = next(self._frames(container, stream), None)
            if origin is not None:
                length_s = _announced_s(container, stream) or _demuxed_s(container, stream, origin=origin)
                samples = round(length_s * rate_hz)
                total = (2 * samples + size) // (2 * size)
                if total > count:
                    self._chosen = [(2 * part + 1) * total // (2 * count) for part in range(count)]
                    self.duration_s = length_s
                    for first in (number * size for number in self._chosen):
                        expected = min(size, samples - first)
                        window = self._read_at(first, container, stream, origin=origin)[:expected]
                        if expected - len(window) > MAX_MISSING_S * rate_hz:
                            missing = f"nothing of its {length_s:.1f} s decodes at {first / rate_hz:.1f} s"
                            raise AudioError(self.path, f"truncated or damaged: {missing}")
                        yield np.pad(window, (0, expected - len(window)))
                    return
        self.decoded_s = 0.0
        yield from self._decode()

    def _read_at(
        self, first: int, container: InputContainer, stream: AudioStream, *, origin: av.AudioFrame
    ) -> NDArray[np.float32]:
        """At most a window of what `_decode` gives, from its sample `first` on.

        Every `step` samples of the file, counted from its first frame, `origin`, are `stride` samples at our rate, and
        fall together with one: the resampler starts at such a place, as it does at the file's start.
        """
        common = math.gcd(origin.sample_rate, self._sample_rate_hz)
        step, stride = origin.sample_rate // common, self._sample_rate_hz // common
        from_s = max(first / self._sample_rate_hz - _LEAD_IN_S - step / origin.sample_rate, 0.0)
        container.seek((origin.pts or 0) + round(from_s / _tick_s(stream)), stream=stream)
        frames = self._frames(container, stream)
        frame = next(frames, None)
        if frame is None:
            return np.empty(0, np.float32)
        position = round(((frame.pts or 0) - (origin.pts or 0)) * _tick_s(stream) * origin.sample_rate)
        skipped = -position % step
        begin = first - (position + skipped) // step * stride
        if frame.pts is None or begin < 0:
            raise AudioError(self.path, "its parts cannot be sought: add it with all its windows")
        blocks, read = [np.empty(0, np.float32)], 0
        for block in _resample(chain([frame], frames), sample_rate_hz=self._sample_rate_hz, skipped=skipped):
            blocks.append(block)
            read += len(block)
            if read >= begin + self._window_samples:
                break
        return np.concatenate(blocks)[begin : begin + self._window_samples]

    def _frames(self, container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
        for frame in container.decode(stream):
            if not SOURCE_RATES_HZ[0] <= frame.sample_rate <= SOURCE_RATES_HZ[1]:
                low, high = SOURCE_RATES_HZ
                raise AudioError(self.path, f"sampled at {frame.sample_rate} Hz, expected {low} to {high}")
            channels = frame.layout.nb_channels
            if frame.format.is_planar and channels > MAX_PLANES:
                raise AudioError(self.path, f"has {channels} channels, expected at most {MAX_PLANES}")
            self.decoded_s += frame.samples / frame.sample_rate
            yield frame

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, AudioStream]]:
        """The file and its first audio stream; errors in the block become `AudioError`."""
        try:
            check_file(self.path)
            # FFmpeg sees a Python file and may open no other: a playlist in disguise reaches nothing.
            with (
                open(self.path, "rb") as file,
                av.open(file, mode="r", options={"protocol_whitelist": ""}, metadata_errors="replace") as container,
            ):
                if not container.streams.audio:
                    raise AudioError(self.path, "has no audio stream")
                yield container, container.streams.audio[0]
        except (av.FFmpegError, OSError) as exc:  # some of FFmpeg's errors are OSErrors too
            problem = exc.strerror or str(exc)
            if self._chosen is not None:
                problem = f"damaged: a part of it does not decode ({problem})"
            elif self.decoded_s > 0:
                problem = f"damaged: decoding stops at {self.decoded_s:.1f} s ({problem})"
            elif isinstance(exc, av.FFmpegError):
                problem = f"not a readable audio file ({problem})"
            raise AudioError(self.path, problem, may_pass=not isinstance(exc, av.FFmpegError)) from exc


def _announced_s(container: InputContainer, stream: AudioStream) -> float | None:
    """The stream's length by its header; None where that would be a guess."""
    if stream.duration is None or (container.format.name in _ESTIMATED_LENGTH and not stream.start_time):
        return None
    return float(stream.duration * _tick_s(stream))


def _demuxed_s(container: InputContainer, stream: AudioStream, *, origin: av.AudioFrame) -> float:
    """The stream's length by its packets, none of which is decoded: a tenth of the time."""
    end = max((packet.pts or 0) + (packet.duration or 0) for packet in container.demux(stream))
    return float((end - (origin.pts or 0)) * _tick_s(stream))


def _tick_s(stream: AudioStream) -> Fraction:
    """The unit of its times."""
    return stream.time_base or Fraction(1)  # FFmpeg gives every stream one


def check_file(path: str) -> os.stat_result:
    """The `stat` of a regular file that is not empty.

    Raises:
        AudioError: it is something else (reading a pipe or a device could last for ever).
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as exc:  # a NUL character in a path is a ValueError
        problem = f"cannot be opened ({getattr(exc, 'strerror', None) or exc})"
        raise AudioError(path, problem, may_pass=True) from exc
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(path, "is a folder or a device, expected an audio file")
    if status.st_size == 0:
        raise AudioError(path, "empty file (0 bytes)")
    return status


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """Average of the channels, float32 [samples], full scale = 1.

    Not left to FFmpeg: its stereo downmix is 3 dB louder from float codecs than from integer ones.
    """
    kind, channels = frame.format.name.removesuffix("p"), frame.layout.nb_channels
    dtype, full_scale = _SAMPLES[kind]
    planes: Any = frame.planes  # PyAV's types do not say that they are buffers
    if frame.format.is_packed:
        samples = np.frombuffer(planes[0], dtype, count=frame.samples * channels).reshape(-1, channels).T
    else:  # not `to_ndarray`: PyAV 18.1 sees a ninth plane after eight, and reads there
        samples = np.stack([np.frombuffer(plane, dtype, count=frame.samples) for plane in planes[:channels]])
    mono: NDArray[np.float64] = samples.mean(axis=0, dtype=np.float64)
    if kind == "u8":
        mono -= 128.0
    return (mono / full_scale).astype(np.float32)


def _resample(
    frames: Iterator[av.AudioFrame], *, sample_rate_hz: int, skipped: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Mono blocks at one rate, without the first samples; a new rate (chained streams) starts a new resampler."""
    resampler: av.AudioResampler | None = None
    source_rate_hz = 0
    for frame in _gathered(frames):
        if frame.sample_rate != source_rate_hz:
            if resampler is not None:
                yield from _samples(resampler.resample(None))
            source_rate_hz = frame.sample_rate
            resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate_hz)
        assert resampler is not None
        samples, skipped = _mono(frame)[skipped:], max(skipped - frame.samples, 0)
        if not len(samples):
            continue
        mono = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        mono.sample_rate = source_rate_hz
        yield from _samples(resampler.resample(mono))
    if resampler is not None:
        yield from _samples(resampler.resample(None))  # the filter still holds the last few milliseconds


def _gathered(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """The same samples in longer frames: MP3's of 26 ms would cost more in Python than in the decoder."""
    fifo: av.AudioFifo | None = None
    kind = None
    for frame in frames:
        frame.pts = None  # the fifo refuses gaps
        this = (frame.format.name, frame.layout.name, frame.sample_rate)
        if fifo is not None and this != kind:
            yield from _read(fifo)
            fifo = None
        if fifo is None:
            fifo, kind = av.AudioFifo(), this
        fifo.write(frame)
        if fifo.samples >= _GATHERED:
            yield from _read(fifo)
    if fifo is not None:
        yield from _read(fifo)


def _read(fifo: av.AudioFifo) -> Iterator[av.AudioFrame]:
    frame = fifo.read()
    if frame is not None:
        yield frame


def _samples(frames: list[av.AudioFrame]) -> Iterator[NDArray[np.float32]]:
    for frame in frames:
        yield np.array(frame.to_ndarray()[0], dtype=np.float32)
