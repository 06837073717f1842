"""Tags of every container that music comes in."""

from pathlib import Path

import mutagen
import pytest
from mutagen.id3 import TBPM, TCON, TDRC, TIT2, TKEY, TPE1

from client.tags import read_tags
from tests.client.audio_files import tone, write_audio


@pytest.mark.parametrize("kind", ["flac", "mp3", "m4a", "ogg"])
def test_tags_are_read(tmp_path: Path, kind: str) -> None:
    path = write_audio(tmp_path / f"a.{kind}", tone(440, seconds=1), kind=kind)
    tags = mutagen.File(path, easy=True)
    tags.update({"title": "Étude [live]", "artist": "N. N.", "album": "Eleven", "date": "1999-05-01", "genre": "Jazz"})
    tags["copyright"] = "not one of ours"
    tags.save()
    assert read_tags(str(path)) == {
        "title": "Étude [live]",
        "artist": "N. N.",
        "album": "Eleven",
        "year": 1999,
        "genre": "Jazz",
    }


def test_tempo_and_key_are_read(tmp_path: Path) -> None:
    mp3 = write_audio(tmp_path / "a.mp3", tone(440, seconds=1), kind="mp3")
    tags = mutagen.File(mp3)
    tags.tags.add(TBPM(text="127.5"))
    tags.tags.add(TKEY(text="Am"))
    tags.save()
    assert read_tags(str(mp3)) == {"bpm": 127.5, "key": "Am"}
    flac = write_audio(tmp_path / "a.flac", tone(440, seconds=1), kind="flac")
    tags = mutagen.File(flac)
    tags.update({"BPM": "120.0", "INITIALKEY": "F#", "GENRE": ["House", "Disco"]})
    tags.save()
    assert read_tags(str(flac)) == {"bpm": 120, "key": "F#", "genre": ["House", "Disco"]}


def test_the_id3_tags_of_a_wav_file_are_read(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", tone(440, seconds=1))
    assert read_tags(str(path)) == {}
    wav = mutagen.File(path)
    wav.add_tags()
    texts = {TIT2: "Étude", TPE1: "N. N.", TCON: ["House", "Disco"], TDRC: "1999-05-01", TBPM: "127.5", TKEY: "Am"}
    for frame, text in texts.items():
        wav.tags.add(frame(text=text))
    wav.save()
    assert read_tags(str(path)) == {
        "title": "Étude",
        "artist": "N. N.",
        "genre": ["House", "Disco"],
        "year": 1999,
        "bpm": 127.5,
        "key": "Am",
    }


@pytest.mark.parametrize(("name", "text"), [("date", "unknown"), ("bpm", "nan"), ("bpm", "0"), ("title", "  ")])
def test_what_says_nothing_is_left_out(tmp_path: Path, name: str, text: str) -> None:
    path = write_audio(tmp_path / "a.flac", tone(440, seconds=1), kind="flac")
    tags = mutagen.File(path)
    tags[name] = text
    tags.save()
    assert read_tags(str(path)) == {}


def test_damaged_tags_are_no_reason_to_refuse_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(100))
    assert read_tags(str(path)) == {}
    assert read_tags(str(tmp_path / "absent.mp3")) == {}


def test_a_comment_that_runs_over_the_end_is_no_reason_either(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.ogg", tone(440, seconds=1), kind="ogg", metadata={"title": "Étude"})
    content = bytearray(path.read_bytes())
    content[content.lower().index(b"title=") - 4] += 1
    path.write_bytes(content)
    with pytest.raises(IndexError):
        mutagen.File(path)
    assert read_tags(str(path)) == {}
