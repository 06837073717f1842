"""Which files a list of paths stands for."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .audio import AUDIO_EXTENSIONS
from .errors import QueryError


@dataclass(frozen=True)
class FailedTrack:
    """A file or folder that was not added, and why; if an earlier version of it is in the library, that stays."""

    path: str
    reason: str


class Found(NamedTuple):
    """What a walk found.

    Attributes:
        files: absolute paths.
        folders: those that were named and read to their ends.
        failed: folders that cannot be read.
    """

    files: list[str]
    folders: list[str]
    failed: list[FailedTrack]


def find_audio(paths: Iterable[str | Path]) -> Found:
    """The files named, and the audio files in the folders named and below.

    Symbolic links are followed, each real folder once, so a link to a parent ends; hidden entries are left out.

    Raises:
        QueryError: an empty path, or what is none.
    """
    files: dict[str, None] = {}
    folders: list[str] = []
    failed: list[FailedTrack] = []
    seen: set[str] = set()

    def note(error: OSError) -> None:
        failed.append(FailedTrack(printable(str(error.filename)), f"cannot read the folder ({error.strerror})"))

    for path in paths:
        if not isinstance(path, str | Path) or not os.fspath(path):
            raise QueryError(f"got {path!r} for a path; name a file or a folder")
        start = os.path.abspath(os.path.expanduser(path))
        if not os.path.isdir(start):
            files[start] = None
            continue
        before = len(failed)
        for folder, inner, names in os.walk(start, followlinks=True, onerror=note):
            real = os.path.realpath(folder)
            if real in seen:
                inner.clear()
                continue
            seen.add(real)
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS:
                    files[os.path.join(folder, name)] = None
        if len(failed) == before:
            folders.append(start)
    return Found(list(files), folders, failed)


def printable(path: str) -> str:
    """The path with bytes that are not UTF-8 shown as escapes, so that any terminal and JSON takes it."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
