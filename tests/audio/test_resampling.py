"""The filter before 16 kHz: flat to 7.4 kHz, nothing beyond 8.2 kHz, from every rate."""

from pathlib import Path

import numpy as np
import pytest

from tests.audio.sounds import RATE_HZ, read, write_audio
from tests.client.audio_files import tone


def gain_db(path: Path, *, frequency_hz: float, sample_rate_hz: int) -> float:
    signal = tone(frequency_hz, seconds=1.5, sample_rate_hz=sample_rate_hz)
    samples, _ = read(write_audio(path, signal, kind="f32.wav", sample_rate_hz=sample_rate_hz))
    middle = samples[RATE_HZ // 2 : RATE_HZ]
    return 20 * np.log10(np.sqrt(2 * np.mean(middle**2)) / 0.5 + 1e-9)


@pytest.mark.parametrize("sample_rate_hz", [22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
def test_music_passes_and_nothing_folds_back(tmp_path: Path, sample_rate_hz: int) -> None:
    for frequency_hz in (100, 1000, 4000, 6500, 7000, 7400):
        assert gain_db(tmp_path / "a.wav", frequency_hz=frequency_hz, sample_rate_hz=sample_rate_hz) == pytest.approx(
            0, abs=0.5
        )
    for frequency_hz in (8200, 8700, 10_000, 15_000):
        if 2 * frequency_hz < sample_rate_hz:
            assert gain_db(tmp_path / "a.wav", frequency_hz=frequency_hz, sample_rate_hz=sample_rate_hz) < -60
