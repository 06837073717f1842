"""The catalogue: one SQLite file that is the only truth about a library.

A track is a row of `tracks`; what a model made of it is a row of `vectors`. Its `label` is the number by which vector
indexes know that row; labels grow and are never used twice, so a label stands for one vector for ever: a changed
file gets a new label under its old track id. A label that is gone leaves a tombstone. Hence an index that has seen
everything up to `Position(label, tombstone)` catches up by reading what is beyond these two numbers.

A library has one model at a time, and may hold the vectors of others: one that is being built beside it, and those
it had before. An open catalogue reads and writes those of the model that it was opened with.

Track ids are random (64 bits), given when a file is first added and kept when it changes or moves, so that an
application can store them.
"""

import heapq
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryBusy, LibraryError
from ..packets import PREFIX
from ..places import Status, absolute, beginning
from ..recent import Recent
from . import names, quantized, schema
from .exact import is_among
from .fields import Value, check_metadata, field_name, put_fields, read_annotations, select_tracks

FILE_NAME = "catalogue.sqlite3"
REPAIR = "run `music-search verify LIB --repair`, or restore the library from a backup"

_FLOAT32 = np.dtype("<f4")
_KEPT_SELECTED = 2_000_000  # tracks of the last filters: 16 bytes each
_MOVED_AT_ONCE = 1_000  # tracks, with their metadata in memory
_QUANTIZED_AT_ONCE = 256  # tracks, with their windows in memory
_WANTED = "CREATE TEMP TABLE wanted (condition INTEGER NOT NULL, value NOT NULL)"  # what a `where` asks for
_TRACK_COLUMNS = schema.CHECKED["tracks"]
_WRITTEN = f"{_TRACK_COLUMNS}, crc32"
# An index may be damaged too: what it led to must be what was asked for.
_TRACKS = (
    f"SELECT label, {_TRACK_COLUMNS}, tracks.crc32, ifnull("
    "(SELECT track = number FROM vectors AS own WHERE own.label = vectors.label), vectors.label IS NULL) "
    "FROM tracks LEFT JOIN vectors ON vectors.track = number AND model = ? WHERE "
)
_TRACKS_OF_LABELS = (
    f"SELECT label, {_TRACK_COLUMNS}, tracks.crc32, TRUE "
    "FROM vectors LEFT JOIN tracks ON number = track WHERE +model = ? AND label IN (SELECT value FROM json_each(?))"
)


@dataclass(frozen=True)
class FileState:
    """What tells whether a file has changed: size and times at a glance, the hash for certain.

    Attributes:
        content_hash: of its sound, which no retag changes (see `packets.hash_packets`); of an object in a store, of
            what that says of its content (see `remote`); of a file that version 2 of the catalogue added and nobody
            has looked at since, the SHA-256 of all its bytes.
        mtime_ns: of an object in a store, no time, but a number made of what that says of the version, such as its
            ETag.
        ctime_ns: when the file system last changed anything about it, which no program can set: it tells of taggers
            that put the time of the last change back. 0 where it is not known, as after a copy of the library; on
            Windows it is the time at which the file was made, and tells of nothing.
    """

    path: str
    size: int
    mtime_ns: int
    content_hash: str
    ctime_ns: int = 0

    @property
    def knows_sound(self) -> bool:
        """Whether the hash is one of its sound."""
        return self.content_hash.startswith(PREFIX)

    def is_of(self, status: Status) -> bool:
        """Whether size and times are still those of the file that was added."""
        return self.looks_like(status) and self.ctime_ns == status.st_ctime_ns

    def looks_like(self, status: Status) -> bool:
        """The same, as far as they are known."""
        return _looks_like(self, status)


def _looks_like(file: "FileState | FailedFile", status: Status) -> bool:
    is_dated = (file.size, file.mtime_ns) == (status.st_size, status.st_mtime_ns)
    return is_dated and file.ctime_ns in (0, status.st_ctime_ns)


@dataclass(frozen=True)
class Track:
    """A row of the catalogue, without its vectors.

    Attributes:
        number: of the row.
        label: of its vector; None where the model has not embedded it yet.
        tags: what the file says.
        annotations: what the user says, which goes before it.
        is_missing: the file was not there when its folder was last added.
        warning: what of the file does not decode; empty where all of it does.
    """

    number: int
    label: int | None
    track_id: str
    file: FileState
    duration_s: float
    tags: dict[str, Value]
    annotations: dict[str, Value]
    is_missing: bool
    warning: str = ""

    @property
    def metadata(self) -> dict[str, Value]:
        """All that is known about it."""
        return {**self.tags, **self.annotations}


@dataclass(frozen=True)
class TrackVectors:
    """What a model makes of a track.

    Attributes:
        vector: float32 [dim], unit L2 norm.
        starts_s: float32 [windows].
        windows: float32 [windows, dim], unit L2 norm; stored in 8 bits a number (see `quantized`).
    """

    vector: NDArray[np.float32]
    starts_s: NDArray[np.float32]
    windows: NDArray[np.float32]


@dataclass(frozen=True)
class NewTrack:
    """What `Catalogue.put` stores; see `Track`."""

    file: FileState
    duration_s: float
    vectors: TrackVectors
    metadata: Mapping[str, Value] = field(default_factory=dict)
    warning: str = ""


@dataclass(frozen=True)
class FailedFile:
    """A file that could not be used when it looked like this; see `FileState`."""

    path: str
    size: int
    mtime_ns: int
    reason: str
    ctime_ns: int = 0

    def looks_like(self, status: Status) -> bool:
        """Whether size and times are still those of the file that failed, as far as they are known."""
        return _looks_like(self, status)


class Model(NamedTuple):
    """The model that makes a library's vectors."""

    name: str
    fingerprint: str
    dim: int


class _Selection(NamedTuple):
    """Tracks that fit a filter.

    Attributes:
        labels, tracks: int64 [n], their labels and their numbers, each in ascending order.
    """

    labels: NDArray[np.int64]
    tracks: NDArray[np.int64]


class Position(NamedTuple):
    """How much of the catalogue's history an index has seen."""

    label: int
    tombstone: int


class Catalogue:
    """An open catalogue. Reading needs no lock; what changes it belongs in `with writing():`.

    Threads may share it; each waits for the others' queries. (SQLite would let them wait by itself, but our functions
    in SQL need Python's lock, which Python keeps while it waits for SQLite's: two threads would wait for each other.)

    Args:
        folder: of the library.
        create: the model of a new library; None opens existing libraries only.

    Raises:
        LibraryError: there is none (and `create` is None), it is damaged, or a newer version made it.
    """

    def __init__(self, folder: Path, *, create: Model | None = None) -> None:
        self.folder = folder
        self._turn = threading.RLock()
        path = folder / FILE_NAME
        if create is None and not path.is_file():
            raise LibraryError(f"no library at {folder}: make one with `music-search add {folder} PATH...`")
        with translated(path):
            folder.mkdir(parents=True, exist_ok=True)
            self._db = connect(path)
            try:
                self._open(create)
            except BaseException:
                self._db.close()
                raise

    def _open(self, create: Model | None) -> None:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        version = schema.version_of(self._db)
        is_new = create is not None and self._is_empty()
        if application != schema.APPLICATION_ID and not is_new:
            raise LibraryError(f"{self.folder / FILE_NAME} is not a MusicSearch catalogue: choose another folder")
        schema.refuse_newer(self._db, name=self.folder)
        if is_new:
            self._db.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # a commit that was reported survives a power cut
        self._db.execute("PRAGMA foreign_keys = ON")
        schema.add_functions(self._db)
        if version < schema.VERSION:
            try:
                self._renew(create)
            except sqlite3.OperationalError as exc:
                if version != schema.READ_AS_IT_IS or exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                    raise
        self._db.execute(_WANTED)
        self._changes_of_wanted = 0
        self.library_id = self._property("library_id")
        self._use(int(self._property("model")))

    def _renew(self, create: Model | None) -> None:
        """Make the tables, or today's of an older version's."""
        with self._transaction():
            # Another process may have been quicker.
            if create is not None and self._is_empty():
                schema.create(self._db)
                self._set("library_id", secrets.token_hex(16))
                self._set("model", str(self._number_of(create)))
            elif schema.version_of(self._db) < schema.VERSION:
                schema.migrate(self._db, version=schema.version_of(self._db))
            schema.stamp(self._db)

    def _use(self, number: int) -> None:
        self.model_number = number
        self._summed: set[tuple[str, int | str]] = set()
        self._selections: tuple[tuple[int, int], Recent[_Selection]] | None = None  # of a state
        query = (
            "SELECT name, fingerprint, embedding_dim, checksum(number, name, fingerprint, embedding_dim) = crc32 "
            "FROM models WHERE number = ?"
        )
        *row, is_sound = self._one(query, number)
        if not is_sound:
            raise self._damaged(f"model number {number}")
        self.model = Model(*row)
        self.dim = self.model.dim

    def _is_empty(self) -> bool:
        return bool(self._db.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0])

    def _property(self, name: str) -> str:
        query = "SELECT value, checksum(name, value) = crc32 FROM properties WHERE name = ?"
        value, is_sound = self._one(query, name)
        if not is_sound:
            raise self._damaged(f"the property {name}")
        return str(value)

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO properties VALUES (?1, ?2, checksum(?1, ?2))", (name, value))

    def _number_of(self, model: Model) -> int:
        """Its number in `models`, where it is entered if it is new."""
        query = "SELECT number FROM models WHERE fingerprint = ?"
        if not (rows := self.rows(query, model.fingerprint)):
            (number,) = self._one("SELECT ifnull(max(number), 0) + 1 FROM models")
            self._db.execute(
                "INSERT INTO models (number, name, fingerprint, embedding_dim, crc32) VALUES (?, ?, ?, ?, ?)",
                (number, *model, schema.checksum(number, *model)),
            )
            rows = [(number,)]
        return int(rows[0][0])

    @property
    def name(self) -> str:
        """Of the library, for people."""
        return str(self.folder)

    def close(self) -> None:
        self._db.close()

    # -- writing ---------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer of this library for the length of the block.

        Raises:
            LibraryBusy: another process or MusicSearch is.
        """
        with write_lock(self.folder):
            yield

    def put(self, tracks: Sequence[NewTrack]) -> None:
        """Store new tracks and new versions of tracks, all or none; durable when this returns.

        A track replaces the one at its path, which hands on its track id and annotations; so putting twice changes
        nothing.

        Raises:
            LibraryError: a vector that no model makes; QueryError: metadata that cannot be stored.
        """
        with self._changing():
            for track in tracks:
                check_vectors(track.vectors, dim=self.dim, of=track.file.path)
                check_metadata(track.metadata)
                replaced = self.by_path(track.file.path)
                if replaced is not None and replaced.file.content_hash == track.file.content_hash:
                    self._db.execute("DELETE FROM vectors WHERE label = ?", (replaced.label,))
                elif replaced is not None:  # nor are its vectors of other models good any more
                    self._db.execute("DELETE FROM vectors WHERE track = ?", (replaced.number,))
                number = self._put_row(
                    replaced.number if replaced else None,
                    replaced.track_id if replaced else secrets.token_hex(8),
                    track.file,
                    float(track.duration_s),
                    to_json(track.metadata),
                    self._texts(replaced.number)[1] if replaced else "{}",
                    warning=track.warning,
                )
                self._put_vectors(number, track.vectors)
                self._db.execute("DELETE FROM failed WHERE path = ?", (track.file.path,))

    def put_vectors(self, vectors: Mapping[int, TrackVectors]) -> None:
        """What the model made of tracks that are here already, by their numbers; durable when this returns."""
        with self._changing():
            for number, made in vectors.items():
                check_vectors(made, dim=self.dim, of=f"track number {number}")
                self._db.execute("DELETE FROM vectors WHERE track = ? AND model = ?", (number, self.model_number))
                self._put_vectors(number, made)

    def touch(
        self, files: Mapping[str, FileState], *, tags: Mapping[str, Mapping[str, Value]] = MappingProxyType({})
    ) -> None:
        """By track id: the same sound under another path, at another time or with other tags, and there. All or none.

        A path may be that of another track, if that goes elsewhere too.

        Args:
            tags: of these tracks among them, what their files say now.
        """
        with self._changing():
            tracks = {track_id: self._known(track_id) for track_id in files}
            for track_id, file in files.items():
                if file.path != tracks[track_id].file.path:  # each is unique: of two that swap, none could go first
                    self._db.execute("UPDATE tracks SET path = track_id WHERE track_id = ?", (track_id,))
            for track_id, file in files.items():
                track = tracks[track_id]
                metadata, annotations = self._texts(track.number)
                if track_id in tags:
                    check_metadata(tags[track_id])
                    metadata = to_json(tags[track_id])
                row = (track.number, track_id, file, track.duration_s, metadata, annotations)
                self._put_row(*row, warning=track.warning)
                self._db.execute("DELETE FROM failed WHERE path = ?", (file.path,))

    def annotate(self, annotations: Mapping[str, Mapping[str, Value | None]]) -> None:
        """Set what the user knows about tracks, by track id; a value of None takes an annotation back. All or none.

        Raises:
            LibraryError: one of them is not here; QueryError: a value that cannot be stored.
        """
        with self._changing():
            for track_id, changes in read_annotations(annotations).items():
                track = self._known(track_id)
                metadata, former = self._texts(track.number)
                merged = {name: value for name, value in {**json.loads(former), **changes}.items() if value is not None}
                check_metadata(merged)
                row = (track.number, track_id, track.file, track.duration_s, metadata, to_json(merged))
                self._put_row(*row, warning=track.warning, is_missing=track.is_missing)

    def remove(self, track_ids: Iterable[str]) -> None:
        """Forget these tracks, all or none.

        Raises:
            LibraryError: one of them is not here; nothing is removed.
        """
        with self._changing():
            for track_id in dict.fromkeys(track_ids):
                number = self._known(track_id).number
                self._db.execute("DELETE FROM vectors WHERE track = ?", (number,))
                self._db.execute("DELETE FROM tracks WHERE number = ?", (number,))

    def mark_missing(self, numbers: Iterable[int]) -> None:
        """The files of these tracks are not there."""
        with self._changing():
            query = (
                "UPDATE tracks SET missing = 1, "
                f"crc32 = checksum({_TRACK_COLUMNS.replace('missing', '1')}) "
                f"WHERE number = ? AND crc32 = checksum({_TRACK_COLUMNS})"  # damage must stay visible
            )
            self._db.executemany(query, [(number,) for number in numbers])

    def note_failed(self, files: Iterable[FailedFile]) -> None:
        """Remember files that cannot be used, so that they are not tried again before they change."""
        rows = [(file.path, file.size, file.mtime_ns, file.ctime_ns, file.reason) for file in files]
        if rows:
            with self._changing():
                query = "INSERT OR REPLACE INTO failed (path, size, mtime_ns, ctime_ns, reason) VALUES (?, ?, ?, ?, ?)"
                self._db.executemany(query, rows)

    def forget_failed(self, paths: Iterable[str]) -> None:
        """Files that are gone, or are to be tried again."""
        with self._changing():
            self._db.executemany("DELETE FROM failed WHERE path = ?", [(path,) for path in paths])

    def put_probes(self, probes: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep texts as the model sees them, by their kind: float32 [n, dim] each."""
        with self._changing():
            self._db.execute("DELETE FROM probes WHERE model = ?", (self.model_number,))
            self._db.executemany(
                "INSERT INTO probes VALUES (?1, ?2, ?3, checksum(?1, ?2, ?3))",
                [(self.model_number, kind, to_blob(vectors)) for kind, vectors in probes.items()],
            )

    def move(self, beginnings: Mapping[str, str]) -> None:
        """Change how paths begin: from the keys to the values, whole folder names only. All or none."""
        firsts = {beginning(before): beginning(after) for before, after in beginnings.items()}
        query, last = f"{_TRACKS} number > ? ORDER BY number LIMIT {_MOVED_AT_ONCE}", 0
        with self._changing():
            while firsts and (tracks := self._tracks(query, last)):
                for track in tracks:
                    self._move(track, firsts)
                last = tracks[-1].number

    def _move(self, track: Track, firsts: Mapping[str, str]) -> None:
        for first, after in firsts.items():
            if track.file.path.startswith(first):
                file = replace(track.file, path=after + track.file.path[len(first) :])
                row = (track.number, track.track_id, file, track.duration_s, *self._texts(track.number))
                self._put_row(*row, warning=track.warning, is_missing=track.is_missing)
                return

    def forget_ctimes(self) -> None:
        """The files are on another disk, which has times of its own."""
        with self._changing():
            query = (
                f"UPDATE tracks SET ctime_ns = 0, crc32 = checksum({_TRACK_COLUMNS.replace('ctime_ns', '0')}) "
                f"WHERE crc32 = checksum({_TRACK_COLUMNS})"  # damage must stay visible
            )
            self._db.execute(query)
            self._db.execute("UPDATE failed SET ctime_ns = 0")

    def forget_the_past(self) -> None:
        """Drop the vectors of other models and all tombstones, make windows small that an older version wrote, and give
        the space back to the disk.

        An index that has not seen the tombstones finds fewer vectors than it holds, and is made anew.
        """
        with self._changing():
            for table in ("vectors", "probes"):
                self._db.execute(f"DELETE FROM {table} WHERE model <> ?", (self.model_number,))
            self._db.execute("DELETE FROM models WHERE number <> ?", (self.model_number,))
            self._db.execute("DELETE FROM tombstones")
        done: int | None = 0
        while done is not None:
            done = self._quantize_after(done)
        with translated(self.folder):
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _quantize_after(self, label: int) -> int | None:
        """Make 8 bits of the next windows after `label` that an older version wrote in 32; the label of the last.

        However that ends, all can be read, and another call goes on.
        """
        query = (
            "SELECT label FROM windows WHERE label > ? AND length(vectors) = length(starts_s) * ? ORDER BY label "
            "LIMIT ?"
        )
        with self._changing():
            labels = [row[0] for row in self.rows(query, label, self.dim, _QUANTIZED_AT_ONCE)]
            tracks, wide = self.vectors_of(labels), self.windows_of(labels)
            query = "UPDATE windows SET vectors = ?1, crc32 = checksum(label, starts_s, ?1) WHERE label = ?2"
            for number in labels:
                self._db.execute(query, (quantized.quantize(wide[number][1], track=tracks[number]), number))
        return labels[-1] if labels else None

    def copy_to(self, path: Path) -> None:
        """Write the catalogue into a new file, as small as can be."""
        with translated(path):
            self._db.execute("VACUUM INTO ?", (str(path),))

    def become_another(self) -> None:
        """Give a copied library an identity of its own, so that nobody takes the index of one for the other's."""
        with self._changing():
            self._set("library_id", secrets.token_hex(16))
        self.library_id = self._property("library_id")

    def _put_row(
        self,
        number: int | None,
        track_id: str,
        file: FileState,
        duration_s: float,
        metadata: str,
        annotations: str,
        *,
        warning: str,
        is_missing: bool = False,
    ) -> int:
        columns = (
            self._next("tracks") if number is None else number,
            track_id,
            file.path,
            file.size,
            file.mtime_ns,
            file.ctime_ns,
            file.content_hash,
            duration_s,
            metadata,
            annotations,
            int(is_missing),
            warning,
        )
        self._db.execute(
            f"INSERT INTO tracks ({_WRITTEN}) VALUES ({', '.join('?' * (len(columns) + 1))}) "
            f"ON CONFLICT (number) DO UPDATE SET ({_WRITTEN}) = (excluded.{_WRITTEN.replace(', ', ', excluded.')})",
            (*columns, schema.checksum(*columns)),
        )
        put_fields(self._db, columns[0], {**json.loads(metadata), **json.loads(annotations)})
        return columns[0]

    def _put_vectors(self, number: int, vectors: TrackVectors) -> None:
        label = self._next("vectors")
        for table, row in (
            ("vectors", (label, self.model_number, number, to_blob(vectors.vector))),
            ("windows", (label, to_blob(vectors.starts_s), quantized.quantize(vectors.windows, track=vectors.vector))),
        ):
            self._db.execute(
                f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))}, ?)", (*row, schema.checksum(*row))
            )

    def _next(self, table: str) -> int:
        """A row number that was never given before."""
        rows = self.rows("SELECT seq FROM sqlite_sequence WHERE name = ?", table)
        return int(rows[0][0]) + 1 if rows else 1

    def _texts(self, number: int) -> tuple[str, str]:
        """A track's metadata and annotations, as they are stored."""
        metadata, annotations = self._one("SELECT metadata, annotations FROM tracks WHERE number = ?", number)
        return metadata, annotations

    def _known(self, track_id: str) -> Track:
        track = self.by_id(track_id)
        if track is None:
            raise LibraryError(f"no track {track_id!r} in {self.folder}: searches show the ids of its tracks")
        return track

    def _damaged(self, what: str) -> LibraryError:
        return LibraryError(f"{what} in {self.folder} is damaged: {REPAIR}")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with translated(self.folder), self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._turn:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # SQLite itself ends it on some errors, such as a full disk
                    self._db.execute("ROLLBACK")

    # -- the model -------------------------------------------------------------------------------------

    def beside(self, model: Model) -> "Catalogue":
        """This library, opened once more, with the vectors of another model, which it may not have yet."""
        with self._changing():
            number = self._number_of(model)
        other = Catalogue(self.folder)
        other._use(number)
        return other

    def make_current(self) -> None:
        """Make the model of this open catalogue the library's, for all who open it from now on.

        Raises:
            LibraryError: it has not embedded every track.
        """
        with self._changing():
            lacking = self.totals()[0] - len(self)
            if lacking:
                raise LibraryError(f"{self.model.name} has not embedded {lacking} tracks of {self.folder} yet")
            self._set("model", str(self.model_number))

    def is_current(self) -> bool:
        """Whether the library's model is still the one that this catalogue was opened with."""
        return int(self._property("model")) == self.model_number

    def lacking(self) -> list[str]:
        """The paths of the tracks that the model has not embedded, in the order in which they were added."""
        query = (
            "SELECT path FROM tracks WHERE number NOT IN (SELECT track FROM vectors WHERE model = ?) ORDER BY number"
        )
        return [row[0] for row in self.rows(query, self.model_number)]

    # -- reading ---------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within the block, every read sees the same state, whatever a writer commits meanwhile."""
        with self._turn:
            with translated(self.folder):
                is_nested = self._db.in_transaction
                if not is_nested:
                    self._db.execute("BEGIN")
            try:
                yield
            finally:
                if not is_nested and self._db.in_transaction:
                    self._db.execute("ROLLBACK")  # nothing was written

    def __len__(self) -> int:
        """Tracks that the model has embedded."""
        rows = self.rows("SELECT vectors FROM models WHERE number = ?", self.model_number)
        if not rows:
            raise LibraryError(
                f"{self.folder} has gone over to another model and dropped the vectors of {self.model.name}: open it "
                "again with that model"
            )
        return int(rows[0][0])

    def totals(self) -> tuple[int, float]:
        """Tracks, and their length together in seconds."""
        query = f"SELECT count(*), total(duration_s), total(checksum({_TRACK_COLUMNS}) IS NOT crc32) FROM tracks"
        count, duration_s, damaged = self._one(query)
        if damaged:
            raise self._damaged("the list of tracks")
        return count, duration_s

    def position(self) -> Position:
        """The end of the history so far."""
        ends = dict(self.rows("SELECT name, seq FROM sqlite_sequence"))
        return Position(ends.get("vectors", 0), ends.get("tombstones", 0))

    def state(self) -> tuple[int, int]:
        """Differs from what it was if anything in the catalogue was changed since, by whomever."""
        with self._turn:
            ((version,),) = self.rows("PRAGMA data_version")
            return version, self._db.total_changes - self._changes_of_wanted

    def vectors(self, *, rows_at_once: int = 8192) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """All living vectors, in parts; see `vectors_after`."""
        return self.vectors_after(0, rows_at_once=rows_at_once)

    def vectors_after(
        self, label: int, *, rows_at_once: int = 8192
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """The living vectors beyond `label`, in parts: labels int64 [n] ascending, vectors float32 [n, dim].

        Raises:
            LibraryError: a stored vector does not match its checksum.
        """
        while True:
            labels, vectors = self._vectors("label > ? ORDER BY label", label, rows=rows_at_once)
            if len(labels) == 0:
                return
            yield labels, vectors
            label = int(labels[-1])

    def newest_vectors(self, label: int, *, rows: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The last living vectors up to `label`: labels int64 [n] descending, vectors float32 [n, dim]."""
        return self._vectors("label <= ? ORDER BY label DESC", label, rows=rows)

    def _vectors(self, condition: str, label: int | str, *, rows: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        # The plus keeps SQLite off the index by model, which would cost one more look-up for each label.
        query = f"SELECT label, vector, model, track, crc32 FROM vectors WHERE +model = ? AND {condition} LIMIT ?"
        found = self.rows(query, self.model_number, label, rows)
        for number, blob, model, track, crc32 in found:
            if schema.checksum(number, model, track, blob) != crc32 or len(blob) != self.dim * _FLOAT32.itemsize:
                raise self._damaged(f"vector number {number}")
        labels = np.array([row[0] for row in found], dtype=np.int64)
        if len(np.unique(labels)) < len(labels):
            raise self._damaged("the list of vectors")
        return labels, _from_blob(b"".join(row[1] for row in found), dim=self.dim)

    def vectors_of(self, labels: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """By label, float32 [dim]; those that are not here are left out."""
        condition = "label IN (SELECT value FROM json_each(?)) ORDER BY label"
        found, vectors = self._vectors(condition, json.dumps(list(labels)), rows=len(labels))
        return dict(zip(found.tolist(), vectors, strict=True))

    def sample(self, rows: int) -> NDArray[np.float32]:
        """About so many living vectors from everywhere, float32 [n, dim], the same at each call; all where there are
        not many more."""
        if len(self) > 2 * rows:
            drawn = np.random.default_rng(0).integers(1, self.position().label + 1, size=rows)
            found = list(self.vectors_of(drawn.tolist()).values())
            if len(found) >= rows // 4:  # else most labels are those of removed tracks
                return np.array(found, np.float32)
        return next(self.vectors(rows_at_once=2 * rows), (None, np.empty((0, self.dim), np.float32)))[1]

    def tombstones_after(self, sequence: int) -> NDArray[np.int64]:
        """Labels that were removed beyond `sequence`, int64 [n]."""
        query = "SELECT label, label IN (SELECT label FROM vectors) FROM tombstones WHERE sequence > ?"
        rows = self.rows(query, sequence)
        if any(label is None or is_alive for label, is_alive in rows):
            raise self._damaged("the list of removed vectors")
        return np.array([label for label, _ in rows], dtype=np.int64)

    def labels(self, where: Mapping[str, Any]) -> NDArray[np.int64]:
        """The labels of the tracks that fit, int64 [n] ascending; see `fields.select_tracks`."""
        return self._selected(where).labels

    def _selected(self, where: Mapping[str, Any]) -> _Selection:
        """The tracks that fit; the last of such are kept until the catalogue changes."""
        with self.reading():
            state, key = self.state(), repr(where)
            if self._selections is None or self._selections[0] != state:
                self._selections = state, Recent(most=_KEPT_SELECTED, size=lambda selection: len(selection.labels))
            kept = self._selections[1]
            if key not in kept:
                kept.keep(key, self._select(where))
            return kept[key]

    def _select(self, where: Mapping[str, Any]) -> _Selection:
        selected, parameters, wanted = select_tracks(where, known=self.known_fields())
        # What a filter reads has no row to be checked with: its sums are, once.
        self._check_sums("vectors", "number", self.model_number)
        for name in map(field_name, where):
            self._check_sums("fields", "name", name)
        query = (
            "SELECT label, track FROM vectors INDEXED BY vectors_by_track "
            f"WHERE model = ? AND track IN ({selected}) ORDER BY label"
        )
        with self._staged(wanted):
            found = np.array(self.rows(query, self.model_number, *parameters), np.int64).reshape(-1, 2)
        return _Selection(found[:, 0].copy(), np.sort(found[:, 1]))

    def known_fields(self) -> list[str]:
        """The names of the metadata that some track has."""
        return [row[0] for row in self.rows("SELECT name FROM field_names WHERE total <> 0 ORDER BY name")]

    def named_like(self, text: str, *, where: Mapping[str, Any] | None = None) -> dict[int, float]:
        """By label, the tracks that may be meant by a name, and how well it fits: see `names.fit`.

        Args:
            where: only these; see `fields.select_tracks`.
        """
        typed = names.plain(text.replace("\0", " "))  # which would end FTS5's own text
        lines: dict[int, str] = {}
        with self.reading():
            chosen = None if where is None else self._selected(where).tracks
            for match in names.as_matches(typed):
                lines.update(self._lines_like(match, among=chosen))
            fits = {number: fit for number, line in lines.items() if (fit := names.fit(typed, line))}
            best = heapq.nlargest(names.MOST_FOUND, fits, key=lambda number: (fits[number], -number))
            tracks = self._tracks(f"{_TRACKS} number IN (SELECT value FROM json_each(?))", json.dumps(best))
            if len(tracks) < len(best) or any(
                names.as_lines(track.metadata, path=track.file.path) != lines[track.number] for track in tracks
            ):
                raise self._damaged("the list of names")
        return {track.label: fits[track.number] for track in tracks if track.label is not None}

    def _lines_like(self, match: str, *, among: NDArray[np.int64] | None) -> list[tuple[int, str]]:
        """By number, the names of tracks that FTS5 finds; not of more than are to be looked at."""
        if among is None:
            query = "SELECT rowid, lines FROM names WHERE names MATCH ? LIMIT ?"
            return self.rows(query, match, names.MOST_CANDIDATES)
        rows = self.rows("SELECT rowid FROM names WHERE names MATCH ?", match)
        found = np.array([number for (number,) in rows], np.int64)
        chosen = found[is_among(found, among)][: names.MOST_CANDIDATES]
        query = "SELECT rowid, lines FROM names WHERE rowid IN (SELECT value FROM json_each(?))"
        return self.rows(query, json.dumps(chosen.tolist()))

    @contextmanager
    def _staged(self, wanted: Sequence[tuple[int, str | float]]) -> Iterator[None]:
        """Within the block, these are the rows of `wanted`, a table of this connection alone."""
        before = self._db.total_changes
        with self.reading(), translated(self.folder):
            self._db.executemany("INSERT INTO temp.wanted VALUES (?, ?)", wanted)
            try:
                yield
            finally:
                self._db.execute("DELETE FROM temp.wanted")
                self._changes_of_wanted += self._db.total_changes - before

    def _check_sums(self, table: str, column: str, value: int | str) -> None:
        if (table, value) not in self._summed:
            for expected, found in self.rows(f"{schema.SUMS[table]} WHERE {column} = ?", value):
                if expected != (found or 0):
                    raise self._damaged(f"the list of {table}")
            self._summed.add((table, value))

    def windows(self, label: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Start times float32 [windows] in seconds, and vectors float32 [windows, dim].

        Raises:
            LibraryError: there are none, or they do not match their checksum.
        """
        return self.windows_of([label])[label]

    def windows_of(self, labels: Sequence[int]) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """By label, what `windows` gives."""
        query = "SELECT label, starts_s, vectors, crc32 FROM windows WHERE label IN (SELECT value FROM json_each(?))"
        tracks = self.vectors_of(labels)
        found = {}
        for label, starts_s, vectors, crc32 in self.rows(query, json.dumps(list(labels))):
            if schema.checksum(label, starts_s, vectors) != crc32 or label not in tracks:
                raise self._damaged(f"windows of vector number {label}")
            times = _from_blob(starts_s, dim=1).reshape(-1)
            found[label] = times, quantized.read(vectors, count=len(times), track=tracks[label])
        for label in set(labels) - found.keys():
            raise LibraryError(f"the windows of vector number {label} vanished from {self.folder}: {REPAIR}")
        return found

    def vector(self, label: int) -> NDArray[np.float32]:
        """float32 [dim]."""
        labels, vectors = self.newest_vectors(label, rows=1)
        if labels.tolist() != [label]:
            raise LibraryError(f"vector number {label} vanished from {self.folder} while it was read")
        only: NDArray[np.float32] = vectors[0]
        return only

    def probes(self, kind: str | None = None) -> NDArray[np.float32]:
        """float32 [n, dim]: those of one kind, or all."""
        query = (
            "SELECT vectors, checksum(model, kind, vectors) = crc32 FROM probes "
            "WHERE model = ?1 AND kind = ifnull(?2, kind)"
        )
        rows = self.rows(query, self.model_number, kind)
        if not all(is_sound for _, is_sound in rows):
            raise self._damaged("the list of probes")
        return _from_blob(b"".join(vectors for vectors, _ in rows), dim=self.dim)

    def by_labels(self, labels: Sequence[int]) -> list[Track]:
        """The tracks with these labels, in no order; those that are gone are left out."""
        return self._tracks(_TRACKS_OF_LABELS, json.dumps(list(labels)))

    def accept_gone(self, label: int) -> None:
        """Of a label that a search found under `reading`, `by_labels` knows nothing: here that is damage.

        Raises:
            LibraryError: always.
        """
        raise self._damaged(f"vector number {label}, whose track is not there,")

    def by_label(self, label: int) -> Track | None:
        return next(iter(self.by_labels([label])), None)

    def by_id(self, track_id: str) -> Track | None:
        return next(iter(self._by("track_id", track_id)), None)

    def by_ids(self, track_ids: Sequence[str]) -> list[Track]:
        """The tracks with these ids, in no order; those that are not here are left out."""
        tracks = self._tracks(f"{_TRACKS} track_id IN (SELECT value FROM json_each(?))", json.dumps(list(track_ids)))
        if {track.track_id for track in tracks} - set(track_ids):
            raise self._damaged("the index of tracks by track_id")
        return tracks

    def by_path(self, path: str) -> Track | None:
        return next(iter(self._by("path", path)), None)

    def named(self, name: str | Path) -> Track:
        """The track that is named by its id or its path.

        Raises:
            LibraryError: there is none.
        """
        track = self.by_id(str(name)) or self.by_path(absolute(name))
        if track is None:
            raise LibraryError(f"no track with the id or path {str(name)!r} in {self.folder}")
        return track

    def by_content(self, content_hash: str) -> list[Track]:
        return self._by("content_hash", content_hash)

    def knows_sounds(self) -> bool:
        """Whether every file's hash is one of its sound; see `FileState`."""
        # The digits of those of whole files come before the prefix in any order of characters.
        return not self.rows("SELECT 1 FROM tracks WHERE content_hash < ? LIMIT 1", PREFIX)

    def below(self, folder: str) -> list[tuple[int, str]]:
        """Number and path of each track under a folder that is not known to be missing."""
        first = beginning(folder)
        # The text after all that begin with `first`: its last character, the separator, raised by one.
        query = "SELECT number, path FROM tracks WHERE path >= ? AND path < ? AND NOT missing"
        return self.rows(query, first, first[:-1] + chr(ord(first[-1]) + 1))

    def missing(self) -> list[Track]:
        """The tracks whose files have vanished."""
        return self._chosen("missing")

    def warned(self) -> list[Track]:
        """The tracks of whose files something does not decode."""
        return self._chosen("warning <> ''")

    def _chosen(self, condition: str) -> list[Track]:
        # A damaged row might not be chosen, and so not be noticed.
        chosen = f"({condition} OR checksum({_TRACK_COLUMNS}) IS NOT tracks.crc32)"
        return self._tracks(f"{_TRACKS} {chosen} ORDER BY number")

    def failed(self) -> list[FailedFile]:
        """The files that could not be used, by path."""
        query = "SELECT path, size, mtime_ns, reason, ctime_ns FROM failed ORDER BY path"
        return [FailedFile(*row) for row in self.rows(query)]

    def _by(self, column: str, value: str) -> list[Track]:
        tracks = self._tracks(f"{_TRACKS} {column} = ? ORDER BY number", value)
        for track in tracks:
            if value not in (track.track_id, track.file.path, track.file.content_hash):
                raise self._damaged(f"the index of tracks by {column}")
        return tracks

    def _tracks(self, query: str, *values: int | str) -> list[Track]:
        tracks = []
        for label, *columns, crc32, is_its_label in self.rows(query, self.model_number, *values):
            number, track_id, path, size, mtime_ns, ctime_ns, content_hash, duration_s, *texts, is_missing, warning = (
                columns
            )
            if not is_its_label or schema.checksum(*columns) != crc32:
                raise self._damaged(f"track number {number}")
            if label is None:  # or only the index that leads to it does not know
                self._check_sums("vectors", "number", self.model_number)
            file = FileState(path, size, mtime_ns, content_hash, ctime_ns)
            tags, annotations = map(json.loads, texts)
            tracks.append(
                Track(number, label, track_id, file, duration_s, tags, annotations, bool(is_missing), warning)
            )
        return tracks

    def _one(self, query: str, *values: int | str) -> tuple[Any, ...]:
        rows = self.rows(query, *values)
        if not rows:
            raise LibraryError(f"number {values} vanished from {self.folder} while it was read")
        return rows[0]

    def rows(self, query: str, *values: int | str | float | None) -> list[tuple[Any, ...]]:
        """What a query of SQL selects; its errors are ours."""
        try:
            with self._turn:
                return self._db.execute(query, values).fetchall()
        except UnicodeEncodeError:  # a name that is no UTF-8 is in no catalogue
            return []
        except (sqlite3.Error, UnicodeDecodeError):
            with translated(self.folder):
                raise


def connect(path: Path) -> sqlite3.Connection:
    """Open a catalogue's file in autocommit, as transactions are explicit; for threads that take turns.

    SQLite makes files beside it even to read it. Where it must not, and there are none, as on a read-only disk, the
    file is read as one that nobody changes; what a writer elsewhere does to it meanwhile may look like damage.
    """
    is_fixed = path.exists() and not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
    uri = f"{path.absolute().as_uri()}?immutable={int(is_fixed)}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30.0)


def check_vectors(vectors: TrackVectors, *, dim: int, of: str) -> None:
    """Raise `LibraryError` unless a model can have made these vectors of a track."""
    for name, rows in (("vector", vectors.vector[None]), ("windows", vectors.windows)):
        norms = np.linalg.norm(rows, axis=1)
        if rows.shape[1:] != (dim,) or not np.all(np.abs(norms - 1.0) <= 1e-3):
            raise LibraryError(
                f"refused the {name} of {of}: expected unit vectors of {dim} numbers, "
                f"got shape {list(rows.shape)} and norms {norms.round(3).tolist()}"
            )


@contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Be the one writer of the library in a folder; see `Catalogue.writing`."""
    # A second SQLite file is the lock: the operating system releases it with the process, however
    # that ends, and SQLite knows how to take such a lock on every platform.
    path = folder / "writer.lock"
    with translated(path):
        lock = sqlite3.connect(path, isolation_level=None, timeout=0.0, check_same_thread=False)
    try:
        with translated(path):
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.DatabaseError as exc:
                if exc.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                    raise LibraryError(f"{path} is damaged: remove it") from exc
                if exc.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                    raise LibraryBusy(
                        f"{folder} is being written to, such as by `music-search add`: wait for that to end, or stop it"
                    ) from exc
                raise
        yield
    finally:
        lock.close()


@contextmanager
def translated(path: str | os.PathLike[str]) -> Iterator[None]:
    """SQLite's and the file system's errors as ours."""
    try:
        yield
    except sqlite3.ProgrammingError as exc:
        raise LibraryError(f"{path} is closed: open the library again") from exc
    except (sqlite3.Error, json.JSONDecodeError, UnicodeDecodeError) as exc:
        if not is_damage(exc):
            raise LibraryError(f"cannot use {path}: {exc}; check the disk, its free space and permissions") from exc
        raise LibraryError(f"{path} is damaged or not a catalogue ({exc}): restore it from a backup") from exc
    except OSError as exc:
        raise LibraryError(f"cannot use {path} as a library: {exc.strerror}") from exc


def is_damage(exc: Exception) -> bool:
    """Whether an error tells of what is in the file, and not of its disk, locks and permissions."""
    # A damaged schema or text is an OperationalError too, of no code or the general one.
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return not isinstance(exc, sqlite3.OperationalError) or code == sqlite3.SQLITE_ERROR


def to_json(metadata: Mapping[str, Value]) -> str:
    """As the catalogue stores it."""
    return json.dumps(dict(metadata), ensure_ascii=False, default=np.generic.item)


def to_blob(vectors: NDArray[np.float32]) -> bytes:
    """As the catalogue stores them."""
    return np.ascontiguousarray(vectors, dtype=_FLOAT32).tobytes()


def _from_blob(blob: bytes, *, dim: int) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = np.frombuffer(blob, _FLOAT32).reshape(-1, dim)
    return vectors
