"""Vectors of windows in 8 bits a number, with a scale for each 16 of them: enough to tell where a track fits best.

The track's own vector is taken off first, so that what tells its windows apart keeps its digits.
"""

import numpy as np
from numpy.typing import NDArray

_STEPS = 127  # of a number, to either side of 0
_BLOCK = 16  # numbers
_FLOAT32, _FLOAT16 = np.dtype("<f4"), np.dtype("<f2")


def size_of(dim: int) -> int:
    """Bytes of a window."""
    return dim + _blocks(dim) * _FLOAT16.itemsize


def quantize(windows: NDArray[np.float32], *, track: NDArray[np.float32]) -> bytes:
    """Of unit vectors float32 [n, dim], each less the track's: scales float16 [n, blocks], and codes int8 [n, dim]."""
    count, dim = windows.shape
    padded = np.zeros((count, _blocks(dim) * _BLOCK), np.float32)
    padded[:, :dim] = windows - track
    parts = padded.reshape(count, _blocks(dim), _BLOCK)
    scales = (np.abs(parts).max(axis=2) / _STEPS).astype(_FLOAT16)
    divisors = np.where(scales > 0, scales, np.inf).astype(np.float32)
    codes = np.clip(np.rint(parts / divisors[:, :, None]), -_STEPS, _STEPS).astype(np.int8)
    return bytes(scales.tobytes() + codes.reshape(padded.shape)[:, :dim].tobytes())


def read(blob: bytes, *, count: int, track: NDArray[np.float32]) -> NDArray[np.float32]:
    """So many unit vectors float32 [count, dim], in 8 bits or as older versions wrote them, in 32.

    Raises:
        ValueError: these are neither.
    """
    dim = len(track)
    if len(blob) == count * dim * _FLOAT32.itemsize:
        return np.frombuffer(blob, _FLOAT32).reshape(count, dim)
    scales = np.frombuffer(blob, _FLOAT16, count * _blocks(dim)).reshape(count, _blocks(dim))
    codes = np.frombuffer(blob, np.int8, offset=scales.nbytes).reshape(count, dim)
    vectors = track + codes * np.repeat(scales.astype(np.float32), _BLOCK, axis=1)[:, :dim]
    found: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def _blocks(dim: int) -> int:
    return -(-dim // _BLOCK)
