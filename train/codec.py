"""Encode a waveform with a lossy codec in memory, and decode it with the project's usual reader."""

import io
from collections.abc import Iterable
from functools import cache
from typing import Literal

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from audio import Recording

_Encoder = Literal["aac", "libmp3lame", "libopus"]
_FFMPEG: dict[str, tuple[_Encoder, str]] = {  # encoder, container
    "aac": ("aac", "mp4"),
    "mp3": ("libmp3lame", "mp3"),
    "opus": ("libopus", "ogg"),
}
CODECS = (*_FFMPEG, "vorbis")

# Encodes in half the time of Opus's default, and the result is almost the same.
_OPTIONS = {"opus": {"compression_level": "5"}}
# libsndfile's Vorbis takes a quality instead of a bit rate: these bits per sample need about these qualities.
_VORBIS_BITS, _VORBIS_QUALITY = (1.6, 4.0), (0.0, 0.8)
_BLOCK = 16_384


@cache
def codecs_at(sample_rate_hz: int) -> tuple[str, ...]:
    """The codecs in `CODECS` that support this sample rate. Opus supports only 8, 12, 16, 24 and 48 kHz."""
    return tuple(codec for codec in CODECS if codec == "vorbis" or sample_rate_hz in _rates(_FFMPEG[codec][0]))


def through_codec(
    waveform: NDArray[np.float32], *, codec: str, bits_per_sample: float, sample_rate_hz: int
) -> NDArray[np.float32]:
    """Encode and decode.

    Args:
        waveform: float32 [samples] in -1…1, mono.
        codec: one of `codecs_at(sample_rate_hz)`.
        bits_per_sample: bit rate divided by sample rate, such as 2. Encoders reach it only approximately.
        sample_rate_hz: sample rate of the waveform.

    Returns:
        float32 [samples] in -1…1, aligned with the input: the encoder's delay is cut off.
    """
    encoded = io.BytesIO()
    if codec == "vorbis":
        _encode_vorbis(waveform, encoded, bits_per_sample=bits_per_sample, sample_rate_hz=sample_rate_hz)
    else:
        _encode(waveform, encoded, codec=codec, bits_per_sample=bits_per_sample, sample_rate_hz=sample_rate_hz)
    encoded.seek(0)
    decoded = np.concatenate(list(Recording(encoded, sample_rate_hz=sample_rate_hz).blocks()))[: len(waveform)]
    return np.pad(decoded, (0, len(waveform) - len(decoded)))


def _encode(
    waveform: NDArray[np.float32], file: io.BytesIO, *, codec: str, bits_per_sample: float, sample_rate_hz: int
) -> None:
    encoder, container = _FFMPEG[codec]
    frame = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = sample_rate_hz, 0
    with av.open(file, "w", format=container) as target:
        stream = target.add_stream(encoder, rate=sample_rate_hz, layout="mono", options=_OPTIONS.get(codec, {}))
        stream.codec_context.thread_count = 1  # the loader's workers already use all cores
        stream.bit_rate = round(bits_per_sample * sample_rate_hz)
        for packets in (stream.encode(frame), stream.encode(None)):
            target.mux(packets)


def _encode_vorbis(
    waveform: NDArray[np.float32], file: io.BytesIO, *, bits_per_sample: float, sample_rate_hz: int
) -> None:
    """Encode with libsndfile: FFmpeg in PyAV's wheels has no libvorbis, and its own encoder differs in quality."""
    quality = float(np.interp(bits_per_sample, _VORBIS_BITS, _VORBIS_QUALITY))
    with soundfile.SoundFile(
        file, "w", sample_rate_hz, 1, format="OGG", subtype="VORBIS", compression_level=1 - quality
    ) as target:
        for start in range(0, len(waveform), _BLOCK):  # libsndfile keeps a block on the stack
            target.write(waveform[start : start + _BLOCK])


def _rates(encoder: str) -> Iterable[int]:
    return av.Codec(encoder, "w").audio_rates or ()
