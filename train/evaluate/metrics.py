"""Metrics of every protocol: pure functions in NumPy that load nothing.

The retrieval metrics take a similarity matrix, float [n, n]. Row i is query i, column j is candidate j, and candidate i
is the only right answer to query i. A tie always counts against the model (half, in an area under the ROC curve). A
collapsed model therefore gets a bad score.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

RETRIEVAL_STATISTICS: Mapping[str, Callable[[NDArray[np.int64]], NDArray[np.float64]]] = {
    "R@1": lambda rank: (rank <= 1).mean(axis=-1),
    "R@5": lambda rank: (rank <= 5).mean(axis=-1),
    "R@10": lambda rank: (rank <= 10).mean(axis=-1),
    "mAP@10": lambda rank: np.where(rank <= 10, 1.0 / rank, 0.0).mean(axis=-1),
    "MedR": lambda rank: np.median(rank, axis=-1),
}
"""The metrics reported for one direction of retrieval (MusCALL §5.1); each maps ranks [..., queries] -> [...]."""


def ranks(similarity: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Rank of the right answer to each query, int64 [n], 1 = best.

    Args:
        similarity: float [n, n].

    Raises:
        ValueError: the matrix is empty, not square, or not finite.

    >>> ranks(np.array([[0.9, 0.1], [0.8, 0.2]]))
    array([1, 2])
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or not similarity.size:
        raise ValueError(f"similarity has shape {similarity.shape}; expected [n, n] with n >= 1")
    if not np.isfinite(similarity).all():
        raise ValueError("similarity holds NaN or infinite values; the embeddings are broken")
    rank: NDArray[np.int64] = (similarity >= np.diagonal(similarity)[:, None]).sum(axis=1)
    return rank


def retrieval_metrics(similarity: NDArray[np.floating[Any]]) -> dict[str, float]:
    """R@1, R@5, R@10, mAP@10 and MedR of one direction. A cut-off above n counts as n."""
    rank = ranks(similarity)
    return {name: float(statistic(rank)) for name, statistic in RETRIEVAL_STATISTICS.items()}


def roc_auc(
    scores: NDArray[np.floating[Any]], *, relevant: NDArray[np.bool_], weights: NDArray[np.number[Any]] | None = None
) -> NDArray[np.float64]:
    """Area under the ROC curve: how often a relevant item scores above an irrelevant one. A tie counts half.

    Args:
        scores: float [n], higher is more relevant.
        relevant: bool [n], with at least one True and one False.
        weights: float [..., n], not negative: the weight of each item; None gives every item weight 1.

    Returns:
        float64 [...], 0 to 1. NaN where all relevant items or all irrelevant items have weight 0.

    Raises:
        ValueError: other shapes, scores that are not finite, or all items relevant, or none.

    >>> float(roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), relevant=np.array([False, False, True, True])))
    0.75
    """
    _check_scores(scores, relevant)
    if relevant.all():
        raise ValueError(
            f"all {len(scores)} items are relevant; an area under the ROC curve needs irrelevant items too"
        )
    weight, true, every = _at_relevant(scores, relevant, weights)
    irrelevant_above = (every - true).mean(axis=0)  # ties half
    irrelevant = _total(weights, ~relevant)
    with np.errstate(invalid="ignore"):
        area = (weight * (irrelevant[..., None] - irrelevant_above)).sum(axis=-1)
        share: NDArray[np.float64] = area / (weight.sum(axis=-1) * irrelevant)
        return share


def average_precision(
    scores: NDArray[np.floating[Any]], *, relevant: NDArray[np.bool_], weights: NDArray[np.number[Any]] | None = None
) -> NDArray[np.float64]:
    """Average precision, the area under the precision-recall curve (PR-AUC): mean precision at the relevant items.

    The curve is not interpolated. Items of equal score get one rank together, so the order of the input does not
    matter.

    Args:
        scores: float [n], higher is more relevant.
        relevant: bool [n], at least one True.
        weights: float [..., n], not negative: the weight of each item; None gives every item weight 1.

    Returns:
        float64 [...], 0 to 1. NaN where all relevant items have weight 0.

    Raises:
        ValueError: other shapes, scores that are not finite, or no relevant item.

    >>> float(average_precision(np.array([0.1, 0.4, 0.35, 0.8]), relevant=np.array([False, True, False, True])))
    1.0
    """
    _check_scores(scores, relevant)
    weight, true, every = _at_relevant(scores, relevant, weights)
    with np.errstate(invalid="ignore"):
        precision = np.divide(true[1], every[1], out=np.zeros_like(weight), where=every[1] > 0)
        mean: NDArray[np.float64] = (weight * precision).sum(axis=-1) / weight.sum(axis=-1)
        return mean


def mean_roc_auc(
    scores: NDArray[np.floating[Any]], *, relevant: NDArray[np.bool_], weights: NDArray[np.number[Any]] | None = None
) -> NDArray[np.float64]:
    """Macro (unweighted) mean of `roc_auc` over the columns of scores and relevant, both [n, columns].

    Columns where it is NaN are left out of the mean. The result is NaN if it is NaN in all columns.
    """
    return _column_mean(roc_auc, scores, relevant, weights)


def mean_average_precision(
    scores: NDArray[np.floating[Any]], *, relevant: NDArray[np.bool_], weights: NDArray[np.number[Any]] | None = None
) -> NDArray[np.float64]:
    """mAP (macro PR-AUC): mean of `average_precision` over the columns of scores and relevant, both [n, columns].

    Columns where it is NaN are left out of the mean. The result is NaN if it is NaN in all columns.
    """
    return _column_mean(average_precision, scores, relevant, weights)


def correct(scores: NDArray[np.floating[Any]], *, classes: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether each item's own class scores strictly above all other classes. The mean is the accuracy.

    Args:
        scores: float [n, classes].
        classes: int [n], each item's class, 0 to classes - 1.

    Returns:
        bool [n]; a tie is wrong.

    Raises:
        ValueError: other shapes, or scores that are not finite.

    >>> correct(np.array([[0.9, 0.1], [0.5, 0.5]]), classes=np.array([0, 1])).tolist()
    [True, False]
    """
    if scores.ndim != 2 or classes.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} and classes {classes.shape}; expected [n, classes] and [n]")
    _check_finite(scores)
    own = np.take_along_axis(scores, classes[:, None], axis=1)
    alone: NDArray[np.bool_] = (scores >= own).sum(axis=1) == 1
    return alone


def triplets_won(
    anchor: NDArray[np.floating[Any]], *, positive: NDArray[np.floating[Any]], negative: NDArray[np.floating[Any]]
) -> NDArray[np.bool_]:
    """Whether each anchor is nearer to its positive than to its negative (MuLan §4.1.4). The mean is the accuracy.

    Args:
        anchor: float [n, dim], unit L2 norm.
        positive: float [n, dim], unit L2 norm.
        negative: float [n, dim], unit L2 norm.

    Returns:
        bool [n]; a tie is wrong.

    Raises:
        ValueError: the shapes differ, or a vector is not finite.

    >>> triplets_won(np.eye(2), positive=np.eye(2), negative=np.eye(2)[::-1]).tolist()
    [True, True]
    """
    if not anchor.shape == positive.shape == negative.shape or anchor.ndim != 2:
        raise ValueError(f"vectors {anchor.shape}, {positive.shape}, {negative.shape}; expected three of [n, dim]")
    margins = np.einsum("nd,nd->n", anchor, positive - negative, dtype=np.float64)
    _check_finite(margins)
    won: NDArray[np.bool_] = margins > 0
    return won


def pairs_ordered(
    first: NDArray[np.floating[Any]], *, second: NDArray[np.floating[Any]], first_is_higher: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether the scores put each pair in the right order. The mean is the accuracy.

    Args:
        first: float [n], the score of each pair's first item.
        second: float [n], the score of each pair's second item.
        first_is_higher: bool [n], whether the first item should score higher.

    Returns:
        bool [n]; a tie is wrong.

    Raises:
        ValueError: the shapes differ, or a score is not finite.

    >>> one, other = np.array([0.2, 0.2, 0.3]), np.array([0.1, 0.2, 0.4])
    >>> pairs_ordered(one, second=other, first_is_higher=np.array([True, True, False])).tolist()
    [True, False, True]
    """
    if not first.shape == second.shape == first_is_higher.shape or first.ndim != 1:
        raise ValueError(f"shapes {first.shape}, {second.shape}, {first_is_higher.shape}; expected three of [n]")
    margins = first - second
    _check_finite(margins)
    ordered: NDArray[np.bool_] = np.where(first_is_higher, margins > 0, margins < 0)
    return ordered


def _at_relevant(
    scores: NDArray[np.floating[Any]], relevant: NDArray[np.bool_], weights: NDArray[np.number[Any]] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Total weights of the items that score above each of the r relevant items, which are sorted by score.

    Returns:
        Three arrays. The weights of the relevant items, float64 [..., r]. Then the total weight above each of them,
        counted over the relevant items and counted over all items, both float64 [2, ..., r]. Index 0 of the first axis
        counts the items with a higher score, index 1 those with the same or a higher score.
    """
    order = np.argsort(-scores, kind="stable")
    own = order[relevant[order]]
    weight = np.ones(len(own)) if weights is None else weights[..., own].astype(np.float64)

    def above(items: NDArray[np.intp]) -> NDArray[np.float64]:
        sorted_weights = np.ones(len(items)) if weights is None else weights[..., items]
        sums = np.cumsum(sorted_weights, axis=-1, dtype=np.float64)
        sums = np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)
        return np.stack([sums[..., np.searchsorted(-scores[items], -scores[own], side=s)] for s in ("left", "right")])

    return weight, above(own), above(order)


def _total(weights: NDArray[np.number[Any]] | None, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(mask.sum(), np.float64) if weights is None else weights.astype(np.float64) @ mask


def _column_mean(
    metric: Callable[..., NDArray[np.float64]],
    scores: NDArray[np.floating[Any]],
    relevant: NDArray[np.bool_],
    weights: NDArray[np.number[Any]] | None,
) -> NDArray[np.float64]:
    """Mean of a metric over the columns, without the columns where it is NaN. NaN where it is NaN in all columns."""
    if scores.ndim != 2 or scores.shape != relevant.shape or not scores.size:
        raise ValueError(f"scores {scores.shape} and relevant {relevant.shape}; expected both as [n, columns]")
    values = np.stack(
        [metric(column, relevant=mask, weights=weights) for column, mask in zip(scores.T, relevant.T, strict=True)]
    )
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.where(defined, values, 0.0).sum(axis=0) / defined.sum(axis=0)
        return mean


def _check_scores(scores: NDArray[np.floating[Any]], relevant: NDArray[np.bool_]) -> None:
    if scores.ndim != 1 or scores.shape != relevant.shape or relevant.dtype != bool:
        raise ValueError(
            f"scores {scores.shape} and relevant {relevant.shape} of {relevant.dtype}; expected [n] and bool [n]"
        )
    _check_finite(scores)
    if not relevant.any():
        raise ValueError(f"none of {len(scores)} items is relevant; expected at least one")


def _check_finite(values: NDArray[np.floating[Any]]) -> None:
    if not np.isfinite(values).all():
        raise ValueError("scores hold NaN or infinite values; the embeddings are broken")
