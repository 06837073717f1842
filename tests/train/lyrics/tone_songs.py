"""Songs of three tones, each of which is a word, and settings of a network that learns them in seconds."""

import json
from pathlib import Path

import numpy as np
import soundfile

from train.lyrics.config import LyricsConfig

RATE_HZ = 16_000
WORDS = {"oh": (60, 261.6), "me": (72, 523.3), "hi": (84, 1046.5)}
SMALL = (
    *("model.frontend.window_s=2.048", "model.frontend.n_mels=32"),
    *("model.frontend.n_fft=1024", "model.frontend.hop_samples=512"),
    *("model.pitch.channels=[8, 2]", "model.pitch.kernels=[3, 1]", "model.pitch.hidden=32"),
    *("model.transcriber.channels=[4, 4]", "model.transcriber.kernels=[3, 1]", "model.transcriber.hidden=64"),
    *("model.transcriber.recurrent_layers=1", "model.transcriber.dropout=0.0", "optim.workers=0"),
    *("optim.learning_rate=0.01", "optim.warmup_steps=5", "optim.batch_size=4"),
)


def write_songs(folder: Path, counts: dict[str, int], *, speech: int = 0) -> Path:
    """Songs of two seconds with three tones of half a second, each of which is a word; then some speech."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    lines = []
    splits = [split for split, count in counts.items() for _ in range(count)] + ["train"] * speech
    for place, split in enumerate(splits):
        sound = 0.003 * rng.standard_normal(2 * RATE_HZ)
        words, notes = [], []
        for slot, word in enumerate(rng.choice(list(WORDS), 3)):
            key, hertz = WORDS[word]
            start_s = 0.2 + 0.6 * slot
            first = round(start_s * RATE_HZ)
            time = np.arange(RATE_HZ // 2) / RATE_HZ
            sound[first : first + len(time)] += 0.3 * np.sin(2 * np.pi * hertz * time) * np.hanning(len(time)) ** 0.2
            words.append([start_s, start_s + 0.5, str(word)])
            notes.append([start_s, start_s + 0.5, key])
        name = f"{place}.wav"
        soundfile.write(folder / name, sound, RATE_HZ)
        row = {"audio": name, "track_id": str(place), "split": split, "words": words, "notes": notes}
        if place >= sum(counts.values()):
            row = {**row, "words": " ".join(word for *_, word in words), "notes": None}
        lines.append(json.dumps(row))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "manifest.jsonl"


def config(*overrides: str) -> LyricsConfig:
    return LyricsConfig.with_overrides([*SMALL, *overrides])
