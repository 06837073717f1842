"""A million tracks on this machine: what do they take, how soon do they answer, and does anything lose them?

What others do with the same vectors needs `pip install lancedb sqlite-vec apsw usearch 'clapback-cli==0.3.0'`, and is
left out where they are not there. Takes two hours, and 30 GB of disk for a while.
"""

import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import million_beside
from bench.processes import in_a_process, memory_mb
from bench.processes import seconds as timed
from client import MusicSearch
from client.background import make_probes
from client.embedding import Read
from client.encoders import open_encoder
from client.index.catalogue import Catalogue
from client.index.fields import Value
from client.index.live import LiveIndex
from client.index.records import FileState, NewTrack, TrackVectors

TITLE = "A million tracks"
TRACKS = 1_000_000
WINDOWS = 18  # of ten seconds: three minutes
NEIGHBOURS, SPREAD = 5, 0.35  # what real vectors are moved towards, and how far
MIXED, NOISE = 3, 0.3  # as in bench/latency.py
TEXTS, SEED, K = 400, 6, 10
PART = 1_000  # tracks that are put together
STARTS = 5
ADDED, REMOVED = 1_000, 10_000
CHANGES = ("add", "remove", "verify", "compact")
ASKED = 20  # texts whose hits are compared before and after a crash
FILTERS: dict[str, dict[str, Any]] = {"50 %": {"bpm": (60, 109)}, "1 %": {"bpm": 77}, "0.01 %": {"album": "Album 7"}}
KINDS = {
    "heard": "The starter's vectors of 1,000 rendered tracks, each moved towards (and away from) its five nearest "
    f"by weights of N(0, {SPREAD}²)",
    "made up": f"As in *Latency*: means of {MIXED} of those vectors with random weights, and noise of length {NOISE} "
    "in all directions",
}
COMMAND = "from client.cli import main; raise SystemExit(main())"
FIRST_HITS = f"""
import re, sys
from client import MusicSearch
with MusicSearch(sys.argv[1]) as ms:
    assert len(ms.search("calm solo piano at night")) == {K}
status = open("/proc/self/status").read()
print(*(re.search(name + r":\\s*(\\d+) kB", status)[1] for name in ("VmHWM", "VmRSS")))
"""


def measure(*, tracks: int = TRACKS) -> str | None:
    from bench import retrieval  # and with it torch, which the processes below do without

    sound_font = retrieval.SOUND_FONTS["FluidR3_GM"]
    if not os.path.isfile(sound_font):
        return None
    rows = retrieval._render(sound_font)
    texts = _texts(rows)
    figures, beside = {}, ""
    with tempfile.TemporaryDirectory(dir=retrieval.CACHE) as scratch:
        folder = Path(scratch)
        in_a_process(_hear, folder, rows, texts)
        for kind in KINDS:
            library = folder / "library"
            figures[kind] = _measured(_fill, folder, kind, tracks)
            figures[kind] |= _measured(_build, library) | _sizes(library) | _start(library)
            figures[kind] |= _measured(_ask, library, texts)
            figures[kind] |= _change(library)
            if kind == "heard":
                beside = million_beside.measure(folder)
            for path in (*library.iterdir(), library):
                path.unlink() if path.is_file() else path.rmdir()
    return "\n".join([*_told(figures, tracks), "", beside])


def _measured(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    figures = in_a_process(work, *arguments)
    print(f"{work.__name__}: {figures}", flush=True)
    return figures


# -- the library -------------------------------------------------------------------------------------------


def _texts(rows: list[dict[str, Any]]) -> list[str]:
    captions = sorted({caption for row in rows for caption in row["captions"]})
    texts: list[str] = np.random.default_rng(SEED).permutation(captions)[:TEXTS].tolist()
    return texts


def _hear(folder: Path, rows: list[dict[str, Any]], texts: list[str]) -> None:
    with MusicSearch(folder / "nothing") as ms:
        np.save(folder / "real.npy", ms.embed_audio([row["audio"] for row in rows]))
        np.save(folder / "queries.npy", ms.embed_text(texts))


def _draw(real: NDArray[np.float32], kind: str, count: int) -> Iterator[NDArray[np.float32]]:
    """Unit vectors float32 [PART, dim], until there are so many."""
    rng = np.random.default_rng((SEED, count))
    nearest = np.argsort(-real @ real.T, axis=1)[:, 1 : NEIGHBOURS + 1]
    for first in range(0, count, PART):
        rows = min(PART, count - first)
        if kind == "heard":
            chosen = rng.integers(len(real), size=rows)
            weights = rng.normal(0, SPREAD, (rows, NEIGHBOURS)).astype(np.float32)
            moves = real[nearest[chosen]] - real[chosen, None]
            vectors = real[chosen] + np.einsum("rn,rnd->rd", weights, moves)
        else:
            weights = rng.dirichlet(np.ones(MIXED), rows).astype(np.float32)
            vectors = np.einsum("rn,rnd->rd", weights, real[rng.integers(len(real), size=(rows, MIXED))])
            vectors += _noise(rng, vectors.shape)
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return rng.standard_normal(shape, np.float32) * np.float32(NOISE / math.sqrt(shape[-1]))


def _new_tracks(
    vectors: NDArray[np.float32], first: int, *, window_s: float, noise: NDArray[np.float32]
) -> list[NewTrack]:
    starts_s = np.arange(WINDOWS, dtype=np.float32) * np.float32(window_s)
    tracks = []
    for row, vector in enumerate(vectors, start=first):
        begin = row * 7919 % (len(noise) - WINDOWS)
        windows = vector + noise[begin : begin + WINDOWS]
        windows /= np.linalg.norm(windows, axis=1, keepdims=True)
        metadata: dict[str, Value] = {
            "title": f"Track {row}",
            "artist": f"Artist {row % 4_999}",
            "album": f"Album {row % 9_973}",
            "year": 1960 + row % 67,
            "bpm": 60 + row * 7 % 100,
        }
        file = FileState(f"/music/{row % 4_999}/{row}.flac", 20_000_000, 1, f"{row:064x}")
        tracks.append(NewTrack(file, 180.0, TrackVectors(vector, starts_s, windows), metadata))
    return tracks


def _fill(folder: Path, kind: str, count: int) -> dict[str, float]:
    """A library as `add` would leave it, and its vectors in a file of their own."""
    real = np.load(folder / "real.npy")
    encoder = open_encoder()
    with MusicSearch(folder / "library", encoder=encoder):
        pass
    catalogue = Catalogue(folder / "library")
    catalogue.put_probes(make_probes(encoder))
    dim = encoder.spec.embedding_dim
    noise = _noise(np.random.default_rng(SEED), (50_000, dim))
    copy = np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=np.float32, shape=(count, dim))
    spent_s = 0.0
    with catalogue.writing():
        for part, vectors in enumerate(_draw(real, kind, count)):
            copy[part * PART : part * PART + len(vectors)] = vectors
            tracks = _new_tracks(vectors, part * PART, window_s=encoder.spec.window_s, noise=noise)
            started_at = time.perf_counter()
            catalogue.put(tracks)
            spent_s += time.perf_counter() - started_at
    catalogue.close()
    return {"fill_s": spent_s}


def _build(library: Path) -> dict[str, Any]:
    catalogue = Catalogue(library)
    with catalogue.writing():
        index = LiveIndex(catalogue)
        started_at = time.perf_counter()
        index.save()
        seconds = time.perf_counter() - started_at
    return {"build_s": seconds, "recall": str(index.recall()), "build_mb": memory_mb("VmHWM")}


def _sizes(library: Path) -> dict[str, float]:
    graph = sum(path.stat().st_size for path in library.glob("hnsw*"))
    whole = sum(path.stat().st_size for path in library.iterdir())
    with Catalogue(library)._db as db:
        (vectors,) = db.execute("SELECT sum(pgsize) FROM dbstat WHERE name = 'vectors'").fetchone()
        (windows,) = db.execute("SELECT sum(pgsize) FROM dbstat WHERE name = 'windows'").fetchone()
    return {"disk_gb": whole / 1e9, "graph_gb": graph / 1e9, "vectors_gb": vectors / 1e9, "windows_gb": windows / 1e9}


def _start(library: Path) -> dict[str, float]:
    """From the start of a process to its first hits, and by the command; files in the page cache."""
    spent_s, command_s, peaks, residents = [], [], [], []
    search = [sys.executable, "-c", COMMAND, "search", str(library), "calm solo piano at night"]
    for _ in range(STARTS):
        started_at = time.perf_counter()
        output = subprocess.run(
            [sys.executable, "-c", FIRST_HITS, str(library)], check=True, capture_output=True, text=True
        ).stdout
        spent_s.append(time.perf_counter() - started_at)
        peak, resident = map(int, output.split())
        peaks.append(peak / 1e3)
        residents.append(resident / 1e3)
        started_at = time.perf_counter()
        subprocess.run(search, check=True, capture_output=True)
        command_s.append(time.perf_counter() - started_at)
    names = {"first_hits_s": spent_s, "command_s": command_s, "peak_mb": peaks, "resident_mb": residents}
    done = {name: statistics.median(values) for name, values in names.items()}
    print(f"_start: {done}", flush=True)
    return done


def _ask(library: Path, texts: list[str]) -> dict[str, Any]:
    """Percentiles in milliseconds, and what share of the ten best was found."""
    figures: dict[str, Any] = {}
    with MusicSearch(library) as ms:
        ms.search("calm solo piano at night")

        def percentiles(search: Callable[[str], object], asked: list[str]) -> tuple[float, float]:
            spent_ms = []
            for text in asked:
                ms._wishes._read = Read(ms._encoder)  # which knows no text
                started_at = time.perf_counter()
                search(text)
                spent_ms.append(1e3 * (time.perf_counter() - started_at))
            return float(np.percentile(spent_ms, 50)), float(np.percentile(spent_ms, 99))

        figures["text_ms"] = percentiles(lambda text: ms.search(text, k=K), texts)
        figures["ids_ms"] = percentiles(lambda text: ms._index.search(ms.embed_text([text])[0], k=K), texts[:100])
        known = [hit.track_id for hit in ms.search(texts[0], k=200, starts=False)]
        figures["similar_ms"] = percentiles(lambda track_id: ms.search_audio(track_id, k=K), known)
        for name, where in FILTERS.items():
            (first_ms, _), later_ms = (
                percentiles(partial(ms.search, k=K, where=where), some) for some in (texts[:1], texts[1:101])
            )
            figures[f"{name} ms"] = (*later_ms, first_ms)
        figures["used_mb"] = memory_mb("VmRSS")
        queries = ms.embed_text(texts)
        best = million_beside.nearest(np.load(library.parent / "vectors.npy", mmap_mode="r"), queries)
        found = [ms._index.search(query, k=K)[0] - 1 for query in queries]  # labels count from 1
        figures["found"] = million_beside.recall(found, best)
    return figures


# -- what happens to it ------------------------------------------------------------------------------------


def _change(library: Path) -> dict[str, Any]:
    """Seconds of each, and whether a process that is killed in the middle of it loses anything."""
    hits = in_a_process(_hits, library)
    figures: dict[str, Any] = {}
    for name in CHANGES:
        started_at = time.perf_counter()
        _changing(name, library, turn=0).wait()
        seconds = time.perf_counter() - started_at
        if name == "compact":  # else the second one has nothing to do
            _changing("remove", library, turn=2).wait()
        done = in_a_process(_hits, library)
        killed = _changing(name, library, turn=1)
        time.sleep(seconds / 2)
        was_running = killed.poll() is None
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        after_kill = in_a_process(_hits, library)
        figures[f"{name}_s"] = (seconds, _same(hits, done), was_running, _same(done, after_kill))
        print(f"{name}: {figures[f'{name}_s']}", flush=True)
        hits = after_kill
    figures["cold_s"] = _verify_from_the_disk(library)
    return figures


def _verify_from_the_disk(library: Path) -> float:
    for path in library.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return timed(_changing("verify", library, turn=0).wait)


def _same(before: list[list[tuple[str, float]]], after: list[list[tuple[str, float]]]) -> int:
    return sum(hit in now for old, now in zip(before, after, strict=True) for hit in old)


def _changing(name: str, library: Path, *, turn: int) -> subprocess.Popen[bytes]:
    if name in ("verify", "compact"):
        command = ["-c", COMMAND, name, str(library)]
    else:
        command = ["-c", f"from bench.million import {name}_some; {name}_some({str(library)!r}, {turn})"]
    return subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)


def add_some(library: str, turn: int) -> None:
    """Tracks that no text finds: the opposites of those that are there."""
    folder = Path(library).parent
    noise = _noise(np.random.default_rng(SEED), (5_000, np.load(folder / "real.npy").shape[1]))
    vectors = -np.concatenate([*_draw(np.load(folder / "real.npy"), "heard", ADDED)])
    catalogue = Catalogue(Path(library))
    with catalogue.writing():
        first = TRACKS + ADDED * turn
        for part in range(0, ADDED, 32):
            catalogue.put(_new_tracks(vectors[part : part + 32], first + part, window_s=10.0, noise=noise))
        LiveIndex(catalogue).save()
    catalogue.close()


def remove_some(library: str, turn: int) -> None:
    """Tracks that no text of ours finds."""
    with MusicSearch(library) as ms:
        found = {hit[0] for hits in _hits(Path(library)) for hit in hits}
        number = REMOVED * turn
        assert isinstance(ms._catalogue, Catalogue)  # of a library on this machine
        rows = ms._catalogue.rows("SELECT track_id FROM tracks WHERE number > ? LIMIT ?", number, REMOVED)
        ms.remove([track_id for (track_id,) in rows if track_id not in found])


def _hits(library: Path) -> list[list[tuple[str, float]]]:
    queries = np.load(library.parent / "queries.npy")[:ASKED]
    with MusicSearch(library) as ms:
        return [[(hit.track_id, hit.score) for hit in ms.search_vector(query, k=K)] for query in queries]


# -- what is shown -----------------------------------------------------------------------------------------


def _told(figures: dict[str, dict[str, Any]], tracks: int) -> list[str]:
    def row(name: str, cell: Callable[[dict[str, Any]], str], asked: str = "") -> str:
        return f"| {name} | {' | '.join(cell(of) for of in figures.values())} | {asked} |"

    def both(name: str) -> Callable[[dict[str, Any]], str]:
        return lambda of: " / ".join(f"{value:.1f}" for value in of[name])

    lines = [
        f"{tracks:,} tracks of {WINDOWS} windows of ten seconds with title, artist, album, year and bpm; texts are "
        f"{TEXTS} captions of the rendered tracks, each asked once, k={K}. "
        + " ".join(f"*{name}*: {told}." for name, told in KINDS.items()),
        "",
        f"| | {' | '.join(figures)} | asked for |",
        f"|---|{'---|' * len(figures)}---|",
        row("filling the catalogue", lambda of: f"{of['fill_s']:.0f} s"),
        row("graph and its recall, from there", lambda of: f"{of['build_s']:.0f} s", "12 min"),
        row("recall at 10 as the library tells it", lambda of: of["recall"]),
        row("recall at 10 of the texts", lambda of: f"{of['found']:.4f}", "0.99"),
        row("on disk", lambda of: f"{of['disk_gb']:.1f} GB", "6 GB"),
        row(
            "of which graph; vectors; windows",
            lambda of: f"{of['graph_gb']:.2f}; {of['vectors_gb']:.2f}; {of['windows_gb']:.2f} GB",
        ),
        row("process start → first hits", lambda of: f"{of['first_hits_s']:.2f} s", "3 s"),
        row("the same by `music-search search`", lambda of: f"{of['command_s']:.2f} s"),
        row("resident then, peak", lambda of: f"{of['resident_mb']:.0f}, {of['peak_mb']:.0f} MB", "2 GB"),
        row("resident after all of this table's searches", lambda of: f"{of['used_mb']:.0f} MB"),
        row("peak of the building process", lambda of: f"{of['build_mb']:.0f} MB"),
        row("text → hits, p50 / p99 ms", both("text_ms"), "8 / 20"),
        row("text → ids and scores", both("ids_ms")),
        row("`search_audio` of a track", both("similar_ms")),
        *(row(f"text → hits, where {name} fit; the first", both(f"{name} ms")) for name in FILTERS),
        "",
        f"In processes of their own: {ADDED:,} tracks added and searchable, {REMOVED:,} removed, `verify`, `compact`; "
        f"then each again, killed (`kill -9`) half-way. Before the second `compact` another {REMOVED:,} are removed, "
        f"so that it makes the graph anew too. The hits of {ASKED} texts are the {K} best of each, and count as the "
        "same with the same scores.",
        "",
        f"| | | seconds | of {ASKED * K} hits the same | was running when it was killed | the same after that |",
        "|---|---|---|---|---|---|",
    ]
    for kind, of in figures.items():
        for name in CHANGES:
            seconds, same, was_running, same_killed = of[f"{name}_s"]
            running = "yes" if was_running else "no"
            lines.append(f"| {kind} | {name} | {seconds:.1f} | {same} | {running} | {same_killed} |")
        lines.append(f"| {kind} | verify, with nothing of the library in memory | {of['cold_s']:.1f} | | | |")
    return lines
