"""What it costs to turn a file into samples, and what the filter before 16 kHz lets through."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audio import Recording
from tests.client.audio_files import write_audio

TITLE = "From a file to samples"
COLLECTION = Path(__file__).parents[1] / "demo" / "collection"
SECONDS, FILE_RATE_HZ, RATE_HZ = 180, 44_100, 16_000
ROUNDS = 5
FORMATS = ("mp3", "flac", "m4a", "opus", "ogg", "s16.wav")
TONES_HZ = (7000, 7400, 7800, 8200, 9000)


def measure() -> str:
    lines = [
        f"CPU time of a stereo file of {SECONDS // 60} minutes, in ms, on one thread; the sides alternate in one "
        f"process, {ROUNDS} rounds, medians. *Decoding*: FFmpeg's decoder alone. *Default*: with a mean of the "
        "channels and swresample's default filter, by PyAV. *Ours*: `audio.Recording`, with damage counted, BS.775's "
        "downmix and a steep filter. *Ratio*: ours to the default.",
        "",
        "| format | decoding | default | ours | ratio |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for kind in FORMATS:
            path = _file(Path(folder), kind)
            sides: dict[str, Callable[[Path], object]] = {"decode": _decode, "default": _default, "ours": _ours}
            times: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(ROUNDS):
                for side, read in sides.items():
                    began = time.process_time()
                    read(path)
                    times[side].append(1000 * (time.process_time() - began))
            decode, default, ours = (statistics.median(times[side]) for side in sides)
            lines.append(f"| {kind} | {decode:.0f} | {default:.0f} | {ours:.0f} | {ours / default:.2f} |")
        lines += [
            "",
            "How loud a tone of 44.1 kHz is after the filter to 16 kHz, in dB; beyond 8 kHz it comes back as another.",
            "",
            f"| filter | {' | '.join(f'{hz / 1000:g} kHz' for hz in TONES_HZ)} |",
            f"|---|{len(TONES_HZ) * '---|'}",
        ]
        for name, read in {"default": _default, "ours": _ours}.items():
            gains = [_gain_db(read, Path(folder) / "tone.wav", hz) for hz in TONES_HZ]
            lines.append(f"| {name} | {' | '.join(f'{gain:.1f}' for gain in gains)} |")
    return "\n".join(lines)


def _file(folder: Path, kind: str) -> Path:
    """Tracks of the demo collection, one after the other, the right channel a little later than the left."""
    parts, length = [], 0
    for path in sorted(COLLECTION.glob("*.opus")):
        samples, rate = soundfile.read(path, dtype="float32")
        parts.append(soxr.resample(samples, rate, FILE_RATE_HZ))
        length += len(parts[-1])
        if length >= SECONDS * FILE_RATE_HZ:
            break
    mono = np.concatenate(parts)[: SECONDS * FILE_RATE_HZ]
    stereo = np.stack([mono, np.roll(mono, 200)]).clip(-1, 1)
    if kind != "ogg":
        return write_audio(folder / f"a.{kind}", stereo, kind=kind)
    path = folder / "a.ogg"
    with soundfile.SoundFile(path, "w", FILE_RATE_HZ, 2, format="OGG", subtype="VORBIS") as file:
        for start in range(0, stereo.shape[1], FILE_RATE_HZ):  # libsndfile takes no more at once
            file.write(stereo[:, start : start + FILE_RATE_HZ].T)
    return path


def _decode(path: Path) -> None:
    with av.open(str(path)) as container:
        for _ in container.decode(container.streams.audio[0]):
            pass


def _default(path: Path) -> NDArray[np.float32]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    blocks = []
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.audio[0]):
            samples = frame.to_ndarray()
            channels = samples if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels).T
            full_scale = 1.0 if channels.dtype.kind == "f" else float(np.iinfo(channels.dtype.str).max) + 1
            mono = (channels.mean(axis=0, dtype=np.float64) / full_scale).astype(np.float32)
            block = av.AudioFrame.from_ndarray(mono[None], format="flt", layout="mono")
            block.sample_rate = frame.sample_rate
            blocks += [part.to_ndarray()[0].copy() for part in resampler.resample(block)]
    blocks += [part.to_ndarray()[0].copy() for part in resampler.resample(None)]
    return np.concatenate(blocks)


def _ours(path: Path) -> NDArray[np.float32]:
    return np.concatenate(list(Recording(path, sample_rate_hz=RATE_HZ).blocks()))


def _gain_db(read: Callable[[Path], NDArray[np.float32]], path: Path, frequency_hz: float) -> float:
    time_s = np.arange(2 * FILE_RATE_HZ) / FILE_RATE_HZ
    signal = (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)
    middle = read(write_audio(path, signal, kind="f32.wav", sample_rate_hz=FILE_RATE_HZ))[RATE_HZ // 2 : -RATE_HZ // 2]
    return float(20 * np.log10(np.sqrt(2 * np.mean(middle**2)) / 0.5 + 1e-9))
