"""How far the learned half of a model is to be trusted about a window: a gate of a mixture of two experts.

The learned half knows the music that it was trained on, better than any tags do; about other music it guesses. The gate
is a logistic regression on both halves' features, which tells the two kinds of music apart.

The gate decides rather than mixes: a window's vector has unit norm, so a window that is half trusted falls behind all
others for a text that only one half knows. Where it errs, the learned half is the better guess, as it knows any text.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 300
LEARNING_RATE = 0.05
PENALTY = 3e-3  # of the squared weights, on standardised features
SHARPNESS = 3.0  # the logit is raised so often after it was fitted,
LENIENCE = 1.0  # and then by this towards the familiar kind


def familiarity(familiar: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Weight float32 [1, width] and bias [1] of the logit that a window is of the familiar kind.

    Both kinds count alike, however many windows there are of each.

    Args:
        familiar: float32 [n, width], features of windows that the learned half was trained on.
        other: float32 [m, width], those of recorded music.
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
