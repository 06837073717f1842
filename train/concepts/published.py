"""The published networks whose tags the concepts are read off."""

import dataclasses
from pathlib import Path

from train.config import (
    MUSICNN_FRONTEND,
    YAMNET_FRONTEND,
    AudioMusicnnConfig,
    AudioYamnetConfig,
    PartConfig,
)


def published_parts(*, musicnn: Path, yamnet: Path, window_s: float) -> tuple[PartConfig, ...]:
    """musicnn's two networks and YAMNet, from their wheels, for windows of `window_s`.

    MTT's network costs most, so it hears one patch, and YAMNet half of those that fit.
    """
    parts = (
        (MUSICNN_FRONTEND, AudioMusicnnConfig(init_from=str(musicnn), network="MSD_musicnn")),
        (MUSICNN_FRONTEND, AudioMusicnnConfig(init_from=str(musicnn), network="MTT_musicnn", patches=1)),
        (YAMNET_FRONTEND, AudioYamnetConfig(init_from=str(yamnet), patches=5)),
    )
    return tuple(PartConfig(dataclasses.replace(frontend, window_s=window_s), audio) for frontend, audio in parts)
