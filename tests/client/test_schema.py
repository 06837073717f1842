"""A library that an older version wrote opens as one of today's, with everything in it."""

import hashlib
import json
import os
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import mutagen
import numpy as np
import pytest

from client import LibraryError, MusicSearch
from client.encoders.local import LocalEncoder
from client.index import quantized, schema
from client.index.catalogue import Catalogue
from client.index.database import FILE_NAME
from client.index.maintenance import compact, import_library, verify
from client.index.records import FailedFile, Model, Position, Track
from client.reembed import reembed
from tests.client.test_catalogue import DIM, MODEL, make, new_track, unit
from tests.client.test_search import Counting
from tests.tiny_repository import build_tiny_repository

_EIGHT_BITS = 5e-3  # what a number of a window may be off by
VERSION_1 = """
CREATE TABLE properties (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE tracks (
    label INTEGER PRIMARY KEY AUTOINCREMENT,
    track_id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,               -- bytes
    mtime_ns INTEGER NOT NULL,
    content_sha256 TEXT NOT NULL,
    duration_s REAL NOT NULL,
    metadata TEXT NOT NULL,              -- JSON object
    vector BLOB NOT NULL,                -- float32 [dim], little-endian, unit L2 norm
    vector_crc32 INTEGER NOT NULL
) STRICT;
CREATE INDEX tracks_by_content ON tracks (content_sha256);
-- Apart from tracks, so that reading all track vectors does not page through all window vectors.
CREATE TABLE windows (
    label INTEGER PRIMARY KEY REFERENCES tracks ON DELETE CASCADE,
    starts_s BLOB NOT NULL,              -- float32 [windows]
    vectors BLOB NOT NULL                -- float32 [windows, dim]
) STRICT;
CREATE TABLE tombstones (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    label INTEGER NOT NULL
) STRICT;
"""


def write_version_1(folder: Path) -> np.ndarray:
    """Three tracks with the labels 1, 3 and 4; 2 was removed. Returns their windows, float32 [3, 2, DIM]."""
    folder.mkdir()
    db = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    db.executescript(VERSION_1)
    properties = {"model_name": "tiny", "fingerprint": "f" * 64, "embedding_dim": str(DIM), "library_id": "1234"}
    db.executemany("INSERT INTO properties VALUES (?, ?)", properties.items())
    windows = unit(seed=5, count=6).reshape(3, 2, DIM)
    for label, pair in zip((1, 3, 4), windows, strict=True):
        vector = pair[0].tobytes()
        metadata = json.dumps({"title": f"{label} é", "genre": "Jazz"})
        row = (label, f"id{label}", f"/music/{label}.wav", 100, label, "hash", 30, metadata, vector, zlib.crc32(vector))
        db.execute(f"INSERT INTO tracks VALUES ({', '.join('?' * 10)})", row)
        db.execute("INSERT INTO windows VALUES (?, ?, ?)", (label, np.float32([0, 10]).tobytes(), pair.tobytes()))
    db.execute("INSERT INTO tombstones (label) VALUES (2)")
    db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    db.execute("PRAGMA user_version = 1")
    db.close()
    return windows


def test_version_1(tmp_path: Path) -> None:
    windows = write_version_1(tmp_path / "library")
    catalogue = Catalogue(tmp_path / "library")
    assert catalogue.model == Model("tiny", "f" * 64, DIM)
    assert (catalogue.library_id, len(catalogue), catalogue.totals()) == ("1234", 3, (3, 90.0))
    assert catalogue.position() == Position(4, 1)
    for label, pair in zip((1, 3, 4), windows, strict=True):
        track = catalogue.by_label(label)
        assert (track.track_id, track.metadata) == (f"id{label}", {"title": f"{label} é", "genre": "Jazz"})
        np.testing.assert_array_equal(catalogue.vector(label), pair[0])
        np.testing.assert_array_equal(catalogue.windows(label)[1], pair)
    assert catalogue.labels({"genre": "jazz"}).tolist() == [1, 3, 4]
    catalogue.put([new_track("new")])
    assert catalogue.by_path("/music/new.wav").label == 5  # labels go on where they were
    catalogue.remove(["id3"])
    assert catalogue.tombstones_after(1).tolist() == [3]
    catalogue.close()
    assert verify(tmp_path / "library").problems == []


def test_a_migration_that_fails_leaves_the_old_library(tmp_path: Path) -> None:
    write_version_1(tmp_path / "library")
    db = sqlite3.connect(tmp_path / "library" / FILE_NAME)
    db.execute("UPDATE tracks SET metadata = 'no JSON' WHERE label = 3")
    db.commit()
    db.close()
    for _ in range(2):
        with pytest.raises(LibraryError, match="damaged or not a catalogue"):
            Catalogue(tmp_path / "library")
    db = sqlite3.connect(tmp_path / "library" / FILE_NAME)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert db.execute("SELECT count(*) FROM tracks WHERE vector IS NOT NULL").fetchone() == (3,)
    db.close()


def as_version_4(folder: Path, *, windows: dict[int, np.ndarray]) -> None:
    """Make a library what version 4 would have written: these windows, by label, in 32 bits."""
    db = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    schema.add_functions(db)
    query = "UPDATE windows SET vectors = ?1, crc32 = checksum(label, starts_s, ?1) WHERE label = ?2"
    db.executemany(query, [(vectors.tobytes(), label) for label, vectors in windows.items()])
    db.execute("PRAGMA user_version = 4")
    db.close()


def test_windows_of_version_4_become_small_however_often_that_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue(tmp_path / "library", create=MODEL)
    tracks = [new_track(name, seed=seed) for seed, name in enumerate("abcdefg")]
    catalogue.put(tracks)
    catalogue.close()
    wide = {label: track.vectors.windows for label, track in enumerate(tracks, start=1)}
    as_version_4(tmp_path / "library", windows=wide)
    monkeypatch.setattr("client.index.catalogue._QUANTIZED_AT_ONCE", 2)

    def read() -> list[bool]:
        """Whether the windows of each track are in 32 bits."""
        with closing(Catalogue(tmp_path / "library")) as catalogue:
            for label, vectors in wide.items():
                np.testing.assert_allclose(catalogue.windows(label)[1], vectors, atol=_EIGHT_BITS)
            sizes = catalogue.rows("SELECT length(vectors) FROM windows ORDER BY label")
            return [size == vectors.nbytes for (size,), vectors in zip(sizes, wide.values(), strict=True)]

    assert read() == [True] * 7
    kept: list[int] = []
    quantize = quantized.quantize

    def until_the_fifth(windows: np.ndarray, *, track: np.ndarray) -> bytes:
        kept.append(1)
        if len(kept) == 5:
            raise LibraryError("the disk is full")
        return quantize(windows, track=track)

    with monkeypatch.context() as patch:
        patch.setattr(quantized, "quantize", until_the_fifth)
        with pytest.raises(LibraryError, match="the disk is full"):
            compact(tmp_path / "library")
    assert read() == [False] * 4 + [True] * 3
    with closing(Catalogue(tmp_path / "library")) as catalogue:
        catalogue.put([new_track("h", seed=8)])  # in 8 bits already
    compact(tmp_path / "library")
    with closing(Catalogue(tmp_path / "library")) as catalogue:
        catalogue.remove([catalogue.by_label(8).track_id])
    assert read() == [False] * 7
    assert verify(tmp_path / "library").problems == []


def test_version_4_is_repaired_and_made_small(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    with closing(Catalogue(folder, create=MODEL)) as catalogue:
        tracks = [new_track(name, seed=seed) for seed, name in enumerate("abc")]
        catalogue.put(tracks)
    as_version_4(folder, windows={label: track.vectors.windows for label, track in enumerate(tracks, start=1)})
    db = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    db.execute("UPDATE windows SET starts_s = zeroblob(12) WHERE label = 2")
    db.close()
    assert verify(folder, repair=True).lacking == 1
    compact(folder)
    with closing(Catalogue(folder)) as catalogue:
        ((wide,),) = catalogue.rows("SELECT count(*) FROM windows WHERE length(vectors) = length(starts_s) * ?", DIM)
        assert (wide, len(catalogue)) == (0, 2)
        np.testing.assert_allclose(catalogue.windows(3)[1], tracks[2].vectors.windows, atol=_EIGHT_BITS)


def test_version_4_on_a_disk_that_cannot_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "library"
    with closing(Catalogue(folder, create=MODEL)) as catalogue:
        track = new_track("a", seed=1)
        catalogue.put([track])
    as_version_4(folder, windows={1: track.vectors.windows})
    before = (folder / FILE_NAME).read_bytes()

    def connect(path: Path) -> sqlite3.Connection:
        address = f"{path.absolute().as_uri()}?immutable=1"
        return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)

    monkeypatch.setattr("client.index.database.connect", connect)
    with closing(Catalogue(folder)) as catalogue:
        np.testing.assert_array_equal(catalogue.windows(1)[1], track.vectors.windows)
        with pytest.raises(LibraryError):
            catalogue.put([new_track("b", seed=2)])
    assert (folder / FILE_NAME).read_bytes() == before


def as_version_3(folder: Path) -> None:
    """Make a library what version 3 would have written: nothing was found by its name."""
    db = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    db.executescript("""
        DROP TRIGGER name_added;
        DROP TRIGGER name_changed;
        DROP TRIGGER name_removed;
        DROP TABLE names;
        PRAGMA user_version = 3;
    """)
    db.close()


def as_version_2(folder: Path, *, hashes: dict[str, str] | None = None) -> None:
    """Make a library what version 2 would have written: no ctime, no warnings, and hashes of whole files, by path."""
    as_version_3(folder)
    db = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    schema.add_functions(db)
    db.executescript("""
        ALTER TABLE tracks RENAME COLUMN content_hash TO content_sha256;
        ALTER TABLE tracks DROP COLUMN ctime_ns;
        ALTER TABLE tracks DROP COLUMN warning;
        ALTER TABLE failed DROP COLUMN ctime_ns;
        PRAGMA user_version = 2;
    """)
    db.executemany("UPDATE tracks SET content_sha256 = ? WHERE path = ?", [(v, k) for k, v in (hashes or {}).items()])
    columns = "number, track_id, path, size, mtime_ns, content_sha256, duration_s, metadata, annotations, missing"
    db.execute(f"UPDATE tracks SET crc32 = checksum({columns})")
    assert [row[1] for row in db.execute("PRAGMA table_info(tracks)")] == [*columns.split(", "), "crc32"]
    assert [row[1] for row in db.execute("PRAGMA table_info(failed)")] == ["path", "size", "mtime_ns", "reason"]
    db.close()


def write_version_2(folder: Path) -> list[Track]:
    """Three tracks with all that version 2 knew, and a file that failed."""
    catalogue = Catalogue(folder, create=MODEL)
    catalogue.put([new_track(name, seed=seed) for seed, name in enumerate("abc")])
    catalogue.annotate({catalogue.by_label(1).track_id: {"mood": "calm"}})
    catalogue.mark_missing([catalogue.by_label(2).number])
    catalogue.note_failed([FailedFile("/bad", 1, 2, "damaged")])
    tracks = [catalogue.by_label(label) for label in (1, 2, 3)]
    catalogue.close()
    as_version_2(folder)
    return tracks


def test_version_2(tmp_path: Path) -> None:
    before = write_version_2(tmp_path / "library")
    db = sqlite3.connect(tmp_path / "library" / FILE_NAME)
    schema.add_functions(db)
    db.executescript("DELETE FROM fields WHERE track = 3; INSERT INTO fields VALUES ('title', 'folded otherwise', 3);")
    db.close()
    catalogue = Catalogue(tmp_path / "library")
    assert catalogue.labels({"title": "C É"}).tolist() == [3]
    assert catalogue.labels({"title": "folded otherwise"}).tolist() == []
    assert [catalogue.by_label(label) for label in (1, 2, 3)] == before
    assert [(track.file.ctime_ns, track.warning) for track in before] == 3 * [(0, "")]
    assert not catalogue.knows_sounds()
    assert [track.label for track in catalogue.missing()] == [2]
    assert catalogue.labels({"mood": "calm"}).tolist() == [1]
    assert catalogue.failed() == []  # today's decoding may well take it
    np.testing.assert_allclose(catalogue.windows(3)[1], new_track("c", seed=2).vectors.windows, atol=_EIGHT_BITS)
    catalogue.put([new_track("d", seed=3)])
    catalogue.note_failed([FailedFile("/bad", 1, 2, "damaged", 3)])
    catalogue.close()
    assert verify(tmp_path / "library").problems == []
    new = Catalogue(tmp_path / "new", create=MODEL)
    assert Catalogue(tmp_path / "library").named_like("C é") == {3: 1.0}
    columns = [
        {row[1:4] for row in db.execute(f"PRAGMA table_info({table})")}
        for db in (new._db, Catalogue(tmp_path / "library")._db)
        for table in ("tracks", "failed")
    ]
    assert columns[:2] == columns[2:]


def test_version_3(tmp_path: Path) -> None:
    with closing(make(tmp_path / "library", "a", "b")) as before:
        labels = {label: before.by_label(label) for label in (1, 2)}
    as_version_3(tmp_path / "library")
    with closing(Catalogue(tmp_path / "library")) as catalogue:
        assert {label: catalogue.by_label(label) for label in labels} == labels
        assert catalogue.named_like("B E") == {2: 1.0}
        catalogue.put([new_track("c", seed=7)])
        assert catalogue.named_like("c e") == {3: 1.0}
    assert verify(tmp_path / "library").problems == []


def test_a_sound_library_of_version_2_is_sound(tmp_path: Path) -> None:
    before = write_version_2(tmp_path / "library")
    shutil.copyfile(tmp_path / "library" / FILE_NAME, tmp_path / "exported")
    assert verify(tmp_path / "library").problems == []
    assert import_library(tmp_path / "exported", tmp_path / "other").problems == []
    for name in ("library", "other"):
        assert [Catalogue(tmp_path / name).by_label(label) for label in (1, 2, 3)] == before


def test_damage_in_version_2_stays_visible_and_is_repaired(tmp_path: Path) -> None:
    before = write_version_2(tmp_path / "library")
    db = sqlite3.connect(tmp_path / "library" / FILE_NAME)
    db.execute("UPDATE tracks SET duration_s = 31 WHERE number = 2")
    db.commit()
    db.close()
    shutil.copytree(tmp_path / "library", tmp_path / "opened")
    with pytest.raises(LibraryError, match=r"track number 2 .* is damaged"):
        Catalogue(tmp_path / "opened").by_label(2)
    for name in ("library", "opened"):
        assert verify(tmp_path / name).problems == ["rows of tracks that do not match their checksums: 1"]
        assert verify(tmp_path / name, repair=True).tracks == 2
        catalogue = Catalogue(tmp_path / name)
        assert [catalogue.by_label(label) for label in (1, 2, 3)] == [before[0], None, before[2]]
        assert verify(tmp_path / name).problems == []


def test_a_library_of_the_first_version_is_verified(tmp_path: Path) -> None:
    write_version_1(tmp_path / "library")
    assert verify(tmp_path / "library").problems == []


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_a_version_that_is_damaged_is_no_version(tmp_path: Path, version: int) -> None:
    make(tmp_path / "library", "a").close()
    db = sqlite3.connect(tmp_path / "library" / FILE_NAME)
    db.execute(f"PRAGMA user_version = {version}")
    db.close()
    with pytest.raises(LibraryError, match="damaged or not a catalogue"):
        Catalogue(tmp_path / "library")


def test_after_the_migration_nothing_is_embedded_again(
    tmp_path: Path, tones: Path, encoder: LocalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(encoder)
    with MusicSearch(tmp_path / "library", encoder=counting) as ms:
        ms.add(tones, progress=False)
        ids = {Path(hit.path).name: hit.track_id for hit in ms.search("low", k=3)}
        ms.annotate({track_id: {"mood": "calm"} for track_id in ids.values()})
    hashes = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in tones.rglob("*.*")}
    as_version_2(tmp_path / "library", hashes=hashes)
    counting.windows = 0
    # Since it was last added: one is where it was, one has moved, one has another time, and one is a copy.
    (tones / "album/middle.flac").rename(tones / "moved.flac")
    shutil.copyfile(tones / "low.wav", tones / "copy.wav")
    os.utime(tones / "album/high.mp3", (1, 1))

    with MusicSearch(tmp_path / "library", encoder=counting) as ms:
        report = ms.add(tones, progress=False)
        assert (report.added, report.updated, report.unchanged, report.missing) == (1, 0, 3, 0)
        assert counting.windows == 0
        hits = {Path(hit.path).name: hit for hit in ms.search("low", k=9)}
        assert hits.keys() == {"low.wav", "moved.flac", "high.mp3", "copy.wav"}
        kept = {name.replace("moved", "middle"): hit for name, hit in hits.items() if name != "copy.wav"}
        assert {name: hit.track_id for name, hit in kept.items()} == ids
        assert {hit.metadata["mood"] for hit in kept.values()} == {"calm"}
        assert ms._catalogue.knows_sounds()

        # From now on they are known by their sounds.
        monkeypatch.setattr("client.ingest._hash_file", lambda path: pytest.fail(f"{path} is read whole"))
        file = mutagen.File(tones / "moved.flac", easy=True)
        file["title"] = "Another title"
        file.save()
        (tones / "moved.flac").rename(tones / "again.flac")
        report = ms.add(tones, progress=False)
        assert (report.added, report.updated, report.unchanged, report.retagged) == (0, 0, 4, 1)
        assert counting.windows == 0
        hits = {Path(hit.path).name: hit for hit in ms.search("low", k=9)}
        assert hits["again.flac"].track_id == ids["middle.flac"]
        assert hits["again.flac"].metadata == {"title": "Another title", "mood": "calm"}


def test_reembedding_a_library_of_version_2_keeps_the_former_vectors(
    tmp_path: Path, tones: Path, encoder: LocalEncoder
) -> None:
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        ms.add(tones, progress=False)
        before = ms.search("low", k=3)
    hashes = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in tones.rglob("*.*")}
    as_version_2(tmp_path / "library", hashes=hashes)
    os.utime(tones / "low.wav", (1, 1))
    other = LocalEncoder(build_tiny_repository(tmp_path / "other", dim=24, seed=1), device="cpu")
    done = reembed(tmp_path / "library", other, progress=False)
    assert (done.added.updated, done.added.failed, done.lacking) == (3, [], 0)
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        assert ms.search("low", k=3) == before
    other.close()
