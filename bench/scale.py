"""A library out of its folder and back: how many tracks a second, and how many bytes a track?"""

import statistics
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from bench.processes import seconds
from client.index.catalogue import Catalogue
from client.index.fields import Value
from client.index.maintenance import export_library, export_to_parquet, import_library
from client.index.records import FileState, Model, NewTrack, TrackVectors

TITLE = "Beyond one machine"
TRACKS = 4_000  # fewer than get a graph: building that is measured in *A million tracks*
WINDOWS, DIM = 18, 256  # three minutes, of the starter's vectors
RUNS = 3


def measure() -> str:
    with tempfile.TemporaryDirectory() as folder:
        return _exchange(Path(folder))


def _exchange(folder: Path) -> str:
    """Rates of export and import of both kinds of file, whose runs alternate."""
    _make_library(folder / "library")
    ways: dict[str, Callable[[Path], object]] = {
        "library.parquet": lambda file: export_to_parquet(folder / "library", file, progress=False),
        "library.export": lambda file: export_library(folder / "library", file),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for run in range(RUNS):
        for name, export in ways.items():
            file = folder / f"{run} {name}"
            taken_s = [seconds(export, file), seconds(import_library, file, folder / f"{run} of {name}")]
            rates[name].append((TRACKS / taken_s[0], TRACKS / taken_s[1]))
    lines = ["| file | export, tracks/s | import, tracks/s | bytes a track |", "|---|---|---|---|"]
    for name, found in rates.items():
        out, back = (statistics.median(rate) for rate in zip(*found, strict=True))
        lines.append(f"| {name} | {out:,.0f} | {back:,.0f} | {(folder / f'0 {name}').stat().st_size / TRACKS:,.0f} |")
    return (
        f"`music-search export` and `import` of {TRACKS:,} made-up tracks of {WINDOWS} windows and {DIM} numbers: "
        f"medians of {RUNS} runs that alternate. Parquet is a table that other programs read; the other file is "
        "SQLite's, which is copied as a whole, and checked when it is written and when it is read.\n\n"
        + "\n".join(lines)
    )


def _make_library(folder: Path) -> None:
    rng = np.random.default_rng(0)
    with closing(Catalogue(folder, create=Model("made up", "0" * 64, DIM))) as catalogue:
        for first in range(0, TRACKS, 500):
            tracks = []
            for number in range(first, first + 500):
                windows = rng.standard_normal((WINDOWS, DIM), dtype=np.float32)
                windows /= np.linalg.norm(windows, axis=1, keepdims=True)
                mean = windows.mean(axis=0)
                vectors = TrackVectors(mean / np.linalg.norm(mean), np.arange(WINDOWS, dtype=np.float32) * 10, windows)
                tags: dict[str, Value] = {
                    "title": f"Track {number}",
                    "artist": f"Artist {number % 99}",
                    "bpm": 60 + number % 120,
                }
                file = FileState(f"/music/{number}.flac", 20_000_000, number, f"sound:{number:064}")
                tracks.append(NewTrack(file, 180.0, vectors, tags))
            catalogue.put(tracks)
