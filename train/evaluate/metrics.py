"""Retrieval metrics: pure functions of a similarity matrix, in NumPy.

Every function takes the similarity of queries to candidates as float [n, n]; row i is query i, column j is
candidate j, and candidate i is the one right answer to query i. A candidate that ties with the right answer counts as
ranked above it, so a collapsed model scores as badly as it should.
"""

import numpy as np


def ranks(similarity: np.ndarray) -> np.ndarray:
    """Rank of each query's own candidate, int64 [n], 1 = best.

    Raises:
        ValueError: the matrix is empty, not square, or not finite.

    >>> ranks(np.array([[0.9, 0.1], [0.8, 0.2]]))
    array([1, 2])
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or not similarity.size:
        raise ValueError(f"similarity has shape {similarity.shape}; expected [n, n] with n >= 1")
    if not np.isfinite(similarity).all():
        raise ValueError("similarity holds NaN or infinite values; the embeddings are broken")
    return (similarity >= np.diagonal(similarity)[:, None]).sum(axis=1)


def recall_at_k(similarity: np.ndarray, *, k: int) -> float:
    """Share of queries whose own candidate is among the k best.

    Returns:
        A fraction in [0, 1], not a percentage.

    Raises:
        ValueError: a bad matrix, or k outside 1…n.

    >>> recall_at_k(np.eye(3), k=1)
    1.0
    """
    if not 1 <= k <= len(similarity):
        raise ValueError(f"k is {k}; expected 1 <= k <= {len(similarity)}, the number of candidates")
    return float((ranks(similarity) <= k).mean())


def mean_average_precision_at_10(similarity: np.ndarray) -> float:
    """mAP@10 with one relevant candidate a query: the mean of 1 / rank, 0 beyond rank 10 (MusCALL §4.2).

    >>> mean_average_precision_at_10(np.array([[0.9, 0.1], [0.8, 0.2]]))
    0.75
    """
    rank = ranks(similarity)
    return float(np.where(rank <= 10, 1.0 / rank, 0.0).mean())


def median_rank(similarity: np.ndarray) -> float:
    """MedR, the median rank of the right candidate; 1 is best, lower is better.

    >>> median_rank(np.eye(5))
    1.0
    """
    return float(np.median(ranks(similarity)))


def retrieval_metrics(similarity: np.ndarray) -> dict[str, float]:
    """R@1, R@5, R@10 (a cut-off above n counts as n), mAP@10 and MedR of one direction."""
    n = len(similarity)
    recalls = {f"R@{k}": recall_at_k(similarity, k=min(k, n)) for k in (1, 5, 10)}
    return {**recalls, "mAP@10": mean_average_precision_at_10(similarity), "MedR": median_rank(similarity)}
