"""Tags of every container that music comes in."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import pytest
from mutagen.apev2 import APEv2
from mutagen.asf import ASF
from mutagen.flac import FLAC
from mutagen.id3 import ID3, TALB, TBPM, TCON, TDOR, TDRC, TIT2, TKEY, TPE1, TXXX
from mutagen.mp4 import MP4

from client.tags import read_tags
from tests.client.audio_files import tone, write_audio
from tests.client.containers import write_container

ROOT = Path(__file__).parents[2]


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


def flac(path: Path, **tags: object) -> str:
    write_audio(path, tone(440, seconds=1), kind="flac")
    file = FLAC(path)
    file.update(tags)
    file.save()
    return str(path)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"YEAR": "2010", "DATE": "1999-05-01"}, {"year": 1999}),
        ({"ORIGINALDATE": "1970-02-03", "RELEASEDATE": "1985", "YEAR": "2010"}, {"year": 2010}),
        ({"ORIGINALYEAR": "1971", "ORIGINALDATE": "1970-02-03", "RELEASEDATE": "1985"}, {"year": 1985}),
        ({"ORIGINALYEAR": "1971", "ORIGINALDATE": "1970-02-03"}, {"year": 1970}),
        ({"ORIGINALYEAR": "1971"}, {"year": 1971}),
        ({"DATE": "unknown", "YEAR": "1987"}, {"year": 1987}),
        ({"TEMPO": "90", "BPM": "127.5"}, {"bpm": 127.5}),
        ({"TEMPO": "90", "BPM": "fast"}, {"bpm": 90}),
        ({"TEMPO": "Allegro"}, {}),
        ({"BPM": "120 BPM"}, {"bpm": 120}),
        ({"BPM": "127,5"}, {"bpm": 127.5}),
        ({"KEY": "C", "INITIALKEY": "Am"}, {"key": "Am"}),
        ({"KEY": "C"}, {"key": "C"}),
    ],
)
def test_of_several_tags_the_preferred_is_taken(tmp_path: Path, tags: dict[str, str], expected: dict[str, Any]) -> None:
    for number, names in enumerate((list(tags), list(reversed(tags)))):  # whatever their order in the file
        path = flac(tmp_path / f"{number}.flac", **{name: tags[name] for name in names})
        assert read_tags(path) == expected


def test_the_preference_does_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    path = flac(tmp_path / "a.flac", DATE="1999", YEAR="2010", BPM="127.5", TEMPO="90", KEY="C", INITIALKEY="Am")
    read = f"from client.tags import read_tags; print(sorted(read_tags({path!r}).items()))"
    for seed in range(6):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
        said = subprocess.run([sys.executable, "-c", read], env=environment, check=True, capture_output=True, text=True)
        assert said.stdout == "[('bpm', 127.5), ('key', 'Am'), ('year', 1999)]\n"


DATES = {
    **{"31.12.1999": 1999, "01.05.2004": 2004, "07/12/1998": 1998, "1999": 1999, "1999-05-01": 1999},
    **{"2004-05-01T07:00:00Z": 2004, "19990501": 1999, "05-1999": 1999},
    **{"00": None, "0000-00-00": None, "123456": None, "5/1/04": None},
}
FREE_DATES = {"May 1, 2004": 2004, "c. 1750": 1750}  # of which ID3 frames have nothing, as mutagen reads them


@pytest.mark.parametrize(
    ("kind", "date", "year"),
    [
        *((kind, *date) for kind in ("flac", "m4a", "mp3") for date in DATES.items()),
        *((kind, *date) for kind in ("flac", "m4a") for date in FREE_DATES.items()),
    ],
)
def test_a_date_has_a_year(tmp_path: Path, kind: str, date: str, year: int | None) -> None:
    path = write_audio(tmp_path / f"a.{kind}", tone(440, seconds=1), kind=kind)
    tags = mutagen.File(path, easy=True)
    tags.update({"title": "a", "date": date})
    tags.save()
    assert read_tags(str(path)).get("year") == year


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"ARTIST": ["Simon", "Garfunkel"]}, ["Simon", "Garfunkel"]),
        ({"ARTIST": "Simon; Garfunkel"}, ["Simon", "Garfunkel"]),
        (
            {"ARTIST": "Simon & Garfunkel", "ARTISTS": ["Simon", "Garfunkel"]},
            ["Simon & Garfunkel", "Simon", "Garfunkel"],
        ),
        ({"ARTIST": "AC/DC"}, "AC/DC"),
        ({"ARTIST": ["Simon", "simon "]}, "Simon"),
        ({"ARTIST": "Earth, Wind & Fire"}, "Earth, Wind & Fire"),
    ],
)
def test_artists(tmp_path: Path, tags: dict[str, Any], expected: Any) -> None:
    assert read_tags(flac(tmp_path / "a.flac", **tags)) == {"artist": expected}


@pytest.mark.parametrize(
    ("genre", "expected"),
    [
        ("House; Disco", ["House", "Disco"]),
        ("House/Disco", ["House", "Disco"]),
        ("Folk;Rock", ["Folk", "Rock"]),
        ("House / Disco;", ["House", "Disco"]),
        (["House", "Disco"], ["House", "Disco"]),
        (["Folk", "Folk;Rock"], ["Folk", "Rock"]),
        ("R&B", "R&B"),
        ("Folk, World, & Country", "Folk, World, & Country"),
        ("Cafe\u0301; caf\u00e9", "Cafe\u0301"),
    ],
)
def test_genres(tmp_path: Path, genre: Any, expected: Any) -> None:
    assert read_tags(flac(tmp_path / "a.flac", GENRE=genre)) == {"genre": expected}


EVERYTHING = {
    "title": "Étude",
    "artist": ["Simon", "Garfunkel"],
    "album": "Eleven",
    "genre": ["House", "Disco"],
    "year": 1999,
    "bpm": 127.5,
    "key": "Am",
}
BASICS = {name: EVERYTHING[name] for name in ("title", "artist", "album", "genre", "year")}
VORBIS = {
    **{"TITLE": "Étude", "ARTIST": ["Simon", "Garfunkel"], "ALBUM": "Eleven", "GENRE": "House/Disco"},
    **{"DATE": "31.12.1999", "BPM": "127.5", "INITIALKEY": "Am"},
}
FRAMES = [
    *(TIT2(text="Étude"), TPE1(text=["Simon", "Garfunkel"]), TALB(text="Eleven"), TCON(text=["House", "Disco"])),
    *(TDRC(text="1999-05-01"), TBPM(text="127.5"), TKEY(text="Am")),
]


@pytest.mark.parametrize("suffix", [".wv", ".mp3", ".ac3", ".aac", ".tta"])
def test_ape_tags(tmp_path: Path, suffix: str) -> None:
    path = write_container(tmp_path / f"a{suffix}")
    tags = APEv2()
    for name, value in VORBIS.items():
        tags[{"DATE": "Year", "INITIALKEY": "Key"}.get(name, name.title())] = value
    tags.save(path)
    assert read_tags(str(path)) == EVERYTHING


@pytest.mark.parametrize("suffix", [".aac", ".mp3", ".mp2", ".aiff", ".tta", ".wav"])
def test_id3_tags(tmp_path: Path, suffix: str) -> None:
    path = write_container(tmp_path / f"a{suffix}")
    file = mutagen.File(path)
    if suffix == ".aac":  # mutagen has none for it
        tags, save = ID3(), lambda: tags.save(path)
    else:
        if file.tags is None:
            file.add_tags()
        tags, save = file.tags, file.save
    for frame in FRAMES:
        tags.add(frame)
    save()
    assert read_tags(str(path)) == EVERYTHING


def test_id3_genres_by_number_and_original_dates(tmp_path: Path) -> None:
    path = write_container(tmp_path / "a.mp3")
    tags = ID3()
    tags.add(TCON(text="(17)(52)"))
    tags.add(TDOR(text="1970"))
    tags.add(TXXX(desc="ARTISTS", text=["Simon", "Garfunkel"]))
    tags.save(path)
    assert read_tags(str(path)) == {"genre": ["Rock", "Electronic"], "year": 1970, "artist": ["Simon", "Garfunkel"]}


@pytest.mark.parametrize("suffix", [".wma", ".asf"])
def test_asf_tags(tmp_path: Path, suffix: str) -> None:
    path = write_container(tmp_path / f"a{suffix}")
    file = ASF(path)
    file["Title"], file["Author"], file["WM/AlbumTitle"] = "Étude", ["Simon", "Garfunkel"], "Eleven"
    file["WM/Genre"], file["WM/Year"] = ["House", "Disco"], "1999"
    file["WM/BeatsPerMinute"], file["WM/InitialKey"] = "127.5", "Am"
    file.save()
    assert read_tags(str(path)) == EVERYTHING
    del file["WM/Year"]
    file["WM/OriginalReleaseYear"] = "1970"
    file.save()
    assert read_tags(str(path))["year"] == 1970


@pytest.mark.parametrize("spell", [str, str.lower, str.upper, str.title])
def test_mp4_freeform_names_in_any_case(tmp_path: Path, spell: Callable[[str], str]) -> None:
    path = write_container(tmp_path / "a.m4a")
    file = MP4(path)
    file["\xa9nam"], file["\xa9ART"], file["\xa9alb"] = "Étude", "Simon; Garfunkel", "Eleven"
    file["\xa9gen"], file["\xa9day"], file["tmpo"] = "House/Disco", "31.12.1999", [128]
    for name, text in (("initialKey", "Am"), ("bpm", "127.5"), ("Artists", "Garfunkel")):
        file[f"----:com.apple.iTunes:{spell(name)}"] = text.encode()
    file.save()
    assert read_tags(str(path)) == EVERYTHING


@pytest.mark.parametrize("suffix", [".mka", ".mkv", ".weba", ".webm", ".caf"])
def test_what_only_ffmpeg_reads(tmp_path: Path, suffix: str) -> None:
    metadata = {
        **{"title": "Étude", "artist": "Simon;Garfunkel", "album": "Eleven", "genre": "House; Disco"},
        **{"date": "31.12.1999", "BPM": "127.5", "initialkey": "Am"},
    }
    assert read_tags(str(write_container(tmp_path / f"a{suffix}", metadata=metadata))) == EVERYTHING


def test_matroska_by_the_names_of_its_own_list(tmp_path: Path) -> None:
    metadata = {"DATE_RELEASED": "2004", "INITIAL_KEY": "Am", "BPM": "120"}
    expected = {"year": 2004, "key": "Am", "bpm": 120}
    assert read_tags(str(write_container(tmp_path / "a.mka", metadata=metadata))) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_riff_info(tmp_path: Path, encoding: str) -> None:
    path = write_container(tmp_path / "a.wav")
    texts = {"INAM": "Étude", "IART": "Simon; Garfunkel", "IPRD": "Eleven", "IGNR": "House/Disco", "ICRD": "31.12.1999"}
    body = b"INFO" + b"".join(chunk(name, text.encode(encoding) + b"\0") for name, text in texts.items())
    content = path.read_bytes() + chunk("LIST", body)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(content) - 8) + content[8:])
    assert read_tags(str(path)) == BASICS


def chunk(name: str, content: bytes) -> bytes:
    return name.encode() + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def test_the_texts_of_aiff(tmp_path: Path) -> None:
    path = write_container(tmp_path / "a.aiff")
    texts = b"".join(
        name + struct.pack(">I", len(text)) + text + bytes(len(text) % 2)
        for name, text in ((b"NAME", b"Etude"), (b"AUTH", b"Simon"))
    )
    content = path.read_bytes()
    path.write_bytes(b"FORM" + struct.pack(">I", len(content) - 8 + len(texts)) + content[8:12] + texts + content[12:])
    assert read_tags(str(path)) == {"title": "Etude", "artist": "Simon"}


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
