"""The characters of the transcriber, and the normalisation of a text to what can be heard.

The paper has 33 characters and CTC's blank (§3.1.2), but does not list them. Ours are the letters, the space, and the
punctuation of English lyrics.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

BLANK = 0
CHARACTERS = " abcdefghijklmnopqrstuvwxyz'-,.?!"
CLASSES = len(CHARACTERS) + 1  # V of eq. 9
APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u00b4": "'", "`": "'"})  # typographic forms
# Letters that no decomposition of Unicode turns into those of a-z, in lower case.
LETTERS = str.maketrans(
    {
        "ß": "ss",
        "œ": "oe",
        "æ": "ae",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ħ": "h",
        "ŧ": "t",
        "\u0131": "i",
    }
)
_NUMBER = {character: number for number, character in enumerate(CHARACTERS, start=BLANK + 1)}


def plain_text(text: str) -> str:
    """Normalise a text to what can be heard: words of a-z and apostrophes in lower case, one space between them.

    Accents are dropped, and letters such as \u00df become those of a-z. Punctuation and digits become spaces: nobody
    hears a comma, and error rates do not count it. Write numbers as words, because this function does not spell them.

    >>> plain_text("Don't stop - Ren\u00e9e, 2 hearts!")
    "don't stop renee hearts"
    """
    lower = unicodedata.normalize("NFKD", text.translate(APOSTROPHES)).lower().translate(LETTERS)
    bare = "".join(character for character in lower if not unicodedata.combining(character))
    words = (word.strip("'") for word in re.sub(r"[^a-z']+", " ", bare).split())
    return " ".join(filter(None, words))


def encode(text: str) -> list[int]:
    """Classes of a text, 1 to 33, one per character.

    Raises:
        ValueError: a character is not one of `CHARACTERS`.
    """
    unknown = sorted(set(text) - _NUMBER.keys())
    if unknown:
        raise ValueError(f"the text has {unknown[0]!r}; expected characters of {CHARACTERS!r}: see plain_text")
    return [_NUMBER[character] for character in text]


def decode(classes: Iterable[int]) -> str:
    """Text of classes 1 to 33; the blank is left out."""
    return "".join(CHARACTERS[number - BLANK - 1] for number in classes if number != BLANK)


def collapse(path: Sequence[int]) -> list[int]:
    """Classes of a path through the frames (CTC's B): repeated classes become one, then blanks are removed."""
    before = [BLANK, *path]
    return [now for last, now in zip(before, path, strict=False) if now not in (last, BLANK)]
