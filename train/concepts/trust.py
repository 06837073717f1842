"""The gate of a mixture of two experts: how much a window's embedding relies on the learned half.

On its training music, the learned half is better than any tags. On other music it only guesses. The gate is a logistic
regression on the features of both halves. It separates the two kinds of music.

The gate is sharp, so that it decides instead of mixing. A window's embedding has unit norm. If a window is half
trusted, it ranks below all others for a text that only one half knows. In doubt the gate leans towards the learned
half, because that half knows any text.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 300
LEARNING_RATE = 0.05
PENALTY = 3e-3  # factor of the squared weights (L2 regularisation), on standardised features
SHARPNESS = 3.0  # the fitted logit is multiplied by this
LENIENCE = 1.0  # then this is added, in favour of the familiar kind


def familiarity(familiar: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Weight float32 [1, width] and bias [1] of the logit that a window is of the familiar kind.

    Both kinds have equal weight, even if they have different numbers of windows.

    Args:
        familiar: float32 [n, width], features of windows of the learned half's training music.
        other: float32 [m, width], features of windows of recorded music.
    """
    both = torch.cat([familiar, other])
    mean, deviation = both.mean(dim=0), both.std(dim=0).clamp_min(1e-6)
    inputs = (both - mean) / deviation
    target = torch.cat([torch.ones(len(familiar)), torch.zeros(len(other))])
    share = torch.where(target > 0, 0.5 / len(familiar), 0.5 / len(other))
    weight = torch.zeros(both.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        losses = F.binary_cross_entropy_with_logits(inputs @ weight + bias, target, reduction="none")
        ((share * losses).sum() + PENALTY * weight.square().sum()).backward()
        optimizer.step()
    weight, bias = weight.detach() / deviation, bias.detach()
    return SHARPNESS * weight[None], SHARPNESS * (bias - weight @ mean)[None] + LENIENCE
