"""What people give by mistake: one sentence each, exit status 2 in a terminal, and nothing is lost."""

import contextlib
import math
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import Clip, MusicSearch, MusicSearchError, QueryError
from client.cli import main
from client.cli.output import print_table
from client.encoders.local import LocalEncoder
from client.index.database import FILE_NAME
from client.walk import find_audio
from tests.client.audio_files import tone, write_audio
from tests.tiny_repository import TONES_HZ

SURROGATE = os.fsdecode(b"\xff")  # what a name that is not UTF-8 is in Python


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, encoder: LocalEncoder) -> Iterator[MusicSearch]:
    """A library with the three tones, one of them annotated."""
    folder = tmp_path_factory.mktemp("filled")
    files = [write_audio(folder / f"{name}.wav", tone(hz, seconds=1)) for name, hz in TONES_HZ.items()]
    with MusicSearch(folder / "library", encoder=encoder) as ms:
        ms.add(files, progress=False)
        ms.annotate({ms.track_id(folder / "low.wav"): {"genre": "Jazz", "bpm": 100, "title": "a\0b"}})
        yield ms
        assert ms.info().tracks == 3
        assert [hit.metadata for hit in ms.search("low", k=1)] == [{"genre": "Jazz", "bpm": 100, "title": "a\0b"}]


def some_id(ms: MusicSearch) -> str:
    return ms.search("low", k=1)[0].track_id


BAD: list[tuple[str, Callable[[MusicSearch, Any], object], list[Any]]] = [
    ("for a path", lambda ms, bad: ms.add([bad]), [None, 3, b"x", ""]),
    ("expected a path or several", lambda ms, bad: ms.add(bad), [None, 3]),
    ("windows is .*, expected a whole", lambda ms, bad: ms.add([], windows=bad), [0, True, "x", 2.0]),
    ("retry is .*, expected True or False", lambda ms, bad: ms.add([], retry=bad), ["x", 1, None]),
    ("progress is .*, expected True or False", lambda ms, bad: ms.add([], progress=bad), ["x"]),
    ("video is .*, expected True or False", lambda ms, bad: ms.add([], video=bad), [3, "no", None]),
    ("the query", lambda ms, bad: ms.search(bad), ["", " ", SURROGATE, [], {}, ["low", ""]]),
    (
        "has [0-9,]* bytes, expected",
        lambda ms, bad: ms.search(bad),
        ["low " * 4_097, "\u266a" * 6_000, SURROGATE * 6_000],
    ),
    ("query (is|holds)", lambda ms, bad: ms.search(bad), [None, 3, [3]]),
    ("the query is empty", lambda ms, bad: ms.search(minus=bad), [[], {}]),
    ("cancel out", lambda ms, bad: ms.search("low", minus={"low": bad}), [1]),
    ("weight of 'low'", lambda ms, bad: ms.search({"low": bad}), [0, -1, math.nan, math.inf, 10**400, "1", None]),
    ("k is .*, expected a whole", lambda ms, bad: ms.search("low", k=bad), [0, -1, True, None, "3", 2.0, math.nan]),
    ("offset is", lambda ms, bad: ms.search("low", offset=bad), [-1, None, 0.5]),
    ("per_artist is", lambda ms, bad: ms.search("low", per_artist=bad), [0, "a"]),
    ("did you mean 'genre'", lambda ms, bad: ms.search("low", where=bad), [{"gerne": "x"}, {"Genre": "x"}]),
    ("no track has the field", lambda ms, bad: ms.search("low", where=bad), [{SURROGATE: 1}, {3: 1}, {None: 1}]),
    ("expected a dict of fields", lambda ms, bad: ms.search("low", where=bad), [{}, [], "genre"]),
    (
        r"where\['bpm'\] is",
        lambda ms, bad: ms.search("low", where={"bpm": bad}),
        [None, {80}, math.nan, 10**400, (10**400, None), (80,), ("a", "b"), [], [None], SURROGATE, b"x"],
    ),
    (
        "the query vector",
        lambda ms, bad: ms.search_vector(bad),
        [np.full(16, math.nan), np.full(16, math.inf), np.zeros(16), np.ones(15), [10**400] * 16, "abc", None],
    ),
    (
        "like holds|like is|got the sound|cannot be opened",
        lambda ms, bad: ms.search_audio(bad),
        [None, 3, b"x", "nobody", "/a\0b", SURROGATE, Clip("x", math.nan), Clip("x", 0, math.inf), Clip("x", "a")],
    ),
    (
        "metadata 'x' is .*, expected a text, a finite number",
        lambda ms, bad: ms.annotate({some_id(ms): {"x": bad}}),
        [object(), 10**400, math.inf, math.nan, SURROGATE, b"x", [1, 2], {"a": "b"}, [SURROGATE]],
    ),
    ("the metadata name", lambda ms, bad: ms.annotate({some_id(ms): {bad: 1}}), ["", 3, SURROGATE]),
    ("got the annotations", lambda ms, bad: ms.annotate({some_id(ms): bad}), [None, 5, "x", ["x"]]),
    ("got the annotations", lambda ms, bad: ms.annotate(bad), [None, ["x"]]),
    ("no track", lambda ms, bad: ms.annotate({bad: {}}), ["nobody", SURROGATE, 3]),
    ("no track", lambda ms, bad: ms.remove(bad), ["nobody", SURROGATE]),
    ("no track", lambda ms, bad: ms.remove([some_id(ms), bad]), ["nobody", SURROGATE]),
    ("no track", lambda ms, bad: ms.track_id(bad), ["nobody", SURROGATE]),
    ("got .* for a track", lambda ms, bad: ms.track_id(bad), [None, 3]),
    ("paths is", lambda ms, bad: ms.embed_audio(bad), ["x.wav", None, 3, [None], [b"x"]]),
    ("examples is", lambda ms, bad: ms.fit_labels(bad), [None, ["a"], {"a": "x.mp3", "b": ["x"]}, {"a": Clip("x")}]),
    ("thresholds is", lambda ms, bad: ms.zero_shot(some_id(ms), ["a"], thresholds=bad), [["a"], {"a": "x"}, 3]),
    ("got the track id", lambda ms, bad: ms.remove(bad), [None, 3, [3], [None], [["x"]]]),
]


@pytest.mark.parametrize(("message", "call", "values"), BAD)
def test_bad_arguments(
    filled: MusicSearch, message: str, call: Callable[[MusicSearch, Any], object], values: list[Any]
) -> None:
    for value in values:
        with pytest.raises(MusicSearchError, match=message) as caught:
            call(filled, value)
        assert "\n" not in str(caught.value), value


def test_far_too_much_is_no_error(filled: MusicSearch) -> None:
    assert len(filled.search("low", k=10**30)) == 3
    assert len(filled.search("low", per_artist=10**30)) == 3
    assert filled.search("low", offset=10**30) == []
    assert filled.search("low " * 4_096, k=1)[0].path.endswith("low.wav")
    assert len(filled.search("low", where={"bpm": (None, 10**25), "genre": ["x"] * 10_000 + ["jazz"]})) == 1


def test_an_encoder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="got 5 for the encoder, expected a folder"):
        MusicSearch(tmp_path / "library", encoder=5)


@pytest.mark.parametrize("library", [None, 3, "", "a\0b"])
def test_a_library_that_is_no_folder(encoder: LocalEncoder, library: Any) -> None:
    with pytest.raises(QueryError, match="for the library, expected a folder"):
        MusicSearch(library, encoder=encoder)


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own may only be entered by root
    folder.chmod(0o755)
    (folder / "locked").mkdir(mode=0o000)
    (folder / "a.wav").touch()
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # root may read everything
        found = find_audio([folder, folder / "locked"])
    finally:
        os.seteuid(user)
        shutil.rmtree(folder)
    assert found.files == [str(folder / "a.wav")]
    assert found.folders == []  # so that nothing in them is taken for vanished
    assert {(failed.path, failed.reason) for failed in found.failed} == {
        (str(folder / "locked"), "cannot read the folder (Permission denied)")
    }


def test_a_terminal(filled: MusicSearch, tmp_path: Path, tiny_repository: Path, capsys: Any) -> None:
    def text(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    library, encoder = filled.info().path, ["--encoder", str(tiny_repository)]
    newer = shutil.copytree(library, tmp_path / "newer")
    with contextlib.closing(sqlite3.connect(newer / FILE_NAME)) as db:
        db.execute("PRAGMA user_version = 99")
    for arguments, message in [
        (["search", library, "", *encoder], "the query is ''"),
        (["search", library, SURROGATE, *encoder], "the query is"),
        (["search", library, "low", "-k", "0", *encoder], "k is 0"),
        (["search", library, "low", "--where", "gerne=jazz", *encoder], "did you mean 'genre'?"),
        (["search", library, "low", "--where", "bpm", *encoder], "expected FIELD=VALUE"),
        (["search", library, "low", "--where", "bpm=1", "--where", "bpm=2", *encoder], "names 'bpm' twice"),
        *(
            (["tag", tmp_path / "a.wav", "--labels", "a,b", *more, *encoder], "--as, --csv and --m3u are for libraries")
            for more in (["--csv"], ["--as", "mood"], ["--m3u", "list.m3u8"])
        ),
        (["search", newer, "low", *encoder], "newer MusicSearch (schema 99"),
        (["add", newer, tmp_path, *encoder], "upgrade MusicSearch"),
        (["info", newer], "upgrade MusicSearch"),
        (["similar", library, tmp_path / "nothing.wav", *encoder], "No such file"),
        (["similar", library, tmp_path / "a.wav", "--part", "x", *encoder], "expected seconds"),
        (["remove", library, SURROGATE], "no track with the id or path"),
        (["annotate", library, tmp_path / "nothing.csv"], "cannot read"),
        (["annotate", library, text("short.csv", b"mood,track\nx\n")], "line 2: expected a track"),
        (["annotate", library, text("long.csv", b"track,mood\nx,a,b\n")], "line 2: expected a track"),
        (["reembed", library, "--queries", tmp_path / "nothing", *encoder], "cannot read"),
        (["reembed", library, "--queries", text("latin", b"caf\xe9"), *encoder], "cannot read"),
        (["tag", library, "--labels", tmp_path / "latin", *encoder], "cannot read"),
        (["import", tmp_path / "new", tmp_path / "nothing"], "no file"),
        (["export", library, tmp_path / "no/such/folder/x"], "unable to open database"),
        (["info", tmp_path], "no library at"),
    ]:
        status = main([*map(str, arguments)])
        printed = capsys.readouterr()
        assert (status, printed.out) == (2, ""), arguments
        assert message in printed.err
        assert printed.err.startswith("music-search: ")
        assert printed.err.count("\n") == 1
    status = main(["add", library, str(tmp_path / "nowhere"), *encoder])
    assert (status, "cannot be opened (No such file" in capsys.readouterr().out) == (1, True)


def test_tags_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_table(["track"], [["\x1b[2Jtitle\x9b\x07"]])
    assert "\ufffd[2Jtitle\ufffd\ufffd" in capsys.readouterr().out
