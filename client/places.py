"""Where a file is: at a path of this machine, or at a URL in a store (see `remote`, only imported for URLs)."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from audio.files import ByteFile

from .errors import QueryError, StoreError

# A scheme has two letters or more, because "C://" is a folder on Windows.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)


class Status(Protocol):
    """Size and times that tell whether a file has changed. See `FileState`. For a file, `os.stat` returns one."""

    @property
    def st_size(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_ctime_ns(self) -> int: ...
    @property
    def st_ino(self) -> int: ...


def is_url(place: str | os.PathLike[str]) -> bool:
    """Whether this is a URL, such as "s3://bucket/key" or the "grpc://host:8001" of a server, and not a path."""
    return isinstance(place, str) and "://" in place and _URL.match(place) is not None


def absolute(place: str | os.PathLike[str]) -> str:
    """The one name of a file or folder: an absolute path, or a URL without secrets.

    Raises:
        QueryError: the URL has a password or a query string.
    """
    if not is_url(place):
        return os.path.abspath(os.path.expanduser(place))
    found = _URL.match(os.fspath(place))
    assert found is not None
    scheme, rest = found[1].lower(), found[2]
    host = rest.partition("/")[0]
    user, has_user, _ = host.rpartition("@")
    is_web = scheme in ("http", "https")
    # A library stores the URL and shows it with every hit, so it must not give access to anything. The same is true for
    # this error message.
    if has_user and (is_web or ":" in user):
        raise QueryError(
            f"the {scheme}:// URL carries a user name or password, which a library must not keep: leave both out of "
            "the URL, and give them in the store's own settings (docs/remote.md)"
        )
    if is_web and ("?" in rest or "#" in rest):
        raise QueryError(
            f"{scheme}://{host}/... carries a query string, such as a signature, which a library must not keep: "
            "name the store itself (s3://bucket/key), and give its credentials in the environment"
        )
    return f"{scheme}://{rest.rstrip('/')}"


def is_there(place: str) -> bool:
    """Whether the file exists.

    Raises:
        StoreError: its store cannot tell.
    """
    if not is_url(place):
        return os.path.exists(place)
    with needing_extra():
        from . import remote
    return remote.is_there(place)


def beginning(folder: str) -> str:
    """The prefix of the places of all files in a folder."""
    return f"{folder.rstrip('/')}/" if is_url(folder) else os.path.join(folder, "")


def relocate(place: str, folders: Mapping[str, str]) -> str:
    """Where a file is after its folder has moved; keys are the former folders, and values the new ones."""
    for before, after in folders.items():
        first = beginning(before)
        if place.startswith(first):
            return beginning(after) + place[len(first) :]
    return place


def name_of(place: str) -> str:
    """The last part of a place: the file's name."""
    return place.rpartition("/")[2] if is_url(place) else os.path.basename(place)


@contextmanager
def opened(place: str) -> Iterator[ByteFile]:
    """A file, open for reading bytes.

    Raises:
        OSError: it cannot be opened.
        AudioError: it cannot be read from its store. It is also raised at the end of the block if the block hid it.
    """
    if not is_url(place):
        with open(place, "rb") as file:
            yield file
        return
    with needing_extra():
        from . import remote
    with remote.reading(place) as stored:
        yield stored


@contextmanager
def needing_extra() -> Iterator[None]:
    """Use it around the import of `remote`, to name the missing package in the error."""
    try:
        yield
    except ImportError as exc:
        raise StoreError(f"files in a store need fsspec ({exc}): pip install 'musicsearch[remote]'") from exc
