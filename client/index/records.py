"""What a library holds, as plain values, and how they are stored."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryError
from ..packets import PREFIX
from ..places import Status
from .fields import Value

FLOAT32 = np.dtype("<f4")


@dataclass(frozen=True)
class FileState:
    """What tells whether a file has changed: size and times at a glance, the hash for certain.

    Attributes:
        content_hash: of its sound, which no retag changes (see `packets.hash_packets`); of an object in a store, of
            what that says of its content (see `remote`); of a file that version 2 of the catalogue added and nobody
            has looked at since, the SHA-256 of all its bytes.
        mtime_ns: of an object in a store, no time, but a number made of what that says of the version, such as its
            ETag.
        ctime_ns: when the file system last changed anything about it, which no program can set: it tells of taggers
            that put the time of the last change back. 0 where it is not known, as after a copy of the library; on
            Windows it is the time at which the file was made, and tells of nothing.
    """

    path: str
    size: int
    mtime_ns: int
    content_hash: str
    ctime_ns: int = 0

    @property
    def knows_sound(self) -> bool:
        """Whether the hash is one of its sound."""
        return self.content_hash.startswith(PREFIX)

    def is_of(self, status: Status) -> bool:
        """Whether size and times are still those of the file that was added."""
        return self.looks_like(status) and self.ctime_ns == status.st_ctime_ns

    def looks_like(self, status: Status) -> bool:
        """The same, as far as they are known."""
        return _looks_like(self, status)


def _looks_like(file: "FileState | FailedFile", status: Status) -> bool:
    is_dated = (file.size, file.mtime_ns) == (status.st_size, status.st_mtime_ns)
    return is_dated and file.ctime_ns in (0, status.st_ctime_ns)


@dataclass(frozen=True)
class Track:
    """A row of the catalogue, without its vectors.

    Attributes:
        number: of the row.
        label: of its vector; None where the model has not embedded it yet.
        tags: what the file says.
        annotations: what the user says, which goes before it.
        is_missing: the file was not there when its folder was last added.
        warning: what of the file does not decode; empty where all of it does.
    """

    number: int
    label: int | None
    track_id: str
    file: FileState
    duration_s: float
    tags: dict[str, Value]
    annotations: dict[str, Value]
    is_missing: bool
    warning: str = ""

    @property
    def metadata(self) -> dict[str, Value]:
        """All that is known about it."""
        return {**self.tags, **self.annotations}


@dataclass(frozen=True)
class TrackVectors:
    """What a model makes of a track.

    Attributes:
        vector: float32 [dim], unit L2 norm.
        starts_s: float32 [windows].
        windows: float32 [windows, dim], unit L2 norm; stored in 8 bits a number (see `quantized`).
    """

    vector: NDArray[np.float32]
    starts_s: NDArray[np.float32]
    windows: NDArray[np.float32]


@dataclass(frozen=True)
class NewTrack:
    """What `Catalogue.put` stores; see `Track`."""

    file: FileState
    duration_s: float
    vectors: TrackVectors
    metadata: Mapping[str, Value] = field(default_factory=dict)
    warning: str = ""


@dataclass(frozen=True)
class FailedFile:
    """A file that could not be used when it looked like this; see `FileState`."""

    path: str
    size: int
    mtime_ns: int
    reason: str
    ctime_ns: int = 0

    def looks_like(self, status: Status) -> bool:
        """Whether size and times are still those of the file that failed, as far as they are known."""
        return _looks_like(self, status)


class Model(NamedTuple):
    """The model that makes a library's vectors."""

    name: str
    fingerprint: str
    dim: int


class Position(NamedTuple):
    """How much of the catalogue's history an index has seen."""

    label: int
    tombstone: int


def check_vectors(vectors: TrackVectors, *, dim: int, of: str) -> None:
    """Raise `LibraryError` unless a model can have made these vectors of a track."""
    for name, rows in (("vector", vectors.vector[None]), ("windows", vectors.windows)):
        norms = np.linalg.norm(rows, axis=1)
        if rows.shape[1:] != (dim,) or not np.all(np.abs(norms - 1.0) <= 1e-3):
            raise LibraryError(
                f"refused the {name} of {of}: expected unit vectors of {dim} numbers, "
                f"got shape {list(rows.shape)} and norms {norms.round(3).tolist()}"
            )


def to_json(metadata: Mapping[str, Value]) -> str:
    """As the catalogue stores it."""
    return json.dumps(dict(metadata), ensure_ascii=False, default=np.generic.item)


def to_blob(vectors: NDArray[np.float32]) -> bytes:
    """As the catalogue stores them."""
    return np.ascontiguousarray(vectors, dtype=FLOAT32).tobytes()


def from_blob(blob: bytes, *, dim: int) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = np.frombuffer(blob, FLOAT32).reshape(-1, dim)
    return vectors
