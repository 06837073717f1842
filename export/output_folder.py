"""The folder that an export writes: replaced as a whole, and only if it holds nothing else and nobody serves it."""

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from export import ExportError

try:
    import fcntl
except ImportError:  # Windows, where tritonserver does not run either
    fcntl = None  # type: ignore[assignment]


def check_replaceable(folder: Path, *, ours: Collection[str]) -> None:
    """Raise ExportError if `folder` cannot be written, is being served, or holds a file that is not one of `ours`."""
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} is a file; give --out a folder")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in ours and "__pycache__" not in path.parts:
            raise ExportError(f"{folder} holds {name}, which no export wrote; move it away or give another --out")
    parent = next(parent for parent in folder.parents if parent.exists())
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as exc:
        raise ExportError(
            f"cannot write {folder}: {exc.strerror or exc}; give --out a folder that you may write"
        ) from exc
    _refuse_served(folder)


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put a folder with these files in the place of `folder`; on any failure the old one stays or comes back.

    Raises:
        ExportError: it cannot be written, or is being served by now.
    """
    new, old = (folder.with_name(f".{folder.name}.{state}-{os.getpid()}") for state in ("new", "old"))
    try:
        for name, content in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _refuse_served(folder)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as exc:
        raise ExportError(f"cannot write {folder}: {exc.strerror or exc}; the old content is unchanged") from exc
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _refuse_served(folder: Path) -> None:
    """`python -m serve` holds a shared advisory lock on the folder that it serves (`serve.server`)."""
    if fcntl is None or not folder.exists():
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise ExportError(f"{folder} is being served; stop `python -m serve` first, or give another --out") from exc
    except OSError:  # a file system without such locks, on which the server could take none either
        pass
    finally:
        os.close(descriptor)
