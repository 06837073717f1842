"""The transcriber's `ckpt.pt`: a plain dict for `torch.load(weights_only=True)` that is enough to rebuild the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from train.checkpoint import CheckpointError, read_tensors, with_weights, write_atomically
from train.config import ConfigError
from train.lyrics.config import LyricsConfig
from train.lyrics.networks import LyricsModel

FORMAT_VERSION = 2
KIND = "lyrics_transcriber"
KEYS = ("format_version", "kind", "config", "state_dict", "metrics", "provenance")


@dataclass(frozen=True)
class LyricsCheckpoint:
    """A trained transcriber and its history; `provenance` has the "voice_share" too."""

    config: LyricsConfig
    state_dict: Mapping[str, Tensor]
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def voice_share(self) -> float:
        """Share of the training windows, 0 to 1, that had a separated voice; the others had the mixture twice."""
        return float(self.provenance["voice_share"])

    def build_model(self) -> LyricsModel:
        """The model in eval mode, on the CPU.

        Raises:
            CheckpointError: the weights do not fit the configuration.
        """
        return with_weights(LyricsModel(self.config.model), self.state_dict)


def save_lyrics_checkpoint(path: Path, checkpoint: LyricsCheckpoint) -> None:
    """Write atomically: after a crash, the file is either the old one or the complete new one."""
    write_atomically(
        path,
        {
            "format_version": FORMAT_VERSION,
            "kind": KIND,
            "config": checkpoint.config.to_dict(),
            "state_dict": dict(checkpoint.state_dict),
            "metrics": dict(checkpoint.metrics),
            "provenance": dict(checkpoint.provenance),
        },
    )


def load_lyrics_checkpoint(path: Path) -> LyricsCheckpoint:
    """Read a checkpoint, or that of a run folder, without running code that it may contain.

    Raises:
        CheckpointError: there is none, it is damaged, of another kind or version, or its configuration cannot be used.
    """
    path = path / "ckpt.pt" if path.is_dir() else path
    content = read_tensors(path)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise CheckpointError(
            f"{path} is no lyrics transcriber; expected a ckpt.pt that `python -m train.lyrics` wrote"
        )
    if content.get("format_version") != FORMAT_VERSION or set(content) != set(KEYS):
        raise CheckpointError(
            f"{path} has format version {content.get('format_version')!r} and the keys {', '.join(map(str, content))}; "
            f"this version reads {FORMAT_VERSION}: use the release that wrote it, or train again"
        )
    try:
        config = LyricsConfig.from_dict(content["config"])
    except ConfigError as exc:
        raise CheckpointError(f"{path} holds a configuration that cannot be used: {exc}") from exc
    return LyricsCheckpoint(config, content["state_dict"], content["metrics"], content["provenance"])
