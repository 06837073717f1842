"""The results of a library, as plain values."""

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
        score: see `Hit`, for this window alone.
        probability: see `Hit`, for this window alone.
    """

    start_s: float
    score: float
    probability: float | None


class SungLine(NamedTuple):
    """The line of a track's lyrics that a search found.

    Attributes:
        text: the line.
        start_s: when it begins to be sung. None if the lyrics have no times.
        fit: how well the remembered words fit, 0 to 1. At 1 they are sung just so.
    """

    text: str
    start_s: float | None
    fit: float


@dataclass(frozen=True)
class Hit:
    """One search result.

    Attributes:
        track_id: stays the same when the file changes or moves.
        path: where the file was when it was last added.
        score: cosine similarity between the query and the track, -1...1. Unwanted sounds in the track lower it (see
            `wish`). If the query only excludes sounds, it is the cosine similarity with the opposite of those sounds.
            If it only has lyrics, it is `lyrics.fit`.
        start_s: where the best window of the track begins. None if it was not asked for. If the hit has a line of
            lyrics, it is where that is sung, if this is known.
        metadata: title, artist, album, genre, year, bpm and key, as far as the file has them, and the annotations.
        probability: how sure the match is, 0 to 1. It is the share of unrelated queries whose best hit scores lower. An
            unrelated query describes nothing in the library. If the query only excludes sounds, it is the share of the
            library's tracks that have more of those sounds (see `Wish.fits`). None if the query is not made of texts
            alone, or the library's background is not known yet.
        weak: True if the best hit of this search is no better than the best hits of unrelated queries, so the search
            found nothing that fits. Never True if the query only excludes sounds, or if this hit was found by name.
        is_missing: the file was not there when its folder was last added.
        warning: which part of the file cannot be decoded. Empty if all of it can.
        reading: how the texts of the query were read. None if it has no texts.
        found_by: "lyrics" if it has the remembered words, "name" if the query's words are its title, artist or album,
            "sound", or several of these.
        windows: the windows of the track. None if they were not asked for.
        lyrics: the line that has the remembered words. None if none was found, or no words were given.
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
    lyrics: SungLine | None = None


@dataclass(frozen=True)
class TrackInfo:
    """A track of the library.

    Attributes:
        track_id: see `Hit`.
        path: see `Hit`.
        tags: the metadata in the file.
        annotations: the metadata from `annotate`. It overrides the tags.
        is_missing: see `Hit`.
        warning: see `Hit`.
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
        """The tags together with the annotations."""
        return {**self.tags, **self.annotations}


@dataclass(frozen=True)
class LibraryMap:
    """The tracks of a library as points of a plane. Tracks that sound alike are near each other.

    Attributes:
        track_ids: one for each point.
        points: float32 [n, 2], within -1 and 1.
        method: how the map was computed: "umap", or "pca" (the first two principal components).
        values: one for each track: the value of the field `by`, or how well the track fits the text `fits`, 0 to 1.
            None if neither was asked for.
    """

    track_ids: list[str]
    points: NDArray[np.float32]
    method: str
    values: list[Any] | None = None


@dataclass(frozen=True)
class LibraryInfo:
    """A summary of a library.

    Attributes:
        tracks: how many tracks.
        missing: how many of the tracks have lost their files.
        failed: how many files could not be used when they were last added.
        duration_s: length of all tracks together.
        model_name: the model that made the vectors.
        fingerprint: the fingerprint of that model.
        embedding_dim: the size of that model's vectors.
        warnings: by path, the tracks whose files cannot be decoded completely, and which part cannot.
        recall: the share of the best tracks that a search finds.
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
    """The result of `remove_missing`.

    Attributes:
        removed: ids of the tracks that were removed.
        back: paths of the files that are there again. Their tracks are no longer missing.
    """

    removed: list[str]
    back: list[str]
