"""The hash of a file's sound stays through every retag, and changes with the sound."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import av
import mutagen
import numpy as np
import pytest
import soundfile
from mutagen.apev2 import APEv2
from mutagen.flac import Picture
from mutagen.id3 import APIC, ID3, TIT2
from mutagen.mp4 import MP4Cover

from client import AudioError
from client.packets import PREFIX, hash_packets
from tests.client.audio_files import SAMPLE_RATE_HZ, tone, write_audio

# By name: codec, sample format and container of what `write_audio` does not write.
OTHERS = {
    "aiff": ("pcm_s16be", "s16", "aiff"),
    "wv": ("wavpack", "s16p", "wv"),
    "tta": ("tta", "s16", "tta"),
    "wma": ("wmav2", "fltp", "asf"),
    "alac.m4a": ("alac", "s16p", "ipod"),
    "mka": ("aac", "fltp", "matroska"),
    "caf": ("pcm_s16le", "s16", "caf"),
    "w64": ("pcm_s16le", "s16", "w64"),
}
# A picture, of which any two bytes may look like the beginning of an MPEG frame; these are Layer III of 44.1 kHz.
PICTURE = bytes(np.random.default_rng(0).integers(0, 256, 20_000, dtype=np.uint8)) + 200 * (
    b"\xff\xfb\x90\x44" + bytes(50)
)


def write(path: Path, signal: np.ndarray, *, kind: str, tags: dict[str, str] | None = None) -> Path:
    if kind == "flac.oga":
        return write_again(write_audio(path.with_suffix(".flac"), signal, kind="flac"), path, tags=tags)
    if kind not in OTHERS:
        return write_audio(path, signal, kind="s16.wav" if kind == "wav" else kind, metadata=tags)
    codec, sample_format, container_format = OTHERS[kind]
    with av.open(str(path), "w", format=container_format) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=SAMPLE_RATE_HZ, layout="mono")
        stream.codec_context.format = sample_format
        stream.codec_context.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(np.atleast_2d(signal).astype(np.float32), format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        resampler = av.AudioResampler(format=sample_format, layout="mono", frame_size=stream.frame_size or 1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def write_again(source: Path, path: Path, *, tags: dict[str, str] | None = None) -> Path:
    """The same packets in another container."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        new.metadata.update(tags or {})
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux():
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    return path


def retag(path: Path) -> None:
    """As a tagger does: long texts and a picture, so that nothing stays where it was."""
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    if isinstance(file.tags, ID3):
        file.tags.add(TIT2(text="Another title"))
        file.tags.add(APIC(mime="image/png", type=3, data=PICTURE))
    elif isinstance(file, mutagen.mp4.MP4):
        file["\xa9nam"] = "Another title"
        file["covr"] = [MP4Cover(PICTURE)]
    else:
        file["Title"] = "Another title" * 1000
        if isinstance(file, mutagen.flac.FLAC):
            picture = Picture()
            picture.data = PICTURE
            file.add_picture(picture)
        elif isinstance(file.tags, APEv2):
            file["Cover Art (Front)"] = mutagen.apev2.APEValue(PICTURE, mutagen.apev2.BINARY)
    file.save()


@pytest.fixture
def signal() -> np.ndarray:
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 3 * SAMPLE_RATE_HZ + 17)
    return tone(440, seconds=3.1)[: len(noise)] + noise[: round(3.1 * SAMPLE_RATE_HZ)].astype(np.float32)


@pytest.mark.parametrize(
    "kind", ["wav", "aiff", "flac", "mp3", "ogg", "opus", "m4a", "alac.m4a", "flac.oga", "wv", "tta", "wma"]
)
def test_a_retag_changes_nothing(tmp_path: Path, signal: np.ndarray, kind: str) -> None:
    path = write(tmp_path / f"a.{kind}", signal, kind=kind)
    before, size = hash_packets(str(path)), path.stat().st_size
    for _ in range(2):  # tags are written anew, then over those that are there
        retag(path)
        assert path.stat().st_size > size
        assert hash_packets(str(path)) == before
    mutagen.File(path).delete()
    assert hash_packets(str(path)) == before
    other = write(tmp_path / f"b.{kind}", 0.9 * signal, kind=kind)
    assert hash_packets(str(other)) != before


@pytest.mark.parametrize("kind", [*OTHERS, "wav", "flac", "flac.oga", "mp3", "m4a", "opus", "aac"])
def test_the_containers_own_tags_change_nothing(tmp_path: Path, signal: np.ndarray, kind: str) -> None:
    plain = write(tmp_path / f"a.{kind}", signal, kind=kind)
    tagged = write(tmp_path / f"b.{kind}", signal, kind=kind, tags={"title": "A title" * 99, "artist": "Someone"})
    assert hash_packets(str(plain)) == hash_packets(str(tagged))


def ape(items: dict[str, bytes], *, header: bool) -> bytes:
    tag = APEv2()
    for name, value in items.items():
        tag[name] = mutagen.apev2.APEValue(value, mutagen.apev2.BINARY)
    file = io.BytesIO()
    tag.save(file)
    content = bytearray(file.getvalue())
    if header:
        return bytes(content)
    content[-9] &= 0x7F  # the footer's flag that says whether there is one
    return bytes(content[32:])


ID3V1 = b"TAG" + b"A title".ljust(125, b"\0")
BEHIND = {
    "ID3v1": ID3V1,
    "ID3v1 and its extension": b"TAG+" + bytes(223) + ID3V1,
    "APEv2": ape({"Cover": PICTURE}, header=True),
    "APEv1, which has no header": ape({"Cover": PICTURE}, header=False),
    "APEv2 and ID3v1": ape({"Cover": PICTURE}, header=True) + ID3V1,
    "Lyrics3": (lyrics := b"LYRICSBEGIN" + PICTURE[-999:]) + b"%06d" % len(lyrics) + b"LYRICS200" + ID3V1,
    "ID3v2.4 at the end": b"ID3\4\0\x10\0\0\x7f\x7f" + PICTURE[-16383:] + b"3DI\4\0\x10\0\0\x7f\x7f",
}


@pytest.mark.parametrize("kind", ["mp3", "aac", "flac", "wv", "tta", "ape"])
@pytest.mark.parametrize("tags", BEHIND)
def test_tags_behind_the_sound_are_not_heard(tmp_path: Path, signal: np.ndarray, kind: str, tags: str) -> None:
    path = tmp_path / f"a.{kind}"
    write_monkeys_audio(path) if kind == "ape" else write(path, signal, kind=kind)
    before, content = hash_packets(str(path)), path.read_bytes()
    path.write_bytes(content + BEHIND[tags])
    assert hash_packets(str(path)) == before
    if kind not in ("wv", "ape"):  # these begin with their own names
        path.write_bytes(b"ID3\4\0\0\0\0\1\0" + bytes(128) + content)
        assert hash_packets(str(path)) == before


def write_monkeys_audio(path: Path) -> None:
    """Of version 3.99, three frames of noise, whose last one lasts as long as the file."""
    frames = [bytes(np.random.default_rng(number).integers(0, 256, 4000, dtype=np.uint8)) for number in range(3)]
    seek_table = struct.pack("<3I", *(52 + 24 + 12 + 4000 * number for number in range(3)))
    descriptor = struct.pack("<4sHHIIIIIII16s", b"MAC ", 3990, 0, 52, 24, len(seek_table), 0, 12000, 0, 0, bytes(16))
    header = struct.pack("<HHIIIHHI", 2000, 0, 73728, 1000, 3, 16, 2, SAMPLE_RATE_HZ)
    path.write_bytes(descriptor + header + seek_table + b"".join(frames))


def test_what_looks_like_a_tag_and_is_none(tmp_path: Path, signal: np.ndarray) -> None:
    path = write(tmp_path / "a.wav", signal, kind="wav")
    ends = [
        path.read_bytes() + end for end in (b"APETAGEX" + b"\xff" * 24, b"9" * 6 + b"LYRICS200", b"3DI" + b"\x7f" * 7)
    ]
    hashes = {hash_packets(str(path))}
    for content in ends:
        path.write_bytes(content)  # of a length beyond the file's
        hashes.add(hash_packets(str(path)))
    assert len(hashes) == 1


def test_a_rewritten_xing_header_changes_nothing(tmp_path: Path, signal: np.ndarray) -> None:
    path = write(tmp_path / "a.mp3", signal, kind="mp3")
    content = bytearray(path.read_bytes())
    at = max(content.find(b"Xing"), content.find(b"Info"))
    assert at > 0
    before = hash_packets(str(path))
    content[at + 8 : at + 12] = (10**6).to_bytes(4, "big")  # frames
    path.write_bytes(content)
    assert hash_packets(str(path)) == before


@pytest.mark.skipif(int(av.__version__.split(".")[0]) < 15, reason="PyAV 14 copies no packets of some of these")
@pytest.mark.parametrize(
    ("kind", "other"), [("flac", "mka"), ("flac", "oga"), ("mp3", "mka"), ("m4a", "mka"), ("opus", "webm")]
)
def test_another_container_holds_the_same(tmp_path: Path, signal: np.ndarray, kind: str, other: str) -> None:
    path = write(tmp_path / f"a.{kind}", signal, kind=kind)
    assert hash_packets(str(write_again(path, tmp_path / f"b.{other}"))) == hash_packets(str(path))


def test_the_header_of_a_wav_may_grow(tmp_path: Path, signal: np.ndarray) -> None:
    path = write(tmp_path / "a.wav", signal, kind="wav")
    before, content = hash_packets(str(path)), path.read_bytes()
    at = content.index(b"data")
    info = b"INFO" + b"INAM" + (999).to_bytes(4, "little") + b"x" * 999 + b"\0"
    chunk = b"LIST" + len(info).to_bytes(4, "little") + info
    path.write_bytes(content[:at] + chunk + content[at:])
    assert hash_packets(str(path)) == before


def test_every_link_of_a_chain_counts_and_the_tags_of_none(tmp_path: Path, signal: np.ndarray) -> None:
    for kind in ("ogg", "opus"):
        links = [write(tmp_path / f"{n}.{kind}", n * signal, kind=kind, tags={"title": str(n)}) for n in (1, 0.9)]
        retagged = write(tmp_path / f"again.{kind}", 0.9 * signal, kind=kind, tags={"title": "Another" * 99})
        hashes = []
        for second in (links[1], retagged, links[0]):
            chain = tmp_path / f"chain.{kind}"
            chain.write_bytes(links[0].read_bytes() + second.read_bytes())
            hashes.append(hash_packets(str(chain)))
        assert hashes[0] == hashes[1] != hashes[2], kind
        assert hash_packets(str(links[0])) not in hashes


@pytest.mark.skipif(int(av.__version__.split(".")[0]) < 15, reason="PyAV 14.0 marks no stream")
def test_the_stream_that_plays(tmp_path: Path, signal: np.ndarray) -> None:
    def write_two(name: str, *, default: int) -> str:
        with av.open(str(tmp_path / name), "w", format="matroska") as container:
            streams = [container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="mono") for _ in range(2)]
            for number, stream in enumerate(streams):
                stream.disposition = int(number == default)  # AV_DISPOSITION_DEFAULT is 1
            for stream, factor in zip(streams, (1.0, 0.5), strict=True):
                samples = (32767 * factor * signal).astype(np.int16)[None]
                frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                frame.sample_rate = SAMPLE_RATE_HZ
                container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        return hash_packets(str(tmp_path / name))

    first, second = write_two("a.mka", default=0), write_two("b.mka", default=1)
    assert first != second
    path = write(tmp_path / "half.wav", np.zeros(8), kind="wav")
    soundfile.write(path, (32767 * 0.5 * signal).astype(np.int16), SAMPLE_RATE_HZ, subtype="PCM_16")
    assert hash_packets(str(path)) == second


def test_other_parameters_are_another_sound(tmp_path: Path) -> None:
    content = np.random.default_rng(0).integers(-1000, 1000, (8000, 2)).astype(np.int16)
    hashes = set()
    for rate_hz, samples in ((44_100, content), (22_050, content), (44_100, content.reshape(-1, 1))):
        soundfile.write(tmp_path / "a.wav", samples, rate_hz, subtype="PCM_16")
        hashes.add(hash_packets(str(tmp_path / "a.wav")))
    assert len(hashes) == 3


@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg", "m4a", "wav"])
def test_damage_is_another_sound_and_no_error(tmp_path: Path, signal: np.ndarray, kind: str) -> None:
    path = write(tmp_path / f"a.{kind}", signal, kind=kind)
    content = path.read_bytes()
    middle = len(content) // 2
    damages: list[Callable[[], bytes]] = [
        lambda: content[:middle] + bytes(4096) + content[middle + 4096 :],
        *([lambda: content[: middle - 10]] if kind != "m4a" else []),  # its index is at the end
        lambda: content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    ]
    undamaged = {hash_packets(str(path))}
    for damage in damages:
        path.write_bytes(damage())
        found = hash_packets(str(path))
        assert found == hash_packets(str(path))
        assert found not in undamaged


def test_it_fits_where_a_sha_256_was(tmp_path: Path, signal: np.ndarray) -> None:
    found = hash_packets(str(write(tmp_path / "a.wav", signal, kind="wav")))
    assert found.startswith(PREFIX)
    assert len(found) <= 64
    assert PREFIX > "f"  # the greatest digit of a SHA-256: libraries look for these by this order


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp3").write_text("hello " * 1000)
    with pytest.raises(AudioError, match="not a readable audio file") as caught:
        hash_packets(str(tmp_path / "text.mp3"))
    assert not caught.value.may_pass
    with pytest.raises(AudioError, match="No such file") as caught:
        hash_packets(str(tmp_path / "nothing.mp3"))
    assert caught.value.may_pass
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="has no audio stream"):
        hash_packets(str(tmp_path / "film.mkv"))


def test_tags_that_are_no_text_are_no_reason(tmp_path: Path, signal: np.ndarray) -> None:
    path = write(tmp_path / "a.flac", signal, kind="flac", tags={"title": "abcdefgh"})
    before = hash_packets(str(path))
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"\xff\xfe\xfd\xfc\xff\xfe\xfd\xfc"))
    assert hash_packets(str(path)) == before
