"""Texts that are too long for a model: they are split, each part is embedded, and the mean stands for the text."""

import logging
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# The end of a sentence. It is not followed by a small letter or a digit, as abbreviations and numbers are.
# Chinese and Japanese have their own marks (full-width ones are written as codes), and no spaces.
_SENTENCE_END = re.compile(r"[.!?…]+[\"'\u201d\u2019»)\]]*\s+(?![a-zà-ÿ0-9])|[。\uff01\uff1f]|[\r\n]+")
_CLAUSE_END = re.compile(r"[.,;:!?]\s+|[、\uff0c\uff1b\uff1a]|\s[-\u2013\u2014/|]\s")
_WORD_END = re.compile(r"\s+")

log = logging.getLogger(__name__)


class ReadTexts(NamedTuple):
    """Texts as a model reads them.

    Attributes:
        vectors: float32 [n, dim], unit L2 norm.
        parts: for each text that is too long for the model, the parts that it was split into. Other texts are not here.
    """

    vectors: NDArray[np.float32]
    parts: dict[str, list[str]]


def read_texts(
    texts: Sequence[str],
    *,
    embed: Callable[[Sequence[str]], tuple[NDArray[np.float32], NDArray[np.int64]]],
    max_tokens: int,
) -> ReadTexts:
    """Embed texts of any length. A text that is too long is logged as a warning.

    The vector of a text that is too long is the normalised mean of its sentences' vectors, whatever their lengths. A
    sentence that is still too long is split in two, at the end of the clause nearest to its middle. If there is none,
    it is split at the end of the word nearest to its middle. This repeats until every part fits. Only token counts
    decide where to split, so every encoder splits in the same places.

    Args:
        texts: any texts.
        embed: embeds texts as float32 [n, dim] and returns their full lengths in tokens, int [n]. It cuts texts that
            are too long.
        max_tokens: the most tokens that it takes.
    """
    read = _read(texts, embed=embed, max_tokens=max_tokens)
    for text, parts in read.parts.items():
        log.warning(
            "a text is longer than the %d tokens that the model takes: the mean vector of its %d parts is used (%r...)",
            *(max_tokens, len(parts), text[:40]),
        )
    return read


def _read(
    texts: Sequence[str],
    *,
    embed: Callable[[Sequence[str]], tuple[NDArray[np.float32], NDArray[np.int64]]],
    max_tokens: int,
) -> ReadTexts:
    vectors, lengths = embed(texts)
    # A single character is never split, even if it has too many tokens.
    split = {row: split_text(texts[row]) for row in np.flatnonzero(lengths > max_tokens) if len(texts[row].strip()) > 1}
    if not split:
        return ReadTexts(vectors, {})
    below = _read([part for parts in split.values() for part in parts], embed=embed, max_tokens=max_tokens)
    ends = np.cumsum([len(parts) for parts in split.values()])
    for row, own in zip(split, np.split(below.vectors, ends[:-1]), strict=True):
        mean = own.mean(axis=0, dtype=np.float64)
        vectors[row] = mean / np.linalg.norm(mean)
    whole = {
        texts[row]: [piece for part in parts for piece in below.parts.get(part, [part])] for row, parts in split.items()
    }
    return ReadTexts(vectors, whole)


def split_text(text: str) -> list[str]:
    """Split a text into its sentences, or a single sentence into two parts. There are always at least two parts.

    Args:
        text: at least two characters that are not spaces.
    """
    sentences = _cut(text, [match.end() for match in _SENTENCE_END.finditer(text)])
    if len(sentences) > 1:
        return sentences
    (sentence,) = sentences
    middle = len(sentence) / 2
    for ends in (_CLAUSE_END, _WORD_END):
        # Only in the middle half, so that both parts have a similar length.
        places = [m.end() for m in ends.finditer(sentence) if middle / 2 <= m.end() <= 3 * middle / 2]
        if places:
            return _cut(sentence, [min(places, key=lambda place: abs(place - middle))])
    return _cut(sentence, [len(sentence) // 2])


def _cut(text: str, places: Sequence[int]) -> list[str]:
    parts = [text[start:end].strip() for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    return [part for part in parts if part]
