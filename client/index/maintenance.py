"""Maintenance of a library: verify, repair, compact, export and import."""

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..encoders import EncoderSpec
from ..errors import LibraryError, QueryError
from ..places import beginning, relocate
from ..progress import show_progress
from . import names, schema
from .catalogue import Catalogue
from .database import FILE_NAME, REPAIR, connect, is_damage, translated, write_lock
from .fields import put_fields
from .hnsw import delete_snapshot
from .live import LiveIndex
from .records import Model, Track, TrackVectors, has_another_model
from .store import is_milvus, open_milvus, open_store

if TYPE_CHECKING:
    from .milvus import MilvusStore
    from .parquet import Lyrics

_COPIED_AT_ONCE = 256  # tracks whose windows are in memory together
_BLOCK = 16 << 20  # bytes that are read at once


@dataclass(frozen=True)
class Verification:
    """The result of a verification.

    Attributes:
        problems: one sentence for each problem.
        tracks: how many tracks there are, or are left after a repair; None if problems were found and not repaired.
        lacking: how many of these have no vector of the library's model. Adding their folders again makes the vectors.
    """

    problems: list[str]
    tracks: int | None
    lacking: int | None


def verify(folder: Path, *, repair: bool = False) -> Verification:
    """Read every row of a library and compare it with its checksum.

    Args:
        folder: the library's folder.
        repair: replace a damaged catalogue by a new one with all sound rows, and rebuild the search index. The damaged
            file is kept next to it as catalogue.sqlite3.damaged.

    Raises:
        LibraryError: there is no library, or nothing of it can be read.
        LibraryBusy: `repair` is set, and another process is writing to the library.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise LibraryError(f"no library at {folder}")
    problems = _problems(path, name=folder)
    if problems and not repair:
        return Verification(problems, None, None)
    if problems:
        with write_lock(folder):
            _rebuild(path)
            delete_snapshot(folder)
            with closing(Catalogue(folder)) as catalogue:
                LiveIndex(catalogue).save()
    with closing(Catalogue(folder)) as catalogue:
        LiveIndex(catalogue).refresh()
        return _verification(catalogue, problems=problems)


def compact(folder: Path) -> tuple[int, int]:
    """Make a library's files smaller and give the space back to the disk.

    This drops the vectors of former models and the traces of removed tracks. Windows that an older version stored in 32
    bits are stored in 8 bits.

    Returns:
        The size of the catalogue in bytes, before and after.

    Raises:
        LibraryError: there is no library, it is damaged, or the disk has no room for a copy of what is kept.
        LibraryBusy: another process is writing to it.
    """
    path = folder / FILE_NAME
    with closing(Catalogue(folder)) as catalogue, catalogue.writing():
        before = path.stat().st_size
        _read_ahead(path)
        LiveIndex(catalogue).compact()  # first, so that there is always a graph that needs nothing of the past
        catalogue.forget_the_past()
    return before, path.stat().st_size


def drop_former(uri: str) -> list[str]:
    """Drop the vectors of other models that `reembed` has left beside a library in Milvus.

    Returns:
        The names of the collections.

    Raises:
        LibraryError: there is no library, or Milvus fails.
    """
    with closing(open_milvus(uri, create=None)) as store:
        return store.drop_former()


def export_library(folder: Path, target: Path) -> None:
    """Write a library into one file, from which `import_library` makes a library on any machine.

    The file is read again and compared with its checksums, because it may be the only backup.

    Raises:
        LibraryError: there is no library, it is damaged, the file exists, or the disk is full.
    """
    with closing(Catalogue(folder)) as catalogue, _complete(target) as part:
        catalogue.copy_to(part)
        if problems := _problems(part, name=folder):
            raise LibraryError(f"{folder} is damaged ({problems[0]}), and nothing was exported: {REPAIR}")


def export_to_parquet(
    library: str | Path,
    target: Path,
    *,
    spec: EncoderSpec | None = None,
    lyrics: "Lyrics | None" = None,
    progress: bool = True,
) -> int:
    """Write a library from a folder or from Milvus into a Parquet file; see `parquet`.

    From this file, `import_library` makes a library with the same content in a folder.

    Args:
        library: the library's folder or Milvus address.
        target: the file to write.
        spec: the spec of the library's model, if available. It adds the sample rate and the length of windows, which a
            library does not know.
        lyrics: the library's, if it has a file of them. None leaves them out.
        progress: show a progress bar.

    Returns:
        The number of tracks.

    Raises:
        LibraryError: there is no library, it is damaged, the file exists, the disk is full, or pyarrow is missing.
        ModelMismatch: `spec` belongs to another model.
    """
    parquet = _open_parquet(target)
    with closing(open_store(library)) as store:
        if spec is not None and spec.fingerprint != store.model.fingerprint:
            raise has_another_model(
                store.name,
                store.model,
                but=f"the encoder is {spec.model_name} ({spec.fingerprint})",
                advice="name the model of the library, or no model",
            )
        with _complete(target) as part:
            tracks: int = parquet.write(store, part, spec=spec, lyrics=lyrics, progress=progress)
    return tracks


def parts_of(folder: Path) -> list[Path]:
    """The Parquet files of a folder, which are the parts of one library."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def holds_lyrics(source: Path) -> bool:
    """Whether a sound export has lyrics. A folder of parts has none, because `client.bulk` writes none."""
    return source.is_file() and is_parquet(source) and _open_parquet(source).has_lyrics(source)


def is_parquet(path: Path) -> bool:
    """Whether this is a Parquet file, by its suffix or its first bytes."""
    if path.suffix.lower() == ".parquet":
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def export_to_milvus(folder: Path, uri: str, *, progress: bool = True) -> tuple[int, int]:
    """Copy a library into Milvus, a few tracks at a time; after an interruption, the same call resumes the copy.

    Tracks keep their ids. Unchanged tracks that are in Milvus already are skipped. Tracks that are only in Milvus stay.

    Args:
        folder: the library's folder.
        uri: see `milvus.MilvusStore`; the library is created there if it does not exist.
        progress: show a progress bar.

    Returns:
        The number of tracks in the library, and how many of them were written.

    Raises:
        LibraryError: there is no library in the folder, or Milvus fails.
        ModelMismatch: the library in Milvus has another model.
        QueryError: `uri` is not a Milvus address.
    """
    if not is_milvus(uri):
        raise QueryError(
            f"got {uri!r}, expected a Milvus address, such as milvus://host:19530/collection, or FILE.parquet"
        )
    with closing(Catalogue(folder)) as source, closing(open_milvus(uri, create=source.model)) as target:
        _check_model(target, source.model, of=folder)
        probes = {kind: source.probes(kind) for kind in ("unrelated", "music")}
        copied = _copy(_groups_of(source), target, total=len(source), probes=probes, progress=progress)
        target.note_failed(source.failed())
    return copied


def _groups_of(source: Catalogue) -> Iterator[list[tuple[Track, TrackVectors]]]:
    for labels, vectors in source.vectors(rows_at_once=_COPIED_AT_ONCE):
        with source.reading():  # some tracks may have been removed since
            known = {track.label: track for track in source.by_labels(labels.tolist())}
            windows = source.windows_of([label for label in labels.tolist() if label in known])
            group = [
                (known[label], TrackVectors(vector, *windows[label]))
                for label, vector in zip(labels.tolist(), vectors, strict=True)
                if label in known
            ]
        yield group


def import_to_milvus(
    source: Path, uri: str, *, moved: Mapping[str, str] | None = None, progress: bool = True
) -> tuple[int, int]:
    """Copy a Parquet file, or a folder of parts that `client.bulk` wrote, into Milvus; see `export_to_milvus`.

    Every file is looked at before anything is written. If one turns out to be damaged inside, what was read before
    stays, and the same call with a sound copy goes on.

    Args:
        source: the exported file, or the folder of parts.
        uri: see `milvus.MilvusStore`; the library is created there if it does not exist.
        moved: where the music is now: the former folders, and the new ones that replace them.
        progress: show a progress bar.

    Returns:
        The number of tracks in the source, and how many of them were written.

    Raises:
        LibraryError: the source is not a sound export to Parquet, no track lies in a folder of `moved`, or Milvus
            fails.
        ModelMismatch: the library in Milvus has another model.
    """
    _check_source(source)
    if not source.is_dir() and not is_parquet(source):
        raise LibraryError(f"{source} is not a Parquet file: import it into a folder, then export that folder to {uri}")
    parquet = _open_parquet(source)
    sources = parts_of(source) if source.is_dir() else [source]
    parts = parquet.read_parts(sources)
    model: Model = parts[0].model
    paths = {path for part in parts for path in part.paths}
    _check_moved(moved or {}, lambda first: any(path.startswith(first) for path in paths), source=source)

    def groups() -> Iterator[list[tuple[Track, TrackVectors]]]:
        for path in sources:
            for group in parquet.read_tracks(path):
                yield [(_arrived(track, moved or {}), vectors) for track, vectors in group]

    with closing(open_milvus(uri, create=model)) as target:
        _check_model(target, model, of=source)
        probes = {kind: vectors for part in parts for kind, vectors in part.probes.items()}
        copied = _copy(groups(), target, total=len(paths), probes=probes, progress=progress)
        # A file that failed in one part may have been repaired before another part was made.
        failed = [file for part in parts for file in part.failed if file.path not in paths]
        target.note_failed(replace(file, ctime_ns=0) for file in failed)
    return copied


def _arrived(track: Track, folders: Mapping[str, str]) -> Track:
    """The track on another machine, where its music may be in other folders, and its file has another ctime."""
    return replace(track, file=replace(track.file, path=relocate(track.file.path, folders), ctime_ns=0))


def _check_moved(folders: Mapping[str, str], some_begins: Callable[[str], bool], *, source: Path) -> None:
    """Refuse a former folder that has no track. `some_begins` tells whether a track's path begins with a text."""
    for before in folders:
        if not some_begins(beginning(before)):
            raise LibraryError(
                f"no track in {source} lies in {before}, so nothing was imported: name the folder where the music lay, "
                "as searches show it"
            )


def _check_model(target: "MilvusStore", model: Model, *, of: Path) -> None:
    if target.model.fingerprint != model.fingerprint:
        raise has_another_model(
            target.name,
            target.model,
            but=f"{of} was made with {model.name} ({model.fingerprint})",
            advice="choose another collection",
        )


def _copy(
    groups: Iterable[list[tuple[Track, TrackVectors]]],
    target: "MilvusStore",
    *,
    total: int,
    probes: Mapping[str, NDArray[np.float32]],
    progress: bool,
) -> tuple[int, int]:
    """Copy tracks and probes of the same model; the number of tracks, and how many of them were written."""
    tracks = written = 0
    with show_progress("copying", total=total, enabled=progress) as advance:
        for group in groups:
            written += target.put_copies(group)
            tracks += len(group)
            for track, _ in group:
                advance(track.duration_s)
    if any(map(len, probes.values())):
        target.put_probes(probes)
    target.seal()
    return tracks, written


def import_library(
    source: Path,
    folder: Path,
    *,
    moved: Mapping[str, str] | None = None,
    open_lyrics: "Callable[[Path], Lyrics] | None" = None,
) -> Verification:
    """Make a library from an exported file, SQLite or Parquet, or from a folder of parts that `client.bulk` wrote.

    Args:
        source: the exported file, or the folder of parts.
        folder: the folder of the new library.
        moved: where the music is now: the old beginning of paths, and the new beginning that replaces it.
        open_lyrics: makes a file of lyrics in a folder. It is called for a Parquet file with lyrics, which None leaves
            out.

    Raises:
        LibraryError: the file is not a sound export, the folder has a library already, or no track lies in a folder of
            `moved`.
    """
    if (folder / FILE_NAME).exists():
        raise LibraryError(f"{folder} has a library already: choose another folder")
    _check_source(source)
    is_new = not folder.exists()
    with translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return _import(source, folder, moved=moved or {}, open_lyrics=open_lyrics)
        finally:
            if is_new:
                with suppress(OSError):  # after a success the folder is not empty, and stays
                    folder.rmdir()


def _check_source(source: Path) -> None:
    if source.is_dir() and not parts_of(source):
        raise LibraryError(f"{source} holds no Parquet files: name one that `python -m client.bulk` wrote, or a file")
    if not source.is_dir() and not source.is_file():
        raise LibraryError(f"no file {source}: name one that `music-search export` wrote")


def _import(
    source: Path, folder: Path, *, moved: Mapping[str, str], open_lyrics: "Callable[[Path], Lyrics] | None"
) -> Verification:
    with TemporaryDirectory(dir=folder, prefix="import-") as temporary:
        part = Path(temporary)
        if source.is_dir() or is_parquet(source):
            _fill(part / FILE_NAME, source, open_lyrics=partial(open_lyrics, part) if open_lyrics else None)
        else:
            shutil.copyfile(source, part / FILE_NAME)
            if problems := _problems(part / FILE_NAME, name=source):
                raise LibraryError(f"{source} is damaged ({problems[0]}): export the library again")
        with closing(Catalogue(part)) as catalogue:
            catalogue.become_another()
            catalogue.forget_ctimes()
            _check_moved(moved, catalogue.some_path_begins, source=source)
            catalogue.move(moved)
            LiveIndex(catalogue).save()
            found = _verification(catalogue, problems=[])
        _sync(part / FILE_NAME)
        for file in sorted(part.iterdir(), key=lambda file: file.name == FILE_NAME):  # catalogue last: complete
            os.replace(file, folder / file.name)
    return found


def _fill(path: Path, source: Path, *, open_lyrics: "Callable[[], Lyrics] | None") -> None:
    """Make a catalogue from a Parquet file, or from a folder of parts."""
    parquet = _open_parquet(source)
    with closing(_open_raw(path)) as db:
        for setting in (f"page_size = {schema.PAGE_SIZE}", "journal_mode = OFF", "synchronous = OFF"):
            db.execute(f"PRAGMA {setting}")  # no durability needed: a half-made catalogue is deleted
        db.execute("BEGIN")
        schema.create(db)
        parquet.fill(db, parts_of(source) if source.is_dir() else [source], open_lyrics=open_lyrics)
        schema.stamp(db)
        db.execute("COMMIT")


def _open_parquet(path: Path) -> ModuleType:
    """Import the module that reads and writes Parquet files; `path` is named in the error."""
    try:
        from . import parquet
    except ImportError as exc:
        raise LibraryError(f"{path} needs pyarrow ({exc}): pip install 'musicsearch[parquet]'") from exc
    return parquet


def _verification(catalogue: Catalogue, *, problems: list[str]) -> Verification:
    tracks = catalogue.totals()[0]
    return Verification(problems, tracks, tracks - len(catalogue))


def _read_ahead(path: Path) -> None:
    """Read a file from its begin to its end, if memory has room for it.

    SQLite reads a table page by page, and the pages are scattered over the file. So a disk reads them at a tenth of its
    rate or less.
    """
    with suppress(OSError, ValueError):  # how much memory is free is told by Linux only
        (free_kb,) = re.findall(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
        if path.stat().st_size < 1024 * int(free_kb):
            with path.open("rb", buffering=0) as file:
                while file.read(_BLOCK):
                    pass


def _problems(path: Path, *, name: Path) -> list[str]:
    problems = []
    _read_ahead(path)
    with translated(path), closing(_open_raw(path)) as db:
        try:
            schema.refuse_newer(db, name=name)
            for (line,) in db.execute("PRAGMA integrity_check(20)"):
                if line != "ok":
                    problems.append(f"the file: {line}")
            version = schema.version_of(db)
            for table, columns in schema.checked(version=version).items():
                rows = db.execute(f"SELECT crc32, {columns} FROM {table}")
                count = sum(schema.checksum(*values) != crc32 for crc32, *values in rows)
                if count:
                    problems.append(f"rows of {table} that do not match their checksums: {count}")
            if version == 1:  # it had nothing else that can be checked
                return problems
            for table, condition in schema.ORPHANS.items():
                (count,) = db.execute(f"SELECT count(*) FROM {table} WHERE {condition}").fetchone()
                if count:
                    problems.append(f"orphaned rows of {table}: {count}")
            query = "SELECT vectors, (SELECT count(*) FROM vectors WHERE model = models.number) FROM models"
            for expected, found in db.execute(query):
                if expected != found:
                    problems.append(f"vectors: {found}, expected {expected}")
            for table, query in schema.SUMS.items():
                if any(expected != (found or 0) for expected, found in db.execute(query)):
                    problems.append(f"the list of {table} does not match its checksum")
            if version >= 4 and not _has_sound_names(db):
                problems.append("the list of names does not match the tracks")
        except (sqlite3.Error, UnicodeDecodeError) as exc:  # the latter if SQLite's message quotes damaged text
            if not is_damage(exc):
                raise
            problems.append(f"the file: {exc}")
    return problems


def _has_sound_names(db: sqlite3.Connection) -> bool:
    if db.execute(names.WRONG).fetchone() != (0,):
        return False
    try:
        db.execute("INSERT INTO names (names) VALUES ('integrity-check')")  # an FTS5 command that writes nothing
    except sqlite3.DatabaseError as exc:
        return exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY)
    return True


def _rebuild(path: Path) -> None:
    """Replace a damaged file by a new one with its sound rows, and keep a copy of the damaged file."""
    rebuilt, damaged = (path.with_name(f"{FILE_NAME}.{name}") for name in ("rebuilt", "damaged"))
    log, shared = (path.with_name(f"{FILE_NAME}-{name}") for name in ("wal", "shm"))
    with translated(path), _temporary(rebuilt):
        with closing(_open_raw(path)) as old, closing(_open_raw(rebuilt)) as new:
            new.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")
            new.execute("BEGIN")
            schema.create(new)
            for table in ("properties", "models", "tracks", "vectors", "windows", "probes", "failed"):
                _copy_sound_rows(old, new, table=table)
            if new.execute(
                "SELECT count(*) FROM properties JOIN models ON value = number WHERE properties.name = 'model'"
            ).fetchone() != (1,) or _lost_all_tracks(old, new):
                raise LibraryError(f"too little of {path} can be read: restore the library from a backup")
            for table, condition in schema.ORPHANS.items():
                new.execute(f"DELETE FROM {table} WHERE {condition}")
            for number, metadata, annotations in new.execute(
                "SELECT number, metadata, annotations FROM tracks"
            ).fetchall():
                put_fields(new, number, {**json.loads(metadata), **json.loads(annotations)})
            with suppress(sqlite3.DatabaseError, UnicodeDecodeError):  # keep the counters, so no label is reused
                for row in old.execute("SELECT seq, name, seq FROM sqlite_sequence"):
                    new.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ? AND seq < ?", row)
            schema.stamp(new)
            new.execute("COMMIT")
        shutil.copyfile(path, damaged)
        if log.exists():
            shutil.copyfile(log, f"{damaged}-wal")
        for beside in (log, shared):
            beside.unlink(missing_ok=True)  # SQLite would apply it to the new file
        os.replace(rebuilt, path)


def _lost_all_tracks(old: sqlite3.Connection, new: sqlite3.Connection) -> bool:
    if new.execute("SELECT EXISTS (SELECT * FROM tracks)").fetchone() == (1,):
        return False
    try:
        return bool(old.execute("SELECT EXISTS (SELECT * FROM tracks)").fetchone() == (1,))
    except sqlite3.DatabaseError:
        return True


def _copy_sound_rows(old: sqlite3.Connection, new: sqlite3.Connection, *, table: str) -> None:
    """Copy the sound rows of a table, reading from both ends as far as the file can be read."""
    seen: set[int] = set()
    version = schema.version_of(old)
    for direction in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError, UnicodeDecodeError):
            cursor = old.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid {direction}")
            names = [column[0] for column in cursor.description[1:]]
            for number, *values in cursor:
                row = dict(zip(names, values, strict=True))
                if number in seen or not _is_sound(row, table=table, version=version):
                    continue
                seen.add(number)
                kept = schema.renewed(table, row, version=version)
                if kept is None:
                    continue
                if table == "models":
                    kept["vectors"] = kept["pairs"] = 0  # triggers count the vectors as they are copied
                places = ", ".join("?" * len(kept))
                with suppress(UnicodeEncodeError, sqlite3.IntegrityError):
                    new.execute(f"INSERT INTO {table} ({', '.join(kept)}) VALUES ({places})", [*kept.values()])
            return


def _is_sound(row: Mapping[str, Any], *, table: str, version: int) -> bool:
    checked = schema.checked(version=version)
    if table not in checked:
        return True
    return bool(schema.checksum(*(row.get(name, "") for name in checked[table].split(", "))) == row.get("crc32"))


def _open_raw(path: Path) -> sqlite3.Connection:
    """Open a catalogue's file without any checks; text that is not UTF-8 is read as text that matches no checksum."""
    db = connect(path)
    db.text_factory = lambda content: content.decode(errors="surrogateescape")
    schema.add_functions(db)
    return db


@contextmanager
def _complete(target: Path) -> Iterator[Path]:
    """Write a file atomically: the block writes a temporary file, which is renamed once it is synced to disk."""
    if target.exists():
        raise LibraryError(f"{target} exists: choose another name, or remove it")
    part = target.with_name(f"{target.name}.part")
    with translated(target), _temporary(part):
        try:
            yield part
            _sync(part)
            os.replace(part, target)
        except OSError as exc:
            reason = f"{exc.strerror}; check the disk, its free space and permissions"
            raise LibraryError(f"cannot write {target}: {reason}") from exc


@contextmanager
def _temporary(path: Path) -> Iterator[None]:
    """Delete this file after the block, unless the block has renamed it."""
    path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
