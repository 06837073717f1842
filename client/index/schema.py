"""The catalogue's tables, and the migration from older versions."""

import json
import sqlite3
import zlib
from pathlib import Path
from typing import Any

from ..errors import LibraryError
from . import names
from .fields import put_fields

VERSION = 5
APPLICATION_ID = 0x4D757353  # "MusS": tells our file from any other SQLite file
PAGE_SIZE = 8192
"""Page size of a new file, in bytes. It is large because a track's windows are read from a chain of pages."""
READ_AS_IT_IS = 4
"""This older version can be read without migration: only its windows differ, with 32 bits a number."""

_TABLES = (
    """
CREATE TABLE properties (name TEXT PRIMARY KEY, value TEXT NOT NULL, crc32 INTEGER NOT NULL) STRICT;
CREATE TABLE models (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    embedding_dim INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,              -- of those before
    vectors INTEGER NOT NULL DEFAULT 0,  -- how many there are: tells whether damage made rows vanish
    pairs INTEGER NOT NULL DEFAULT 0     -- sum of checksum(track, label) over them
) STRICT;
CREATE TABLE tracks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    track_id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,               -- bytes
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,           -- 0: not known
    content_hash TEXT NOT NULL,          -- of its sound; of a whole file, where version 2 added it: see FileState
    duration_s REAL NOT NULL,
    metadata TEXT NOT NULL,              -- JSON object, from the file
    annotations TEXT NOT NULL,           -- JSON object, from the user
    missing INTEGER NOT NULL,            -- 1: the file was not there when its folder was last added
    warning TEXT NOT NULL,               -- what of the file does not decode; else empty
    crc32 INTEGER NOT NULL               -- of those before
) STRICT;
CREATE INDEX tracks_by_content ON tracks (content_hash);
CREATE TABLE vectors (
    label INTEGER PRIMARY KEY AUTOINCREMENT,
    model INTEGER NOT NULL REFERENCES models,
    track INTEGER NOT NULL REFERENCES tracks,
    vector BLOB NOT NULL,                -- float32 [dim], little-endian, unit L2 norm
    crc32 INTEGER NOT NULL               -- of those before
) STRICT;
CREATE UNIQUE INDEX vectors_by_track ON vectors (track, model);
CREATE INDEX vectors_by_model ON vectors (model);
-- Apart from vectors, so that reading all track vectors does not page through all window vectors.
CREATE TABLE windows (
    label INTEGER PRIMARY KEY REFERENCES vectors ON DELETE CASCADE,
    starts_s BLOB NOT NULL,              -- float32 [windows]
    vectors BLOB NOT NULL,               -- [windows, dim], see `quantized`
    crc32 INTEGER NOT NULL               -- of those before
) STRICT;
CREATE TABLE tombstones (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    label INTEGER NOT NULL
) STRICT;
CREATE TRIGGER vector_added AFTER INSERT ON vectors BEGIN
    UPDATE models SET vectors = vectors + 1, pairs = pairs + checksum(new.track, new.label) WHERE number = new.model;
END;
CREATE TRIGGER vector_removed AFTER DELETE ON vectors BEGIN
    UPDATE models SET vectors = vectors - 1, pairs = pairs - checksum(old.track, old.label) WHERE number = old.model;
    INSERT INTO tombstones VALUES (NULL, old.label);
END;
-- What searches filter by: metadata and annotations, one row a value.
CREATE TABLE fields (
    name TEXT NOT NULL,
    value ANY NOT NULL,                  -- a REAL, or a TEXT, case-folded
    track INTEGER NOT NULL REFERENCES tracks ON DELETE CASCADE,
    PRIMARY KEY (name, value, track)
) STRICT, WITHOUT ROWID;
CREATE INDEX fields_by_track ON fields (track);
CREATE TABLE field_names (
    name TEXT PRIMARY KEY,
    total INTEGER NOT NULL               -- sum of checksum(name, value, track) over its rows
) STRICT;
CREATE TRIGGER field_added AFTER INSERT ON fields BEGIN
    INSERT INTO field_names VALUES (new.name, checksum(new.name, new.value, new.track))
        ON CONFLICT (name) DO UPDATE SET total = total + excluded.total;
END;
CREATE TRIGGER field_removed AFTER DELETE ON fields BEGIN
    UPDATE field_names SET total = total - checksum(old.name, old.value, old.track) WHERE name = old.name;
END;
-- Texts as the models see them, for measuring what a search among this library's tracks finds.
CREATE TABLE probes (
    model INTEGER NOT NULL REFERENCES models,
    kind TEXT NOT NULL,
    vectors BLOB NOT NULL,               -- float32 [n, dim]
    crc32 INTEGER NOT NULL               -- of those before
) STRICT;
CREATE TABLE failed (
    path TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
"""
    + names.TABLE
)

CHECKED = {
    "properties": "name, value",
    "models": "number, name, fingerprint, embedding_dim",
    "tracks": "number, track_id, path, size, mtime_ns, ctime_ns, content_hash, duration_s, metadata, annotations, "
    "missing, warning",
    "vectors": "label, model, track, vector",
    "windows": "label, starts_s, vectors",
    "probes": "model, kind, vectors",
}
"""The columns that a row's crc32 is computed from, by table."""
_TRACKS_2 = "number, track_id, path, size, mtime_ns, content_sha256, duration_s, metadata, annotations, missing"
ORPHANS = {
    "vectors": "track NOT IN (SELECT number FROM tracks) OR label NOT IN (SELECT label FROM windows)",
    "windows": "label NOT IN (SELECT label FROM vectors)",
    "fields": "track NOT IN (SELECT number FROM tracks)",
    "tombstones": "label IN (SELECT label FROM vectors)",
}
"""The condition for orphaned rows, by table, in the order in which they may be deleted. A sound catalogue has none."""
SUMS = {
    "vectors": "SELECT pairs, (SELECT sum(checksum(track, label)) FROM vectors INDEXED BY vectors_by_track "
    "WHERE model = models.number) FROM models",
    "fields": "SELECT total, (SELECT sum(checksum(name, value, track)) FROM fields WHERE name = field_names.name) "
    "FROM field_names",
}
"""Queries that check the tables which filters read, by table.

Each result row holds the stored sum and the actual sum. They must be equal; NULL means 0."""

# Version 1 had one model, and its vectors were in the rows of their tracks. Labels are kept.
_FROM_1 = """
ALTER TABLE tracks RENAME TO tracks_1;
ALTER TABLE windows RENAME TO windows_1;
ALTER TABLE properties RENAME TO properties_1;
ALTER TABLE tombstones RENAME TO tombstones_1;
DROP INDEX tracks_by_content;
{tables}
INSERT INTO properties SELECT name, value, checksum(name, value)
    FROM (SELECT * FROM properties_1 WHERE name = 'library_id' UNION SELECT 'model', '1');
INSERT INTO models SELECT 1, name.value, fingerprint.value, dim.value,
    checksum(1, name.value, fingerprint.value, CAST(dim.value AS INTEGER)), 0, 0
    FROM properties_1 name, properties_1 fingerprint, properties_1 dim
    WHERE (name.name, fingerprint.name, dim.name) = ('model_name', 'fingerprint', 'embedding_dim');
INSERT INTO tracks SELECT label, track_id, path, size, mtime_ns, 0, content_sha256, duration_s, metadata, '{{}}', 0, '',
    checksum(label, track_id, path, size, mtime_ns, 0, content_sha256, duration_s, metadata, '{{}}', 0, '')
    FROM tracks_1;
INSERT INTO vectors SELECT label, 1, label, vector, checksum(label, 1, label, vector) FROM tracks_1;
INSERT INTO windows SELECT label, starts_s, vectors, checksum(label, starts_s, vectors) FROM windows_1;
INSERT INTO tombstones SELECT * FROM tombstones_1;
DELETE FROM sqlite_sequence WHERE name IN ('tracks', 'vectors', 'tombstones');
INSERT INTO sqlite_sequence SELECT new.name, old.seq FROM sqlite_sequence old,
    (SELECT 'tracks' name, 'tracks_1' former UNION SELECT 'vectors', 'tracks_1'
    UNION SELECT 'tombstones', 'tombstones_1') new
    WHERE old.name = new.former;
DROP TABLE windows_1;
DROP TABLE tracks_1;
DROP TABLE tombstones_1;
DROP TABLE properties_1;
"""

# Version 2 identified files by time, size and a hash of all their bytes. Files that failed then may be usable now.
_FROM_2 = f"""
ALTER TABLE tracks RENAME COLUMN content_sha256 TO content_hash;
ALTER TABLE tracks ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tracks ADD COLUMN warning TEXT NOT NULL DEFAULT '';
UPDATE tracks SET crc32 = checksum({CHECKED["tracks"]})
    WHERE crc32 = checksum({_TRACKS_2.replace("content_sha256", "content_hash")});
ALTER TABLE failed ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;
DELETE FROM failed;
"""


def version_of(db: sqlite3.Connection) -> int:
    """The version of the tables; 0 if the file is not ours."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def refuse_newer(db: sqlite3.Connection, *, name: Path) -> None:
    """Raise `LibraryError` if a newer version made this file; the message calls it `name`."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if application == APPLICATION_ID and (version := version_of(db)) > VERSION:
        raise LibraryError(
            f"{name} was written by a newer MusicSearch (schema {version}, this one knows {VERSION}): upgrade "
            "MusicSearch"
        )


def stamp(db: sqlite3.Connection) -> None:
    """Mark the file as a catalogue of this version."""
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def create(db: sqlite3.Connection) -> None:
    """Create the tables in an empty database; the caller holds a transaction."""
    _run(db, _TABLES)


def migrate(db: sqlite3.Connection, *, version: int) -> None:
    """Migrate the tables of `version` to the current version; the caller holds a transaction."""
    if version == 1:
        _run(db, _FROM_1.format(tables=_TABLES))
        for track, metadata in db.execute("SELECT number, metadata FROM tracks").fetchall():
            put_fields(db, track, json.loads(metadata))
    elif version in (2, 3, 4):
        if version == 2:
            _run(db, _FROM_2)
            _compare_anew(db)
        if version < 4:
            _run(db, names.TABLE)
            db.execute(names.FILL)
    else:
        raise sqlite3.DatabaseError(f"there has been no version {version}")


def _compare_anew(db: sqlite3.Connection) -> None:
    """Write the fields of tracks with non-ASCII texts again, because version 2 folded those differently."""
    query = (
        "SELECT number, metadata, annotations FROM tracks WHERE metadata || annotations GLOB '*[^ -~]*' "
        f"AND crc32 = checksum({CHECKED['tracks']})"
    )
    for track, metadata, annotations in db.execute(query).fetchall():
        put_fields(db, track, {**json.loads(metadata), **json.loads(annotations)})


def checked(*, version: int) -> dict[str, str]:
    """`CHECKED` of a former version; empty for version 1, which had no such checksums."""
    return {1: {}, 2: {**CHECKED, "tracks": _TRACKS_2}}.get(version, CHECKED)


def renewed(table: str, row: dict[str, Any], *, version: int) -> dict[str, Any] | None:
    """Convert a sound row of a former version to the current version; None if it is not kept."""
    if version == 2 and table == "failed":
        return None
    if version == 2 and table == "tracks":
        row = {**row, "ctime_ns": 0, "content_hash": row["content_sha256"], "warning": ""}
        del row["content_sha256"]
        row["crc32"] = checksum(*(row[name] for name in CHECKED["tracks"].split(", ")))
    return row


def add_functions(db: sqlite3.Connection) -> None:
    """Add the SQL functions `checksum(value, ...)` and `names_of(...)`."""
    db.create_function("checksum", -1, checksum, deterministic=True)
    names.add_functions(db)


def checksum(*values: str | bytes | float | int) -> int:
    """CRC-32 over the values in order.

    The kind and the length of each value are hashed before it, so bytes cannot move unnoticed to the next value.
    """
    found = 0
    for value in values:
        if isinstance(value, bytes):
            found = zlib.crc32(value, zlib.crc32(b"bytes %d," % len(value), found))
        else:
            kind = b"text" if isinstance(value, str) else b"number"
            content = str(value).encode(errors="surrogatepass")
            found = zlib.crc32(b"%b %d,%b" % (kind, len(content), content), found)
    return found


def _run(db: sqlite3.Connection, statements: str) -> None:
    # `executescript` would commit the transaction.
    statement = ""
    for line in statements.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""
