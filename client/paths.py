"""Ways through a library: from one track to another, and a radio that drifts.

Both go from point to point between tracks, and take the nearest track that they have not been at. The points of a path
lie on the great circle between its ends (Shoemake's slerp, SIGGRAPH 1985), as all vectors are of unit length.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

CHOICE = 12
"""Of so many tracks that are near, a radio takes one."""
_SHARPNESS = 20.0  # how much likelier the nearer ones are: e to that power for 1 of cosine


def between(first: NDArray[np.float32], last: NDArray[np.float32], *, steps: int) -> NDArray[np.float32]:
    """Points evenly spaced from one unit vector to another, both included: float32 [steps, dim], unit L2 norm."""
    angle = float(np.arccos(np.clip(first @ last, -1.0, 1.0)))
    shares = np.linspace(0.0, 1.0, steps)[:, None]
    if np.sin(angle) < 1e-4:  # the same, or opposite, between which there is no one way
        points = (1 - shares) * first + shares * last + 1e-3 * first
    else:
        points = (np.sin((1 - shares) * angle) * first + np.sin(shares * angle) * last) / np.sin(angle)
    unit: NDArray[np.float32] = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    return unit


def drifted(start: NDArray[np.float32], here: NDArray[np.float32], *, drift: float) -> NDArray[np.float32]:
    """Where a radio looks next: at its start (a drift of 0), at the track it is at (1), or between; unit L2 norm."""
    point = (1 - drift) * start + drift * here
    norm = float(np.linalg.norm(point))
    return (point / np.float32(norm)).astype(np.float32) if norm > 1e-6 else here


def draw(scores: Sequence[float], *, rng: np.random.Generator) -> Iterator[int]:
    """Indices in an order by chance in which the better scores tend to come first."""
    near = np.array(scores[:CHOICE], np.float64)
    # The order of Gumbel-perturbed scores is that of drawing without replacement by their softmax.
    yield from np.argsort(-(_SHARPNESS * near + rng.gumbel(size=len(near)))).tolist()
    yield from range(len(near), len(scores))
