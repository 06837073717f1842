"""Reads bytes of local files or of files in a store, such as s3://bucket/file, with fsspec."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from fsspec.core import url_to_fs


class StoreError(OSError):
    """A store cannot be read. The message is one clause that names the file.

    Attributes:
        may_pass: whether a retry may succeed.
    """

    def __init__(self, place: str, problem: BaseException, *, cannot: str = "read") -> None:
        super().__init__(f"{place} cannot be {cannot} ({_first_line(problem)})")
        self.may_pass = not isinstance(problem, FileNotFoundError | PermissionError)


class Range(NamedTuple):
    """The bytes of a file from `begin` up to, but not including, `end`."""

    place: str
    begin: int
    end: int


def is_url(place: str) -> bool:
    """Tell whether it names a file in a store, not a local file."""
    return "://" in place


def size_of(place: str) -> int | None:
    """Return the size of a file in bytes; None if the store does not tell.

    Raises:
        FileNotFoundError: the file does not exist.
        StoreError: the store cannot be read.
    """
    system, path = _open_store(place)
    with _translated(place):
        size: int | None = system.info(path)["size"]
    return size


def read_file(place: str) -> bytes:
    """Read a whole file; raises like `size_of`."""
    system, path = _open_store(place)
    with _translated(place):
        content: bytes = system.cat_file(path)
    return content


def read_ranges(ranges: Sequence[Range]) -> list[bytes | StoreError]:
    """Read several ranges from one store, in parallel if possible; a range that fails gives an error as its result.

    A range beyond the end of a file gives fewer bytes.
    """
    if not ranges:
        return []
    system, _ = _open_store(ranges[0].place)
    paths = [_open_store(part.place)[1] for part in ranges]
    begins, ends = [part.begin for part in ranges], [part.end for part in ranges]
    answers = system.cat_ranges(paths, begins, ends, on_error="return")
    return [
        answer if isinstance(answer, bytes) else StoreError(part.place, answer)
        for part, answer in zip(ranges, answers, strict=True)
    ]


# fsspec forgets all file systems in a fork. If s3fs' was freed there, the connections of the parent would be closed:
# the parent's next read would wait for 15 s, until it times out.
_kept: set[Any] = set()


def _open_store(place: str) -> tuple[Any, str]:
    """Return fsspec's file system, of which it makes one in each process, and the path in it."""
    try:
        opened: tuple[Any, str] = url_to_fs(place)
    except Exception as exc:  # an unknown protocol, a protocol whose package is missing, or no access
        raise StoreError(place, exc, cannot="opened") from exc
    _kept.add(opened[0])
    return opened


@contextmanager
def _translated(place: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as exc:  # the errors of stores have no common class
        raise StoreError(place, exc) from exc


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]
