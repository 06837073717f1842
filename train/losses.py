"""Contrastive losses as pure functions of embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(audio: Tensor, text: Tensor, *, temperature: Tensor) -> Tensor:
    """Symmetric InfoNCE: mean of the audio-to-text and text-to-audio cross-entropies (MusCALL eq. 1-2).

    Args:
        audio, text: float32 [n, dim], unit L2 norm; row i of both is one pair.
        temperature: positive scalar; cosine similarities are divided by it.

    Returns:
        A non-negative scalar; log n when all similarities are equal.
    """
    audio_to_text = audio @ text.T / temperature
    pair = torch.arange(len(audio), device=audio.device)
    return (F.cross_entropy(audio_to_text, pair) + F.cross_entropy(audio_to_text.T, pair)) / 2
