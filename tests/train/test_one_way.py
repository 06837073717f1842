"""Training, searching and the server read a file with one piece of code, so that a model hears what it learnt from."""

import io
from pathlib import Path

import numpy as np
import pytest

from audio import WindowReader
from client.embedding import embed_file
from client.encoders import open_encoder
from tests.audio.sounds import RATE_HZ, music, write_audio
from tests.client.audio_files import FORMATS
from train.data.audio import load_crop

REAL_AUDIO = Path(__file__).parents[2].parent / "shared/audio"
SIZE = 2 * RATE_HZ


@pytest.mark.parametrize("kind", FORMATS)
def test_training_and_searching_have_the_same_samples(tmp_path: Path, kind: str) -> None:
    path = write_audio(tmp_path / f"a.{kind}", music(seconds=9), kind=kind)
    searched = [window.waveform for window in WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=SIZE)]
    served = [
        window.waveform
        for window in WindowReader(io.BytesIO(path.read_bytes()), sample_rate_hz=RATE_HZ, window_samples=SIZE)
    ]
    trained = [load_crop(path, sample_rate_hz=RATE_HZ, samples=SIZE, window=number) for number in range(len(searched))]
    np.testing.assert_array_equal(served, searched)
    # AAC's decoder draws noise, another one from another start.
    np.testing.assert_allclose(trained, searched, atol=0.05 if kind in ("m4a", "aac") else 1e-6)


@pytest.mark.skipif(not REAL_AUDIO.is_dir(), reason=f"the real recordings are not at {REAL_AUDIO}")
def test_real_recordings_have_the_same_vectors_in_training_and_searching() -> None:
    encoder = open_encoder(None, device="cpu")
    size, rate_hz = encoder.spec.window_samples, encoder.spec.sample_rate_hz
    for path in sorted(REAL_AUDIO.glob("*.ogg")):
        searched = embed_file(encoder, path)
        numbers = np.round(searched.starts_s * rate_hz / size).astype(int)
        crops = [load_crop(path, sample_rate_hz=rate_hz, samples=size, window=int(number)) for number in numbers]
        trained = encoder.embed_windows(np.stack(crops))
        assert np.sum(trained * searched.windows, axis=1).min() > 0.99999, path.name
    encoder.close()
