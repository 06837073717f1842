"""Bytes of files that lie here or in a store, such as s3://bucket/file, which fsspec reads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from fsspec.core import url_to_fs


class StoreError(OSError):
    """A store that cannot be read; the message is one clause that names the file."""


class Range(NamedTuple):
    """The bytes of a file from `begin` to before `end`."""

    place: str
    begin: int
    end: int


def is_url(place: str) -> bool:
    """Whether it names a file in a store, and none here."""
    return "://" in place


def size_of(place: str) -> int | None:
    """In bytes; None where the store does not tell.

    Raises:
        FileNotFoundError: no such file.
        StoreError: the store cannot be read.
    """
    system, path = _open_store(place)
    with _translated(place):
        size: int | None = system.info(path)["size"]
    return size


def read_file(place: str) -> bytes:
    """All of a file; raises as `size_of`."""
    system, path = _open_store(place)
    with _translated(place):
        content: bytes = system.cat_file(path)
    return content


def read_ranges(ranges: Sequence[Range]) -> list[bytes | OSError]:
    """Several parts of files of one store, at once where it can; less at a file's end, an error for what fails."""
    if not ranges:
        return []
    system, _ = _open_store(ranges[0].place)
    paths = [_open_store(part.place)[1] for part in ranges]
    begins, ends = [part.begin for part in ranges], [part.end for part in ranges]
    answers = system.cat_ranges(paths, begins, ends, on_error="return")
    return [
        answer if isinstance(answer, bytes) else StoreError(f"{part.place} cannot be read ({_first_line(answer)})")
        for part, answer in zip(ranges, answers, strict=True)
    ]


def _open_store(place: str) -> tuple[Any, str]:
    """fsspec's file system, which it keeps for each process, and the path in it."""
    try:
        opened: tuple[Any, str] = url_to_fs(place)
    except Exception as exc:  # a protocol that is unknown, or lacks its package; no access
        raise StoreError(f"{place} cannot be opened ({_first_line(exc)})") from exc
    return opened


@contextmanager
def _translated(place: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as exc:  # stores' errors have no common class
        raise StoreError(f"{place} cannot be read ({_first_line(exc)})") from exc


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]
