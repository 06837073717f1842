"""Computes a map: points in a plane for tracks, with similar tracks near each other.

UMAP (McInnes, Healy and Melville, 2018) computes it if umap-learn is installed. Otherwise the points are the first two
principal components. UMAP holds the GIL for minutes, so `lay_out_apart` runs this file in another process.
"""

import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .apart import can_start_python, python_command

METHODS = ("umap", "pca")

_LEAST_FOR_UMAP = 50  # with fewer tracks, each has too few neighbours
_NEIGHBOURS = 15
_PLACED_BY = 6  # a track that comes later is placed between this many neighbours
_SHARPNESS = 20.0  # how much more a nearer one counts: e to this power for a difference of 1 in cosine similarity
_ROWS = 2_048  # rows that are compared with all others at once
_LOWEST_PRIORITY = 10

log = logging.getLogger(__name__)


def draws_by_umap(tracks: int) -> bool:
    """Whether this machine uses UMAP for this many tracks. UMAP may still fail."""
    return tracks >= _LEAST_FOR_UMAP and can_start_python() and find_spec("umap") is not None


def lay_out(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
    """Points for unit vectors float32 [n, dim]: float32 [n, 2], within -1 and 1, and the method.

    The points are the same at each call.
    """
    if draws_by_umap(len(vectors)):
        import umap

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # UMAP warns that a fixed seed allows only one thread
            mapper = umap.UMAP(n_neighbors=_NEIGHBOURS, metric="cosine", random_state=0)
            return _scaled(mapper.fit_transform(vectors)), "umap"
    return _scaled(_principal_components(vectors)), "pca"


def place(
    vectors: NDArray[np.float32], *, among: NDArray[np.float32], points: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Points for more vectors, each between the points of its nearest neighbours: float32 [n, 2].

    Args:
        vectors: the new vectors, float32 [n, dim].
        among: the vectors that have points, float32 [m, dim], m > 0.
        points: their points, float32 [m, 2].
    """
    placed = np.empty((len(vectors), 2), np.float32)
    nearest = min(_PLACED_BY, len(among))
    for start in range(0, len(vectors), _ROWS):
        cosines = vectors[start : start + _ROWS] @ among.T
        rows = np.argpartition(-cosines, nearest - 1, axis=1)[:, :nearest]
        weights = np.exp(_SHARPNESS * (np.take_along_axis(cosines, rows, axis=1) - cosines.max(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        placed[start : start + _ROWS] = np.einsum("nk,nkd->nd", weights, points[rows])
    return placed


def lay_out_apart(
    vectors: NDArray[np.float32], *, started: Callable[[subprocess.Popen[str]], None] = lambda process: None
) -> tuple[NDArray[np.float32], str]:
    """Do `lay_out` in another process, at low priority. If it fails, use principal components in this process.

    Args:
        vectors: see `lay_out`.
        started: called with the process, which may be killed.
    """
    if can_start_python():
        with tempfile.TemporaryDirectory() as temporary:
            given, made = (Path(temporary) / name for name in ("vectors.npy", "points.npz"))
            np.save(given, vectors)
            with subprocess.Popen(
                python_command("from client.layout import main; main()", str(given), str(made)),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            ) as process:
                started(process)
                _, problem = process.communicate()
            if process.returncode == 0:
                with np.load(made) as found:
                    return found["points"], METHODS[int(found["method"])]
            log.warning("the map shows principal components, because UMAP failed: %s", problem.strip()[-500:])
    return _scaled(_principal_components(vectors)), "pca"


def _principal_components(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    if not len(vectors):
        return np.empty((0, 2), np.float32)
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)  # ascending
    axes = directions[:, -1:-3:-1]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # fixes the sign, which is arbitrary
    points: NDArray[np.float32] = centred @ axes
    return points


def _scaled(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The points, centred and scaled so that the farthest has a distance of 1 along an axis."""
    if not len(points):
        return points
    centred = points - (points.max(axis=0) + points.min(axis=0)) / 2
    scaled: NDArray[np.float32] = (centred / max(float(np.abs(centred).max()), 1e-9)).astype(np.float32)
    return scaled


def main() -> None:
    """Read vectors from the file named first, and write points to the file named second."""
    if hasattr(os, "nice"):
        os.nice(_LOWEST_PRIORITY)
    points, method = lay_out(np.load(sys.argv[1]))
    np.savez(sys.argv[2], points=points, method=METHODS.index(method))
