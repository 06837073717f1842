"""The SQLite file of a catalogue: threads that take turns, transactions, one writer, and its errors as ours."""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import LibraryBusy, LibraryError

FILE_NAME = "catalogue.sqlite3"
REPAIR = "run `music-search verify LIB --repair`, or restore the library from a backup"


class Database:
    """An open file.

    Threads may share it; each waits for the others' queries. (SQLite would let them wait by itself, but our functions
    in SQL need Python's lock, which Python keeps while it waits for SQLite's: two threads would wait for each other.)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._turn = threading.RLock()
        self._db = connect(folder / FILE_NAME)

    @property
    def name(self) -> str:
        """Of the library, for people."""
        return str(self.folder)

    def close(self) -> None:
        self._db.close()

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

    def _one(self, query: str, *values: int | str) -> tuple[Any, ...]:
        rows = self.rows(query, *values)
        if not rows:
            raise LibraryError(f"number {values} vanished from {self.folder} while it was read")
        return rows[0]

    def _damaged(self, what: str) -> LibraryError:
        return LibraryError(f"{what} in {self.folder} is damaged: {REPAIR}")


def connect(path: Path) -> sqlite3.Connection:
    """Open a catalogue's file in autocommit, as transactions are explicit; for threads that take turns.

    SQLite makes files beside it even to read it. Where it must not, and there are none, as on a read-only disk, the
    file is read as one that nobody changes; what a writer elsewhere does to it meanwhile may look like damage.
    """
    is_fixed = path.exists() and not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
    uri = f"{path.absolute().as_uri()}?immutable={int(is_fixed)}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30.0)


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
