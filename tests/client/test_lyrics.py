"""Searching by words that are sung: what is found, where, and what happens to the file of lyrics."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mutagen.id3 import ID3, USLT

from client import LibraryBusy, LibraryError, MusicSearch, QueryError
from client.cli import main
from client.encoders.local import LocalEncoder
from client.fusion import SUNG, fuse
from client.index import maintenance
from client.index.catalogue import Catalogue
from client.index.maintenance import export_library, import_library
from client.index.records import FileState
from client.lyrics import care
from client.lyrics.book import FILE_NAME, MOST_FOUND, VERSION, Book, Song
from client.lyrics.lines import Line
from client.lyrics.matching import MOST_LETTERS, _find_stretch, _letters, align, fold, grams
from client.lyrics.taking import give
from client.reembed import reembed
from tests.client.audio_files import tone, write_audio
from tests.client.forks import fork_server
from tests.tiny_repository import build_tiny_repository

LOW = "[00:00.50]The kettle sings before the sun\n[00:01.25]And nobody is up but me\n[00:02.00]The road is wet"
HIGH = "I left my umbrella on a train\nThe river carries paper boats\nAnd nobody was up to see"


@pytest.fixture
def sung(tones: Path) -> Path:
    """The folder of tones: low.wav with an .lrc file beside it, high.mp3 with words in its tag, middle.flac without."""
    (tones / "low.lrc").write_text(LOW, encoding="utf-8")
    tags = ID3(tones / "album/high.mp3")
    tags.add(USLT(encoding=3, lang="eng", text=HIGH))
    tags.save()
    return tones


@pytest.fixture
def ms(tmp_path: Path, sung: Path, encoder: LocalEncoder) -> Iterator[MusicSearch]:
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        ms.add(sung, progress=False, lyrics=True)
        yield ms


def names(ms: MusicSearch, words: str) -> list[str]:
    return [Path(hit.path).name for hit in ms.search(lyrics=words)]


def read_songs(ms: MusicSearch) -> dict[str, Song]:
    """All lyrics, but for the ctimes of a disk."""
    with closing(Book(Path(ms.info().path))) as book:
        songs = book.songs([track_id for ids in book.track_ids() for track_id in ids])
    return {track_id: replace(song, file=replace(song.file, ctime_ns=0)) for track_id, song in songs.items()}


def song(track_id: str, *lines: str) -> Song:
    return Song(track_id, True, FileState("", -1, 0, ""), "", tuple(Line(None, text) for text in lines))


def found(book: Book, words: str) -> list[str]:
    return [match.song.track_id for match in book.search(words, keep=lambda songs: [True] * len(songs))]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Don't   STOP-me, now!", "dont stop me now"),
        ("Don\u2019t", "dont"),
        ("Être à la Straße", "etre a la strasse"),
        ("cafe\u0301", "cafe"),
        ("\uff26\uff55\uff4c\uff4c", "full"),
        ("夜の歌", "夜 の 歌"),
        ("ฝนตก", "ฝ น ต ก"),
        ("नदी बहती", "नदी बहती"),
        ("Звёзды Над", "звезды над"),
        ("!!!", ""),
        ("Smørrebrød, Œuvre & Łódź", "smorrebrod oeuvre lodz"),
        ("Ægir, đường, ISTANBUL \u0131\u015f\u0131k", "aegir duong istanbul isik"),
        ("جمـــيل", "جميل"),
        ("re\u00admem\u00adber", "remember"),
        *[(f"don{sign}t", "dont") for sign in "`\u00b4\u2018\u2032\u02bb"],
    ],
)
def test_texts_are_compared_without_case_accents_and_signs(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_grams_of_a_text_hold_those_of_its_lines() -> None:
    line, text = fold("carries paper boats"), fold("the river carries paper boats to me")
    assert set(grams(line)) < set(grams(text))
    assert not set(grams(line)) & set(grams(fold("nothing of it")))
    assert set(grams("ab cd")) & set(grams("ab x y cd"))  # a pair spans two words
    assert not set(grams("ab cd")) & set(grams("ab x y z cd"))
    assert grams("") == grams(fold("")) == []


def test_an_alignment_counts_letters_in_order() -> None:
    exact, one_wrong, none, empty = align("paper boats", ["the paper boats go", "the paper goats go", "zzz", ""])
    assert exact == (1.0, 9)  # the middle is in "boats"
    assert one_wrong.fit == pytest.approx((2 * 10 - 1) / 22)
    assert none.fit == empty.fit == 0.0


def test_an_alignment_does_not_go_from_one_text_into_the_next() -> None:
    assert [place.fit for place in align("paper boats", ["paper", "boats"])] == [pytest.approx(5 / 11)] * 2


def test_of_a_long_text_the_right_stretch_is_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "and all the gulls over the harbour are singing still"
    filler = "the rivers go over all of the hills and the harbours are still there " * 500
    texts = [f"{filler}{line} {filler}", f"{line} {filler}", f"{filler}{line}", filler, "", line]
    asked = "and all the girls over the arbor singing still"
    places = align(asked, texts)
    assert places[0].middle > len(filler)
    monkeypatch.setattr("client.lyrics.matching._MOST_CELLS", 1 << 40)
    assert places == align(asked, texts)
    monkeypatch.undo()
    asked = (line + " ") * 10
    first, end = _find_stretch(_letters(filler), asked=_letters(asked[:MOST_LETTERS]))
    assert end - first <= 5 * MOST_LETTERS < len(filler)


def test_a_line_is_found_with_the_second_in_which_it_is_sung(ms: MusicSearch) -> None:
    hit = ms.search(lyrics="and nobody is up but me")[0]
    assert (Path(hit.path).name, hit.start_s, hit.found_by) == ("low.wav", 1.25, ("lyrics",))
    assert hit.lyrics == ("And nobody is up but me", 1.25, pytest.approx(1.0))
    assert hit.score == hit.lyrics.fit
    hit = ms.search(lyrics="river carries paper boats")[0]
    assert (Path(hit.path).name, hit.start_s) == ("high.mp3", None)
    assert hit.lyrics.text == "The river carries paper boats"


@pytest.mark.parametrize(
    "words",
    [
        "the river carried paper boats",  # another word
        "teh rivver caries papper botes",  # typing mistakes
        "THE RÍVER CARRIES, PAPER: BOATS",
        "river carries boats",  # a word is missing
        "on a train the river carries",  # over the end of a line
        "theriver carriespaper boats",
    ],
)
def test_mistakes_are_forgiven(ms: MusicSearch, words: str) -> None:
    assert names(ms, words)[:1] == ["high.mp3"]


@pytest.mark.parametrize("word", ["love", "rain", "I", "心", "ночь", "사", "नदी", "ليل", "ne"])
def test_one_short_word_is_found(tmp_path: Path, word: str) -> None:
    with closing(Book(tmp_path, create=True)) as book:
        book.put(
            [song("other", "Clovers under trains", "日本語", "полночью"), song("meant", f"Or so ! {word}, they say")]
        )
        (match,) = book.search(word, keep=lambda songs: [True] * len(songs))
        assert (match.song.track_id, match.fit) == ("meant", 1.0)


def test_the_line_with_the_word_is_shown(tmp_path: Path) -> None:
    with closing(Book(tmp_path, create=True)) as book:
        book.put([song("1", "on a train", "brainy", "after rain comes sun", "or rains")])
        (match,) = book.search("rain", keep=lambda songs: [True])
        assert match.line.text == "after rain comes sun"


def test_few_words_need_not_stand_together(tmp_path: Path) -> None:
    with closing(Book(tmp_path, create=True)) as book:
        book.put([song("one of them", "oh well"), song("apart", "oh it was, and so long ago, it was, yeah")])
        book.put([song("together", "and so, oh yeah, it is")])
        together, apart = book.search("oh yeah", keep=lambda songs: [True] * len(songs))
        assert (together.song.track_id, together.fit) == ("together", 1.0)
        assert (apart.song.track_id, apart.fit < 0.7) == ("apart", True)
        book.put(
            [song("sea", "the sun goes down behind every hill", "a sky of tin", "and nothing but the sea is left")]
        )
        assert found(book, "sun sea sky") == ["sea"]


def test_a_line_is_found_while_it_is_typed(tmp_path: Path) -> None:
    line = "Love will go where rivers go"
    with closing(Book(tmp_path, create=True)) as book:
        book.put([song("other", "Nothing but rain"), song("meant", line)])
        for letters in range(1, len(line) + 1):
            assert found(book, line[:letters]) == ["meant"], line[:letters]
        book.put([song("exactly", "Lo and behold")])
        assert found(book, "lo") == ["exactly", "meant"]


def test_as_many_tracks_are_found_as_are_promised(tmp_path: Path) -> None:
    with closing(Book(tmp_path, create=True)) as book:
        book.put([song(f"{number:03}", "we walk along the river") for number in range(MOST_FOUND + 20)])
        assert len(found(book, "along the river")) == len(found(book, "we")) == MOST_FOUND


def test_words_that_nobody_sings_find_nothing(ms: MusicSearch) -> None:
    assert names(ms, "quantum xylophone zebra") == []
    assert names(ms, "sings quantum xylophone glockenspiel zebra") == []  # one word is not enough
    assert names(ms, "!!!") == []


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("月亮照着安静的河水", "月亮照着安青的河"),
        ("雨がふる夜に、ひとりで歩いた", "ひとりて歩いた夜"),
        ("달빛이 조용한 강물 위에 내린다", "달비치 조용한 강물"),
        ("Над рекой поднимается туман", "над рикой поднимаеца туман"),
        ("नदी चुपचाप बहती जाती है", "नदी चुप चाप बहती"),
        ("القمر فوق النهر الهادئ", "القمر فوق نهر هادئ"),
        ("ฝนตกบนหลังคาบ้าน", "ฝนตกบนหลังค"),
    ],
)
def test_any_script(tmp_path: Path, line: str, typed: str) -> None:
    others = [
        "something else entirely",
        "太阳升起来了",
        "朝がくる",
        "해가 뜬다",
        "Солнце встает",
        "सूरज उगता है",
        "الشمس تشرق",
    ]
    with closing(Book(tmp_path, create=True)) as book:
        book.put([song(str(number), text) for number, text in enumerate(others)] + [song("meant", line)])
        assert found(book, typed)[:1] == ["meant"]


def test_filters_and_pages_hold(ms: MusicSearch) -> None:
    both = names(ms, "nobody is up")
    assert both == ["low.wav", "high.mp3"]
    low, high = (
        ms.track_id(ms.search(lyrics="kettle sings")[0].path),
        ms.track_id(ms.search(lyrics="umbrella on a train")[0].path),
    )
    ms.annotate({low: {"mood": "calm", "artist": "Same"}, high: {"mood": "lively", "artist": "Same"}})
    assert [hit.track_id for hit in ms.search(lyrics="nobody is up", where={"mood": "lively"})] == [high]
    assert [hit.track_id for hit in ms.search(lyrics="nobody is up", per_artist=1)] == [low]
    assert [hit.track_id for hit in ms.search(lyrics="nobody is up", k=1, offset=1)] == [high]
    with pytest.raises(QueryError, match="moood"):
        ms.search(lyrics="nobody is up", where={"moood": "calm"})
    with pytest.raises(QueryError, match="k is 0"):
        ms.search(lyrics="nobody is up", k=0)


def test_a_filter_finds_what_many_better_songs_hide(tmp_path: Path) -> None:
    with closing(Book(tmp_path, create=True)) as book:
        book.put([song(f"{number:04}", "we walk along the river") for number in range(600)])
        book.put([song("chosen", "we walk along a river bank")])
        matches = book.search("we walk along the river", keep=lambda songs: [s.track_id == "chosen" for s in songs])
        assert [match.song.track_id for match in matches] == ["chosen"]


def test_a_piece_of_text_in_many_songs_still_leads_to_those_that_have_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.lyrics.book._FREQUENT", (5, 0.05))
    with closing(Book(tmp_path, create=True)) as book:
        book.put([song(f"{number:03}", "oh love", "love me so") for number in range(60)])
        book.put([song("meant", "oh love love love me so, oh love me so")])
        assert found(book, "oh love love me so")[0] == "meant" or len(found(book, "oh love love me so")) > 1
        assert "meant" in found(book, "love me so oh love")


def test_with_a_description_ranks_are_combined(ms: MusicSearch) -> None:
    hits = ms.search("low", lyrics="the river carries paper boats", names="never")
    assert [Path(hit.path).name for hit in hits[:2]] == ["high.mp3", "low.wav"]
    assert hits[0].found_by == ("lyrics", "sound")
    assert hits[0].lyrics.text == "The river carries paper boats"
    assert hits[0].start_s is not None  # of the best window, as the words have no times
    assert (hits[1].lyrics, hits[1].found_by) == (None, ("sound",))
    assert -1 <= hits[0].score <= 1
    hit = next(hit for hit in ms.search("high", lyrics="kettle sings before the sun") if hit.lyrics)
    assert (Path(hit.path).name, hit.start_s) == ("low.wav", 0.5)


def test_ranks_of_lyrics_are_fused_with_those_of_sound_and_names() -> None:
    assert list(fuse([1, 2, 3], {}, {3: 0.5, 2: 0.4})) == [3, 2, 1]
    assert list(fuse([1, 2, 3], {}, {9: SUNG, 1: 0.5})) == [9, 1, 2, 3]  # a whole line goes first
    assert list(fuse([1, 2], {}, {7: 0.5, 8: 0.5})) == [7, 8, 1, 2]
    assert fuse([1], {1: 0.5}, {1: 0.5}) == {1: ("lyrics", "name", "sound")}


def test_without_being_asked_nothing_is_read_or_imported(tmp_path: Path, sung: Path, encoder: LocalEncoder) -> None:
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        ms.add(sung, progress=False)
        ms.search("low")
        assert not (tmp_path / "library" / FILE_NAME).exists()
        with pytest.raises(LibraryError, match=r"no lyrics yet: run `music-search add .* --lyrics`"):
            ms.search(lyrics="kettle")
        assert not (tmp_path / "library" / FILE_NAME).exists()
    code = "import sys, client.cli; assert not any(name.startswith('client.lyrics') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unchanged_files_are_not_read_again(ms: MusicSearch, sung: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def note(path: str) -> list[Line]:
        read.append(Path(path).name)
        return [Line(None, "Said anew")]

    monkeypatch.setattr("client.lyrics.taking.read_lyrics", note)
    monkeypatch.setattr("client.decoders.Decoder.call", lambda _, function, path: function(path))
    ms.add(sung, progress=False, lyrics=True)
    assert read == []
    (sung / "album/middle.lrc").write_text("[00:01.00]Now it has words", encoding="utf-8")
    ms.add(sung, progress=False, lyrics=True)
    assert read == ["middle.flac"]
    assert names(ms, "said anew") == ["middle.flac"]


def test_a_changed_track_never_shows_its_old_words(ms: MusicSearch, sung: Path) -> None:
    tags = ID3(sung / "album/high.mp3")
    tags.delall("USLT")
    tags.add(USLT(encoding=3, lang="eng", text="Quite other words are here"))
    tags.save()
    assert names(ms, "paper boats") == ["high.mp3"]  # the library does not know of the change yet
    assert ms.lyrics(sung / "album/high.mp3") == [(None, line) for line in HIGH.splitlines()]
    ms.add(sung, progress=False)
    assert names(ms, "paper boats") == names(ms, "quite other words") == ms.lyrics(sung / "album/high.mp3") == []
    ms.add(sung, progress=False, lyrics=True)
    assert names(ms, "paper boats") == []
    assert names(ms, "quite other words") == ["high.mp3"]


def test_words_of_an_lrc_file_that_is_gone_are_gone(ms: MusicSearch, sung: Path) -> None:
    (sung / "low.lrc").unlink()
    ms.add(sung, progress=False, lyrics=True)
    assert names(ms, "kettle sings before the sun") == []


def test_a_removed_track_is_not_found_and_its_words_go(ms: MusicSearch, sung: Path) -> None:
    ms.remove(ms.track_id(sung / "low.wav"))
    assert "low.wav" not in names(ms, "kettle sings before the sun")
    folder = Path(ms.info().path)
    with closing(Book(folder)) as book:
        assert len([track_id for ids in book.track_ids() for track_id in ids]) == 3
    before, after = care.compact(folder)
    assert 0 < after <= before
    with closing(Book(folder)) as book:
        assert len([track_id for ids in book.track_ids() for track_id in ids]) == 2
        assert book.problems() == []
    assert b"kettle" not in (folder / FILE_NAME).read_bytes()
    assert names(ms, "river carries paper boats") == ["high.mp3"]
    ms.add(sung, progress=False, lyrics=True)
    assert names(ms, "kettle sings before the sun") == ["low.wav"]


def test_a_moved_file_takes_its_words_along(ms: MusicSearch, sung: Path) -> None:
    track_id = ms.track_id(sung / "low.wav")
    (sung / "low.wav").rename(sung / "album/moved.wav")
    (sung / "low.lrc").rename(sung / "album/moved.lrc")
    ms.add(sung, progress=False, lyrics=True)
    (hit,) = ms.search(lyrics="kettle sings before the sun", k=1)
    assert (hit.track_id, Path(hit.path).name) == (track_id, "moved.wav")


def test_an_export_leaves_the_words_and_their_file_can_be_copied(
    ms: MusicSearch, tmp_path: Path, encoder: LocalEncoder
) -> None:
    folder = Path(ms.info().path)
    export_library(folder, tmp_path / "exported")
    import_library(tmp_path / "exported", tmp_path / "other")
    with MusicSearch(tmp_path / "other", encoder=encoder) as other, pytest.raises(LibraryError, match="no lyrics yet"):
        other.search(lyrics="kettle")
    ms.close()
    shutil.copy(folder / FILE_NAME, tmp_path / "other")
    with MusicSearch(tmp_path / "other", encoder=encoder) as other:
        assert names(other, "kettle sings before the sun") == ["low.wav"]


def test_through_parquet_nothing_is_lost(ms: MusicSearch, sung: Path, tmp_path: Path, encoder: LocalEncoder) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    folder, file = Path(ms.info().path), tmp_path / "library.parquet"
    given = ms.track_id(sung / "album/middle.flac")
    ms.put_lyrics({given: [(0.1 + 0.2, "הרכבת <b>עוזבת</b>"), (None, "\u202e ! 夜の歌")]})
    songs = read_songs(ms)
    assert len(songs) == 3
    ms.close()
    assert main(["export", str(folder), "--to", str(file)]) == 0
    table = {row["track_id"]: json.loads(row["lyrics"]) for row in pq.read_table(file).to_pylist()}
    assert table[given]["lines"] == [[0.1 + 0.2, "הרכבת <b>עוזבת</b>"], [None, "\u202e ! 夜の歌"]]
    assert [known["given"] for known in table.values()].count(True) == 1

    assert main(["import", str(tmp_path / "new"), str(file)]) == 0
    with MusicSearch(tmp_path / "new", encoder=encoder) as new:
        assert read_songs(new) == songs
        assert names(new, "kettle sings before the sun") == ["low.wav"]
        new.add(sung, progress=False)  # the files' ctimes are known from now on
        assert names(new, "kettle sings before the sun") == ["low.wav"]
        assert read_songs(new) == songs


def test_another_model_finds_the_same_words(ms: MusicSearch, tmp_path: Path) -> None:
    folder = ms.info().path
    ms.close()
    with closing(LocalEncoder(build_tiny_repository(tmp_path / "model", dim=24, seed=1), device="cpu")) as other:
        reembed(folder, other, switch=True, progress=False)
        with MusicSearch(folder, encoder=other) as again:
            assert names(again, "kettle sings before the sun") == ["low.wav"]


def test_a_track_without_a_vector_is_not_found(ms: MusicSearch, encoder: LocalEncoder) -> None:
    folder = Path(ms.info().path)
    ms.close()
    damage(folder / "catalogue.sqlite3", statement="UPDATE vectors SET vector = zeroblob(4)")
    assert maintenance.verify(folder, repair=True).lacking == 3
    with MusicSearch(folder, encoder=encoder) as again:
        assert names(again, "kettle sings before the sun") == []


def test_given_lyrics_serve_a_track_without_its_own(ms: MusicSearch, sung: Path) -> None:
    middle, low = ms.track_id(sung / "album/middle.flac"), ms.track_id(sung / "low.wav")
    given = {middle: [(0.75, "Heard by a machine"), (None, "and written down")], low: [(0.0, "Heard wrongly")]}
    assert ms.put_lyrics(given) == [low]
    (hit,) = ms.search(lyrics="heard by a machine", k=1)
    assert (hit.track_id, hit.start_s) == (middle, 0.75)
    assert names(ms, "heard wrongly") == []
    ms.add(sung, progress=False, lyrics=True)  # the file has none still
    assert names(ms, "heard by a machine") == ["middle.flac"]
    os.utime(sung / "album/middle.flac", ns=(0, 0))  # not a change of the sound
    ms.add(sung, progress=False)
    assert names(ms, "heard by a machine") == ["middle.flac"]
    ms.put_lyrics({middle: []})
    assert names(ms, "heard by a machine") == []
    ms.put_lyrics({middle: [(0.75, "Heard by a machine")]})
    (sung / "album/middle.lrc").write_text("[00:01.00]Its own words", encoding="utf-8")
    ms.add(sung, progress=False, lyrics=True)
    assert (names(ms, "heard by a machine"), names(ms, "its own words")) == ([], ["middle.flac"])


def test_lyrics_that_are_given_while_a_file_is_read_stay(
    ms: MusicSearch, sung: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    middle = ms.track_id(sung / "album/middle.flac")
    ms.add(sung, progress=False, lyrics=True)
    (sung / "album/middle.lrc").write_text("[ar:Nobody]", encoding="utf-8")

    def give_meanwhile(*_: object) -> list[Line]:
        ms.put_lyrics({middle: [(0.75, "Heard by a machine")]})
        return []

    monkeypatch.setattr("client.decoders.Decoder.call", give_meanwhile)
    ms.add(sung, progress=False, lyrics=True)
    assert names(ms, "heard by a machine") == ["middle.flac"]


def test_given_lyrics_are_kept_as_what_can_be_written(ms: MusicSearch, sung: Path) -> None:
    given = ms.track_id(sung / "album/middle.flac")
    ms.put_lyrics({given: [(None, "\x00\x07"), (1.0, "nobody \ud800knows\x1b me\u2028 <b>today</b>"), (None, " ")]})
    assert ms.lyrics(given) == [(1.0, "nobody knows me <b>today</b>")]


def test_given_lyrics_go_with_another_sound(ms: MusicSearch, sung: Path) -> None:
    middle = ms.track_id(sung / "album/middle.flac")
    ms.put_lyrics({middle: [(0.75, "Heard by a machine")]})
    write_audio(sung / "album/middle.flac", tone(500, seconds=2.0), kind="flac")
    ms.add(sung, progress=False)
    assert (ms.track_id(sung / "album/middle.flac"), names(ms, "heard by a machine")) == (middle, [])


def test_what_was_heard_yields_to_what_a_person_gives(ms: MusicSearch, sung: Path) -> None:
    low, middle = ms.track_id(sung / "low.wav"), ms.track_id(sung / "album/middle.flac")

    def hear(track_id: str, *lines: tuple[float, str]) -> list[str]:
        folder = Path(ms.info().path)
        with closing(Catalogue(folder)) as catalogue, catalogue.writing(), closing(Book(folder)) as book:
            return give(catalogue, book, {track_id: lines}, heard=True)

    assert hear(low, (0.0, "Heard wrongly")) == [low]
    assert hear(middle, (0.5, "Herd by a small machine")) == []
    assert hear(middle, (0.5, "Heard by a large machine")) == []  # a later guess replaces an earlier one
    assert hear(middle) == [middle]  # but nothing does not
    ms.add(sung, progress=False, lyrics=True)
    assert ms.lyrics(middle) == [(0.5, "Heard by a large machine")]
    with closing(Book(Path(ms.info().path))) as book:
        book.put_texts(book.texts([middle]))  # as an export and an import do
    assert hear(middle, (0.5, "Heard by a large machine")) == []
    ms.put_lyrics({middle: [(0.75, "Written down by a person")]})
    assert hear(middle, (0.5, "Heard by a machine")) == hear(middle) == [middle]
    assert ms.lyrics(middle) == [(0.75, "Written down by a person")]
    ms.put_lyrics({middle: []})
    assert hear(middle, (0.5, "Heard by a machine")) == []
    assert ms.lyrics(middle) == [(0.5, "Heard by a machine")]


def test_given_lyrics_that_are_wrong_are_refused(ms: MusicSearch, sung: Path) -> None:
    track_id = ms.track_id(sung / "album/middle.flac")
    for wrong in ("text", [("0", "text")], [(-1.0, "text")], [(float("nan"), "text")], [(True, "x")], [(1.0,)], None):
        with pytest.raises(QueryError, match=r"expected a list of \(seconds, text\)|expected \(seconds, text\)"):
            ms.put_lyrics({track_id: wrong})
    with pytest.raises(QueryError, match="expected a dict"):
        ms.put_lyrics([track_id])
    with pytest.raises(LibraryError, match="no track 'x'"):
        ms.put_lyrics({track_id: [(0.0, "Never stored")], "x": []})
    assert names(ms, "never stored") == []
    with Catalogue(Path(ms.info().path)).writing(), pytest.raises(LibraryBusy):
        ms.put_lyrics({track_id: []})


def test_arguments_that_are_wrong_are_refused(ms: MusicSearch) -> None:
    with pytest.raises(QueryError, match="lyrics is 3, expected a text"):
        ms.search(lyrics=3)
    with pytest.raises(QueryError, match="lyrics"):
        ms.search(lyrics="  ")
    with pytest.raises(QueryError, match="lyrics is 'yes'"):
        ms.add([], lyrics="yes")


def damage(path: Path, *, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(statement)


def test_damage_is_an_error_that_says_what_to_do(ms: MusicSearch, sung: Path) -> None:
    path = Path(ms.info().path) / FILE_NAME
    assert care.verify(path.parent) == []
    damage(path, statement="UPDATE songs SET lines = replace(lines, 'kettle', 'cattle')")
    with pytest.raises(LibraryError, match="is damaged: remove it, and run `music-search add LIB"):
        ms.search(lyrics="kettle sings before the sun")
    (problem,) = care.verify(path.parent)
    assert "rows that do not match their checksums: 1" in problem
    assert main(["verify", str(path.parent), "--repair"]) == 1
    for beside in path.parent.glob(f"{FILE_NAME}-*"):
        beside.unlink()
    path.write_bytes(b"not SQLite" * 1000)
    with pytest.raises(LibraryError, match=r"damaged or not a file of lyrics .* remove it"):
        ms.search(lyrics="kettle")
    with pytest.raises(LibraryError, match="damaged or not a file of lyrics"):
        ms.add(sung, progress=False, lyrics=True)
    assert "damaged or not a file of lyrics" in care.verify(path.parent)[0]
    assert Path(ms.search("low")[0].path).name  # a search by sound does not need it
    path.unlink()
    ms.add(sung, progress=False, lyrics=True)
    assert names(ms, "kettle sings before the sun") == ["low.wav"]


def test_a_file_of_a_newer_version_or_of_another_program_stays(ms: MusicSearch) -> None:
    path = Path(ms.info().path) / FILE_NAME
    damage(path, statement=f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(
        LibraryError, match=rf"newer MusicSearch \(lyrics {VERSION + 1}, this one knows {VERSION}\): upg"
    ):
        ms.search(lyrics="kettle")
    damage(path, statement="PRAGMA application_id = 7")
    with pytest.raises(LibraryError, match="is not a file of lyrics: move it"):
        ms.add([], lyrics=True)


def test_a_file_of_an_older_version_keeps_its_words_and_gets_a_new_index(ms: MusicSearch, sung: Path) -> None:
    given = ms.track_id(sung / "album/middle.flac")
    ms.put_lyrics({given: [(0.75, "Sœur of the rain")]})
    songs = read_songs(ms)
    path = Path(ms.info().path) / FILE_NAME
    damage(path, statement="DROP TABLE pieces")
    former = "hashes, content = '', detail = none, columnsize = 0, tokenize = ascii"
    damage(path, statement=f"CREATE VIRTUAL TABLE pieces USING fts5({former})")
    damage(path, statement="PRAGMA user_version = 1")
    assert names(ms, "rain") == names(ms, "soeur of the rain") == ["middle.flac"]
    assert names(ms, "kettle sings before the sun") == ["low.wav"]
    assert read_songs(ms) == songs
    assert care.verify(path.parent) == []
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_to_know_that_there_are_no_words_not_every_song_is_read(tmp_path: Path) -> None:
    def steps(book: Book, *, has_words: bool) -> int:
        """Tens of steps of SQLite to answer."""
        counted: list[int] = []
        book._db.set_progress_handler(lambda: counted.append(0), 10)
        assert book.has_words() is has_words
        book._db.set_progress_handler(None, 0)
        return len(counted)

    with closing(Book(tmp_path, create=True)) as book:
        book.put([song(f"{number:03}") for number in range(500)])
        assert steps(book, has_words=False) < 10
        book.put([song("499", "The words of the last one")])
        assert steps(book, has_words=True) < 10
        book.forget(["499"])
        assert steps(book, has_words=False) < 10
        assert book.problems() == []
    damage(tmp_path / FILE_NAME, statement="DROP INDEX with_lines")  # as in a file of a former version
    with closing(Book(tmp_path)) as book:
        assert steps(book, has_words=False) > 100
        book.put([])
        assert steps(book, has_words=False) < 10


def write_without_end(folder: Path) -> None:
    with closing(Book(folder, create=True)) as book:
        for number in range(1_000_000):
            book.put([song(f"{number}-{half}", f"line number {number}", "of both halves") for half in "ab"])


def test_a_writer_that_is_killed_leaves_whole_groups(tmp_path: Path) -> None:
    for after_s in (0.05, 0.2, 0.5):
        process = fork_server().Process(target=write_without_end, args=(tmp_path,))
        process.start()
        while not (tmp_path / FILE_NAME).exists():
            time.sleep(0.01)
        time.sleep(after_s)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        with closing(Book(tmp_path, create=True)) as book:
            assert book.problems() == []
            ids = [track_id for ids in book.track_ids() for track_id in ids]
            assert {track_id[:-2] for track_id in ids if track_id.endswith("a")} == {
                track_id[:-2] for track_id in ids if track_id.endswith("b")
            }


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_one_clear_error_and_loses_nothing(disk: Path) -> None:
    words = " ".join(f"word{number}" for number in range(300))
    with closing(Book(disk, create=True)) as book:
        problem, stored = "", 0
        while not problem:
            try:
                book.put([song(str(stored), words)])
                stored += 1
            except LibraryError as exc:
                problem = str(exc)
        assert stored > 0
        assert "check the disk, its free space and permissions" in problem
    with closing(Book(disk)) as book:
        assert len(book.songs([str(number) for number in range(1_000)])) == stored
        assert book.problems() == []


def test_a_library_that_can_only_be_read_is_searched(ms: MusicSearch, encoder: LocalEncoder) -> None:
    folder = Path(ms.info().path)
    ms.close()
    with closing(Book(folder)) as book:
        book.compact()
    paths = [folder, *folder.iterdir()]
    if os.geteuid() == 0:
        pytest.skip("the root user may write everywhere")
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    with MusicSearch(folder, encoder=encoder) as again:
        assert names(again, "kettle sings before the sun") == ["low.wav"]


def test_a_library_in_milvus_has_no_lyrics(tmp_path: Path, sung: Path, encoder: LocalEncoder) -> None:
    pytest.importorskip("milvus_lite")
    with MusicSearch(f"milvus://{tmp_path}/library.db", encoder=encoder) as ms:
        for call in (
            lambda: ms.add(sung, progress=False, lyrics=True),
            lambda: ms.search(lyrics="kettle"),
            lambda: ms.put_lyrics({}),
            lambda: ms.lyrics("low.wav"),
        ):
            with pytest.raises(QueryError, match=r"lyrics are known only for a library in a folder.*: export it to"):
                call()
        assert ms.info().tracks == 0
        assert ms.has_lyrics() is False


def test_a_copy_to_milvus_says_that_lyrics_stay(
    ms: MusicSearch, tmp_path: Path, tones: Path, encoder: LocalEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("milvus_lite")
    pytest.importorskip("pyarrow")
    with MusicSearch(tmp_path / "silent", encoder=encoder) as silent:
        silent.add(tones, progress=False)
    for library, is_told in ((ms.info().path, True), (str(tmp_path / "silent"), False)):
        file = f"{library}.parquet"
        assert main(["export", library, "--to", file]) == 0
        for command in (["export", library, "--to", f"milvus://{library}.db"], ["import", f"milvus://{file}.db", file]):
            capsys.readouterr()
            assert main(command) == 0
            assert ("the lyrics stayed behind" in capsys.readouterr().err) is is_told


def test_the_commands(tmp_path: Path, sung: Path, tiny_repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library, model = str(tmp_path / "library"), ["--encoder", str(tiny_repository)]

    def run(*arguments: str) -> tuple[int, Sequence[str], str]:
        status = main(list(arguments))
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err

    status, lines, _ = run("add", library, str(sung), "--lyrics", *model)
    assert status == 0
    assert lines[0].startswith("3 added, 0 updated, 0 unchanged, 2 with lyrics, 0 failed")
    status, lines, _ = run("search", library, "--lyrics", "nobody is up butt me", *model)
    assert (status, lines[0].split("\t")[-2:]) == (0, ["by", "lyrics"])
    assert lines[1].split("\t")[2] == "0:01"
    assert lines[1].split("\t")[-2:] == ["lyrics", "And nobody is up but me"]
    assert run("search", library, "low", "--lyrics", "paper boats", *model)[0] == 0
    assert "no lyrics have these words" in run("search", library, "--lyrics", "xylophone quiz", *model)[2]
    status, _, problem = run("search", library, *model)
    assert (status, "nothing to search for" in problem) == (2, True)
    assert run("verify", library)[:2] == (0, ["3 tracks are undamaged"])
    assert run("compact", library)[0] == 0
    assert run("search", library, "--lyrics", "paper boats", *model)[1][1].split("\t")[-1] == HIGH.splitlines()[1]
