"""A lyrics transcriber that is small enough to build and export in a test: random weights, windows of 1 s."""

from pathlib import Path

import torch

from train.lyrics.checkpoint import LyricsCheckpoint, save_lyrics_checkpoint
from train.lyrics.config import LyricsConfig
from train.lyrics.networks import LyricsModel

SIZES = (
    *("model.frontend.window_s=1.024", "model.frontend.n_mels=16"),
    *("model.frontend.n_fft=1024", "model.frontend.hop_samples=1024"),  # 16 frames, as an export goes through each
    *("model.pitch.channels=[4, 1]", "model.pitch.kernels=[3, 1]", "model.pitch.hidden=8"),
    *("model.transcriber.channels=[4, 2]", "model.transcriber.kernels=[3, 1]", "model.transcriber.hidden=8"),
    "model.transcriber.recurrent_layers=1",
)


def tiny_transcriber(method: str, *, folder: Path | None = None) -> tuple[Path, LyricsModel]:
    """The path of its checkpoint, if a folder is given to write it into, and the model in eval mode."""
    config = LyricsConfig.with_overrides([*SIZES, f"model.method={method}"])
    torch.manual_seed(0)
    model = LyricsModel(config.model).eval()
    path = (folder or Path()) / "ckpt.pt"
    if folder:
        save_lyrics_checkpoint(path, LyricsCheckpoint(config, model.state_dict(), {}, {"voice_share": 0.0}))
    return path, model
