"""Metadata: which values a track may have, and which tracks a `where` selects."""

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
_MOST_CONDITIONS = 500  # SQLite's limit for the terms of an INTERSECT

Value = str | int | float | bool | list[str]
"""The value of one metadata field. A list holds several values, such as two genres, and any of them may match."""


def folded(text: str) -> str:
    """The form in which texts are compared: case-folded, and with one Unicode form (NFC) for accents."""
    decomposed = unicodedata.normalize("NFD", text)  # first, because folding treats each letter alone
    return unicodedata.normalize("NFC", decomposed.casefold())


def several(value: Any) -> list[Any]:
    """The single values of a metadata value: a list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def field_name(name: Any) -> Any:
    """The form in which field names are compared: one Unicode form (NFC); a name that is no text is left as it is."""
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
    """Annotations by track id, with field names as `field_name` gives them.

    Raises:
        QueryError: these are not dicts by track id. Their values are left to `check_metadata`.
    """
    for changes in (annotations, *annotations.values()) if isinstance(annotations, Mapping) else [annotations]:
        if not isinstance(changes, Mapping):
            raise QueryError(f"got the annotations {changes!r}, expected a dict of names and values by track id")
    return {
        track_id: {field_name(name): value for name, value in changes.items()}
        for track_id, changes in annotations.items()
    }


def put_fields(db: sqlite3.Connection, track: int, metadata: Mapping[str, Value]) -> None:
    """Replace the fields by which filters find the track with this number."""
    rows = {
        (field_name(name), folded(part) if isinstance(part, str) else float(part), track)
        for name, value in metadata.items()
        for part in several(value)
    }
    db.execute("DELETE FROM fields WHERE track = ?", (track,))
    db.executemany("INSERT INTO fields VALUES (?, ?, ?)", rows)


@dataclass(frozen=True)
class Condition:
    """The condition of a `where` for one field: equal to one of these texts or numbers, or a number in a range.

    Attributes:
        name: the field, as `field_name` gives it.
        texts: texts that match, as `folded` gives them.
        numbers: numbers that match.
        between: the lowest and the highest number that match; infinite if there is no limit.
    """

    name: str
    texts: list[str]
    numbers: list[float]
    between: tuple[float, float] | None = None


def read_where(where: Mapping[str, Any]) -> list[Condition]:
    """Parse a `where` into its conditions; a track must fit all of them.

    Args:
        where: a condition by the name of each field. A text (see `folded`), a number or a bool: the field is equal to
            it. A list of these: the field is equal to one of them. A tuple (low, high): the field is a number between
            them, both included; None is no limit on that side.

    Raises:
        QueryError: a condition has another form.
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
    """The error for a field that no track has; it suggests the most similar known field."""
    nearest = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known fields: {', '.join(known) or 'none'}"
    return QueryError(f"no track has the field {name!r}: {hint}")


def select_tracks(
    where: Mapping[str, Any], *, known: Sequence[str]
) -> tuple[str, list[str | float], list[tuple[int, str | float]]]:
    """Make the SQL query for the numbers of the tracks that fit every condition.

    Args:
        where: see `read_where`.
        known: the fields that some track has.

    Returns:
        The query, its parameters, and the rows that it expects in the temporary table `wanted`.

    Raises:
        QueryError: no track has a field, a condition has another form, or there are more conditions than SQLite takes.
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
        else:  # in a table, because SQLite limits the parameters of a statement
            test = "IN (SELECT value FROM temp.wanted WHERE condition = ?)"
            parameters += [condition.name, number]
            values: list[str | float] = [*condition.texts, *condition.numbers]
            wanted += [(number, value) for value in values]
        queries.append(f"SELECT track FROM fields WHERE name = ? AND value {test}")
    return " INTERSECT ".join(queries), parameters, wanted


def _is_number(value: Any) -> bool:
    """Whether it is a number of Python or NumPy; NaN and an int beyond all floats are not, infinity is."""
    try:
        return isinstance(value, int | float | np.integer | np.floating | np.bool_) and not math.isnan(value)
    except OverflowError:
        return False


def _is_text(value: Any) -> bool:
    """Whether it is a text that UTF-8 can encode."""
    return isinstance(value, str) and not _SURROGATE.search(value)
