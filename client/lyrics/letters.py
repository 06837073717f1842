"""Finds the encoding of a text file: Unicode, or one of the regional encodings that were common before it.

A text that is read in the wrong encoding has letters that its language does not use. So each encoding is tried, and the
one with the largest share of common letters wins. UTF-16 without a byte order mark is recognised by its zero bytes:
there, each space, digit and line end has one. Texts in other encodings have none.
"""

import codecs
import unicodedata
from collections.abc import Callable
from contextlib import suppress

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark its own begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_LEAST_ASCII = 32  # in UTF-16, one letter of so many is at least a space, a digit or the end of a line
_BLANK = "\t\n\v\f\r"  # control characters that are written


def decode(content: bytes) -> str:
    """The text of a file. Bytes that no encoding explains become replacement characters.

    >>> decode("Ночь".encode("cp1251")), decode("夜の歌".encode("cp932")), decode("Où es-tu".encode("cp1252"))
    ('Ночь', '夜の歌', 'Où es-tu')
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    if (wide := _utf_16(content)) is not None:
        return wide
    try:
        return content.decode()
    except UnicodeDecodeError:
        pass
    best, most = content.decode("cp1252", errors="replace"), 0.0
    for encoding, is_usual in _REGIONAL:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if (share := _usual(text, is_usual)) > most:
            best, most = text, share
    return best


def _utf_16(content: bytes) -> str | None:
    """The text, if it is UTF-16 without a mark. None if it has too few zero bytes, or characters that no text has."""
    text_end = len(content.rstrip(b"\0"))  # some programs write zero bytes behind a text in any encoding
    if 0 not in content[:text_end]:
        return None
    units = content[: min(text_end + 1, len(content)) // 2 * 2]
    zeros = {"utf-16-be": units[0::2].count(0), "utf-16-le": units[1::2].count(0)}
    for encoding in sorted(zeros, key=lambda name: -zeros[name]):
        if zeros[encoding] > len(units) // 2 // _LEAST_ASCII:
            with suppress(UnicodeDecodeError):
                text = units.decode(encoding)
                if all(letter in _BLANK or unicodedata.category(letter) not in ("Cc", "Cn") for letter in text):
                    return text
    return None


def _usual(text: str, is_usual: Callable[[str, str, str], bool]) -> float:
    """The share of common letters among the letters beyond ASCII, judged with the letters before and after each."""
    around = f" {text} "
    others = [at for at in range(1, len(around) - 1) if not around[at].isascii()]
    return sum(is_usual(*around[at - 1 : at + 2]) for at in others) / max(1, len(others))


def _is_western(before: str, letter: str, after: str) -> bool:
    # Accents stand alone or in pairs. What is nothing but accented letters is another script.
    return (letter.isalpha() and (before.isascii() or after.isascii())) or _is_sign(letter)


def _is_cyrillic(before: str, letter: str, after: str) -> bool:
    # Capital letters begin words. Bytes of Chinese characters are capitals and small letters in any order.
    is_alone = (before.isascii() and before.isalpha()) or (after.isascii() and after.isalpha())
    return "CYRILLIC" in unicodedata.name(letter, "") and not is_alone and (letter.islower() or not before.isalpha())


def _is_sign(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "PZ"


def _leads(encoding: str, first: int, last: int) -> Callable[[str, str, str], bool]:
    """Whether a letter is common: an encoding lists the common ones first, so the first byte of the code tells."""

    def is_usual(before: str, letter: str, after: str) -> bool:
        try:
            code = letter.encode(encoding)
        except UnicodeEncodeError:
            return False
        return len(code) == 2 and (first <= code[0] <= last or _is_sign(letter))

    return is_usual


def _is_japanese(before: str, letter: str, after: str) -> bool:
    return "\u3041" <= letter <= "\u30fe" or _JAPANESE(before, letter, after)


_JAPANESE = _leads("cp932", 0x88, 0x97)
# Korean comes before Chinese, whose usual letters have the same codes and more.
_REGIONAL = (
    ("cp1252", _is_western),
    ("cp1251", _is_cyrillic),
    ("cp932", _is_japanese),
    ("cp949", _leads("euc_kr", 0xB0, 0xC8)),
    ("gb18030", _leads("gb2312", 0xB0, 0xD7)),
    ("big5", _leads("big5", 0xA4, 0xC6)),
)
