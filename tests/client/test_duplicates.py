"""Which pairs of tracks are named as copies, for windows that are made by hand."""

import math
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import QueryError
from client.duplicates import Duplicate, find_duplicates
from client.embedding import track_vectors
from client.index.catalogue import Catalogue
from client.index.live import LiveIndex
from client.index.records import FileState, Model, NewTrack

DIM = 16
A, B, *OTHERS = np.eye(DIM, dtype=np.float32)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "library", create=Model("tiny", "f" * 64, DIM))


def track(name: str, *windows: np.ndarray) -> NewTrack:
    rows = np.stack(windows)
    vectors = track_vectors(rows, starts_s=range(len(rows)), powers=[1.0] * len(rows))
    return NewTrack(FileState(f"/{name}", 1, 1, name), float(len(rows)), vectors)


def find(catalogue: Catalogue, **named: Any) -> list[Duplicate]:
    return list(find_duplicates(catalogue, LiveIndex(catalogue), **{"least": 0.98} | named))


def test_every_pair_of_many_copies(catalogue: Catalogue) -> None:
    catalogue.put([track(str(number), A, B) for number in range(15)])
    found = [(pair.first_path, pair.second_path) for pair in find(catalogue)]
    assert found == [(f"/{first}", f"/{second}") for first in range(15) for second in range(first + 1, 15)]


def test_a_longer_cut_of_a_recording_among_nearer_tracks(catalogue: Catalogue) -> None:
    # The long cut's ten nearest are those others, so only the short one names the pair.
    nearer = [(A + np.float32(0.4) * other) / np.float32(np.sqrt(1.16)) for other in OTHERS]
    catalogue.put([track("long", A, A, A, A, A, B), *(track(f"other {i}", row) for i, row in enumerate(nearer))])
    catalogue.put([track("short", A, B)])
    (pair,) = find(catalogue)
    assert (pair.first_path, pair.second_path) == ("/long", "/short")
    assert pair.similarity == pytest.approx(1)


def test_a_track_that_is_removed_meanwhile(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    search = LiveIndex.search

    def and_remove(index: LiveIndex, *arguments: Any, **named: Any) -> Any:
        found = search(index, *arguments, **named)
        with closing(Catalogue(catalogue.folder)) as other:
            other.remove([track.track_id for track in other.by_labels([1])])
        return found

    catalogue.put([track(str(number), A, B) for number in range(3)])
    monkeypatch.setattr(LiveIndex, "search", and_remove)
    assert [(pair.first_path, pair.second_path) for pair in find(catalogue)][-1] == ("/1", "/2")


def test_other_threads_get_their_turn(catalogue: Catalogue) -> None:
    lock = threading.Lock()
    catalogue.put([track(str(number), A, B) for number in range(3)])
    for _ in find_duplicates(catalogue, LiveIndex(catalogue), least=0.98, lock=lock):
        assert not lock.locked()


@pytest.mark.parametrize("least", [2, math.nan, "x", None])
def test_no_similarity(catalogue: Catalogue, least: Any) -> None:
    with pytest.raises(QueryError, match=r"least is .*, expected a similarity of at most 1"):
        find(catalogue, least=least)
