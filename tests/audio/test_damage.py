"""What does not decode is passed over and told; refused is what loses more than half, or does not decode at all."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import av
import mutagen.id3
import numpy as np
import pytest

from audio import DecodeError, Recording, WindowReader
from tests.audio.sounds import RATE_HZ, music, read, write_audio

SECONDS = 30.0
COUNTS_DELAY = int(av.__version__.split(".")[0]) < 16  # FFmpeg before 8 announces an MP3 with its encoder's delay
WHOLE = r"30\.0[04]" if COUNTS_DELAY else r"30\.00"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The bytes of half a minute of sound music in a format; "alac.m4a" is lossless."""
    folder = tmp_path_factory.mktemp("whole")

    def content(kind: str) -> bytes:
        path = folder / f"a.{kind}"
        if not path.exists():
            write_audio(path, music(seconds=SECONDS), kind=kind)
        return path.read_bytes()

    return content


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Its first two seconds at the model's rate."""
    return read(write_audio(tmp_path_factory.mktemp("sound") / "a.wav", music(seconds=SECONDS)[:, : 2 * 44_100]))[0]


def id3_tag(folder: Path) -> bytes:
    tags = mutagen.id3.ID3()
    tags.add(mutagen.id3.TIT2(encoding=3, text="A title"))
    tags.save(folder / "tag")
    return (folder / "tag").read_bytes()


def with_zeros(content: bytes, *, count: int = 4096) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(count) + content[middle + count :]


def with_changes(content: bytes, *, count: int = 64) -> bytes:
    """Other values for so many bytes, in what is surely sound."""
    changed = bytearray(content)
    rng = np.random.default_rng(3)
    for place in rng.integers(len(content) // 10, len(content) * 9 // 10, count):
        changed[place] ^= int(rng.integers(1, 256))
    return bytes(changed)


def with_one_bit(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    return bytes(changed)


PAGE = b"<html><body>" + b"<p>404: nothing is here</p>" * 200 + b"</body></html>"


@pytest.mark.parametrize("behind", ["a zero byte", "a page", "half a frame", "a tag"])
def test_what_follows_an_mp3_is_no_loss(whole: Callable[[str], bytes], tmp_path: Path, behind: str) -> None:
    content = whole("mp3")
    frame = content.index(b"\xff\xfb", len(content) // 2)
    junk = {"a zero byte": b"\0", "a page": PAGE, "half a frame": content[frame : frame + 300]}
    path = tmp_path / "a.mp3"
    path.write_bytes(content + (junk[behind] if behind in junk else id3_tag(tmp_path)))
    samples, recording = read(path)
    assert len(samples) / RATE_HZ == pytest.approx(SECONDS, abs=0.03)
    assert recording.lost_s < (0.05 if COUNTS_DELAY else 0.005)


def test_two_mp3s_in_one_file_are_both_heard(whole: Callable[[str], bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(2 * (id3_tag(tmp_path) + whole("mp3")))
    samples, recording = read(path)
    assert len(samples) / RATE_HZ == pytest.approx(2 * SECONDS, abs=0.1)
    assert recording.lost_s < 0.1


@pytest.mark.parametrize(
    ("kind", "damage", "most_s"),
    [
        *((kind, with_zeros, 0.7) for kind in ("mp3", "m4a", "aac", "alac.m4a", "flac", "s16.wav")),
        ("opus", with_zeros, 3.0),
        ("ogg", with_zeros, 2.0),
        ("m4a", with_changes, 3.0),
        ("mp3", with_changes, 3.0),
        ("flac", with_changes, 14.0),
        ("ogg", with_one_bit, 2.0),
        ("opus", with_one_bit, 2.0),
        ("flac", lambda content: content[:-10], 0.2),
    ],
)
def test_what_does_not_decode_is_passed_over(
    whole: Callable[[str], bytes],
    beginning: np.ndarray,
    tmp_path: Path,
    kind: str,
    damage: Callable[[bytes], bytes],
    most_s: float,
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(damage(whole(kind)))
    samples, recording = read(path)
    length_s = len(samples) / RATE_HZ
    assert SECONDS - most_s <= length_s <= SECONDS + 0.05
    # What is missing is told, to a frame. WAV has no packets that could fail, and FFmpeg conceals some of FLAC's.
    assert length_s + recording.lost_s == pytest.approx(SECONDS, abs=0.05) or kind in ("aac", "mp3")
    assert not recording.warning or recording.warning == (
        f"{recording.lost_s:.2f} s of {length_s + recording.lost_s:.2f} s cannot be decoded"
    )
    delay = 371 if kind == "aac" else 0  # ADTS does not tell the encoder's: 1024 samples
    assert np.corrcoef(samples[8_000 + delay : 32_000 + delay], beginning[8_000:])[0, 1] > 0.9


@pytest.mark.parametrize("kind", ["mp3", "m4a", "alac.m4a", "opus", "ogg"])
def test_a_loss_is_told(whole: Callable[[str], bytes], tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(with_zeros(whole(kind)))
    reader = WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ)
    assert len(list(reader)) >= 27
    whole_s = r"30\.0[01]" if kind == "opus" else WHOLE  # FFmpeg counts what comes before Opus' sound
    assert re.search(rf" s of {whole_s} s cannot be decoded$", reader.warning)
    assert reader.warning == read(path)[1].warning


@pytest.mark.parametrize("kind", ["mp3", "flac"])
@pytest.mark.parametrize(("share", "is_taken"), [(0.6, True), (0.4, False)])
def test_refused_is_what_loses_more_than_half(
    whole: Callable[[str], bytes], tmp_path: Path, kind: str, share: float, is_taken: bool
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(whole(kind))
    os.truncate(path, round(share * path.stat().st_size))
    for windows in (None, 4):  # a share of the windows is not judged more kindly
        reader = WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ, windows=windows)
        if is_taken:
            assert len(list(reader)) == windows or windows is None
            assert reader.duration_s == pytest.approx(share * SECONDS, abs=1.0)
            assert re.search(rf" s of {WHOLE} s cannot be decoded$", reader.warning)
        else:
            with pytest.raises(DecodeError, match=r"truncated or damaged: only 1\d\.\d s of 30\.0 s can be decoded"):
                list(reader)


@pytest.mark.parametrize("kind", ["mp3", "aac", "flac"])
def test_what_does_not_decode_at_all_is_refused(whole: Callable[[str], bytes], tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"no music at all\n" * 5000)
    with pytest.raises(DecodeError, match=r"not a readable audio file|contains no audio"):
        read(path)


def test_a_disk_that_fails_is_not_the_files_fault(whole: Callable[[str], bytes], tmp_path: Path) -> None:
    class Failing:
        """A file on a disk that fails half way."""

        def __init__(self, path: Path) -> None:
            self._file = path.open("rb")

        def read(self, size: int) -> bytes:
            if self._file.tell() > 500_000:
                raise OSError(5, "Input/output error")
            return self._file.read(size)

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    path = tmp_path / "a.wav"
    path.write_bytes(whole("s16.wav"))
    with pytest.raises(DecodeError, match="Input/output error") as caught:
        read(Failing(path))
    assert caught.value.may_pass


@pytest.mark.parametrize("kind", ["mp3", "m4a", "flac", "ogg", "opus", "mka"])
@pytest.mark.parametrize(("share", "is_taken"), [(0.2, True), (0.85, False)])
def test_a_hole_in_the_middle_is_told_or_refused(
    whole: Callable[[str], bytes], tmp_path: Path, kind: str, share: float, is_taken: bool
) -> None:
    content = whole(kind)
    size = round(share * len(content))
    begin = len(content) // 20 if share > 0.5 else len(content) // 2
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content[:begin] + bytes(size) + content[begin + size :])
    for windows in (None, 3):
        reader = WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ, windows=windows)
        if is_taken:
            assert list(reader)
            lost_s, length_s = re.fullmatch(r"(.+) s of (.+) s cannot be decoded", reader.warning).groups()
            assert float(length_s) == pytest.approx(SECONDS, abs=0.1)
            assert float(lost_s) > 0.15 * SECONDS
        else:
            with pytest.raises(DecodeError, match=r"truncated or damaged: only \d\.\d s of 30\.\d s can be decoded"):
                list(reader)


@pytest.mark.parametrize("kind", ["s16.wav", "mka", "webm"])
def test_a_file_that_was_cut_off_says_so(whole: Callable[[str], bytes], tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    for share in (0.7, 0.3):
        path.write_bytes(whole(kind)[: round(share * len(whole(kind)))])
        if share > 0.5:
            assert read(path)[1].lost_s > 0.2 * SECONDS
        else:
            with pytest.raises(DecodeError, match=r"truncated or damaged: only \d+\.\d s of 30\.\d s can be decoded"):
                read(path)


@pytest.mark.parametrize("kind", ["mp3", "m4a", "aac"])
def test_no_damage_makes_a_file_too_loud(whole: Callable[[str], bytes], tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    for seed in range(8):
        changed = bytearray(whole(kind))
        rng = np.random.default_rng(seed)
        for place in rng.integers(len(changed) // 10, len(changed) * 9 // 10, 64):
            changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        samples, recording = read(path)
        assert np.abs(samples).max() <= 1
        assert recording.decoded_s > 0.8 * SECONDS


def test_a_tag_in_front_is_no_sound(whole: Callable[[str], bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.ac3"
    path.write_bytes(whole("ac3"))
    plain, payloads = read(path)[0], b"".join(Recording(path).payloads())
    path.write_bytes(id3_tag(tmp_path) + whole("ac3"))
    np.testing.assert_array_equal(read(path)[0], plain)
    assert b"".join(Recording(path).payloads()) == payloads
