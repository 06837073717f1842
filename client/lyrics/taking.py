"""Brings the lyrics of a library up to date with its files, and takes lyrics from an application."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import AudioError, LibraryError, QueryError
from ..index.catalogue import Catalogue
from ..index.records import FileState, Track
from .book import Book, Song
from .lines import Line, tidy
from .reading import find_beside, read_lyrics

_AT_ONCE = 64  # tracks; a crash loses at most one such group, which is read again
_NOT_READ = -1  # bytes


class Taking:
    """Reads the lyrics of files into a library's book.

    Args:
        catalogue: the library; the caller holds its `writing()`.
        book: its lyrics.
        lock: held around every use of the two, because other threads search meanwhile.
        read: calls `read_lyrics` on a file; a decoder's `call` does that in its own process.
        note: called with the error of each file that was read, or None. An error that it raises ends the work; what was
            read before is kept.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        book: Book,
        *,
        lock: AbstractContextManager[object],
        read: Callable[[Callable[[str], list[Line]], str], list[Line]],
        note: Callable[[AudioError | None], None],
    ) -> None:
        self._catalogue = catalogue
        self._book = book
        self._lock = lock
        self._read = read
        self._note = note

    def run(self, paths: Iterable[str], *, advance: Callable[[float], None]) -> int:
        """Read the lyrics of the tracks at these paths whose file, or .lrc file, has changed since it was last read.

        Returns:
            How many of these tracks have lyrics now.
        """
        have_lyrics = 0
        for group in _groups(paths):
            with self._lock:
                found = (self._catalogue.by_path(path) for path in group)
                tracks = [track for track in found if track is not None]
                known = self._book.songs([track.track_id for track in tracks])
            read: list[Song] = []
            try:
                for track in tracks:
                    if (song := self._song(track, known.get(track.track_id))) is not None:
                        read.append(song)
            finally:
                with self._lock:
                    known = self._book.songs([song.track_id for song in read])  # some may have been given meanwhile
                    self._book.put([_kept(song, known.get(song.track_id)) for song in read])
                    songs = self._book.songs([track.track_id for track in tracks])
            have_lyrics += sum(bool(song.lines) for song in songs.values())
            for _ in group:
                advance(0.0)
        return have_lyrics

    def _song(self, track: Track, known: Song | None) -> Song | None:
        """Read the file and its .lrc file. None if they have not changed, or cannot be read now."""
        _, beside = find_beside(track.file.path)
        if known is not None and known.was_read_from(track.file) and known.beside == beside:
            return None
        try:
            lines = self._read(read_lyrics, track.file.path)
        except AudioError as exc:  # of its store, or of a file that is gone; the next call tries again
            self._note(exc)
            return None
        self._note(None)
        return Song(track.track_id, False, track.file, beside, tuple(lines))


def _kept(song: Song, known: Song | None) -> Song:
    """The lyrics of a file, or those that were given for it if the file has none."""
    if song.lines or known is None or not known.is_given or not known.is_of(song.file):
        return song
    return replace(known, file=song.file, beside=song.beside)


def give(
    catalogue: Catalogue,
    book: Book,
    lyrics: Mapping[str, Sequence[tuple[float | None, str]]],
    *,
    heard: bool = False,
) -> list[str]:
    """Store lyrics by track id; see `MusicSearch.put_lyrics`. The caller holds the catalogue's `writing()`.

    Args:
        catalogue: the library.
        book: its lyrics.
        lyrics: by track id, the lines as (seconds, text).
        heard: a transcriber wrote them. They replace only lyrics that a transcriber wrote before, and only if there
            are any lines.

    Returns:
        The ids of tracks that keep their lyrics, because these are in the file or count more than what was heard.
    """
    if not isinstance(lyrics, Mapping):
        raise QueryError(f"lyrics is {lyrics!r}, expected a dict of track ids and lists of (seconds, text)")
    lines = {track_id: _checked(given, of=track_id) for track_id, given in lyrics.items()}
    kept, songs, gone = [], [], []
    for track_id, given in lines.items():
        track = catalogue.by_id(track_id)
        if track is None:
            raise LibraryError(f"no track {track_id!r} in {catalogue.name}: searches show the ids of its tracks")
        known = book.songs([track_id]).get(track_id)
        now = known if known is not None and known.lines and known.is_of(track.file) else None
        if now is not None and (not now.is_given or (heard and not (given and now.is_heard))):
            kept.append(track_id)
        elif not given:
            gone.append(track_id)
        else:
            is_read = known is not None and known.was_read_from(track.file)
            file = track.file if is_read else FileState("", _NOT_READ, 0, track.file.content_hash)
            songs.append(Song(track_id, True, file, known.beside if known else "", tuple(given), heard))
    book.put(songs)
    book.forget(gone)
    return kept


def _groups(paths: Iterable[str]) -> Iterator[list[str]]:
    group: list[str] = []
    for path in paths:
        group.append(path)
        if len(group) == _AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _checked(given: Any, *, of: str) -> list[Line]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise QueryError(f"the lyrics of {of!r} are {given!r}, expected a list of (seconds, text)")
    for line in given:
        is_pair = isinstance(line, Sequence) and len(line) == 2 and isinstance(line[1], str)
        if not is_pair or not (line[0] is None or _is_time(line[0])):
            raise QueryError(
                f"a line of the lyrics of {of!r} is {line!r}, expected (seconds, text), with None where the time is "
                "not known"
            )
    return tidy(Line(None if start_s is None else float(start_s), text) for start_s, text in given)


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return is_number and 0 <= float(value) < float("inf")
