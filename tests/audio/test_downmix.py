"""Several channels become one: ITU-R BS.775's weights, and what cancels out is not lost."""

import wave
from pathlib import Path

import numpy as np
import pytest

from tests.audio.sounds import RATE_HZ, SAMPLE_RATE_HZ, music, read, write_audio
from tests.client.audio_files import tone

ROOT = np.sqrt(0.5)
# BS.775-3, table 2, of one front channel; what a film's bass channel holds is in the others too.
WEIGHTS = {
    1: [1],
    2: [ROOT, ROOT],
    6: [ROOT, ROOT, 1, 0, 0.5, 0.5],  # left, right, centre, bass, two behind
    8: [ROOT, ROOT, 1, 0, 0.5, 0.5, 0.5, 0.5],
}
KINDS = ["u8.wav", "s16.wav", "f32.wav", "f64.wav", "flac", "m4a", "opus"]


@pytest.mark.parametrize("channels", [2, 6, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_channels_have_their_weights_whatever_the_sample_format(tmp_path: Path, kind: str, channels: int) -> None:
    # One tone a channel, below the 120 Hz up to which some codecs keep the bass channel, and apart by more than a bin.
    frequencies_hz = 40 + 10 * np.arange(channels)
    signal = np.stack([0.5 * tone(hz, seconds=4) for hz in frequencies_hz])
    samples, _ = read(write_audio(tmp_path / f"a.{kind}", signal, kind=kind))
    middle = samples[RATE_HZ : 3 * RATE_HZ]
    spectrum = np.abs(np.fft.rfft(middle)) / len(middle) * 2 / 0.25
    weights = np.array(WEIGHTS[channels]) / sum(WEIGHTS[channels])
    np.testing.assert_allclose(spectrum[2 * frequencies_hz], weights, atol=0.03)


def test_more_channels_without_places_are_averaged(tmp_path: Path) -> None:
    signal = np.tile(tone(440, seconds=1), (16, 1)) * np.linspace(0, 1, 16)[:, None]
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((16, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes((32_767 * signal.T).astype("<i2").tobytes())
    mono, _ = read(write_audio(tmp_path / "b.wav", tone(440, seconds=1) / 2))
    np.testing.assert_allclose(read(tmp_path / "a.wav")[0], mono, atol=1e-3)


def test_sixteen_channels_in_planes_are_read(tmp_path: Path) -> None:
    mono = tone(440, seconds=1)
    samples, _ = read(write_audio(tmp_path / "a.ogg", np.tile(mono, (16, 1)), kind="ogg"))
    expected, _ = read(write_audio(tmp_path / "b.ogg", mono, kind="ogg"))
    assert np.corrcoef(samples[800:15_000], expected[800:15_000])[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["s16.wav", "f32.wav", "flac", "mp3", "m4a"])
def test_where_right_is_minus_left_the_left_is_heard(tmp_path: Path, kind: str) -> None:
    left = music(seconds=3, channels=1)[0]
    inverted, _ = read(write_audio(tmp_path / f"a.{kind}", np.stack([left, -left]), kind=kind))
    expected, _ = read(write_audio(tmp_path / f"b.{kind}", left, kind=kind))
    shortest = min(len(inverted), len(expected)) - 800
    got, wanted = inverted[800:shortest], expected[800:shortest]
    assert np.linalg.norm(got - wanted) < 0.3 * np.linalg.norm(wanted)  # codecs draw another noise for two channels
    if kind == "flac":
        np.testing.assert_allclose(inverted, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["u8.wav", "s16.wav", "s24.wav", "s64.wav", "f32.wav", "f64.wav", "flac"])
def test_channels_that_differ_are_not_taken_for_inverted(tmp_path: Path, kind: str) -> None:
    left, right = music(seconds=2)
    samples, _ = read(
        write_audio(tmp_path / f"a.{kind}", np.stack([left, 0.8 * right]), kind=kind), sample_rate_hz=None
    )
    np.testing.assert_allclose(samples, (left + 0.8 * right) / 2, atol=0.005 if kind == "u8.wav" else 1e-4)
