"""Retrieval measures against values worked out by hand and scikit-learn's, and the file they come from."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from client import QueryError
from client.encoders.local import LocalEncoder
from client.evaluation import measure, rank, read_queries
from client.index.catalogue import Catalogue
from client.index.live import LiveIndex
from client.index.records import FileState, Model, NewTrack, TrackVectors

FOUND = [f"t{number}" for number in range(10)]


def test_one_right_track_at_rank_three() -> None:
    measures = measure({"q": FOUND}, {"q": {"t2"}})
    assert [measures[name].value for name in ("R@1", "R@5", "R@10")] == [0, 1, 1]
    assert measures["nDCG@10"].value == pytest.approx(1 / np.log2(4))
    assert measures["mAP@10"].value == pytest.approx(1 / 3)


def test_several_right_tracks_one_not_found() -> None:
    measures = measure({"q": FOUND[:6]}, {"q": {"t0", "t3", "elsewhere"}})
    assert measures["R@1"].value == 1
    assert measures["R@5"].value == pytest.approx(2 / 3)
    assert measures["mAP@10"].value == pytest.approx((1 + 2 / 4) / 3)
    truth = [[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]]  # the eleventh is the one that was not found
    assert measures["nDCG@10"].value == pytest.approx(ndcg_score(truth, [list(range(11, 0, -1))], k=10))


def test_means_and_intervals() -> None:
    found = {str(number): FOUND for number in range(40)}
    wanted = {str(number): {"t0" if number % 2 else "t9"} for number in range(40)}
    half = measure(found, wanted)["R@1"]
    assert half.value == 0.5
    assert 0.3 < half.low < 0.42
    assert 0.58 < half.high < 0.7


def test_a_difference_is_drawn_on_the_same_queries() -> None:
    # Queries differ much, and the two hardly: each alone is uncertain, the difference is not.
    wanted = {str(number): {"t0" if number % 2 else "elsewhere"} for number in range(40)}
    better = {str(number): FOUND for number in range(40)}
    worse = {query: ["x", *FOUND] for query in wanted}
    alone, difference = measure(better, wanted)["nDCG@10"], measure(better, wanted, than=worse)["nDCG@10"]
    assert difference.value == pytest.approx(0.5 * (1 - 1 / np.log2(3)))
    assert 0.1 < difference.low < difference.value < difference.high < 0.26
    assert alone.high - alone.low > 2 * (difference.high - difference.low)
    same = measure(better, wanted, than=better)
    assert {(each.value, each.low, each.high) for each in same.values()} == {(0, 0, 0)}


def test_a_track_that_is_removed_meanwhile(
    tmp_path: Path, encoder: LocalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = encoder.spec
    folder, model = tmp_path / "library", Model(spec.model_name, spec.fingerprint, spec.embedding_dim)
    search = LiveIndex.search

    def and_remove(index: LiveIndex, *arguments: Any, **named: Any) -> Any:
        found = search(index, *arguments, **named)
        with closing(Catalogue(folder)) as other:
            other.remove([track.track_id for track in other.by_labels([1])])
        return found

    with closing(Catalogue(folder, create=model)) as catalogue:
        for number, vector in enumerate(np.eye(3, spec.embedding_dim, dtype=np.float32)):
            vectors = TrackVectors(vector, np.zeros(1, np.float32), vector[None])
            catalogue.put([NewTrack(FileState(f"/music/{number}", 1, 1, str(number)), 1.0, vectors)])
        monkeypatch.setattr(LiveIndex, "search", and_remove)
        ranking = rank(catalogue, encoder, ["low"])
        assert len(ranking.found["low"]) == 3
        assert ranking.found == ranking.exact
        assert len(catalogue) == 2


def test_queries_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "queries.csv"
    path.write_text('query,track\n"calm, slow",a\nfast,b\n"calm, slow",c\n', encoding="utf-8")
    assert read_queries(path) == {"calm, slow": {"a", "c"}, "fast": {"b"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("query,tracks\na,b\n", "has no column track"),
        ("", "has no column query and track"),
        ("query,track\na,\n", "line 2: query or track is empty"),
        ("query,track\n", "holds no queries"),
        (b"\xff\xfe\x00", "cannot read"),
    ],
)
def test_a_file_of_another_form(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "queries.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(QueryError, match=message):
        read_queries(path)
    with pytest.raises(QueryError, match="cannot read"):
        read_queries(tmp_path / "absent.csv")
