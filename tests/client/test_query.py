"""What a query may be, and what is said of one that may not."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import Clip, QueryError
from client.query import (
    MOST_TEXT_BYTES,
    Reading,
    check_count,
    check_source,
    check_switch,
    check_text,
    check_texts,
    read_query,
    unit,
    weighted,
)


def test_items_have_weights() -> None:
    assert weighted("a", weight=0.5, name="minus", single=(str,)) == {"a": 0.5}
    assert weighted(["a", "b"], weight=2.0, name="minus", single=(str,)) == {"a": 2.0, "b": 2.0}
    assert weighted({"a": 3, "b": np.float32(0.25)}, weight=2.0, name="minus", single=(str,)) == {"a": 3, "b": 0.25}
    assert weighted((), weight=1.0, name="minus", single=(str,)) == {}


def test_negations_of_a_query_are_unwanted_with_its_weight() -> None:
    read = read_query({"calm jazz without saxophone": 2.0, "piano": 0.5}, minus={"drums": 3.0})
    assert read == Reading({"calm jazz": 2.0, "piano": 0.5}, {"drums": 3.0, "saxophone": 2.0})
    assert read_query({"jazz no drums": 2.0}, minus={"drums": 3.0}).unwanted == {"drums": 3.0}
    assert read_query({"jazz no drums": 2.0, "jazz without vocals": 0.5}).wanted == {"jazz": 2.5}
    assert read_query("without drums") == Reading({}, {"drums": 1.0})
    literal = read_query("jazz without drums", minus="vocals", literal=True)
    assert literal == Reading({"jazz without drums": 1.0}, {"vocals": 1.0})


def test_whole_numbers_and_switches_may_be_of_numpy() -> None:
    check_count(1, name="k", least=1)
    check_count(np.int32(7), name="k", least=1)  # type: ignore[arg-type]
    check_switch(True, name="random")
    check_switch(np.bool_(False), name="random")  # type: ignore[arg-type]


def test_a_sound_is_a_path_or_an_id_or_a_part_of_one() -> None:
    for source in ("id", Path("a.mp3"), Clip("a.mp3"), Clip(Path("a.mp3"), 1), Clip("a.mp3", np.float32(0.5), 2.0)):
        check_source(source)


def test_a_vector_is_normalised_to_float32() -> None:
    normalised = unit([3, 4], dim=2)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(unit([2e-6, 0], dim=2), [1, 0])


def test_a_text_of_the_longest_size_is_one() -> None:
    check_text("ä" * (MOST_TEXT_BYTES // 2), what="the query")
    check_texts(["a", " b "], what="tags")


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "items": (
        lambda: weighted(3, weight=1.0, name="like", single=(str, Path)),
        "like is 3, expected one item, a list of them, or a dict of items and weights",
    ),
    "item": (
        lambda: weighted(["a", 3], weight=1.0, name="like", single=(str, Path)),
        "like holds 3, expected str or Path",
    ),
    **{
        f"weight {share}": (
            lambda share=share: weighted({"a": share}, weight=1.0, name="minus", single=(str,)),
            f"the weight of 'a' in minus is {share!r}, expected a number above 0",
        )
        for share in (0, -1, float("inf"), float("nan"), "1", None)
    },
    "query": (lambda: read_query(""), "the query is '', expected a text that is not empty"),
    "minus": (lambda: read_query("a", minus=" "), "the query is ' ', expected a text that is not empty"),
    "minus items": (lambda: read_query("a", minus=[1]), "minus holds 1, expected str"),  # type: ignore[list-item]
    "query items": (lambda: read_query([1]), "query holds 1, expected str"),  # type: ignore[list-item]
    **{
        f"count {value}": (
            lambda value=value: check_count(value, name="k", least=1),
            f"k is {value!r}, expected a whole number of at least 1",
        )
        for value in (0, True, 1.0, "1", None)
    },
    "switch": (lambda: check_switch(1, name="random"), "random is 1, expected True or False"),  # type: ignore[arg-type]
    **{
        f"sound {number}": (
            lambda source=source: check_source(source),
            f"got the sound {source!r}, expected a path, a track id, or a Clip of a path and seconds",
        )
        for number, source in enumerate(
            (3, Clip(3), Clip("a", "0"), Clip("a", float("nan")), Clip("a", 0.0, float("inf")), Clip("a", 0.0, "1"))  # type: ignore[arg-type]
        )
    },
    "vector": (lambda: unit("a", dim=3), "the query vector is str, expected 3 numbers"),
    "shape": (lambda: unit([[1.0, 2.0]], dim=2), "the query vector has the shape [1, 2], expected [2]"),
    **{
        f"norm {norm}": (
            lambda value=value: unit([value, 0.0], dim=2),
            f"the query vector has the norm {norm}: wanted and unwanted sounds cancel out, or it holds NaN",
        )
        for value, norm in ((0.0, "0"), (1e-6, "1e-06"), (float("nan"), "nan"), (1e60, "inf"))
    },
    "texts": (lambda: check_texts("abc", what="tags"), "tags is one string, expected a list of strings: ['abc']"),
    "texts' text": (lambda: check_texts(["a", ""], what="tags"), "tags[1] is '', expected a text that is not empty"),
    "long": (
        lambda: check_text("ä" * (MOST_TEXT_BYTES // 2) + "a", what="the query"),
        "the query has 16,385 bytes, expected at most 16,384: use fewer words",
    ),
    "no text": (lambda: check_text(3, what="the query"), "the query is 3, expected a text that is not empty"),  # type: ignore[arg-type]
    "surrogate": (
        lambda: check_text("a\ud800", what="the query"),
        "the query is 'a\\ud800', which is not valid Unicode",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("error")
def test_what_is_refused(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(QueryError, match=f"^{re.escape(message)}$"):
        call()
