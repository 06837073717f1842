"""Is a song found by a line that is remembered with a wrong word, and by lyrics that a transcriber misheard?"""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from wordfreq import top_n_list, word_frequency

from client.index.records import FileState
from client.lyrics.book import FILE_NAME, MOST_FOUND, Book, Song
from client.lyrics.lines import Line

TITLE = "Search by lyrics"
FEW, MANY = 500, 100_000
ASKED = 500
REMEMBERED_WORDS = 5
WORD_ERROR_RATE = 0.3  # of a good transcriber of songs
WRITTEN_AT_ONCE = 1_000
LETTERS = "etaoinshrdlcumwfgypbvk"

# The grammar of a line: words of these classes, and Z for a word of content.
PATTERNS = (
    *("P V D Z S D Z", "P V Z C P V Z", "D Z S D Z V Z", "S D Z P V Z", "P V D Z Z", "Z Z S P Z", "C P Z D Z S Z"),
    *("D Z Z S Z C Z", "P Z P S D Z", "V P Z D Z S D Z", "Z C Z S D Z", "P V P Z S Z"),
)
CLASSES = {
    "P": ["i", "you", "we", "he", "she", "they", "it"],
    "V": ["will", "can", "could", "would", "was", "were", "have", "had", "do", "did", "never", "always", "just"],
    "D": ["the", "the", "the", "a", "a", "my", "your", "our", "this", "that", "every", "no"],
    "S": ["in", "on", "of", "to", "for", "with", "from", "by", "at", "like", "through", "under", "over", "until"],
    "C": ["and", "and", "but", "or", "when", "if", "because", "so"],
}


def measure() -> str:
    rows = [
        *_among(FEW, heard="as they are", hear=_as_they_are),
        *_among(FEW, heard="a transcriber's", hear=_misheard),
        *_among(MANY, heard="a transcriber's", hear=_misheard),
    ]
    return "\n".join(
        [
            "Made lyrics: a seeded grammar of lines of six to eight words, whose words of content are drawn by their "
            "frequency in English and half of the time follow the word before them in other songs too; four verses of "
            "four lines and a chorus of four after each. A transcriber's: three words in ten are wrong. Of these, half "
            "have one or two wrong letters, a quarter are other words, and the others are missing or one too many. "
            f"Asked: {REMEMBERED_WORDS} words in a row of a line, of {ASKED} songs.",
            "",
            "| songs | lyrics | on the disk, a song | remembered | its song is first | among ten | p50 | p95 |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _among(songs: int, *, heard: str, hear: Callable[[random.Random, list[str]], list[str]]) -> list[str]:
    """The rows of the table for so many songs."""
    rng = random.Random(0)
    drawn = set(rng.sample(range(songs), min(ASKED, songs)))
    asked: list[tuple[str, list[str]]] = []
    with TemporaryDirectory() as folder:
        book = Book(Path(folder), create=True)
        group: list[Song] = []
        began_at = time.perf_counter()
        for number, lines in enumerate(_songs(songs)):
            if number in drawn:
                line = rng.choice([line for line in lines if len(line) >= REMEMBERED_WORDS])
                first = rng.randrange(len(line) - REMEMBERED_WORDS + 1)
                asked.append((str(number), line[first : first + REMEMBERED_WORDS]))
            group.append(_song(str(number), (hear(rng, line) for line in lines)))
            if len(group) == WRITTEN_AT_ONCE or number == songs - 1:
                book.put(group)
                group = []
        print(f"{songs:,} songs written in {time.perf_counter() - began_at:.0f} s", flush=True)
        book.close()
        kb = (Path(folder) / FILE_NAME).stat().st_size / songs / 1e3
        rows = []
        book = Book(Path(folder))
        spoils = {"right": _as_they_are, "one of five words wrong": _with_one_wrong, "the longest word": _longest}
        for remembered, spoil in spoils.items():
            places, took_ms = [], []
            for track_id, words in asked:
                text = " ".join(spoil(rng, words))
                began_at = time.perf_counter()
                found = book.search(text, keep=lambda songs: [True] * len(songs))
                took_ms.append(1e3 * (time.perf_counter() - began_at))
                ids = [match.song.track_id for match in found]
                places.append(ids.index(track_id) if track_id in ids else MOST_FOUND)
            p50, p95 = np.percentile(took_ms, (50, 95))
            is_first, is_among_ten = (np.mean([place < most for place in places]) for most in (1, 10))
            rows.append(
                f"| {songs:,} | {heard} | {kb:.1f} kB | {remembered} | {is_first:.1%} | {is_among_ten:.1%} "
                f"| {p50:.0f} ms | {p95:.0f} ms |"
            )
            print(rows[-1], flush=True)
        book.close()
    return rows


def _song(track_id: str, lines: Iterable[list[str]]) -> Song:
    timed = (Line(4.0 * number, " ".join(line)) for number, line in enumerate(lines) if line)
    return Song(track_id, True, FileState("", -1, 0, ""), "", tuple(timed))


def _songs(songs: int) -> Iterator[list[list[str]]]:
    rng = random.Random(1)
    for _ in range(songs):
        verses = [[_line(rng) for _ in range(4)] for _ in range(5)]
        yield [line for verse in verses[1:] for line in (*verse, *verses[0])]


def _line(rng: random.Random) -> list[str]:
    words: list[str] = []
    for kind in rng.choice(PATTERNS).split():
        if kind in CLASSES:
            words.append(rng.choice(CLASSES[kind]))
        elif words and rng.random() < 0.5:
            words.append(rng.choice(_followers(words[-1])))
        else:
            words += _content(rng, 1)
    return words


@cache
def _followers(word: str) -> list[str]:
    """What often follows a word, in every song: the more often, the earlier it was drawn."""
    drawn = _content(random.Random(word), 8)
    return [drawn[place] for place in range(8) for _ in range(8 - place)]


def _content(rng: random.Random, count: int) -> list[str]:
    words, weights = _vocabulary()
    return rng.choices(words, cum_weights=weights, k=count)


@cache
def _vocabulary() -> tuple[list[str], list[float]]:
    taken = {word for words in CLASSES.values() for word in words}
    words = [word for word in top_n_list("en", 12_000) if word.isalpha() and word not in taken]
    return words, list(accumulate(word_frequency(word, "en") for word in words))


def _as_they_are(rng: random.Random, words: list[str]) -> list[str]:
    return words


def _with_one_wrong(rng: random.Random, words: list[str]) -> list[str]:
    at = rng.randrange(len(words))
    return [*words[:at], *_content(rng, 1), *words[at + 1 :]]


def _longest(rng: random.Random, words: list[str]) -> list[str]:
    return [max(words, key=len)]


def _misheard(rng: random.Random, words: list[str]) -> list[str]:
    heard: list[str] = []
    for word in words:
        kind = rng.random() if rng.random() < WORD_ERROR_RATE else 1.0
        if kind == 1.0:
            heard.append(word)
        elif kind < 0.25:
            heard += _content(rng, 1)
        elif kind < 0.35:
            heard += [word, *_content(rng, 1)]
        elif kind < 0.85:
            heard.append(_misspelt(rng, word))
    return [word for word in heard if word]


def _misspelt(rng: random.Random, word: str) -> str:
    for _ in range(1 if len(word) < 5 else 2):
        at, letter = rng.randrange(len(word) + 1), rng.choice(LETTERS)
        word = rng.choice(
            (word[:at] + letter + word[at:], word[:at] + word[at + 1 :], word[:at] + letter + word[at + 1 :])
        )
    return word
