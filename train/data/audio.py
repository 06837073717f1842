"""Decode one crop of an audio file as mono at the model's sample rate."""

from pathlib import Path

import numpy as np
import soundfile
import torch
from torchaudio.functional import resample


class AudioDecodeError(RuntimeError):
    """An audio file that cannot be read; the message names it."""


def load_crop(
    path: Path, *, sample_rate_hz: int, samples: int, place: float | None = None, window: int = 0
) -> np.ndarray:
    """Decode only the wanted part, downmix by averaging the channels, resample.

    Args:
        samples: length of the result at `sample_rate_hz`.
        place: where a random crop starts, from 0 (earliest) to 1 (latest); None takes window number `window`,
            counted from the start of the file in steps of `samples`.

    Returns:
        float32 [samples] in -1…1, zero-padded at the end where the file is shorter.

    Raises:
        AudioDecodeError: the file is missing, damaged or not audio.
    """
    try:  # a name that ends in .raw is a TypeError
        with soundfile.SoundFile(path) as file:
            wanted = int(np.ceil(samples * file.samplerate / sample_rate_hz))
            latest = max(file.frames - wanted, 0)
            file.seek(min(window * wanted, file.frames) if place is None else int(place * latest))
            channels = file.read(wanted, dtype="float32", always_2d=True)
            rate = file.samplerate
    except (soundfile.LibsndfileError, OSError, TypeError) as exc:
        reason = str(exc).rstrip(".")
        raise AudioDecodeError(f"cannot decode {path}: {reason}") from exc
    # Not `mean(axis=1)`, which takes as long as decoding, nor a product of matrices, whose threads wait spinning.
    decoded = sum(channels.T) / np.float32(channels.shape[1])
    if rate != sample_rate_hz and len(decoded):
        decoded = resample(torch.from_numpy(decoded), rate, sample_rate_hz).numpy()
    return np.pad(decoded[:samples], (0, max(samples - len(decoded), 0)))
