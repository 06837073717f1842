"""Export of a library to one Parquet file for pandas, DuckDB, Spark and LanceDB, and import from it.

A row is a track, and a row group has a thousand tracks. The columns are those of the catalogue (see `schema`):

    number ... warning      of its table `tracks`; metadata and annotations are JSON objects
    label                   of the vector; null if the model has not embedded the track
    vector                  float32 [dim], unit L2 norm; zeros if there is none
    starts_s                start times of the windows in seconds, float32 [windows]
    windows                 vectors of the windows, as bytes for `quantized.read`, which also needs the two columns
                            before. Floats would take four times the space and not give the same bytes back.
    crc32, vector_crc32, windows_crc32      `schema.checksum` of the row in each of the three tables
    lyrics, lyrics_crc32    only if the library has a file of lyrics: a track's as a JSON object (see `lyrics.book`), or
                            null; and `schema.checksum` of the track id and this text

A library may also hold vectors of other models. Those of model number 2 are in label_2, vector_2 and so on. Data that
belongs to no track is one JSON object in the key-value metadata, under the name "musicsearch": the models, texts for
measuring the library, files that failed, and the numbers of tracks and of lyrics, so that a loss is noticed. The pages
have checksums as well.

Tombstones are not exported. Only indexes that have seen the removed tracks need them, and the copy is a new library. A
Milvus collection has no track numbers and no checksums, so the export makes them.

A library may also be several such files, its parts, as `client.bulk` writes them. Each part is complete in itself, with
numbers and labels from 1 on. They are renumbered when the parts become one library. Track ids in parts are hashes of
the paths, so making a part again gives the same part.
"""

import base64
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..encoders import EncoderSpec
from ..errors import LibraryError
from ..progress import show_progress
from . import quantized, schema
from .catalogue import Catalogue
from .database import REPAIR
from .fields import put_fields
from .records import (
    FLOAT32,
    FailedFile,
    FileState,
    Model,
    NewTrack,
    Track,
    TrackVectors,
    check_vectors,
    from_blob,
    to_blob,
    to_json,
)
from .store import Store

FORMAT = 1
ROWS = 1_000  # of a row group, which is in memory as a whole and takes some megabytes

_ABOUT, _ABOUT_CRC32 = "musicsearch", "musicsearch.crc32"
_TRACK = (*schema.CHECKED["tracks"].split(", "), "crc32")
_TYPES = {
    **dict.fromkeys(("number", "size", "mtime_ns", "ctime_ns", "crc32"), pa.int64()),
    **{"duration_s": pa.float64(), "missing": pa.bool_()},
}
_LYRICS = {"lyrics": pa.string(), "lyrics_crc32": pa.int64()}
_FAILED = ("path", "size", "mtime_ns", "ctime_ns", "reason")
_MAGIC = b"PAR1"  # the first and the last bytes of a Parquet file
_AGAIN = "export the library again"


class Lyrics(Protocol):
    """The lyrics of a library. `lyrics.book.Book` implements it, and alone knows what is in a text."""

    def texts(self, track_ids: Sequence[str]) -> dict[str, str]: ...
    def put_texts(self, texts: Mapping[str, str]) -> None: ...
    def close(self) -> None: ...


class _Model(NamedTuple):
    """A row of `models`."""

    number: int
    name: str
    fingerprint: str
    embedding_dim: int
    crc32: int
    vectors: int
    pairs: int


class _Probes(NamedTuple):
    """A row of `probes`."""

    model: int
    kind: str
    vectors: bytes
    crc32: int


class _Made(NamedTuple):
    """The vectors that a model made of a track: its rows of `vectors` and `windows`, without foreign keys."""

    label: int
    vector: bytes
    vector_crc32: int
    starts_s: bytes
    windows: bytes
    windows_crc32: int


class _Row(NamedTuple):
    """A row of `tracks`, the track's vectors by model number, and its lyrics with their checksum."""

    track: tuple[Any, ...]
    made: dict[int, _Made]
    lyrics: tuple[str, int] | None = None

    @property
    def track_id(self) -> str:
        return str(self.track[_TRACK.index("track_id")])


class _Rest(NamedTuple):
    """Data that belongs to no track.

    `own` is the number of the library's model, `lyrics` how many tracks have lyrics: None if the library has no file of
    them.
    """

    own: int
    models: list[_Model]
    probes: list[_Probes]
    failed: list[tuple[Any, ...]]
    lyrics: int | None = None

    def columns(self) -> dict[str, pa.DataType]:
        """The names and types of all columns."""
        columns = {name: _TYPES.get(name, pa.string()) for name in _TRACK}
        columns |= {} if self.lyrics is None else _LYRICS
        for model in self.models:
            vector = pa.list_(pa.float32(), model.embedding_dim)
            types = (pa.int64(), vector, pa.int64(), pa.list_(pa.float32()), pa.binary(), pa.int64())
            columns |= dict(zip(self.columns_of(model), types, strict=True))
        return columns

    def columns_of(self, model: _Model) -> list[str]:
        """The names of the columns with a model's `_Made`."""
        return [name if model.number == self.own else f"{name}_{model.number}" for name in _Made._fields]


# -- out -----------------------------------------------------------------------------------------------


def write(store: Store, path: Path, *, spec: EncoderSpec | None, lyrics: Lyrics | None = None, progress: bool) -> int:
    """Write a whole library into a file, with a thousand tracks in memory at a time.

    Args:
        store: the open library.
        path: the file to write.
        spec: the spec of the library's model. It adds the sample rate and the length of windows, which a library does
            not know.
        lyrics: those of the library, if it has a file of them.
        progress: show a progress bar.

    Returns:
        The number of tracks.

    Raises:
        LibraryError: a row does not match its checksum, or Milvus fails.
        OSError: the file cannot be written.
    """
    options: dict[str, Any] = {"spec": spec, "progress": progress}
    if not isinstance(store, Catalogue):
        rest = _rest_of_collection(store)
        return _write(_rows_of_collection(store), rest, path, total=len(store), **options).tracks
    with store.reading():  # one transaction, so that all reads see the same state
        rest = _rest_of(store)._replace(lyrics=None if lyrics is None else 0)
        ((total,),) = store.rows("SELECT count(*) FROM tracks")
        written = _write(_rows_of(store, lyrics), rest, path, total=total, **options)
    if written.models != rest.models:
        raise LibraryError(f"the list of vectors in {store.name} is damaged: {REPAIR}")
    return written.tracks


def _rest_of(catalogue: Catalogue) -> _Rest:
    models, probes, failed = (
        catalogue.rows(f"SELECT {', '.join(columns)} FROM {table} ORDER BY rowid")
        for table, columns in (("models", _Model._fields), ("probes", _Probes._fields), ("failed", _FAILED))
    )
    rest = _Rest(catalogue.model_number, [_Model(*row) for row in models], [_Probes(*row) for row in probes], failed)
    for model in rest.models:
        _check(catalogue, *model[:4], crc32=model.crc32, of=f"model number {model.number}")
    for one in rest.probes:
        _check(catalogue, *one[:3], crc32=one.crc32, of="the list of probes")
    return rest


def _rows_of(catalogue: Catalogue, lyrics: Lyrics | None) -> Iterator[_Row]:
    tracks_after = f"SELECT {', '.join(_TRACK)} FROM tracks WHERE number > ? ORDER BY number LIMIT ?"
    made_of = (
        "SELECT track, model, label, vector, vectors.crc32, starts_s, windows.vectors, windows.crc32 "
        "FROM vectors LEFT JOIN windows USING (label) WHERE track BETWEEN ? AND ?"
    )
    last = 0
    while tracks := catalogue.rows(tracks_after, last, ROWS):
        rows = {track[0]: _Row(track, {}) for track in tracks}
        texts = {} if lyrics is None else lyrics.texts([row.track_id for row in rows.values()])
        for number, model, *columns in catalogue.rows(made_of, tracks[0][0], tracks[-1][0]):
            made = _Made(*columns)
            name = f"vector number {made.label}"
            _check(catalogue, made.label, model, number, made.vector, crc32=made.vector_crc32, of=name)
            windows = (made.label, made.starts_s, made.windows)
            _check(catalogue, *windows, crc32=made.windows_crc32, of=f"windows of {name}")
            rows[number].made[model] = made
        for row in rows.values():
            _check(catalogue, *row.track[:-1], crc32=row.track[-1], of=f"track number {row.track[0]}")
            text = texts.get(row.track_id)
            yield row._replace(lyrics=None if text is None else (text, schema.checksum(row.track_id, text)))
        last = tracks[-1][0]


def _check(catalogue: Catalogue, *values: Any, crc32: int | None, of: str) -> None:
    if None in values or schema.checksum(*values) != crc32:
        raise LibraryError(f"{of} in {catalogue.name} is damaged: {REPAIR}")


def _rest_of_collection(store: Store) -> _Rest:
    probes = {kind: store.probes(kind) for kind in ("unrelated", "music")}
    return _rest_of_model(store.model, probes=probes, failed=store.failed())


def _rest_of_model(model: Model, *, probes: Mapping[str, NDArray[np.float32]], failed: Sequence[FailedFile]) -> _Rest:
    """The `_Rest` of a library with one model, which gets number 1."""
    row = (1, *model)
    texts = [(1, kind, to_blob(vectors)) for kind, vectors in probes.items()]
    return _Rest(
        1,
        [_Model(*row, schema.checksum(*row), vectors=0, pairs=0)],
        [_Probes(*one, schema.checksum(*one)) for one in texts],
        [tuple(getattr(file, name) for name in _FAILED) for file in failed],
    )


def _rows_of_collection(store: Store) -> Iterator[_Row]:
    from .milvus import MilvusStore

    assert isinstance(store, MilvusStore)
    for number, (track, *blobs) in enumerate(store.entities(), start=1):
        file = track.file
        facts = (
            *(number, track.track_id, file.path, file.size, file.mtime_ns, file.ctime_ns, file.content_hash),
            *(float(track.duration_s), to_json(track.tags), to_json(track.annotations)),
            *(int(track.is_missing), track.warning),
        )
        yield _made_row(facts, *blobs)


def write_part(
    path: Path,
    tracks: Sequence[NewTrack],
    *,
    spec: EncoderSpec,
    failed: Sequence[FailedFile] = (),
    probes: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
) -> None:
    """Write new tracks, as `Catalogue.put` takes them, as a part of a library.

    Args:
        path: the file to write.
        tracks: the tracks of the part.
        spec: the spec of the model that made their vectors.
        failed: files that cannot be used.
        probes: see `Catalogue.put_probes`; only one part of a library has them.

    Raises:
        LibraryError: a vector has the wrong shape or is not a unit vector.
        OSError: the file cannot be written.
    """
    for track in tracks:
        check_vectors(track.vectors, dim=spec.embedding_dim, of=track.file.path)
    model = Model(spec.model_name, spec.fingerprint, spec.embedding_dim)
    rest = _rest_of_model(model, probes=probes, failed=failed)
    rows = (_row_of_part(number, track) for number, track in enumerate(tracks, start=1))
    _write(rows, rest, path, total=len(tracks), spec=spec, progress=False)


def id_of(path: str) -> str:
    """The id of a track in a part: several processes write parts, and have no catalogue to draw ids from."""
    return blake2b(path.encode(), digest_size=8).hexdigest()


def _row_of_part(number: int, track: NewTrack) -> _Row:
    file, made = track.file, track.vectors
    facts = (
        *(number, id_of(file.path), file.path, file.size, file.mtime_ns, file.ctime_ns, file.content_hash),
        *(float(track.duration_s), to_json(track.metadata), "{}", 0, track.warning),
    )
    return _made_row(
        facts, to_blob(made.vector), to_blob(made.starts_s), quantized.quantize(made.windows, track=made.vector)
    )


def _made_row(facts: tuple[Any, ...], vector: bytes, starts_s: bytes, windows: bytes) -> _Row:
    """The row of a track with vectors of model number 1; the label is the track's number."""
    number = facts[0]
    vector_crc32 = schema.checksum(number, 1, number, vector)
    made = _Made(number, vector, vector_crc32, starts_s, windows, schema.checksum(number, starts_s, windows))
    return _Row((*facts, schema.checksum(*facts)), {1: made})


class _Written(NamedTuple):
    """The number of tracks written, and the models with their numbers of vectors."""

    tracks: int
    models: list[_Model]


def _write(
    rows: Iterator[_Row], rest: _Rest, path: Path, *, total: int, spec: EncoderSpec | None, progress: bool
) -> _Written:
    columns = rest.columns()
    tracks = lyrics = 0
    models = {model.number: model._replace(vectors=0, pairs=0) for model in rest.models}
    with path.open("wb") as file, show_progress("exporting", total=total, enabled=progress) as advance:
        writer = pq.ParquetWriter(
            file,
            pa.schema(columns),
            use_dictionary=False,  # few values repeat
            compression={name: "zstd" if kind == pa.string() else "none" for name, kind in columns.items()},
            write_statistics=[name for name in columns if name in _TRACK],
            write_page_checksum=True,
        )
        try:
            while group := list(islice(rows, ROWS)):
                writer.write_table(_to_table(group, rest, columns=columns))
                for row in group:
                    for number, made in row.made.items():
                        pairs = models[number].pairs + schema.checksum(row.track[0], made.label)
                        models[number] = models[number]._replace(vectors=models[number].vectors + 1, pairs=pairs)
                    advance(row.track[_TRACK.index("duration_s")])
                tracks += len(group)
                lyrics += sum(row.lyrics is not None for row in group)
            rest = rest._replace(models=[*models.values()], lyrics=None if rest.lyrics is None else lyrics)
            about = json.dumps(_tell(rest, tracks=tracks, spec=spec))
            writer.add_key_value_metadata({_ABOUT: about, _ABOUT_CRC32: str(schema.checksum(about))})
        finally:
            writer.close()
    return _Written(tracks, [*models.values()])


def _to_table(rows: Sequence[_Row], rest: _Rest, *, columns: Mapping[str, pa.DataType]) -> pa.Table:
    values: dict[str, Any] = dict(zip(_TRACK, zip(*(row.track for row in rows), strict=True), strict=True))
    values["missing"] = [bool(missing) for missing in values["missing"]]
    values |= zip(_LYRICS, zip(*(row.lyrics or (None, None) for row in rows), strict=True), strict=True)
    for model in rest.models:
        dim = model.embedding_dim
        nothing = (None, bytes(4 * dim), *[None] * 4)
        label, blobs, vector_crc32, starts, windows, windows_crc32 = zip(
            *(row.made.get(model.number, nothing) for row in rows), strict=True
        )
        # Zeros stand for missing vectors, because Arrow writes no nulls among lists of a fixed size.
        vector = pa.FixedSizeListArray.from_arrays(pa.array(np.frombuffer(b"".join(blobs), "<f4")), dim)
        starts_s = [None if blob is None else np.frombuffer(blob, "<f4") for blob in starts]
        made = (label, vector, vector_crc32, starts_s, windows, windows_crc32)
        values |= zip(rest.columns_of(model), made, strict=True)
    arrays = [
        values[name] if isinstance(values[name], pa.Array) else pa.array(values[name], kind)
        for name, kind in columns.items()
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(columns))


def _tell(rest: _Rest, *, tracks: int, spec: EncoderSpec | None) -> dict[str, Any]:
    window = {} if spec is None else {"sample_rate_hz": spec.sample_rate_hz, "window_samples": spec.window_samples}
    lyrics = {} if rest.lyrics is None else {"lyrics": rest.lyrics}
    return {
        "format": FORMAT,
        "tracks": tracks,
        "model": rest.own,
        **window,
        **lyrics,
        "models": [model._asdict() for model in rest.models],
        "probes": [one._asdict() | {"vectors": base64.b64encode(one.vectors).decode()} for one in rest.probes],
        "failed": [dict(zip(_FAILED, row, strict=True)) for row in rest.failed],
    }


# -- and back ------------------------------------------------------------------------------------------


def fill(db: sqlite3.Connection, sources: Sequence[Path], *, open_lyrics: Callable[[], Lyrics] | None = None) -> None:
    """Fill the empty tables of a catalogue from such files, with a thousand tracks in memory at a time.

    Args:
        db: the catalogue.
        sources: the file of one library, or the files of its parts.
        open_lyrics: called for a file with lyrics, which are put there. None leaves them out.

    Raises:
        LibraryError: a file is not a sound export, or a part has a track or a model that does not fit the others.
        sqlite3.Error: the catalogue cannot be written.
        OSError: the catalogue cannot be written.
    """
    models: list[_Model] = []
    for source in sources:
        with _opened(source) as file:
            rest, tracks = _read_rest(file, source=source)
            if not models:
                models = [model._replace(vectors=0, pairs=0) for model in rest.models]
                for name, value in (("library_id", secrets.token_hex(16)), ("model", str(rest.own))):
                    db.execute("INSERT INTO properties VALUES (?1, ?2, checksum(?1, ?2))", (name, value))
                for model in models:
                    _insert(db, "models", model._asdict())  # triggers count the vectors as they are inserted
            elif models != [model._replace(vectors=0, pairs=0) for model in rest.models]:
                raise _has_another_model(source, rest.models[0], first=sources[0], model=models[0])
            for one in rest.probes:
                _insert(db, "probes", one._asdict())
            for row in rest.failed:
                db.execute("INSERT OR REPLACE INTO failed VALUES (?, ?, ?, ?, ?)", row)
            with closing(open_lyrics()) if open_lyrics and rest.lyrics is not None else nullcontext() as lyrics:
                _fill_tracks(db, file, rest, tracks=tracks, source=source, lyrics=lyrics)
    if len(sources) > 1:  # a file that failed in one part may have been repaired before another part was made
        db.execute("DELETE FROM failed WHERE path IN (SELECT path FROM tracks)")


def _fill_tracks(
    db: sqlite3.Connection,
    file: pq.ParquetFile,
    rest: _Rest,
    *,
    tracks: int,
    source: Path,
    lyrics: Lyrics | None,
) -> None:
    """Fill in the tracks of one file; `tracks` is the number of tracks that must be there."""
    # New numbers and labels follow those of the files before. Those of the first file stay the same.
    ((number, label),) = db.execute(
        "SELECT (SELECT ifnull(max(number), 0) FROM tracks), (SELECT ifnull(max(label), 0) FROM vectors)"
    )
    place = count(1)
    for group in _read_checked(file, rest, tracks=tracks, source=source):
        for row in group:
            _put(db, row, name=f"row {next(place)} of {source}", after=(number, label))
        if lyrics is not None:
            lyrics.put_texts({row.track_id: row.lyrics[0] for row in group if row.lyrics is not None})


class Part(NamedTuple):
    """Summary of a part.

    Attributes:
        model: the model of its vectors.
        paths: the paths of its tracks.
        failed: the files that could not be used.
        probes: the model's texts for measuring a library, float32 [n, dim] by kind.
    """

    model: Model
    paths: list[str]
    failed: list[FailedFile]
    probes: dict[str, NDArray[np.float32]]


def read_part(source: Path) -> Part:
    """Read which files a part was made from.

    Raises:
        LibraryError: the file is not a sound export.
    """
    with _opened(source) as file:
        rest, tracks = _read_rest(file, source=source)
        with _translated(source):
            paths = file.read(columns=["path"]).column("path").to_pylist()
    if len(paths) != tracks:
        raise LibraryError(f"{source} holds {len(paths)} of the {tracks} exported tracks: {_AGAIN}")
    own = next(model for model in rest.models if model.number == rest.own)
    failed = [FailedFile(**dict(zip(_FAILED, row, strict=True))) for row in rest.failed]
    probes = {one.kind: from_blob(one.vectors, dim=own.embedding_dim) for one in rest.probes if one.model == rest.own}
    return Part(Model(own.name, own.fingerprint, own.embedding_dim), paths, failed, probes)


def read_parts(sources: Sequence[Path]) -> list[Part]:
    """Read which files the parts of one library were made from.

    Raises:
        LibraryError: a file is not a sound export, or a part has a track or a model that does not fit the others.
    """
    parts: list[Part] = []
    paths: set[str] = set()
    for source in sources:
        part = read_part(source)
        if not paths.isdisjoint(part.paths) or len(set(part.paths)) < len(part.paths):
            raise LibraryError(f"{source} has a path twice, but every path must be unique; {_AGAIN}")
        if parts and part.model != parts[0].model:
            raise _has_another_model(source, part.model, first=sources[0], model=parts[0].model)
        paths.update(part.paths)
        parts.append(part)
    return parts


def _has_another_model(source: Path, own: Model | _Model, *, first: Path, model: Model | _Model) -> LibraryError:
    return LibraryError(
        f"{source} was made with the model {own.name} ({own.fingerprint}), but {first} was made with {model.name} "
        f"({model.fingerprint}): one library has one model"
    )


def has_lyrics(source: Path) -> bool:
    """Whether a file has lyrics.

    Raises:
        LibraryError: the file is not a sound export.
    """
    with _opened(source) as file:
        rest, _ = _read_rest(file, source=source)
    return bool(rest.lyrics)


def read_tracks(source: Path) -> Iterator[list[tuple[Track, TrackVectors]]]:
    """Read the tracks that the library's model has embedded, with their vectors, at most a thousand at a time.

    Raises:
        LibraryError: the file is not a sound export. Tracks before the damage were already yielded.
    """
    with _opened(source) as file:
        rest, tracks = _read_rest(file, source=source)
        own = rest._replace(models=[model for model in rest.models if model.number == rest.own])
        for group in _read_checked(file, own, tracks=tracks, source=source):
            yield [_to_track(row, row.made[own.own]) for row in group if row.made]


def _to_track(row: _Row, made: _Made) -> tuple[Track, TrackVectors]:
    facts = dict(zip(_TRACK, row.track, strict=True))
    file = FileState(*(facts[name] for name in ("path", "size", "mtime_ns", "content_hash", "ctime_ns")))
    texts = (json.loads(facts[name]) for name in ("metadata", "annotations"))
    rest = (facts["duration_s"], *texts, bool(facts["missing"]), facts["warning"])
    track = Track(facts["number"], made.label, facts["track_id"], file, *rest)
    vector, starts_s = (np.frombuffer(blob, FLOAT32) for blob in (made.vector, made.starts_s))
    windows = quantized.read(made.windows, count=len(starts_s), track=vector)
    return track, TrackVectors(vector, starts_s, windows)


def _begins_and_ends(path: Path) -> tuple[bytes, bytes]:
    length = len(_MAGIC)
    with path.open("rb") as file:
        first = file.read(length)
        file.seek(max(path.stat().st_size - length, 0))
        return first, file.read(length)


@contextmanager
def _opened(source: Path) -> Iterator[pq.ParquetFile]:
    first, last = _begins_and_ends(source)
    if first != _MAGIC:
        raise LibraryError(f"{source} is not a Parquet file: name one that `music-search export` wrote")
    if last != _MAGIC:
        raise LibraryError(f"{source} is not complete, its end is missing: copy it again, or {_AGAIN}")
    with _translated(source):
        file = pq.ParquetFile(source, page_checksum_verification=True)
    with file:
        yield file


@contextmanager
def _translated(source: Path) -> Iterator[None]:
    """Raise errors of reading a Parquet file as `LibraryError`."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as exc:  # ValueError: text that is not UTF-8
        raise LibraryError(f"{source} is damaged ({' '.join(str(exc).split())[:200]}): {_AGAIN}") from exc


def _read_rest(file: pq.ParquetFile, *, source: Path) -> tuple[_Rest, int]:
    """The data that belongs to no track, and the number of tracks; the columns are checked."""
    found = file.metadata.metadata or {}
    if _ABOUT.encode() not in found:
        raise LibraryError(
            f"{source} is a Parquet file, but not of a library: name a file that `music-search export` wrote, because "
            "other programs do not keep everything that a library needs"
        )
    about = found[_ABOUT.encode()].decode(errors="replace")
    if found.get(_ABOUT_CRC32.encode()) != str(schema.checksum(about)).encode():
        raise LibraryError(f"{source} is damaged (its metadata does not match its checksum): {_AGAIN}")
    said = json.loads(about)
    if said["format"] != FORMAT:
        raise LibraryError(
            f"{source} was written by a newer MusicSearch (format {said['format']}, this one knows {FORMAT}): upgrade "
            "MusicSearch"
        )
    probes = [_Probes(**one)._replace(vectors=base64.b64decode(one["vectors"])) for one in said["probes"]]
    failed = [tuple(one[name] for name in _FAILED) for one in said["failed"]]
    models = [_Model(**model) for model in said["models"]]
    rest = _Rest(said["model"], models, probes, failed, said.get("lyrics"))
    _check_columns(file.schema_arrow, expected=rest.columns(), source=source)
    return rest, said["tracks"]


def _check_columns(found: pa.Schema, *, expected: Mapping[str, pa.DataType], source: Path) -> None:
    for name, kind in expected.items():
        if found.get_field_index(name) < 0:
            raise LibraryError(f"{source} must have exactly one column {name}: {_AGAIN}")
        if found.field(name).type != kind:
            raise LibraryError(
                f"the column {name} of {source} is of {found.field(name).type}, expected {kind}: {_AGAIN}"
            )


def _read_groups(file: pq.ParquetFile, rest: _Rest, *, source: Path) -> Iterator[list[_Row]]:
    if not file.num_row_groups:  # Arrow 18 cannot iterate over an empty file
        return
    batches = file.iter_batches(ROWS, columns=list(rest.columns()))
    while True:
        with _translated(source):
            batch = next(batches, None)
            if batch is None:
                return
            rows = _from_batch(batch, rest)
        yield rows


def _read_checked(file: pq.ParquetFile, rest: _Rest, *, tracks: int, source: Path) -> Iterator[list[_Row]]:
    """As `_read_groups`; each row is checked, and at the end whether all `tracks` and their vectors were there."""
    found = lyrics = 0
    counts = {model.number: model._replace(vectors=0, pairs=0) for model in rest.models}
    for group in _read_groups(file, rest, source=source):
        for row in group:
            found += 1
            lyrics += row.lyrics is not None
            _check_row(row, name=f"row {found} of {source}")
            for model, made in row.made.items():
                pairs = counts[model].pairs + schema.checksum(row.track[0], made.label)
                counts[model] = counts[model]._replace(vectors=counts[model].vectors + 1, pairs=pairs)
        yield group
    if found != tracks:
        raise LibraryError(f"{source} holds {found} of the {tracks} exported tracks: {_AGAIN}")
    if [*counts.values()] != rest.models:
        raise LibraryError(f"{source} does not hold the exported vectors: {_AGAIN}")
    if lyrics != (rest.lyrics or 0):
        raise LibraryError(f"{source} holds the lyrics of {lyrics} of {rest.lyrics} tracks: {_AGAIN}")


def _from_batch(batch: pa.RecordBatch, rest: _Rest) -> list[_Row]:
    values = {name: batch.column(name).to_pylist() for name in _TRACK}
    values["missing"] = [missing if missing is None else int(missing) for missing in values["missing"]]
    nothing = [None] * len(batch)
    sung = (nothing if rest.lyrics is None else batch.column(name).to_pylist() for name in _LYRICS)
    rows = [
        _Row(track, {}, None if lyrics == (None, None) else lyrics)
        for track, lyrics in zip(zip(*values.values(), strict=True), zip(*sung, strict=True), strict=True)
    ]
    for model in rest.models:
        label, vector, vector_crc32, starts_s, windows, windows_crc32 = map(batch.column, rest.columns_of(model))
        vectors = vector.flatten().to_numpy(zero_copy_only=False).astype("<f4").reshape(len(rows), -1)
        made = zip(
            label.to_pylist(),
            (one.tobytes() for one in vectors),
            vector_crc32.to_pylist(),
            (None if starts is None else np.array(starts, "<f4").tobytes() for starts in starts_s.to_pylist()),
            windows.to_pylist(),
            windows_crc32.to_pylist(),
            strict=True,
        )
        for row, one in zip(rows, map(_Made._make, made), strict=True):
            if one.label is not None:
                row.made[model.number] = one
    return rows


def _put(db: sqlite3.Connection, row: _Row, *, name: str, after: tuple[int, int]) -> None:
    """Insert a checked track with its vectors; `after` is the last track number and label of the files before."""
    number = row.track[0]
    track = dict(zip(_TRACK, row.track, strict=True)) | {"number": number + after[0]}
    try:
        _insert_checked(db, "tracks", track)
        put_fields(db, track["number"], {**json.loads(track["metadata"]), **json.loads(track["annotations"])})
        for model, made in row.made.items():
            label = made.label + after[1]
            vector = {"label": label, "model": model, "track": track["number"], "vector": made.vector}
            _insert_checked(db, "vectors", vector)
            _insert_checked(db, "windows", {"label": label, "starts_s": made.starts_s, "vectors": made.windows})
    except sqlite3.IntegrityError as exc:  # "UNIQUE constraint failed: tracks.path"
        column = str(exc).rpartition(".")[2]
        raise LibraryError(f"{name} has the {column} of another row, but each must be unique; {_AGAIN}") from exc


def _check_row(row: _Row, *, name: str) -> None:
    """Compare a row, which the error calls `name`, with its checksums."""
    number = row.track[0]
    parts: list[tuple[Any, ...]] = [row.track]
    if row.lyrics is not None:
        parts.append((row.track_id, *row.lyrics))
    for model, made in row.made.items():
        parts.append((made.label, model, number, made.vector, made.vector_crc32))
        parts.append((made.label, made.starts_s, made.windows, made.windows_crc32))
    for *values, crc32 in parts:
        if None in values or schema.checksum(*values) != crc32:
            raise LibraryError(f"{name} does not match its checksum: {_AGAIN}")


def _insert_checked(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    crc32 = schema.checksum(*(row[name] for name in schema.CHECKED[table].split(", ")))
    _insert(db, table, {**row, "crc32": crc32})


def _insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()])
