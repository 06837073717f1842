"""Writes a second of sound in the containers that people keep, with or without pictures, by PyAV."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec import Codec

from tests.client.audio_files import tone

# File name suffix -> (codec, FFmpeg's name of the container)
CONTAINERS = {
    ".3gp": ("aac", "3gp"),
    ".aac": ("aac", "adts"),
    ".ac3": ("ac3", "ac3"),
    ".aif": ("pcm_s16be", "aiff"),
    ".aifc": ("pcm_s16le", "aiff"),
    ".aiff": ("pcm_s16be", "aiff"),
    ".amr": ("libopencore_amrnb", "amr"),
    ".asf": ("wmav2", "asf"),
    ".au": ("pcm_s16be", "au"),
    ".caf": ("alac", "caf"),
    ".eac3": ("eac3", "eac3"),
    ".flac": ("flac", "flac"),
    ".loas": ("aac", "latm"),
    ".m4a": ("alac", "ipod"),
    ".m4b": ("aac", "ipod"),
    ".m4r": ("aac", "ipod"),
    ".mka": ("flac", "matroska"),
    ".mkv": ("flac", "matroska"),
    ".mov": ("aac", "mov"),
    ".mp2": ("mp2", "mp2"),
    ".mp3": ("libmp3lame", "mp3"),
    ".mp4": ("aac", "mp4"),
    ".oga": ("flac", "oga"),
    ".opus": ("libopus", "opus"),
    ".ra": ("real_144", "rm"),
    ".rm": ("real_144", "rm"),
    ".snd": ("pcm_s16be", "au"),
    ".tta": ("tta", "tta"),
    ".voc": ("pcm_u8", "voc"),
    ".w64": ("pcm_s16le", "w64"),
    ".wav": ("pcm_s16le", "wav"),
    ".weba": ("libopus", "webm"),
    ".webm": ("libopus", "webm"),
    ".wma": ("wmav1", "asf"),
    ".wv": ("wavpack", "wv"),
}

_RATES_HZ = {"libopencore_amrnb": 8_000, "real_144": 8_000, "libopus": 48_000}  # else 44,100


def write_container(
    path: Path, *, metadata: dict[str, str] | None = None, video: str | None = None, cover: bool = False
) -> Path:
    """Write a tone of 440 Hz, 1 s, as one of `CONTAINERS` by its suffix.

    Args:
        video: a codec of moving pictures, 25 of which are put in.
        cover: put in a still picture instead.
    """
    codec, container_format = CONTAINERS[path.suffix]
    rate_hz = _RATES_HZ.get(codec, 44_100)
    with av.open(str(path), "w", format=container_format) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        sample_format = Codec(codec, "w").audio_formats[0].name
        stream.codec_context.format = sample_format
        stream.codec_context.bit_rate = {"libopencore_amrnb": 12_200}.get(codec, 128_000)
        pictures = None
        if video or cover:
            pictures = container.add_stream(video or "mjpeg", rate=25)
            pictures.width, pictures.height = 64, 48
            pictures.pix_fmt = "yuvj420p" if (video or "mjpeg") == "mjpeg" else "yuv420p"
            if cover:
                pictures.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(tone(440, seconds=1, sample_rate_hz=rate_hz)[None], "flt", "mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        stream.codec_context.open()
        resampler = av.AudioResampler(sample_format, "mono", rate_hz, frame_size=stream.frame_size or 1024)
        position = 0
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            part.pts, part.time_base = position, Fraction(1, rate_hz)
            position += part.samples
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
        if pictures is not None:
            for number in range(25 if video else 1):
                grey = np.full((48, 64, 3), 10 * number, np.uint8)
                picture = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format=pictures.pix_fmt)
                picture.pts, picture.time_base = number, Fraction(1, 25)
                container.mux(pictures.encode(picture))
            container.mux(pictures.encode(None))
    return path
