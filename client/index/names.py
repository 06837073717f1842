"""Fuzzy search for titles, artists and albums: accents, case and punctuation are ignored, and one typo is allowed.

SQLite's full-text index of trigrams (FTS5) finds the candidates, and `fit` scores each of them on its text. A typo is
one letter inserted, deleted or replaced, or two neighbours swapped. A word with one typo still has its first or its
second half, unless the two letters where the halves meet were swapped. So three phrases are searched for each word: its
first half, its second half, and the word with those two letters swapped.
"""

import json
import os
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from .fields import several

EXACT = 1.0
"""Score of a name that equals the typed text, except for case, accents and punctuation."""

SAME_WORDS = 0.95
"""Score of a name that equals the typed text, except for words such as "the"."""

WHOLE = 0.9
"""Score of a name that equals the typed text, except for one typo."""

MOST_CANDIDATES = 500
"""Candidates that each FTS5 query returns at most."""

MOST_FOUND = 200
"""Tracks that a search by name returns at most, the best first."""

MOST_CHARACTERS = 200
"""Longest text that may be a name; a longer text finds nothing."""

NO_ACCENTS = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "þ": "th"}
)
"""For `str.translate`: letters that Unicode does not decompose into a base letter and an accent."""

TABLE = """
-- Titles, artists and albums, one a line, for searches by name; `names.as_lines` makes them.
CREATE VIRTUAL TABLE names USING fts5(lines, tokenize = 'trigram', columnsize = 0);
CREATE TRIGGER name_added AFTER INSERT ON tracks BEGIN
    INSERT INTO names (rowid, lines) VALUES (new.number, names_of(new.metadata, new.annotations, new.path));
END;
CREATE TRIGGER name_changed AFTER UPDATE OF metadata, annotations, path ON tracks BEGIN
    UPDATE names SET lines = names_of(new.metadata, new.annotations, new.path) WHERE rowid = new.number;
END;
CREATE TRIGGER name_removed AFTER DELETE ON tracks BEGIN
    DELETE FROM names WHERE rowid = old.number;
END;
"""
FILL = "INSERT INTO names (rowid, lines) SELECT number, names_of(metadata, annotations, path) FROM tracks"
WRONG = (
    "SELECT count(*) FROM tracks LEFT JOIN names ON names.rowid = number "
    "WHERE lines IS NOT names_of(metadata, annotations, path)"
)
"""Query for the number of tracks whose row in `names` is missing or wrong."""

_BETWEEN = ("by", "von", "par", "and", "und", "et", "y", "n")  # "yesterday by the beatles", "guns and roses"
_MOST_LETTERS, _MOST_ARTISTS = 200, 20  # letters of a name, and artists of a track, that are indexed
_INITIALS = re.compile(r"(?<!\S)(\S) (?=\S(?!\S))")  # "r e m"
_LEAST_FUZZY = 4  # letters that a word needs to be matched with a typo
_FUZZY, _BEGUN = 0.8, 0.9  # score of a word with a typo, and of a word that only begins like the other


def add_functions(db: sqlite3.Connection) -> None:
    """Add the SQL function `names_of(metadata, annotations, path)`."""
    db.create_function("names_of", 3, _names_of, deterministic=True)


def plain(text: str) -> str:
    """Reduce a text to lower-case letters and digits without accents, in words with one space between them.

    A text without letters and digits keeps its punctuation.

    >>> plain("Beyoncé - HALO (Live!)"), plain("R.E.M."), plain("!!!")
    ('beyonce halo live', 'rem', '!!!')
    """
    folded = without_accents(without_accents(text).casefold()).translate(NO_ACCENTS)
    words = "".join(letter if letter.isalnum() or unicodedata.category(letter)[0] == "M" else " " for letter in folded)
    return _INITIALS.sub(r"\1", " ".join(words.split())) or " ".join(folded.replace('"', " ").split())


def as_lines(metadata: Mapping[str, Any], *, path: str) -> str:
    """A track's title, artists and album as `plain` texts, one a line, with a space at both ends of each line.

    A track without a title takes the name of its file.
    """
    said = [
        metadata.get("title") or os.path.splitext(os.path.basename(path))[0],
        *several(metadata.get("artist") or "")[:_MOST_ARTISTS],
        metadata.get("album") or "",
    ]
    return "\n".join(["", *(f" {name} " for text in said if (name := plain(str(text)[:_MOST_LETTERS]))), ""])


def as_matches(text: str) -> list[str]:
    """FTS5 queries for the tracks that may have this name, a `plain` text; the surest query comes first."""
    words = _words(text)
    if not words or len(text) > MOST_CHARACTERS:
        return []
    either = [" AND ".join(f"({' OR '.join(_phrases(word))})" for word in words)]
    if len(words) > 1 or len(text) >= 2 * _LEAST_FUZZY:  # the typo may be a space
        half = len(text) // 2
        either += [_quoted(f" {text[:half]}"), _quoted(f"{text[half:]} ")]
    return [
        _quoted(f"\n {text} \n"),
        " AND ".join(_beginning(word) for word in words),
        " OR ".join(f"({one})" for one in either),
    ]


def fit(text: str, lines: str) -> float:
    """How well a `plain` text fits a track's names, from 0 (not at all) to 1 (it is one of them).

    Args:
        text: the typed text.
        lines: the track's names; see `as_lines`.
    """
    names = [name.strip() for name in lines.split("\n") if name]
    if text in names:
        return EXACT
    if _words(text) in map(_words, names):
        return SAME_WORDS
    if any(len(text) >= _LEAST_FUZZY and is_one_mistake(text, name) for name in names):
        return WHOLE
    known = " ".join(names).split()
    typed = _words(text)
    fits = [max((_word_fit(word, other) for other in known), default=0.0) for word in typed]
    if not fits or not all(fits):
        return 0.0
    covered = min(1.0, sum(map(len, typed)) / max(1, min(map(len, names))))  # share of the shortest name that was typed
    return 0.5 * sum(fits) / len(fits) + 0.3 * covered


def is_one_mistake(text: str, other: str) -> bool:
    """Whether the texts differ by one typo: a letter inserted, deleted or replaced, or two neighbours swapped."""
    if abs(len(text) - len(other)) > 1 or text == other:
        return False
    same = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    a, b = text[same:], other[same:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def without_accents(text: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def _word_fit(word: str, other: str) -> float:
    if word == other:
        return 1.0
    if other.startswith(word):
        return _BEGUN
    return _FUZZY if len(word) >= _LEAST_FUZZY and is_one_mistake(word, other) else 0.0


def _words(text: str) -> list[str]:
    words = text.split()
    return [word for word in words if word not in _BETWEEN] or words


def _phrases(word: str) -> Iterator[str]:
    yield _beginning(word)
    if len(word) >= _LEAST_FUZZY:
        half = len(word) // 2
        yield _quoted(f" {word[:half]}")
        yield _quoted(f"{word[half:]} ")
        yield _quoted(f" {word[: half - 1]}{word[half]}{word[half - 1]}{word[half + 1 :]} ")


def _beginning(word: str) -> str:
    return _quoted(f" {word}" if len(word) > 1 else f" {word} ")


def _quoted(phrase: str) -> str:
    return f'"{phrase}"'  # needs no escaping, because `plain` removes quotes


def _names_of(metadata: str, annotations: str, path: str) -> str:
    try:
        known = {**json.loads(metadata), **json.loads(annotations)}
    except (ValueError, TypeError):  # the row is damaged; its checksum reports that elsewhere
        known = {}
    return as_lines(known, path=path)
