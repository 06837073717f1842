"""Reads the lyrics of an audio file: from an .lrc file beside it, and from its tags.

Lyrics with times are preferred to lyrics without times. Of lyrics with times, those of the .lrc file come first,
because a person put the file there. Then come the tags: ID3's SYLT frames, and tags of text, which may hold LRC text.

Tags may hold an original and its translations. One text of each language is kept, one after the other, because people
may remember either. Texts with times come first, then texts in the sung language that the file names (ID3's TLAN).
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import mutagen
from mutagen.apev2 import APETextValue, APEv2
from mutagen.id3 import ID3, SYLT, TLAN, TXXX, USLT, Frame

from audio.files import ByteFile

from ..container import read_container_tags
from ..places import is_url, opened
from ..tags import name_of, text_of
from .letters import decode
from .lines import Line, cut, has_times, read_lines, tidy
from .matching import fold

# Lower-case names of tags: MP4's atom, ASF, Vorbis and APEv2, ID3's TXXX; FFmpeg adds the language to the last ones.
_NAMES = (
    *("\xa9lyr", "wm/lyrics", "syncedlyrics", "synced lyrics", "lyrics"),
    *("unsyncedlyrics", "unsynced lyrics", "unsynchronised lyrics", "unsynchronized lyrics"),
)
_MOST_BYTES = 1 << 20  # of an .lrc file; a larger one is something else
_SUNG = (0, 1, 2)  # SYLT's content types: other, lyrics, transcription; the others are chords, events and pictures
_MILLISECONDS = 2  # SYLT's time stamp format; the other one counts MPEG frames


def find_beside(path: str) -> tuple[str, str]:
    """Find the .lrc file beside an audio file, and a text that changes when that file does. Both are empty without one.

    They are also empty for music in stores, because each look would be a request.
    """
    if is_url(path):
        return "", ""
    stem = os.path.splitext(path)[0]
    for place in (f"{stem}.lrc", f"{stem}.LRC", f"{path}.lrc"):
        with suppress(OSError, ValueError):
            status = os.stat(place)
            return place, f"{os.path.basename(place)} {status.st_size} {status.st_mtime_ns}"
    return "", ""


def read_lyrics(path: str) -> list[Line]:
    """The lyrics of an audio file. Empty if it has none, or if they cannot be read.

    Raises:
        AudioError: the file's store does not return it.
    """
    untimed: list[Line] = []
    for lines in _all(path):
        if has_times(lines):
            return lines
        untimed = untimed or lines
    return untimed


def _all(path: str) -> Iterator[list[Line]]:
    place, _ = find_beside(path)
    if place:
        with suppress(OSError), open(place, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
            if len(content) <= _MOST_BYTES and "\0" not in (text := decode(content).rstrip("\0")):
                yield read_lines(text)
    if not is_url(path):
        yield from _of_tags(path, path)
        return
    with opened(path) as file:  # it raises its errors at the end of the block, even if they are suppressed inside
        yield from _of_tags(path, file)


def _of_tags(path: str, source: str | ByteFile) -> Iterator[list[Line]]:
    """The lyrics in the tags of the file's own format, else in ID3 or APEv2 tags, else in those that FFmpeg reads."""
    is_known = False
    for kind in (mutagen.File, ID3, APEv2):
        found: list[Line] = []
        with suppress(Exception):  # on damaged tags mutagen also raises unintended errors, such as IndexError
            if not isinstance(source, str):
                source.seek(0)
            file: Any = kind(source)
            is_known = is_known or file is not None
            tags = file.tags if kind is mutagen.File and file is not None else file
            found = _join(_lyrics_of(tags)) if tags else []
        if found:
            yield found
            return
    if not is_known:
        with suppress(Exception):
            texts = read_container_tags(path).items()
            yield _join(
                (name.partition("lyrics-")[2], read_lines("\n".join(text)))
                for name, text in texts
                if name in _NAMES or name.startswith("lyrics-")
            )


def _join(versions: Iterable[tuple[str, list[Line]]]) -> list[Line]:
    """The lyrics of each language, one after the other. Lyrics with mostly the same words are left out.

    Args:
        versions: codes of languages and lines. Lyrics without a code serve if there are no others before them.
    """
    joined: list[Line] = []
    languages: set[str] = set()
    known: set[str] = set()
    for language, lines in sorted(versions, key=lambda version: not has_times(version[1])):
        words = {word for line in lines for word in fold(line.text).split()}
        is_other = not joined or (language and language not in languages)
        if is_other and 2 * len(words - known) > len(words):
            joined += lines
            languages.add(language)
            known |= words
    return cut(joined)


def _lyrics_of(tags: Any) -> Iterator[tuple[str, list[Line]]]:
    """The lyrics in tags of mutagen's, with codes of their languages. SYLT, which is made for times, comes first."""
    frames = [value for _, value in tags.items() if isinstance(value, TLAN)]
    sung_in = "".join(str(text) for frame in frames for text in getattr(frame, "text", ())).lower()  # "jpn", "jpneng"

    def place(item: tuple[str, Any]) -> tuple[bool, str]:
        name, value = item
        return getattr(value, "lang", "?").lower() not in sung_in, name.lower()  # so that XXX, not known, comes last

    items = sorted(tags.items(), key=place)
    for _, value in items:
        if isinstance(value, SYLT) and getattr(value, "type", None) in _SUNG:
            yield str(getattr(value, "lang", "")), _of_sylt(value)
    for key, value in items:
        name = name_of(key)
        if isinstance(value, USLT):
            yield str(getattr(value, "lang", "")), read_lines(str(getattr(value, "text", "")))
        elif isinstance(value, TXXX | APETextValue | list | str) or not isinstance(value, Frame):
            name = str(getattr(value, "desc", "")) if isinstance(value, TXXX) else name
            if name.lower() in _NAMES:
                texts = getattr(value, "text", value) if isinstance(value, TXXX) else value
                texts = texts if isinstance(texts, list | APETextValue) else [texts]
                yield "", read_lines("\n".join(map(text_of, texts)))


def _of_sylt(frame: SYLT) -> list[Line]:
    """The lines of a SYLT frame. Its pieces are lines, or syllables, of which those that begin a line say so."""
    pieces = [(str(text), int(time)) for text, time in frame.text]  # type: ignore[attr-defined]
    in_ms = getattr(frame, "format", None) == _MILLISECONDS
    begins = any("\n" in text.lstrip("\n") or (at and text.startswith("\n")) for at, (text, _) in enumerate(pieces))
    lines: list[tuple[int, str]] = []
    for text, time in pieces:
        if begins and lines and not text.startswith("\n") and not lines[-1][1].endswith("\n"):
            lines[-1] = (lines[-1][0], lines[-1][1] + text)
        else:
            lines.append((time, text.removeprefix("\n")))
    return tidy(Line(time / 1000 if in_ms else None, text) for time, text in lines)
