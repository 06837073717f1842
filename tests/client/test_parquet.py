"""A library as a Parquet file: other programs read it, it becomes the same library again, and nothing else does."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from client import LibraryError, ModelMismatch
from client.cli import main
from client.encoders import EncoderSpec
from client.index import quantized, schema
from client.index.catalogue import Catalogue
from client.index.database import FILE_NAME
from client.index.live import LiveIndex
from client.index.maintenance import (
    export_library,
    export_to_milvus,
    export_to_parquet,
    import_library,
    import_to_milvus,
    verify,
)
from client.index.records import FailedFile, Model
from client.index.store import open_store
from client.lyrics.book import FILE_NAME as LYRICS
from client.lyrics.book import Book, Song
from client.lyrics.lines import Line
from tests.client.test_catalogue import DIM, MODEL, make, new_track, unit
from tests.client.test_stores import fail_at_the_third_copy, milvus_address

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: needs the extra [parquet]", exc_type=ImportError)
pq = pytest.importorskip("pyarrow.parquet")
parquet = pytest.importorskip("client.index.parquet")

TRACKS = 40
OTHER = Model("other", "e" * 64, 12)
SPEC = EncoderSpec(16_000, 160_000, DIM, 77, MODEL.name, MODEL.fingerprint)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with all that one may hold, and of which a little is missing."""
    folder = tmp_path_factory.mktemp("lived in") / "library"
    catalogue = make(folder, *map(str, range(TRACKS)))
    tracks = {number: catalogue.by_path(f"/music/{number}.wav") for number in range(TRACKS)}
    catalogue.put([replace(new_track("3", seed=3), warning="1 s", file=replace(tracks[3].file, ctime_ns=2**62))])
    catalogue.put([replace(new_track("4", seed=4), metadata={"artist": ["Søren", "😀\0"], "bpm": 90.5, "live": True})])
    catalogue.annotate({tracks[5].track_id: {"mood": "calm"}, tracks[6].track_id: {"year": 1999, "title": ""}})
    catalogue.mark_missing([tracks[7].number])
    catalogue.remove([tracks[8].track_id])
    catalogue.put_probes({"music": unit(seed=1, count=3), "unrelated": unit(seed=2, count=2)})
    catalogue.note_failed([FailedFile('/bad "1"', 1, 2, "no audio", 3), FailedFile("/bad 2", 0, 0, "é")])
    catalogue._db.execute("DELETE FROM vectors WHERE label = ?", (tracks[9].label,))  # as a repair may leave it
    # Windows of 32 bits, as an older version wrote them.
    query = "UPDATE windows SET vectors = ?1, crc32 = checksum(label, starts_s, ?1) WHERE label = ?2"
    catalogue._db.execute(query, (unit(seed=10, count=3).tobytes(), tracks[10].label))
    with closing(catalogue.beside(OTHER)) as other:
        made = new_track("x").vectors
        wide = np.eye(3, OTHER.dim, dtype=np.float32)
        made = replace(made, vector=wide[0], windows=wide)
        other.put_vectors({tracks[number].number: made for number in range(20, 30)})
    catalogue.close()
    return folder


@pytest.fixture
def exported(lived_in: Path, tmp_path: Path) -> Path:
    assert export_to_parquet(lived_in, tmp_path / "library.parquet", progress=False) == TRACKS - 1
    return tmp_path / "library.parquet"


LINES = [[0.1 + 0.2, "The kettle <b>sings</b> before the sun"], [None, "\u202e הרכבת ! 夜の歌"]]


@pytest.fixture
def sung(lived_in: Path, tmp_path: Path) -> Path:
    """The file of this library with lyrics of two tracks, and of one that has none in its file."""
    with closing(Catalogue(lived_in)) as catalogue, closing(Book(tmp_path, create=True)) as book:
        tracks = [catalogue.by_path(f"/music/{number}.wav") for number in (0, 7, 39)]
        lines = [tuple(Line(*line) for line in LINES), (Line(None, "Nobody is up"),), ()]
        state = replace(tracks[0].file, path="", ctime_ns=0)
        book.put(
            [
                Song(track.track_id, bool(place), state, "0.lrc 1 2", text)
                for place, (track, text) in enumerate(zip(tracks, lines, strict=True))
            ]
        )
        book.put([Song("0123456789abcdef", True, state, "", (Line(None, "Of a track that was removed"),))])
        export_to_parquet(lived_in, tmp_path / "sung.parquet", lyrics=book, progress=False)
    return tmp_path / "sung.parquet"


def dump(folder: Path) -> dict[str, list[tuple]]:
    """Every row of every table, but for the library's own id and what tells of removed tracks."""
    tables = ("models", "tracks", "vectors", "windows", "fields", "field_names", "probes", "failed", "names")
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        found = {table: sorted(db.execute(f"SELECT * FROM {table}").fetchall()) for table in tables}
        (found["model"],) = db.execute("SELECT * FROM properties WHERE name = 'model'").fetchall()
    return found


def read_about(path: Path) -> dict:
    return json.loads(pq.read_metadata(path).metadata[b"musicsearch"])


# -- there and back ------------------------------------------------------------------------------------


def test_nothing_is_lost(lived_in: Path, exported: Path, tmp_path: Path) -> None:
    import_library(exported, tmp_path / "new")
    before, after = dump(lived_in), dump(tmp_path / "new")
    assert len(before["windows"]) == TRACKS - 2 + 10
    assert {name for name in before if before[name] != after[name]} == {"tracks", "failed"}  # the times of another disk
    export_library(lived_in, tmp_path / "file")
    import_library(tmp_path / "file", tmp_path / "copy")
    assert after == dump(tmp_path / "copy")
    assert verify(tmp_path / "new") == verify(tmp_path / "copy") == verify(lived_in)
    with closing(Catalogue(lived_in)) as one, closing(Catalogue(tmp_path / "new")) as other:
        assert other.library_id != one.library_id
        assert other.failed() == [replace(file, ctime_ns=0) for file in one.failed()]
        assert other._db.execute("PRAGMA page_size").fetchone() == (8192,)
        for seed in range(5):
            for found, expected in zip(
                *(LiveIndex(c).search(unit(seed=seed)[0], k=9) for c in (other, one)), strict=True
            ):
                np.testing.assert_array_equal(found, expected)
        other.put([new_track("after", seed=77)])
    assert verify(tmp_path / "new").tracks == TRACKS
    # The file of a copy is that of the library, but for the times.
    export_to_parquet(tmp_path / "copy", tmp_path / "again.parquet", progress=False)
    forgotten = ["ctime_ns", "crc32"]
    tables = [pq.read_table(path).drop_columns(forgotten) for path in (exported, tmp_path / "again.parquet")]
    assert tables[0].equals(tables[1])


def test_an_empty_library(tmp_path: Path) -> None:
    make(tmp_path / "library").close()
    export_to_parquet(tmp_path / "library", tmp_path / "library.parquet")
    assert import_library(tmp_path / "library.parquet", tmp_path / "new").tracks == 0
    assert dump(tmp_path / "new") == dump(tmp_path / "library")


def test_music_that_is_elsewhere(
    lived_in: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.index.catalogue._MOVED_AT_ONCE", 7)
    import_library(exported, tmp_path / "new", moved={"/music": "/mnt/songs"})
    assert verify(tmp_path / "new").problems == []
    paths = [{row[2] for row in dump(folder)["tracks"]} for folder in (lived_in, tmp_path / "new")]
    assert paths[1] == {path.replace("/music", "/mnt/songs") for path in paths[0]}


def test_a_collection_of_milvus(lived_in: Path, tmp_path: Path) -> None:
    address = milvus_address(tmp_path)
    tracks, _ = export_to_milvus(lived_in, address, progress=False)
    assert export_to_parquet(address, tmp_path / "x.parquet", progress=False) == tracks == TRACKS - 2
    assert import_library(tmp_path / "x.parquet", tmp_path / "new").problems == []
    assert verify(tmp_path / "new").problems == []
    with closing(open_store(address)) as there, closing(Catalogue(tmp_path / "new")) as new:
        assert (new.model, len(new)) == (there.model, tracks)
        for labels, _ in there.vectors():
            for track in there.by_labels(labels.tolist()):
                ours = new.by_id(track.track_id)
                assert ours == replace(
                    track, number=ours.number, label=ours.label, file=replace(track.file, ctime_ns=0)
                )
                np.testing.assert_array_equal(new.vector(ours.label), there.vector(track.label))
                for found, expected in zip(new.windows(ours.label), there.windows(track.label), strict=True):
                    np.testing.assert_array_equal(found, expected)
        source = Catalogue(lived_in)
        before = source.by_path("/music/20.wav").label
        after = new.by_path("/music/20.wav").label
        np.testing.assert_allclose(new.windows(after)[1], source.windows(before)[1], atol=5e-3)
        assert new.failed() == [replace(file, ctime_ns=0) for file in there.failed()]
        for kind in ("music", "unrelated"):
            np.testing.assert_array_equal(new.probes(kind), there.probes(kind))


def test_into_milvus(lived_in: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, moved = milvus_address(tmp_path), {"/music": "/mnt/songs"}
    monkeypatch.setattr(parquet, "ROWS", 16)
    with pytest.raises(LibraryError, match=r"no track in .* lies in /nowhere"):
        import_to_milvus(exported, address, moved={"/nowhere": "/mnt/songs"}, progress=False)
    with monkeypatch.context() as patch:
        calls = fail_at_the_third_copy(patch)
        with pytest.raises(LibraryError, match="went away"):
            import_to_milvus(exported, address, moved=moved, progress=False)
    written = sum(calls[:2])
    assert 0 < written < TRACKS - 2
    assert import_to_milvus(exported, address, moved=moved, progress=False) == (TRACKS - 2, TRACKS - 2 - written)
    assert import_to_milvus(exported, address, moved=moved, progress=False) == (TRACKS - 2, 0)

    with closing(open_store(address)) as there, closing(Catalogue(lived_in)) as here:
        assert (there.model, len(there)) == (here.model, TRACKS - 2)
        for number in range(TRACKS):
            ours, theirs = here.by_path(f"/music/{number}.wav"), there.by_path(f"/mnt/songs/{number}.wav")
            if number in (8, 9):  # removed, and without vectors
                assert theirs is None
                continue
            file = replace(ours.file, path=theirs.file.path, ctime_ns=0)
            assert theirs == replace(ours, number=theirs.number, label=theirs.label, file=file)
            np.testing.assert_array_equal(there.vector(theirs.label), here.vector(ours.label))
            np.testing.assert_array_equal(there.windows(theirs.label)[0], here.windows(ours.label)[0])
            np.testing.assert_allclose(there.windows(theirs.label)[1], here.windows(ours.label)[1], atol=5e-3)
        assert there.failed() == [replace(file, ctime_ns=0) for file in here.failed()]
        for kind in ("music", "unrelated"):
            np.testing.assert_array_equal(np.sort(there.probes(kind), 0), np.sort(here.probes(kind), 0))
        there.annotate({theirs.track_id: {"mood": "calm"}})
    assert import_to_milvus(exported, address, moved=moved, progress=False) == (TRACKS - 2, 1)  # as the file has it


def test_parts_into_milvus(tmp_path: Path) -> None:
    address = milvus_address(tmp_path)
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in range(3):
        tracks = [new_track(f"{number} {n}", seed=10 * number + n) for n in range(5)]
        failed = [FailedFile("/music/0 1.wav", 1, 1, "it was"), FailedFile("/bad", 1, 1, "it is", 7)]
        parquet.write_part(parts / f"{number}.parquet", tracks, spec=SPEC, failed=failed)
    assert import_to_milvus(parts, address, progress=False) == (15, 15)
    with closing(open_store(address)) as there:
        assert there.failed() == [FailedFile("/bad", 1, 1, "it is")]
        there.remove([there.by_path("/music/0 1.wav").track_id])

    shutil.copyfile(parts / "0.parquet", parts / "3.parquet")
    with pytest.raises(LibraryError, match=r"3\.parquet has a path twice"):
        import_to_milvus(parts, address, progress=False)
    spec = replace(SPEC, fingerprint="e" * 64)
    parquet.write_part(parts / "3.parquet", [new_track("x")], spec=spec)
    with pytest.raises(
        LibraryError, match=r"3\.parquet was made with the model tiny \(e{64}\).*one library has one model"
    ):
        import_to_milvus(parts, address, progress=False)
    with pytest.raises(ModelMismatch, match=r"f{64}.*e{64}.*choose another collection"):
        import_to_milvus(parts / "3.parquet", address, progress=False)
    with closing(open_store(address)) as there:
        assert len(there) == 14


# -- for other programs --------------------------------------------------------------------------------


def test_columns_and_metadata(lived_in: Path, tmp_path: Path) -> None:
    export_to_parquet(lived_in, tmp_path / "x.parquet", spec=SPEC, progress=False)
    table = pq.read_table(tmp_path / "x.parquet")
    kinds = {field.name: field.type for field in table.schema}
    assert kinds["vector"] == pa.list_(pa.float32(), DIM)
    assert kinds["vector_2"] == pa.list_(pa.float32(), OTHER.dim)
    assert kinds["starts_s"] == pa.list_(pa.float32())
    assert [kinds[name] for name in ("track_id", "path", "metadata", "annotations")] == [pa.string()] * 4
    assert [kinds[name] for name in ("size", "mtime_ns", "duration_s", "missing", "windows")] == [
        *(pa.int64(), pa.int64(), pa.float64(), pa.bool_(), pa.binary())
    ]
    about = read_about(tmp_path / "x.parquet")
    assert (about["tracks"], about["sample_rate_hz"], about["window_samples"]) == (TRACKS - 1, 16_000, 160_000)
    models = {
        model["number"]: (model["name"], model["fingerprint"], model["embedding_dim"]) for model in about["models"]
    }
    assert (models[about["model"]], models[2]) == (tuple(MODEL), tuple(OTHER))
    rows = {row["path"]: row for row in table.to_pylist()}
    assert json.loads(rows["/music/4.wav"]["metadata"]) == {"artist": ["Søren", "😀\0"], "bpm": 90.5, "live": True}
    assert json.loads(rows["/music/5.wav"]["annotations"]) == {"mood": "calm"}
    assert [path for path, row in rows.items() if row["missing"]] == ["/music/7.wav"]
    assert [path for path, row in rows.items() if row["label"] is None] == ["/music/9.wav"]
    assert rows["/music/9.wav"]["vector"] == [0.0] * DIM
    with closing(Catalogue(lived_in)) as catalogue:
        for number in (0, 10):  # of 8 bits and of 32
            track = catalogue.by_path(f"/music/{number}.wav")
            row = rows[track.file.path]
            vector = np.array(row["vector"], np.float32)
            np.testing.assert_array_equal(vector, catalogue.vector(track.label))
            starts_s, windows = catalogue.windows(track.label)
            assert row["starts_s"] == starts_s.tolist()
            np.testing.assert_array_equal(quantized.read(row["windows"], count=len(starts_s), track=vector), windows)


def test_lyrics_have_columns_where_there_are_some(lived_in: Path, sung: Path, tmp_path: Path) -> None:
    table = pq.read_table(sung)
    told = {row["track_id"]: row["lyrics"] for row in table.to_pylist()}
    assert len(told) == TRACKS - 1
    assert read_about(sung)["lyrics"] == sum(text is not None for text in told.values()) == 3
    assert json.loads(next(text for text in told.values() if text and "kettle" in text))["lines"] == LINES
    without = tmp_path / "without.parquet"  # as an older version wrote it
    export_to_parquet(lived_in, without, progress=False)
    assert table.drop_columns(["lyrics", "lyrics_crc32"]).equals(pq.read_table(without))
    assert "lyrics" not in read_about(without)
    import_library(without, tmp_path / "new", open_lyrics=pytest.fail)
    assert dump(tmp_path / "new")["tracks"]


def test_lyrics_come_back(sung: Path, tmp_path: Path) -> None:
    import_library(sung, tmp_path / "new", open_lyrics=partial(Book, create=True))
    assert [path.name for path in tmp_path.glob("new/lyrics*")] == [LYRICS]
    with closing(Book(tmp_path / "new")) as book:
        assert book.problems() == []
        (match,) = book.search("kettle sings before the sun", keep=lambda songs: [True] * len(songs))
        assert [list(line) for line in match.song.lines] == LINES
    import_library(sung, tmp_path / "other")
    assert not (tmp_path / "other" / LYRICS).exists()


def test_by_pandas_and_duckdb(lived_in: Path, exported: Path) -> None:
    with closing(Catalogue(lived_in)) as catalogue:
        vector = catalogue.vector(catalogue.by_path("/music/2.wav").label)
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.read_parquet(exported).set_index("path")
    assert len(frame) == TRACKS - 1
    np.testing.assert_array_equal(frame.vector["/music/2.wav"], vector)
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    query = f"SELECT vector, metadata->>'title' FROM '{exported}' WHERE path = '/music/2.wav'"
    ((found, title),) = duckdb.connect().execute(query).fetchall()
    np.testing.assert_array_equal(np.array(found, np.float32), vector)
    assert title == "2 é"


def test_a_thousand_tracks_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "library", *map(str, range(2_100))).close()
    export_to_parquet(tmp_path / "library", tmp_path / "x.parquet", progress=False)
    file = pq.ParquetFile(tmp_path / "x.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [1_000, 1_000, 100]
    read, counts = parquet._from_batch, []
    monkeypatch.setattr(parquet, "_from_batch", lambda batch, rest: counts.append(len(batch)) or read(batch, rest))
    one_group = rewritten(tmp_path / "x.parquet", lambda table: table)
    assert pq.ParquetFile(one_group).num_row_groups == 1
    for number, path in enumerate((tmp_path / "x.parquet", one_group)):
        assert import_library(path, tmp_path / str(number)).tracks == 2_100
        assert dump(tmp_path / str(number)) == dump(tmp_path / "library")
    assert max(counts) == 1_000


# -- what goes wrong -----------------------------------------------------------------------------------


def rewritten(path: Path, change: Callable, **about: object) -> Path:
    """The same file with another table, and with other metadata where that is given, whose checksum is right."""
    table = pq.read_table(path)
    said = json.dumps(read_about(path) | about)
    metadata = {"musicsearch": said, "musicsearch.crc32": str(schema.checksum(said))}
    pq.write_table(change(table.replace_schema_metadata(metadata)), path.with_name("rewritten.parquet"))
    return path.with_name("rewritten.parquet")


def with_column(table, name: str, values: object, kind: object = None):
    return table.set_column(
        table.schema.get_field_index(name), name, pa.array(values, kind or table.schema.field(name).type)
    )


def with_row(table, place: int, **changes: object):
    """Another row, with a checksum that is right."""
    for name, value in changes.items():
        values = table.column(name).to_pylist()
        table = with_column(table, name, [*values[:place], value, *values[place + 1 :]])
    row = table.slice(place, 1).to_pylist()[0] | {"missing": int(table.column("missing")[place].as_py())}
    crc32 = schema.checksum(*(row[name] for name in schema.CHECKED["tracks"].split(", ")))
    values = table.column("crc32").to_pylist()
    return with_column(table, "crc32", [*values[:place], crc32, *values[place + 1 :]])


def first(table, name: str) -> object:
    return table.column(name)[0].as_py()


BAD: dict[str, tuple[Callable, str]] = {
    "no metadata": (
        lambda t: t.replace_schema_metadata(None),
        "is a Parquet file, but not of a library: name a file that",
    ),
    "other metadata": (
        lambda t: t.replace_schema_metadata({"musicsearch": '{"format": 1}', "musicsearch.crc32": "1"}),
        "its metadata does not match its checksum",
    ),
    "no vectors": (lambda t: t.drop_columns(["vector"]), "must have exactly one column vector"),
    "a column twice": (lambda t: t.append_column("path", t.column("path")), "must have exactly one column path"),
    "too wide": (
        lambda t: with_column(t, "vector", [[1.0] * 9] * len(t), pa.list_(pa.float32(), 9)),
        r"the column vector of .* is of fixed_size_list<.*>\[9\], expected fixed_size_list<.*>\[8\]",
    ),
    "another type": (lambda t: with_column(t, "size", ["1"] * len(t), pa.string()), "the column size .* is of string"),
    "a tag": (
        lambda t: with_column(t, "metadata", ['{"title": "other"}', *t.column("metadata").to_pylist()[1:]]),
        "row 1 of .* does not match its checksum: export the library again",
    ),
    "a vector": (
        lambda t: with_column(t, "vector", [*t.column("vector").to_pylist()[:-1], [1.0] + [0.0] * 7]),
        "row 39 of .* does not match its checksum",
    ),
    "a window": (
        lambda t: with_column(t, "starts_s", [[5.0, 10.0, 20.0], *t.column("starts_s").to_pylist()[1:]]),
        "row 1 of .* does not match its checksum",
    ),
    "vectors swapped": (
        lambda t: with_column(t, "vector", t.column("vector").to_pylist()[::-1]),
        "row 1 of .* does not match its checksum",
    ),
    "no path": (lambda t: with_column(t, "path", [None] * len(t)), "row 1 of .* does not match its checksum"),
    "a track id twice": (
        lambda t: with_row(t, 1, track_id=first(t, "track_id")),
        "row 2 of .* has the track_id of another row",
    ),
    "a path twice": (lambda t: with_row(t, 1, path=first(t, "path")), "row 2 of .* has the path of another row"),
    "a row twice": (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "row 40 of .* has the number of another row"),
    "rows gone": (lambda t: t.slice(0, 30), "holds 30 of the 39 exported tracks"),
    "labels gone": (
        lambda t: with_column(t, "label", [None] * len(t)),
        "does not hold the exported vectors",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file(exported: Path, tmp_path: Path, name: str) -> None:
    change, message = BAD[name]
    bad = rewritten(exported, change)
    with pytest.raises(LibraryError, match=message) as caught:
        import_library(bad, tmp_path / "new")
    assert str(bad) in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "change", [lambda text: text.replace("kettle", "petrol"), lambda text: None if "kettle" in text else text]
)
def test_changed_lyrics_are_refused(sung: Path, tmp_path: Path, change: Callable) -> None:
    texts = [text and change(text) for text in pq.read_table(sung).column("lyrics").to_pylist()]
    bad = rewritten(sung, lambda table: with_column(table, "lyrics", texts))
    with pytest.raises(LibraryError, match="does not match its checksum"):
        import_library(bad, tmp_path / "new", open_lyrics=partial(Book, create=True))
    assert not (tmp_path / "new").exists()


def test_lyrics_that_lack_are_noticed(sung: Path, tmp_path: Path) -> None:
    def without(table):
        for name in ("lyrics", "lyrics_crc32"):
            table = with_column(table, name, [None] * len(table))
        return table

    with pytest.raises(LibraryError, match="holds the lyrics of 0 of 3 tracks"):
        import_library(rewritten(sung, without), tmp_path / "new")
    bad = rewritten(sung, lambda table: table.drop_columns(["lyrics"]))
    with pytest.raises(LibraryError, match="must have exactly one column lyrics"):
        import_library(bad, tmp_path / "new")


def test_lyrics_that_are_there_stay(sung: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / LYRICS).write_text("of another library")
    assert main(["import", str(tmp_path / "new"), str(sung)]) == 2
    assert "holds the lyrics of another library" in capsys.readouterr().err
    assert (tmp_path / "new" / LYRICS).read_text() == "of another library"
    assert [path.name for path in tmp_path.glob("new/*")] == [LYRICS]


def test_damaged_lyrics_are_not_exported(
    lived_in: Path, sung: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(lived_in, tmp_path / "copy"))
    shutil.copy(sung.with_name(LYRICS), copy)
    with closing(sqlite3.connect(copy / LYRICS, isolation_level=None)) as db:
        db.execute("UPDATE songs SET lines = replace(lines, 'kettle', 'petrol')")
    assert main(["export", str(copy), "--to", str(tmp_path / "bad.parquet")]) == 2
    assert "is damaged: remove it, and run `music-search add LIB" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("bad*")] == []


def test_a_file_of_a_newer_version(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"written by a newer MusicSearch \(format 2, this one knows 1\)"):
        import_library(rewritten(exported, lambda table: table, format=2), tmp_path / "new")


def test_what_is_no_parquet_file(exported: Path, tmp_path: Path) -> None:
    whole = exported.read_bytes()
    for content, message in (
        (b"", "is not a Parquet file"),
        (b"track_id,path\n", "is not a Parquet file"),
        (whole[: len(whole) // 2], "is not complete, its end is missing"),
        (whole[:4], r"is damaged \("),
        (whole[:1_000] + whole[-1_000:], r"is damaged \("),
    ):
        exported.write_bytes(content)
        with pytest.raises(LibraryError, match=message):
            import_library(exported, tmp_path / "new")
        assert not (tmp_path / "new").exists()
    exported.write_bytes(whole)
    shutil.copyfile(exported, tmp_path / "by its first bytes")
    assert import_library(tmp_path / "by its first bytes", tmp_path / "new").tracks == TRACKS - 1
    with pytest.raises(LibraryError, match="has a library already"):
        import_library(exported, tmp_path / "new")


def test_whatever_is_damaged_nothing_wrong_is_imported(lived_in: Path, exported: Path, tmp_path: Path) -> None:
    export_library(lived_in, tmp_path / "file")
    import_library(tmp_path / "file", tmp_path / "copy")
    expected, whole = dump(tmp_path / "copy"), exported.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(120):
        damaged = bytearray(whole)
        if number % 3 == 0:
            start = int(rng.integers(len(whole) - 64))
            damaged[start : start + 64] = bytes(64)
        else:
            damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        exported.write_bytes(damaged)
        try:
            import_library(exported, tmp_path / str(number))
        except LibraryError:
            refused += 1
            assert not (tmp_path / str(number)).exists()
        else:
            assert dump(tmp_path / str(number)) == expected
    assert refused > 90  # the rest is what nothing reads, such as statistics


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "UPDATE tracks SET duration_s = 1 WHERE number = 7",
            "track number 7 in .* is damaged: run `music-search verify",
        ),
        ("UPDATE vectors SET vector = zeroblob(32) WHERE label = 7", "vector number 7 in .* is damaged"),
        ("UPDATE windows SET vectors = zeroblob(32) WHERE label = 7", "windows of vector number 7 in .* is damaged"),
        ("DELETE FROM windows WHERE label = 7", "windows of vector number 7 in .* is damaged"),
        ("UPDATE probes SET vectors = zeroblob(32)", "the list of probes in .* is damaged"),
        ("UPDATE models SET name = 'x'", "model number 1 in .* is damaged"),
        ("UPDATE models SET vectors = 0", "the list of vectors in .* is damaged"),
    ],
)
def test_a_damaged_library_is_not_exported(lived_in: Path, tmp_path: Path, damage: str, message: str) -> None:
    shutil.copytree(lived_in, tmp_path / "library")
    with closing(sqlite3.connect(tmp_path / "library" / FILE_NAME)) as db:
        schema.add_functions(db)
        db.execute(damage)
        db.commit()
    with pytest.raises(LibraryError, match=message):
        export_to_parquet(tmp_path / "library", tmp_path / "x.parquet", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["library"]


def test_what_is_damaged_is_not_written_into_milvus(exported: Path, tmp_path: Path) -> None:
    address, whole = milvus_address(tmp_path), exported.read_bytes()
    for content, message in (
        (b"track_id,path\n", "is not a Parquet file"),
        (whole[: len(whole) // 2], "is not complete, its end is missing: copy it again"),
        (whole[:1_000] + whole[-1_000:], r"is damaged \("),
    ):
        exported.write_bytes(content)
        with pytest.raises(LibraryError, match=message):
            import_to_milvus(exported, address, progress=False)
    exported.write_bytes(whole)
    for name in ("a tag", "a vector", "rows gone", "labels gone", "a path twice", "too wide", "no metadata"):
        change, message = BAD[name]
        bad = rewritten(exported, change)
        with pytest.raises(LibraryError, match="has a path twice" if name == "a path twice" else message):
            import_to_milvus(bad, address, progress=False)
    for source, message in (
        ("nothing", "no file "),
        ("", "holds no Parquet files"),
        ("sql", "is not a Parquet file: import it into a folder"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "sql").write_text("SQLite format 3")
        with pytest.raises(LibraryError, match=message):
            import_to_milvus(tmp_path / (source or "empty"), address, progress=False)
    # The sound rows before damage may be there by now, and a sound copy of the file completes them.
    assert import_to_milvus(exported, address, progress=False)[0] == TRACKS - 2
    with closing(open_store(address)) as there:
        assert len(there) == TRACKS - 2


def test_what_is_there_stays(lived_in: Path, exported: Path) -> None:
    before = exported.read_bytes()
    with pytest.raises(LibraryError, match="exists: choose another name, or remove it"):
        export_to_parquet(lived_in, exported)
    with pytest.raises(ModelMismatch, match=r"was made with the model tiny \(f{64}\), but the encoder is tiny \(d"):
        export_to_parquet(lived_in, exported.with_name("x"), spec=replace(SPEC, fingerprint="d" * 64))
    assert exported.read_bytes() == before
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]


def test_a_disk_without_room(lived_in: Path, exported: Path, tmp_path: Path) -> None:
    library = shutil.copytree(lived_in, tmp_path / "library")
    with closing(Catalogue(library)) as catalogue:  # a file larger than what SQLite makes beside what it reads
        catalogue.note_failed([FailedFile(f"/bad {number}", 0, 0, "x" * 100) for number in range(500)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))  # writes end there, as on a full disk
    try:
        with pytest.raises(LibraryError, match=r"cannot write .*x.parquet: File too large; check the disk, its free"):
            export_to_parquet(library, tmp_path / "x.parquet", progress=False)
        with pytest.raises(LibraryError, match=r"new.*; check the disk, its free space"):
            import_library(exported, tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name for path in tmp_path.iterdir()} == {exported.name, library.name}
    with pytest.raises(LibraryError, match=r"cannot write .*: No such file or directory"):
        export_to_parquet(lived_in, tmp_path / "no/such/x.parquet", progress=False)


# Stops in the middle, and says so.
HALF_WAY = """
import pathlib, sys, time
from client.index import maintenance, parquet

def stop(*args, **options):
    print("half way", flush=True)
    time.sleep(60)

done = getattr(parquet, sys.argv[1])
count = iter(range(2))
setattr(parquet, sys.argv[1], lambda *args, **options: done(*args, **options) if next(count) < 1 else stop())
parquet.ROWS = 10
getattr(maintenance, sys.argv[2])(*map(pathlib.Path, sys.argv[3:]))
"""


@pytest.mark.parametrize("work", ["export", "import"])
def test_killed_half_way(lived_in: Path, exported: Path, tmp_path: Path, work: str) -> None:
    target = tmp_path / ("x.parquet" if work == "export" else "new")
    arguments = {
        "export": ("_to_table", "export_to_parquet", lived_in, target),
        "import": ("_from_batch", "import_library", exported, target),
    }[work]
    command = [sys.executable, "-c", HALF_WAY, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ), text=True) as process:
        assert process.stdout.readline() == "half way\n"
        process.send_signal(signal.SIGKILL)
    if work == "export":
        assert not target.exists()
        export_to_parquet(lived_in, target, progress=False)
        assert pq.read_table(target).equals(pq.read_table(exported))
        assert not target.with_name("x.parquet.part").exists()
    else:
        assert not (target / FILE_NAME).exists()
        assert import_library(exported, target).tracks == TRACKS - 1


# -- from the terminal ---------------------------------------------------------------------------------


def test_from_the_terminal(
    lived_in: Path, tiny_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = str(lived_in)
    assert main(["export", library, "--to", str(tmp_path / "a.parquet")]) == 0
    assert capsys.readouterr().out == f"39 tracks written to {tmp_path / 'a.parquet'}\n"
    assert main(["export", library, str(tmp_path / "b.Parquet"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(tmp_path / "b.Parquet"), "tracks": 39}
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.Parquet"))
    assert main(["import", str(tmp_path / "new"), str(tmp_path / "a.parquet"), "--moved", "/music=/songs"]) == 0
    assert capsys.readouterr().out == "39 tracks\n"
    assert main(["export", library, str(tmp_path / "c.parquet"), "--encoder", str(tiny_repository)]) == 2
    assert "name the model of the library, or no model" in capsys.readouterr().err
    assert main(["export", "milvus://host/music", str(tmp_path / "file")]) == 2
    assert "export a Milvus library to FILE.parquet" in capsys.readouterr().err


def test_into_milvus_from_the_terminal(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["import", milvus_address(tmp_path), str(exported), "--moved", "/music=/songs"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"38 tracks, 38 of them written to {command[1]}\n"
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"to": command[1], "tracks": 38, "written": 0}


def test_the_model_that_comes_with_it_is_known(tmp_path: Path, tiny_repository: Path, tones: Path, monkeypatch) -> None:
    monkeypatch.setattr("client.encoders.DEFAULT_REPOSITORY", tiny_repository)
    assert main(["add", str(tmp_path / "library"), str(tones)]) == 0
    for number, repository in enumerate((tiny_repository, tmp_path / "nowhere")):
        monkeypatch.setattr("client.encoders.DEFAULT_REPOSITORY", repository)
        assert main(["export", str(tmp_path / "library"), "--to", str(tmp_path / f"{number}.parquet")]) == 0
        assert ("sample_rate_hz" in read_about(tmp_path / f"{number}.parquet")) == (number == 0)


def test_without_pyarrow(lived_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "client.index.parquet", None)
    monkeypatch.delattr("client.index.parquet")
    with pytest.raises(LibraryError, match=r"x.parquet needs pyarrow .*: pip install 'musicsearch\[parquet\]'"):
        export_to_parquet(lived_in, tmp_path / "x.parquet")
