"""Metadata: what a track may carry, and which tracks a `where` selects by it."""

import difflib
import math
import re
import sqlite3
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import QueryError

_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_CONDITIONS = 500  # SQLite's own limit for what it intersects

Value = str | int | float | bool | list[str]
"""Of one metadata field; a list holds several, such as two genres, and any of them may match."""


def folded(text: str) -> str:
    """The text as texts are compared: whatever the case, and however Unicode writes its accents."""
    decomposed = unicodedata.normalize("NFD", text)  # first, as folding looks at letters one by one
    return unicodedata.normalize("NFC", decomposed.casefold())


def several(value: Any) -> list[Any]:
    """What a value of metadata holds: a list several, anything else itself."""
    return value if isinstance(value, list) else [value]


def field_name(name: Any) -> Any:
    """The name of a field as names are compared: however Unicode writes its accents; what is no text as it is."""
    return unicodedata.normalize("NFC", name) if isinstance(name, str) else name


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise `QueryError` unless every value can be stored and filtered by."""
    if not isinstance(metadata, Mapping):
        raise QueryError(f"metadata is {metadata!r}, expected a dict of names and values")
    for name, value in metadata.items():
        if not name or not _is_text(name):
            raise QueryError(f"the metadata name {name!r} is not a text")
        numbers = _is_number(value) and math.isfinite(value)
        texts = _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))
        if not numbers and not texts:
            raise QueryError(
                f"metadata {name!r} is {value!r}, expected a text, a finite number, true or false, or a list of texts"
            )


def read_annotations(annotations: Any) -> dict[str, dict[str, Any]]:
    """Annotations by track id, with the names of their fields as `field_name` gives them.

    Raises:
        QueryError: these are no dicts by track id; `check_metadata` looks at what is in them.
    """
    for changes in (annotations, *annotations.values()) if isinstance(annotations, Mapping) else [annotations]:
        if not isinstance(changes, Mapping):
            raise QueryError(f"got the annotations {changes!r}, expected a dict of names and values by track id")
    return {
        track_id: {field_name(name): value for name, value in changes.items()}
        for track_id, changes in annotations.items()
    }


def put_fields(db: sqlite3.Connection, track: int, metadata: Mapping[str, Value]) -> None:
    """Make these the fields that the track with this number is found by."""
    rows = {
        (field_name(name), folded(part) if isinstance(part, str) else float(part), track)
        for name, value in metadata.items()
        for part in several(value)
    }
    db.execute("DELETE FROM fields WHERE track = ?", (track,))
    db.executemany("INSERT INTO fields VALUES (?, ?, ?)", rows)


@dataclass(frozen=True)
class Condition:
    """What a `where` asks of one field: to be one of these texts or numbers, or a number between two.

    Attributes:
        name: as `field_name` gives it.
        texts: as `folded` gives them.
        between: the lowest and the highest number; infinite where there is no limit.
    """

    name: str
    texts: list[str]
    numbers: list[float]
    between: tuple[float, float] | None = None


def read_where(where: Mapping[str, Any]) -> list[Condition]:
    """The conditions of a `where`, all of which must hold.

    Args:
        where: by the name of a field: a text (see `folded`), a number or a bool: equal to it; a list of these: equal to
            one of them; a tuple (low, high): a number between them, both included, None for no limit on that side.

    Raises:
        QueryError: a condition of another form.
    """
    if not isinstance(where, Mapping) or not where:
        raise QueryError(f'where is {where!r}, expected a dict of fields such as {{"genre": "jazz"}}')
    return [_read_condition(name, condition) for name, condition in where.items()]


def _read_condition(given: Any, condition: Any) -> Condition:
    name = field_name(given)
    if isinstance(condition, tuple):
        if len(condition) == 2 and all(limit is None or _is_number(limit) for limit in condition):
            low, high = condition
            limits = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
            return Condition(name, [], [], limits)
    else:
        options = condition if isinstance(condition, list) else [condition]
        texts = [folded(option) for option in options if _is_text(option)]
        numbers = [float(option) for option in options if _is_number(option)]
        if options and len(texts) + len(numbers) == len(options):
            return Condition(name, texts, numbers)
    raise QueryError(
        f"where[{given!r}] is {condition!r}, expected a text, a number, a list of them, or "
        "(low, high) with None for no limit"
    )


def unknown_field(name: str, *, known: Sequence[str]) -> QueryError:
    """No track has this field; naming the nearest of those that some track has."""
    nearest = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(known) or 'none'}"
    return QueryError(f"no track has the field {name!r}: {hint}")


def select_tracks(
    where: Mapping[str, Any], *, known: Sequence[str]
) -> tuple[str, list[str | float], list[tuple[int, str | float]]]:
    """SQL that selects the numbers of the tracks that fit every condition, its parameters, and its rows of `wanted`.

    Args:
        where: see `read_where`.
        known: the fields that some track has.

    Raises:
        QueryError: a field that no track has, a condition of another form, or more conditions than SQLite takes.
    """
    conditions = read_where(where)
    if len(conditions) > _MOST_CONDITIONS:
        raise QueryError(f"where names {len(conditions)} fields, expected at most {_MOST_CONDITIONS}")
    queries: list[str] = []
    parameters: list[str | float] = []
    wanted: list[tuple[int, str | float]] = []
    for number, condition in enumerate(conditions):
        if condition.name not in known:
            raise unknown_field(condition.name, known=known)
        if condition.between:
            test = "BETWEEN ? AND ?"
            parameters += [condition.name, *condition.between]
        else:  # in a table, as a statement takes only so many parameters
            test = "IN (SELECT value FROM temp.wanted WHERE condition = ?)"
            parameters += [condition.name, number]
            values: list[str | float] = [*condition.texts, *condition.numbers]
            wanted += [(number, value) for value in values]
        queries.append(f"SELECT track FROM fields WHERE name = ? AND value {test}")
    return " INTERSECT ".join(queries), parameters, wanted


def _is_number(value: Any) -> bool:
    """One of Python's or NumPy's; infinity too, but neither NaN nor an int beyond all floats."""
    try:
        return isinstance(value, int | float | np.integer | np.floating | np.bool_) and not math.isnan(value)
    except OverflowError:
        return False


def _is_text(value: Any) -> bool:
    """One that UTF-8 has bytes for."""
    return isinstance(value, str) and not _SURROGATE.search(value)
