"""What to search for: texts and sounds, wanted and unwanted, with their weights."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import QueryError
from .negation import read_negation

MOST_TEXT_BYTES = 16_384
"""The most bytes of a text in UTF-8. A server has the same limit (`max_text_bytes` in text_tokenizer/config.pbtxt)."""


@dataclass(frozen=True)
class Reading:
    """How a query was read.

    Attributes:
        wanted: the wanted texts and their weights.
        unwanted: the unwanted texts and their weights. They come from `minus` and from negations in the query.
        parts: for each text that is too long for the model, the parts that it was split into. The mean of their vectors
            stands for the text. Empty before the search.
    """

    wanted: dict[str, float]
    unwanted: dict[str, float]
    parts: dict[str, list[str]] = field(default_factory=dict)


class Clip(NamedTuple):
    """A part of an audio file.

    Attributes:
        path: the file.
        start_s: where the part begins.
        end_s: where the part ends. None is the end of the file.
    """

    path: str | Path
    start_s: float = 0.0
    end_s: float | None = None


Source = str | Path | Clip
"""A sound: an audio file, a part of one, or the id of a track in the library."""


def weighted(items: Any, *, weight: float, name: str, single: tuple[type, ...]) -> dict[Any, float]:
    """The items of a query and their weights.

    Args:
        items: one item, several, or a dict of items and their weights. A weight is a finite number above 0.
        weight: the weight of an item that has none.
        name: the name of the argument, for the error message.
        single: the types that an item may have.

    Raises:
        QueryError: an item or a weight is not valid.
    """
    if isinstance(items, single):
        items = [items]
    if not isinstance(items, Sequence | Mapping):
        raise QueryError(f"{name} is {items!r}, expected one item, a list of them, or a dict of items and weights")
    pairs = dict(items) if isinstance(items, Mapping) else dict.fromkeys(items, weight)
    for item, share in pairs.items():
        if not isinstance(item, single):
            expected = " or ".join(kind.__name__ for kind in single)
            raise QueryError(f"{name} holds {item!r}, expected {expected}")
        if not isinstance(share, int | float | np.number) or not 0 < share <= sys.float_info.max:
            raise QueryError(f"the weight of {item!r} in {name} is {share!r}, expected a number above 0")
    return pairs


def read_query(
    query: str | Sequence[str] | Mapping[str, float],
    *,
    minus: str | Sequence[str] | Mapping[str, float] = (),
    literal: bool = False,
) -> Reading:
    """How `MusicSearch.search` reads a query before it searches. The arguments are the same.

    >>> read_query("calm jazz without saxophone")
    Reading(wanted={'calm jazz': 1.0}, unwanted={'saxophone': 1.0}, parts={})

    Raises:
        QueryError: a text or a weight is not valid.
    """
    given = weighted(query, weight=1.0, name="query", single=(str,))
    unwanted = weighted(minus, weight=1.0, name="minus", single=(str,))
    for text in (*given, *unwanted):
        check_text(text, what="the query")
    if literal:
        return Reading(given, unwanted)
    wanted: dict[str, float] = {}
    for text, share in given.items():
        read = read_negation(text)
        if read.wanted:
            wanted[read.wanted] = wanted.get(read.wanted, 0.0) + share
        for item in read.unwanted:
            unwanted.setdefault(item, share)
    return Reading(wanted, unwanted)


def check_count(value: int, *, name: str, least: int) -> None:
    """Raise `QueryError` unless the value is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise QueryError(f"{name} is {value!r}, expected a whole number of at least {least}")


def check_switch(value: bool, *, name: str) -> None:
    """Raise `QueryError` unless the value is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise QueryError(f"{name} is {value!r}, expected True or False")


def check_source(source: Any) -> None:
    """Raise `QueryError` unless the value is a `Source` with finite times."""
    path, start_s, end_s = source if isinstance(source, Clip) else (source, 0.0, None)
    times = [start_s] if end_s is None else [start_s, end_s]
    if not isinstance(path, str | Path) or not all(
        isinstance(s, int | float | np.number) and math.isfinite(s) for s in times
    ):
        raise QueryError(f"got the sound {source!r}, expected a path, a track id, or a Clip of a path and seconds")


def unit(vector: Any, *, dim: int) -> NDArray[np.float32]:
    """Normalise a query vector: float32 [dim] with unit L2 norm.

    Raises:
        QueryError: the vector has another length, is 0, or contains a value that is not a number.
    """
    try:
        with np.errstate(over="ignore"):  # the check of the norm below refuses infinity
            array = np.asarray(vector, np.float32)
    except (TypeError, ValueError, OverflowError) as exc:
        raise QueryError(f"the query vector is {type(vector).__name__}, expected {dim} numbers") from exc
    if array.shape != (dim,):
        raise QueryError(f"the query vector has the shape {list(array.shape)}, expected {[dim]}")
    norm = float(np.linalg.norm(array))
    if not 1e-6 < norm < float("inf"):
        raise QueryError(
            f"the query vector has the norm {norm:g}: wanted and unwanted sounds cancel out, or it holds NaN"
        )
    normalised: NDArray[np.float32] = array / np.float32(norm)
    return normalised


def check_texts(texts: Sequence[str], *, what: str) -> None:
    """Raise `QueryError` unless `texts` is a sequence of non-empty strings."""
    if isinstance(texts, str):
        raise QueryError(f"{what} is one string, expected a list of strings: [{texts!r}]")
    for index, text in enumerate(texts):
        check_text(text, what=f"{what}[{index}]")


def check_text(text: str, *, what: str) -> None:
    """Raise `QueryError` unless `text` is a non-empty string of valid Unicode and at most 16,384 bytes."""
    if isinstance(text, str) and (size := len(text.encode(errors="surrogatepass"))) > MOST_TEXT_BYTES:
        raise QueryError(f"{what} has {size:,} bytes, expected at most {MOST_TEXT_BYTES:,}: use fewer words")
    if not isinstance(text, str) or not text.strip():
        raise QueryError(f"{what} is {text!r}, expected a text that is not empty")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise QueryError(f"{what} is {text!r}, which is not valid Unicode") from exc
