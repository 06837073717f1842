"""Lyrics as they lie beside music: .lrc files in any encoding, and the tags of each format."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import mutagen
import pytest
from mutagen.apev2 import APEv2
from mutagen.asf import ASF
from mutagen.flac import FLAC
from mutagen.id3 import ID3, SYLT, TLAN, TXXX, USLT
from mutagen.mp4 import MP4
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from client.lyrics.letters import decode
from client.lyrics.lines import MOST_CHARACTERS, Line, read_lines
from client.lyrics.reading import find_beside, read_lyrics
from tests.client.audio_files import tone, write_audio

LINES = [Line(1.5, "The kettle sings before the sun"), Line(4.0, "And nobody is up but me")]
LRC = "[ar:Nobody]\n[00:01.50]The kettle sings before the sun\n[00:04.00]And nobody is up but me\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (LRC, LINES),
        (LRC.replace("\n", "\r\n"), LINES),
        ("[01:02]a\n[1:02:03.5]b\n[00:03:25]c\n[00:04,5]d", [(3.25, "c"), (4.5, "d"), (62.0, "a"), (3723.5, "b")]),
        ("[00:30.00][00:10.00]Again\n[00:20.00]Once", [(10.0, "Again"), (20.0, "Once"), (30.0, "Again")]),
        (
            "[offset:+500]\n[00:10.00]Early\n[00:00.20]Not before the start",
            [(0.0, "Not before the start"), (9.5, "Early")],
        ),
        ("[00:10.00]Late\n[offset: -250]", [(10.25, "Late")]),
        ("[00:10.00]<00:10.00>Word <00:10.40> by <00:10.90>word", [(10.0, "Word by word")]),
        ("[00:10.00] <00:10.00>Syl<00:10.40>lables", [(10.0, "Syllables")]),
        ("<00:12.00>No <00:12.50>stamp of the line", [(12.0, "No stamp of the line")]),
        ("[00:12.00]Hello [00:13.00]world", [(12.0, "Hello world")]),
        ("[00:10.00][00:10.20]Syl[00:10.40]lables", [(10.0, "Syllables")]),
        ("[00:10.00]The end is stamped[00:13.00]\n[00:14.00]Next", [(10.0, "The end is stamped"), (14.0, "Next")]),
        ("[offset:500][ar:Nobody]\n[00:10.00]Early", [(9.5, "Early")]),
        ("[ti:Title] [offset: +500] [00:10.00]In one line", [(9.5, "In one line")]),
        ("[offset:soon]\n[00:10.00]When said", [(10.0, "When said")]),
        (
            "[00:12.3456]Four digits\n[ 00:13.50 ] Spaces\n[00: 14 . 5][00 :15]Twice",
            [(12.3456, "Four digits"), (13.5, "Spaces"), (14.5, "Twice"), (15.0, "Twice")],
        ),
        ("[00:10.00]\n[00:12.00] \n[00:14.00]\u266a\n[00:16.00]Sung", [(16.0, "Sung")]),
        ("[Chorus]\nPlain   words\n\n[x2]\nand more", [(None, "Plain words"), (None, "and more")]),
        ("[00:10.00]Timed\nnot timed", [(10.0, "Timed"), (None, "not timed")]),
        ("", []),
    ],
)
def test_texts_with_times(text: str, lines: list[tuple[float | None, str]]) -> None:
    assert read_lines(text) == lines


def test_of_lyrics_without_end_the_beginning_is_kept() -> None:
    lines = read_lines("\n".join(["ten chars."] * 20_000))
    assert sum(len(line.text) for line in lines) == MOST_CHARACTERS
    lines = read_lines("oneline" * 20_000)
    assert [len(line.text) for line in lines] == [MOST_CHARACTERS]
    assert "" not in [line.text for line in read_lines("ten chars.\n" * 10_000 + "more")]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("naïve café, où es-tu — “là”", "cp1252"),
        ("Über den Dächern schläft der Mond", "cp1252"),
        ("Над рекой поднимается туман, и никто не спит", "cp1251"),
        ("雨がふる夜に、ひとりで歩いた", "cp932"),
        ("明月", "gb18030"),
        ("月亮照着安静的河水。没有人说话", "gb18030"),
        ("月亮照著安靜的河水。沒有人說話", "big5"),
        ("달빛이 조용한 강물 위에 내린다", "cp949"),
        *[("Über подушка 月夜 नदी", encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32")],
        ("Latin without a mark", "utf-16-le"),
        ("Latin without a mark", "utf-16-be"),
        *[
            (text, f"utf-16-{order}e")
            for text in (
                "Над рекой, \n поднимается туман",
                "[00:01.00]القمر فوق\n[00:04.00]النهر الهادئ\n",
                "一二三　四五六　七八九　十\n一",
                "हर नदी\r\nचुपचाप",
                "夜 の 歌 を 一 人",
            )
            for order in "lb"
        ],
    ],
)
def test_encodings(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_half_a_letter_at_the_end_does_not_hide_utf_16() -> None:
    assert decode("Над рекой".encode("utf-16-le") + b"A") == "Над рекой"


def test_utf_16_with_its_mark_in_the_other_order() -> None:
    assert decode(b"\xfe\xff" + "Nacht über".encode("utf-16-be")) == "Nacht über"


@pytest.mark.parametrize("text", ["Пусть\nидёт", "Only words, and of two line", "Où es-tu, où es-tu"])
def test_zero_bytes_behind_or_once_within_a_text_make_no_utf_16_of_it(text: str) -> None:
    content = text.encode("cp1251" if text[0] == "П" else "cp1252")
    assert decode(content + b"\0\0\0").rstrip("\0") == text
    once = decode(content * 9 + b"\0" + content * 8)
    assert (text in once, "\0" in once) == (True, True)


def test_what_no_encoding_explains_is_read_as_far_as_possible() -> None:
    assert "words" in decode(b"words \x81\xff\xfe\x80 \xfd")


@pytest.fixture
def mp3(tmp_path: Path) -> Path:
    return write_audio(tmp_path / "song.mp3", tone(440, seconds=0.5), kind="mp3")


def id3(path: Path, *frames: mutagen.id3.Frame) -> None:
    tags = ID3()
    for frame in frames:
        tags.add(frame)
    tags.save(path)


SUNG = SYLT(encoding=3, lang="eng", format=2, type=1, text=[(line.text, round(1000 * line.start_s)) for line in LINES])


def test_id3(mp3: Path) -> None:
    id3(mp3, USLT(encoding=1, lang="eng", text="First line\nÜber line"))
    assert read_lyrics(str(mp3)) == [(None, "First line"), (None, "Über line")]
    id3(mp3, USLT(encoding=3, lang="eng", text=LRC))
    assert read_lyrics(str(mp3)) == LINES
    id3(mp3, TXXX(encoding=3, desc="LYRICS", text=["Of another tagger"]))
    assert read_lyrics(str(mp3)) == [(None, "Of another tagger")]
    id3(mp3, USLT(encoding=3, lang="eng", text="No times"), SUNG)
    assert read_lyrics(str(mp3)) == LINES
    id3(mp3)
    assert read_lyrics(str(mp3)) == []


def test_lyrics_in_several_languages_are_all_read(mp3: Path) -> None:
    english = USLT(encoding=3, lang="eng", text="I walked alone\nin a night of rain")
    japanese = USLT(encoding=3, lang="jpn", text="雨がふる夜に\nひとりで歩いた")
    lines = {frame.lang: [(None, line) for line in frame.text.splitlines()] for frame in (english, japanese)}
    id3(mp3, english, japanese)
    assert read_lyrics(str(mp3)) == lines["eng"] + lines["jpn"]
    id3(mp3, english, japanese, TLAN(encoding=3, text=["jpn"]))
    assert read_lyrics(str(mp3)) == lines["jpn"] + lines["eng"]
    timed = USLT(encoding=3, lang="jpn", text="[00:01.50]雨がふる夜に\n[00:04.00]ひとりで歩いた")
    id3(mp3, english, timed)
    assert read_lyrics(str(mp3)) == [(1.5, "雨がふる夜に"), (4.0, "ひとりで歩いた"), *lines["eng"]]
    again = USLT(encoding=3, lang="XXX", text="I walked ALONE in a night of rains")
    later = USLT(encoding=3, lang="eng", desc="later", text="Quite other words of one language")
    id3(mp3, english, timed, again, later, TXXX(encoding=3, desc="LYRICS", text=["And of none"]))
    assert read_lyrics(str(mp3)) == [(1.5, "雨がふる夜に"), (4.0, "ひとりで歩いた"), *lines["eng"]]
    long = USLT(encoding=3, lang="jpn", text="一" * MOST_CHARACTERS)
    id3(mp3, english, long)
    assert sum(len(line.text) for line in read_lyrics(str(mp3))) == MOST_CHARACTERS


def test_sylt_of_syllables_of_frames_and_of_chords(mp3: Path) -> None:
    syllables = [
        ("\nThe ket", 1500),
        ("tle sings", 1800),
        (" before the sun", 2100),
        ("\nAnd nobody is up but me", 4000),
    ]
    id3(mp3, SYLT(encoding=3, lang="eng", format=2, type=1, text=syllables))
    assert read_lyrics(str(mp3)) == LINES
    id3(mp3, SYLT(encoding=3, lang="eng", format=1, type=1, text=[("Counted in frames", 100)]))
    assert read_lyrics(str(mp3)) == [(None, "Counted in frames")]
    id3(mp3, SYLT(encoding=3, lang="eng", format=2, type=6, text=[("Am7", 100)]))
    assert read_lyrics(str(mp3)) == []


def tag(path: Path, kind: Callable[[Path], mutagen.FileType], name: str, text: str) -> None:
    file = kind(path)
    if file.tags is None:
        file.add_tags()
    file[name] = text
    file.save()


@pytest.mark.parametrize(
    ("kind", "opened", "name"),
    [
        ("flac", FLAC, "LYRICS"),
        ("flac", FLAC, "UNSYNCEDLYRICS"),
        ("ogg", OggVorbis, "SyncedLyrics"),
        ("opus", OggOpus, "lyrics"),
        ("m4a", MP4, "\xa9lyr"),
        ("wma", ASF, "WM/Lyrics"),
    ],
)
@pytest.mark.parametrize(("text", "lines"), [(LRC, LINES), ("Only words\nof two lines", None)])
def test_formats(
    tmp_path: Path,
    kind: str,
    opened: Callable[[Path], mutagen.FileType],
    name: str,
    text: str,
    lines: list[Line] | None,
) -> None:
    path = write_audio(tmp_path / f"song.{kind}", tone(440, seconds=0.5), kind=kind)
    tag(path, opened, name, text)
    assert read_lyrics(str(path)) == (lines or [(None, "Only words"), (None, "of two lines")])


def test_ape_tags_behind_an_mp3(mp3: Path) -> None:
    tags = APEv2()
    tags["Lyrics"] = LRC
    tags.save(mp3)
    assert read_lyrics(str(mp3)) == LINES


def test_matroska(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "song.mka", tone(440, seconds=0.5), kind="mka", metadata={"LYRICS": LRC})
    assert read_lyrics(str(path)) == LINES


@pytest.mark.parametrize("name", ["song.lrc", "song.LRC", "song.mp3.lrc"])
def test_a_file_beside(mp3: Path, name: str) -> None:
    id3(mp3, USLT(encoding=3, lang="eng", text="Of the tag"))
    assert find_beside(str(mp3)) == ("", "")
    (mp3.parent / name).write_text(LRC, encoding="utf-16")
    place, state = find_beside(str(mp3))
    assert place == str(mp3.parent / name)
    assert read_lyrics(str(mp3)) == LINES
    os.utime(place, ns=(0, 0))
    assert find_beside(str(mp3))[1] != state


def test_times_go_before_the_place(mp3: Path) -> None:
    beside = mp3.with_suffix(".lrc")
    beside.write_text("Words of the file\nwithout times", encoding="utf-8")
    assert read_lyrics(str(mp3)) == [(None, "Words of the file"), (None, "without times")]
    id3(mp3, SUNG)
    assert read_lyrics(str(mp3)) == LINES
    beside.write_text("[00:01.00]Of the file", encoding="utf-8")
    assert read_lyrics(str(mp3)) == [(1.0, "Of the file")]


def test_of_a_file_in_a_store_only_the_tags_are_read(mp3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    id3(mp3, SUNG)
    asked: list[str] = []

    def open_it(url: str) -> BinaryIO:
        asked.append(url)
        return mp3.open("rb")

    monkeypatch.setattr("client.lyrics.reading.opened", open_it)
    assert read_lyrics("s3://bucket/song.mp3") == LINES
    assert asked == ["s3://bucket/song.mp3"]


def test_what_is_no_text_is_no_lyrics(mp3: Path) -> None:
    beside = mp3.with_suffix(".lrc")
    beside.write_bytes(b"[00:01.00]Words\n" + (1 << 20) * b" ")  # too large
    assert read_lyrics(str(mp3)) == []
    beside.write_bytes(b"[00:01.00]Words\n" + bytes(range(256)))  # binary
    assert read_lyrics(str(mp3)) == []
    beside.write_bytes(b"".join(number.to_bytes(2, "little") for number in range(1, 2000)))  # and even
    assert read_lyrics(str(mp3)) == []
    beside.write_bytes(b"[00:01.00]Words\n\0\0")  # the end that some programs write
    assert read_lyrics(str(mp3)) == [(1.0, "Words")]
    beside.unlink()
    beside.mkdir()
    assert read_lyrics(str(mp3)) == []
    mp3.write_bytes(b"ID3\x04\x00\x00\x00\x00\x7f\x7fUSLT" + bytes(range(256)))
    assert read_lyrics(str(mp3)) == []
    assert read_lyrics(str(mp3.with_name("gone.mp3"))) == []
