"""The read methods of a catalogue; every row is checked, so that damage gives an error and never a wrong answer."""

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryError
from ..packets import PREFIX
from ..places import absolute, beginning
from ..recent import Recent
from . import names, quantized, schema
from .database import REPAIR, Database, translated
from .exact import is_among
from .fields import field_name, select_tracks
from .records import FLOAT32, FailedFile, FileState, Model, Position, Track, from_blob

_KEPT_SELECTED = 2_000_000  # tracks in the cache of filter results, 16 bytes each
TRACK_COLUMNS = schema.CHECKED["tracks"]
# An SQL index may be damaged too. So the query also tells whether the row it led to is the right one.
TRACKS = (
    f"SELECT label, {TRACK_COLUMNS}, tracks.crc32, ifnull("
    "(SELECT track = number FROM vectors AS own WHERE own.label = vectors.label), vectors.label IS NULL) "
    "FROM tracks LEFT JOIN vectors ON vectors.track = number AND model = ? WHERE "
)
_PATHS = 10_000  # of one read
_WANTED = "CREATE TEMP TABLE IF NOT EXISTS wanted (condition INTEGER NOT NULL, value NOT NULL)"  # values of a `where`
_TRACKS_OF_LABELS = (
    f"SELECT label, {TRACK_COLUMNS}, tracks.crc32, TRUE "
    "FROM vectors LEFT JOIN tracks ON number = track WHERE +model = ? AND label IN (SELECT value FROM json_each(?))"
)


class _Selection(NamedTuple):
    """Tracks that fit a filter.

    Attributes:
        labels: their labels, int64 [n], in ascending order.
        tracks: their numbers, int64 [n], in ascending order.
    """

    labels: NDArray[np.int64]
    tracks: NDArray[np.int64]


class Reader(Database):
    """An open catalogue that can be read, with the vectors of one model."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._changes_of_wanted = 0

    def _use(self, number: int) -> None:
        """Use the vectors of this model from now on."""
        self._db.execute(_WANTED)
        self.model_number = number
        self._summed: set[tuple[str, int | str]] = set()
        self._selections: tuple[tuple[int, int], Recent[_Selection]] | None = None  # with their catalogue state
        query = (
            "SELECT name, fingerprint, embedding_dim, checksum(number, name, fingerprint, embedding_dim) = crc32 "
            "FROM models WHERE number = ?"
        )
        *row, is_sound = self._one(query, number)
        if not is_sound:
            raise self._damaged(f"model number {number}")
        self.model = Model(*row)
        self.dim = self.model.dim

    def _property(self, name: str) -> str:
        query = "SELECT value, checksum(name, value) = crc32 FROM properties WHERE name = ?"
        value, is_sound = self._one(query, name)
        if not is_sound:
            raise self._damaged(f"the property {name}")
        return str(value)

    def __len__(self) -> int:
        """The number of tracks that the model has embedded."""
        rows = self.rows("SELECT vectors FROM models WHERE number = ?", self.model_number)
        if not rows:
            raise LibraryError(
                f"{self.folder} now uses another model and no longer has vectors of {self.model.name}: open it again "
                "with its new model"
            )
        return int(rows[0][0])

    def totals(self) -> tuple[int, float]:
        """The number of tracks, and their total length in seconds."""
        query = f"SELECT count(*), total(duration_s), total(checksum({TRACK_COLUMNS}) IS NOT crc32) FROM tracks"
        count, duration_s, damaged = self._one(query)
        if damaged:
            raise self._damaged("the list of tracks")
        return count, duration_s

    def position(self) -> Position:
        """The current end of the history."""
        ends = dict(self.rows("SELECT name, seq FROM sqlite_sequence"))
        return Position(ends.get("vectors", 0), ends.get("tombstones", 0))

    def state(self) -> tuple[int, int]:
        """A value that changes whenever anyone changes anything in the catalogue."""
        with self._turn:
            ((version,),) = self.rows("PRAGMA data_version")
            return version, self._db.total_changes - self._changes_of_wanted

    def vectors(self, *, rows_at_once: int = 8192) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """All living vectors, in parts; see `vectors_after`."""
        return self.vectors_after(0, rows_at_once=rows_at_once)

    def vectors_after(
        self, label: int, *, rows_at_once: int = 8192
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """The living vectors after `label`, in parts: labels int64 [n] ascending, vectors float32 [n, dim].

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
        # The plus stops SQLite from using the index by model, which would need one more look-up for each label.
        query = f"SELECT label, vector, model, track, crc32 FROM vectors WHERE +model = ? AND {condition} LIMIT ?"
        found = self.rows(query, self.model_number, label, rows)
        for number, blob, model, track, crc32 in found:
            if schema.checksum(number, model, track, blob) != crc32 or len(blob) != self.dim * FLOAT32.itemsize:
                raise self._damaged(f"vector number {number}")
        labels = np.array([row[0] for row in found], dtype=np.int64)
        if len(np.unique(labels)) < len(labels):
            raise self._damaged("the list of vectors")
        return labels, from_blob(b"".join(row[1] for row in found), dim=self.dim)

    def vectors_of(self, labels: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """The vectors of these labels, float32 [dim] by label; labels that are not here are left out."""
        condition = "label IN (SELECT value FROM json_each(?)) ORDER BY label"
        found, vectors = self._vectors(condition, json.dumps(list(labels)), rows=len(labels))
        return dict(zip(found.tolist(), vectors, strict=True))

    def sample(self, rows: int) -> NDArray[np.float32]:
        """A random sample of about `rows` living vectors, float32 [n, dim], the same at each call.

        All vectors if there are at most 2 * `rows`.
        """
        if len(self) > 2 * rows:
            drawn = np.random.default_rng(0).integers(1, self.position().label + 1, size=rows)
            found = list(self.vectors_of(drawn.tolist()).values())
            if len(found) >= rows // 4:  # otherwise most labels belong to removed tracks
                return np.array(found, np.float32)
        return next(self.vectors(rows_at_once=2 * rows), (None, np.empty((0, self.dim), np.float32)))[1]

    def tombstones_after(self, sequence: int) -> NDArray[np.int64]:
        """The labels that were removed after `sequence`, int64 [n]."""
        query = "SELECT label, label IN (SELECT label FROM vectors) FROM tombstones WHERE sequence > ?"
        rows = self.rows(query, sequence)
        if any(label is None or is_alive for label, is_alive in rows):
            raise self._damaged("the list of removed vectors")
        return np.array([label for label, _ in rows], dtype=np.int64)

    def labels(self, where: Mapping[str, Any]) -> NDArray[np.int64]:
        """The labels of the tracks that fit a filter, int64 [n] ascending; see `fields.select_tracks`."""
        return self._selected(where).labels

    def _selected(self, where: Mapping[str, Any]) -> _Selection:
        """The tracks that fit a filter; recent results are cached until the catalogue changes."""
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
        # Rows that a filter reads have no checksums. Their sums over the table are checked instead, once.
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
        """The names of metadata fields that some track has."""
        return [row[0] for row in self.rows("SELECT name FROM field_names WHERE total <> 0 ORDER BY name")]

    def named_like(self, text: str, *, where: Mapping[str, Any] | None = None) -> dict[int, float]:
        """The tracks that a name may mean: their scores by label; see `names.fit`.

        Args:
            text: the name.
            where: search only tracks that fit this filter; see `fields.select_tracks`.
        """
        typed = names.plain(text.replace("\0", " "))  # a NUL would end the text for FTS5
        lines: dict[int, str] = {}
        with self.reading():
            chosen = None if where is None else self._selected(where).tracks
            for match in names.as_matches(typed):
                lines.update(self._lines_like(match, among=chosen))
            fits = {number: fit for number, line in lines.items() if (fit := names.fit(typed, line))}
            best = heapq.nlargest(names.MOST_FOUND, fits, key=lambda number: (fits[number], -number))
            tracks = self._tracks(f"{TRACKS} number IN (SELECT value FROM json_each(?))", json.dumps(best))
            if len(tracks) < len(best) or any(
                names.as_lines(track.metadata, path=track.file.path) != lines[track.number] for track in tracks
            ):
                raise self._damaged("the list of names")
        return {track.label: fits[track.number] for track in tracks if track.label is not None}

    def _lines_like(self, match: str, *, among: NDArray[np.int64] | None) -> list[tuple[int, str]]:
        """Numbers and names of the tracks that FTS5 finds, at most MOST_CANDIDATES of them."""
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
        """Fill the table `wanted` with these rows during the block; it is temporary and private to the connection."""
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
        """Start times float32 [windows] in seconds, and vectors float32 [windows, dim], of the windows of a track.

        Raises:
            LibraryError: there are none, or they do not match their checksum.
        """
        return self.windows_of([label])[label]

    def windows_of(self, labels: Sequence[int]) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """The results of `windows`, by label."""
        query = "SELECT label, starts_s, vectors, crc32 FROM windows WHERE label IN (SELECT value FROM json_each(?))"
        tracks = self.vectors_of(labels)
        found = {}
        for label, starts_s, vectors, crc32 in self.rows(query, json.dumps(list(labels))):
            if schema.checksum(label, starts_s, vectors) != crc32 or label not in tracks:
                raise self._damaged(f"windows of vector number {label}")
            try:
                times = from_blob(starts_s, dim=1).reshape(-1)
                found[label] = times, quantized.read(vectors, count=len(times), track=tracks[label])
            except ValueError as exc:  # another length, with the checksum that belongs to it
                raise self._damaged(f"windows of vector number {label}") from exc
        for label in set(labels) - found.keys():
            raise LibraryError(f"the windows of vector number {label} vanished from {self.folder}: {REPAIR}")
        return found

    def vector(self, label: int) -> NDArray[np.float32]:
        """The vector of a track, float32 [dim]."""
        labels, vectors = self.newest_vectors(label, rows=1)
        if labels.tolist() != [label]:
            raise LibraryError(f"vector number {label} vanished from {self.folder} while it was read")
        only: NDArray[np.float32] = vectors[0]
        return only

    def probes(self, kind: str | None = None) -> NDArray[np.float32]:
        """The stored text vectors of one kind, or of all kinds, float32 [n, dim]; see `put_probes`."""
        query = (
            "SELECT vectors, checksum(model, kind, vectors) = crc32 FROM probes "
            "WHERE model = ?1 AND kind = ifnull(?2, kind)"
        )
        rows = self.rows(query, self.model_number, kind)
        if not all(is_sound for _, is_sound in rows):
            raise self._damaged("the list of probes")
        return from_blob(b"".join(vectors for vectors, _ in rows), dim=self.dim)

    def by_labels(self, labels: Sequence[int]) -> list[Track]:
        """The tracks with these labels, in no particular order; removed tracks are left out."""
        return self._tracks(_TRACKS_OF_LABELS, json.dumps(list(labels)))

    def accept_gone(self, label: int) -> None:
        """Report a label that a search found within `reading`, but whose track is not there: the catalogue is damaged.

        Raises:
            LibraryError: always.
        """
        raise self._damaged(f"the track of vector number {label}")

    def by_label(self, label: int) -> Track | None:
        return next(iter(self.by_labels([label])), None)

    def by_id(self, track_id: str) -> Track | None:
        return next(iter(self._by("track_id", track_id)), None)

    def by_ids(self, track_ids: Sequence[str]) -> list[Track]:
        """The tracks with these ids, in no particular order; unknown ids are left out."""
        tracks = self._tracks(f"{TRACKS} track_id IN (SELECT value FROM json_each(?))", json.dumps(list(track_ids)))
        if {track.track_id for track in tracks} - set(track_ids):
            raise self._damaged("the index of tracks by track_id")
        return tracks

    def by_path(self, path: str) -> Track | None:
        return next(iter(self._by("path", path)), None)

    def named(self, name: str | Path) -> Track:
        """The track with this id or path.

        Raises:
            LibraryError: there is no such track.
        """
        track = self.by_id(str(name)) or self.by_path(absolute(name))
        if track is None:
            raise LibraryError(f"no track with the id or path {str(name)!r} in {self.folder}")
        return track

    def by_content(self, content_hash: str) -> list[Track]:
        return self._by("content_hash", content_hash)

    def knows_sounds(self) -> bool:
        """Whether every content hash is a hash of the sound; see `FileState`."""
        # Hashes of whole files begin with a hexadecimal digit, which sorts before the prefix.
        return not self.rows("SELECT 1 FROM tracks WHERE content_hash < ? LIMIT 1", PREFIX)

    def below(self, folder: str) -> Iterator[tuple[int, str]]:
        """Number and path of each track under a folder that is not known to be missing, in the order of the paths."""
        after = beginning(folder)
        # The end of the range is the first text after all that begin with `after`: the last character plus one.
        end = after[:-1] + chr(ord(after[-1]) + 1)
        query = "SELECT number, path FROM tracks WHERE path > ? AND path < ? AND NOT missing ORDER BY path LIMIT ?"
        while rows := self.rows(query, after, end, _PATHS):
            yield from rows
            after = rows[-1][1]

    def missing(self) -> list[Track]:
        """The tracks whose files are missing."""
        return self._chosen("missing")

    def warned(self) -> list[Track]:
        """The tracks whose files cannot be decoded completely."""
        return self._chosen("warning <> ''")

    def _chosen(self, condition: str) -> list[Track]:
        # Also select damaged rows, which the condition may not find, so that the damage is noticed.
        chosen = f"({condition} OR checksum({TRACK_COLUMNS}) IS NOT tracks.crc32)"
        return self._tracks(f"{TRACKS} {chosen} ORDER BY number")

    def failed(self) -> list[FailedFile]:
        """The files that could not be used, by path."""
        query = "SELECT path, size, mtime_ns, reason, ctime_ns FROM failed ORDER BY path"
        return [FailedFile(*row) for row in self.rows(query)]

    def _by(self, column: str, value: str) -> list[Track]:
        tracks = self._tracks(f"{TRACKS} {column} = ? ORDER BY number", value)
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
            if label is None:  # there is no vector, or the SQL index that leads to it is damaged
                self._check_sums("vectors", "number", self.model_number)
            file = FileState(path, size, mtime_ns, content_hash, ctime_ns)
            tags, annotations = map(json.loads, texts)
            tracks.append(
                Track(number, label, track_id, file, duration_s, tags, annotations, bool(is_missing), warning)
            )
        return tracks
