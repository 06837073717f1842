"""What `where` selects, against the same conditions in Python."""

import math
from pathlib import Path
from typing import Any

import pytest

from client import QueryError
from client.index.catalogue import Catalogue
from client.index.fields import check_metadata, unknown_field
from tests.client.test_catalogue import MODEL, new_track

TRACKS: list[dict[str, Any]] = [
    {"genre": "Jazz", "bpm": 80, "year": 1959, "live": True},
    {"genre": ["Jazz", "Funk"], "bpm": 120.5, "year": 1974, "live": False},
    {"genre": "Straße", "year": 1990},
    {"bpm": 120, "key": "Am", "title": "\u00c9tude"},
    {"title": "\u1fbc"},  # one letter, which folds to two, one of them an accent
]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    catalogue = Catalogue(tmp_path / "library", create=MODEL)
    tracks = [new_track(str(number), seed=number) for number in range(len(TRACKS))]
    catalogue.put(
        [type(track)(track.file, 1.0, track.vectors, fields) for track, fields in zip(tracks, TRACKS, strict=True)]
    )
    return catalogue


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"genre": "jazz"}, [0, 1]),
        ({"genre": "FUNK"}, [1]),
        ({"genre": "STRASSE"}, [2]),
        ({"title": "E\u0301TUDE"}, [3]),
        ({"title": "\u00e9tude"}, [3]),
        ({"title": "\u1fb3"}, [4]),
        ({"genre": ["funk", "straße"]}, [1, 2]),
        ({"bpm": 120}, [3]),
        ({"bpm": (80, 120)}, [0, 3]),
        ({"bpm": (None, 100)}, [0]),
        ({"year": (1974, None)}, [1, 2]),
        ({"year": (1974.5, 1989.5)}, []),
        ({"live": True}, [0]),
        ({"bpm": [80, 120.5], "genre": "jazz", "year": (1970, None)}, [1]),
        ({"key": "am", "genre": "jazz"}, []),
        ({"genre": 80}, []),
        ({"bpm": "80"}, []),
    ],
)
def test_where(catalogue: Catalogue, where: dict[str, Any], expected: list[int]) -> None:
    assert (catalogue.labels(where) - 1).tolist() == expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"gerne": "jazz"}, r"no track has the field 'gerne': did you mean 'genre'\?"),
        ({"x": 1}, r"no track has the field 'x': known fields: bpm, genre, key, live, title, year"),
        ({}, "expected a dict of fields"),
        ("genre", "expected a dict of fields"),
        ({"bpm": (80,)}, r"where\['bpm'\] is \(80,\), expected a text, a number"),
        ({"bpm": ("a", "b")}, r"where\['bpm'\]"),
        ({"bpm": math.nan}, r"where\['bpm'\]"),
        ({"bpm": 10**400}, r"where\['bpm'\] is 10+, expected a text, a number"),
        ({"bpm": (1, 10**400)}, r"a list of them, or \(low, high\) with None for no limit$"),
        ({"bpm": None}, r"where\['bpm'\]"),
        ({"genre": []}, r"where\['genre'\]"),
        ({"genre": [None]}, r"where\['genre'\]"),
    ],
)
def test_a_where_that_means_nothing(catalogue: Catalogue, where: Any, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        catalogue.labels(where)


@pytest.mark.parametrize("value", [None, math.inf, math.nan, {"a": 1}, [1, 2], b"x"])
def test_metadata_of_the_wrong_type(value: Any) -> None:
    with pytest.raises(QueryError, match=r"metadata 'mood' is .*, expected a text, a finite number"):
        check_metadata({"mood": value})
    with pytest.raises(QueryError, match=r"the metadata name 1 is not a text"):
        check_metadata({1: "a"})


def test_annotations_go_before_tags_and_outlive_changes(catalogue: Catalogue) -> None:
    track_id = catalogue.by_label(1).track_id
    catalogue.annotate({track_id: {"genre": "Blues", "mood": ["calm", "blue"]}})
    assert catalogue.by_id(track_id).metadata == {**TRACKS[0], "genre": "Blues", "mood": ["calm", "blue"]}
    assert catalogue.labels({"genre": "jazz"}).tolist() == [2]
    assert catalogue.labels({"mood": "CALM", "genre": "blues"}).tolist() == [1]
    catalogue.put([new_track("0", seed=9, mtime_ns=2)])
    assert catalogue.by_id(track_id).metadata == {"title": "0 é", "genre": "Blues", "mood": ["calm", "blue"]}
    catalogue.annotate({track_id: {"genre": None, "mood": None}})
    assert catalogue.by_id(track_id).metadata == {"title": "0 é"}
    with pytest.raises(QueryError, match="no track has the field 'mood'"):
        catalogue.labels({"mood": "calm"})


def test_where_no_track_has_a_field_the_error_says_so() -> None:
    assert str(unknown_field("genre", known=[])) == "no track has the field 'genre': known fields: none"
