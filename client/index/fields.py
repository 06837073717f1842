"""Metadata: what a track may carry, and which tracks a `where` selects by it."""

import difflib
import math
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import QueryError

Value = str | int | float | bool | list[str]
"""Of one metadata field; a list holds several, such as two genres, and any of them may match."""


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise `QueryError` unless every value can be stored and filtered by."""
    if not isinstance(metadata, Mapping):
        raise QueryError(f"metadata is {metadata!r}, expected a dict of names and values")
    for name, value in metadata.items():
        if not isinstance(name, str) or not name:
            raise QueryError(f"the metadata name {name!r} is not a text")
        numbers = isinstance(value, int | float) and math.isfinite(value)
        texts = isinstance(value, str) or (isinstance(value, list) and all(isinstance(part, str) for part in value))
        if not numbers and not texts:
            raise QueryError(
                f"metadata {name!r} is {value!r}, expected a text, a finite number, true or false, or a list of texts"
            )


def put_fields(db: sqlite3.Connection, track: int, metadata: Mapping[str, Value]) -> None:
    """Make these the fields that the track with this number is found by."""
    rows = []
    for name, value in metadata.items():
        for part in value if isinstance(value, list) else [value]:
            text, number = (part.casefold(), None) if isinstance(part, str) else (None, float(part))
            rows.append((track, name, text, number))
    db.execute("DELETE FROM fields WHERE track = ?", (track,))
    db.executemany("INSERT INTO fields VALUES (?, ?, ?, ?)", rows)


def select_tracks(where: Mapping[str, Any], *, known: Sequence[str]) -> tuple[str, list[str | float]]:
    """SQL that selects the numbers of the tracks that fit every condition, and its parameters.

    Args:
        where: by the name of a field: a text (compared without regard to case), a number or a bool: equal to it; a list
            of these: equal to one of them; a tuple (low, high): a number between them, both included, None for
            no limit on that side.
        known: the fields that some track has.

    Raises:
        QueryError: a field that no track has (naming the nearest), or a condition of another form.
    """
    if not isinstance(where, Mapping) or not where:
        raise QueryError(f'where is {where!r}, expected a dict of fields such as {{"genre": "jazz"}}')
    queries: list[str] = []
    parameters: list[str | float] = []
    for name, condition in where.items():
        if name not in known:
            nearest = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(known) or 'none'}"
            raise QueryError(f"no track has the field {name!r}: {hint}")
        test, values = _test(name, condition)
        queries.append(f"SELECT track FROM fields WHERE name = ? AND {test}")
        parameters += [name, *values]
    return " INTERSECT ".join(queries), parameters


def _test(name: str, condition: Any) -> tuple[str, list[str | float]]:
    if isinstance(condition, tuple):
        if len(condition) == 2 and all(limit is None or _is_number(limit) for limit in condition):
            low, high = condition
            return "number BETWEEN ? AND ?", [-math.inf if low is None else low, math.inf if high is None else high]
    else:
        options = condition if isinstance(condition, list) else [condition]
        texts = [option.casefold() for option in options if isinstance(option, str)]
        numbers = [float(option) for option in options if _is_number(option)]
        if options and len(texts) + len(numbers) == len(options):
            tests = [
                f"{column} IN ({', '.join('?' * len(values))})"
                for column, values in (("text", texts), ("number", numbers))
                if values
            ]
            return f"({' OR '.join(tests)})", [*texts, *numbers]
    raise QueryError(
        f"where[{name!r}] is {condition!r}, expected a text, a number, a list of them, or "
        "(low, high) with None for no limit"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)
