"""Augmentations of a training batch of log-mel spectrograms."""

import torch
from torch import Tensor

from train.config import AugmentConfig, FrontendConfig

FLOOR = -1.0  # what `LogMel` gives for a cell at the bottom of its dynamic range


def augment_log_mel(log_mel: Tensor, *, config: AugmentConfig, frontend: FrontendConfig) -> Tensor:
    """Random broad-band filter per item, then SpecAugment masks (Park et al. 2019, without time warping).

    Args:
        log_mel: float32 [batch, 1, n_mels, frames] in [-1, 1], from `LogMel`.

    Returns:
        A new tensor of the same shape; masked cells hold `FLOOR`.
    """
    batch, _, n_mels, frames = log_mel.shape
    device = log_mel.device
    if config.filter_db > 0:
        # Gains at five points from low to high, linear in between: other rooms, microphones and masterings.
        gain = config.filter_db * (2 * torch.rand(batch, 1, 5, device=device) - 1)
        curve = torch.nn.functional.interpolate(gain, size=n_mels, mode="linear", align_corners=True)
        scaled = 2.0 / frontend.dynamic_range_db * curve.unsqueeze(-1)
        log_mel = (log_mel + scaled).clamp(FLOOR, 1.0)
    frame_s = frontend.hop_samples / frontend.sample_rate_hz
    for _ in range(config.time_masks):
        mask = _span_mask(batch, frames, round(config.time_mask_s / frame_s), device=device)
        log_mel = log_mel.masked_fill(mask[:, None, None, :], FLOOR)
    for _ in range(config.frequency_masks):
        mask = _span_mask(batch, n_mels, config.frequency_mask_mels, device=device)
        log_mel = log_mel.masked_fill(mask[:, None, :, None], FLOOR)
    return log_mel


def _span_mask(batch: int, size: int, longest: int, *, device: torch.device) -> Tensor:
    """bool [batch, size], True on one span per row of uniform length 0…longest at a uniform place."""
    length = torch.rand(batch, 1, device=device) * min(longest, size)
    start = torch.rand(batch, 1, device=device) * (size - length)
    place = torch.arange(size, device=device).unsqueeze(0)
    return (place >= start) & (place < start + length)
