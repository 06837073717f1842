"""What does Ray cost beside `add`, and how fast does a library get out of its folder and back?"""

import logging
import statistics
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path

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
WORKERS = (1, 2, 4)  # decoders on this machine
ADD = "add"


def measure() -> str | None:
    if find_spec("ray") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return f"{_bulk(Path(folder))}\n\n{_exchange(Path(folder))}"


def _bulk(folder: Path) -> str:
    """Rates of `add` and of Ray with some numbers of workers, which alternate."""
    from bench.ingest import copies_of_mp3s  # and with it torch

    music = folder / "music"
    music.mkdir()
    tracks = len(copies_of_mp3s(music))
    starts: list[tuple[float, float]] = []
    lines = []
    for windows in (None, 1):
        taken_s: dict[str | int, list[float]] = {ADD: [], **{workers: [] for workers in WORKERS}}
        for run in range(RUNS):
            out = folder / f"{windows} {run}"
            taken_s[ADD].append(in_a_process(_add, music, out / "library", windows))
            for workers in WORKERS:
                cluster_s, one_s, run_s = in_a_process(_embed_in_bulk, music, out / f"{workers}", windows, workers)
                starts.append((cluster_s, one_s))
                taken_s[workers].append(run_s)
        rates = " | ".join(f"{tracks / statistics.median(times):.2f}" for times in taken_s.values())
        more_s = (statistics.median(taken_s[2]) - statistics.median(taken_s[ADD])) / tracks
        lines.append(f"| {windows or 'all'} | {rates} | {1e3 * more_s:.0f} ms |")
    cluster_s, one_s = map(statistics.median, zip(*starts, strict=True))
    ways = "".join(f" {workers} worker{'s' if workers > 1 else ''} |" for workers in WORKERS)
    return (
        f"{tracks} MP3 of 3 min, the starter on the CPU in process: `add`, with two decoders, and `python -m "
        "client.bulk` on a Ray cluster of this machine with so many decoders, in tracks/s. Each side starts in a "
        f"process of its own; they take turns; medians of {RUNS} runs. *More*: how much longer than by `add` a track "
        f"takes with two workers. A run of one file and one window takes {one_s:.1f} s, as Ray starts workers; this "
        f"is in the rates. Starting the cluster takes {cluster_s:.1f} s, which is not.\n\n"
        f"| windows | `add` |{ways} more |\n|---|---|{'---|' * len(WORKERS)}---|\n" + "\n".join(lines)
    )


def _add(music: Path, library: Path, windows: int | None) -> float:
    """The seconds of `add`."""
    with MusicSearch(library) as ms:
        return seconds(partial(ms.add, music, windows=windows, progress=False))


def _embed_in_bulk(music: Path, out: Path, windows: int | None, workers: int) -> tuple[float, float, float]:
    """The seconds in which a cluster starts, of a run of one file and one window, and of the run of all."""
    import ray

    from client.bulk.pipeline import embed_all

    start = partial(ray.init, num_cpus=workers, include_dashboard=False, log_to_driver=False)
    cluster_s = seconds(partial(start, logging_level=logging.ERROR))
    one = embed_all([min(music.iterdir())], to=f"parquet://{out / 'one'}", windows=1, progress=False)
    every = embed_all([music], to=f"parquet://{out / 'all'}", windows=windows, progress=False)
    ray.shutdown()
    return cluster_s, one.seconds, every.seconds


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
