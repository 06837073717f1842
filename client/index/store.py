"""The two kinds of store: a folder with a catalogue and its search index, or a collection of a Milvus server."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryError
from ..places import is_url
from .catalogue import Catalogue
from .exact import Found
from .fields import Value
from .live import LiveIndex
from .recall import Recall
from .records import FailedFile, FileState, Model, NewTrack, Track

if TYPE_CHECKING:
    from .milvus import MilvusStore


class Store(Protocol):
    """An open library. `Catalogue` implements it and documents the methods."""

    model: Model

    @property
    def name(self) -> str: ...
    def close(self) -> None: ...
    def is_current(self) -> bool: ...
    def beside(self, model: Model) -> "Beside": ...
    def __len__(self) -> int: ...
    def totals(self) -> tuple[int, float]: ...

    def writing(self) -> AbstractContextManager[None]: ...
    def put(self, tracks: Sequence[NewTrack]) -> None: ...
    def touch(self, files: Mapping[str, FileState], *, tags: Mapping[str, Mapping[str, Value]] = ...) -> None: ...
    def annotate(self, annotations: Mapping[str, Mapping[str, Value | None]]) -> None: ...
    def remove(self, track_ids: Iterable[str]) -> None: ...
    def mark_missing(self, numbers: Iterable[int]) -> None: ...
    def note_failed(self, files: Iterable[FailedFile]) -> None: ...
    def forget_failed(self, paths: Iterable[str]) -> None: ...
    def put_probes(self, probes: Mapping[str, NDArray[np.float32]]) -> None: ...

    def reading(self) -> AbstractContextManager[None]: ...
    def vectors(self, *, rows_at_once: int = ...) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]: ...
    def vectors_of(self, labels: Sequence[int]) -> dict[int, NDArray[np.float32]]: ...
    def sample(self, rows: int) -> NDArray[np.float32]: ...
    def named_like(self, text: str, *, where: Mapping[str, Any] | None = ...) -> dict[int, float]: ...
    def vector(self, label: int) -> NDArray[np.float32]: ...
    def windows(self, label: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def windows_of(self, labels: Sequence[int]) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]: ...
    def probes(self, kind: str | None = None) -> NDArray[np.float32]: ...
    def by_labels(self, labels: Sequence[int]) -> list[Track]: ...
    def accept_gone(self, label: int) -> None: ...
    def by_label(self, label: int) -> Track | None: ...
    def by_id(self, track_id: str) -> Track | None: ...
    def by_ids(self, track_ids: Sequence[str]) -> list[Track]: ...
    def by_path(self, path: str) -> Track | None: ...
    def by_content(self, content_hash: str) -> list[Track]: ...
    def knows_sounds(self) -> bool: ...
    def named(self, name: str | Path) -> Track: ...
    def below(self, folder: str) -> Iterator[tuple[int, str]]: ...
    def missing(self) -> list[Track]: ...
    def warned(self) -> list[Track]: ...
    def failed(self) -> list[FailedFile]: ...


class Beside(Store, Protocol):
    """The vectors of another model beside a library, until the library switches to it."""

    def lacking(self) -> list[str]: ...
    def make_current(self) -> None: ...


class Index(Protocol):
    """The search index of a library; see `LiveIndex`."""

    @property
    def kind(self) -> str: ...
    def search(
        self, query: NDArray[np.float32], *, k: int, where: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...
    def search_whole(self, query: NDArray[np.float32], *, k: int, where: Mapping[str, Any] | None = None) -> Found: ...
    def recall(self) -> Recall: ...
    def save(self) -> None: ...


def open_store(library: str | Path, *, create: Model | None = None) -> Store:
    """Open a library by its folder or its Milvus address.

    Args:
        library: a folder, or an address that `milvus.MilvusStore` takes.
        create: the model of a new library; None opens only an existing library.

    Raises:
        LibraryError: there is no library (and `create` is None), it is in a store, it cannot be opened, or pymilvus is
            not installed.
    """
    place = place_of(library)
    if isinstance(place, str):
        return open_milvus(place, create=create)
    return Catalogue(place.expanduser(), create=create)


def place_of(library: str | Path) -> str | Path:
    """The Milvus address of a library, or its folder.

    Raises:
        LibraryError: it is the URL of something else.
    """
    if is_milvus(library):
        return str(library)
    if is_url(library):
        raise LibraryError(f"{library} is in a store, but a library must be in a folder: name a folder")
    return Path(library)


def open_milvus(uri: str, *, create: Model | None) -> "MilvusStore":
    """Open a library by its Milvus address; see `open_store`."""
    with _needing_pymilvus(uri):
        from .milvus import MilvusStore
    return MilvusStore(uri, create=create)


def check_milvus(uri: str) -> None:
    """Check the form of a Milvus address, without asking the server.

    Raises:
        LibraryError: it is not the address of a library, or pymilvus is not installed.
    """
    with _needing_pymilvus(uri):
        from .milvus import parse_address
    parse_address(uri)


@contextmanager
def _needing_pymilvus(uri: str) -> Iterator[None]:
    try:
        yield
    except ImportError as exc:
        raise LibraryError(f"{uri} needs pymilvus ({exc}): pip install 'musicsearch[milvus]'") from exc


def open_index(store: Store, *, recall: float = 0.99) -> Index:
    """Open the search index of an open library.

    Args:
        store: the open library.
        recall: see `MusicSearch`.
    """
    if isinstance(store, Catalogue):
        return LiveIndex(store, recall=recall)
    from .milvus import MilvusIndex, MilvusStore

    assert isinstance(store, MilvusStore)
    return MilvusIndex(store, recall=recall)


def is_milvus(library: str | Path) -> bool:
    """Whether this is the address of a Milvus server or file, and not a folder."""
    return str(library).startswith(("milvus:", "milvuss:"))
