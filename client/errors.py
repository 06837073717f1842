"""Everything MusicSearch raises on purpose: one tree under `MusicSearchError`.

A message says what it got, what it expected, and what to do. Errors of the libraries underneath (FFmpeg,
SQLite, ONNX Runtime, gRPC) are translated once, where that library is called, with `raise ... from exc`.
"""


class MusicSearchError(Exception):
    """Base of all errors below: catch this one to catch them all."""


class AudioError(MusicSearchError):
    """A file cannot be used as audio: missing, empty, damaged, silent, too short, or not audio at all.

    Attributes:
        path: the file.
        reason: why, without the path.
        may_pass: the same file may do another time, as with permissions or a disk that failed.
        is_unexpected: nothing says that it is the file's fault, and not ours or that of a library underneath.
        is_stores: its store does not answer, or refuses whatever it is asked for.
    """

    def __init__(
        self,
        path: str,
        reason: str,
        *,
        may_pass: bool = False,
        is_unexpected: bool = False,
        is_stores: bool = False,
    ) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.may_pass = may_pass or is_unexpected or is_stores
        self.is_unexpected = is_unexpected
        self.is_stores = is_stores


class StoreError(MusicSearchError):
    """A store of audio files (s3://, gs://, https://) cannot be used: no such kind, or it does not answer."""


class QueryError(MusicSearchError, ValueError):
    """An argument of a call is out of its range: an empty query, k < 1, no labels."""


class EncoderError(MusicSearchError):
    """The model cannot be opened or run: a missing or damaged repository, or no such device."""


class ServerUnavailable(EncoderError):
    """The Triton server does not answer; the two below say why, where that is known."""


class ServerBusy(ServerUnavailable):
    """The Triton server is overloaded and refused the call at once: its queue is full."""


class ServerTimeout(ServerUnavailable):
    """The Triton server did not answer before the call's deadline."""


class ServerMismatch(EncoderError):
    """A server answers, but not with the models, parameters or tensors that this client needs."""


class LibraryError(MusicSearchError):
    """The library cannot be opened, read or written, or does not hold the track asked for."""


class LibraryBusy(LibraryError):
    """Another process, another MusicSearch or another thread's `add` is writing to this library."""


class ModelMismatch(LibraryError):
    """The library was made with another model than the one now given; the message names both."""
