"""95 % confidence intervals by the bootstrap over queries (Efron 1979)."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Drawn = TypeVar("Drawn", bound=np.generic)

RESAMPLES = 1_000
LEVEL = 0.95
BLOCK = 100_000
"""How many values are drawn at a time. A block that fits into the CPU cache makes it several times faster."""


def bootstrap_interval(
    values: NDArray[Drawn],
    *,
    statistic: Callable[[NDArray[Drawn]], NDArray[np.floating[Any]]],
    seed: int,
    resamples: int = RESAMPLES,
    centre: float | None = None,
) -> tuple[float, float]:
    """The 95 % bootstrap interval of a statistic: n queries are drawn with replacement, `resamples` times.

    Args:
        values: [n], one per query: its rank, whether it is a hit, or its index if the statistic looks the query up (see
            `times_drawn`).
        statistic: drawn values [some, n] -> [some]. Resamples where it is undefined (NaN) are ignored.
        seed: seed of the resamples.
        resamples: number of resamples.
        centre: the statistic of all values, to correct a bias. Some statistics, such as average precision, get larger
            when a query is drawn twice. The bounds are then shifted by the difference between `centre` and the mean of
            the resamples, and clipped to 0 and 1.

    Returns:
        low, high.

    Raises:
        ValueError: there are no values, or the statistic is undefined in all resamples.

    >>> bootstrap_interval(np.ones(10), statistic=lambda drawn: drawn.mean(axis=-1), seed=0)
    (1.0, 1.0)
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values have shape {values.shape}; expected one value a query, and at least one query")
    rng = np.random.default_rng(seed)
    rows = max(BLOCK // len(values), 1)
    drawn = [
        statistic(values[rng.integers(len(values), size=(min(rows, resamples - start), len(values)))])
        for start in range(0, resamples, rows)
    ]
    estimates = np.concatenate(drawn)
    if np.isnan(estimates).all():
        raise ValueError(f"the statistic is undefined in all {resamples} resamples of {len(values)} queries")
    low, high = np.nanquantile(estimates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if centre is not None:
        low, high = np.clip(np.array([low, high]) + centre - np.nanmean(estimates), 0, 1)
    return float(low), float(high)


def times_drawn(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each of n queries was drawn: int [some, n], indices 0 to n - 1 -> int64 [some, n].

    As weights, these counts give the metric of a resample without copying its scores.

    >>> times_drawn(np.array([[0, 0, 2]])).tolist()
    [[2, 0, 1]]
    """
    some, n = drawn.shape
    flat = drawn + n * np.arange(some)[:, None]
    return np.bincount(flat.ravel(), minlength=some * n).reshape(some, n)
