"""What does a training step cost from shards, and what do they take on disk?"""

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.train_throughput import CACHE, _config, _in_a_process, _manifest
from train.data.audio import cut_crop
from train.data.manifest import read_manifest
from train.data.pack import Encoding, pack_rows
from train.data.rows import read_split

TITLE = "Training from shards"
RECIPE = "muscall"
ROUNDS, STEPS = 3, 20
CROPS = 64
MODEL_ONLY = "model only"
READING_ONLY = ("augment.noise=0", "augment.pitch_shift=0")
SHARDS = {
    "shard, MP3 as it is": None,
    "shard, FLAC of 16 kHz": Encoding("flac", 16_000),
    "shard, Opus of 16 kHz": Encoding("opus", 16_000),
}


class Side(NamedTuple):
    """What a run reads, and how many MB that takes."""

    data: Path
    size_mb: float


def measure() -> str:
    sides = _sides()
    runs = [(name, overrides) for name in sides for overrides in ((), READING_ONLY)] + [(MODEL_ONLY, ())]
    rates: dict[tuple[str, tuple[str, ...]], list[float]] = {run: [] for run in runs}
    for _ in range(ROUNDS):
        for name, overrides in runs:
            side = sides.get(name) or sides["files, MP3"]
            decode = name != MODEL_ONLY
            rate, _ = _in_a_process(RECIPE, side.data, decode=decode, steps=STEPS, overrides=overrides)
            rates[name, overrides].append(rate)
    model = statistics.median(rates[MODEL_ONLY, ()])
    lines = [
        "16 tracks of 3 minutes, stereo at 44.1 kHz; encoded anew, mono at 16 kHz. MusCALL as released (width 16, "
        "20 s) trains with batch 16; *model only* on one batch that lies ready in the training process. The sides take "
        f"turns, {ROUNDS} rounds of {STEPS} steps, medians. A crop is of 20 s, from a file that lies in memory: CPU "
        f"time, the median of {CROPS}; the first of a recording also measures its length, where no index has it. The "
        "recipe adds noise to three crops in ten and shifts the pitch of four; the last column is without both.",
        "",
        "| | on disk | first crop | a crop | pairs/s | step ÷ model-only step | without augmentation |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, side in sides.items():
        rate, unchanged = (statistics.median(rates[name, overrides]) for overrides in ((), READING_ONLY))
        first_ms, crop_ms = _crop_ms(side.data)
        lines.append(
            f"| {name} | {side.size_mb:.0f} MB | {first_ms:.0f} ms | {crop_ms:.0f} ms | {rate:.1f} | "
            f"{model / rate:.2f} | {model / unchanged:.2f} |"
        )
    lines.append(f"| {MODEL_ONLY} | | | | {model:.1f} | 1 | 1 |")
    return "\n".join(lines)


def _sides() -> dict[str, Side]:
    manifest = _manifest("mp3")
    rows = read_manifest(manifest)
    sides = {"files, MP3": Side(manifest, sum(row.file.stat().st_size for row in rows) / 1e6)}
    for number, (name, encoding) in enumerate(SHARDS.items()):
        folder = CACHE / f"shards_{number}"
        if not (folder / "index.json").is_file():
            pack_rows(rows, out=folder, shard_bytes=10**12, encoding=encoding)
        sides[name] = Side(folder / "000.tar", (folder / "000.tar").stat().st_size / 1e6)
    return sides


def _crop_ms(data: Path) -> tuple[float, float]:
    """CPU time of the first crop of a recording, and of another."""
    frontend, rng = _config(RECIPE).model.frontend, np.random.default_rng(0)
    rows, took_ms = read_split(data), []
    for number in range(CROPS + len(rows)):
        started_at = time.process_time()
        cut_crop(
            rows[number % len(rows)].audio,
            sample_rate_hz=frontend.sample_rate_hz,
            samples=frontend.window_samples,
            place=rng.random(),
        )
        took_ms.append(1e3 * (time.process_time() - started_at))
    return statistics.median(took_ms[: len(rows)]), statistics.median(took_ms[len(rows) :])
