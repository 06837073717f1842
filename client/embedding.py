"""From an audio file to its vectors: one for each window, and one for the track."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .audio import WindowReader, heard, look_at
from .encoders import Encoder
from .encoders.long_texts import ReadTexts
from .index.records import TrackVectors
from .recent import Recent

_KEPT = 64  # cached vectors of query sounds
_KEPT_TEXTS = 512  # cached vectors of query texts


def track_vectors(windows: NDArray[np.float32], *, starts_s: Sequence[float], powers: Sequence[float]) -> TrackVectors:
    """The vectors of a track: of its windows that are loud enough (see `audio.heard`), and of the track.

    The track's vector is the normalised mean of these windows' vectors (MuLan §4.1.1: clip-level averaging).

    Args:
        windows: float32 [windows, dim], unit L2 norm.
        starts_s: where in the track each window begins.
        powers: mean square of each window's samples.
    """
    counted = heard(powers)
    windows = windows[counted]
    mean = windows.mean(axis=0, dtype=np.float64)
    vector: NDArray[np.float32] = (mean / np.linalg.norm(mean)).astype(np.float32)
    return TrackVectors(vector, np.array(starts_s, np.float32)[counted], windows)


def open_windows(
    encoder: Encoder,
    path: str | Path,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> WindowReader:
    """The windows of a file, or of a part of it, in the format of this encoder."""
    return WindowReader(
        path,
        sample_rate_hz=encoder.spec.sample_rate_hz,
        window_samples=encoder.spec.window_samples,
        start_s=start_s,
        end_s=end_s,
    )


def embed_file(encoder: Encoder, path: str | Path, *, start_s: float = 0.0, end_s: float | None = None) -> TrackVectors:
    """Decode and embed one file, or the part of it from `start_s` to `end_s` seconds. None is the end of the file.

    Raises:
        AudioError: the file cannot be used.
        EncoderError: the model or its server failed.
    """
    reader = open_windows(encoder, path, start_s=start_s, end_s=end_s)
    starts_s: list[float] = []
    powers: list[float] = []
    parts: list[NDArray[np.float32]] = []
    batch: list[NDArray[np.float32]] = []
    for window in reader:
        starts_s.append(window.start_s)
        powers.append(window.power)
        batch.append(window.waveform)
        if len(batch) == encoder.batch_size:
            parts.append(encoder.embed_windows(np.stack(batch)))
            batch.clear()
    if batch:
        parts.append(encoder.embed_windows(np.stack(batch)))
    return track_vectors(np.concatenate(parts), starts_s=starts_s, powers=powers)


class Heard:
    """Embeds query sounds and caches the latest ones, so that the next page of a search embeds nothing."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._vectors: Recent[NDArray[np.float32]] = Recent(most=_KEPT, size=lambda _: 1)
        self._lock = threading.Lock()

    def vector(self, path: str, *, start_s: float, end_s: float | None) -> NDArray[np.float32]:
        """The vector of a file or a part of it: float32 [dim], unit L2 norm. See `embed_file`."""
        status = look_at(path)
        name = (path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, start_s, end_s)
        with self._lock:
            if name in self._vectors:
                return self._vectors[name]
        vector = embed_file(self._encoder, path, start_s=start_s, end_s=end_s).vector
        with self._lock:
            self._vectors.keep(name, vector)
        return vector


class Read:
    """Embeds query texts and caches the latest ones, so that the next page of a search embeds nothing."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: Recent[ReadTexts] = Recent(most=_KEPT_TEXTS, size=lambda _: 1)
        self._lock = threading.Lock()

    def texts(self, texts: Sequence[str]) -> ReadTexts:
        """See `Encoder.read_texts`."""
        with self._lock:
            known = {text: self._known[text] for text in texts if text in self._known}
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            vectors, parts = self._encoder.read_texts(new)
            for text, vector in zip(new, vectors, strict=True):
                known[text] = ReadTexts(vector.copy(), {text: parts[text]} if text in parts else {})
            with self._lock:
                for text in new:
                    self._known.keep(text, known[text])
        vectors = np.array([known[text].vectors for text in texts], np.float32)
        return ReadTexts(
            vectors.reshape(-1, self._encoder.spec.embedding_dim),
            {text: list(part) for one in known.values() for text, part in one.parts.items()},
        )
