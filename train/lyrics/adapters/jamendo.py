"""Jamendo lyrics (Stoller et al. 2019), and its later form JamendoLyrics MultiLang (Durand et al. 2023).

Songs under Creative Commons with the time of each word. The set is made for evaluation, so every song is in the test
split. It has no notes.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from train.data.adapters.layout import AdapterError, find_file, read_table
from train.data.manifest import Row
from train.lyrics.adapters.rows import read_lines

SHORTEST_S = 0.01  # a word that ends where it begins, as a slip, is still a word of the text
Times = list[tuple[float, float]]


def read_jamendo(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read the songs of `JamendoLyrics.csv`, in the layout of either form.

    `lyrics/NAME.words.txt` has a word in each line. MultiLang has starts and ends in `annotations/words/NAME.csv`. The
    first form has only starts, in `annotations/NAME.wordonset.txt`; a word then ends where the next begins, or with
    its line, whose end is in `annotations/NAME.csv`. All its songs are English.
    """
    table = find_file(root, "JamendoLyrics.csv")
    folder = table.parent
    for song in read_table(table, columns=["Filepath", "Artist", "Title"]):
        name = Path(song["Filepath"]).stem
        words = read_lines(find_file(folder, f"lyrics/{name}.words.txt"))
        times, source = _read_times(folder, name)
        if len(times) != len(words):
            raise AdapterError(
                f"{source} has times of {len(times)} words and {name}.words.txt has {len(words)}; take both from one "
                "version of the set"
            )
        extra = {
            "words": [
                [start_s, max(end_s, start_s + SHORTEST_S), word]
                for (start_s, end_s), word in zip(times, words, strict=True)
            ],
            "language": song.get("Language", "English").lower(),
            "artist": song["Artist"],
            "title": song["Title"],
        }
        yield Row(audio / song["Filepath"], (), name, "test", extra=extra)


def _read_times(folder: Path, name: str) -> tuple[Times, Path]:
    """Start and end of each word in seconds, and the file that they are from."""
    path = find_file(folder, f"annotations/words/{name}.csv", f"annotations/{name}.wordonset.txt")
    if path.suffix == ".csv":
        rows = read_table(path, columns=["word_start", "word_end"])
        return [(_seconds(row["word_start"], path), _seconds(row["word_end"], path)) for row in rows], path
    lines = find_file(folder, f"annotations/{name}.csv")
    ends = sorted(_seconds(row["end_time"], lines) for row in read_table(lines, columns=["end_time"]))
    return _bounded([_seconds(line, path) for line in read_lines(path)], ends=ends, where=path), path


def _bounded(starts: Sequence[float], *, ends: Sequence[float], where: Path) -> Times:
    times = []
    for start_s, next_s in pairwise([*starts, math.inf]):
        place = bisect_right(ends, start_s)
        end_s = min(next_s, ends[place]) if place < len(ends) else next_s
        if end_s == math.inf:
            raise AdapterError(
                f"{where}: the word at {start_s:g} s begins after the last line ends; take both files anew"
            )
        times.append((start_s, end_s))
    return times


def _seconds(text: str, where: Path) -> float:
    try:
        time_s = float(text)
    except ValueError:
        time_s = math.nan
    if not 0 <= time_s < math.inf:
        raise AdapterError(f"{where} has the time {text[:20]!r}; expected seconds from the start")
    return time_s
