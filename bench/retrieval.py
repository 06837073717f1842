"""Does the shipped model find 1,000 unseen tracks by unseen captions, with two sound fonts of its corpus?

Where the checkpoint that its graphs were exported from is at hand, so is what that finds in PyTorch and FP32.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import train.corpus
from client import MusicSearch
from export.sources import Source, load_source
from train.data.audio import load_crop
from train.evaluate.metrics import retrieval_metrics

TITLE = "Starter model: 1,000 unseen pairs"
CACHE = Path(__file__).parent / "cache"
CHECKPOINT = CACHE / "starter.pt"  # the run/ckpt.pt of "Training the starter model"
BATCH = 32
PAIRS = 1_000
SEED = 424_242  # no training corpus uses it
SOUND_FONTS = {  # Debian's fluid-soundfont-gm and timgm6mb-soundfont
    "FluidR3_GM": "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "TimGM6mb": "/usr/share/sounds/sf2/TimGM6mb.sf2",
}
STYLES = ("sentence", "tags", "title")


def measure() -> str | None:
    if not all(map(os.path.isfile, SOUND_FONTS.values())):
        return None
    lines = [
        "Tracks of the `test` split (unseen seeds), captions from template families that training never used. One "
        f"caption a track; chance is R@10 = {10 / PAIRS:.0%}. *Any* draws one of a track's captions whatever its "
        "style, the other rows take one style throughout. *FP32*: the checkpoint in PyTorch, on the same windows.",
        "",
        "| sound font | captions | text→audio R@1 | R@5 | R@10 | R@10 FP32 | mAP@10 | MedR | audio→text R@10 | MedR |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    source = load_source(CHECKPOINT) if CHECKPOINT.is_file() else None
    with MusicSearch(CACHE / "library") as ms:
        for name, sound_font in SOUND_FONTS.items():
            rows = _render(sound_font)
            audio = ms.embed_audio([row["audio"] for row in rows])
            audio_fp32 = _hear(source, rows) if source else None
            for style in ("any", *STYLES):
                captions = [_caption(row, style, index) for index, row in enumerate(rows)]
                text = ms.embed_text(captions)
                forward, back = retrieval_metrics(text @ audio.T), retrieval_metrics(audio @ text.T)
                in_fp32 = ""
                if source is not None and audio_fp32 is not None:
                    text_fp32 = _read(source, captions)
                    in_fp32 = f"{retrieval_metrics(text_fp32 @ audio_fp32.T)['R@10']:.1%}"
                cells = [f"{forward[key]:.1%}" for key in ("R@1", "R@5", "R@10")]
                cells += [in_fp32, f"{forward['mAP@10']:.1%}", f"{forward['MedR']:g}"]
                cells += [f"{back['R@10']:.1%}", f"{back['MedR']:g}"]
                lines.append(f"| {name} | {style} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _render(sound_font: str, *, tracks: int = PAIRS, seconds: float = 12.0, seed: int = SEED) -> list[dict[str, Any]]:
    sources = sorted(Path(train.corpus.__file__).parent.rglob("*.py"))
    version = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    beside = "" if (tracks, seconds, seed) == (PAIRS, 12.0, SEED) else f"{tracks}x{seconds:g}s"
    beside += "" if seed == SEED else f"-{seed}"
    folder = CACHE / beside / f"{Path(sound_font).stem}-{version}"  # a corpus of other code is another corpus
    manifest = folder / "manifest.jsonl"
    if not manifest.is_file():
        command = [sys.executable, "-m", "train.corpus", "--out", folder, "--tracks", tracks, "--seed", seed]
        command += ["--seconds", seconds, "--split", "test", "--soundfont", sound_font]
        subprocess.run([str(part) for part in command], check=True)
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return [{**row, "audio": str(folder / row["audio"])} for row in rows]


@torch.inference_mode()
def _hear(source: Source, rows: list[dict[str, Any]]) -> NDArray[np.float32]:
    """The first window of each track, which is all that a track of 12 s has: float32 [rows, dim]."""
    rate, samples = source.window.sample_rate_hz, source.window.samples
    crops = [load_crop(Path(row["audio"]), sample_rate_hz=rate, samples=samples, window=0) for row in rows]
    starts = range(0, len(rows), BATCH)
    batches = (torch.from_numpy(np.stack(crops[start : start + BATCH])) for start in starts)
    return torch.cat([source.model.embed_audio(waveforms) for waveforms in batches]).numpy()


@torch.inference_mode()
def _read(source: Source, captions: list[str]) -> NDArray[np.float32]:
    batches = (source.tokenizer(captions[start : start + BATCH]) for start in range(0, len(captions), BATCH))
    return torch.cat([source.model.embed_text(*tokens) for tokens in batches]).numpy()


def _caption(row: dict[str, Any], style: str, index: int) -> str:
    """The first caption of a style; for "any", one drawn by the track's index."""
    if style == "any":
        drawn: str = row["captions"][np.random.default_rng((0, index)).integers(len(row["captions"]))]
        return drawn
    pairs: Iterable[tuple[str, str]] = zip(row["captions"], row["caption_styles"], strict=True)
    return next(text for text, kind in pairs if kind == style)
