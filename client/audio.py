"""Audio files by their paths. A file that cannot be used raises an `AudioError`.

The package `audio` cuts files into windows. Training and the Triton server use it too.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio import DecodeError, Recording, Window, heard
from audio import WindowReader as _WindowReader

from .errors import AudioError
from .places import Status, is_url, needing_extra, opened

__all__ = ["Window", "WindowReader", "check_file", "heard", "look_at", "look_first", "read_samples"]


class WindowReader(_WindowReader):
    """The windows of one audio file, by its path or URL. See `audio.WindowReader` for the options.

    Raises:
        AudioError: the file has no such part. During the iteration: the file cannot be used.
    """

    def __init__(self, path: str | Path, **options: Any) -> None:
        self.path = str(path)
        self._is_far = is_url(self.path)
        with _named(self.path):
            super().__init__(partial(opened, self.path) if self._is_far else self.path, far=self._is_far, **options)

    def __iter__(self) -> Iterator[Window]:
        if not self._is_far:  # a file in a store is checked when it is opened
            check_file(self.path)
        with _named(self.path):
            yield from super().__iter__()


def read_samples(path: str, *, sample_rate_hz: int) -> Iterator[NDArray[np.float32]]:
    """All samples of a file, by its path or URL: float32 blocks of any length, mono, -1...1. Pauses count.

    Raises:
        AudioError: the file cannot be used. This may come after the last block.
    """
    is_far = is_url(path)
    if not is_far:
        check_file(path)
    with _named(path):
        yield from Recording(partial(opened, path) if is_far else path, sample_rate_hz=sample_rate_hz).blocks()


@contextmanager
def _named(path: str) -> Iterator[None]:
    try:
        yield
    except DecodeError as exc:
        raise AudioError(path, exc.reason, may_pass=exc.may_pass) from exc


def look_at(place: str) -> Status:
    """Do `check_file` for a path or a URL. For a URL, the store is asked."""
    if not is_url(place):
        return check_file(place)
    with needing_extra():
        from . import remote
    return remote.look(place)


def look_first(place: str, *, note: Callable[[Status], None], listed: Status | None = None) -> Status:
    """As `look_at`, but `note` gets the status even if the file is then refused: a failure is stored with it.

    Args:
        place: a path or URL.
        note: called with the status.
        listed: the status from the listing of a store, which is then not asked again.

    Raises:
        AudioError: see `look_at`.
    """
    if is_url(place):
        status = listed or look_at(place)
        note(status)
        return status
    with suppress(OSError, ValueError):
        note(os.stat(place))
    return check_file(place)


def check_file(path: str) -> os.stat_result:
    """The `stat` of a regular file that is not empty.

    Raises:
        AudioError: it is something else. Reading a pipe or a device could last forever.
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
