"""What an audio file says about itself: title, artist, album, genre, year, bpm and key."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import mutagen
from mutagen.easyid3 import EasyID3
from mutagen.easymp4 import EasyMP4Tags
from mutagen.id3 import ID3

from .index.fields import Value

EasyID3.RegisterTextKey("initialkey", "TKEY")  # type: ignore[no-untyped-call]
EasyMP4Tags.RegisterFreeformKey("initialkey", "initialkey")  # type: ignore[no-untyped-call]

# Vorbis comments have no fixed names.
_NAMES = {"title": "title", "artist": "artist", "album": "album", "genre": "genre", "initialkey": "key", "key": "key"}
_NUMBERS = {"date": "year", "year": "year", "bpm": "bpm", "tempo": "bpm"}


def read_tags(path: str) -> dict[str, Value]:
    """The tags that a file has; nothing where they cannot be read, as its sound may be fine all the same.

    Returns:
        title, artist, album and key as texts, genre as a text or a list of them, year as an int, bpm as a number.
    """
    try:
        file = mutagen.File(path, easy=True)
        tags = {} if file is None or file.tags is None else dict(_named(file.tags))
    except Exception:  # on damaged tags mutagen also raises what it does not mean to, such as IndexError
        return {}
    found: dict[str, Value] = {}
    for name, values in tags.items():
        texts = [str(value).strip() for value in values if str(value).strip()] if isinstance(values, list) else []
        name = name.lower()
        if not texts:
            continue
        if name in _NAMES:
            several = name == "genre" and len(texts) > 1
            found.setdefault(_NAMES[name], texts if several else ", ".join(texts))
        elif name in _NUMBERS and (number := _number(texts, is_year=_NUMBERS[name] == "year")) is not None:
            found.setdefault(_NUMBERS[name], number)
    return found


def _named(tags: Mapping[str, Any]) -> Mapping[str, Any]:
    """By the names of an easy form, which mutagen does not have for the ID3 frames of WAV and AIFF."""
    if not isinstance(tags, ID3):
        return tags
    named = {}
    for name in (*_NAMES, *_NUMBERS):
        with suppress(KeyError):  # no ID3 frame is of this name, or the file does not have it
            named[name] = EasyID3.Get[name](tags, name)
    return named


def _number(texts: Sequence[str], *, is_year: bool) -> int | float | None:
    """ "1999-05-01" is the year 1999; "120.0" is 120 beats a minute."""
    try:
        number = float(texts[0][:4] if is_year else texts[0].replace(",", "."))
    except ValueError:
        return None
    if not math.isfinite(number) or number <= 0:
        return None
    return int(number) if number == int(number) else number
