"""Any order of additions, updates, removals and filters, against plain dicts and NumPy."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from client.index.catalogue import Catalogue
from client.index.live import LiveIndex
from client.index.maintenance import compact, verify
from client.index.records import FileState, Model, NewTrack, TrackVectors

DIM = 12
NUMBERS = st.integers(0, 39)
GENRES = ("jazz", "Techno", "Straße")


class Library(RuleBasedStateMachine):
    """A catalogue with an exact index and a graph over it; beside them `alive`: number -> (vector, genre, bpm)."""

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.alive: dict[int, tuple[np.ndarray, str, float]] = {}
        self.annotated: dict[int, float] = {}  # goes before what a file says, and outlives its changes
        self.rng = np.random.default_rng(0)
        self.open()

    def open(self) -> None:
        self.catalogue = Catalogue(self.folder, create=Model("tiny", "f" * 64, DIM))
        # Recall 1 walks no graph, so both must find the very same.
        self.indexes = [LiveIndex(self.catalogue, exact_below=below, recall=1.0) for below in (10**9, 0)]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.catalogue.close()
            shutil.rmtree(self.folder)

    @rule(
        numbers=st.lists(NUMBERS, min_size=1, max_size=8, unique=True),
        genre=st.sampled_from(GENRES),
        bpm=st.integers(60, 180),
    )
    def put(self, numbers: list[int], genre: str, bpm: int) -> None:
        tracks = []
        for number in numbers:
            vector = self.rng.standard_normal(DIM).astype(np.float32)
            vector /= np.linalg.norm(vector)
            file = FileState(f"/{number}", 1, 1, str(self.rng.integers(2**62)))
            vectors = TrackVectors(vector, np.zeros(1, np.float32), vector[None])
            tracks.append(NewTrack(file, 1.0, vectors, {"genre": genre, "bpm": bpm}))
            self.alive[number] = (vector, genre, self.annotated.get(number, bpm))
        self.catalogue.put(tracks)

    @rule(numbers=st.lists(NUMBERS, max_size=12, unique=True))
    def remove(self, numbers: list[int]) -> None:
        numbers = [number for number in numbers if number in self.alive]
        self.catalogue.remove([self.catalogue.by_path(f"/{number}").track_id for number in numbers])
        for number in numbers:
            del self.alive[number]
            self.annotated.pop(number, None)

    @rule(number=NUMBERS, bpm=st.integers(60, 180))
    def annotate(self, number: int, bpm: int) -> None:
        if number in self.alive:
            self.catalogue.annotate({self.catalogue.by_path(f"/{number}").track_id: {"bpm": bpm}})
            vector, genre, _ = self.alive[number]
            self.alive[number] = (vector, genre, bpm)
            self.annotated[number] = bpm

    @rule()
    def snapshot_and_open_again(self) -> None:
        self.indexes[1].save()
        self.catalogue.close()
        self.open()

    @rule()
    def compact(self) -> None:
        self.catalogue.close()
        compact(self.folder)
        self.open()

    @invariant()
    def finds_what_numpy_finds(self) -> None:
        if not hasattr(self, "catalogue"):
            return
        query = self.rng.standard_normal(DIM).astype(np.float32)
        query /= np.linalg.norm(query)
        genre = GENRES[self.rng.integers(3)]
        low = int(self.rng.integers(60, 180))
        for where, fits in (
            (None, lambda genre_, bpm: True),
            ({"genre": genre.upper()}, lambda genre_, bpm: genre_ == genre),
            ({"bpm": (low, None)}, lambda genre_, bpm: bpm >= low),
        ):
            if where and not self.alive:
                continue
            expected = sorted(
                ((number, float(vector @ query)) for number, (vector, *rest) in self.alive.items() if fits(*rest)),
                key=lambda pair: -pair[1],
            )[:7]
            for index in self.indexes:
                self.agrees(index, query, where, expected)

    def agrees(self, index: LiveIndex, query: np.ndarray, where: dict[str, Any] | None, expected: list) -> None:
        labels, scores = index.search(query, k=7, where=where)
        found = [int(self.catalogue.by_label(label).file.path[1:]) for label in labels.tolist()]
        assert found == [number for number, _ in expected]
        np.testing.assert_allclose(scores, [score for _, score in expected], atol=1e-5)

    @invariant()
    def is_sound(self) -> None:
        if hasattr(self, "catalogue") and self.rng.random() < 0.1:
            assert verify(self.folder).problems == []


Library.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
test_any_sequence = pytest.mark.filterwarnings("ignore")(Library.TestCase)
