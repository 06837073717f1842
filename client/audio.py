"""Audio files as the client meets them: by their paths, with `AudioError` for those that cannot be used.

How a file becomes windows is told in `audio`, which training and the Triton server share.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from audio import DecodeError, Window, heard
from audio import WindowReader as _WindowReader

from .errors import AudioError

__all__ = ["Window", "WindowReader", "check_file", "heard"]


class WindowReader:
    """The windows of one audio file; see `audio.WindowReader` for all but the errors.

    Raises:
        AudioError: there is no such part; in the iteration: the file cannot be used.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sample_rate_hz: int,
        window_samples: int,
        start_s: float = 0.0,
        end_s: float | None = None,
        windows: int | None = None,
    ) -> None:
        self.path = str(path)
        try:
            self._reader = _WindowReader(
                self.path,
                sample_rate_hz=sample_rate_hz,
                window_samples=window_samples,
                start_s=start_s,
                end_s=end_s,
                windows=windows,
            )
        except DecodeError as exc:
            raise AudioError(self.path, exc.reason) from exc

    @property
    def duration_s(self) -> float:
        return self._reader.duration_s

    @property
    def decoded_s(self) -> float:
        return self._reader.decoded_s

    @property
    def warning(self) -> str:
        return self._reader.warning

    def __iter__(self) -> Iterator[Window]:
        check_file(self.path)
        try:
            yield from self._reader
        except DecodeError as exc:
            raise AudioError(self.path, exc.reason, may_pass=exc.may_pass) from exc


def check_file(path: str) -> os.stat_result:
    """The `stat` of a regular file that is not empty.

    Raises:
        AudioError: it is something else (reading a pipe or a device could last for ever).
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as exc:  # a NUL character in a path is a ValueError
        problem = f"cannot be opened ({getattr(exc, 'strerror', None) or exc})"
        raise AudioError(path, problem, may_pass=True) from exc
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(path, "is a folder or a device, expected an audio file")
    if status.st_size == 0:
        raise AudioError(path, "empty file (0 bytes)")
    return status
