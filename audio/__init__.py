"""One way from an audio file to samples: training, the client and the Triton server all read with this room.

The exporter copies it into `model_repository/audio_embedding/1/audio`, where Triton's own Python imports it: it needs
nothing but NumPy, PyAV and soxr.
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
