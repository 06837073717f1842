"""Replaces the output folder of an export as a whole, if it holds no other files and is not being served.

An export that is killed leaves either the old folder or the new one. Linux swaps the two folders atomically. Where that
is not possible, the old folder is missing for a short moment. If the export is killed in that moment, the next export
restores the old folder.
"""

import contextlib
import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from export import ExportError

try:
    import fcntl
except ImportError:  # Windows, where tritonserver does not run either
    fcntl = None  # type: ignore[assignment]  # Windows has none, which a module's type cannot say

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # constants of Linux's <fcntl.h> and <linux/fs.h>


def check_replaceable(folder: Path, *, ours: Collection[str]) -> None:
    """Raise ExportError if `folder` cannot be written, is being served, or holds a file that is not one of `ours`.

    The leftovers of killed exports next to the folder are removed first.
    """
    try:
        _recover(folder)
        if folder.exists() and not folder.is_dir():
            raise ExportError(f"{folder} is a file; give --out a folder")
        for name in sorted(_files(folder)) if folder.exists() else ():
            if name not in ours and "__pycache__" not in Path(name).parts:
                raise ExportError(
                    f"{folder} holds {name}, which is not from an export; move it away or give another --out"
                )
        parent = next(parent for parent in folder.parents if parent.exists())
        tempfile.TemporaryFile(dir=parent).close()
        with _locked(folder):
            pass
    except OSError as exc:
        raise ExportError(
            f"cannot write {folder}: {exc.strerror or exc}; give --out a folder that you may read and write"
        ) from exc


def read_files(folder: Path, names: Collection[str]) -> dict[str, bytes]:
    """Read the files of `folder` with one of these names. An export of another model keeps them.

    Raises:
        ExportError: one cannot be read.
    """
    try:
        return {name: (folder / name).read_bytes() for name in sorted(names) if (folder / name).is_file()}
    except OSError as exc:
        raise ExportError(f"cannot read {folder}, whose other models stay: {exc.strerror or exc}") from exc


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace `folder` by a folder with these files; on any failure the old folder stays or is restored.

    Raises:
        ExportError: the folder cannot be written, or it is being served now.
    """
    new, old = (folder.with_name(f".{folder.name}.{state}-{os.getpid()}") for state in ("new", "old"))
    try:
        new.mkdir(parents=True)
        try:
            with _locked(new):  # tells another export that this one is still running
                for name, content in files.items():
                    path = new / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                _flush(new, *new.rglob("*"))
                with _locked(folder):
                    if not folder.exists():
                        new.rename(folder)
                    elif not _exchange(new, folder):
                        folder.rename(old)
                        new.rename(folder)
                    _flush(folder.parent)
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    except OSError as exc:
        raise ExportError(f"cannot write {folder}: {exc.strerror or exc}; the old content is unchanged") from exc


def _files(folder: Path) -> Iterator[str]:
    """List everything in `folder` except folders, as paths relative to it; symbolic links count, even to folders."""

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink() or not path.is_dir():
                yield path.relative_to(folder).as_posix()


def _recover(folder: Path) -> None:
    """Delete the leftovers of killed exports next to `folder`; restore `folder` if one of them had moved it away."""
    if fcntl is None or not folder.parent.is_dir():
        return
    for state in ("old", "new"):
        for left in folder.parent.iterdir():
            if left.name.startswith(f".{folder.name}.{state}-") and left.is_dir():
                with contextlib.suppress(ExportError), _locked(left):
                    if state == "old" and not folder.exists():
                        left.rename(folder)
                    else:
                        shutil.rmtree(left)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders atomically; False if the operating system or the file system cannot."""
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)  # since glibc 2.28
    paths = (os.fsencode(one), os.fsencode(other))
    return bool(renameat2 and renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE) == 0)


def _flush(*paths: Path) -> None:
    """Flush files and folders to the disk."""
    if fcntl is None:
        return
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of `folder` if it exists; `python -m serve` holds a shared lock on its own folder.

    Raises:
        ExportError: another process holds a lock.
    """
    if fcntl is None or not folder.exists():
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ExportError(f"{folder} is being served; stop `python -m serve` first, or give another --out") from exc
        except OSError:  # the file system does not support locks, so the server could not lock it either
            pass
        yield
    finally:
        os.close(descriptor)
