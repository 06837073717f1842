"""Compares remembered words with lyrics: forgiving of wrong words, wrong letters and wrong spaces, in any script.

A search has two steps. `grams` names the pieces by which the index finds songs that may have the words. `align` then
compares the words with the lyrics of the best of these songs, letter by letter. A query of few words has few pieces,
and a short word none. So the index also has the words themselves, by their `beginnings`.

Measured on synthetic lyrics with a third of the words wrong: pairs of unchanged words found more songs than pairs of
phonetic codes or runs of consonants did. Runs of five letters also find songs in which no pair is intact.
"""

import re
import unicodedata
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..index.names import NO_ACCENTS, without_accents

MOST_LETTERS = 400
"""The most letters of a query that are compared; a memory is a line or two."""

_APART = 3  # words of a pair are at most so far apart, so that a pair spans a wrong word
_RUN = 5  # letters
_MATCH, _MISMATCH, _GAP = 2, 1, 1  # of an alignment, in points
_MOST_CELLS = 400_000  # letters of the words times letters of a text that is aligned as a whole
_SHARED = 4  # letters of the runs by which the right stretch of a longer text is found
_MIXED = np.uint64(0x9E3779B97F4A7C15)  # an odd number without order in its bits: Knuth's multiplicative hashing

# Scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana and Han. Each letter is a word.
_LETTER_IS_WORD = re.compile(
    "([\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
_APOSTROPHES = re.compile("(?<=\\w)['`\u00b4\u02b9\u02bb\u02bc\u2018\u2019\u201b\u2032\uff07](?=\\w)")
_NOT_SEEN = dict.fromkeys((0x00AD, 0x0640), "")  # soft hyphen, and Arabic's tatweel, which only makes a word longer


class _Letters(dict[int, str]):
    """Maps all but letters, digits and marks to a space. Vowel signs of Indian scripts are marks beside a letter."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        self[code] = letter if letter.isalnum() or unicodedata.category(letter)[0] == "M" else " "
        return self[code]


_LETTERS = _Letters({**NO_ACCENTS, **_NOT_SEEN})


class Place(NamedTuple):
    """Where words fit best in a text.

    Attributes:
        fit: share of the words' letters that the place has in order, minus a penalty for letters between them, 0 to 1.
        middle: the letter of the folded text that is nearest to the middle of the place.
    """

    fit: float
    middle: int


def fold(text: str) -> str:
    """Reduce a text to words of lower-case letters and digits without accents, with one space between them.

    >>> fold("Don't SAY: à bientôt!"), fold("Sœur Ærø"), fold("東京の夜")
    ('dont say a bientot', 'soeur aero', '東 京 の 夜')
    """
    folded = _APOSTROPHES.sub("", text).casefold()
    if not folded.isascii():
        folded = _LETTER_IS_WORD.sub(r" \1 ", without_accents(folded))
    return " ".join(folded.translate(_LETTERS).split())


def grams(folded: str) -> list[int]:
    """The pieces of a folded text, each once: its pairs of near words, and its runs of five letters across the words.

    Returns:
        Hashes of 32 bits. The index stores these instead of the text, so its own tokenizer does not matter.
    """
    words = folded.split()
    pieces = {f"{word} {other}" for at, word in enumerate(words) for other in words[at + 1 : at + 1 + _APART]}
    letters = "".join(words)
    pieces.update(letters[at : at + _RUN] for at in range(len(letters) - _RUN + 1))
    return sorted({zlib.crc32(piece.encode(errors="surrogatepass")) for piece in pieces})


def beginnings(folded: str) -> list[str]:
    """The first five letters of each word of a folded text, each once, in their order."""
    return list(dict.fromkeys(word[:_RUN] for word in folded.split()))


def align(words: str, texts: Sequence[str]) -> list[Place]:
    """Find the place in each text that fits the words best: Smith and Waterman's local alignment (1981).

    An equal letter scores 2. A replaced, missing or extra letter scores -1. In a text so long that this would take
    seconds, only the stretch with the most short runs of the words' letters is compared.

    Args:
        words: a folded text with a letter or more.
        texts: folded texts.
    """
    asked = _letters(words)
    skipped, parts = [], []
    for text in texts:
        letters = _letters(f"{text}\0")
        first, end = _find_stretch(letters[:-1], asked=asked)
        skipped.append(first)
        parts += [letters[first:end], letters[-1:]]
    starts = np.cumsum([0, *(len(part) + 1 for part in parts[::2])])
    letters = np.concatenate([np.empty(0, np.uint32), *parts])
    # Row by row of the alignment, all texts at once. The letters that are left out within a row are a running maximum
    # of points on a slope, which has a step where a text ends.
    slope = _GAP * np.arange(len(letters), dtype=np.int32)
    slope += np.repeat(np.arange(len(texts), dtype=np.int32), np.diff(starts)) * 4 * len(asked)
    points = np.zeros(len(letters), np.int32)
    best = np.zeros(len(letters), np.int32)
    for letter in asked:
        gained = np.where(letters == letter, _MATCH, -_MISMATCH).astype(np.int32)
        gained[1:] += points[:-1]
        np.maximum(gained, points - _GAP, out=gained)
        np.maximum(gained, 0, out=gained)
        gained += slope
        points = np.maximum.accumulate(gained) - slope
        np.maximum(points, 0, out=points)
        points[starts[1:] - 1] = 0  # the letter between two texts
        np.maximum(best, points, out=best)
    places = []
    for first, end, before in zip(starts[:-1].tolist(), starts[1:].tolist(), skipped, strict=True):
        last = int(best[first:end].argmax())
        middle = before + max(0, last - len(asked) // 2)
        places.append(Place(float(best[first + last]) / (_MATCH * len(asked)), middle))
    return places


def _find_stretch(letters: NDArray[np.uint32], *, asked: NDArray[np.uint32]) -> tuple[int, int]:
    """Find the begin and end of the stretch of a text that is aligned.

    A place with n letters in order has fewer than 2 n others between them, because each takes half of what a letter
    gains. So twice the words' length is added on both sides of the stretch.
    """
    wide = len(asked)
    if wide < _SHARED or len(letters) * wide <= _MOST_CELLS:
        return 0, len(letters)
    sought = np.zeros(1 << 16, np.bool_)
    sought[_hash_runs(asked)] = True
    shared = np.cumsum(np.concatenate([[0], sought[_hash_runs(letters)]]))
    first = int((shared[wide:] - shared[:-wide]).argmax())
    return max(0, first - 2 * wide), min(len(letters), first + 3 * wide)


def _hash_runs(letters: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """The runs of letters as numbers of 16 bits."""
    count = len(letters) - _SHARED + 1
    hashes = np.zeros(count, np.uint64)
    for at in range(_SHARED):
        hashes = (hashes + letters[at : at + count]) * _MIXED
    return hashes >> np.uint64(48)


def _letters(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", errors="replace"), np.uint32)
