"""Turns audio files into samples, in the same way for training, the client and the Triton server.

The exporter copies this package into `model_repository/audio_embedding/1/audio`, where Triton's own Python imports it.
It needs only NumPy, PyAV and soxr.
"""

from .errors import DecodeError
from .recording import Extent, NotSeekable, Recording, open_container
from .windows import SILENCE_PEAK, Window, WindowReader, heard

__all__ = [
    "SILENCE_PEAK",
    "DecodeError",
    "Extent",
    "NotSeekable",
    "Recording",
    "Window",
    "WindowReader",
    "heard",
    "open_container",
]
