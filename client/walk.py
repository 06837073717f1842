"""Which files a list of paths stands for."""

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from audio.formats import AUDIO_EXTENSIONS

from .errors import AudioError, QueryError
from .places import Status, absolute, is_url, needing_extra

VIDEO_EXTENSIONS = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".flv", ".mkv", ".webm", ".ogv", ".ogm", ".nut"),
        *(".avi", ".divx", ".wmv", ".asf", ".rm", ".rmvb", ".mpg", ".mpeg", ".m2v", ".vob", ".m2ts", ".mts"),
        *(".dv", ".mxf"),
    )
)
"""File names of containers that hold moving pictures, or audio alone: a file has to be opened to know."""

_SYSTEM_FOLDERS = frozenset(
    (
        *("$recycle.bin", "recycler", "recycled", "system volume information"),  # Windows
        *("__macosx", "network trash folder", "temporary items", "lost+found"),
        *("#recycle", "#snapshot", "@eadir", "@tmp"),  # Synology
        *("@recycle", "@recently-snapshot"),  # QNAP
    )
)
"""In lower case, folders that operating systems and file servers make: trash, snapshots, previews. Others of their kind
(.Trash-1000, .AppleDouble, .@__thumb, macOS' ._ files) are hidden."""


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
        unless_video: those of the files that are meant only if they hold no moving pictures.
        passed_over: how many other files there are, by `kind_of` them.
        listings: folders of stores, which are read as they are iterated.
    """

    files: list[str]
    folders: list[str]
    failed: list[FailedTrack]
    unless_video: frozenset[str] = frozenset()
    passed_over: Mapping[str, int] = MappingProxyType({})
    listings: tuple["Listing", ...] = ()


class Listed(NamedTuple):
    """An audio file of a store, as it is listed.

    Attributes:
        status: what the listing says of this version of it; None where that is nothing.
        unless_video: it is meant only if it holds no moving pictures.
    """

    url: str
    status: Status | None
    unless_video: bool


class Listing:
    """The audio files below a URL, listed as they are iterated, once: a million of them are never held.

    Attributes:
        passed_over: see `Found`; listed: how many audio files there are; both so far.
        failed: why it could not be read to its end.
        is_complete: it was.
    """

    def __init__(self, url: str, *, video: bool, named: frozenset[str]) -> None:
        self.url = url
        self.listed = 0
        self.passed_over: Counter[str] = Counter()
        self.failed: FailedTrack | None = None
        self.is_complete = False
        self._video, self._named = video, named
        self._hashes = array("Q")  # of all that is there

    def __iter__(self) -> Iterator[Listed]:
        with needing_extra():
            from . import remote
        try:
            for url, status in remote.entries(self.url):
                self._hashes.append(_hash(url))
                if url not in self._named and (kind := self._kind(url[len(self.url) + 1 :])) is not None:
                    self.listed += 1
                    yield Listed(url, status, kind in VIDEO_EXTENSIONS and not self._video)
        except AudioError as exc:
            self.failed = FailedTrack(self.url, f"cannot be listed: {exc.reason}")
        else:
            self.is_complete = True

    def without(self, known: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
        """Those of these numbers and URLs that a complete listing has not met.

        Two URLs of a million have the same hash once in 37 million such listings, and what is gone stays there then.
        """
        known = list(known)
        there = np.unique(np.frombuffer(self._hashes, np.uint64))
        asked = np.array([_hash(url) for _, url in known], np.uint64)
        return [one for one, is_known in zip(known, np.isin(asked, there), strict=True) if not is_known]

    def _kind(self, below: str) -> str | None:
        """Of a file that is meant; others are counted, but for hidden ones."""
        *folders, name = below.split("/")
        if name.startswith(".") or any(map(_is_hidden, folders)):
            return None
        kind = kind_of(name)
        if kind in AUDIO_EXTENSIONS or kind in VIDEO_EXTENSIONS:
            return kind
        self.passed_over[kind] += 1
        return None


def _hash(url: str) -> int:
    return int.from_bytes(hashlib.blake2b(url.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


def find_audio(
    paths: Iterable[str | Path], *, video: bool = False, on_folder: Callable[[], None] = lambda: None
) -> Found:
    """The files named, and the audio files in the folders named and below, of this machine or of stores.

    Symbolic links are followed, each real folder once, so a link to a parent ends; hidden entries and what operating
    systems put there are left out.

    Args:
        video: whether files with moving pictures are meant too, for their sound.
        on_folder: called for each folder; an error that it raises ends the walk.

    Raises:
        QueryError: an empty path, what is none, or a URL that carries what is secret.
        StoreError: a URL of a store that there is no way to.
    """
    files: dict[str, None] = {}
    folders: list[str] = []
    failed: list[FailedTrack] = []
    seen: set[str] = set()
    unless_video: set[str] = set()
    passed_over: Counter[str] = Counter()

    def note(error: OSError) -> None:
        failed.append(FailedTrack(printable(str(error.filename)), f"cannot read the folder ({error.strerror})"))

    given = list(paths)
    starts = list(map(_start, given))
    listings, unlisted = _listings(dict(zip(starts, map(str, given), strict=True)), video=video, failed=failed)
    starts = [start for start in starts if start not in unlisted]
    named = {start for start in starts if is_url(start) or not os.path.isdir(start)}
    for start in starts:
        if start in named:
            files[start] = None
            continue
        before = len(failed)
        for folder, inner, names in os.walk(start, followlinks=True, onerror=note):
            on_folder()
            real = os.path.realpath(folder)
            if real in seen:
                inner.clear()
                continue
            seen.add(real)
            inner[:] = sorted(name for name in inner if not _is_hidden(name))
            for name in sorted(names):
                path, kind = os.path.join(folder, name), kind_of(name)
                if name.startswith(".") or path in named:
                    continue
                if kind in AUDIO_EXTENSIONS or kind in VIDEO_EXTENSIONS:
                    files[path] = None
                else:
                    passed_over[kind] += 1
                if kind in VIDEO_EXTENSIONS and not video:
                    unless_video.add(path)
        if len(failed) == before:
            folders.append(start)
    return Found(list(files), folders, failed, frozenset(unless_video), dict(passed_over), tuple(listings))


def _listings(
    places: Mapping[str, str], *, video: bool, failed: list[FailedTrack]
) -> tuple[list[Listing], frozenset[str]]:
    """Of the places, by their names as they were given: the listings of those that are folders of stores, and which of
    them are no files: such folders, and what is not there, which is added to `failed`."""
    urls = {place: given for place, given in places.items() if is_url(place)}
    if not urls:
        return [], frozenset()
    with needing_extra():
        from . import remote
    folders, no_files = [], set()
    for url, given in urls.items():
        try:
            if remote.is_folder(url, named=given):
                folders.append(url)
                no_files.add(url)
        except AudioError as exc:
            failed.append(FailedTrack(printable(url), exc.reason))
            no_files.add(url)
    outer = [url for url in folders if not any(url.startswith(f"{other}/") for other in folders)]
    files = frozenset(urls) - no_files
    return [Listing(url, video=video, named=files) for url in outer], frozenset(no_files)


def _start(path: str | Path) -> str:
    if not isinstance(path, str | Path) or not os.fspath(path):
        raise QueryError(f"got {path!r} for a path; name a file or a folder")
    return absolute(path)


def kind_of(path: str) -> str:
    """The end of a file's name that tells its format, in lower case: ".flac"; "" where there is none ("01. Intro")."""
    kind = printable(os.path.splitext(path)[1].lower())
    return "" if " " in kind else kind


def _is_hidden(folder: str) -> bool:
    return folder.startswith(".") or folder.lower() in _SYSTEM_FOLDERS


def printable(path: str) -> str:
    """The path with bytes that are not UTF-8 shown as escapes, so that any terminal and JSON takes it."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
