"""Decodes an upload to plain samples, in a decoder process."""

import wave

import numpy as np

from audio import SILENCE_PEAK, DecodeError, Recording
from audio.windows import MIN_DURATION_S

from ..errors import AudioError

MOST_S = 600.0
_RATE_HZ = 48_000  # no model needs a higher rate


def as_samples(path: str) -> float:
    """Decode a file to a WAV file next to it, mono with 16 bits, and return its length in seconds.

    Later searches read only this WAV file. So no other decoder ever sees a byte of the upload.

    Raises:
        AudioError: the file cannot be used.
    """
    samples, peak = 0, 0.0
    try:
        with wave.open(path_of_samples(path), "wb") as file:
            file.setparams((1, 2, _RATE_HZ, 0, "NONE", ""))
            for block in Recording(path, sample_rate_hz=_RATE_HZ).blocks():
                samples, peak = samples + len(block), max(peak, float(np.max(np.abs(block), initial=0.0)))
                if samples > MOST_S * _RATE_HZ:
                    raise DecodeError(f"longer than {MOST_S / 60:.0f} minutes: use a part of the sound")
                file.writeframesraw((block * 32767).astype("<i2").tobytes())
        if samples < MIN_DURATION_S * _RATE_HZ:
            raise DecodeError(f"too short: {samples / _RATE_HZ:.2f} s, at least {MIN_DURATION_S} s are needed")
        if peak < SILENCE_PEAK:
            raise DecodeError("silent")
    except DecodeError as exc:
        raise AudioError(path, exc.reason) from exc
    return samples / _RATE_HZ


def path_of_samples(path: str) -> str:
    """The path of the WAV file with the samples of this file."""
    return f"{path}.wav"
