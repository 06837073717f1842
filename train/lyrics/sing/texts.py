"""Lines to sing: out of books, or of common English words."""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random

from singing.alphabet import APOSTROPHES, plain_text
from train.corpus.errors import CorpusError
from train.data.manifest import SPLITS

LINE_WORDS = (2, 9)  # shorter and longer phrases of a book are left out
PERCENT = {"train": 80, "val": 90, "test": 100}  # upper ends of each split's share of a book's phrases
COMMON = 3_000  # words to draw from where there is no book
SINGLE = {"a", "i", "o"}  # words of one letter


def read_lines(files: Sequence[Path], *, split: str) -> list[str]:
    """The phrases of books that belong to a split, as `plain_text` leaves them.

    A phrase ends at a punctuation mark or an empty line. Its split depends on its words alone, so that what a test
    sings was never sung in training, even where it is in two books.

    Args:
        files: UTF-8 texts.
        split: train, val or test.

    Raises:
        CorpusError: a file cannot be read, or no phrase is left.
    """
    lines = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise CorpusError(f"cannot read the text {file} ({exc}); give a file of UTF-8 text") from exc
        phrases = re.split(r"[.,;:!?()\[\]\"\u201c\u201d\u2014_*]+|--+|\n\s*\n", text.translate(APOSTROPHES))
        # A phrase with a digit would lose a word that is sung.
        lines += [plain_text(phrase) for phrase in phrases if not re.search(r"\d", phrase)]
    fitting = [line for line in lines if LINE_WORDS[0] <= len(line.split()) <= LINE_WORDS[1]]
    chosen = [line for line in fitting if _split_of(line) == split]
    if not chosen:
        raise CorpusError(
            f"the texts have no phrase of {LINE_WORDS[0]} to {LINE_WORDS[1]} words for the split {split}; "
            "give longer texts"
        )
    return chosen


def _split_of(line: str) -> str:
    percent = int.from_bytes(hashlib.sha256(line.encode()).digest()[:8], "little") % 100
    return next(split for split in SPLITS if percent < PERCENT[split])


def draw_line(lines: Sequence[str] | None, *, rng: Random) -> str:
    """Draw one of the lines, or without lines some common words, the more common ones more often."""
    if lines is not None:
        return rng.choice(lines)
    words, weights = _common_words()
    return " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(*LINE_WORDS)))


@cache
def _common_words() -> tuple[list[str], list[float]]:
    """Common words, and the cumulated roots of their frequencies, with which rarer words are heard too."""
    from wordfreq import top_n_list, word_frequency

    words = [word for word in top_n_list("en", COMMON) if re.fullmatch(r"[a-z']+", word)]
    words = [word for word in words if len(word) > 1 or word in SINGLE]
    return words, list(accumulate(word_frequency(word, "en") ** 0.5 for word in words))
