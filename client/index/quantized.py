"""Quantization of window vectors to 8 bits a number, with one scale for each 16 numbers.

This is precise enough to find the part of a track that fits a query best. The track's vector is subtracted first, so
that the 8 bits are spent on the differences between its windows.
"""

import numpy as np
from numpy.typing import NDArray

_STEPS = 127  # on each side of 0
_BLOCK = 16  # numbers that share a scale
_FLOAT32, _FLOAT16 = np.dtype("<f4"), np.dtype("<f2")


def size_of(dim: int) -> int:
    """Bytes of one quantized window."""
    return dim + _blocks(dim) * _FLOAT16.itemsize


def quantize(windows: NDArray[np.float32], *, track: NDArray[np.float32]) -> bytes:
    """Quantize unit vectors float32 [n, dim], after subtracting the track's vector float32 [dim].

    Returns:
        The bytes of the scales float16 [n, blocks], then those of the codes int8 [n, dim].
    """
    count, dim = windows.shape
    padded = np.zeros((count, _blocks(dim) * _BLOCK), np.float32)
    padded[:, :dim] = windows - track
    parts = padded.reshape(count, _blocks(dim), _BLOCK)
    scales = (np.abs(parts).max(axis=2) / _STEPS).astype(_FLOAT16)
    divisors = np.where(scales > 0, scales, np.inf).astype(np.float32)
    codes = np.clip(np.rint(parts / divisors[:, :, None]), -_STEPS, _STEPS).astype(np.int8)
    return bytes(scales.tobytes() + codes.reshape(padded.shape)[:, :dim].tobytes())


def read(blob: bytes, *, count: int, track: NDArray[np.float32]) -> NDArray[np.float32]:
    """Read unit vectors float32 [count, dim], stored in 8 bits or, by older versions, in 32 bits a number.

    Raises:
        ValueError: the bytes are neither.
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
