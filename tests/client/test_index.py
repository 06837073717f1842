"""Search over the catalogue's vectors: exact against NumPy, HNSW against exact, and every way to damage it."""

import json
import resource
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from client.errors import LibraryError
from client.index import hnsw, live
from client.index.catalogue import Catalogue
from client.index.database import FILE_NAME
from client.index.exact import ExactIndex, is_among
from client.index.hnsw import DamagedCache, HnswIndex, delete_snapshot, principal_axes
from client.index.live import LiveIndex
from client.index.maintenance import compact
from client.index.recall import Recall, Recalls
from client.index.records import FileState, Model, NewTrack, Position, TrackVectors

DIM, DIRECTIONS = 96, 24  # vectors lie along few directions, as those of music do, and a little beside them
MODEL = Model("tiny", "f" * 64, DIM)


def units(count: int, *, seed: int, dim: int = DIM, turned: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(7 + turned).standard_normal((dim, DIRECTIONS)))[0].T
    vectors = rng.standard_normal((count, DIRECTIONS)) @ axes / DIRECTIONS**0.5
    vectors = (vectors + rng.normal(0, 0.02 / dim**0.5, (count, dim))).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Model:
    """A catalogue, and beside it the plain dict of what must be in it."""

    def __init__(self, folder: Path) -> None:
        self.catalogue = Catalogue(folder, create=MODEL)
        self.alive: dict[int, np.ndarray] = {}

    def put(self, count: int, *, seed: int, first: int = 0, turned: bool = False) -> None:
        """New tracks, or new versions of those with the same numbers."""
        vectors = units(count, seed=seed, turned=turned)
        self.catalogue.put(
            [
                NewTrack(
                    FileState(f"/{first + row}", 1, 1, ""),
                    1.0,
                    TrackVectors(vector, np.zeros(1, np.float32), vector[None]),
                )
                for row, vector in enumerate(vectors)
            ]
        )
        for row, vector in enumerate(vectors):
            self.alive[first + row] = vector

    def remove(self, numbers: range) -> None:
        self.catalogue.remove([self.catalogue.by_path(f"/{number}").track_id for number in numbers])
        for number in numbers:
            del self.alive[number]

    def assert_searched_right(self, index: LiveIndex, *, k: int = 10, floor: float = 0.95) -> None:
        """The index finds the same numbers as NumPy over the dict, with the same scores."""
        numbers, matrix = list(self.alive), np.array([*self.alive.values()])
        found = expected = 0
        for query in units(20, seed=99):
            scores = matrix @ query
            best = {numbers[row] for row in np.argsort(-scores)[:k]}
            labels, got = index.search(query, k=k)
            tracks = [int(self.catalogue.by_label(label).file.path[1:]) for label in labels.tolist()]
            assert len(set(tracks)) == len(tracks) == min(k, len(numbers))
            np.testing.assert_allclose(got, [self.alive[number] @ query for number in tracks], atol=1e-5)
            assert np.all(np.diff(got) <= 0)
            found, expected = found + len(best & set(tracks)), expected + len(best)
        assert found / expected >= floor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.mark.parametrize("k", [1, 3, 10, 50])
def test_exact_search_is_a_sort_of_all_scores(k: int) -> None:
    vectors, labels = units(40, seed=0), np.arange(100, 140)
    index = ExactIndex(dim=DIM)
    index.add(labels[:25], vectors[:25])
    index.add(labels[25:], vectors[25:])
    query = units(1, seed=1)[0]
    order = np.argsort(-(vectors @ query))[:k]
    found, scores = index.search(query, k=k)
    assert found.tolist() == labels[order].tolist()
    np.testing.assert_allclose(scores, (vectors @ query)[order], atol=1e-6)


def test_equal_scores_come_in_the_order_of_their_labels() -> None:
    index = ExactIndex(dim=DIM)
    index.add(np.array([5, 3, 9, 7]), np.repeat(units(1, seed=0), 4, axis=0))
    assert index.search(units(1, seed=1)[0], k=3)[0].tolist() == [3, 5, 7]


@pytest.mark.parametrize("ascending", [[], [3], [2, 3, 7, 9], list(range(20))])
def test_what_is_among_values_in_order(ascending: list[int]) -> None:
    values = np.array([9, 0, 3, 7, 3, 25, -1])
    assert is_among(values, np.array(ascending, np.int64)).tolist() == np.isin(values, ascending).tolist()


def test_an_empty_catalogue_finds_nothing(folder: Path) -> None:
    model = Model(folder)
    for exact_below in (0, 100):
        labels, scores = LiveIndex(model.catalogue, exact_below=exact_below).search(units(1, seed=0)[0], k=5)
        assert (len(labels), len(scores)) == (0, 0)


def test_hnsw_recall_against_exact_search() -> None:
    # 6,000 x 64 clustered vectors, as embeddings are; independent Gaussians are harder than any music.
    rng = np.random.default_rng(0)
    centres = units(60, seed=1, dim=64)
    vectors = centres[rng.integers(60, size=6_000)] + 0.1 * rng.standard_normal((6_000, 64), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact, graph = ExactIndex(dim=64), HnswIndex(dim=64)
    for index in (exact, graph):
        index.add(np.arange(6_000), vectors)
    own = vectors[::30]
    graph.measure_recall(own, exact=np.stack([exact.search(query, k=10)[0] for query in own]))
    assert graph.recalls.of(0.99).candidates  # so that the search below walks the graph
    hits = 0
    for query in vectors[rng.integers(6_000, size=100)] + 0.05 * rng.standard_normal((100, 64), np.float32):
        hits += len(
            set(exact.search(query, k=10)[0].tolist()) & set(graph.search(query, k=10, recall=0.99)[0].tolist())
        )
    assert hits / 1000 >= 0.99


@pytest.mark.parametrize("exact_below", [0, 10_000])
def test_the_index_follows_the_catalogue(folder: Path, exact_below: int) -> None:
    model = Model(folder)
    index = LiveIndex(model.catalogue, exact_below=exact_below)
    model.put(300, seed=0)
    model.assert_searched_right(index)
    model.put(50, seed=1, first=20)  # updates
    model.put(80, seed=2, first=300)
    model.remove(range(100, 150))
    model.assert_searched_right(index)
    model.assert_searched_right(index, k=1)
    model.assert_searched_right(index, k=5_000, floor=1.0)  # more than there are: all of them
    assert index.kind == ("exact" if exact_below else "hnsw")


def test_the_index_goes_over_to_a_graph_as_the_catalogue_grows(folder: Path) -> None:
    model = Model(folder)
    index = LiveIndex(model.catalogue, exact_below=200)
    for step, kind in enumerate(["exact", "hnsw", "hnsw"]):
        model.put(100, seed=step, first=100 * step)
        model.assert_searched_right(index)
        assert index.kind == kind


def test_every_vector_is_compared_where_a_recall_of_1_is_asked_for(folder: Path) -> None:
    model = Model(folder)
    model.put(300, seed=0)
    index = LiveIndex(model.catalogue, exact_below=0, recall=1.0)
    for first in (20, 50):
        model.assert_searched_right(index, floor=1.0)
        model.put(40, seed=first, first=280)
        model.remove(range(first, first + 30))
    model.assert_searched_right(index, floor=1.0)


def test_a_graph_of_which_nothing_is_left_finds_nothing(folder: Path) -> None:
    model = Model(folder)
    model.put(300, seed=0)
    index = LiveIndex(model.catalogue, exact_below=0)
    index.refresh()
    model.remove(range(300))
    assert len(index.search(units(1, seed=1)[0], k=3)[0]) == 0
    index.save()
    model.put(20, seed=1)
    model.assert_searched_right(index)


def test_removing_most_of_a_graph_rebuilds_it(folder: Path) -> None:
    model = Model(folder)
    model.put(500, seed=0)
    index = LiveIndex(model.catalogue, exact_below=0)
    index.refresh()
    for first in range(0, 490, 70):
        model.remove(range(first, first + 70))
        model.assert_searched_right(index)
        assert index._index.removed_share <= 0.3
    assert len(index._index) == 10
    model.remove(range(490, 500))
    assert len(index.search(units(1, seed=0)[0], k=5)[0]) == 0
    model.put(20, seed=1)
    model.assert_searched_right(index)


def test_the_recall_of_a_graph_is_that_of_the_queries_that_are_hardest_for_it() -> None:
    vectors = units(3_000, seed=0)
    graph = HnswIndex(dim=DIM)
    graph.add(np.arange(3_000), vectors)
    queries = np.concatenate([vectors[:50], units(50, seed=1)])
    exact = np.argsort(-queries @ vectors.T)[:, :10]
    measured = []
    for rows in (slice(50), slice(50, 100), slice(100)):
        graph.measure_recall(queries[rows], exact=exact[rows], split=50)
        measured.append(graph.recalls.by_candidates[20])
    assert measured[2] == min(measured[:2]) < max(measured[:2])


def test_the_same_vectors_make_the_same_graph(tmp_path: Path) -> None:
    vectors, graphs = units(3_000, seed=1), []
    for name in ("once", "again"):
        index = HnswIndex(dim=DIM)
        index.build((some, vectors[some]) for some in np.array_split(np.arange(2_000), 3))
        index.add(np.arange(2_000, 3_000), vectors[2_000:])
        folder = tmp_path / name
        folder.mkdir()
        index.save(folder, position=Position(1, 0), identity={})
        graphs += [path.read_bytes() for path in folder.glob("*.graph")]
    assert graphs[0] == graphs[1]


def test_a_graph_that_is_built_in_one_go_finds_more_than_one_in_the_order_of_folders() -> None:
    count, folders = 8_000, 20
    places = units(folders, seed=3)[:, None]
    noise = np.random.default_rng(0).standard_normal((folders, count // folders, DIM)) * 0.2 / DIM**0.5
    vectors = (places + noise).reshape(count, DIM).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels, queries = np.arange(count), units(200, seed=2)
    in_order, mixed = HnswIndex(dim=DIM), HnswIndex(dim=DIM)
    in_order.add(labels, vectors)
    mixed.build((part, vectors[part]) for part in np.array_split(labels, 7))
    best = np.argsort(-queries @ vectors.T, axis=1)[:, :10]
    for graph in (in_order, mixed):
        graph.measure_recall(queries, exact=best)
    assert mixed.recalls.by_candidates[20] > in_order.recalls.by_candidates[20] + 0.04
    assert (in_order.is_mixed, mixed.is_mixed) == (False, True)


def test_many_vectors_are_put_in_random_order_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, added = units(1_000, seed=1), []
    add = HnswIndex._add

    def noting(self: HnswIndex, labels: np.ndarray, kept: np.ndarray) -> None:
        added.append(labels)
        add(self, labels, kept)

    monkeypatch.setattr(HnswIndex, "_add", noting)
    monkeypatch.setattr(hnsw, "_SHUFFLED", 350 * DIM * 4)
    index = HnswIndex(dim=DIM)
    index.build((part, vectors[part]) for part in np.array_split(np.arange(1_000), 10))
    assert [len(part) for part in added] == [300, 300, 300, 100]
    assert [sorted(part) == list(part) for part in added] == 4 * [False]
    np.testing.assert_array_equal(np.sort(np.concatenate(added)), np.arange(1_000))
    np.testing.assert_array_equal(index.vectors(np.arange(1_000)), vectors)


def test_a_graph_that_has_doubled_in_the_order_of_folders_is_saved_in_random_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(folder)
    model.put(400, seed=0)
    index = LiveIndex(model.catalogue, exact_below=0)
    index.save()
    assert index._index.is_mixed
    model.put(500, seed=1, first=400)
    index.refresh()
    assert not index._index.is_mixed
    index.save()
    index, added = loads(model, monkeypatch)
    assert index._index.is_mixed
    assert added == 0
    model.assert_searched_right(index)


def test_axes_keep_what_vectors_are_made_of() -> None:
    vectors = units(500, seed=0)
    axes = principal_axes(vectors)
    assert axes.shape == (DIM, 32)  # the next step of 32 after 24
    np.testing.assert_allclose(axes.T @ axes, np.eye(32), atol=1e-5)
    assert np.square(units(500, seed=1) @ axes).sum(axis=1).mean() >= 0.999
    in_all_directions = np.random.default_rng(0).standard_normal((500, DIM)).astype(np.float32)
    assert principal_axes(in_all_directions) is None
    assert principal_axes(vectors[:150]) is None  # too few to tell


def test_axes_hold_vectors_that_lose_less_than_a_five_hundredth_of_their_squared_length() -> None:
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((DIM, 33)))[0].astype(np.float32).T
    graph = HnswIndex(dim=DIM, axes=np.ascontiguousarray(basis[:32].T), whole=lambda labels: basis[labels])
    within, outside = np.tile(basis[:32], (20, 1)), basis[32:]
    assert graph.holds(within)
    assert graph.holds(np.concatenate([within[:599], outside]))
    assert not graph.holds(np.concatenate([within[:399], outside]))
    assert not graph.holds(outside)
    assert graph.holds(outside[:0])
    assert HnswIndex(dim=DIM).holds(outside)  # it has no axes


def test_measured_recalls_are_saved_with_the_graph(tmp_path: Path) -> None:
    graph = HnswIndex(dim=DIM)
    graph.add(np.arange(50), units(50, seed=0))
    graph.recalls = Recalls({20: 0.9, 40: 0.97}, of_all=0.998)
    graph.save(tmp_path, position=Position(50, 0), identity={})
    loaded, position = HnswIndex.load(tmp_path, dim=DIM, identity={})
    assert (loaded.recalls, position) == (graph.recalls, Position(50, 0))


def test_a_graph_along_axes_finds_what_whole_vectors_would(folder: Path) -> None:
    model = Model(folder)
    model.put(500, seed=0)
    index = LiveIndex(model.catalogue, exact_below=0)
    model.assert_searched_right(index, floor=0.99)
    model.assert_searched_right(index, k=200, floor=0.99)
    assert index._index.along_axes(units(1, seed=0)).shape == (1, 32)
    assert index.recall() == Recall(0.99, index.recall().measured, 40)
    assert index.recall().measured >= 0.99


@pytest.mark.parametrize("along", [True, False])
def test_whole_vectors_come_with_the_hits(along: bool) -> None:
    vectors = units(500, seed=0)
    axes = principal_axes(vectors) if along else None
    graph = HnswIndex(dim=DIM, axes=axes, whole=lambda labels: vectors[labels])
    graph.add(np.arange(500), vectors)
    query = units(1, seed=3)[0]
    for recall, among, rows in (
        (0.99, None, np.arange(500)),
        (1.0, None, np.arange(500)),
        (0.99, np.arange(100, 400, 3), np.arange(100, 400, 3)),
    ):
        found = graph.search_whole(query, k=7, recall=recall, among=among)
        best = rows[np.argsort(-(vectors[rows] @ query))[:7]]
        assert found.labels.tolist() == best.tolist()
        np.testing.assert_allclose(found.scores, vectors[best] @ query, atol=1e-5)
        np.testing.assert_array_equal(found.vectors, vectors[best])


def test_vectors_are_read_by_their_labels() -> None:
    vectors = units(200, seed=0)
    axes = principal_axes(vectors)
    graph = HnswIndex(dim=DIM, axes=axes, whole=lambda labels: vectors[labels])
    graph.add(np.arange(200), vectors)
    none, one = graph.vectors(np.array([], np.int64)), graph.vectors(np.array([3]))
    assert (none.shape, none.dtype) == ((0, axes.shape[1]), np.float32)
    np.testing.assert_array_equal(one, graph.along_axes(vectors[3:4]))
    with pytest.raises(DamagedCache, match=r"^Label not found$"):
        graph.vectors(np.array([3, 999]))


def test_axes_follow_a_library_that_becomes_another(folder: Path) -> None:
    model = Model(folder)
    model.put(300, seed=0)
    index = LiveIndex(model.catalogue, exact_below=0)
    index.save()
    before = index._index
    model.put(100, seed=1, first=300)
    index.save()
    assert index._index is before
    model.put(600, seed=2, first=400, turned=True)
    model.remove(range(0, 100))
    index.save()
    assert index._index is not before
    assert index._index.along_axes(units(1, seed=0)).shape == (1, 64)
    model.assert_searched_right(index, floor=0.99)


def test_a_vector_that_vanished_from_the_catalogue_is_no_missing_hit(folder: Path) -> None:
    model = Model(folder)
    model.put(300, seed=0)
    index = LiveIndex(model.catalogue, exact_below=0)
    labels, _ = index.search(model.alive[7], k=3)
    with sqlite3.connect(folder / FILE_NAME) as other:
        other.execute("DROP TRIGGER vector_removed")
        other.execute("DELETE FROM vectors WHERE label = ?", (int(labels[0]),))
    with pytest.raises(LibraryError, match="damaged"):
        index.search(model.alive[7], k=3)


def test_recall_is_told_as_met_or_not() -> None:
    recalls = Recalls({20: 0.9, 40: 0.97}, of_all=0.998)
    assert recalls.of(0.95) == Recall(0.95, 0.97, 80)  # 40 were measured to do
    assert str(recalls.of(0.95)) == "0.970 (target 0.95), with 80 candidates"
    assert recalls.of(0.99) == Recall(0.99, 0.998, None, 0.97)
    assert str(recalls.of(0.99)) == (
        "0.998 (exact search, because the graph reaches only 0.970 and the target is 0.99)"
    )
    assert str(Recall(0.99, 1.0)) == "1 (exact search)"
    assert str(Recall(0.99)) == "not measured (target 0.99)"


def test_recall_is_known_without_loading_the_graph(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved(folder)
    opened = LiveIndex(model.catalogue, exact_below=0)
    with monkeypatch.context() as patch:
        patch.setattr(HnswIndex, "load", None)
        told = opened.recall()
    assert told == loads(model, monkeypatch)[0].recall()
    assert told.measured >= 0.99
    assert told.candidates >= 20
    assert LiveIndex(model.catalogue).recall() == Recall(0.99, 1.0)  # so few are compared with, each
    delete_snapshot(folder)
    assert LiveIndex(model.catalogue, exact_below=0).recall() == Recall(0.99)


def test_a_search_that_meets_only_removed_labels_still_finds_the_living() -> None:
    vectors = units(2_000, seed=0)
    graph = HnswIndex(dim=DIM)
    graph.add(np.arange(2_000), vectors)
    query = vectors[0]
    order = np.argsort(-(vectors @ query))
    graph.remove(order[:1_990])  # everything near the query
    graph.recalls = Recalls({20: 1.0})  # so that it is walked
    labels, scores = graph.search(query, k=10, recall=0.99)
    assert labels.tolist() == order[1_990:].tolist()
    np.testing.assert_allclose(scores, (vectors @ query)[order[1_990:]], atol=1e-5)


def test_what_every_search_compares_with_follows_the_graph() -> None:
    graph, exact = HnswIndex(dim=DIM), ExactIndex(dim=DIM)
    vectors = units(200, seed=0)
    for index in (graph, exact):
        index.add(np.arange(100), vectors[:100])
    rows = graph._scan()
    for change in (
        lambda index: index.add(np.arange(100, 150), vectors[100:150]),
        lambda index: index.remove(np.array([3, 7, 120, 999])),
        lambda index: index.add(np.arange(150, 200), vectors[150:]),
    ):
        for index in (graph, exact):
            change(index)
        for query in vectors[[3, 110, 160]]:
            found, expected = graph.search(query, k=12, recall=0.99), exact.search(query, k=12)
            assert found[0].tolist() == expected[0].tolist()
    assert graph._scan() is rows  # it was not read again


def test_a_graph_in_two_pieces_still_finds_everything() -> None:
    vectors = np.repeat(np.eye(DIM, dtype=np.float32)[:2], 500, axis=0)  # copies link only to each other
    graph = HnswIndex(dim=DIM)
    graph._graph.set_num_threads(1)  # several threads link nodes in an order that changes from run to run
    graph.add(np.arange(1_000), vectors)
    graph.recalls = Recalls({20: 1.0})  # so that it is walked
    with pytest.raises(RuntimeError):  # what hnswlib does with it
        graph._graph.knn_query(vectors[:1], k=1_000)
    labels, scores = graph.search(vectors[0], k=1_000, recall=0.99)
    assert sorted(labels.tolist()) == list(range(1_000))
    assert scores.tolist() == [1.0] * 500 + [0.0] * 500


# -- the snapshot --------------------------------------------------------------------------------------


def saved(folder: Path) -> Model:
    """A library of 400 tracks, 30 of them removed, with a snapshot of its graph."""
    model = Model(folder)
    model.put(400, seed=0)
    index = LiveIndex(model.catalogue, exact_below=0)
    index.refresh()
    model.remove(range(30))  # after they were in the graph, where they stay as bridges
    index.save()
    return model


def loads(model: Model, monkeypatch: pytest.MonkeyPatch, *, index: LiveIndex | None = None) -> tuple[LiveIndex, int]:
    """A fresh or an open index over the model, and how many vectors it had to add instead of loading them."""
    added = 0
    original = HnswIndex._add

    def add(self: HnswIndex, labels: np.ndarray, kept: np.ndarray) -> None:
        nonlocal added
        added += len(labels)
        original(self, labels, kept)

    with monkeypatch.context() as patch:
        patch.setattr(HnswIndex, "_add", add)
        index = index or LiveIndex(model.catalogue, exact_below=0)
        index.refresh()
    return index, added


def test_a_snapshot_is_loaded_and_what_came_later_replayed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved(folder)
    index, added = loads(model, monkeypatch)
    assert added == 0
    model.assert_searched_right(index)
    model.put(7, seed=1, first=400)
    model.put(5, seed=2, first=100)
    model.remove(range(200, 220))
    index, added = loads(model, monkeypatch)
    assert added == 12
    model.assert_searched_right(index)


@pytest.mark.parametrize("stopped_at", [(HnswIndex, "build"), (Catalogue, "forget_the_past")])
def test_a_compact_that_is_stopped_leaves_a_graph_that_opens_at_once(
    folder: Path, stopped_at: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EXACT_BELOW", 0)
    model = saved(folder)
    model.remove(range(100, 110))  # which the saved graph has not seen

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*stopped_at, stop)
        with pytest.raises(KeyboardInterrupt):
            compact(folder)
    index, added = loads(model, monkeypatch)
    assert added == 0
    model.assert_searched_right(index)


def test_an_open_library_takes_the_graph_that_compact_has_saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EXACT_BELOW", 0)
    model = saved(folder)
    index = LiveIndex(Catalogue(folder), exact_below=0)
    index.refresh()
    model.remove(range(100, 150))
    compact(folder)
    index, added = loads(model, monkeypatch, index=index)
    assert added == 0
    model.assert_searched_right(index)


def test_saving_again_replaces_the_snapshot(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved(folder)
    index, _ = loads(model, monkeypatch)
    model.put(1, seed=5, first=400)
    index.save()  # one track in 400 is not worth a snapshot
    assert loads(model, monkeypatch)[1] == 1
    model.put(50, seed=6, first=401)
    index.save()
    assert loads(model, monkeypatch)[1] == 0
    assert len(list(folder.glob("hnsw*"))) == 2


def test_compacting_makes_a_graph_anew_only_where_tracks_were_removed(folder: Path) -> None:
    model = saved(folder)
    model.remove(range(30, 40))  # after the snapshot
    index = LiveIndex(model.catalogue, exact_below=0)
    index.compact()
    made = {path.name: path.stat().st_mtime_ns for path in folder.glob("hnsw*")}
    assert json.loads((folder / "hnsw.json").read_text().split("\n")[1])["removed"] == []
    model.assert_searched_right(index)
    LiveIndex(model.catalogue, exact_below=0).compact()
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("hnsw*")} == made
    LiveIndex(model.catalogue, exact_below=1_000).compact()
    assert not [*folder.glob("hnsw*")]


def flip(path: Path, *, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)


DAMAGES = {
    **{f"flipped at {at}": lambda path, at=at: flip(path, at=at) for at in (0.0, 0.001, 0.3, 0.77, 1.0)},
    "truncated to half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "truncated by one byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "a hole of zeros": lambda path: path.write_bytes(path.read_bytes()[:100] + bytes(path.stat().st_size - 100)),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"{}"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", ["hnsw.json", "hnsw-*.graph"])
def test_a_damaged_snapshot_is_rebuilt(
    folder: Path, name: str, damage: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = saved(folder)
    (path,) = folder.glob(name)
    damage(path)
    index, added = loads(model, monkeypatch)
    assert added == 370
    model.assert_searched_right(index)
    if not path.is_dir():
        index.save()
        assert loads(model, monkeypatch)[1] == 0


def test_a_snapshot_of_another_library_or_model_is_not_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(folder)
    other = Model(tmp_path / "other")
    other.put(400, seed=3)
    for path in folder.glob("hnsw*"):
        shutil.copy(path, tmp_path / "other")
    index, added = loads(other, monkeypatch)
    assert added == 400
    other.assert_searched_right(index)
    with pytest.raises(DamagedCache, match="belongs to another library, model or version"):
        HnswIndex.load(folder, dim=DIM, identity={"library_id": "another", "fingerprint": "f" * 64})


def restore_under_a_newer_snapshot(model: Model, folder: Path, *, backup: Path) -> Model:
    """The library in `backup`, 300 tracks, beside the snapshot that `model` writes after 50 tracks more."""
    model.put(50, seed=1, first=300)
    LiveIndex(model.catalogue, exact_below=0).save()
    for path in folder.glob("hnsw*"):
        shutil.copy(path, backup)
    restored = Model(backup)
    restored.alive = dict(enumerate(units(300, seed=0)))
    return restored


@pytest.mark.parametrize("added_since", [0, 5, 60])
def test_a_snapshot_newer_than_a_restored_catalogue_is_not_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added_since: int
) -> None:
    model = Model(folder)
    model.put(300, seed=0)
    model.catalogue.close()
    shutil.copytree(folder, tmp_path / "backup")
    restored = restore_under_a_newer_snapshot(Model(folder), folder, backup=tmp_path / "backup")
    if added_since:  # labels that the snapshot has under other vectors
        restored.put(added_since, seed=2, first=300)
    index, _ = loads(restored, monkeypatch)
    restored.assert_searched_right(index)


def test_a_snapshot_with_as_many_tracks_as_the_restored_catalogue_is_not_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(folder)
    model.put(300, seed=0)
    model.catalogue.close()
    shutil.copytree(folder, tmp_path / "backup")
    model = Model(folder)
    model.alive = dict.fromkeys(range(300), units(1, seed=0)[0])
    model.remove(range(50))
    restored = restore_under_a_newer_snapshot(model, folder, backup=tmp_path / "backup")
    restored.assert_searched_right(loads(restored, monkeypatch)[0])


def test_a_full_disk_keeps_the_old_snapshot(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved(folder)
    before = {path.name: path.read_bytes() for path in folder.glob("hnsw*")}
    index, _ = loads(model, monkeypatch)
    model.put(100, seed=1, first=400)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, hard))  # writes end there, as on a full disk
    try:
        index.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in folder.glob("hnsw*")} == before
    model.assert_searched_right(index)
    assert loads(model, monkeypatch)[1] == 100
