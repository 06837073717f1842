"""Lines of lyrics, and the text of an .lrc file or a tag as such lines."""

import re
from collections.abc import Iterable
from typing import NamedTuple

MOST_CHARACTERS = 100_000
"""Longest lyrics that are kept; of longer ones, the beginning is."""

# mm:ss, mm:ss.xx and mm:ss:xx; with hours only before a fraction, because of the one before
_STAMP = r"(?:(\d{1,2}):(?=\d+:\d+[.,]))?(\d{1,3}):(\d{1,2}(?:[.:,]\d{1,3})?)"
_AT_START = re.compile(rf"\s*\[{_STAMP}\]")
_IN_LINE = re.compile(rf"<{_STAMP}>")  # of words, in "enhanced" files
_OFFSET = re.compile(r"\s*\[offset:\s*([+-]?\d{1,9})\s*\]\s*", re.IGNORECASE)
_NO_WORDS = re.compile(r"\s*\[[^\[\]]*\]\s*")  # "[ar:Somebody]", "[Chorus]"
_NOT_PRINTED = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufeff\ud800-\udfff]+")  # and halves of letters


class Line(NamedTuple):
    """A line of lyrics.

    Attributes:
        start_s: when it begins to be sung. None if that is not known.
        text: its words.
    """

    start_s: float | None
    text: str


def read_lines(text: str) -> list[Line]:
    """The lines of lyrics, in the order in which they are sung, with the times of the LRC format if the text has them.

    A line with several stamps is sung several times. `[offset:+500]` says that all lines come half a second earlier.
    Stamps of single words are left out. A line with nothing but such stamps begins with its first word.
    """
    offset_s = 0.0
    lines: list[Line] = []
    for line in text.splitlines():
        if (found := _OFFSET.fullmatch(line)) is not None:
            offset_s = int(found[1]) / 1000
            continue
        starts_s: list[float | None] = []
        while (found := _AT_START.match(line)) is not None:
            starts_s.append(_seconds(found))
            line = line[found.end() :]
        if not starts_s and (found := _IN_LINE.match(line.lstrip())) is not None:
            starts_s.append(_seconds(found))
        if _NO_WORDS.fullmatch(line):
            continue
        words = _IN_LINE.sub("", line)  # they may stand between syllables
        lines.extend(Line(start_s, words) for start_s in starts_s or [None])
    return tidy(Line(None if start_s is None else max(0.0, start_s - offset_s), words) for start_s, words in lines)


def tidy(lines: Iterable[Line]) -> list[Line]:
    """The lines that have words, up to `MOST_CHARACTERS`, in the order of their times if all have one."""
    kept = [
        Line(start_s, " ".join(_NOT_PRINTED.sub(" ", words).split()))
        for start_s, words in lines
        if any(map(str.isalnum, words))
    ]
    if all(line.start_s is not None for line in kept):
        kept.sort(key=lambda line: line.start_s or 0.0)
    left = MOST_CHARACTERS
    for at, line in enumerate(kept):
        if len(line.text) > left:
            return [*kept[:at], *tidy([Line(line.start_s, line.text[:left])])]
        left -= len(line.text)
    return kept


def has_times(lines: Iterable[Line]) -> bool:
    return any(line.start_s is not None for line in lines)


def _seconds(stamp: re.Match[str]) -> float:
    hours, minutes, seconds = stamp.groups()[-3:]
    return 3600 * int(hours or 0) + 60 * int(minutes) + float(re.sub("[:,]", ".", seconds))
