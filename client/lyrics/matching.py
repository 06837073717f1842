"""Compares remembered words with lyrics: forgiving of wrong words, wrong letters and wrong spaces, in any script.

A search has two steps. `grams` names the pieces by which the index finds songs that may have the words. `align` then
compares the words with the lyrics of the best of these songs, letter by letter.

On made lyrics in which a third of the words are wrong, pairs of words as they are found more songs than pairs of
phonetic codes, or runs of consonants, did. Runs of five letters add the songs of which no pair is left.
"""

import re
import unicodedata
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..index.names import without_accents

MOST_LETTERS = 400
"""The most letters of a query that are compared; a memory is a line or two."""

_APART = 3  # words of a pair are at most so far apart, so that a pair spans a wrong word
_RUN = 5  # letters
_MATCH, _MISMATCH, _GAP = 2, 1, 1  # of an alignment, in points

# Scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana and Han. Each letter is a word.
_LETTER_IS_WORD = re.compile(
    "([\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
_APOSTROPHES = re.compile("(?<=\\w)['\u2018\u2019\u02bc\uff07](?=\\w)")


class _Letters(dict[int, str]):
    """Maps what is neither a letter nor a digit to a space. Vowel signs of Indian scripts are marks beside a letter."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        self[code] = letter if letter.isalnum() or unicodedata.category(letter)[0] == "M" else " "
        return self[code]


_LETTERS = _Letters()


class Place(NamedTuple):
    """Where words fit best in a text.

    Attributes:
        fit: share of the words' letters that the place has in order, less what is between them, from 0 to 1.
        middle: the letter of the folded text that is nearest to the middle of the place.
    """

    fit: float
    middle: int


def fold(text: str) -> str:
    """Reduce a text to words of lower-case letters and digits without accents, with one space between them.

    >>> fold("Don't SAY: à bientôt!"), fold("東京の夜")
    ('dont say a bientot', '東 京 の 夜')
    """
    folded = _APOSTROPHES.sub("", text).casefold()
    if not folded.isascii():
        folded = _LETTER_IS_WORD.sub(r" \1 ", without_accents(folded))
    return " ".join(folded.translate(_LETTERS).split())


def grams(folded: str) -> list[int]:
    """The pieces of a folded text, each once: its pairs of near words, and its runs of letters across the words.

    Returns:
        Hashes of 32 bits. They stand for the pieces in the index, whose own way to cut a text does not matter then.
    """
    words = folded.split()
    pieces = {f"{word} {other}" for at, word in enumerate(words) for other in words[at + 1 : at + 1 + _APART]}
    letters = "".join(words)
    if letters:
        pieces.update(letters[at : at + _RUN] for at in range(max(1, len(letters) - _RUN + 1)))
    return sorted({zlib.crc32(piece.encode(errors="surrogatepass")) for piece in pieces})


def align(words: str, texts: Sequence[str]) -> list[Place]:
    """Find the place in each text that fits the words best: Smith and Waterman's local alignment (1981).

    A letter that is the same counts two points. One that is another, missing or too many takes one away.

    Args:
        words: a folded text with a letter or more.
        texts: folded texts.
    """
    asked = _letters(words)
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)])
    letters = np.concatenate([np.empty(0, np.uint32), *(_letters(f"{text}\0") for text in texts)])
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
    for first, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        last = int(best[first:end].argmax())
        places.append(Place(float(best[first + last]) / (_MATCH * len(asked)), max(0, last - len(asked) // 2)))
    return places


def _letters(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", errors="replace"), np.uint32)
