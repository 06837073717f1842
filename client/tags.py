"""Reads the tags of an audio file: title, artist, album, genre, year, bpm and key.

mutagen reads the tags of the formats that it knows, with all their values. If it finds no title, two more sources are
tried. ID3 and APEv2 tags are read in formats without tags of their own (raw AAC, AC-3). FFmpeg reads the formats that
mutagen does not: Matroska, WebM, CAF, AU, AIFF's own chunks, RIFF INFO.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import mutagen
from mutagen.apev2 import APETextValue, APEv2
from mutagen.id3 import ID3, TCON, TXXX, Frame

from audio.files import ByteFile

from .container import read_container_tags
from .index.fields import Value, folded
from .places import is_url, opened

# The first of these names that has a value is used: ID3 frames, MP4 atoms, ASF, Vorbis, APEv2, Matroska and FFmpeg, in
# lower case. A date of the recording or release comes before the date of the original.
_TITLE = ("tit2", "\xa9nam", "title")
_ARTIST = ("tpe1", "\xa9art", "artist", "author")
_ARTISTS = ("artists", "wm/artists")  # in addition to _ARTIST, which may join them as on a cover: "Simon & Garfunkel"
_ALBUM = ("talb", "\xa9alb", "wm/albumtitle", "album")
_GENRE = ("tcon", "\xa9gen", "wm/genre", "genre")
_YEAR = (
    *("tdrc", "\xa9day", "wm/year", "date", "year", "recorded date", "date_recorded"),
    *("tdrl", "releasedate", "release date", "date_released"),
    *("tdor", "wm/originalreleasetime", "wm/originalreleaseyear", "originaldate", "original date", "original_date"),
    *("tory", "originalyear", "original year", "original_year"),
)
_BPM = ("tbpm", "wm/beatsperminute", "bpm", "tmpo", "tempo")
_KEY = ("tkey", "wm/initialkey", "initialkey", "initial key", "initial_key", "key", "key signature")
_NAMES = frozenset((*_TITLE, *_ARTIST, *_ARTISTS, *_ALBUM, *_GENRE, *_YEAR, *_BPM, *_KEY))

_LISTS = (list, APETextValue)

_Source = str | ByteFile  # a path, or the open file
_Texts = Mapping[str, list[str]]  # by tag name, in lower case
_Read = TypeVar("_Read")


def read_tags(path: str) -> dict[str, Value]:
    """Read the tags of a file. Empty if they cannot be read, because the sound may be fine anyway.

    Returns:
        title, album and key as texts, artist and genre as a text or a list of texts, year as an int, bpm as a number.
        Several artists are separate values or are separated by ";", genres also by "/". If several tags could be used,
        the first one that can be read is taken:

        * year: the date, the year, the release's date, the original's; any date format with a year of four digits
        * bpm: BPM, then TEMPO
        * key: the initial key, then KEY

    Raises:
        AudioError: the store does not return the file.
    """
    if not is_url(path):
        return _read_tags(path, path)
    with opened(path) as file:  # it raises its errors at the end of the block, even if they are suppressed inside
        return _read_tags(path, file)


def _read_tags(path: str, source: _Source) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for read in (_own_tags, _id3_tags, _ape_tags):
        with suppress(Exception):  # on damaged tags mutagen also raises unintended errors, such as IndexError
            found = _fields(read(source)) | found
        if "title" in found:
            return found
    with suppress(Exception):
        found = _fields(read_container_tags(path)) | found
    return found


def _fields(texts: _Texts) -> dict[str, Value]:
    artists = [text for names in (_ARTIST, _ARTISTS) for text in _first(names, texts, _as_they_are) or []]
    fields: dict[str, Value | None] = {
        "title": _first(_TITLE, texts, ", ".join),
        "artist": _several(artists, apart=";"),
        "album": _first(_ALBUM, texts, ", ".join),
        "genre": _several(_first(_GENRE, texts, _as_they_are) or [], apart="[;/]"),
        "year": _first(_YEAR, texts, _year),
        "bpm": _first(_BPM, texts, _bpm),
        "key": _first(_KEY, texts, ", ".join),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _first(names: Sequence[str], texts: _Texts, read: Callable[[list[str]], _Read | None]) -> _Read | None:
    """The result of `read` for the first tag for which it is not None."""
    for name in names:
        said = [text.strip(" \t\r\n\0") for text in texts.get(name, ())]
        if (said := list(filter(None, said))) and (value := read(said)) is not None:
            return value
    return None


def _as_they_are(texts: list[str]) -> list[str]:
    return texts


def _several(texts: Sequence[str], *, apart: str) -> str | list[str] | None:
    """The values in the texts, each once. A single value is returned alone.

    Args:
        texts: the texts.
        apart: a regular expression for the separators between values.
    """
    values: dict[str, str] = {}
    for part in (part.strip() for text in texts for part in re.split(apart, text)):
        values.setdefault(folded(part), part)
    values.pop("", None)
    return list(values.values()) if len(values) > 1 else next(iter(values.values()), None)


def _year(texts: list[str]) -> int | None:
    """The first number that can be a year: "1999-05-01", "31.12.1999", "May 2004", "19990501"."""
    found = re.search(r"(?<!\d)([12]\d{3})(?!\d)|(?<!\d)([12]\d{3})(?:0\d|1[0-2])[0-3]\d(?!\d)", " ".join(texts))
    return int(found[1] or found[2]) if found else None


def _bpm(texts: list[str]) -> int | float | None:
    """Parse a tempo: "120.0" and "120 BPM" are 120, "127,5" is 127.5, and "Allegro" is None."""
    found = re.fullmatch(r"(\d{1,9}(?:[.,]\d{1,9})?)\s*(?:bpm)?", texts[0], re.IGNORECASE)
    number = float(found[1].replace(",", ".")) if found else 0.0
    return (int(number) if number.is_integer() else number) or None


def _own_tags(source: _Source) -> _Texts:
    """The tags of the file's own format."""
    file = mutagen.File(_from_start(source))
    return {} if file is None or file.tags is None else _texts(file.tags)


def _id3_tags(source: _Source) -> _Texts:
    return _texts(ID3(_from_start(source)))  # type: ignore[no-untyped-call]


def _ape_tags(source: _Source) -> _Texts:
    return _texts(APEv2(_from_start(source)))  # type: ignore[no-untyped-call]


def _from_start(source: _Source) -> _Source:
    if not isinstance(source, str):
        source.seek(0)
    return source


def _texts(tags: Any) -> _Texts:
    found: dict[str, list[str]] = {}
    # Sorted, because some formats return unordered names, and some of these differ only in case.
    for key, value in sorted(tags.items(), key=lambda item: str(item[0])):
        name = name_of(key)
        if isinstance(value, Frame):  # an ID3 frame
            name = getattr(value, "desc", "") if isinstance(value, TXXX) else value.FrameID
            value = getattr(value, "genres" if isinstance(value, TCON) else "text", None)
        if name.lower() in _NAMES and isinstance(value, _LISTS):
            found.setdefault(name.lower(), []).extend(map(text_of, value))
    return found


def name_of(key: str) -> str:
    """The name of a tag from mutagen's key, without the prefix of MP4's freeform atoms."""
    return key.rpartition(":")[2] if key.startswith("----:") else key


def text_of(value: Any) -> str:
    """A value of mutagen as a text. MP4 values may be bytes, values of ASF and dates of ID3 are objects."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
