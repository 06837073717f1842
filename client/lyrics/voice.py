"""The separated voice of a song, in a file of its own, such as Demucs or Spleeter write."""

import numpy as np
from numpy.typing import NDArray

from singing.hearing import VOICE_APART_S, fit_voice

from ..audio import read_samples
from ..errors import AudioError


def read_with_voice(path: str, voice: str, *, sample_rate_hz: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All samples of a song and of its voice, each float32 [samples], mono, -1...1; both are as long as the song.

    Raises:
        AudioError: a file cannot be used, or their lengths differ by more than 0.1 s.
    """
    song, sung = (np.concatenate(list(read_samples(place, sample_rate_hz=sample_rate_hz))) for place in (path, voice))
    if abs(len(sung) - len(song)) > VOICE_APART_S * sample_rate_hz:
        lengths_s = len(sung) / sample_rate_hz, len(song) / sample_rate_hz
        raise AudioError(
            voice,
            f"lasts {lengths_s[0]:.2f} s, but {path} lasts {lengths_s[1]:.2f} s: give the voice that was separated "
            "from this very file",
        )
    return song, fit_voice(sung, samples=len(song))
