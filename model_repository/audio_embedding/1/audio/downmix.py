"""Downmix of frames to mono, for any sample format and channel layout.

FFmpeg's own downmix is not used: it is louder for float codecs than for integer codecs.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

# FFmpeg's sample formats: dtype and full scale. 8-bit samples are unsigned, and 128 is silence.
_SAMPLES = {
    "u8": ("u1", 128.0),
    "s16": ("i2", 2.0**15),
    "s32": ("i4", 2.0**31),
    "s64": ("i8", 2.0**63),
    "flt": ("f4", 1.0),
    "dbl": ("f8", 1.0),
}
# ITU-R BS.775-3, table 2, row 1/0 (one front channel): the weight of each channel.
_WEIGHTS = {"FC": 1.0, "BL": 0.5, "BR": 0.5, "SL": 0.5, "SR": 0.5, "LFE": 0.0, "LFE2": 0.0}
_OTHER_WEIGHT = math.sqrt(0.5)  # left, right and a single surround channel; the table has no other channels
_MISCOUNTED_PLANES = 8  # from here on PyAV 14 to 19 looks for one plane too many: it refuses or reads foreign memory
# A share of a channel's power, -15 dB. If the mix keeps less, much of it may be noise of a lossy codec. Uncorrelated
# channels keep half of their power.
_CANCELLED = 0.03


def downmix(frame: av.AudioFrame) -> NDArray[np.float32]:
    """Mix all channels to mono with the weights of ITU-R BS.775, scaled to a sum of 1 so that nothing clips.

    If the channels cancel each other out (right = -left), the first loud channel is returned instead.

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
    """The channels, each float32 [samples], and the factor that scales them to full scale = 1."""
    if frame.format.is_planar and frame.layout.nb_channels >= _MISCOUNTED_PLANES:
        packer = av.AudioResampler(format=frame.format.packed, layout=frame.layout, rate=frame.sample_rate)
        (frame,) = packer.resample(frame)
    kind, count = frame.format.name.removesuffix("p"), frame.layout.nb_channels
    dtype, full_scale = _SAMPLES[kind]
    planes: Any = frame.planes  # they are buffers, which PyAV's types do not say
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
    if not total:  # only bass (LFE) channels
        return [np.float32(1 / len(names))] * len(names)
    return [np.float32(weight / total) for weight in weights]


def _power(signal: NDArray[np.float32], *, scale: np.float32) -> float:
    """Mean square of every fourth sample, which is accurate enough. `dot` is avoided: it starts BLAS threads."""
    some = signal[::4] * scale
    return float(np.einsum("i,i", some, some)) / max(len(some), 1)
