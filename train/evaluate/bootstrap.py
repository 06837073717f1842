"""95 % intervals by the bootstrap over queries (Efron 1979)."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Drawn = TypeVar("Drawn", bound=np.generic)

RESAMPLES = 1_000
LEVEL = 0.95
BLOCK = 100_000
"""Drawn values at a time: what fits a processor's cache is several times faster than all at once."""


def bootstrap_interval(
    values: NDArray[Drawn],
    *,
    statistic: Callable[[NDArray[Drawn]], NDArray[np.floating[Any]]],
    seed: int,
    resamples: int = RESAMPLES,
    centre: float | None = None,
) -> tuple[float, float]:
    """Between which bounds 95 % of the statistic lie when as many queries are drawn again, with replacement.

    Args:
        values: [n], one a query: a rank, a hit, or the number of the query for a statistic that looks it up
            (`times_drawn`).
        statistic: drawn values [some, n] -> [some]. NaN, where a draw leaves it undefined, is left out.
        centre: the statistic of all values, where drawing some of them twice makes it larger, as it does average
            precision: the bounds are then moved by the mean's distance from it, and cut off at 0 and 1.

    Returns:
        low, high.

    Raises:
        ValueError: no values, or a statistic that no draw defines.

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
    """How often each of n queries was drawn: int [some, n], numbers 0 to n - 1 -> int64 [some, n].

    As weights these give a metric of a resample without copying what it is made from.

    >>> times_drawn(np.array([[0, 0, 2]])).tolist()
    [[2, 0, 1]]
    """
    some, n = drawn.shape
    flat = drawn + n * np.arange(some)[:, None]
    return np.bincount(flat.ravel(), minlength=some * n).reshape(some, n)
