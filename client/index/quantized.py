"""Vectors of windows in 8 bits a number: where a track fits best needs no more, and the disk holds four times as many.

What windows of one track have in common is taken off first, so that what tells them apart keeps its digits.
"""

import numpy as np
from numpy.typing import NDArray

_STEPS = 127  # of a number, to either side of 0
_FLOAT32 = np.dtype("<f4")


def quantize(vectors: NDArray[np.float32]) -> bytes:
    """Of unit vectors float32 [n, dim], of dim > 4: the scales of n + 1 rows, float32, and the rows, int8 [n + 1, dim].

    The first row is the vectors' mean, each other one a vector less that.
    """
    common = _rows(vectors.mean(axis=0, keepdims=True))
    own = _rows(vectors - _numbers(*common))
    scales, codes = np.concatenate([common[0], own[0]]), np.concatenate([common[1], own[1]])
    return bytes(scales.astype(_FLOAT32).tobytes() + codes.tobytes())


def read(blob: bytes, *, count: int, dim: int) -> NDArray[np.float32]:
    """So many unit vectors float32 [count, dim], in 8 bits or as older versions wrote them, in 32.

    Raises:
        ValueError: these are neither.
    """
    if len(blob) == count * dim * _FLOAT32.itemsize:
        return np.frombuffer(blob, _FLOAT32).reshape(count, dim)
    scales = np.frombuffer(blob, _FLOAT32, count + 1)
    numbers = _numbers(scales, np.frombuffer(blob, np.int8, offset=scales.nbytes).reshape(count + 1, dim))
    vectors = numbers[:1] + numbers[1:]
    found: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def _rows(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    scales = (np.abs(vectors).max(axis=1) / _STEPS).astype(np.float32)
    codes = np.rint(vectors / np.where(scales > 0, scales, 1)[:, None])
    return scales, codes.astype(np.int8)


def _numbers(scales: NDArray[np.float32], codes: NDArray[np.int8]) -> NDArray[np.float32]:
    return codes * scales[:, None]
