"""Looks after the lyrics of a library: finds damage, and drops what is no longer needed."""

from contextlib import closing
from pathlib import Path

from ..errors import LibraryError
from ..index.catalogue import Catalogue
from .book import FILE_NAME, Book, has_lyrics


def verify(folder: Path) -> list[str]:
    """List what is wrong with the lyrics of a library, one sentence each. Empty for a library without lyrics."""
    if not has_lyrics(folder):
        return []
    try:
        with closing(Book(folder)) as book:
            return book.problems()
    except LibraryError as exc:
        return [str(exc)]


def compact(folder: Path) -> tuple[int, int]:
    """Drop the lyrics of removed tracks and outdated entries of the index, and give the space back to the disk.

    Returns:
        The size of the file in bytes, before and after. 0 if the library has no lyrics.

    Raises:
        LibraryError: the file is damaged, or the disk has no room for a copy of what is kept.
        LibraryBusy: another process is writing to the library.
    """
    if not has_lyrics(folder):
        return 0, 0
    path = folder / FILE_NAME
    with closing(Catalogue(folder)) as catalogue, catalogue.writing(), closing(Book(folder)) as book:
        before = path.stat().st_size
        drop_removed(catalogue, book)
        book.compact()
    return before, path.stat().st_size


def make_book(folder: Path, *, of: Path) -> Book:
    """Make a file of lyrics in a temporary folder. The caller later moves it into the new library's folder.

    Raises:
        LibraryError: the new library's folder `of` has a file of lyrics already, which would be lost.
    """
    if has_lyrics(of):
        raise LibraryError(f"{of} holds the lyrics of another library: choose another folder, or move {FILE_NAME} away")
    return Book(folder, create=True)


def drop_removed(catalogue: Catalogue, book: Book) -> None:
    """Remove the lyrics of tracks that are no longer in the library. The caller holds its `writing()`."""
    for ids in book.track_ids():
        there = {track.track_id for track in catalogue.by_ids(ids)}
        book.forget([track_id for track_id in ids if track_id not in there])
