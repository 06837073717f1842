"""Decoding against closed-form signals, window cutting by hand, and what is refused."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from client import AudioError
from client.audio import WindowReader
from tests.client.audio_files import FORMATS, SAMPLE_RATE_HZ, tone, write_audio

RATE_HZ = 16_000
REAL_AUDIO = Path(__file__).parents[2].parent / "shared/audio"


def chord(*, seconds: float, sample_rate_hz: int) -> np.ndarray:
    """A decaying chord below 5 kHz: no rate in these tests aliases it, and it never repeats."""
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    partials = [(0.20, 220.0), (0.15, 554.4), (0.10, 1318.5), (0.05, 4186.0)]
    wave = sum(level * np.sin(2 * np.pi * (hz + 20 * time_s) * time_s) for level, hz in partials)
    return (wave * np.exp(-0.3 * time_s)).astype(np.float32)


def read(path: Path, *, window_samples: int = RATE_HZ) -> tuple[np.ndarray, WindowReader]:
    reader = WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=window_samples)
    return np.stack([window.waveform for window in reader]), reader


# What the codec may do to the signal: relative error, and for ADTS a delay that nothing in the file declares
# (1024 samples: half a sample off at 16 kHz, hence its tolerance).
TOLERANCE = {"u8.wav": 0.03, "ogg": 0.05, "mp3": 0.05, "m4a": 0.05, "aac": 0.25, "opus": 0.05}
DELAY = {"aac": round(1024 * RATE_HZ / SAMPLE_RATE_HZ)}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_signal_that_was_encoded(tmp_path: Path, kind: str, channels: int) -> None:
    seconds = 5.25
    signal = np.tile(chord(seconds=seconds, sample_rate_hz=SAMPLE_RATE_HZ), (channels, 1))
    windows, reader = read(write_audio(tmp_path / f"a.{kind}", signal, kind=kind))
    expected = chord(seconds=seconds, sample_rate_hz=RATE_HZ)
    assert windows.dtype == np.float32
    assert reader.duration_s == pytest.approx(seconds, abs=0.05)
    delay = DELAY.get(kind, 0)
    # Codecs blur both ends of a file, hence not the first and last 50 ms.
    got, expected = windows.ravel()[800 + delay : 79_000 + delay], expected[800:79_000]
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < TOLERANCE.get(kind, 0.003)


@pytest.mark.parametrize("sample_rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_the_resampler_loses_no_tail(tmp_path: Path, sample_rate_hz: int) -> None:
    signal = tone(1000, seconds=2.0, sample_rate_hz=sample_rate_hz)
    path = write_audio(tmp_path / "a.wav", signal, sample_rate_hz=sample_rate_hz)
    windows, reader = read(path, window_samples=400)
    assert abs(reader.duration_s * RATE_HZ - 2 * RATE_HZ) <= 1
    # The last 25 ms sound like the ones before: a missing flush would leave zeros there.
    rms = np.sqrt(np.mean(windows**2, axis=1))
    assert rms[79] == pytest.approx(rms[40], rel=0.05)


# Window of 1 s. Durations around the "at least half full" rule, in samples at 16 kHz.
@pytest.mark.parametrize(
    ("samples", "starts_s", "last_filled"),
    [
        (8_000, [0], 8_000),  # shorter than one window: one, padded
        (15_999, [0], 15_999),
        (16_000, [0], 16_000),
        (23_999, [0], 16_000),  # 7,999 left: less than half, dropped
        (24_000, [0, 1], 8_000),  # exactly half: kept, padded
        (48_000, [0, 1, 2], 16_000),
        (55_999, [0, 1, 2], 16_000),
    ],
)
def test_windows_are_cut_from_the_start(tmp_path: Path, samples: int, starts_s: list[float], last_filled: int) -> None:
    signal = np.linspace(-0.9, 0.9, samples, dtype=np.float32)  # a ramp: every sample tells its place
    path = write_audio(tmp_path / "a.wav", signal, kind="f32.wav", sample_rate_hz=RATE_HZ)
    windows = list(WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ))
    assert [window.start_s for window in windows] == starts_s
    kept = (len(windows) - 1) * RATE_HZ + last_filled
    joined = np.concatenate([window.waveform for window in windows])
    np.testing.assert_array_equal(joined[:kept], signal[:kept])
    assert not joined[kept:].any()


def test_a_window_shorter_than_half_a_second_keeps_short_tracks(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", tone(440, seconds=0.5))
    windows, _ = read(path, window_samples=160_000)
    assert windows.shape == (1, 160_000)


def test_overshoot_is_clipped_as_a_player_would(tmp_path: Path) -> None:
    windows, _ = read(write_audio(tmp_path / "a.wav", 4 * tone(440, seconds=1), kind="f32.wav"))
    assert np.abs(windows).max() == 1.0


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", tone(440, seconds=300))  # 19 MB as float32 at 16 kHz
    tracemalloc.start()
    count = sum(1 for _ in WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 300
    assert peak_bytes < 2_000_000


def test_what_is_not_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.mp3").write_text("this is not music\n" * 100)
    (tmp_path / "noise.flac").write_bytes(np.random.default_rng(0).bytes(10_000))
    (tmp_path / "playlist.m3u8").write_text("#EXTM3U\n#EXTINF:5,\n/etc/hostname\n#EXT-X-ENDLIST\n")
    os.mkfifo(tmp_path / "pipe.wav")
    write_audio(tmp_path / "silent.wav", np.zeros(SAMPLE_RATE_HZ))
    write_audio(tmp_path / "hum.wav", 5e-5 * tone(100, seconds=1), kind="f32.wav")
    write_audio(tmp_path / "short.wav", tone(440, seconds=0.1))
    write_audio(tmp_path / "nan.wav", np.full(SAMPLE_RATE_HZ, np.nan), kind="f32.wav")
    write_audio(tmp_path / "integers.wav", 20_000 * tone(440, seconds=1), kind="f32.wav")
    for name, reason in {
        "missing.wav": "cannot be opened (No such file or directory)",
        "": "is a folder or a device",
        "nul\0.wav": "embedded null",
        "pipe.wav": "is a folder or a device",
        "empty.wav": "empty file (0 bytes)",
        "text.mp3": "not a readable audio file",
        "noise.flac": "contains no audio that can be decoded",
        "playlist.m3u8": "not a readable audio file",
        "silent.wav": "silent",
        "hum.wav": "below -80 dBFS",
        "short.wav": "too short: 0.10 s, at least 0.5 s",
        "nan.wav": "magnitude nan",
        "integers.wav": "expected -1...1: rescale",
    }.items():
        with pytest.raises(AudioError) as caught:
            read(tmp_path / name)
        assert reason in caught.value.reason, name
        assert caught.value.path == str(tmp_path / name)


@pytest.mark.parametrize("sample_rate_hz", [1, 999, 768_001, 100_000_000])
def test_a_header_cannot_ask_for_an_enormous_resampler(tmp_path: Path, sample_rate_hz: int) -> None:
    path = write_audio(tmp_path / "a.wav", tone(440, seconds=10))
    content = bytearray(path.read_bytes())
    content[24:28] = sample_rate_hz.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(AudioError, match=rf"sampled at {sample_rate_hz} Hz, expected 1000 to 768000"):
        read(path)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=64, height=64)
        for _ in range(25):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="has no audio stream"):
        read(path)


@pytest.mark.skipif(not REAL_AUDIO.is_dir(), reason=f"the real recordings are not at {REAL_AUDIO}")
def test_real_recordings_decode_to_their_length() -> None:
    lengths_s = {
        "hungarian_dance_5_strings": 45.84,
        "vibe_ace_jazz": 61.46,
        "lets_go_fishin_folk": 132.99,
        "sugar_plum_fairy_orchestra": 119.88,
        "solo_trumpet_loop": 5.33,
    }
    for name, length_s in lengths_s.items():
        windows, reader = read(REAL_AUDIO / f"{name}.ogg", window_samples=10 * RATE_HZ)
        assert reader.duration_s == pytest.approx(length_s, abs=0.01)
        assert len(windows) == max(1, int(length_s / 10 + 0.5))


# -- some windows of a file ----------------------------------------------------------------------------

SOUGHT = [*FORMATS, "raw.mp3"]  # the last has no header that tells its length


def sweep(path: Path, *, kind: str, seconds: float) -> Path:
    """Stereo that is everywhere different."""
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    left = 0.4 * np.sin(2 * np.pi * (200 + 30 * time_s) * time_s)
    return write_audio(path, np.stack([left, 0.5 * left]), kind="mp3" if kind == "raw.mp3" else kind)


def choose(path: Path, count: int) -> tuple[list, WindowReader]:
    reader = WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ, windows=count)
    return list(reader), reader


@pytest.mark.parametrize("kind", SOUGHT)
def test_windows_that_are_sought_are_those_of_the_whole_file(tmp_path: Path, kind: str) -> None:
    path = sweep(tmp_path / f"a.{kind}", kind=kind, seconds=30)
    if kind == "raw.mp3":
        content = path.read_bytes()
        path.write_bytes(content[content.index(b"\xff\xfb", content.index(b"Info")) :])
    everything = {
        window.start_s: window.waveform for window in WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ)
    }
    chosen, reader = choose(path, 4)
    assert [window.start_s for window in chosen] == [3, 11, 18, 26]
    for window in chosen:
        np.testing.assert_allclose(window.waveform, everything[window.start_s], atol=1e-4)
    assert reader.duration_s == pytest.approx(30, abs=0.05)
    assert 4 <= reader.decoded_s < 12  # half a second before each, and what the format's seeking adds


@pytest.mark.parametrize(
    ("seconds", "count", "starts_s"),
    [(5.4, 1, [2]), (5.6, 1, [3]), (5.6, 5, [0, 1, 3, 4, 5]), (5.6, 6, range(6)), (2.0, 9, [0, 1]), (0.6, 1, [0])],
)
def test_windows_are_spread_evenly_and_a_short_file_gives_all(
    tmp_path: Path, seconds: float, count: int, starts_s: list[float]
) -> None:
    path = sweep(tmp_path / "a.wav", kind="s16.wav", seconds=seconds)
    chosen, reader = choose(path, count)
    assert [window.start_s for window in chosen] == list(starts_s)
    assert reader.duration_s == pytest.approx(seconds)
    if starts_s[-1] == 5:  # the last, padded
        assert not chosen[-1].waveform[round(0.6 * RATE_HZ) :].any()
        assert chosen[-1].waveform[round(0.5 * RATE_HZ) : round(0.6 * RATE_HZ)].any()


def test_windows_that_are_silent_do_not_stand_for_a_track(tmp_path: Path) -> None:
    path = write_audio(
        tmp_path / "a.wav", np.concatenate([np.zeros(round(5.2 * SAMPLE_RATE_HZ)), tone(440, seconds=0.8)])
    )
    assert [window.start_s for window in choose(path, 2)[0]] == [5]
    write_audio(path, np.zeros(6 * SAMPLE_RATE_HZ))
    with pytest.raises(AudioError, match=r"silent: its peak is 0.0e\+00, below -80 dBFS"):
        choose(path, 2)
