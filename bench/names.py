"""Are titles and artists found as people type them, and do descriptions find what they found without names?"""

import random
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from wordfreq import top_n_list

from bench.retrieval import SOUND_FONTS, _caption, _render
from client import MusicSearch
from client.index.fields import Value
from client.index.names import plain
from client.index.records import FileState, NewTrack, TrackVectors

TITLE = "Search by names"
ARTISTS = 250
MANY, ASKED = 100_000, 500
COMMON_WORDS = 3_000  # of English, of which titles and artists are made up
MUSICAL_SHARE = 0.25  # of these words are such as descriptions hold
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def measure() -> str | None:
    sound_font = SOUND_FONTS["FluidR3_GM"]
    if not Path(sound_font).is_file():
        return None
    rows = _render(sound_font)
    rng = random.Random(0)
    musical = sorted({word for row in rows for label in row["labels"] for word in label.split()})
    artists = [_made_up(rng, musical) for _ in range(ARTISTS)]
    tags = [{"title": _made_up(rng, musical), "artist": rng.choice(artists)} for _ in rows]
    with TemporaryDirectory() as folder, MusicSearch(Path(folder) / "library") as ms:
        ms.add([row["audio"] for row in rows], progress=False)
        ids = [ms.track_id(row["audio"]) for row in rows]
        ms.annotate(dict(zip(ids, tags, strict=True)))
        exact = {name: _first(ms, tags, name, typed=lambda text: text) for name in ("title", "artist")}
        mistyped = {
            name: _first(ms, tags, name, typed=lambda text: _mistyped(rng, text)) for name in ("title", "artist")
        }
        captions = [_caption(row, "any", index) for index, row in enumerate(rows)]
        recall = {
            names: sum(
                track_id in [hit.track_id for hit in ms.search(caption, k=10, starts=False, names=names)]
                for track_id, caption in zip(ids, captions, strict=True)
            )
            for names in ("never", "also")
        }
    many = _among_many(rng, musical)
    return "\n".join(
        [
            f"{len(rows):,} rendered tracks with titles of one to four words and {ARTISTS} artists, made up of the "
            f"{COMMON_WORDS:,} most common English words and, a quarter, of words that the descriptions hold too.",
            "",
            "| typed | first is what was meant |",
            "|---|---|",
            *(f"| each {name}, as it is | {share:.1%} |" for name, share in exact.items()),
            *(f"| each {name}, with one mistake | {share:.1%} |" for name, share in mistyped.items()),
            "",
            f"Descriptions find their track among the first ten in {recall['never'] / len(rows):.1%} of cases by sound "
            f"alone, in {recall['also'] / len(rows):.1%} with names.",
            "",
            f"{MANY:,} tracks with such names, and noise for sounds; {ASKED} of the titles, with one mistake:",
            "",
            "| filter | first is what was meant | p50 | p95 |",
            "|---|---|---|---|",
            *many,
        ]
    )


def _among_many(rng: random.Random, musical: list[str]) -> list[str]:
    """Rows of a table: what is found, and how fast, where names are many."""
    vectors = np.random.default_rng(0)
    starts_s = np.zeros(1, np.float32)
    artists = [_made_up(rng, musical) for _ in range(MANY // 12)]
    with TemporaryDirectory() as folder, MusicSearch(Path(folder) / "library") as ms:
        titles: dict[str, int] = {}
        for start in range(0, MANY, 1_000):
            tracks = []
            for number in range(start, start + 1_000):
                windows = vectors.normal(size=(1, ms.spec.embedding_dim)).astype(np.float32)
                windows /= np.linalg.norm(windows)
                title, artist, year = _made_up(rng, musical), rng.choice(artists), rng.randint(1960, 2025)
                tags: dict[str, Value] = {"title": title, "artist": artist, "year": year}
                titles[title] = year
                file = FileState(f"/music/{number}.flac", 1, 1, f"sound:{number}")
                tracks.append(NewTrack(file, 60.0, TrackVectors(windows[0], starts_s, windows), tags))
            ms._catalogue.put(tracks)
        ms.search("piano")  # makes the index
        asked = rng.sample([title for title in titles if len(plain(title)) >= 4], ASKED)
        rows = []
        for name, years in (("none", None), ("`year`, ten years", 5)):
            right, took_ms = 0, []
            for title in asked:
                where = None if years is None else {"year": (titles[title] - years, titles[title] + years - 1)}
                began_at = time.perf_counter()
                (hit,) = ms.search(_mistyped(rng, title), k=1, starts=False, where=where)
                took_ms.append(1e3 * (time.perf_counter() - began_at))
                right += plain(title) in (plain(str(hit.metadata["title"])), plain(str(hit.metadata["artist"])))
            p50, p95 = np.percentile(took_ms, (50, 95))
            rows.append(f"| {name} | {right / len(asked):.1%} | {p50:.0f} ms | {p95:.0f} ms |")
    return rows


def _made_up(rng: random.Random, musical: list[str]) -> str:
    words = (
        rng.choice(musical if rng.random() < MUSICAL_SHARE else _common()) for _ in range(rng.choice((1, 2, 2, 3, 4)))
    )
    return " ".join(words).title()


@cache
def _common() -> list[str]:
    return top_n_list("en", COMMON_WORDS)


def _first(ms: MusicSearch, tags: list[dict[str, str]], name: str, *, typed: Callable[[str], str]) -> float:
    """Share of the titles or artists of at least four letters that the first hit has, when they are typed so."""
    asked = sorted({tag[name] for tag in tags if len(plain(tag[name])) >= 4})
    right = 0
    for text in asked:
        (hit,) = ms.search(typed(text), k=1, starts=False)
        right += plain(text) in (plain(str(hit.metadata["title"])), plain(str(hit.metadata["artist"])))
    return right / len(asked)


def _mistyped(rng: random.Random, text: str) -> str:
    """With a letter too many, too few or another, or two neighbours in each other's place."""
    at, letter = rng.randrange(len(text) - 1), rng.choice(LETTERS)
    return rng.choice(
        (
            text[:at] + text[at + 1 :],
            text[:at] + letter + text[at:],
            text[:at] + letter + text[at + 1 :],
            text[:at] + text[at + 1] + text[at] + text[at + 2 :],
        )
    )
