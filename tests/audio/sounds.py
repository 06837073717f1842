"""Sounds and files that the tests of this folder make."""

from pathlib import Path

import av
import numpy as np

from audio import Recording, WindowReader
from tests.client.audio_files import SAMPLE_RATE_HZ, write_audio

RATE_HZ = 16_000


def music(*, seconds: float, channels: int = 2, sample_rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Float32 [channels, samples]: chords over noise, everywhere different, so that every packet weighs something."""
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    chord = sum(0.08 * np.sin(2 * np.pi * (hz + 15 * time_s) * time_s) for hz in (220.0, 277.2, 554.4, 1318.5))
    noise = np.random.default_rng(7).standard_normal((channels, len(time_s)))
    return (chord + 0.02 * noise).astype(np.float32)


def read(source: Path, *, sample_rate_hz: int | None = RATE_HZ) -> tuple[np.ndarray, Recording]:
    """All samples of a file, and what is known of it after the last."""
    recording = Recording(source, sample_rate_hz=sample_rate_hz)
    return np.concatenate(list(recording.blocks())), recording


def lengths_s(path: Path) -> tuple[float, float]:
    """As all of its windows tell it, and as four of them do."""
    readers = [WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ, windows=count) for count in (None, 4)]
    for reader in readers:
        assert list(reader)
    return readers[0].duration_s, readers[1].duration_s


def remux(source: Path, target: Path, *, begin_s: float = 0.0, end_s: float = 1e9) -> Path:
    """The packets between two times, as `ffmpeg -c copy` writes them: none is decoded."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.audio[0]
        copy = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.dts is not None and begin_s <= float(packet.pts * packet.time_base) < end_s:
                packet.stream = copy
                new.mux(packet)
    return target


__all__ = ["RATE_HZ", "SAMPLE_RATE_HZ", "lengths_s", "music", "read", "remux", "write_audio"]
