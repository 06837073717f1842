"""Finds the tracks of a library by remembered words: the book finds the lyrics, and the catalogue checks them."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from ..index.catalogue import Catalogue
from ..index.records import Track
from .book import Book, Match, Song


def find_sung(catalogue: Catalogue, words: str, *, where: Mapping[str, Any] | None) -> dict[int, tuple[Track, Match]]:
    """Find the tracks whose lyrics have these words, by label, the best first; see `Book.search`.

    A track counts if the lyrics are still those of its file as the catalogue knows it, and if it has a vector.

    Args:
        catalogue: the caller holds its `reading()`.
        words: what is remembered.
        where: see `MusicSearch.search`.

    Raises:
        LibraryError: the library has no lyrics, or their file is damaged.
        QueryError: `where` names an unknown field.
    """
    chosen = None if where is None else set(catalogue.labels(where).tolist())
    tracks: dict[str, Track] = {}

    def keep(songs: Sequence[Song]) -> list[bool]:
        tracks.update((track.track_id, track) for track in catalogue.by_ids([song.track_id for song in songs]))
        return [is_found(song, tracks.get(song.track_id)) for song in songs]

    def is_found(song: Song, track: Track | None) -> bool:
        return track is not None and song.is_of(track.file) and (chosen is None or track.label in chosen)

    with closing(Book(catalogue.folder)) as book:
        found = [(tracks[match.song.track_id], match) for match in book.search(words, keep=keep)]
    return {track.label: (track, match) for track, match in found if track.label is not None}
