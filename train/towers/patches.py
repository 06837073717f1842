"""Features of a window from networks that take shorter patches of it."""

import torch
from torch import Tensor

from train.config import FrontendConfig

# A patch does not count if its loudest cell is `SILENT_DB` or more below the window's loudest cell. It is silence after
# the end of a recording or inside it, and a tagger gives tags to silence too. From `FAINT_DB` to `SILENT_DB` its weight
# falls to 0, so that rounding does not decide whether a patch counts.
FAINT_DB, SILENT_DB = 40.0, 46.0


def patch_starts(frames: int, *, patch: int, count: int) -> list[int]:
    """First frames of `count` patches of `patch` frames, evenly spread over `frames`. A single one is centred."""
    latest = frames - patch
    return [latest // 2] if count == 1 else [latest * place // (count - 1) for place in range(count)]


def cut(log_mel: Tensor, *, starts: list[int], patch: int) -> Tensor:
    """float [batch, 1, n_mels, frames] -> [batch, patches, 1, n_mels, patch]."""
    return torch.stack([log_mel[..., start : start + patch] for start in starts], dim=1)


def mean_of_patches(features: Tensor, patches: Tensor, *, frontend: FrontendConfig) -> Tensor:
    """Mean of the patches' features, without the silent patches.

    Args:
        features: float [batch, patches, width].
        patches: log-mel float [batch, patches, 1, n_mels, frames]: the patches of these features.
        frontend: the front end that computed the log-mel.

    Returns:
        float [batch, width].
    """
    loudest = patches.amax(dim=(2, 3, 4))
    below_db = (loudest.amax(dim=1, keepdim=True) - loudest) / frontend.per_decibel
    share = ((SILENT_DB - below_db) / (SILENT_DB - FAINT_DB)).clamp(0.0, 1.0).unsqueeze(2)
    return (share * features).sum(dim=1) / share.sum(dim=1)
