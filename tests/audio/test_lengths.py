"""A length is what decodes, whatever a header says, with all windows and with some."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from audio import Recording
from audio.recording import NotSeekable
from tests.audio.sounds import RATE_HZ, lengths_s, music, read, remux, write_audio


def xing(content: bytes) -> int:
    """Where an MP3's header of that kind is, which tells how many frames and bytes follow."""
    return max(content.find(b"Xing", 0, 4096), content.find(b"Info", 0, 4096))


def test_an_mp3_without_a_header_is_as_long_as_it_decodes(tmp_path: Path) -> None:
    # Variable bit rates: 25 s of silence take few bytes, so that FFmpeg's guess is far off.
    signal = music(seconds=10)
    quiet = np.concatenate([0 * music(seconds=25), signal], axis=1)
    path = write_audio(tmp_path / "a.mp3", quiet, kind="vbr.mp3")
    content = path.read_bytes()
    second_frame = content.index(b"\xff\xfb", xing(content))
    path.write_bytes(content[second_frame:])
    with av.open(str(path)) as container:
        assert not 30 < container.duration / 1e6 < 40
    assert lengths_s(path) == pytest.approx((35, 35), abs=0.1)


@pytest.mark.parametrize("factor", [0.5, 1.7, 3.0])
def test_an_mp3s_header_may_lie_either_way(tmp_path: Path, factor: float) -> None:
    path = write_audio(tmp_path / "a.mp3", music(seconds=20), kind="mp3")
    content = bytearray(path.read_bytes())
    place = xing(content) + 8
    frames = int.from_bytes(content[place : place + 4], "big")
    content[place : place + 4] = round(factor * frames).to_bytes(4, "big")
    path.write_bytes(content)
    assert lengths_s(path) == pytest.approx((20, 20), abs=0.05)
    assert read(path)[1].warning == ""


@pytest.mark.parametrize("begin_s", [5.0, 15.0])  # the second leaves less than half of what the header tells
def test_a_flac_whose_beginning_was_cut_off_lacks_nothing(tmp_path: Path, begin_s: float) -> None:
    path = write_audio(tmp_path / "a.flac", music(seconds=20), kind="flac")
    content = path.read_bytes()
    frames = [i for i in range(42, len(content)) if content[i : i + 2] == b"\xff\xf8"]
    # A frame's number follows four bytes of header, coded like UTF-8: FFmpeg writes 4608 samples a frame.
    number = int(begin_s * 44_100 / 4608)
    coded = chr(number).encode()
    start = next(i for i in frames if content[i + 4 : i + 4 + len(coded)] == coded)
    header_end = next(i for i in frames if content[i + 4] == 0)
    path.write_bytes(content[:header_end] + content[start:])
    expected = 20 - number * 4608 / 44_100
    assert lengths_s(path) == pytest.approx((expected, expected), abs=0.01)
    assert read(path)[1].warning == ""


@pytest.mark.skipif(int(av.__version__.split(".")[0]) < 15, reason="PyAV 14 copies no packets of these")
@pytest.mark.parametrize("kind", ["opus", "ogg"])
def test_an_ogg_file_may_start_late(tmp_path: Path, kind: str) -> None:
    whole = write_audio(tmp_path / f"a.{kind}", music(seconds=20), kind=kind)
    path = remux(whole, tmp_path / f"b.{kind}", begin_s=5.0)
    assert lengths_s(path) == pytest.approx((15, 15), abs=0.1)
    assert read(path)[1].warning == ""


@pytest.mark.parametrize("size", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_a_wav_file_of_unknown_size_is_as_long_as_it_is(tmp_path: Path, size: bytes) -> None:
    path = write_audio(tmp_path / "a.wav", music(seconds=20))
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = size
    path.write_bytes(content)
    assert lengths_s(path) == pytest.approx((20, 20), abs=0.001)


def test_a_flac_of_unknown_length_is_as_long_as_it_decodes(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.flac", music(seconds=20), kind="flac")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the last 36 bits of bytes 18 to 25 are the number of samples; 0: unknown (RFC 9639, 8.2)
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert lengths_s(path) == pytest.approx((20, 20), abs=0.001)


@pytest.mark.parametrize("kind", ["flac", "mp3", "m4a", "ogg", "opus", "aac", "mka", "webm", "wma", "ac3"])
def test_all_windows_and_some_tell_the_same_length(tmp_path: Path, kind: str) -> None:
    path = write_audio(tmp_path / f"a.{kind}", music(seconds=12.34), kind=kind)
    every, some = lengths_s(path)
    assert every == pytest.approx(some, abs=1e-3)
    assert every == pytest.approx(12.34, abs=0.06)
    assert read(path)[1].warning == ""


# -- chains of streams ---------------------------------------------------------------------------------


def vorbis(path: Path, *, seconds: float, channels: int, sample_rate_hz: int) -> bytes:
    signal = music(seconds=seconds, channels=channels, sample_rate_hz=sample_rate_hz).T
    with soundfile.SoundFile(path, "w", sample_rate_hz, channels, format="OGG", subtype="VORBIS") as file:
        for start in range(0, len(signal), sample_rate_hz):
            file.write(signal[start : start + sample_rate_hz])
    return path.read_bytes()


def opus(path: Path, *, seconds: float, channels: int, sample_rate_hz: int) -> bytes:
    signal = music(seconds=seconds, channels=channels, sample_rate_hz=48_000)
    return write_audio(path, signal, kind="opus", sample_rate_hz=48_000).read_bytes()


@pytest.mark.parametrize(
    "links",
    [
        [(vorbis, 2, 44_100), (vorbis, 2, 44_100)],
        [(vorbis, 1, 24_000), (vorbis, 2, 44_100), (vorbis, 1, 16_000)],
        [(opus, 2, 48_000), (opus, 1, 48_000)],
        [(opus, 1, 48_000), (vorbis, 2, 32_000)],
    ],
    ids=["alike", "other rates and channels", "other channels", "other codecs"],
)
def test_every_link_of_a_chain_decodes(tmp_path: Path, links: list) -> None:
    parts = [
        write(tmp_path / f"{number}.ogg", seconds=6 + number, channels=channels, sample_rate_hz=rate)
        for number, (write, channels, rate) in enumerate(links)
    ]
    expected = [read(tmp_path / f"{number}.ogg")[0] for number in range(len(links))]
    path = tmp_path / "chain.ogg"
    path.write_bytes(b"".join(parts))
    samples, recording = read(path)
    assert lengths_s(path) == pytest.approx(2 * (sum(map(len, expected)) / RATE_HZ,), abs=1e-3)
    assert recording.warning == ""
    position = 0
    for part in expected:  # the resampler runs on where the rate stays, hence not the borders
        here = samples[position : position + len(part)]
        np.testing.assert_allclose(here[200:-200], part[200:-200], atol=2e-3)
        position += len(part)


def test_a_link_that_cannot_be_opened_is_passed_over(tmp_path: Path) -> None:
    parts = [opus(tmp_path / f"{number}.ogg", seconds=6, channels=2, sample_rate_hz=48_000) for number in range(3)]
    path = tmp_path / "chain.ogg"
    path.write_bytes(parts[0] + parts[1].replace(b"OpusHead", b"OpusXXXX") + parts[2])
    assert lengths_s(path) == pytest.approx((12, 12), abs=0.05)
    assert read(path)[1].lost_s == pytest.approx(6, abs=0.5)


def test_a_files_samples_may_be_left_at_its_own_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    values = np.arange(-8_000, 8_000, dtype="<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 11_025, 0, "NONE", ""))
        file.writeframes(values.tobytes())
    samples = np.concatenate(list(Recording(path).blocks()))
    np.testing.assert_array_equal(samples, values.astype(np.float32) / 32_768)


@pytest.mark.parametrize(
    ("kind", "announced_s", "samples"),
    [
        ("s16.wav", 3.0, 132_300),
        ("flac", 3.0, 132_300),
        ("ogg", 3.0, 132_300),
        ("opus", 3.0065, 144_312),  # with the samples that a player drops at its beginning
        ("m4a", 3.0, 132_300),
        ("mka", 3.023, None),  # sought times are not exact in it
        ("mp3", None, 132_300),  # Xing's count of frames cannot be checked without reading them
        ("aac", None, None),
        ("ac3", None, None),
    ],
)
def test_what_a_header_announces_and_a_far_file_is_believed(
    tmp_path: Path, kind: str, announced_s: float | None, samples: int | None
) -> None:
    path = write_audio(tmp_path / f"a.{kind.split('.')[-1]}", music(seconds=3), kind=kind)
    assert Recording(path).announced_s() == (announced_s and pytest.approx(announced_s, abs=1e-6))
    far = Recording(path, far=True)
    if samples is None:
        with pytest.raises(NotSeekable):
            far.measure()
    else:
        extent = far.measure()
        assert extent == Recording(path).measure()._replace(samples=samples)


def test_a_header_whose_sound_was_cut_announces_nothing(tmp_path: Path) -> None:
    """The header of a FLAC is refused, whose beginning was cut off; that of a WAV still tells the whole length."""
    flac = write_audio(tmp_path / "a.flac", music(seconds=3), kind="flac")
    content = flac.read_bytes()
    frames = [i for i in range(42, len(content)) if content[i : i + 2] == b"\xff\xf8" and content[i + 4] < 128]
    flac.write_bytes(content[: frames[0]] + content[frames[5] :])
    assert Recording(flac).announced_s() is None
    with pytest.raises(NotSeekable):
        Recording(flac, far=True).measure()
    wav = write_audio(tmp_path / "a.wav", music(seconds=3), kind="s16.wav")
    wav.write_bytes(wav.read_bytes()[: 44 + 4 * 44_100])
    assert Recording(wav).announced_s() == pytest.approx(3.0, abs=0.01)
