"""The search index of a catalogue, which follows the changes of any writer.

A small catalogue is searched exactly. A large one is searched with an HNSW graph. The graph is loaded from its
snapshot, then replays the changes that the catalogue recorded since. If anything does not match, it is rebuilt from the
catalogue.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryError
from .catalogue import Catalogue
from .database import REPAIR
from .exact import ExactIndex, Found, scan
from .hnsw import MEASURED_K, DamagedCache, HnswIndex, delete_snapshot, principal_axes, saved_recalls
from .recall import Recall
from .records import Position

# A product with 5,000 x 256 floats takes under 1 ms, less than encoding the query.
EXACT_BELOW = 5_000
_REBUILD_ABOVE = 0.3  # share of removed labels in a graph
_PROBES = 100  # queries from the catalogue's own vectors, for measuring recall
SAMPLED = 4_096  # vectors from which the principal axes are computed
_COMPARED = 100  # newest vectors of a snapshot that must equal the catalogue's
_SAVE_AFTER = 0.01  # share of tracks changed since the last snapshot; replaying fewer takes seconds

log = logging.getLogger(__name__)


class LiveIndex:
    """Searches the living vectors of a catalogue.

    Args:
        catalogue: the source of truth.
        recall: the share of the best tracks that a search should find on average, 0 to 1. With 1, every vector is
            compared.
        exact_below: catalogues with fewer tracks are searched exactly. The default is EXACT_BELOW, or no limit if
            `recall` is 1.
    """

    def __init__(self, catalogue: Catalogue, *, recall: float = 0.99, exact_below: float | None = None) -> None:
        self._catalogue = catalogue
        if exact_below is None:
            exact_below = EXACT_BELOW if recall < 1 else math.inf
        self._exact_below = exact_below
        self._index: ExactIndex | HnswIndex = ExactIndex(dim=catalogue.dim)
        self._position = Position(0, 0)
        self._saved: Position | None = None
        self._recall = recall
        self._measured: Position | None = None  # the graph's position when its recall was measured
        self._state: tuple[int, int] | None = None
        # A graph is valid only for the catalogue and the model that it was made from.
        self._identity = {"library_id": catalogue.library_id, "fingerprint": catalogue.model.fingerprint}

    @property
    def kind(self) -> str:
        """The search method: "hnsw", or "exact" in a small library."""
        return "hnsw" if isinstance(self._index, HnswIndex) else "exact"

    def recall(self) -> Recall:
        """The recall of its searches, as last measured."""
        if isinstance(self._index, HnswIndex):
            return self._index.recalls.of(self._recall)
        if len(self._catalogue) < self._exact_below:
            return Recall(self._recall, 1.0)
        try:
            return saved_recalls(self._catalogue.folder, identity=self._identity).of(self._recall)
        except DamagedCache:
            return Recall(self._recall)

    def search(
        self, query: NDArray[np.float32], *, k: int, where: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Search the catalogue in its current state.

        Args:
            query: float32 [dim].
            k: how many results.
            where: search only tracks that fit this filter; see `fields.read_where`.

        Returns:
            Labels int64 [min(k, tracks that fit)] and cosine similarities float32, best first.

        Raises:
            QueryError: `where` is not valid; see `fields.select_tracks`.
        """
        with self._catalogue.reading():  # labels and vectors come from the same state as the index
            among = self._among(where)
            if isinstance(self._index, ExactIndex):
                return self._index.search(query, k=k, among=among)
            return self._index.search(query, k=k, among=among, recall=self._recall)

    def search_whole(self, query: NDArray[np.float32], *, k: int, where: Mapping[str, Any] | None = None) -> Found:
        """As `search`, but also returns the vectors."""
        with self._catalogue.reading():
            among = self._among(where)
            if isinstance(self._index, ExactIndex):
                labels, scores = self._index.search(query, k=k, among=among)
                return Found(labels, scores, self._index.vectors(labels))
            return self._index.search_whole(query, k=k, among=among, recall=self._recall)

    def _among(self, where: Mapping[str, Any] | None) -> NDArray[np.int64] | None:
        self._catch_up()
        return None if where is None else self._catalogue.labels(where)

    def refresh(self) -> None:
        """Update the index to the current state of the catalogue."""
        if self._catalogue.state() != self._state:
            with self._catalogue.reading():
                self._catch_up()

    def _catch_up(self) -> None:
        state = self._catalogue.state()
        if state == self._state:
            return
        end, living = self._catalogue.position(), len(self._catalogue)
        if end != self._position or living != len(self._index):
            if self.kind == "exact" and living >= self._exact_below:
                self._start_graph(end)
            self._replay()
            if self.kind == "hnsw" and not self._fits(living):
                self._start_graph(end)  # `compact` has forgotten what this graph lacks, but has saved another
                self._replay()
            if not self._fits(living):
                self._reset(graph=self.kind == "hnsw")
                self._replay()
            if len(self._index) != living:
                raise LibraryError(
                    f"{self._catalogue.folder} is damaged: it should hold {living} vectors, but only "
                    f"{len(self._index)} can be read: {REPAIR}"
                )
            self._position = end
            if isinstance(self._index, HnswIndex) and not self._index.recalls.by_candidates:
                self._measure_recall(self._index)
        self._state = state

    def _fits(self, living: int) -> bool:
        too_sparse = isinstance(self._index, HnswIndex) and self._index.removed_share > _REBUILD_ABOVE
        return len(self._index) == living and not too_sparse

    def _measure_recall(self, graph: HnswIndex) -> None:
        """Measure recall on vectors of the catalogue and on texts about music, which lie apart from audio vectors."""
        everything = graph.labels()
        if not len(everything):
            return
        own = np.random.default_rng(0).choice(everything, min(_PROBES, len(everything)), replace=False)
        queries = np.concatenate([self._whole(own), self._catalogue.probes("music")])
        nearest = scan(self._catalogue.vectors(), queries, k=MEASURED_K)
        graph.measure_recall(queries, exact=np.stack(nearest), split=len(own))
        self._measured = self._position

    def save(self) -> None:
        """Save a snapshot of the graph if enough has changed; the caller must hold the writer's lock.

        A graph that has more than doubled since it was built is built anew, in random order.

        A snapshot only saves time, so a failure to write it is logged as a warning.
        """
        self.refresh()
        if not isinstance(self._index, HnswIndex):
            return
        if self._saved is not None:
            changes = sum(self._position) - sum(self._saved)
            if changes <= _SAVE_AFTER * len(self._index):
                return
        if not self._index.is_mixed or not self._index.holds(self._catalogue.sample(SAMPLED)):
            log.info("rebuilding the search index: the tracks have changed")
            self._renew()
        if self._measured != self._position:
            self._measure_recall(self._index)
        try:
            self._index.save(self._catalogue.folder, position=self._position, identity=self._identity)
            self._saved = self._position
        except OSError as exc:
            log.warning("the search index was not saved and will be rebuilt at the next start: %s", exc)

    def compact(self) -> None:
        """Save a graph without removed tracks and mostly in random order; see `save`.

        If the library needs no graph, delete the snapshot.
        """
        self.refresh()
        if not isinstance(self._index, HnswIndex):
            delete_snapshot(self._catalogue.folder)
        elif self._index.removed_share > 0 or not self._index.is_mixed:
            self._renew()
        self.save()

    def _renew(self) -> None:
        self._reset(graph=True)
        self._state = None
        self.refresh()

    def _start_graph(self, end: Position) -> None:
        """Switch to a graph, from its snapshot if that is valid, else an empty one."""
        try:
            graph, position = HnswIndex.load(
                self._catalogue.folder, dim=self._catalogue.dim, identity=self._identity, whole=self._whole
            )
            is_ahead = position.label > end.label or position.tombstone > end.tombstone
            if is_ahead or not self._agrees(graph, position):
                raise DamagedCache("the catalogue was restored from a backup after the snapshot")
            self._index, self._position, self._saved = graph, position, position
        except DamagedCache as exc:
            log.info("rebuilding the search index from the catalogue: %s", exc)
            self._reset(graph=True)

    def _agrees(self, graph: HnswIndex, position: Position) -> bool:
        """Whether the graph's newest vectors equal the catalogue's.

        After a restore from a backup, the catalogue gives the labels after the backup a second time.
        """
        labels, vectors = self._catalogue.newest_vectors(position.label, rows=_COMPARED)
        return np.allclose(graph.vectors(labels), graph.along_axes(vectors), atol=1e-6)

    def _reset(self, *, graph: bool) -> None:
        self._position, self._saved = Position(0, 0), None
        dim = self._catalogue.dim
        if graph:
            axes = principal_axes(self._catalogue.sample(SAMPLED))
            self._index = HnswIndex(dim=dim, axes=axes, whole=self._whole)
        else:
            self._index = ExactIndex(dim=dim)

    def _whole(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """The whole vectors of living labels from the catalogue, float32 [n, dim]."""
        found = self._catalogue.vectors_of(labels.tolist())
        for label in labels.tolist():
            if label not in found:
                self._catalogue.accept_gone(label)
        return np.array([found[label] for label in labels.tolist()], np.float32).reshape(-1, self._catalogue.dim)

    def _replay(self) -> None:
        removed = self._catalogue.tombstones_after(self._position.tombstone)
        if len(removed):
            self._index.remove(removed)
        parts = self._catalogue.vectors_after(self._position.label)
        if isinstance(self._index, HnswIndex) and self._position == Position(0, 0):
            self._index.build(parts)
            return
        for labels, vectors in parts:
            self._index.add(labels, vectors)
