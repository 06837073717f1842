"""Lines of lyrics, and the text of an .lrc file or a tag as such lines."""

import re
from collections.abc import Iterable
from typing import NamedTuple

MOST_CHARACTERS = 100_000
"""The longest lyrics that are kept. Longer ones are cut off at their end."""

# mm:ss, mm:ss.xx and mm:ss:xx; with hours only before a fraction, because of the one before
_STAMP = r"\s*(?:(\d{1,2})\s*:\s*(?=\d+\s*:\s*\d+\s*[.,]))?(\d{1,3})\s*:\s*(\d{1,2}(?:\s*[.:,]\s*\d{1,9})?)\s*"
_AT_START = re.compile(rf"\s*\[{_STAMP}\]")
_OF_WORD = re.compile(rf"<{_STAMP}>")  # in "enhanced" files
_OF_WORD_TOO = re.compile(rf"\[{_STAMP}\]")  # in files of some other programs
_TAG = re.compile(r"\s*\[\s*([A-Za-z#]+)\s*:([^\[\]]*)\]")  # "[ar:Somebody]"
_OFFSET = re.compile(r"\s*[+-]?\d{1,9}\s*")
_NO_WORDS = re.compile(r"\s*\[[^\[\]]*\]\s*")  # "[Chorus]"
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

    A line that begins with several stamps is sung several times. `[offset:+500]` means that all lines come half a
    second earlier. Stamps of single words are removed, in <> and in []. If a line has only such stamps, it begins with
    its first word. If there are square stamps among the words, the line is sung once: the second stamp at its start
    belongs to its first word.
    """
    offset_s = 0.0
    lines: list[Line] = []
    for line in text.splitlines():
        starts_s: list[float | None] = []
        while (found := _AT_START.match(line) or _TAG.match(line)) is not None:
            if found.re is _AT_START:
                starts_s.append(_seconds(found))
            elif found[1].lower() == "offset" and _OFFSET.fullmatch(found[2]):
                offset_s = int(found[2]) / 1000
            line = line[found.end() :]
        if not starts_s and (found := _OF_WORD.match(line.lstrip())) is not None:
            starts_s.append(_seconds(found))
        if _NO_WORDS.fullmatch(line):
            continue
        words, count = _OF_WORD_TOO.subn("", _OF_WORD.sub("", line))  # they may stand between syllables
        lines.extend(Line(start_s, words) for start_s in (starts_s[:1] if count else starts_s) or [None])
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
    return cut(kept)


def cut(lines: list[Line]) -> list[Line]:
    """Lines from `tidy`, cut off after `MOST_CHARACTERS`."""
    left = MOST_CHARACTERS
    for at, line in enumerate(lines):
        if len(line.text) > left:
            return [*lines[:at], *tidy([Line(line.start_s, line.text[:left])])]
        left -= len(line.text)
    return lines


def has_times(lines: Iterable[Line]) -> bool:
    return any(line.start_s is not None for line in lines)


def _seconds(stamp: re.Match[str]) -> float:
    hours, minutes, seconds = stamp.groups()[-3:]
    return 3600 * int(hours or 0) + 60 * int(minutes) + float(re.sub("[:,]", ".", "".join(seconds.split())))
