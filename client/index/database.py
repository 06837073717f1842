"""The SQLite file of a catalogue: a lock for threads, transactions, the writer's lock and translated errors."""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ..errors import LibraryBusy, LibraryError

FILE_NAME = "catalogue.sqlite3"
REPAIR = "run `music-search verify LIB --repair`, or restore the library from a backup"


class Database:
    """An open SQLite file that threads may share; a lock runs their queries one after the other.

    SQLite's own lock is not enough, because it would deadlock with the GIL: our SQL functions need the GIL, and Python
    holds the GIL while it waits for SQLite's lock.
    """

    file_name = FILE_NAME
    kind = "a catalogue"
    repair = REPAIR

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._turn = threading.RLock()
        self._db = connect(folder / self.file_name)

    @property
    def name(self) -> str:
        """The library's name in messages."""
        return str(self.folder)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Open a read transaction: all reads in the block see the same state, whatever a writer commits meanwhile."""
        with self._turn:
            with self._translated():
                is_nested = self._db.in_transaction
                if not is_nested:
                    self._db.execute("BEGIN")
            try:
                yield
            finally:
                if not is_nested and self._db.in_transaction:
                    self._db.execute("ROLLBACK")  # loses nothing: a read transaction wrote nothing

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._translated(), self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._turn:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # on some errors, such as a full disk, SQLite has ended it already
                    self._db.execute("ROLLBACK")

    def rows(self, query: str, *values: int | str | float | None) -> list[tuple[Any, ...]]:
        """The rows that an SQL query selects; its errors are translated."""
        try:
            with self._turn:
                return self._db.execute(query, values).fetchall()
        except UnicodeEncodeError:  # no catalogue holds a name that is not UTF-8
            return []
        except (sqlite3.Error, UnicodeDecodeError):
            with self._translated():
                raise

    def _one(self, query: str, *values: int | str) -> tuple[Any, ...]:
        rows = self.rows(query, *values)
        if not rows:
            named = ", ".join(map(str, values))
            raise LibraryError(f"the row of {named} vanished from {self.folder} while it was read")
        return rows[0]

    def _is_empty(self) -> bool:
        return bool(self._db.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0])

    def _damaged(self, what: str) -> LibraryError:
        return LibraryError(f"{what} in {self._place} is damaged: {self.repair}")

    @property
    def _place(self) -> Path:
        """What messages name: the folder of a library, or a file that is only a part of it."""
        return self.folder

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._place, kind=self.kind, repair=self.repair)


def connect(path: Path) -> sqlite3.Connection:
    """Open a catalogue's file in autocommit mode, because transactions are explicit; threads must use a lock.

    SQLite creates files next to it even for reading. If the folder is read-only and has no such files, the file is
    opened as immutable. Writes by another machine may then look like damage.
    """
    is_fixed = path.exists() and not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
    uri = f"{path.absolute().as_uri()}?immutable={int(is_fixed)}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30.0)


@contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Hold the writer's lock of the library in a folder; see `Catalogue.writing`."""
    # The lock is a second SQLite file. The operating system releases it when the process ends, even in a crash, and
    # SQLite can lock a file on every platform.
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
                        f"another writer, such as `music-search add`, is using {folder}: wait until it ends, or stop it"
                    ) from exc
                raise
        yield
    finally:
        lock.close()


@contextmanager
def translated(path: str | os.PathLike[str], *, kind: str = Database.kind, repair: str = REPAIR) -> Iterator[None]:
    """Raise errors of SQLite and of the file system as `LibraryError`.

    Args:
        path: the file or its library, which the message names.
        kind: what the file is.
        repair: what to do if it is damaged.
    """
    try:
        yield
    except sqlite3.ProgrammingError as exc:
        raise LibraryError(f"{path} is closed: open the library again") from exc
    except (sqlite3.Error, json.JSONDecodeError, UnicodeDecodeError) as exc:
        if not is_damage(exc):
            raise LibraryError(f"cannot use {path}: {exc}; check the disk, its free space and permissions") from exc
        raise LibraryError(f"{path} is damaged or not {kind} ({exc}): {repair}") from exc
    except OSError as exc:
        raise LibraryError(f"cannot use {path} as a library: {exc.strerror}") from exc


def is_damage(exc: Exception) -> bool:
    """Whether an error means damaged content of the file, and not a problem of disk, locks or permissions."""
    # A damaged schema or text also raises OperationalError, with no code or the general one.
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return not isinstance(exc, sqlite3.OperationalError) or code == sqlite3.SQLITE_ERROR
