"""Writes audio files of every format for the tests: PyAV, and libsndfile for Ogg Vorbis.

FFmpeg's own Vorbis encoder does stereo only, and PyAV is built without libvorbis.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

SAMPLE_RATE_HZ = 44_100

# file name suffix -> (codec, sample format, encoder options)
FORMATS = {
    "u8.wav": ("pcm_u8", "u8", {}),
    "s16.wav": ("pcm_s16le", "s16", {}),
    "s24.wav": ("pcm_s24le", "s32", {}),
    "s64.wav": ("pcm_s64le", "s64", {}),
    "f32.wav": ("pcm_f32le", "flt", {}),
    "f64.wav": ("pcm_f64le", "dbl", {}),
    "flac": ("flac", "s16", {}),
    "ogg": ("libsndfile", "", {}),
    "mp3": ("libmp3lame", "fltp", {"b": "192k"}),
    "m4a": ("aac", "fltp", {"b": "192k"}),
    "aac": ("aac", "fltp", {"b": "192k"}),
    "opus": ("libopus", "flt", {"b": "128k"}),
}

# Of these a file's place in time is known less well, or they are variants.
MORE_FORMATS = {
    "vbr.mp3": ("libmp3lame", "fltp", {"flags": "+qscale", "global_quality": str(4 * 118)}),  # FF_QP2LAMBDA
    "alac.m4a": ("alac", "s16p", {}),
    "mka": ("aac", "fltp", {"b": "192k"}),
    "webm": ("libopus", "flt", {"b": "128k"}),
    "wma": ("wmav2", "fltp", {"b": "192k"}),
    "ac3": ("ac3", "fltp", {"b": "192k"}),
}


def write_audio(
    path: Path,
    signal: np.ndarray,
    *,
    kind: str = "s16.wav",
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write float [channels, samples] or [samples] in -1...1 as one of the formats."""
    codec, sample_format, options = (FORMATS | MORE_FORMATS)[kind]
    planes = np.atleast_2d(signal).astype(np.float32)
    if codec == "libsndfile":
        with soundfile.SoundFile(path, "w", sample_rate_hz, len(planes), format="OGG", subtype="VORBIS") as file:
            for name, text in (metadata or {}).items():
                setattr(file, name, text)
            file.write(planes.T)
        return path
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[len(planes)]
    file_rate_hz = 48_000 if codec == "libopus" else sample_rate_hz  # Opus knows no 44.1 kHz
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=file_rate_hz, layout=layout, options=options)
        stream.codec_context.format = sample_format
        frame = av.AudioFrame.from_ndarray(planes.T.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = sample_rate_hz
        frame.pts = 0
        resampler = av.AudioResampler(
            format=sample_format, layout=layout, rate=file_rate_hz, frame_size=stream.frame_size or 1024
        )
        position = 0
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            part.pts, part.time_base = position, Fraction(1, file_rate_hz)
            position += part.samples
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def tone(frequency_hz: float, *, seconds: float, sample_rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """A sine at half of full scale, float32 [samples]."""
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)
