"""Reads one crop of an audio file, in the same way as the client and the server."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from audio import DecodeError, Extent, NotSeekable, Recording
from train.data.member import Member, UnansweredError, open_audio

Item = TypeVar("Item")


class AudioDecodeError(RuntimeError):
    """An audio file cannot be read. The message names it."""


class StoreSilentError(AudioDecodeError):
    """A store does not answer, after retries too. The audio file itself may be good.

    A command that leaves out recordings it cannot decode ends with this error instead: it may hold for all that follow.
    """


@contextmanager
def open_recording(path: Path | Member, *, sample_rate_hz: int) -> Iterator[Recording]:
    """Open a recording, whose decoding errors name it within the block.

    Raises:
        StoreSilentError: the store of its shard does not answer.
        AudioDecodeError: the file is missing, is not audio, or is mostly damaged.
    """
    try:
        with open_audio(path) as source:
            yield Recording(source, sample_rate_hz=sample_rate_hz)
    except UnansweredError as exc:
        raise StoreSilentError(f"cannot decode {path}: {exc.reason}, after retries") from exc
    except DecodeError as exc:
        raise AudioDecodeError(f"cannot decode {path}: {exc.reason}") from exc


def readable(items: Iterable[Item | AudioDecodeError]) -> Iterator[Item]:
    """Yield what a loader's workers read.

    Their datasets give an error as an item, because one raised in a worker has the worker's traceback in its message.

    Raises:
        AudioDecodeError: an item is an error.
    """
    for item in items:
        if isinstance(item, AudioDecodeError):
            raise item
        yield item


class Crop(NamedTuple):
    """A part of a recording, float32 [samples] in -1…1, zero-padded at the end, and its first sample's index."""

    waveform: NDArray[np.float32]
    start: int


def load_crop(
    path: Path | Member, *, sample_rate_hz: int, samples: int, place: float | None = None, window: int = 0
) -> NDArray[np.float32]:
    """Return the waveform of `cut_crop`."""
    return cut_crop(path, sample_rate_hz=sample_rate_hz, samples=samples, place=place, window=window).waveform


def cut_crop(
    path: Path | Member, *, sample_rate_hz: int, samples: int, place: float | None = None, window: int = 0
) -> Crop:
    """Decode a crop as mono, with little more than the wanted part; see `audio.Recording`.

    Args:
        path: path of a recording, or its place in a shard.
        sample_rate_hz: sample rate of the result.
        samples: length of the result at `sample_rate_hz`.
        place: position of the crop, from 0 (earliest) to 1 (latest), 0.5 in the centre; None: use `window`.
        window: number of the window, counted from the start of the file in steps of `samples`.

    Raises:
        StoreSilentError: the store of its shard does not answer.
        AudioDecodeError: the file is missing, is not audio, or ends before that window begins. Or the whole file had to
            be read and more than half of it is damaged.
        ValueError: `place` or `window` is out of its range.
    """
    if window < 0 or (place is not None and not 0 <= place <= 1):
        raise ValueError(f"got place {place} and window {window}, expected 0 to 1, and 0 or more")
    with open_recording(path, sample_rate_hz=sample_rate_hz) as recording:
        decoded, start = _read(recording, path, samples=samples, place=place, window=window)
    if not len(decoded):
        raise AudioDecodeError(f"cannot decode {path}: it ends before its window {window}")
    return Crop(np.pad(decoded, (0, samples - len(decoded))), start)


def load_part(path: Path | Member, *, sample_rate_hz: int, start: int, samples: int) -> NDArray[np.float32]:
    """Decode the part that begins with sample `start`: float32 [samples] in -1…1, mono, zero-padded at the end.

    Args:
        path: path of a recording, or its place in a shard.
        sample_rate_hz: sample rate of the result, in which `start` and `samples` count.
        start: first sample, 0 or more.
        samples: length of the result.

    Raises:
        StoreSilentError: the store of its shard does not answer.
        AudioDecodeError: the file is missing, is not audio, or ends before `start`, or is mostly damaged.
    """
    with open_recording(path, sample_rate_hz=sample_rate_hz) as recording:
        decoded = _part(recording, path, start=start, samples=samples)
    if not len(decoded):
        raise AudioDecodeError(f"cannot decode {path}: it ends before {start / sample_rate_hz:g} s")
    return np.pad(decoded, (0, samples - len(decoded)))


def length(path: Path | Member, *, sample_rate_hz: int) -> int:
    """Return the length of the part that decodes, in samples at this rate.

    Raises:
        AudioDecodeError: see `load_crop`.
    """
    with open_recording(path, sample_rate_hz=sample_rate_hz) as recording:
        extent = _extent(path)
        return sum(map(len, recording.blocks())) if extent is None else recording.length(extent)


def _read(recording: Recording, path: Path | Member, *, samples: int, place: float | None, window: int) -> Crop:
    if place is None and window == 0:
        return Crop(_head(recording.blocks(), samples), 0)
    extent = _extent(path)
    if extent is not None:
        latest = max(recording.length(extent) - samples, 0)
        start = window * samples if place is None else int(place * latest)
        try:
            return Crop(next(recording.parts(extent, starts=[start], samples=samples)), start)
        except NotSeekable:
            pass
    decoded = np.concatenate(list(recording.blocks()))
    start = window * samples if place is None else int(place * max(len(decoded) - samples, 0))
    return Crop(decoded[start : start + samples], start)


def _part(recording: Recording, path: Path | Member, *, start: int, samples: int) -> NDArray[np.float32]:
    extent = _extent(path) if start else None
    if extent is not None:
        try:
            return next(recording.parts(extent, starts=[start], samples=samples))
        except NotSeekable:
            pass
    return _head(recording.blocks(), start + samples)[start:]


def _head(blocks: Iterator[NDArray[np.float32]], samples: int) -> NDArray[np.float32]:
    taken: list[NDArray[np.float32]] = []
    read = 0
    for block in blocks:
        taken.append(block)
        read += len(block)
        if read >= samples:
            break
    return np.concatenate(taken)[:samples]


def _extent(path: Path | Member) -> Extent | None:
    """Return the extent, or None if only decoding the whole file can tell."""
    return (path.extent if isinstance(path, Member) else None) or _measure(path)


@lru_cache(2**17)
def _measure(path: Path | Member) -> Extent | None:
    """Measure a recording; cached, because every epoch reads the same files."""
    try:
        with open_audio(path) as source:
            return Recording(source).measure()
    except NotSeekable:
        return None
