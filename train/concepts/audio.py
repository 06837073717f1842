"""The audio side: features of published networks -> concepts, as one linear map."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LEAST_DEVIATION = 1e-3  # of a tag's logits; a tag below says nothing


def concept_projection(
    features: Tensor, *, classifiers: Sequence[nn.Linear], tag_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight float32 [concepts, width] and bias [concepts] of the map.

    Tags differ in how often they are given and in how sure a network is of them, so each is counted in deviations from
    its mean over recorded music, and so is each concept's mean of its tags. Loud, dense or odd music raises all tags
    together; taking off the mean of all concepts leaves what distinguishes it.

    Args:
        features: float32 [windows, width], of recorded music, the networks' side by side.
        classifiers: of each network, its features -> logits of its tags.
        tag_weights: float32 [concepts, tags], of all networks' tags side by side.
    """
    to_logits = torch.block_diag(*(classifier.weight.detach() for classifier in classifiers))
    offset = torch.cat([classifier.bias.detach() for classifier in classifiers])
    logits = features @ to_logits.T + offset
    mean, deviation = logits.mean(dim=0), logits.std(dim=0).clamp_min(LEAST_DEVIATION)
    of_tags = tag_weights / deviation
    scores = (logits - mean) @ of_tags.T
    spread = scores.std(dim=0)
    weight = (of_tags / spread[:, None]) @ to_logits
    bias = ((offset - mean) @ of_tags.T - scores.mean(dim=0)) / spread
    return weight - weight.mean(dim=0), bias - bias.mean()
