"""A library that an older version wrote opens as one of today's, with everything in it."""

import json
import sqlite3
import zlib
from pathlib import Path

import numpy as np
import pytest

from client import LibraryError
from client.index import schema
from client.index.catalogue import FILE_NAME, Catalogue, Model, Position
from client.index.maintenance import verify
from tests.client.test_catalogue import DIM, new_track, unit

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
