"""Which files a list of paths stands for."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from .errors import QueryError

AUDIO_EXTENSIONS = frozenset(
    (
        *(".mp3", ".mp2", ".mp1", ".mpa", ".aac", ".adts", ".loas"),  # MPEG
        *(".m4a", ".m4b", ".m4r", ".f4a", ".3ga", ".alac", ".caf"),
        *(".ogg", ".oga", ".opus", ".spx", ".flac", ".mka", ".weba"),
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".voc", ".8svx"),
        *(".wma", ".xwma", ".ra", ".oma", ".aa3", ".at3", ".vqf", ".amr", ".awb"),
        *(".wv", ".ape", ".tta", ".tak", ".mpc", ".mp+", ".shn", ".rka", ".bonk", ".osq", ".qoa"),
        *(".dsf", ".dff", ".wsd", ".ac3", ".eac3", ".ec3", ".dts", ".dtshd", ".mlp", ".thd", ".truehd"),
    )
)
"""File names that a folder walk takes for audio: what FFmpeg decodes in the wheels of PyAV, which lack what plays notes
(MIDI, trackers, game chips). A file named explicitly is tried whatever its name."""

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
    """

    files: list[str]
    folders: list[str]
    failed: list[FailedTrack]
    unless_video: frozenset[str] = frozenset()
    passed_over: Mapping[str, int] = MappingProxyType({})


def find_audio(
    paths: Iterable[str | Path], *, video: bool = False, on_folder: Callable[[], None] = lambda: None
) -> Found:
    """The files named, and the audio files in the folders named and below.

    Symbolic links are followed, each real folder once, so a link to a parent ends; hidden entries and what operating
    systems put there are left out.

    Args:
        video: whether files with moving pictures are meant too, for their sound.
        on_folder: called for each folder; an error that it raises ends the walk.

    Raises:
        QueryError: an empty path, or what is none.
    """
    files: dict[str, None] = {}
    folders: list[str] = []
    failed: list[FailedTrack] = []
    seen: set[str] = set()
    unless_video: set[str] = set()
    passed_over: Counter[str] = Counter()

    def note(error: OSError) -> None:
        failed.append(FailedTrack(printable(str(error.filename)), f"cannot read the folder ({error.strerror})"))

    starts = list(map(_start, paths))
    named = {start for start in starts if not os.path.isdir(start)}
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
    return Found(list(files), folders, failed, frozenset(unless_video), dict(passed_over))


def _start(path: str | Path) -> str:
    if not isinstance(path, str | Path) or not os.fspath(path):
        raise QueryError(f"got {path!r} for a path; name a file or a folder")
    return os.path.abspath(os.path.expanduser(path))


def kind_of(path: str) -> str:
    """The end of a file's name that tells its format, in lower case: ".flac"; "" where there is none ("01. Intro")."""
    kind = printable(os.path.splitext(path)[1].lower())
    return "" if " " in kind else kind


def _is_hidden(folder: str) -> bool:
    return folder.startswith(".") or folder.lower() in _SYSTEM_FOLDERS


def printable(path: str) -> str:
    """The path with bytes that are not UTF-8 shown as escapes, so that any terminal and JSON takes it."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
