"""Frames of any sample format and channel layout -> mono.

Not left to FFmpeg: its downmix is louder from float codecs than from integer ones.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

# FFmpeg's sample formats: type and full scale; 8-bit samples are unsigned around 128.
_SAMPLES = {
    "u8": ("u1", 128.0),
    "s16": ("i2", 2.0**15),
    "s32": ("i4", 2.0**31),
    "s64": ("i8", 2.0**63),
    "flt": ("f4", 1.0),
    "dbl": ("f8", 1.0),
}
# ITU-R BS.775-3, table 2, the row of one front channel (1/0): what each channel counts.
_WEIGHTS = {"FC": 1.0, "BL": 0.5, "BR": 0.5, "SL": 0.5, "SR": 0.5, "LFE": 0.0, "LFE2": 0.0}
_OTHER_WEIGHT = math.sqrt(0.5)  # left, right, a single surround channel; others are not in the table
_MISCOUNTED_PLANES = 8  # PyAV 14 to 19 looks for a plane more than that, and refuses or reads what is not the frame's
# Of a channel's power, -15 dB: so little is left that much of it may be a lossy codec's noise. Of channels that have
# nothing in common half is left.
_CANCELLED = 0.03


def downmix(frame: av.AudioFrame) -> NDArray[np.float32]:
    """One channel of all: ITU-R BS.775's weights, of which the sum is 1, so that nothing clips.

    Where the channels cancel each other out (right = -left), it is the first of the loud ones.

    Returns:
        float32 [samples], full scale = 1.
    """
    channels, scale = _channels(frame)
    if len(channels) == 1:
        return channels[0] * scale
    weights = _weights(tuple(channel.name for channel in frame.layout.channels))
    heard = [(weight * scale, channel) for weight, channel in zip(weights, channels, strict=True) if weight]
    mono = heard[0][0] * heard[0][1]
    for weight, channel in heard[1:]:
        mono += weight * channel
    powers = [_power(channel, scale=scale) for _, channel in heard]
    if _power(mono, scale=np.float32(1)) < _CANCELLED * max(powers):
        return scale * next(
            channel for power, (_, channel) in zip(powers, heard, strict=True) if 2 * power >= max(powers)
        )
    return mono


def _channels(frame: av.AudioFrame) -> tuple[list[NDArray[np.float32]], np.float32]:
    """Each float32 [samples], and what makes full scale 1."""
    if frame.format.is_planar and frame.layout.nb_channels >= _MISCOUNTED_PLANES:
        packer = av.AudioResampler(format=frame.format.packed, layout=frame.layout, rate=frame.sample_rate)
        (frame,) = packer.resample(frame)
    kind, count = frame.format.name.removesuffix("p"), frame.layout.nb_channels
    dtype, full_scale = _SAMPLES[kind]
    planes: Any = frame.planes  # PyAV's types do not say that they are buffers
    if frame.format.is_packed:
        rows = list(np.frombuffer(planes[0], dtype, count=frame.samples * count).reshape(-1, count).T)
    else:
        rows = [np.frombuffer(plane, dtype, count=frame.samples) for plane in planes]
    channels = [row.astype(np.float32) for row in rows]
    if kind == "u8":
        channels = [channel - np.float32(128) for channel in channels]
    return channels, np.float32(1 / full_scale)


@cache
def _weights(names: Sequence[str]) -> list[np.float32]:
    weights = [_WEIGHTS.get(name, _OTHER_WEIGHT) for name in names]
    total = sum(weights)
    if not total:  # nothing but channels for bass
        return [np.float32(1 / len(names))] * len(names)
    return [np.float32(weight / total) for weight in weights]


def _power(signal: NDArray[np.float32], *, scale: np.float32) -> float:
    """Mean square of every fourth sample, which is telling enough. Not by `dot`, which starts BLAS threads."""
    some = signal[::4] * scale
    return float(np.einsum("i,i", some, some)) / max(len(some), 1)
