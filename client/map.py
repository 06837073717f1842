"""The map of a library: its tracks as points of a plane, saved next to the search index.

It is computed once. Later tracks are placed between their neighbours. If there are too many of them, the map is
computed again. Like the index it is a cache: if anything is wrong with its file, it is computed again.
"""

import logging
import subprocess
import threading
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import LibraryError
from .index import browse
from .index.catalogue import Catalogue
from .layout import METHODS, draws_by_umap, lay_out_apart, place

FILE_NAME = "map.npz"

_MOST_DRAWN = 100_000  # with more tracks, a random sample of this size is drawn, and the others are placed in it
_REDRAWN_ABOVE = 0.2  # the map is drawn again if a larger share of the tracks is new

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawing:
    """Points of tracks.

    Attributes:
        labels: int64 [n], ascending.
        points: float32 [n, 2], within -1 and 1.
        drawn: int64, the labels that the library had when the map was drawn.
        method: "umap" or "pca".
    """

    labels: NDArray[np.int64]
    points: NDArray[np.float32]
    drawn: NDArray[np.int64]
    method: str


class MapKeeper:
    """Draws the map of a catalogue and keeps it up to date.

    Args:
        catalogue: the library.
        lock: held while the catalogue is read, but not while the map is drawn.
    """

    def __init__(self, catalogue: Catalogue, *, lock: AbstractContextManager[object]) -> None:
        self._catalogue = catalogue
        self._lock = lock
        self._one_at_a_time = threading.Lock()
        self._drawing: Drawing | None = None
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False
        # Points are only valid for the catalogue and the model that they were made from.
        self._identity = f"{catalogue.library_id} {catalogue.model.fingerprint}"

    def drawing(self) -> Drawing:
        """The map of the library as it is now. This takes from moments to minutes.

        Raises:
            LibraryError: `stop` was called meanwhile.
        """
        with self._one_at_a_time:
            known = self._drawing or self._load()
            with self._lock, self._catalogue.reading():
                labels = browse.labels(self._catalogue)
                if known is not None and np.array_equal(known.labels, labels):
                    self._drawing = known
                    return known
                parts = list(self._catalogue.vectors())
            vectors = np.concatenate([np.empty((0, self._catalogue.dim), np.float32), *(rows for _, rows in parts)])
            if known is None or np.isin(labels, known.drawn, invert=True).sum() > _REDRAWN_ABOVE * len(labels):
                self._drawing = self._drawn(labels, vectors)
            else:
                self._drawing = _completed(known, labels, vectors)
            self._save(self._drawing)
            return self._drawing

    def stop(self) -> None:
        """Stop a running computation."""
        self._is_stopped = True
        if self._process is not None:
            self._process.kill()

    def _drawn(self, labels: NDArray[np.int64], vectors: NDArray[np.float32]) -> Drawing:
        chosen = np.arange(len(labels))
        if len(labels) > _MOST_DRAWN:
            chosen = np.sort(np.random.default_rng(0).choice(len(labels), _MOST_DRAWN, replace=False))
        points, method = lay_out_apart(vectors[chosen], started=self._note)
        self._process = None
        if self._is_stopped:
            raise LibraryError(f"the map of {self._catalogue.name} was not drawn, because the library is being closed")
        drawn = Drawing(labels[chosen], points, labels, method)
        return drawn if len(chosen) == len(labels) else _completed(drawn, labels, vectors)

    def _note(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        if self._is_stopped:
            process.kill()

    @property
    def _path(self) -> Path:
        return self._catalogue.folder / FILE_NAME

    def _load(self) -> Drawing | None:
        try:
            with np.load(self._path, allow_pickle=False) as kept:
                if str(kept["identity"]) != self._identity:
                    return None
                found = Drawing(kept["labels"], kept["points"], kept["drawn"], METHODS[int(kept["method"])])
                had_umap = "had_umap" not in kept or bool(kept["had_umap"])
        except Exception as exc:  # a damaged file raises many kinds of errors
            if self._path.exists():
                log.info("drawing the map again: %s", exc)
            return None
        is_whole = found.labels.dtype == np.int64 and found.points.shape == (len(found.labels), 2)
        if not is_whole or not np.isfinite(found.points).all():
            return None
        return found if had_umap or not draws_by_umap(len(found.labels)) else None

    def _save(self, drawing: Drawing) -> None:
        """Save the map. A failure does not matter, as the map is drawn again at the next start."""
        part = self._path.with_name(f"{FILE_NAME}.part")
        with suppress(OSError):
            with part.open("wb") as file:
                np.savez(
                    file,
                    labels=drawing.labels,
                    points=drawing.points,
                    drawn=drawing.drawn,
                    method=METHODS.index(drawing.method),
                    had_umap=draws_by_umap(len(drawing.labels)),  # also True if UMAP failed
                    identity=self._identity,
                )
            part.replace(self._path)


def _completed(known: Drawing, labels: NDArray[np.int64], vectors: NDArray[np.float32]) -> Drawing:
    """The map for the tracks that are there now: without removed tracks, and with the new ones placed."""
    is_known = np.isin(labels, known.labels)
    points = np.zeros((len(labels), 2), np.float32)
    points[is_known] = known.points[np.searchsorted(known.labels, labels[is_known])]
    if is_known.any():
        points[~is_known] = place(vectors[~is_known], among=vectors[is_known], points=points[is_known])
    return Drawing(labels, points, known.drawn, known.method)
