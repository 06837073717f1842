"""Losses as pure functions of embeddings and logits.

In every function, row i of `audio` and row i of `text` are one pair. Every row has unit L2 norm.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(audio: Tensor, text: Tensor, *, temperature: Tensor, weights: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE: mean of the audio-to-text and text-to-audio cross-entropies (MusCALL eq. 1 and 4).

    MusCALL's eq. 2 sums the two directions. This is their mean, so half of that sum, as in CLIP and in the released
    MusCALL code. `LossConfig.directions` "sum" doubles it.

    Args:
        audio: float [n, dim].
        text: float [n, dim].
        temperature: positive scalar. The cosine similarities are divided by it.
        weights: float [n], non-negative: the weight of each pair's loss (MusCALL eq. 4), for example from
            `content_weights`.

    Returns:
        A non-negative scalar; log n when all similarities are equal and no weights are given.
    """
    audio_to_text = audio @ text.T / temperature
    pair = torch.arange(len(audio), device=audio.device)
    of_audio, of_text = (F.cross_entropy(logits, pair, reduction="none") for logits in (audio_to_text, audio_to_text.T))
    losses = (of_audio + of_text) / 2
    return losses.mean() if weights is None else (weights * losses).mean()


def content_weights(sentences: Tensor, *, kappa: float, normalised: bool = True) -> Tensor:
    """Loss weight of each caption, from its similarity to the other captions of the batch (MusCALL eq. 3).

    The weight is exp(s_i / kappa). In the paper, s_i is the mean cosine similarity of caption i with all n captions,
    including itself. With the paper's kappa of 0.005, a few captions then get nearly all the weight of a batch
    (docs/papers.md). `normalised` follows the released code instead: s_i is the sum of the cosine similarities with the
    other captions, divided by the total of these sums over the batch.

    In both cases the weights are divided by their mean, which keeps their ratios. Without this division, the weights of
    eq. 3 reach exp(1 / kappa). Such a number overflows float32, and the self-supervised loss of eq. 5 would be
    negligible beside it.

    Args:
        sentences: float [n, any], unit L2 norm: the captions' embeddings from a sentence encoder, n >= 2.
        kappa: positive. A smaller kappa makes the weights more different. The paper uses 0.005, the released code 0.01.
        normalised: use the released code's s_i (True) or the paper's (False).

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
        first: float [n, dim], unit L2 norm; row i is one view of recording i.
        second: float [n, dim], unit L2 norm; row i is the other view of recording i.
        temperature: positive. The cosine similarities are divided by it.

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

    The loss of pair i is -log(h_ii / sum over j != i of (h_ij + h_ji)) with h = exp(cosine / temperature). The paper
    sums over the pairs. This function takes the mean, so that the learning rate does not depend on the batch size.
    Unlike InfoNCE, this loss can be negative.

    Args:
        audio: float [n, dim], n >= 2.
        text: float [n, dim], n >= 2.
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
        audio: float [n, dim], n >= 2.
        text: float [n, dim], n >= 2.
        margin: by how much the cosine similarity of a pair must exceed that of a negative.

    Returns:
        Mean over the 2n(n - 1) triplets of max(0, margin + other - own). It is `margin` when all similarities are
        equal.
    """
    similarity = audio @ text.T
    own = similarity.diagonal()
    hinges = F.relu(margin + similarity - own[:, None]) + F.relu(margin + similarity - own[None, :])
    n = len(similarity)
    return (hinges.sum() - hinges.diagonal().sum()) / (2 * n * (n - 1))


def label_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of the labels: sum over the labels, mean over the tracks.

    MuLan trains its audio tower on AudioSet's labels before it trains on text (§3.2).

    Args:
        logits: float [n, labels].
        targets: 0 or 1, float [n, labels].
    """
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(logits)
