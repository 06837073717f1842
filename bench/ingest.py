"""Is adding files as quick as its parts allow, in process and with a remote model, and flat as a library grows?"""

import itertools
import math
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.processes import in_a_process, memory_mb
from client import MusicSearch
from client.decoders import Workers
from client.embedding import open_windows, track_vectors
from client.encoders import Encoder, EncoderSpec, open_encoder
from client.encoders.long_texts import ReadTexts
from client.index.catalogue import Catalogue
from client.index.records import FileState, Model, NewTrack
from train.evaluate.metrics import retrieval_metrics

TITLE = "Adding files"
WARM_UP = Path(__file__).parents[1] / "demo" / "collection" / "01.opus"
ASKED = 1.10
ROUNDS = 3
SHORT_FILES = 1_000
MP3_COPIES = 3  # of each, without its first frames, as a library embeds the same sound once
REMOTE_BATCH = 32
REMOTE_MS = (2.0, 40.0)  # for a window: as a GPU, and slower than this machine decodes
GROUP = 32  # tracks a commit, as in client/ingest.py
GROWTH = (1_000, 10_000)
GROWTH_S = 0.6  # the length of those files
LONG_TRACKS, LONG_S = 200, 60.0
WINDOWS = (None, 4, 2, 1)
SEED = 6


def measure(
    *,
    rounds: int = ROUNDS,
    short_files: int = SHORT_FILES,
    growth: Sequence[int] = GROWTH,
    long_tracks: int = LONG_TRACKS,
) -> str | None:
    from bench import retrieval  # and with them torch, which the processes below do without

    if not all(map(os.path.isfile, retrieval.SOUND_FONTS.values())):
        return None
    sound_font = next(iter(retrieval.SOUND_FONTS.values()))
    rendered = retrieval._render(sound_font, tracks=long_tracks, seconds=LONG_S)
    captions = {
        style: [retrieval._caption(row, style, index) for index, row in enumerate(rendered)]
        for style in retrieval.STYLES
    }
    with tempfile.TemporaryDirectory() as folder:
        copies = copies_of_mp3s(Path(folder))
        files = {
            f"{short_files:,} FLAC of 12 s": [row["audio"] for row in retrieval._render(sound_font)][:short_files],
            f"{len(copies)} MP3 of 3 min": copies,
        }
        return "\n".join(
            [
                *_bounds(files, rounds=rounds),
                *_one_more(copies),
                *_growth(growth),
                *_fewer_windows([row["audio"] for row in rendered], captions, mp3s=copies),
            ]
        )


def copies_of_mp3s(folder: Path, *, copies: int = MP3_COPIES) -> list[str]:
    """Make MP3 of 3 min that differ in where they begin, and so in their sound; return their paths."""
    from bench import train_throughput

    mp3s = sorted(train_throughput._manifest("mp3").parent.glob("*.mp3"))
    paths = []
    for copy in range(copies):
        for mp3 in mp3s:
            path = str(folder / f"{copy}-{mp3.name}")
            with av.open(str(mp3)) as whole, av.open(path, "w") as rest:
                stream = whole.streams.audio[0]
                target = rest.add_stream_from_template(stream)
                for packet in itertools.islice(whole.demux(stream), copy, None):
                    if packet.size:
                        packet.stream = target
                        rest.mux(packet)
            paths.append(path)
    return paths


class _StandIn:
    """A model elsewhere: its service takes so long for a window, and this machine only waits.

    Attributes:
        window_ms: 0 is a model that costs nothing at all.
    """

    batch_size = REMOTE_BATCH
    device = "elsewhere"

    def __init__(self, spec: EncoderSpec, *, window_ms: float) -> None:
        self.spec = spec
        self._window_s = window_ms / 1e3
        self._rng = np.random.default_rng(SEED)

    def embed_windows(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        time.sleep(len(waveforms) * self._window_s)
        return self._units(len(waveforms))

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._units(len(texts))

    def read_texts(self, texts: Sequence[str]) -> ReadTexts:
        return ReadTexts(self._units(len(texts)), {})

    def close(self) -> None: ...

    def _units(self, count: int) -> NDArray[np.float32]:
        vectors = self._rng.standard_normal((count, self.spec.embedding_dim), np.float32)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


def _open(window_ms: float | None) -> Encoder:
    encoder = open_encoder()
    return encoder if window_ms is None else _StandIn(encoder.spec, window_ms=window_ms)


def _add(paths: Sequence[str], window_ms: float | None, windows: int | None = None) -> float:
    """Seconds until the files can be searched, in a new library that has heard one file before.

    The first file of a library pays for opening the model and for embedding the texts that it is measured with.
    """
    with tempfile.TemporaryDirectory() as folder, MusicSearch(folder, encoder=_open(window_ms)) as ms:
        ms.add(WARM_UP, progress=False)
        query = ms.embed_text(["calm solo piano at night"])[0]
        started_at = time.perf_counter()
        report = ms.add(paths, progress=False, windows=windows)
        assert len(ms.search_vector(query, k=len(paths) + 1)) == len(paths) + 1, report.failed
        return time.perf_counter() - started_at


# -- beside its parts --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Alone:
    """CPU seconds of each part of the work, one after the other, over all cores; and of how many windows."""

    windows: int
    decode_s: float
    embed_s: float
    write_s: float


def _ffmpeg_s(paths: Sequence[str]) -> float:
    """CPU seconds of FFmpeg's own command, a process for each file, which decodes it to 16 kHz mono."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for path in paths:
        command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", path, "-vn", "-ac", "1", "-ar", "16000"]
        subprocess.run([*command, "-f", "null", "-"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _alone(paths: Sequence[str]) -> _Alone:
    encoder = open_encoder()
    encoder.embed_windows(np.zeros((encoder.batch_size, encoder.spec.window_samples), np.float32))
    last: deque[NDArray[np.float32]] = deque(maxlen=encoder.batch_size)
    tracks: list[list[float]] = []
    began = time.process_time()
    for path in paths:
        tracks.append([])
        for window in open_windows(encoder, path):
            tracks[-1].append(window.start_s)
            last.append(window.waveform)
    decoded = time.process_time()
    windows = sum(map(len, tracks))
    batches = math.ceil(windows / encoder.batch_size)
    vectors = np.concatenate([encoder.embed_windows(np.stack(last)) for _ in range(batches)])[:windows]
    embedded = time.process_time()
    spec = encoder.spec
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Catalogue(Path(folder), create=Model(spec.model_name, spec.fingerprint, spec.embedding_dim))
        ready = []
        for path, track in zip(paths, tracks, strict=True):
            own, vectors = np.split(vectors, [len(track)])
            made = track_vectors(own, starts_s=track, powers=[1.0] * len(track))
            ready.append(NewTrack(FileState(path, 1, 1, path), 1.0, made, {}))
        writing = time.process_time()
        for start in range(0, len(ready), GROUP):
            catalogue.put(ready[start : start + GROUP])
        written = time.process_time()
        catalogue.close()
    return _Alone(windows, decoded - began, embedded - decoded, written - writing)


def _bounds(files: Mapping[str, Sequence[str]], *, rounds: int) -> list[str]:
    cores = os.cpu_count() or 1
    lines = [
        "*Alone*: CPU seconds of decoding, embedding and writing the same files, one after the other in one process. "
        f"In process nothing can be quicker than their sum ÷ {cores} cores; with a model elsewhere (a stand-in that "
        f"sleeps, {REMOTE_BATCH} windows a call, one call at a time) nothing can be quicker than decoding ÷ {cores} or "
        "than the service. *Searchable*: `add`, and a search that returns every file, in a library that has one track "
        "already; files in the page cache. *FFmpeg*: CPU seconds of its command, a process for each file, decoding to "
        f"16 kHz mono. All sides take turns, medians of {rounds} rounds. Asked for: at most "
        f"{ASKED}.",
        "",
        "| files | windows | model | FFmpeg | alone: decode | embed | write | not quicker than | searchable | ÷ |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, paths in files.items():
        alone: list[_Alone] = []
        seconds: dict[float | None, list[float]] = {window_ms: [] for window_ms in (None, *REMOTE_MS)}
        for _ in range(rounds):
            alone.append(in_a_process(_alone, paths))
            for window_ms, taken in seconds.items():
                taken.append(in_a_process(_add, paths, window_ms))
        decode_s, embed_s, write_s = (
            statistics.median(getattr(one, part) for one in alone) for part in ("decode_s", "embed_s", "write_s")
        )
        windows = alone[0].windows
        by_command = f"{in_a_process(_ffmpeg_s, paths):.2f} s" if shutil.which("ffmpeg") else ""
        for window_ms, taken in seconds.items():
            if window_ms is None:
                model, work, bound_s = "in process", f"{embed_s:.2f} s", (decode_s + embed_s + write_s) / cores
            else:
                service_s = windows * window_ms / 1e3
                model, work, bound_s = f"{window_ms:g} ms a window", "", max(decode_s / cores, service_s)
                work = f"({service_s:.2f} s)"
            total_s = statistics.median(taken)
            lines.append(
                f"| {name} | {windows} | {model} | {by_command} | {decode_s:.2f} s | {work} | {write_s:.2f} s "
                f"| {bound_s:.2f} s | {total_s:.2f} s | {total_s / bound_s:.2f} |"
            )
    return lines


# -- one file more ----------------------------------------------------------------------------------------


def _add_one_by_one(paths: Sequence[str]) -> dict[str, float]:
    """Seconds of adding one file to an open library, with a decoder's process of the add before, or without.

    Also the memory of that process in MB.
    """
    seconds: dict[str, list[float]] = {"kept": [], "new": []}
    with tempfile.TemporaryDirectory() as folder, MusicSearch(folder) as ms:
        ms.add(WARM_UP, progress=False, windows=1)
        for number, path in enumerate(paths):
            side = ("kept", "new")[number % 2]
            if side == "new":
                ms._workers.close()
                ms._workers = Workers()
            started_at = time.perf_counter()
            assert ms.add(path, progress=False, windows=1).added == 1
            seconds[side].append(time.perf_counter() - started_at)
        kept = ms._workers._kept
        assert kept is not None
        return {name: statistics.median(taken) for name, taken in seconds.items()} | {
            "mb": memory_mb("VmRSS", process=kept._process.pid)
        }


def _one_more(paths: Sequence[str]) -> list[str]:
    one = in_a_process(_add_one_by_one, paths)
    return [
        "",
        f"One file more, `add(path, windows=1)` of an MP3 of 3 min to an open library: {1e3 * one['kept']:.0f} ms with "
        f"the decoder's process that the add before has left, {1e3 * one['new']:.0f} ms where one has to start "
        f"(medians of {len(paths) // 2}, in turn). While it waits, that process has {one['mb']:.0f} MB resident.",
    ]


# -- as a library grows ------------------------------------------------------------------------------------


def _grow(count: int) -> tuple[float, float]:
    """Seconds and peak memory in MB of adding so many files, which are made before, to a new library."""
    rng = np.random.default_rng((SEED, count))
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        files.mkdir()
        for number in range(count):
            samples = 0.1 * rng.standard_normal(round(GROWTH_S * 16_000))
            soundfile.write(files / f"{number:05}.wav", samples, 16_000, subtype="PCM_16")
        with MusicSearch(Path(folder) / "library", encoder=_open(0.0)) as ms:
            started_at = time.perf_counter()
            report = ms.add(files, progress=False)
            seconds = time.perf_counter() - started_at
            assert report.added == count, report.failed
    return seconds, memory_mb("VmHWM")


def _growth(counts: Sequence[int]) -> list[str]:
    grown = {count: in_a_process(_grow, count) for count in counts}
    few, many = counts
    slower = grown[many][0] / many / (grown[few][0] / few)
    lines = [
        "",
        f"As a library grows: files of {GROWTH_S:g} s (WAV) and a model that costs nothing, so that what is "
        f"left is what a track costs by itself. It costs {slower:.2f} times as much when {many:,} are added as when "
        f"{few:,} are; from 5,000 tracks on that includes the search index, which is built at the end.",
        "",
        "| tracks | add | µs a track | peak memory |",
        "|---|---|---|---|",
    ]
    for count, (seconds, peak_mb) in grown.items():
        lines.append(f"| {count:,} | {seconds:.1f} s | {seconds / count * 1e6:.0f} | {peak_mb:.0f} MB |")
    return lines


# -- some of the windows -----------------------------------------------------------------------------------


def _heard(
    paths: Sequence[str], windows: int | None, texts: Sequence[str]
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
    """Seconds of adding them so, and the vectors of the tracks and of the texts, in their order."""
    with tempfile.TemporaryDirectory() as folder, MusicSearch(folder) as ms:
        ms.add(WARM_UP, progress=False)
        started_at = time.perf_counter()
        ms.add(paths, progress=False, windows=windows)
        seconds = time.perf_counter() - started_at
        tracks = [ms._catalogue.named(path).label for path in paths]
        audio = np.stack([ms._catalogue.vector(label) for label in tracks if label is not None])
        return seconds, audio, ms.embed_text(texts)


def _fewer_windows(paths: Sequence[str], captions: Mapping[str, Sequence[str]], *, mp3s: Sequence[str]) -> list[str]:
    texts = [caption for of_style in captions.values() for caption in of_style]
    lines = [
        "",
        "`windows=N`: only N windows of a track, evenly spaced, reached by seeking. R@k: text→audio among "
        f"{len(paths)} rendered tracks of {LONG_S:g} s (16 kHz FLAC, unseen seeds) with {len(captions)} captions each; "
        "chance is "
        f"R@10 = {10 / len(paths):.0%}. Model in process.",
        "",
        f"| windows | {len(paths)} tracks of {LONG_S:g} s | ÷ all | {len(mp3s)} MP3 of 3 min | ÷ all | R@1 | change "
        "| R@10 | change |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    whole: tuple[float, float, dict[str, float]] | None = None
    for windows in WINDOWS:
        seconds, audio, text = in_a_process(_heard, paths, windows, texts)
        mp3_s = in_a_process(_add, mp3s, None, windows)
        of_style = [retrieval_metrics(part @ audio.T) for part in np.split(text, len(captions))]
        found = {name: statistics.fmean(metrics[name] for metrics in of_style) for name in ("R@1", "R@10")}
        whole = whole or (seconds, mp3_s, found)
        cells = [f"{windows or 'all'}", f"{seconds:.1f} s", f"{seconds / whole[0]:.2f}"]
        cells += [f"{mp3_s:.1f} s", f"{mp3_s / whole[1]:.2f}"]
        for name, value in found.items():
            cells += [f"{value:.1%}", f"{100 * (value - whole[2][name]):+.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
