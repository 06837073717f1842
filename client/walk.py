"""Finds the files that a list of paths stands for."""

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
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
"""File extensions of containers that hold video or only audio. The file has to be opened to find out."""

_SYSTEM_FOLDERS = frozenset(
    (
        *("$recycle.bin", "recycler", "recycled", "system volume information"),  # Windows
        *("__macosx", "network trash folder", "temporary items", "lost+found"),
        *("#recycle", "#snapshot", "@eadir", "@tmp"),  # Synology
        *("@recycle", "@recently-snapshot"),  # QNAP
    )
)
"""Lower-case names of folders that operating systems and file servers create: trash, snapshots, previews.

Others of their kind (.Trash-1000, .AppleDouble, .@__thumb, macOS' ._ files) are hidden."""

_COMPARED = 10_000  # URLs that are compared with a listing at once


@dataclass(frozen=True)
class FailedTrack:
    """A file or folder that was not added, and why. If the library has an earlier version of it, that stays."""

    path: str
    reason: str


class Found(NamedTuple):
    """The result of a walk.

    Attributes:
        files: absolute paths.
        folders: the named folders that were read completely.
        failed: folders that cannot be read.
        unless_video: files that are skipped if they have video.
        passed_over: how many other files there are, by their `kind_of`.
        listings: folders of stores. They are read while they are iterated.
    """

    files: list[str]
    folders: list[str]
    failed: list[FailedTrack]
    unless_video: frozenset[str] = frozenset()
    passed_over: Mapping[str, int] = MappingProxyType({})
    listings: tuple["Listing", ...] = ()

    def listed(self) -> Iterator["Listed"]:
        """All files: those of this machine, then those of the stores."""
        yield from (Listed(path, None, path in self.unless_video) for path in self.files)
        for listing in self.listings:
            yield from listing


class Listed(NamedTuple):
    """An audio file of a walk.

    Attributes:
        path: its path or URL.
        status: a store's information on this version of the file, from a listing. None if there is none.
        unless_video: skip the file if it has video.
    """

    path: str
    status: Status | None
    unless_video: bool


class Listing:
    """The audio files below a URL. They are listed while they are iterated, once, and never all held in memory.

    Attributes:
        passed_over: see `Found`. So far.
        listed: how many audio files there are. So far.
        failed: why the listing could not be read completely.
        is_complete: whether it was read completely.
    """

    def __init__(self, url: str, *, video: bool, named: frozenset[str]) -> None:
        self.url = url
        self.listed = 0
        self.passed_over: Counter[str] = Counter()
        self.failed: FailedTrack | None = None
        self.is_complete = False
        self._video, self._named = video, named
        self._hashes = array("Q")  # of all URLs that were listed

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
        """Return the numbers and URLs that are not in a complete listing.

        For a million files, two URLs have the same hash in one of 37 million listings. A file that is gone is then
        kept.
        """
        there, asked = np.sort(np.frombuffer(self._hashes, np.uint64)), iter(known)
        gone: list[tuple[int, str]] = []
        while part := list(islice(asked, _COMPARED)):
            hashes = np.fromiter((_hash(url) for _, url in part), np.uint64, len(part))
            is_there = np.searchsorted(there, hashes, side="left") < np.searchsorted(there, hashes, side="right")
            gone.extend(one for one, is_listed in zip(part, is_there, strict=True) if not is_listed)
        return gone

    def _kind(self, below: str) -> str | None:
        """The kind of an audio or video file, else None. Other files are counted, except hidden ones."""
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
    """Find the named files, and the audio files in the named folders and their subfolders.

    They are on this machine or in stores. Symbolic links are followed. Each real folder is read only once, so a link to
    a parent folder does no harm. Hidden entries and system folders are left out.

    Args:
        paths: files and folders.
        video: also include the sound of files with video.
        on_folder: called for each folder. An error that it raises ends the walk.

    Raises:
        QueryError: an empty path, a value that is not a path, or a URL with secrets.
        StoreError: a URL of a store that is not supported.
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
    """Split off the places that are not files: folders of stores, and places that are not there.

    Args:
        places: the places, and their names as the user gave them.
        failed: gets the places that are not there.

    Returns:
        The listings of the folders of stores, and all places that are not files.
    """
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
    """The extension of a file's name, in lower case: ".flac". It is "" if there is none ("01. Intro")."""
    kind = printable(os.path.splitext(path)[1].lower())
    return "" if " " in kind else kind


def _is_hidden(folder: str) -> bool:
    return folder.startswith(".") or folder.lower() in _SYSTEM_FOLDERS


def printable(path: str) -> str:
    """The path with escapes for bytes that are not UTF-8, so that it can be printed and written as JSON."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
