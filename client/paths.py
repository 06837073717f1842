"""Ways through a library: from one track to another, and a radio that drifts.

Both move from point to point between tracks, and take the nearest track that they have not used yet. The points of a
path lie on the great circle between its ends (Shoemake's slerp, SIGGRAPH 1985), as all vectors have unit length.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

CHOICE = 12
"""A radio chooses among this many of the nearest tracks."""
_SHARPNESS = 20.0  # how much likelier a nearer track is: e to this power for a difference of 1 in cosine similarity


def between(first: NDArray[np.float32], last: NDArray[np.float32], *, steps: int) -> NDArray[np.float32]:
    """Evenly spaced points from one unit vector to another, both included: float32 [steps, dim], unit L2 norm."""
    angle = float(np.arccos(np.clip(first @ last, -1.0, 1.0)))
    shares = np.linspace(0.0, 1.0, steps)[:, None]
    if np.sin(angle) < 1e-4:  # the same, or opposite: then there is no single great circle
        points = (1 - shares) * first + shares * last + 1e-3 * first
    else:
        points = (np.sin((1 - shares) * angle) * first + np.sin(shares * angle) * last) / np.sin(angle)
    unit: NDArray[np.float32] = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    return unit


def drifted(start: NDArray[np.float32], here: NDArray[np.float32], *, drift: float) -> NDArray[np.float32]:
    """The point that a radio searches next: its start (drift 0), its current track (1), or in between. Unit L2 norm."""
    point = (1 - drift) * start + drift * here
    norm = float(np.linalg.norm(point))
    return (point / np.float32(norm)).astype(np.float32) if norm > 1e-6 else here


def draw(scores: Sequence[float], *, rng: np.random.Generator) -> Iterator[int]:
    """Indices in a random order in which better scores tend to come first."""
    near = np.array(scores[:CHOICE], np.float64)
    # Sorting Gumbel-perturbed scores draws without replacement, with the softmax of the scores as probabilities.
    yield from np.argsort(-(_SHARPNESS * near + rng.gumbel(size=len(near)))).tolist()
    yield from range(len(near), len(scores))
