"""The records of a library as plain values, and their encoding for storage."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryError, ModelMismatch
from ..packets import PREFIX
from ..places import Status
from .fields import Value

FLOAT32 = np.dtype("<f4")


@dataclass(frozen=True)
class FileState:
    """The state by which a changed file is recognised: size and times are quick to check, the hash is certain.

    Attributes:
        content_hash: hash of the sound, which retagging does not change (see `packets.hash_packets`). For an object in
            a store, a hash of what the store reports about its content (see `remote`). For a file that version 2 of the
            catalogue added and that was not read since, the SHA-256 of all its bytes.
        mtime_ns: time of the last change. For an object in a store it is not a time but a number made from what the
            store reports about the version, such as its ETag.
        ctime_ns: when the file system last changed anything about the file. Programs cannot set it, so it reveals
            taggers that reset `mtime_ns`. 0 if it is not known, as after a copy of the library. On Windows it is the
            time at which the file was created, and reveals nothing.
    """

    path: str
    size: int
    mtime_ns: int
    content_hash: str
    ctime_ns: int = 0

    @property
    def knows_sound(self) -> bool:
        """Whether the content hash is a hash of the sound."""
        return self.content_hash.startswith(PREFIX)

    def is_of(self, status: Status) -> bool:
        """Whether size and times are still those of the file that was added."""
        return self.looks_like(status) and self.ctime_ns == status.st_ctime_ns

    def looks_like(self, status: Status) -> bool:
        """As `is_of`, but an unknown `ctime_ns` matches any."""
        return _looks_like(self, status)


def _looks_like(file: "FileState | FailedFile", status: Status) -> bool:
    is_dated = (file.size, file.mtime_ns) == (status.st_size, status.st_mtime_ns)
    return is_dated and file.ctime_ns in (0, status.st_ctime_ns)


@dataclass(frozen=True)
class Track:
    """A row of the catalogue, without its vectors.

    Attributes:
        number: number of the row.
        label: label of its vector; None if the model has not embedded the track yet.
        tags: metadata from the file.
        annotations: metadata from the user, which override the tags.
        is_missing: the file was not there when its folder was last added.
        warning: how much of the file does not decode; empty if everything does.
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
        """The tags, overridden by the annotations."""
        return {**self.tags, **self.annotations}


@dataclass(frozen=True)
class TrackVectors:
    """The vectors that a model makes of a track.

    Attributes:
        vector: of the whole track, float32 [dim], unit L2 norm.
        starts_s: start times of the windows in seconds, float32 [windows].
        windows: vectors of the windows, float32 [windows, dim], unit L2 norm; stored in 8 bits a number (see
            `quantized`).
    """

    vector: NDArray[np.float32]
    starts_s: NDArray[np.float32]
    windows: NDArray[np.float32]


@dataclass(frozen=True)
class NewTrack:
    """A track that `Catalogue.put` stores; see `Track`."""

    file: FileState
    duration_s: float
    vectors: TrackVectors
    metadata: Mapping[str, Value] = field(default_factory=dict)
    warning: str = ""


@dataclass(frozen=True)
class FailedFile:
    """A file that could not be used in this state; see `FileState`."""

    path: str
    size: int
    mtime_ns: int
    reason: str
    ctime_ns: int = 0

    def looks_like(self, status: Status) -> bool:
        """Whether size and times are still those of the file that failed; an unknown `ctime_ns` matches any."""
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


def has_gone_over(name: str, model: Model) -> ModelMismatch:
    """The error of a library that was opened with this model, and has another one by now."""
    return ModelMismatch(f"{name} now uses another model than {model.name}: open the library again with that model")


def has_another_model(name: str, model: Model, *, but: str, advice: str) -> ModelMismatch:
    """The error of a library or file of one model where another is given; `but` names that one."""
    return ModelMismatch(f"{name} was made with the model {model.name} ({model.fingerprint}), but {but}: {advice}")


def check_vectors(vectors: TrackVectors, *, dim: int, of: str) -> None:
    """Raise `LibraryError` unless these are unit vectors of `dim` numbers, as a model makes them."""
    for name, rows in (("vector", vectors.vector[None]), ("windows", vectors.windows)):
        norms = np.linalg.norm(rows, axis=1)
        if rows.shape[1:] != (dim,) or not np.all(np.abs(norms - 1.0) <= 1e-3):
            raise LibraryError(
                f"refused the {name} of {of}: expected unit vectors of {dim} numbers, "
                f"got shape {list(rows.shape)} and norms {norms.round(3).tolist()}"
            )


def to_json(metadata: Mapping[str, Value]) -> str:
    """Metadata as the JSON text that the catalogue stores."""
    return json.dumps(dict(metadata), ensure_ascii=False, default=np.generic.item)


def to_blob(vectors: NDArray[np.float32]) -> bytes:
    """Vectors as the bytes that the catalogue stores."""
    return np.ascontiguousarray(vectors, dtype=FLOAT32).tobytes()


def from_blob(blob: bytes, *, dim: int) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = np.frombuffer(blob, FLOAT32).reshape(-1, dim)
    return vectors
