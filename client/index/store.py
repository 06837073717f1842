"""Where a library is kept: a folder with a catalogue and its search index, or a collection of a Milvus server."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryError
from .catalogue import Catalogue, FailedFile, FileState, Model, NewTrack, Track
from .fields import Value
from .live import LiveIndex

if TYPE_CHECKING:
    from .milvus import MilvusStore


class Store(Protocol):
    """An open library; what the methods do is told by `Catalogue`, which is one."""

    model: Model

    @property
    def name(self) -> str: ...
    def close(self) -> None: ...
    def is_current(self) -> bool: ...
    def __len__(self) -> int: ...
    def totals(self) -> tuple[int, float]: ...

    def writing(self) -> AbstractContextManager[None]: ...
    def put(self, tracks: Sequence[NewTrack]) -> None: ...
    def touch(self, files: Mapping[str, FileState]) -> None: ...
    def annotate(self, annotations: Mapping[str, Mapping[str, Value | None]]) -> None: ...
    def remove(self, track_ids: Iterable[str]) -> None: ...
    def mark_missing(self, numbers: Iterable[int]) -> None: ...
    def note_failed(self, files: Iterable[FailedFile]) -> None: ...
    def forget_failed(self, paths: Iterable[str]) -> None: ...
    def put_probes(self, probes: Mapping[str, NDArray[np.float32]]) -> None: ...

    def reading(self) -> AbstractContextManager[None]: ...
    def vectors(self, *, rows_at_once: int = ...) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]: ...
    def vector(self, label: int) -> NDArray[np.float32]: ...
    def windows(self, label: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def windows_of(self, labels: Sequence[int]) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]: ...
    def probes(self, kind: str | None = None) -> NDArray[np.float32]: ...
    def by_labels(self, labels: Sequence[int]) -> list[Track]: ...
    def accept_gone(self, label: int) -> None: ...
    def by_label(self, label: int) -> Track | None: ...
    def by_id(self, track_id: str) -> Track | None: ...
    def by_path(self, path: str) -> Track | None: ...
    def by_content(self, content_sha256: str) -> list[Track]: ...
    def named(self, name: str | Path) -> Track: ...
    def below(self, folder: str) -> list[tuple[int, str]]: ...
    def missing(self) -> list[str]: ...
    def failed(self) -> list[FailedFile]: ...


class Index(Protocol):
    """What searches a library's vectors; see `LiveIndex`."""

    @property
    def kind(self) -> str: ...
    def search(
        self, query: NDArray[np.float32], *, k: int, where: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...
    def save(self) -> None: ...


def open_store(library: str | Path, *, create: Model | None = None) -> Store:
    """Open a library by its folder or its Milvus address.

    Args:
        library: a folder, or an address as `milvus.MilvusStore` takes it.
        create: the model of a new library; None opens existing libraries only.

    Raises:
        LibraryError: there is none (and `create` is None), it cannot be opened, or pymilvus is not installed.
    """
    if is_milvus(library):
        return open_milvus(str(library), create=create)
    return Catalogue(Path(library).expanduser(), create=create)


def open_milvus(uri: str, *, create: Model | None) -> "MilvusStore":
    """As `open_store`, for a Milvus address."""
    try:
        from .milvus import MilvusStore
    except ImportError as exc:
        raise LibraryError(f"{uri} needs pymilvus ({exc}): pip install 'musicsearch[milvus]'") from exc
    return MilvusStore(uri, create=create)


def open_index(store: Store, *, recall: float = 0.99) -> Index:
    """What searches an open library.

    Args:
        recall: see `MusicSearch`.
    """
    if isinstance(store, Catalogue):
        return LiveIndex(store, recall=recall)
    from .milvus import MilvusIndex, MilvusStore

    assert isinstance(store, MilvusStore)
    return MilvusIndex(store, recall=recall)


def is_milvus(library: str | Path) -> bool:
    """Whether this is meant as the address of a Milvus server or file, and not as a folder."""
    return str(library).startswith(("milvus:", "milvuss:"))
