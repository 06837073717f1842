"""What does Ray cost beside `add`, and how fast does a library get out of its folder and back?"""

import logging
import statistics
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.processes import in_a_process, seconds
from client import MusicSearch
from client.index.catalogue import Catalogue
from client.index.fields import Value
from client.index.maintenance import export_library, export_to_parquet, import_library
from client.index.records import FileState, Model, NewTrack, TrackVectors

TITLE = "Beyond one machine"
TRACKS = 4_000  # fewer than get a graph: building that is measured in *A million tracks*
WINDOWS, DIM = 18, 256  # three minutes, of the starter's vectors
RUNS = 3
WINDOWS_TAKEN = (None, 1)
WORKERS = (1, 2, 4)  # decoders on this machine
EQUAL = "2 workers"  # as many as `add` has


def measure() -> str | None:
    if find_spec("ray") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return f"{_bulk(Path(folder))}\n\n{_exchange(Path(folder))}"


class _Run(NamedTuple):
    """Seconds.

    Attributes:
        cluster_s: in which a cluster starts; 0 if there is none.
        one_s: of a run of one file and one window.
        every_s: of the run of all files.
    """

    cluster_s: float
    one_s: float
    every_s: float


def _bulk(folder: Path) -> str:
    """Rates of `add` and of Ray with some numbers of workers, which alternate."""
    from bench.ingest import copies_of_mp3s  # and with it torch

    music = folder / "music"
    music.mkdir()
    tracks = len(copies_of_mp3s(music))
    ways: dict[str, Callable[..., _Run]] = {"`add`": _add}
    ways |= {f"{workers} worker" + "s" * (workers > 1): partial(_embed_in_bulk, workers=workers) for workers in WORKERS}
    runs: dict[tuple[int | None, str], list[_Run]] = {(windows, way): [] for windows in WINDOWS_TAKEN for way in ways}
    for windows in WINDOWS_TAKEN:
        for number in range(RUNS):
            for place, (way, embed) in enumerate(ways.items()):
                out = folder / f"{windows} {number} {place}"
                runs[windows, way].append(in_a_process(embed, music, out, windows))
    add, *on_ray = ways
    cluster_s = statistics.median(run.cluster_s for (_, way), found in runs.items() if way in on_ray for run in found)
    start_s = {
        way: statistics.median(run.one_s for windows in WINDOWS_TAKEN for run in runs[windows, way]) for way in ways
    }
    lines = []
    for windows in WINDOWS_TAKEN:
        median_s = {way: statistics.median(run.every_s for run in runs[windows, way]) for way in ways}
        rates = " | ".join(f"{tracks / taken_s:.2f}" for taken_s in median_s.values())
        more_s = (median_s[EQUAL] - start_s[EQUAL]) - (median_s[add] - start_s[add])
        lines.append(f"| {windows or 'all'} | {rates} | {1e3 * more_s / tracks:.0f} ms |")
    return (
        f"{tracks} MP3 of 3 min, the starter on the CPU in process: `add`, with two decoders, and `python -m "
        "client.bulk` on a Ray cluster of this machine with so many decoders, in tracks/s. Each side starts in a "
        f"process of its own; they take turns; medians of {RUNS} runs. A run of one file and one window takes "
        f"{start_s[add]:.1f} s by `add` and {start_s[EQUAL]:.1f} s on Ray, which starts workers; this is in the rates. "
        f"*More*: how much longer than by `add` a track takes with two workers, without these starts. Starting the "
        f"cluster takes {cluster_s:.1f} s, which is in neither.\n\n"
        f"| windows | {' | '.join(ways)} | more |\n|---|{'---|' * len(ways)}---|\n" + "\n".join(lines)
    )


def _add(music: Path, out: Path, windows: int | None) -> _Run:
    def add(paths: Path, library: Path, windows: int | None) -> float:
        with MusicSearch(library) as ms:
            return seconds(partial(ms.add, paths, windows=windows, progress=False))

    return _Run(0.0, add(min(music.iterdir()), out / "one", 1), add(music, out / "all", windows))


def _embed_in_bulk(music: Path, out: Path, windows: int | None, *, workers: int) -> _Run:
    import ray

    from client.bulk.pipeline import embed_all

    start = partial(ray.init, num_cpus=workers, include_dashboard=False, log_to_driver=False)
    cluster_s = seconds(partial(start, logging_level=logging.ERROR))
    one = embed_all([min(music.iterdir())], to=f"parquet://{out / 'one'}", windows=1, progress=False)
    every = embed_all([music], to=f"parquet://{out / 'all'}", windows=windows, progress=False)
    ray.shutdown()
    return _Run(cluster_s, one.seconds, every.seconds)


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
