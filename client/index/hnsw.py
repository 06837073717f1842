"""Approximate nearest-neighbour search with hnswlib: a disposable cache of the catalogue's vectors.

hnswlib 0.8.0 does not check its input, so this file does. Loading a damaged file can crash the process or give wrong
answers, so checksums are compared first. Saving reports no errors, so the file size is checked. Asking for more
results than there are living labels raises. A label that is added twice is found twice, so labels are never reused.

The graph keeps every vector in memory. To save memory it keeps only their coordinates along the few directions in
which music varies (see `principal_axes`). The candidates it finds are ranked again by the whole vectors from the
catalogue.

The same vectors, added in the same parts, give the same graph. So all who load a saved graph find the same tracks.
"""

import base64
import hashlib
import json
import math
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .exact import ExactIndex, Found, best, is_among
from .recall import Recalls
from .records import Position

MANIFEST_NAME = "hnsw.json"
_FORMAT = 3
_LINKS = 16  # M: edges per node and layer
_EF_CONSTRUCTION = 200
# Candidates per query (ef) whose recall is measured, 20 to 5120. The smallest that reaches the asked recall is chosen.
EFS = tuple(round(20 * 2 ** (step / 2)) for step in range(17))
_BEST_RECALL = 0.999  # for a higher recall, a full scan is better than still more candidates
MEASURED_K = 10  # recall is measured on this many best results
_KEPT_ENERGY = 0.999
_AXES_STEP = 32  # numbers that a processor multiplies at once
_LEAST_SPARE, _SPARE_SHARE = 10, 8  # candidates beyond k for ranking again: 10, or an eighth of k if that is more
_BLOCK = 32 << 20  # bytes of a file that are hashed in one go
_SHUFFLED = 512 << 20  # bytes of vectors that are put in random order at once
_ADDED = 8_192  # rows of them that are copied at once
_SCANNED_SHARE = 0.05  # if a smaller share fits a filter, scanning that share is faster than walking the graph

Whole = Callable[[NDArray[np.int64]], NDArray[np.float32]]


class DamagedCache(Exception):
    """The saved graph cannot be trusted; callers in this package catch this and rebuild the graph."""


class HnswIndex:
    """Labelled unit vectors in an HNSW graph; scores are cosine similarities.

    Args:
        dim: numbers of a vector.
        axes: float32 [dim, kept] from `principal_axes`. The graph keeps only the coordinates along these axes; None
            keeps whole vectors.
        whole: a function that gives the whole vectors, float32 [n, dim], of living labels int64 [n]. Needed with
            `axes`.

    Attributes:
        recalls: the measured recall; see `measure_recall`.
    """

    def __init__(self, *, dim: int, axes: NDArray[np.float32] | None = None, whole: Whole | None = None) -> None:
        self._dim = dim
        self._axes = axes
        self._whole = whole
        self._graph = _new_graph(self._kept)
        self._graph.init_index(max_elements=1024, M=_LINKS, ef_construction=_EF_CONSTRUCTION)
        self._built = 0  # how many vectors `build` has put
        self._removed: set[int] = set()
        self._rows: ExactIndex | None = None  # the same vectors in a matrix, once a search has needed it
        self.recalls = Recalls({})

    def __len__(self) -> int:
        return int(self._graph.element_count) - len(self._removed)

    @property
    def _kept(self) -> int:
        return self._dim if self._axes is None else self._axes.shape[1]

    @property
    def removed_share(self) -> float:
        """Share of removed labels in the graph, 0 to 1. They stay as bridges, which costs time and recall."""
        return len(self._removed) / max(1, int(self._graph.element_count))

    @property
    def is_mixed(self) -> bool:
        """Whether at least half of its vectors were added in random order. That is as good as all."""
        return 2 * self._built >= int(self._graph.element_count)

    def holds(self, sample: NDArray[np.float32]) -> bool:
        """Whether the axes still keep enough of vectors like these, float32 [n, dim]."""
        if self._axes is None or not len(sample):
            return True
        lost = 1.0 - float(np.mean(np.square(sample @ self._axes).sum(1)))
        return lost < 2.0 * (1.0 - _KEPT_ENERGY)

    def along_axes(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The coordinates along the axes, float32 [..., kept], of vectors float32 [..., dim]."""
        return vectors if self._axes is None else np.einsum("...d,dk->...k", vectors, self._axes)

    def build(self, parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> None:
        """Fill an empty graph with vectors that the catalogue has checked, in random order, always the same.

        In the order of folders, similar tracks follow each other. A graph that is built in that order needs up to four
        times the candidates.

        Args:
            parts: labels int64 [n] and vectors float32 [n, dim].
        """
        rows = _SHUFFLED // (self._kept * np.dtype(np.float32).itemsize)
        labels, kept = (
            np.empty(rows, np.int64),
            np.empty((rows, self._kept), np.float32),
        )  # takes memory as it is filled
        random, filled = np.random.default_rng(0), 0

        def add_all() -> None:
            order = random.permutation(filled)
            for start in range(0, filled, _ADDED):
                some = order[start : start + _ADDED]
                self._add(labels[some], kept[some])

        for some, vectors in parts:
            if filled + len(some) > rows:
                add_all()
                filled = 0
            end = filled + len(some)
            labels[filled:end], kept[filled:end] = some, self.along_axes(vectors)
            filled = end
        add_all()
        self._built = int(self._graph.element_count)

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors that the catalogue has checked; labels must be higher than all before."""
        self._add(labels, self.along_axes(vectors))

    def _add(self, labels: NDArray[np.int64], kept: NDArray[np.float32]) -> None:
        needed = int(self._graph.element_count) + len(labels)
        if needed > self._graph.max_elements:
            self._graph.resize_index(max(needed, 2 * self._graph.max_elements))
        self._graph.add_items(kept, labels, num_threads=1)  # more threads would build a different graph each time
        if self._rows is not None:  # reading all vectors from the graph again takes ten times as long as a search
            self._rows.add(labels, kept)

    def remove(self, labels: NDArray[np.int64]) -> None:
        """Remove these labels; unknown labels are ignored."""
        present = set(labels.tolist()).intersection(self._graph.get_ids_list()) - self._removed
        for label in present:
            self._graph.mark_deleted(label)
        self._removed |= present
        if self._rows is not None:
            self._rows.remove(np.array(sorted(present), np.int64))

    def search(
        self, query: NDArray[np.float32], *, k: int, recall: float, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Approximately the min(k, len) best labels and their scores, best first; equal scores are ordered by label.

        Args:
            query: float32 [dim].
            k: how many results.
            recall: the share of the k best to find on average, 0 to 1. If no measured graph search reached it, the
                query is compared with every vector.
            among: the labels to choose from, in ascending order; all must be in the index. None means all.
        """
        return self._search(query, k=k, ef=self.recalls.of(recall).candidates, among=among)[:2]

    def search_whole(
        self, query: NDArray[np.float32], *, k: int, recall: float, among: NDArray[np.int64] | None = None
    ) -> Found:
        """As `search`, but also returns the whole vectors; needs `whole`."""
        assert self._whole is not None
        labels, scores, vectors = self._search(query, k=k, ef=self.recalls.of(recall).candidates, among=among)
        return Found(labels, scores, self._whole(labels) if vectors is None else vectors)

    def _search(
        self, query: NDArray[np.float32], *, k: int, ef: int | None, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32] | None]:
        """Labels, scores, and the whole vectors if they had to be read."""
        k = min(k, len(self) if among is None else len(among))
        if self._axes is None or k == 0:
            return *best(*self._nearest(query, k=k, ef=ef, among=among), k=k), None
        assert self._whole is not None
        # Scores along the axes are not exact, so neighbours with similar scores may change places.
        spare = max(_LEAST_SPARE, k // _SPARE_SHARE)
        candidates = np.sort(self._nearest(self.along_axes(query), k=k + spare, ef=ef, among=among)[0])
        vectors = self._whole(candidates)
        labels, scores = best(candidates, vectors @ query, k=k)
        return labels, scores, vectors[np.searchsorted(candidates, labels)]

    def _nearest(
        self, query: NDArray[np.float32], *, k: int, ef: int | None, among: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels and scores of at least min(k, available) neighbours of a query float32 [kept]."""
        if among is None:
            k = min(k, len(self))
            return self._scan().search(query, k=k) if ef is None else self._walk(query, k=k, ef=ef)
        share = len(among) / max(len(self), 1)
        if ef is None or share < _SCANNED_SHARE or k >= share * len(self):
            return self._scan().search(query, k=k, among=among)
        # If filter and score are independent, the k best that fit are among about k / share best of all; 1.3 allows for
        # chance. If they are correlated, it takes more.
        wanted = math.ceil(1.3 * k / share)
        while wanted < 10 * k / share:
            # Twice the candidates, because recall is lower for the last of many neighbours than for the first.
            labels, scores = self._walk(query, k=min(wanted, len(self)), ef=2 * ef)
            fit = is_among(labels, among)
            if np.count_nonzero(fit) >= k or len(labels) == len(self):
                return labels[fit][:k], scores[fit][:k]
            wanted *= 3
        return self._scan().search(query, k=k, among=among)

    def _walk(self, query: NDArray[np.float32], *, k: int, ef: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if k == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        self._graph.set_ef(max(ef + k - min(k, MEASURED_K), 2 * k))  # one more for each result beyond MEASURED_K
        try:
            labels, distances = self._graph.knn_query(query, k=k, num_threads=1)
        except RuntimeError:  # fewer than k were reached, because some living nodes are not linked to the rest
            return self._scan().search(query, k=k)
        return labels[0].view(np.int64), 1.0 - distances[0]  # labels are uint64, but none exceeds int64

    def measure_recall(self, queries: NDArray[np.float32], *, exact: NDArray[np.int64], split: int = 0) -> None:
        """Measure the recall of searches, by their number of candidates, and set `recalls`.

        Args:
            queries: float32 [n, dim].
            exact: the labels that an exact search finds for each query, int64 [n, MEASURED_K].
            split: where a second kind of queries begins. Recall is measured for both kinds, and the lower one counts.
        """

        def measured(ef: int | None) -> float:
            found = [self._search(query, k=exact.shape[1], ef=ef)[0] for query in queries]
            hits = np.array([len(np.intersect1d(some, all_)) for some, all_ in zip(found, exact, strict=True)])
            return min(float(kind.mean()) for kind in np.split(hits, [split]) if len(kind)) / exact.shape[1]

        by_ef: dict[int, float] = {}
        for ef in EFS:
            by_ef[ef] = measured(ef)
            if by_ef[ef] >= _BEST_RECALL or by_ef[ef] <= by_ef.get(ef // 4, 0.0):
                break  # enough is found, or four times the candidates found no more
        rows = self._rows
        self.recalls = Recalls(by_ef, 1.0 if self._axes is None else measured(None))
        self._rows = rows  # frees the matrix if only this measurement needed it

    def vectors(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """The coordinates that the graph keeps of living labels, float32 [len(labels), kept]; see `along_axes`.

        Raises:
            DamagedCache: a label is not in the graph.
        """
        if len(labels) == 0:
            return np.empty((0, self._kept), np.float32)
        try:
            return np.asarray(self._graph.get_items(labels), np.float32)
        except RuntimeError as exc:
            raise DamagedCache(str(exc)) from exc

    def labels(self) -> NDArray[np.int64]:
        """The living labels, int64 [len], in ascending order."""
        return np.array(sorted(set(self._graph.get_ids_list()) - self._removed), np.int64)

    def _scan(self) -> ExactIndex:
        """The living vectors as an exact index, made on the first call."""
        if self._rows is None:
            # This is 50 times faster than `get_items`, which makes a Python number of every component.
            (state,) = self._graph.__getstate__()
            fields = {
                "names": ["vector", "label"],
                "formats": [(np.float32, self._kept), np.uint64],
                "offsets": [state["offset_data"], state["label_offset"]],
                "itemsize": state["size_data_per_element"],
            }
            rows = state["data_level0"].view(np.dtype(fields))  # type: ignore[call-overload]
            labels = rows["label"].astype(np.int64)
            order = np.argsort(labels)
            order = order[np.isin(labels[order], self.labels())]
            self._rows = ExactIndex(dim=self._kept)
            self._rows.add(labels[order], rows["vector"][order])
        return self._rows

    # -- the saved graph -------------------------------------------------------------------------------

    def save(self, folder: Path, *, position: Position, identity: Mapping[str, str]) -> None:
        """Save graph and manifest so that a crash at any point leaves either the old pair or the new pair.

        Args:
            folder: the library's folder.
            position: how much of the catalogue's history the graph contains.
            identity: the library and model that the graph belongs to; `load` requires the same.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        name = f"hnsw-{position.label}-{position.tombstone}-{secrets.token_hex(4)}.graph"
        path = folder / name
        try:
            self._graph.save_index(str(path))
            expected = int(self._graph.index_file_size())
            if not path.is_file() or path.stat().st_size != expected:  # hnswlib does not report a full disk
                raise OSError(f"{path}: could not write {expected} bytes")
            content = {
                "format": _FORMAT,
                "identity": dict(identity),
                "graph": name,
                "sha256": _sync_and_hash(path),
                "count": int(self._graph.element_count),
                "built": self._built,
                "removed": sorted(self._removed),
                "recalls": [list(self.recalls.by_candidates.items()), self.recalls.of_all],
                "axes": None if self._axes is None else base64.b64encode(self._axes.tobytes()).decode(),
                "position": list(position),
            }
            manifest = folder / MANIFEST_NAME
            temporary = folder / f"{MANIFEST_NAME}.{secrets.token_hex(4)}.tmp"
            body = json.dumps(content, sort_keys=True)
            temporary.write_text(f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}")
            _sync_and_hash(temporary)
            os.replace(temporary, manifest)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        for old in _leftovers(folder):
            if old.name != name:
                with suppress(OSError):
                    old.unlink()

    @classmethod
    def load(
        cls, folder: Path, *, dim: int, identity: Mapping[str, str], whole: Whole | None = None
    ) -> tuple[Self, Position]:
        """Load the saved graph and its position, after comparing its checksums and `identity`.

        Raises:
            DamagedCache: there is no saved graph, a checksum does not match, or it belongs to another identity.
        """
        try:
            content = _read_manifest(folder, identity=identity)
            path = folder / content["graph"]
            if _hash(path) != content["sha256"]:
                raise DamagedCache(f"{path.name} does not match its checksum")
            axes = content["axes"]
            if axes is not None:
                axes = np.frombuffer(base64.b64decode(axes), np.float32).reshape(dim, -1)
            index = cls(dim=dim, axes=axes, whole=whole)
            index._graph = _new_graph(index._kept)
            index._graph.load_index(str(path))
            index._built = int(content.get("built", 0))  # older graphs are in the order of the tracks
            index._removed = set(content["removed"])
            index.recalls = _read_recalls(content)
            if index._graph.element_count != content["count"]:
                raise DamagedCache(f"{path.name} does not have the number of vectors in its manifest")
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as exc:
            raise DamagedCache(str(exc)) from exc
        return index, Position(*content["position"])


def principal_axes(sample: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The fewest directions, in steps of 32, along which vectors like these keep 99.9 % of their squared length.

    They are the first eigenvectors of the vectors' second moment, that is principal components without centring.
    Centring would change inner products.

    Args:
        sample: float32 [n, dim].

    Returns:
        float32 [dim, kept], orthonormal. None if all directions would be kept, or the sample is too small (n < 2 dim).
    """
    dim = sample.shape[1]
    if len(sample) < 2 * dim:
        return None
    rows = sample.astype(np.float64)
    energies, axes = np.linalg.eigh(rows.T @ rows)
    shares = np.cumsum(energies[::-1]) / energies.sum()
    kept = _AXES_STEP * math.ceil((np.searchsorted(shares, _KEPT_ENERGY) + 1) / _AXES_STEP)
    return None if kept >= dim else np.ascontiguousarray(axes[:, ::-1][:, :kept], np.float32)


def saved_recalls(folder: Path, *, identity: Mapping[str, str]) -> Recalls:
    """The measured recall of the saved graph, read without loading the graph.

    Raises:
        DamagedCache: see `HnswIndex.load`.
    """
    try:
        return _read_recalls(_read_manifest(folder, identity=identity))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DamagedCache(str(exc)) from exc


def delete_snapshot(folder: Path) -> None:
    """Delete the saved graph; it is rebuilt when it is needed."""
    for path in (folder / MANIFEST_NAME, *_leftovers(folder)):
        with suppress(OSError):  # a path that is not a file is no snapshot either
            path.unlink()


def _read_manifest(folder: Path, *, identity: Mapping[str, str]) -> dict[str, Any]:
    checksum, body = (folder / MANIFEST_NAME).read_text().split("\n")
    if hashlib.sha256(body.encode()).hexdigest() != checksum:
        raise DamagedCache(f"{MANIFEST_NAME} does not match its checksum")
    content: dict[str, Any] = json.loads(body)
    if content["format"] != _FORMAT or content["identity"] != dict(identity):
        raise DamagedCache(f"{MANIFEST_NAME} belongs to another library, model or version")
    return content


def _read_recalls(manifest: Mapping[str, Any]) -> Recalls:
    by_ef, of_all = manifest["recalls"]
    return Recalls({int(ef): float(recall) for ef, recall in by_ef}, float(of_all))


def _leftovers(folder: Path) -> list[Path]:
    return [*folder.glob("hnsw-*.graph"), *folder.glob(f"{MANIFEST_NAME}.*.tmp")]


def _new_graph(dim: int) -> Any:
    import hnswlib

    return hnswlib.Index(space="ip", dim=dim)  # 1 - inner product: the cosine distance of unit vectors


def _hash(path: Path) -> str:
    """SHA-256 over the SHA-256 digests of the file's blocks, which are computed in parallel."""
    with path.open("rb") as file, ThreadPoolExecutor() as pool:

        def hashed(start: int) -> bytes:
            return hashlib.sha256(os.pread(file.fileno(), _BLOCK, start)).digest()

        return hashlib.sha256(b"".join(pool.map(hashed, range(0, path.stat().st_size, _BLOCK)))).hexdigest()


def _sync_and_hash(path: Path) -> str:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return _hash(path)
