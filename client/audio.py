"""Audio file -> mono float32 windows at the model's sample rate: decode, downmix, resample, cut.

Everything is streamed: a four-hour file costs the memory of one window. The log-mel front end is inside
the audio graph, so nothing else happens to the signal here.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from .errors import AudioError

AUDIO_EXTENSIONS = frozenset({".aac", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav"})
"""File names that a folder walk takes for audio; a file named explicitly is tried whatever its name."""

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
# Raw streams without an index: unless an encoder's header says better, their length is a guess.
_ESTIMATED_LENGTH = frozenset({"mp3", "aac"})


_TAGS = frozenset({"title", "artist", "album", "genre", "date"})


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

    Iteration raises `AudioError`, possibly after the first windows: a file is good only once its last
    window was read. `duration_s` is then the length of the decoded audio, and `metadata` holds the title,
    artist, album, genre and date that the file names.
    """

    def __init__(self, path: str | Path, *, sample_rate_hz: int, window_samples: int) -> None:
        self.path = str(path)
        self.duration_s = 0.0
        self.metadata: dict[str, str] = {}
        self._sample_rate_hz = sample_rate_hz
        self._window_samples = window_samples

    def __iter__(self) -> Iterator[Window]:
        size = self._window_samples
        window = np.zeros(size, dtype=np.float32)
        filled = read = yielded = 0
        peak = 0.0
        for block in self._decode():
            peak = max(peak, self._checked_peak(block))
            np.clip(block, -1.0, 1.0, out=block)  # as a player would: lossy codecs overshoot a little
            read += len(block)
            while len(block):
                part, block = block[: size - filled], block[size - filled :]
                window[filled : filled + len(part)] = part
                filled += len(part)
                if filled == size:
                    yield Window(yielded * size / self._sample_rate_hz, window)
                    window, filled, yielded = np.zeros(size, dtype=np.float32), 0, yielded + 1
        if read == 0:
            raise AudioError(self.path, "nothing in it decodes as audio")
        self.duration_s = read / self._sample_rate_hz
        if self.duration_s < MIN_DURATION_S:
            raise AudioError(self.path, f"too short: {self.duration_s:.2f} s, at least {MIN_DURATION_S} s are needed")
        if peak < SILENCE_PEAK:
            raise AudioError(self.path, f"silent: its peak is {peak:.1e}, below -80 dBFS throughout")
        if yielded == 0 or 2 * filled >= size:
            yield Window(yielded * size / self._sample_rate_hz, window)

    def _checked_peak(self, block: NDArray[np.float32]) -> float:
        peak = float(np.max(np.abs(block), initial=0.0))  # NaN and infinity survive the maximum
        if not peak <= MAX_PEAK:
            raise AudioError(self.path, f"holds a sample of magnitude {peak:g}, expected -1...1: rescale the file")
        return peak

    def _decode(self) -> Iterator[NDArray[np.float32]]:
        """Mono float32 blocks at the model's sample rate."""
        decoded_s = 0.0

        def frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
            nonlocal decoded_s
            for frame in container.decode(stream):
                if not SOURCE_RATES_HZ[0] <= frame.sample_rate <= SOURCE_RATES_HZ[1]:
                    low, high = SOURCE_RATES_HZ
                    raise AudioError(self.path, f"sampled at {frame.sample_rate} Hz, expected {low} to {high}")
                channels = frame.layout.nb_channels
                if frame.format.is_planar and channels > MAX_PLANES:
                    raise AudioError(self.path, f"has {channels} channels, expected at most {MAX_PLANES}")
                decoded_s += frame.samples / frame.sample_rate
                yield frame

        try:
            check_file(self.path)
            # FFmpeg sees a Python file and may open no other: a playlist in disguise reaches nothing.
            with (
                open(self.path, "rb") as file,
                av.open(file, mode="r", options={"protocol_whitelist": ""}, metadata_errors="replace") as container,
            ):
                if not container.streams.audio:
                    raise AudioError(self.path, "has no audio stream")
                stream = container.streams.audio[0]
                named = {**container.metadata, **stream.metadata}  # Ogg has them in the stream
                self.metadata = {key.lower(): text for key, text in named.items() if key.lower() in _TAGS}
                yield from _resample(frames(container, stream), sample_rate_hz=self._sample_rate_hz)
                announced_s = float((stream.duration or 0) * (stream.time_base or 0))
                trusted = container.format.name not in _ESTIMATED_LENGTH or bool(stream.start_time)
            if trusted and announced_s - decoded_s > MAX_MISSING_S:
                raise AudioError(
                    self.path,
                    f"truncated or damaged: {decoded_s:.1f} s of the {announced_s:.1f} s in its header decode",
                )
        except (av.FFmpegError, OSError) as exc:  # some of FFmpeg's errors are OSErrors too
            problem = exc.strerror or str(exc)
            if decoded_s > 0:
                problem = f"damaged: decoding stops at {decoded_s:.1f} s ({problem})"
            elif isinstance(exc, av.FFmpegError):
                problem = f"not a readable audio file ({problem})"
            raise AudioError(self.path, problem) from exc


def check_file(path: str) -> os.stat_result:
    """The `stat` of a regular file that is not empty.

    Raises:
        AudioError: it is something else (reading a pipe or a device could last for ever).
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as exc:  # a NUL character in a path is a ValueError
        raise AudioError(path, f"cannot be opened ({getattr(exc, 'strerror', None) or exc})") from exc
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


def _resample(frames: Iterator[av.AudioFrame], *, sample_rate_hz: int) -> Iterator[NDArray[np.float32]]:
    """Mono blocks at one rate; a new rate in mid-stream (chained streams) starts a new resampler."""
    resampler: av.AudioResampler | None = None
    source_rate_hz = 0
    for frame in frames:
        if frame.sample_rate != source_rate_hz:
            if resampler is not None:
                yield from _samples(resampler.resample(None))
            source_rate_hz = frame.sample_rate
            resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate_hz)
        assert resampler is not None
        mono = av.AudioFrame.from_ndarray(_mono(frame)[None], format="flt", layout="mono")
        mono.sample_rate = source_rate_hz
        yield from _samples(resampler.resample(mono))
    if resampler is not None:
        yield from _samples(resampler.resample(None))  # the filter still holds the last few milliseconds


def _samples(frames: list[av.AudioFrame]) -> Iterator[NDArray[np.float32]]:
    for frame in frames:
        yield np.array(frame.to_ndarray()[0], dtype=np.float32)
