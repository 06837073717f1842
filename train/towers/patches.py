"""What is heard in a window, from networks that hear shorter patches of it."""

import torch
from torch import Tensor

from train.config import FrontendConfig

# A patch whose loudest cell is so far below the window's does not count: it is the silence after the end of a recording
# or in it, of which a tagger has an opinion too. In between its share falls, so that rounding decides nothing.
FAINT_DB, SILENT_DB = 40.0, 46.0


def patch_starts(frames: int, *, patch: int, count: int) -> list[int]:
    """Where `count` patches of `patch` frames begin, evenly spread over `frames`; one lies in the middle."""
    latest = frames - patch
    return [latest // 2] if count == 1 else [latest * place // (count - 1) for place in range(count)]


def cut(log_mel: Tensor, *, starts: list[int], patch: int) -> Tensor:
    """float [batch, 1, n_mels, frames] -> [batch, patches, 1, n_mels, patch]."""
    return torch.stack([log_mel[..., start : start + patch] for start in starts], dim=1)


def mean_of_patches(features: Tensor, patches: Tensor, *, frontend: FrontendConfig) -> Tensor:
    """The mean of the features of the patches that are heard.

    Args:
        features: float [batch, patches, width].
        patches: log-mel float [batch, patches, 1, n_mels, frames], what they come from.

    Returns:
        float [batch, width].
    """
    loudest = patches.amax(dim=(2, 3, 4))
    below_db = (loudest.amax(dim=1, keepdim=True) - loudest) / frontend.per_decibel
    share = ((SILENT_DB - below_db) / (SILENT_DB - FAINT_DB)).clamp(0.0, 1.0).unsqueeze(2)
    return (share * features).sum(dim=1) / share.sum(dim=1)
