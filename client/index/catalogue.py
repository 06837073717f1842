"""The catalogue: one SQLite file, the only source of truth about a library.

A track is a row of `tracks`. The vector that a model made of it is a row of `vectors`, which vector indexes know by its
`label`. Labels only grow and are never reused, so a label means one vector for ever. A changed file gets a new label
and keeps its track id. A removed label leaves a tombstone. So an index that has seen everything up to
`Position(label, tombstone)` catches up by reading the rows after these two numbers.

A library has one current model. It may also hold vectors of other models: of a new model that is being built next to
it, and of former models. An open catalogue reads and writes only the vectors of the model that it was opened with.

Track ids are random (64 bits). A file gets its id when it is first added and keeps it when it changes or moves, so that
an application can store ids.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryError
from ..places import relocate
from . import quantized, schema
from .database import FILE_NAME, translated, write_lock
from .fields import Value, check_metadata, put_fields, read_annotations
from .reading import TRACK_COLUMNS, TRACKS, Reader
from .records import FailedFile, FileState, Model, NewTrack, Track, TrackVectors, check_vectors, to_blob, to_json

_MOVED_AT_ONCE = 1_000  # tracks whose metadata are in memory together
_QUANTIZED_AT_ONCE = 256  # tracks whose windows are in memory together
_WRITTEN = f"{TRACK_COLUMNS}, crc32"


class Catalogue(Reader):
    """An open catalogue; reading needs no lock, and writes belong into `with writing():`.

    Args:
        folder: the library's folder.
        create: the model of a new library; None opens only an existing library.

    Raises:
        LibraryError: there is no library (and `create` is None), it is damaged, or a newer version made it.
    """

    def __init__(self, folder: Path, *, create: Model | None = None) -> None:
        path = folder / FILE_NAME
        if create is None and not path.is_file():
            raise LibraryError(f"no library at {folder}: make one with `music-search add {folder} PATH...`")
        with translated(path):
            folder.mkdir(parents=True, exist_ok=True)
            super().__init__(folder)
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
        self.library_id = self._property("library_id")
        self._use(int(self._property("model")))

    def _renew(self, create: Model | None) -> None:
        """Create the tables, or migrate those of an older version."""
        with self._transaction():
            # Checked again, because another process may have done it in the meantime.
            if create is not None and self._is_empty():
                schema.create(self._db)
                self._set("library_id", secrets.token_hex(16))
                self._set("model", str(self._number_of(create)))
            elif schema.version_of(self._db) < schema.VERSION:
                schema.migrate(self._db, version=schema.version_of(self._db))
            schema.stamp(self._db)

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO properties VALUES (?1, ?2, checksum(?1, ?2))", (name, value))

    def _number_of(self, model: Model) -> int:
        """The model's number in the table `models`; a new model is added."""
        query = "SELECT number FROM models WHERE fingerprint = ?"
        if not (rows := self.rows(query, model.fingerprint)):
            (number,) = self._one("SELECT ifnull(max(number), 0) + 1 FROM models")
            self._db.execute(
                "INSERT INTO models (number, name, fingerprint, embedding_dim, crc32) VALUES (?, ?, ?, ?, ?)",
                (number, *model, schema.checksum(number, *model)),
            )
            rows = [(number,)]
        return int(rows[0][0])

    # -- writing ---------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the writer's lock of this library during the block.

        Raises:
            LibraryBusy: another process or another `MusicSearch` holds it.
        """
        with write_lock(self.folder):
            yield

    def put(self, tracks: Sequence[NewTrack]) -> None:
        """Store new tracks and new versions of tracks in one transaction; durable when this returns.

        A track replaces the one with the same path and keeps its track id and annotations. So this is idempotent.

        Raises:
            LibraryError: a vector has the wrong shape or is not a unit vector.
            QueryError: metadata cannot be stored.
        """
        with self._changing():
            for track in tracks:
                check_vectors(track.vectors, dim=self.dim, of=track.file.path)
                check_metadata(track.metadata)
                replaced = self.by_path(track.file.path)
                if replaced is not None and replaced.file.content_hash == track.file.content_hash:
                    self._db.execute("DELETE FROM vectors WHERE label = ?", (replaced.label,))
                elif replaced is not None:  # the sound changed, so the vectors of all models are outdated
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
        """Store the model's vectors of tracks that are here already, by their numbers; durable when this returns."""
        with self._changing():
            for number, made in vectors.items():
                check_vectors(made, dim=self.dim, of=f"track number {number}")
                self._db.execute("DELETE FROM vectors WHERE track = ? AND model = ?", (number, self.model_number))
                self._put_vectors(number, made)

    def touch(
        self, files: Mapping[str, FileState], *, tags: Mapping[str, Mapping[str, Value]] = MappingProxyType({})
    ) -> None:
        """Update the files of tracks whose sound is unchanged, in one transaction, and mark them as not missing.

        Paths, times and tags may change. A new path may be that of another track, if that track moves in this call too.

        Args:
            files: the new state of the files, by track id.
            tags: the new metadata from the files, by track id; tracks that are not named keep theirs.
        """
        with self._changing():
            tracks = {track_id: self._known(track_id) for track_id in files}
            for track_id, file in files.items():
                if file.path != tracks[track_id].file.path:  # paths are unique, so a swap needs placeholders first
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
        """Set the user's annotations of tracks, by track id, in one transaction; None removes an annotation.

        Raises:
            LibraryError: a track is not in the library.
            QueryError: a value cannot be stored.
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
        """Remove these tracks in one transaction.

        Raises:
            LibraryError: a track is not in the library; nothing is removed.
        """
        with self._changing():
            for track_id in dict.fromkeys(track_ids):
                number = self._known(track_id).number
                self._db.execute("DELETE FROM vectors WHERE track = ?", (number,))
                self._db.execute("DELETE FROM tracks WHERE number = ?", (number,))

    def mark_missing(self, numbers: Iterable[int]) -> None:
        """Mark the files of these tracks as missing."""
        with self._changing():
            query = (
                "UPDATE tracks SET missing = 1, "
                f"crc32 = checksum({TRACK_COLUMNS.replace('missing', '1')}) "
                f"WHERE number = ? AND crc32 = checksum({TRACK_COLUMNS})"  # a new crc32 would hide damage
            )
            self._db.executemany(query, [(number,) for number in numbers])

    def note_failed(self, files: Iterable[FailedFile]) -> None:
        """Remember files that cannot be used, so that they are not tried again until they change."""
        rows = [(file.path, file.size, file.mtime_ns, file.ctime_ns, file.reason) for file in files]
        if rows:
            with self._changing():
                query = "INSERT OR REPLACE INTO failed (path, size, mtime_ns, ctime_ns, reason) VALUES (?, ?, ?, ?, ?)"
                self._db.executemany(query, rows)

    def forget_failed(self, paths: Iterable[str]) -> None:
        """Forget failures of files that are gone or should be tried again."""
        with self._changing():
            self._db.executemany("DELETE FROM failed WHERE path = ?", [(path,) for path in paths])

    def put_probes(self, probes: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace the stored text vectors for measuring the library, float32 [n, dim] by kind."""
        with self._changing():
            self._db.execute("DELETE FROM probes WHERE model = ?", (self.model_number,))
            self._db.executemany(
                "INSERT INTO probes VALUES (?1, ?2, ?3, checksum(?1, ?2, ?3))",
                [(self.model_number, kind, to_blob(vectors)) for kind, vectors in probes.items()],
            )

    def move(self, folders: Mapping[str, str]) -> None:
        """Change the paths of files whose folders have moved, in one transaction; see `places.relocate`."""
        query, last = f"{TRACKS} number > ? ORDER BY number LIMIT {_MOVED_AT_ONCE}", 0
        with self._changing():
            while folders and (tracks := self._tracks(query, last)):
                for track in tracks:
                    self._move(track, folders)
                last = tracks[-1].number
            failed = [(relocate(file.path, folders), file.path) for file in self.failed()]
            self._db.executemany("UPDATE OR REPLACE failed SET path = ? WHERE path = ?", failed)

    def some_path_begins(self, first: str) -> bool:
        """Whether the path of some track begins with this text."""
        return bool(self.rows("SELECT 1 FROM tracks WHERE substr(path, 1, length(?1)) = ?1 LIMIT 1", first))

    def _move(self, track: Track, folders: Mapping[str, str]) -> None:
        file = replace(track.file, path=relocate(track.file.path, folders))
        if file != track.file:
            row = (track.number, track.track_id, file, track.duration_s, *self._texts(track.number))
            self._put_row(*row, warning=track.warning, is_missing=track.is_missing)

    def forget_ctimes(self) -> None:
        """Clear the ctimes of all files, for a library that moved to a disk with other ctimes."""
        with self._changing():
            query = (
                f"UPDATE tracks SET ctime_ns = 0, crc32 = checksum({TRACK_COLUMNS.replace('ctime_ns', '0')}) "
                f"WHERE crc32 = checksum({TRACK_COLUMNS})"  # a new crc32 would hide damage
            )
            self._db.execute(query)
            self._db.execute("UPDATE failed SET ctime_ns = 0")

    def forget_the_past(self) -> None:
        """Drop vectors of other models and all tombstones, quantize windows of older versions, and free the space.

        An index that has not seen the tombstones notices that it holds too many vectors, and loads the saved graph.
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
        """Quantize the next windows after `label` that an older version stored in 32 bits.

        The library stays readable if this is interrupted, and another call continues.

        Returns:
            The last label that was quantized; None if there was none.
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
        """Write a compact copy of the catalogue into a new file."""
        with translated(path):
            self._db.execute("VACUUM INTO ?", (str(path),))

    def become_another(self) -> None:
        """Give a copied library a new id, so that the index of one copy is not used for the other."""
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
        """A row number that was never used before."""
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

    # -- the model -------------------------------------------------------------------------------------

    def beside(self, model: Model) -> "Catalogue":
        """Open this library again with the vectors of another model, which is added if it is new."""
        with self._changing():
            number = self._number_of(model)
        other = Catalogue(self.folder)
        other._use(number)
        return other

    def make_current(self) -> None:
        """Make the model of this open catalogue the library's current model, for everyone who opens it from now on.

        Raises:
            LibraryError: the model has not embedded every track.
        """
        with self._changing():
            lacking = self.totals()[0] - len(self)
            if lacking:
                raise LibraryError(f"{self.model.name} has not embedded {lacking} tracks of {self.folder} yet")
            self._set("model", str(self.model_number))

    def is_current(self) -> bool:
        """Whether the library's current model is still the one that this catalogue was opened with."""
        return int(self._property("model")) == self.model_number

    def lacking(self) -> list[str]:
        """The paths of the tracks that the model has not embedded, in the order in which they were added."""
        query = (
            "SELECT path FROM tracks WHERE number NOT IN (SELECT track FROM vectors WHERE model = ?) ORDER BY number"
        )
        return [row[0] for row in self.rows(query, self.model_number)]
