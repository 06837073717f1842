"""Browsing a library without a query: newest tracks, facets of fields, and suggestions while typing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .catalogue import Catalogue
from .fields import Value, field_name, folded, several, unknown_field
from .names import fit, plain
from .records import Track

SUGGESTED_FIELDS = ("artist", "title", "album", "genre")

_BINS = 12
_NAMED = 50  # tracks whose titles may be suggested
_LAST = chr(0x10FFFF)  # sorts after every continuation of a text


@dataclass(frozen=True)
class FacetValue:
    """A value of a field, or a bin of its numbers, with a count of tracks.

    Attributes:
        value: a text as a file spells it, or the lowest number of a bin.
        count: tracks that have it.
    """

    value: str | float
    count: int


@dataclass(frozen=True)
class Facet:
    """The values of a field.

    Attributes:
        values: its texts, the most frequent first.
        low: its lowest number; None if it has no numbers.
        high: its highest number; None if it has no numbers.
        bins: a histogram of its numbers, with bins of equal width.
    """

    values: list[FacetValue]
    low: float | None = None
    high: float | None = None
    bins: list[FacetValue] | None = None


@dataclass(frozen=True)
class Suggestion:
    """A completion for a text that is being typed.

    Attributes:
        text: the completed text.
        kind: the field that has this value: artist, title, album or genre.
        count: tracks that have it.
    """

    text: str
    kind: str
    count: int


@dataclass(frozen=True)
class Glance:
    """A quick summary of a library, made without checking the checksums of its rows.

    Attributes:
        tracks: see `LibraryInfo`.
        missing: see `LibraryInfo`.
        failed: see `LibraryInfo`.
        duration_s: see `LibraryInfo`.
        fields: the names of metadata fields that some track has.
    """

    tracks: int
    missing: int
    failed: int
    duration_s: float
    fields: list[str]


def glance(catalogue: Catalogue) -> Glance:
    """Make a `Glance` of the library."""
    with catalogue.reading():
        ((tracks, missing, duration_s),) = catalogue.rows(
            "SELECT count(*), total(missing), total(duration_s) FROM tracks"
        )
        ((failed,),) = catalogue.rows("SELECT count(*) FROM failed")
        return Glance(tracks, int(missing), failed, duration_s, catalogue.known_fields())


def newest(catalogue: Catalogue, *, k: int, offset: int, where: Mapping[str, Any] | None) -> list[Track]:
    """Tracks of the library, the newest first."""
    with catalogue.reading():
        condition, values = "", []
        if where is not None:
            labels = catalogue.labels(where).tolist()
            condition, values = "AND label IN (SELECT value FROM json_each(?))", [json.dumps(labels)]
        query = f"SELECT label FROM vectors WHERE model = ? {condition} ORDER BY label DESC LIMIT ? OFFSET ?"
        found = [row[0] for row in catalogue.rows(query, catalogue.model_number, *values, k, offset)]
        tracks = {track.label: track for track in catalogue.by_labels(found)}
    return [tracks[label] for label in found if label in tracks]


def facets(catalogue: Catalogue, *, fields: Sequence[str] | None, most: int, containing: str = "") -> dict[str, Facet]:
    """The facets of these fields, by name; see `Facet` and `MusicSearch.facets`.

    Raises:
        QueryError: no track has one of the fields.
    """
    with catalogue.reading():
        known = catalogue.known_fields()
        names = known if fields is None else [field_name(name) for name in fields]
        for name in names:
            if name not in known:
                raise unknown_field(name, known=known)
        return {name: _facet(catalogue, name, most=most, containing=folded(containing)) for name in names}


def suggest(catalogue: Catalogue, beginning: str, *, k: int) -> list[Suggestion]:
    """Artists, titles, albums and genres that begin with a text, the most frequent first, then similar titles."""
    text = folded(beginning.strip())
    if not text:
        return []
    query = (
        "SELECT value, count(*), min(track) FROM fields WHERE name = ? AND value >= ? AND value < ? "
        "GROUP BY value ORDER BY count(*) DESC, length(value) LIMIT ?"
    )
    with catalogue.reading():
        found = [
            Suggestion(_spelt(catalogue, name, value, track=track), name, count)
            for name in SUGGESTED_FIELDS
            for value, count, track in catalogue.rows(query, name, text, text + _LAST, k)
        ]
        found.sort(key=lambda suggestion: -suggestion.count)
        if len(found) < k:
            named = catalogue.named_like(beginning)
            best = sorted(named, key=lambda label: (-named[label], label))
            titles = {track.label: str(track.metadata.get("title", "")) for track in catalogue.by_labels(best[:_NAMED])}
            typed = plain(beginning)
            own = [titles[label] for label in best[:_NAMED] if fit(typed, f"\n {plain(titles[label])} \n")]
            found += [Suggestion(title, "title", 1) for title in own]
    unique = {(folded(suggestion.text), suggestion.kind): suggestion for suggestion in reversed(found)}
    return list(reversed(unique.values()))[:k]


def track_ids(catalogue: Catalogue) -> dict[int, str]:
    """The track ids, by label, of all tracks that the model has embedded."""
    query = "SELECT label, track_id FROM vectors JOIN tracks ON number = track WHERE model = ?"
    return dict(catalogue.rows(query, catalogue.model_number))


def labels(catalogue: Catalogue) -> NDArray[np.int64]:
    """The labels, in ascending order, of all tracks that the model has embedded."""
    rows = catalogue.rows("SELECT label FROM vectors WHERE model = ? ORDER BY label", catalogue.model_number)
    return np.array([row[0] for row in rows], np.int64)


def values(catalogue: Catalogue, field: str) -> dict[int, str | float]:
    """The value of a field, by label. If a track has several, it is the lowest. Numbers sort before texts.

    Raises:
        QueryError: no track has the field.
    """
    name = field_name(field)
    known = catalogue.known_fields()
    if name not in known:
        raise unknown_field(name, known=known)
    query = (
        "SELECT label, value, track FROM fields JOIN vectors USING (track) WHERE name = ? AND model = ? "
        "ORDER BY value DESC"
    )
    spelt: dict[str, str] = {}
    found: dict[int, str | float] = {}
    for label, value, track in catalogue.rows(query, name, catalogue.model_number):
        if isinstance(value, str) and value not in spelt:
            spelt[value] = _spelt(catalogue, name, value, track=track)
        found[label] = spelt[value] if isinstance(value, str) else value
    return found


def _facet(catalogue: Catalogue, name: str, *, most: int, containing: str) -> Facet:
    texts = catalogue.rows(
        "SELECT value, count(*), min(track) FROM fields WHERE name = ? AND typeof(value) = 'text' "
        "AND instr(value, ?) GROUP BY value ORDER BY count(*) DESC, value LIMIT ?",
        name,
        containing,
        most,
    )
    values = [FacetValue(_spelt(catalogue, name, value, track=track), count) for value, count, track in texts]
    numbers = "FROM fields WHERE name = ? AND typeof(value) = 'real'"
    ((low, high),) = catalogue.rows(f"SELECT min(value), max(value) {numbers}", name)
    if low is None:
        return Facet(values)
    width = (high - low) / _BINS or 1.0
    query = f"SELECT min(CAST((value - ?) / ? AS INTEGER), ?) AS bin, count(*) {numbers} GROUP BY bin"
    counts = dict(catalogue.rows(query, low, width, _BINS - 1, name))
    bins = [FacetValue(low + width * bin, counts.get(bin, 0)) for bin in range(_BINS if high > low else 1)]
    return Facet(values, low, high, bins)


def _spelt(catalogue: Catalogue, name: str, value: str, *, track: int) -> str:
    """A folded value in the spelling of this track."""
    texts = catalogue.rows("SELECT metadata, annotations FROM tracks WHERE number = ?", track)
    for metadata, annotations in texts:
        known: dict[str, Value] = {**json.loads(metadata), **json.loads(annotations)}
        said = known.get(name, "")
        for text in several(said):
            if folded(str(text)) == value:
                return str(text)
    return value
