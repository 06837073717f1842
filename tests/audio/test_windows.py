"""Which windows stand for a track: those that are heard beside its loudest."""

from pathlib import Path

import numpy as np
import pytest

from audio import DecodeError, WindowReader, heard
from tests.audio.sounds import RATE_HZ, SAMPLE_RATE_HZ, music, write_audio


def with_a_pause(*, pause: np.ndarray) -> np.ndarray:
    """4 s of music, a pause of 6 s, 3 s of music."""
    song = music(seconds=7, channels=1)[0]
    return np.concatenate([song[: 4 * SAMPLE_RATE_HZ], pause, song[4 * SAMPLE_RATE_HZ :]])


@pytest.mark.parametrize("hiss_dbfs", [None, -70.0])
def test_a_pause_is_left_out(tmp_path: Path, hiss_dbfs: float | None) -> None:
    pause = np.zeros(6 * SAMPLE_RATE_HZ, np.float32)
    if hiss_dbfs is not None:
        pause += 10 ** (hiss_dbfs / 20) * np.random.default_rng(0).standard_normal(len(pause)).astype(np.float32)
    path = write_audio(tmp_path / "a.flac", with_a_pause(pause=pause), kind="flac")
    windows = list(WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ))
    assert [window.start_s for window in windows] == [0, 1, 2, 3, 10, 11, 12]
    assert heard([window.power for window in windows]).all()


def test_a_quiet_beginning_is_found_out_at_the_end(tmp_path: Path) -> None:
    song = music(seconds=6, channels=1)[0]
    song[: 2 * SAMPLE_RATE_HZ] *= 10 ** (-50 / 20)
    path = write_audio(tmp_path / "a.wav", song, kind="f32.wav")
    reader = WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ)
    windows = list(reader)
    assert reader.duration_s == pytest.approx(6)
    np.testing.assert_array_equal(heard([window.power for window in windows]), [False, False, True, True, True, True])


def test_what_is_40_db_below_the_loudest_counts_and_what_is_less_does_not() -> None:
    np.testing.assert_array_equal(heard([1.0, 1.01e-4, 0.99e-4]), [True, True, False])
    assert heard([1e-12]).all()


def test_a_padded_window_is_as_loud_as_what_is_in_it(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", 0.5 * np.ones(round(1.6 * RATE_HZ)), kind="f32.wav", sample_rate_hz=RATE_HZ)
    windows = list(WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ))
    assert [window.power for window in windows] == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("hiss_dbfs", [None, -70.0])
def test_some_windows_are_of_what_is_heard(tmp_path: Path, hiss_dbfs: float | None, count: int) -> None:
    pause = np.zeros(30 * SAMPLE_RATE_HZ, np.float32)
    if hiss_dbfs is not None:
        pause += 10 ** (hiss_dbfs / 20) * np.random.default_rng(0).standard_normal(len(pause)).astype(np.float32)
    path = write_audio(tmp_path / "a.flac", with_a_pause(pause=pause), kind="flac")
    reader = WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ, windows=count)
    starts_s = [window.start_s for window in reader]
    assert len(starts_s) == count
    assert starts_s == sorted(set(starts_s))
    assert set(starts_s) <= {0, 1, 2, 3, 34, 35, 36}
    assert reader.duration_s == pytest.approx(37)


@pytest.mark.parametrize("seconds", [10.0, 11.3])
def test_the_last_windows_of_an_ogg_file_are_where_they_should_be(tmp_path: Path, seconds: float) -> None:
    """Clicks take few bytes, so that the last page holds seconds; FFmpeg's times depend on having seen it."""
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    clicks = 0.1 * np.random.default_rng(0).standard_normal(len(time_s)) * (time_s % 0.25 < 0.01)
    path = write_audio(tmp_path / "a.ogg", clicks, kind="ogg")
    size = RATE_HZ // 2
    everything = {
        window.start_s: window.waveform for window in WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=size)
    }
    chosen = list(WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=size, windows=len(everything) - 1))
    assert len(chosen) == len(everything) - 1
    for window in chosen:
        np.testing.assert_allclose(window.waveform, everything[window.start_s], atol=1e-5)


def test_a_part_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"has no part from 3\.0 to 2\.0 s"):
        WindowReader(tmp_path / "a.wav", sample_rate_hz=RATE_HZ, window_samples=RATE_HZ, start_s=3.0, end_s=2.0)
