"""The audio side: features of published networks -> concepts, as one linear map."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LEAST_DEVIATION = 1e-3  # lower limit of the standard deviation of a tag's logits


def concept_projection(
    features: Tensor, *, classifiers: Sequence[nn.Linear], tag_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight float32 [concepts, width] and bias [concepts] of the linear map from features to concepts.

    Tags differ in frequency and in how confident a network is. Each tag is therefore standardised: its mean over
    recorded music is subtracted, and the result is divided by its standard deviation. The mean of a concept's tags is
    standardised in the same way. Loud, dense or unusual music raises all tags together. Therefore the mean over all
    concepts is subtracted.

    Args:
        features: float32 [windows, width], features of recorded music, all networks concatenated.
        classifiers: for each network, its features -> logits of its tags.
        tag_weights: float32 [concepts, tags], over the tags of all networks, concatenated.
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
