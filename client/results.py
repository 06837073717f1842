"""What a library answers with: plain values."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .index.fields import Value
from .index.recall import Recall
from .query import Reading


class Part(NamedTuple):
    """A window of a track.

    Attributes:
        start_s: where in the track it begins.
        score, probability: see `Hit`, as if it were a track.
    """

    start_s: float
    score: float
    probability: float | None


@dataclass(frozen=True)
class Hit:
    """One search result.

    Attributes:
        track_id: stays the same when the file changes or moves.
        path: where the file was when it was last added.
        score: cosine between the query and the track, -1...1; less what is in it of what is unwanted (see `wish`).
            Where nothing is wanted, the cosine with the opposite of what is not.
        start_s: where in the track the window begins that fits the query best.
            None where it was not asked for.
        metadata: title, artist, album, genre, year, bpm and key, as far as the file names them, and what was
            annotated.
        probability: share of the queries to which nothing in the library belongs whose best hit scores lower, 0 to
            1; where nothing is wanted, of the library's tracks that have more of what is not (see `Wish.fits`). None
            where the query is no text, or the library's background is not known yet.
        weak: the best hit of this search is no better than such queries get, so it found nothing that fits. Never
            where nothing is wanted.
        is_missing: the file was not there when its folder was last added.
        warning: what of the file does not decode; empty where all of it does.
        reading: how the texts of the query were read; None where it has none.
        found_by: "name" where the query's words are its title, artist or album, "sound", or both.
        windows: of the track, where that was asked for.
    """

    track_id: str
    path: str
    score: float
    start_s: float | None
    metadata: dict[str, Any]
    probability: float | None = None
    weak: bool = False
    is_missing: bool = False
    warning: str = ""
    reading: Reading | None = None
    found_by: tuple[str, ...] = ("sound",)
    windows: tuple[Part, ...] | None = None


@dataclass(frozen=True)
class TrackInfo:
    """A track of the library.

    Attributes:
        track_id, path, is_missing, warning: see `Hit`.
        tags: what the file says.
        annotations: what was annotated, which goes before it.
    """

    track_id: str
    path: str
    duration_s: float
    tags: dict[str, Value]
    annotations: dict[str, Value]
    is_missing: bool = False
    warning: str = ""

    @property
    def metadata(self) -> dict[str, Value]:
        """All that is known about it."""
        return {**self.tags, **self.annotations}


@dataclass(frozen=True)
class LibraryMap:
    """The tracks of a library as points of a plane, near those that sound like them.

    Attributes:
        track_ids: one a point.
        points: float32 [n, 2], within -1 and 1.
        method: by what it was drawn: "umap", or "pca" (the first two principal components).
        values: of each track, what was asked for: a field's value, or how well it fits a text, 0 to 1; else None.
    """

    track_ids: list[str]
    points: NDArray[np.float32]
    method: str
    values: list[Any] | None = None


@dataclass(frozen=True)
class LibraryInfo:
    """What a library holds.

    Attributes:
        tracks: how many.
        missing: how many of them have lost their files.
        failed: files that could not be used when they were last added.
        duration_s: length of the tracks together.
        model_name, fingerprint, embedding_dim: of the model that made its vectors.
        warnings: by their paths, the tracks of whose files something does not decode, and what.
        recall: how many of the best tracks a search finds.
    """

    path: str
    tracks: int
    missing: int
    failed: int
    duration_s: float
    model_name: str
    fingerprint: str
    embedding_dim: int
    warnings: dict[str, str]
    recall: Recall


@dataclass(frozen=True)
class RemovedMissing:
    """What `remove_missing` did.

    Attributes:
        removed: ids of the tracks that are forgotten.
        back: paths of the files that are there again; their tracks are missing no more.
    """

    removed: list[str]
    back: list[str]
