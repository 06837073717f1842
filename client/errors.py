"""All errors that MusicSearch raises on purpose, as one tree under `MusicSearchError`.

A message says what it got, what it expected, and what to do. Errors of the libraries underneath (FFmpeg,
SQLite, ONNX Runtime, gRPC) are translated once, where that library is called, with `raise ... from exc`.
"""


class MusicSearchError(Exception):
    """Base of all errors below. Catch this one to catch them all."""


class AudioError(MusicSearchError):
    """A file cannot be used as audio: missing, empty, damaged, silent, too short, or not audio at all.

    Attributes:
        path: the file.
        reason: why, without the path.
        may_pass: a retry of the same file may succeed, as with permissions or a disk that failed.
        is_unexpected: it is not known whether the file, MusicSearch or a library underneath is at fault.
        is_stores: the store of the file does not answer, or refuses every request.
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
    """A store of audio files (s3://, gs://, https://) cannot be used: it is not supported or does not answer."""


class QueryError(MusicSearchError, ValueError):
    """An argument of a call is out of its range: an empty query, k < 1, no labels."""


class EncoderError(MusicSearchError):
    """The model cannot be opened or run: a missing or damaged repository, or no such device."""


class ServerUnavailable(EncoderError):
    """The Triton server does not answer. `ServerBusy` and `ServerTimeout` say why, if that is known."""


class ServerBusy(ServerUnavailable):
    """The Triton server is overloaded. Its queue is full, so it refused the call at once."""


class ServerTimeout(ServerUnavailable):
    """The Triton server did not answer before the call's deadline."""


class ServerMismatch(EncoderError):
    """The server answers, but it does not have the models, parameters or tensors that this client needs."""


class LibraryError(MusicSearchError):
    """The library cannot be opened, read or written, or does not hold the requested track."""


class LibraryBusy(LibraryError):
    """Another process, another MusicSearch or another thread's `add` is writing to this library."""


class ModelMismatch(LibraryError):
    """The library was made with another model than the one given now. The message names both."""
