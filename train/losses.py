"""Losses as pure functions of embeddings and logits.

Everywhere row i of `audio` and row i of `text` are one pair, and every row has unit L2 norm.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(audio: Tensor, text: Tensor, *, temperature: Tensor, weights: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE: mean of the audio-to-text and text-to-audio cross-entropies (MusCALL eq. 1 and 4).

    It is half of what MusCALL's eq. 2 sums, as in CLIP and in the released MusCALL; `LossConfig.directions` doubles it.

    Args:
        audio, text: float [n, dim].
        temperature: positive scalar; cosine similarities are divided by it.
        weights: float [n], non-negative, of each pair's loss (MusCALL eq. 4), such as `content_weights` gives.

    Returns:
        A non-negative scalar; log n when all similarities are equal and no weights are given.
    """
    audio_to_text = audio @ text.T / temperature
    pair = torch.arange(len(audio), device=audio.device)
    of_audio, of_text = (F.cross_entropy(logits, pair, reduction="none") for logits in (audio_to_text, audio_to_text.T))
    losses = (of_audio + of_text) / 2
    return losses.mean() if weights is None else (weights * losses).mean()


def content_weights(sentences: Tensor, *, kappa: float, normalised: bool = True) -> Tensor:
    """How much each caption has in common with those of its batch, as the weight of its loss (MusCALL eq. 3).

    The weight is exp(s_i / kappa). In the paper s_i is the mean cosine of caption i with all n captions, itself
    included. At its kappa of 0.005 a few captions then have nearly all the weight of a batch (docs/papers.md), so
    `normalised` is the released code's way: s_i is the sum of the cosines with the others, as a share of that sum over
    the batch.

    Either way the weights are divided by their mean, which keeps their ratios: as eq. 3 stands they reach
    exp(1 / kappa), which float32 does not hold, and beside which the self-supervision of eq. 5 would be nothing.

    Args:
        sentences: float [n, any], unit L2 norm: the captions' vectors from a sentence encoder, n >= 2.
        kappa: positive; the smaller, the more the weights differ. The paper's is 0.005, the released code's 0.01.

    Returns:
        Not negative, [n], mean 1; all 1 in a batch of equal similarities.
    """
    similarity = sentences @ sentences.T
    if normalised:
        shared = similarity.sum(dim=1) - similarity.diagonal()
        shared = shared / shared.sum()
    else:
        shared = similarity.mean(dim=1)
    weights = torch.exp((shared - shared.max()) / kappa)  # the maximum cancels and keeps the exponential small
    return weights / weights.mean()


def nt_xent(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """SimCLR's loss between two augmented views of each recording (MusCALL eq. 5; Chen et al. 2020, eq. 1).

    Args:
        first, second: float [n, dim], unit L2 norm; row i of both are views of recording i.

    Returns:
        A non-negative scalar; log(2n - 1) when all similarities are equal.
    """
    views = torch.cat([first, second])
    similarity = views @ views.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(views), dtype=torch.bool, device=views.device), float("-inf"))
    partner = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(similarity, partner)


def cmc(audio: Tensor, text: Tensor, *, temperature: Tensor) -> Tensor:
    """MuLan's contrastive multiview coding loss (§3.1): the denominator holds the negatives of both directions.

    For pair i it is -log(h_ii / sum over j != i of (h_ij + h_ji)) with h = exp(cosine / temperature), summed in the
    paper and averaged here, so that a rate does not depend on the batch size. Unlike InfoNCE's it can be negative.

    Args:
        audio, text: float [n, dim], n >= 2.
        temperature: positive scalar.

    Returns:
        A scalar; log(2(n - 1)) when all similarities are equal.
    """
    logits = audio @ text.T / temperature
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    negatives = torch.cat([logits.masked_fill(own, float("-inf")), logits.T.masked_fill(own, float("-inf"))], dim=1)
    return (negatives.logsumexp(dim=1) - logits.diagonal()).mean()


def triplet(audio: Tensor, text: Tensor, *, margin: float) -> Tensor:
    """Hinge loss on every negative of the batch in both directions (the DCASE 2022 6b baseline, Xie et al. 2022).

    Args:
        audio, text: float [n, dim], n >= 2.
        margin: by how much the own cosine must exceed another's.

    Returns:
        Mean over the 2n(n - 1) triplets of max(0, margin + other - own): `margin` when all similarities are equal.
    """
    similarity = audio @ text.T
    own = similarity.diagonal()
    hinges = F.relu(margin + similarity - own[:, None]) + F.relu(margin + similarity - own[None, :])
    n = len(similarity)
    return (hinges.sum() - hinges.diagonal().sum()) / (2 * n * (n - 1))


def label_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropies of a track's labels, summed over the labels, mean over the tracks.

    MuLan trains its audio tower on AudioSet's labels before it sees a text (§3.2).

    Args:
        logits: float [n, labels].
        targets: 0 or 1, float [n, labels].
    """
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(logits)
