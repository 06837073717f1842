"""Each public set of songs or speech as a folder of its own layout."""

import gzip
import json
import pickle
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from singing.sung import Note, Word
from train.data.adapters.layout import AdapterError
from train.data.manifest import read_manifest
from train.lyrics.__main__ import main
from train.lyrics.adapters import adapt_songs, dali_pickle
from train.lyrics.adapters.dali_pickle import read_pickle
from train.lyrics.songs import read_songs

A4, B4 = 440.0, 493.8833012561241
NOTES = [(12.5, 12.75, A4, "lo"), (12.75, 13.0, B4, "ving"), (13.5, 14.0, A4, "you")]
PLAIN_F8 = (
    b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8K\x00K\x01\x87R"
    b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)  # of Python 2: what makes a number of NumPy, up to its bytes


def tone(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(1_600) / 5), 16_000)
    return path


def dali_values(
    name: str, *, vertical: bool = False, number: type = float, language: str = "english"
) -> dict[str, Any]:
    """A song of two words and three notes, as DALI's `Annotations` has it."""

    def item(start_s: float, end_s: float, hertz: float, text: Any, **index: int) -> dict[str, Any]:
        times, range_hz = (number(start_s), number(end_s)), [number(hertz), number(hertz)]
        return {"text": text, "time": times, "freq": range_hz, **index}

    spans = [(12.5, 13.0, "loving", slice(0, 2)), (13.5, 14.0, "you", slice(2, 3))]
    if vertical:
        words = [item(*span[:2], A4, [item(*note) for note in NOTES[span[3]]]) for span in spans]
        levels: dict[str, Any] = {"hierarchical": [item(12.5, 14.0, A4, [item(12.5, 14.0, A4, words)])]}
    else:
        words = [item(start_s, end_s, A4, text, index=0) for start_s, end_s, text, _ in spans]
        notes = [item(*note, index=word) for note, word in zip(NOTES, (0, 0, 1), strict=True)]
        levels = {"words": words, "notes": notes, "lines": [], "paragraphs": []}
    return {
        "info": {
            **{"id": name, "artist": "An Artist", "title": "A Title", "dataset_version": 1.0, "ground-truth": False},
            "metadata": {"language": language, "album": "x", "genres": ["Pop"]},
            **{"scores": {"NCC": number(0.9), "manual": 0.0}, "audio": {"url": "x", "working": True, "path": "None"}},
        },
        "annotations": {
            "type": "vertical" if vertical else "horizontal",
            "annot": levels,
            "annot_param": {"fr": number(240.0), "offset": number(0.5)},
        },
    }


def write_pickle(path: Path, value: Any) -> Path:
    """As the DALI package writes its files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(pickle.dumps(value, protocol=2)))
    return path


def write_song(path: Path, values: dict[str, Any]) -> Path:
    """A pickle of the package's class, which is gone when the file is read; or the JSON that the class writes."""
    if path.suffix == ".json":
        path.write_text(json.dumps(values))
        return path
    package, module = ModuleType("DALI"), ModuleType("DALI.Annotations")
    module.Annotations = type("Annotations", (), {"__module__": "DALI.Annotations"})
    song = module.Annotations()
    vars(song).update(values, errors=None)
    sys.modules.update({"DALI": package, "DALI.Annotations": module})
    try:
        return write_pickle(path, song)
    finally:
        del sys.modules["DALI"], sys.modules["DALI.Annotations"]


@pytest.mark.parametrize("number", [float, np.float64])
@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("suffix", ["gz", "json"])
def test_a_song_of_dali_has_words_and_notes(tmp_path: Path, suffix: str, vertical: bool, number: type):
    write_song(tmp_path / f"abc.{suffix}", dali_values("abc", vertical=vertical, number=number))
    write_pickle(tmp_path / "info/DALI_DATA_INFO.gz", ["not", "a", "song"])
    tone(tmp_path / "audio/abc.flac")
    out = tmp_path / "made/songs.jsonl"
    assert main(["adapt", "dali", str(tmp_path), "--out", str(out)]) == 0
    (row,) = read_manifest(out)
    assert row.extra["title"] == "A Title"
    (song,) = read_songs(out, split=row.split)
    assert song.audio.samefile(tmp_path / "audio/abc.flac")
    assert song.words == (Word(12.5, 13.0, "loving"), Word(13.5, 14.0, "you"))
    assert song.notes == (Note(12.5, 12.75, 69), Note(12.75, 13.0, 71), Note(13.5, 14.0, 69))


def test_the_ground_truth_of_dali_corrects_times(tmp_path: Path):
    """Notes are at beats 48, 49, 50, 52 and 54 of a quarter of a second after 0.5 s; corrected, beats have 0.3 s."""
    write_song(tmp_path / "abc.gz", dali_values("abc"))
    write_pickle(tmp_path / "info/gt_v1.0_22:11:18.gz", {"abc": {"offset": np.float64(1.0), "fr": 200.0}})
    tone(tmp_path / "abc.wav")
    (row,) = adapt_songs("dali", tmp_path).rows
    assert [word[2] for word in row.extra["words"]] == ["loving", "you"]
    assert [word[:2] for word in row.extra["words"]] == [pytest.approx([15.4, 16.0]), pytest.approx([16.6, 17.2])]
    assert [note[:2] for note in row.extra["notes"]][1] == pytest.approx([15.7, 16.0])
    assert [note[2] for note in row.extra["notes"]] == [69, 71, 69]
    write_pickle(tmp_path / "gt_v1.0_12:11:18.gz", {})
    with pytest.raises(AdapterError, match="both correct songs"):
        adapt_songs("dali", tmp_path)


def test_what_dali_cannot_mean_is_left_out(tmp_path: Path):
    values = dali_values("abc")
    words, notes = values["annotations"]["annot"]["words"], values["annotations"]["annot"]["notes"]
    words[0]["time"] = (-0.5, 0.25)
    words.append({"text": "never", "time": (3.0, 3.0), "freq": [A4, A4]})
    words.append({"text": "before", "time": (-3.0, -2.0), "freq": [A4, A4]})
    notes[0]["freq"], notes[1]["freq"] = [0.0, 0.0], [30_000.0, 30_000.0]
    write_song(tmp_path / "abc.gz", values)
    tone(tmp_path / "abc.wav")
    (row,) = adapt_songs("dali", tmp_path).rows
    assert row.extra["words"] == [[0.0, 0.25, "loving"], [13.5, 14.0, "you"]]
    assert row.extra["notes"] == [[13.5, 14.0, 69]]


def test_an_artist_of_dali_is_in_one_split(tmp_path: Path):
    for number in range(40):
        values = dali_values(str(number))
        values["info"]["artist"] = ("The Same", "the same")[number % 2] if number < 20 else f"Artist {number}"
        write_song(tmp_path / f"{number}.json", values)
        tone(tmp_path / f"{number}.wav")
    splits = {row.track_id: row.split for row in adapt_songs("dali", tmp_path).rows}
    assert len({splits[str(number)] for number in range(20)}) == 1
    assert len({splits[str(number)] for number in range(20, 40)}) > 1
    other = {row.track_id: row.split for row in adapt_songs("dali", tmp_path, seed=1).rows}
    assert other != splits


def test_songs_of_dali_that_are_left_out_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, language in {"one": "english", "two": "german", "six": "english", "odd": "english"}.items():
        write_song(tmp_path / f"{name}.gz", dali_values(name, language=language))
    silent = dali_values("nil")
    silent["annotations"]["annot"]["words"] = []
    write_song(tmp_path / "nil.gz", silent)
    (tmp_path / "odd.gz").write_bytes((tmp_path / "odd.gz").read_bytes()[:100])
    for name in ("one", "two", "nil"):
        tone(tmp_path / f"audio/{name}.ogg")
    out = tmp_path / "songs.jsonl"
    assert main(["adapt", "dali", str(tmp_path), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "1 in other languages (1 german), 1 without a recording, 1 without words" in printed.out
    assert "odd.gz is no gzipped file of DALI" in printed.err
    assert [row.track_id for row in read_manifest(out)] == ["one"]
    assert main(["adapt", "dali", str(tmp_path), "--out", str(out), "--language", "all"]) == 0
    assert {row.track_id for row in read_manifest(out)} == {"one", "two"}
    with pytest.raises(AdapterError, match="no track in 'dutch' with words; its other languages are english, german"):
        adapt_songs("dali", tmp_path, language="dutch")


class Hostile:
    """Makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_a_pickle_runs_no_code(tmp_path: Path):
    path = write_pickle(tmp_path / "abc.gz", {"info": Hostile(tmp_path / "ran")})
    with pytest.raises(AdapterError, match="which no file of DALI does; it was not loaded"):
        adapt_songs("dali", tmp_path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(gzip.decompress(path.read_bytes()))
    assert (tmp_path / "ran").exists()


def test_a_pickle_changes_nothing_for_the_next(tmp_path: Path):
    """It sets an attribute of the function that stands for NumPy's."""
    names = b"\x80\x02cnumpy.core.multiarray\nscalar\n"
    for content in (names + b"N}U\x06markedK\x01s\x86b.", names + b"."):
        (tmp_path / "abc.gz").write_bytes(gzip.compress(content))
        read = read_pickle(tmp_path / "abc.gz")
        assert hasattr(read, "marked") == (content[-2:] == b"b.")


@pytest.mark.parametrize(
    "value", [np.float64(1.5), np.float32(-2.5), np.int64(-7), np.int32(7), np.bool_(True), np.dtype(">f8").type(1.5)]
)
def test_numbers_of_numpy_are_read_without_it(tmp_path: Path, value: Any):
    found = read_pickle(write_pickle(tmp_path / "a.gz", [value, {"a": value}]))
    assert found == [value.item(), {"a": value.item()}]
    assert type(found[0]) is type(value.item())


def test_numpy_2_has_another_name(tmp_path: Path):
    number = PLAIN_F8.replace(b"numpy.core", b"numpy._core") + b"U\x08" + struct.pack("<d", 466.25) + b"\x86R"
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"\x80\x02" + number + b"."))
    assert read_pickle(tmp_path / "a.gz") == 466.25


def test_a_file_of_python_2_is_read(tmp_path: Path):
    """Its texts and the bytes of its numbers are plain strings: here a list of a text and a big-endian number."""
    number = PLAIN_F8.replace(b"U\x01<", b"U\x01>") + b"U\x08" + struct.pack(">d", 466.1637615180899) + b"\x86R"
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"\x80\x02](U\x04love" + number + b"e."))
    assert read_pickle(tmp_path / "a.gz") == ["love", 466.1637615180899]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "is no gzipped file of DALI"),
        (gzip.compress(pickle.dumps({"a": 1}))[:-12], "is no gzipped file of DALI"),
        (gzip.compress(b"no pickle")[:10] + bytes(range(100, 200)), "is no gzipped file of DALI"),
        (gzip.compress(b"no pickle"), "holds no pickle that can be read"),
        (gzip.compress(pickle.dumps([1, 2], protocol=2)), "holds no annotations of DALI, but list"),
        (gzip.compress(pickle.dumps(Path("a"), protocol=2)), "names pathlib.*which no file of DALI does"),
        (gzip.compress(bytes(100_000)), "unpacks to more than 0 MB"),
    ],
    ids=["no gzip", "cut short", "damaged", "no pickle", "a list", "another class", "too large"],  # gzip tells the time
)
def test_what_is_no_song_of_dali_is_one_sentence(tmp_path: Path, monkeypatch, content: bytes, message: str):
    monkeypatch.setattr(dali_pickle, "MOST_BYTES", 50_000)
    (tmp_path / "abc.gz").write_bytes(content)
    with pytest.raises(AdapterError, match=f"none of the 1 songs can be read, the first because .*{message}"):
        adapt_songs("dali", tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"info": {"id": "a"}, "annotations": {}}, "KeyError: 'artist'"),
        ({"annotations": {}}, "KeyError: 'info'"),
        ([1], "TypeError"),
    ],
)
def test_a_json_that_dali_does_not_write_is_one_sentence(tmp_path: Path, values: Any, message: str):
    (tmp_path / "abc.json").write_text(json.dumps(values))
    with pytest.raises(AdapterError, match=f"abc.json is not as DALI publishes it .{message}"):
        adapt_songs("dali", tmp_path)
    (tmp_path / "abc.json").write_text("{")
    with pytest.raises(AdapterError, match=r"abc\.json is no JSON of DALI"):
        adapt_songs("dali", tmp_path)


def test_a_word_of_dali_is_a_text(tmp_path: Path):
    values = dali_values("abc")
    values["annotations"]["annot"]["words"][1]["text"] = ["you"]
    write_song(tmp_path / "abc.json", values)
    with pytest.raises(AdapterError, match="TypeError: a word is no text"):
        adapt_songs("dali", tmp_path)


def write_jamendo(folder: Path) -> Path:
    """MultiLang: a song in English, and one in German."""
    (folder / "annotations/words").mkdir(parents=True)
    (folder / "lyrics").mkdir()
    (folder / "JamendoLyrics.csv").write_text(
        "URL,Filepath,Artist,Title,Genre,LicenseType,Language,LyricOverlap,Polyphonic,NonLexical\n"
        "https://x,A_-_Song.mp3,A,Song,Pop,BY,English,false,false,false\n"
        "https://x,B_-_Lied.mp3,B,Lied,Pop,BY,German,false,true,false\n"
    )
    for name, words in {"A_-_Song": ["don't", "close", "your"], "B_-_Lied": ["oh", "ja", "ja"]}.items():
        (folder / f"lyrics/{name}.words.txt").write_text("\n".join(words))
        (folder / f"annotations/words/{name}.csv").write_text(
            "word_start,word_end,line_end\n1.5,2.0,nan\n2.0,2.5,2.5\n3.25,3.25,3.25\n"
        )
        tone(folder / f"mp3/{name}.mp3")
    return folder


def test_jamendo_has_the_times_of_words(tmp_path: Path):
    write_jamendo(tmp_path)
    adapted = adapt_songs("jamendo", tmp_path)
    assert adapted.other_languages == {"german": 1}
    assert main(["adapt", "jamendo", str(tmp_path), "--out", str(tmp_path / "songs.jsonl")]) == 0
    (song,) = read_songs(tmp_path / "songs.jsonl", split="test")
    assert song.words == (Word(1.5, 2.0, "don't"), Word(2.0, 2.5, "close"), Word(3.25, 3.26, "your"))
    assert song.notes is None
    assert not song.is_speech
    assert len(adapt_songs("jamendo", tmp_path, language="german").rows) == 1


def test_a_file_of_the_set_is_not_written_over(tmp_path: Path, capsys):
    table = write_jamendo(tmp_path) / "JamendoLyrics.csv"
    before = table.read_bytes()
    assert main(["adapt", "jamendo", str(tmp_path), "--out", str(table)]) == 2
    assert "so it is not a file of this command" in capsys.readouterr().err
    assert table.read_bytes() == before


def test_the_first_form_of_jamendo_has_only_starts(tmp_path: Path):
    """A word ends where the next begins, or where its line does, because nobody sings between the lines."""
    write_jamendo(tmp_path)
    table = tmp_path / "JamendoLyrics.csv"
    header, row, _ = (line.split(",") for line in table.read_text().splitlines())
    table.write_text(f"{','.join(header[:6])}\n{','.join(row[:6])}\n")
    (tmp_path / "annotations/words/A_-_Song.csv").unlink()
    (tmp_path / "annotations/A_-_Song.wordonset.txt").write_text("1.5\n2.0\n30.25\n")
    (tmp_path / "annotations/A_-_Song.csv").write_text(
        'start_time,end_time,lyrics_line\n1.4,2.75,"Don\'t close,"\n30.2,31.0,your\n'
    )
    (row,) = adapt_songs("jamendo", tmp_path).rows
    assert row.extra["words"] == [[1.5, 2.0, "don't"], [2.0, 2.75, "close"], [30.25, 31.0, "your"]]
    (tmp_path / "annotations/A_-_Song.csv").write_text("start_time,end_time,lyrics_line\n1.4,2.75,Don't close\n")
    with pytest.raises(AdapterError, match=r"the word at 30\.25 s begins after the last line ends"):
        adapt_songs("jamendo", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("JamendoLyrics.csv", None, "holds no JamendoLyrics.csv"),
        ("JamendoLyrics.csv", b"Filepath,Artist\n", "has no column Title"),
        ("lyrics/A_-_Song.words.txt", None, "holds no lyrics/A_-_Song.words.txt"),
        ("lyrics/A_-_Song.words.txt", b"don't\nclose\n", "times of 3 words and A_-_Song.words.txt has 2"),
        ("lyrics/A_-_Song.words.txt", b"\xff", "A_-_Song.words.txt is not UTF-8 text"),
        (
            "annotations/words/A_-_Song.csv",
            None,
            "annotations/words/A_-_Song.csv or annotations/A_-_Song.wordonset.txt",
        ),
        ("annotations/words/A_-_Song.csv", b"start,end\n1,2\n", "has no column word_start, word_end"),
        ("annotations/words/A_-_Song.csv", b"word_start,word_end\n1.5\n", "line 2: too few cells"),
        ("annotations/words/A_-_Song.csv", b"word_start,word_end\nsoon,2\n", "has the time 'soon'; expected seconds"),
        ("annotations/words/A_-_Song.csv", b"word_start,word_end\n1,nan\n", "has the time 'nan'; expected seconds"),
    ],
)
def test_a_damaged_jamendo_is_one_sentence(tmp_path: Path, capsys, name: str, content: bytes | None, message: str):
    path = write_jamendo(tmp_path) / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert main(["adapt", "jamendo", str(tmp_path), "--out", str(tmp_path / "songs.jsonl")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "songs.jsonl").exists()


def write_librispeech(folder: Path) -> Path:
    for place, text in {
        "train-clean-360/14/208": "14-208-0000 CHAPTER ONE\n14-208-0001 HE WASN'T THERE\n",
        "dev-other/116/288": "116-288-0000 AS I APPROACHED\n",
        "test-clean/61/70968": "61-70968-0000 HE BEGAN A CONFUSED COMPLAINT\n",
    }.items():
        chapter = folder / "LibriSpeech" / place
        chapter.mkdir(parents=True)
        name = "-".join(place.split("/")[1:])
        (chapter / f"{name}.trans.txt").write_text(text)
        for line in text.splitlines():
            tone(chapter / f"{line.split()[0]}.flac")
    return folder / "LibriSpeech"


def test_librispeech_has_texts_and_the_splits_of_its_folders(tmp_path: Path):
    root = write_librispeech(tmp_path)
    (root / "train-clean-360/14/208/14-208-0000.flac").unlink()
    out = tmp_path / "speech.jsonl"
    assert adapt_songs("librispeech", root).without_audio == ["14-208-0000"]
    assert main(["adapt", "librispeech", str(root), "--out", str(out)]) == 0
    splits = {split: read_songs(out, split=split) for split in ("train", "val", "test")}
    assert {split: song.text for split, (song,) in splits.items()} == {
        "train": "he wasn't there",
        "val": "as i approached",
        "test": "he began a confused complaint",
    }
    assert all(song.is_speech and song.audio.is_file() for (song,) in splits.values())
    assert [row.track_id for row in adapt_songs("librispeech", root / "dev-other").rows] == ["116-288-0000"]


def test_a_damaged_librispeech_is_one_sentence(tmp_path: Path):
    root = write_librispeech(tmp_path)
    (root / "dev-other/116/288/116-288.trans.txt").write_text("116-288-0000 AS I\n116-288-0001\n")
    with pytest.raises(AdapterError, match="line 2: got '116-288-0001'; expected a recording's name and its text"):
        adapt_songs("librispeech", root)
    (root / "dev-other/116/288/116-288.trans.txt").write_bytes(b"\xff")
    with pytest.raises(AdapterError, match=r"116-288\.trans\.txt is not UTF-8 text"):
        adapt_songs("librispeech", root)
    (root / "dev-other").rename(root / "dev-noisy")
    with pytest.raises(AdapterError, match="is in no subset; expected a folder named train-clean-100"):
        adapt_songs("librispeech", root)


@pytest.mark.parametrize("name", ["dali", "jamendo", "librispeech"])
def test_a_missing_set_is_one_sentence(tmp_path: Path, name: str):
    with pytest.raises(AdapterError, match="no folder"):
        adapt_songs(name, tmp_path / "none")
    with pytest.raises(AdapterError, match="holds no"):
        adapt_songs(name, tmp_path)
    with pytest.raises(AdapterError, match="no audio folder"):
        adapt_songs(name, tmp_path, audio=tmp_path / "none")


def test_a_set_without_its_recordings_says_so(tmp_path: Path):
    root = write_librispeech(tmp_path)
    for path in root.rglob("*.flac"):
        path.unlink()
    with pytest.raises(AdapterError, match=r"none of the 4 recordings of librispeech is in .*--audio"):
        adapt_songs("librispeech", root)
    with pytest.raises(AdapterError, match="unknown set 'rwc'; expected one of dali"):
        adapt_songs("rwc", tmp_path)
