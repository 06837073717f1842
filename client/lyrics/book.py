"""The lyrics of a library: one SQLite file beside the catalogue, which is made when lyrics are first asked for.

A row holds the lyrics of a track and the state of the files that they were read from. A search compares this state with
the catalogue, so that a changed or removed track never shows its old words. The catalogue knows nothing of this file.
So the two need not change together, and a library without the file lacks only its lyrics.

The index lists the rows that have a piece of text (see `matching.grams`) or a word. Nothing is removed from it: a
changed row gets a new number, and entries of deleted rows stay unused until `compact` rebuilds the index. So an index
that another version of Python made, with other Unicode tables, does no harm. If an older version of MusicSearch made
it, it is rebuilt when the file is opened.
"""

import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryError
from ..index.database import Database, translated
from ..index.records import FileState
from ..index.schema import checksum
from .lines import Line
from .matching import MOST_LETTERS, align, beginnings, fold, grams

FILE_NAME = "lyrics.sqlite3"
REPAIR = "remove it, and run `music-search add LIB PATH... --lyrics` to read the lyrics again"
VERSION = 2
APPLICATION_ID = 0x4D75734C  # "MusL"

LEAST_FIT = 0.3
"""Lyrics that fit less than this are not found."""
MOST_FOUND = 100
"""Tracks that a search by lyrics compares letter by letter, and returns at most, the best first."""

_FEW_WORDS = 3  # so many words need not stand together
_APART, _BEGUN = 0.5, 0.8  # see `Match.fit`
_FREQUENT = 2_000, 0.05  # a piece that more rows have, or this share of them, does not lead to rows by itself
_IDS_AT_ONCE = 1_000

_TABLES = (
    """
CREATE TABLE songs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    track_id TEXT NOT NULL UNIQUE,
    given INTEGER NOT NULL,      -- 1: an application gave them; 2: a transcriber heard them; 0: they are the file's
    size INTEGER NOT NULL,       -- of the file when it was last read for lyrics; -1: it was not
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    content_hash TEXT NOT NULL,  -- of its sound
    beside TEXT NOT NULL,        -- the state of the .lrc file; empty: there was none
    lines TEXT NOT NULL,         -- JSON list of [seconds or null, text]; [] for a file without lyrics
    crc32 INTEGER NOT NULL       -- of those before
) STRICT
""",
    "CREATE VIRTUAL TABLE pieces USING fts5(tokens, content = '', detail = none, columnsize = 0, tokenize = ascii)",
)
# Without it, a library whose tracks all have no lyrics would be read whole to know that. A file that was made before
# there was such an index gets it at the next write.
_WITH_LINES = "CREATE INDEX IF NOT EXISTS with_lines ON songs (number) WHERE lines <> '[]'"
_COLUMNS = "number, track_id, given, size, mtime_ns, ctime_ns, content_hash, beside, lines"


@dataclass(frozen=True)
class Song:
    """The lyrics of a track.

    Attributes:
        track_id: the track.
        is_given: an application gave them. Else they were read from the file or from an .lrc file beside it.
        file: the file's state when it was last read for lyrics, without its path. Its size is -1 if it was not.
        beside: the state of the .lrc file. See `reading.find_beside`.
        lines: in the order in which they are sung; translations follow. Empty if the file has no lyrics.
        is_heard: a transcriber wrote what was given. Lyrics that a person gives replace it.
    """

    track_id: str
    is_given: bool
    file: FileState
    beside: str
    lines: tuple[Line, ...]
    is_heard: bool = False

    def is_of(self, file: FileState) -> bool:
        """Whether these are the lyrics of the file in this state. Given lyrics stay until the sound changes."""
        return file.content_hash == self.file.content_hash if self.is_given else self.was_read_from(file)

    def was_read_from(self, file: FileState) -> bool:
        """Whether the file was read for lyrics in this state. A `ctime_ns` that is not known matches any."""
        own, now = ((state.size, state.mtime_ns, state.content_hash) for state in (self.file, file))
        return own == now and 0 in (self.file.ctime_ns, file.ctime_ns, self.file.ctime_ns - file.ctime_ns)


class Match(NamedTuple):
    """Lyrics that a search found.

    Attributes:
        song: the lyrics.
        line: the line in the middle of what fits.
        fit: from 0 to 1, the mean of two shares: of the words' letters that are sung in this order, and of the words'
            pieces (see `matching.grams`) that the song has, where rare pieces count more. If there are at most three
            words, and the song has them all, the second share is at least a half. It is 1 if one short word has no
            pieces, and four fifths of that if the last word is only the beginning of one that is sung.
    """

    song: Song
    line: Line
    fit: float


class Book(Database):
    """The open lyrics of a library. Writes belong into the catalogue's `writing()`.

    Args:
        folder: the library's folder.
        create: make the file if there is none.

    Raises:
        LibraryError: there is no file (and `create` is False), it is damaged, or a newer version made it.
    """

    file_name = FILE_NAME
    kind = "a file of lyrics"
    repair = REPAIR

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        if not create and not has_lyrics(folder):
            raise LibraryError(
                f"{folder} has no lyrics yet: run `music-search add {folder} PATH... --lyrics`, which reads them from "
                "tags and .lrc files"
            )
        with translated(folder / FILE_NAME, kind=self.kind, repair=self.repair):
            super().__init__(folder)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise

    @property
    def _place(self) -> Path:
        return self.folder / FILE_NAME

    def _open(self) -> None:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application == APPLICATION_ID and version > VERSION:
            raise LibraryError(
                f"{self._place} was written by a newer MusicSearch (lyrics {version}, this one knows {VERSION}): "
                "upgrade MusicSearch"
            )
        if application == APPLICATION_ID and version < VERSION:
            with self._transaction():
                if self._db.execute("PRAGMA user_version").fetchone()[0] < VERSION:  # no other process has done it
                    self._make_index()
                    self._db.execute(f"PRAGMA user_version = {VERSION}")
        if application != APPLICATION_ID:
            if not self._is_empty():
                raise LibraryError(f"{self._place} is not a file of lyrics: move it out of the library's folder")
            self._db.execute("PRAGMA journal_mode = WAL")
            with self._transaction():
                if self._is_empty():  # another process may have made them in the meantime
                    for table in _TABLES:
                        self._db.execute(table)
                    self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    self._db.execute(f"PRAGMA user_version = {VERSION}")
        self._db.execute("PRAGMA synchronous = FULL")  # given lyrics may have cost hours

    # -- writing ---------------------------------------------------------------------------------------

    def put(self, songs: Sequence[Song]) -> None:
        """Store lyrics in one transaction; they replace those of the same tracks. Durable when this returns."""
        with self._changing():
            self._db.execute(_WITH_LINES)
            for song in songs:
                self._db.execute("DELETE FROM songs WHERE track_id = ?", (song.track_id,))
                (last,) = self._one("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'songs'")
                given = int(song.is_given) + int(song.is_heard)
                row = (last + 1, song.track_id, given, *_state(song.file), song.beside, _to_json(song))
                self._db.execute(f"INSERT INTO songs VALUES ({', '.join('?' * len(row))}, ?)", (*row, checksum(*row)))
                self._index(last + 1, song)

    def put_texts(self, texts: Mapping[str, str]) -> None:
        """Store what `texts` gave."""
        self.put([_from_text(track_id, text) for track_id, text in texts.items()])

    def forget(self, track_ids: Sequence[str]) -> None:
        """Remove the lyrics of these tracks in one transaction."""
        with self._changing():
            self._db.executemany("DELETE FROM songs WHERE track_id = ?", [(track_id,) for track_id in track_ids])

    def compact(self) -> None:
        """Rebuild the index without removed rows, and give the space back to the disk."""
        with self._changing():
            self._make_index()
        with self._translated():
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _make_index(self) -> None:
        self._db.execute("DROP TABLE pieces")
        self._db.execute(_TABLES[1])
        last = 0
        while rows := self._rows("number > ? ORDER BY number LIMIT ?", last, _IDS_AT_ONCE):
            for last, song in rows:
                self._index(last, song)
        self._db.execute("INSERT INTO pieces (pieces) VALUES ('optimize')")

    def _index(self, number: int, song: Song) -> None:
        folded = " ".join(fold(line.text) for line in song.lines)
        if tokens := [*map(_token, grams(folded)), *map(_word_token, beginnings(folded))]:
            self._db.execute("INSERT INTO pieces (rowid, tokens) VALUES (?, ?)", (number, " ".join(tokens)))

    # -- reading ---------------------------------------------------------------------------------------

    def songs(self, track_ids: Sequence[str]) -> dict[str, Song]:
        """The lyrics of these tracks, by id. Unknown ids are left out."""
        found = self._rows("track_id IN (SELECT value FROM json_each(?))", json.dumps(list(track_ids)))
        return {song.track_id: song for _, song in found}

    def texts(self, track_ids: Sequence[str]) -> dict[str, str]:
        """The lyrics of these tracks as JSON objects, for an export: `put_texts` reads them. Unknown ids are left out.

        A text has "lines", a list of [seconds or null, text], and what `songs` has of its source: "given", "heard", and
        "size", "mtime_ns", "content_hash" and "beside". The ctime stays behind, because the copy is on another disk.
        """
        return {track_id: _to_text(song) for track_id, song in self.songs(track_ids).items()}

    def has_words(self) -> bool:
        """Whether any track has lyrics."""
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM songs WHERE lines <> '[]')")[0])

    def track_ids(self) -> Iterator[list[str]]:
        """The ids of all tracks that have a row, some at a time."""
        last = 0
        while rows := self.rows(
            "SELECT number, track_id FROM songs WHERE number > ? ORDER BY number LIMIT ?", last, _IDS_AT_ONCE
        ):
            yield [track_id for _, track_id in rows]
            last = rows[-1][0]

    def search(self, words: str, *, keep: Callable[[Sequence[Song]], Sequence[bool]]) -> list[Match]:
        """The lyrics that fit the words best, best first, at most `MOST_FOUND`.

        Args:
            words: what is remembered. The last of a few words may be unfinished, because people see what is found while
                they type.
            keep: tells which lyrics may be found.
        """
        asked = fold(words)[:MOST_LETTERS].strip()
        if not asked:
            return []
        words_asked = beginnings(asked)
        is_short = len(words_asked) <= _FEW_WORDS
        with self.reading():
            pieces = grams(asked)
            shares = self._candidates(pieces)
            if is_short:
                for number, share in self._with_words(words_asked, share=_APART if pieces else 1.0).items():
                    shares[number] = max(share, shares.get(number, 0.0))
            best = sorted(shares, key=lambda number: (-shares[number], number))
            matches: list[Match] = []
            compared, first, rows = 0, 0, MOST_FOUND
            while first < len(best) and compared < MOST_FOUND:
                chunk = self._rows("number IN (SELECT value FROM json_each(?))", json.dumps(best[first : first + rows]))
                kept = keep([song for _, song in chunk])
                songs = [(number, song) for (number, song), is_kept in zip(chunk, kept, strict=True) if is_kept]
                songs.sort(key=lambda row: (-shares[row[0]], row[0]))
                songs = songs[: MOST_FOUND - compared]
                # Few words begin and end where words of the song do: "rain" is not in "trains".
                matches += _compare(f" {asked} " if is_short else asked, dict(songs), shares)
                compared, first, rows = compared + len(songs), first + rows, 4 * rows
        found = [match for match in matches if match.fit >= LEAST_FIT]
        return sorted(found, key=lambda match: (-match.fit, match.song.track_id))

    def _candidates(self, pieces: Sequence[int]) -> dict[int, float]:
        """By number, the rows that have some of these pieces, and the share of the pieces' weight that they have.

        A piece weighs log(1 + rows / rows that have it).
        """
        total = self._one("SELECT count(*) FROM songs")[0]
        most = _most(total)
        lists, weights, frequent = [], [], []
        for piece in map(_token, pieces):
            found = self._numbers(piece, most=most + 1)
            if len(found) > most:
                frequent.append(piece)
                continue
            lists.append(found)
            weights.append(math.log1p(total / max(1, len(found))))
        if frequent:  # they lead to rows that have them all
            lists.append(self._numbers(" AND ".join(frequent), most=most))
            weights.append(len(frequent) * math.log1p(total / most))
        numbers, at = np.unique(np.concatenate([np.empty(0, np.int64), *lists]), return_inverse=True)
        gained = np.bincount(at, np.repeat(weights, [len(found) for found in lists]), len(numbers))
        return dict(zip(numbers.tolist(), (gained / sum(weights)).tolist(), strict=True))

    def _with_words(self, words: Sequence[str], *, share: float) -> dict[int, float]:
        """By number, the rows that have all these words, with this share; with less if the last word is unfinished."""
        most = _most(self._one("SELECT count(*) FROM songs")[0])
        query = " AND ".join(f'"{_word_token(word)}"' for word in words)
        whole, begun = (self._numbers(match, most=most).tolist() for match in (query, f"{query} *"))
        return dict.fromkeys(begun, _BEGUN * share) | dict.fromkeys(whole, share)

    def _numbers(self, match: str, *, most: int) -> NDArray[np.int64]:
        """The rows that a query of the index finds, int64 [n], ascending."""
        rows = self.rows("SELECT rowid FROM pieces WHERE pieces MATCH ? LIMIT ?", match, most)
        return np.array(rows, np.int64).reshape(-1)

    def problems(self) -> list[str]:
        """What is wrong with the file, one sentence each: SQLite's own check, the checksums, the index."""
        problems = []
        try:
            lines = [line for (line,) in self.rows("PRAGMA integrity_check(20)")]
            problems += [f"{self._place}: {line}" for line in lines if line != "ok"]
            rows = self.rows(f"SELECT {_COLUMNS}, crc32 FROM songs")
            if count := sum(checksum(*values) != crc32 for *values, crc32 in rows):
                problems.append(f"{self._place}: rows that do not match their checksums: {count}")
            with suppress(sqlite3.OperationalError):  # the file may only be read
                self._db.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")  # it writes nothing
        except (LibraryError, sqlite3.DatabaseError) as exc:
            problems.append(f"{self._place}: {exc}")
        return [f"{problem}; {self.repair}" for problem in problems]

    def _rows(self, condition: str, *values: int | str) -> list[tuple[int, Song]]:
        found = []
        for *columns, crc32 in self.rows(f"SELECT {_COLUMNS}, crc32 FROM songs WHERE {condition}", *values):
            if checksum(*columns) != crc32:
                raise self._damaged(f"row {columns[0]}")
            number, track_id, given, size, mtime_ns, ctime_ns, content_hash, beside, lines = columns
            file = FileState("", size, mtime_ns, content_hash, ctime_ns)
            song = Song(track_id, given > 0, file, beside, tuple(Line(*line) for line in json.loads(lines)), given > 1)
            found.append((number, song))
        return found


def has_lyrics(folder: Path) -> bool:
    """Whether a library has a file of lyrics."""
    return (folder / FILE_NAME).is_file()


def state_of_lyrics(folder: Path) -> list[int]:
    """Sizes and times of the file and of SQLite's log beside it, which change whenever the lyrics do."""
    state: list[int] = []
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):
        with suppress(OSError):
            status = (folder / name).stat()
            if status.st_size:  # an empty log is there while somebody reads
                state += [status.st_size, status.st_mtime_ns]
    return state


def _compare(asked: str, songs: Mapping[int, Song], shares: Mapping[int, float]) -> list[Match]:
    texts = [[fold(line.text) for line in song.lines] for song in songs.values()]
    places = align(asked, [f" {' '.join(lines)} " for lines in texts])
    matches = []
    for (number, song), lines, place in zip(songs.items(), texts, places, strict=True):
        ends = np.cumsum([len(line) + 1 for line in lines])
        line = song.lines[min(int(np.searchsorted(ends, place.middle, side="right")), len(lines) - 1)]
        matches.append(Match(song, line, (place.fit + shares[number]) / 2))
    return matches


def _state(file: FileState) -> tuple[int, int, int, str]:
    return file.size, file.mtime_ns, file.ctime_ns, file.content_hash


def _to_json(song: Song) -> str:
    return json.dumps(song.lines, ensure_ascii=False, separators=(",", ":"))


def _to_text(song: Song) -> str:
    file = song.file
    source = {"given": song.is_given, "heard": song.is_heard, "beside": song.beside}
    state = {"size": file.size, "mtime_ns": file.mtime_ns, "content_hash": file.content_hash}
    return json.dumps({"lines": song.lines, **source, **state}, ensure_ascii=False)


def _from_text(track_id: str, text: str) -> Song:
    known = json.loads(text)
    file = FileState("", known["size"], known["mtime_ns"], known["content_hash"])
    lines = tuple(Line(*line) for line in known["lines"])
    return Song(track_id, known["given"], file, known["beside"], lines, known.get("heard", False))


def _most(songs: int) -> int:
    """In so many songs, the most rows that a piece may have to be searched for alone."""
    return max(_FREQUENT[0], int(_FREQUENT[1] * songs))


def _token(piece: int) -> str:
    return f"{piece:08x}"


def _word_token(beginning: str) -> str:
    return f"w{beginning}"  # no number in hexadecimal has a w
