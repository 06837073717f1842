"""Decoding many files: in processes of their own, where FFmpeg and Python's lock hold up nobody else.

Decoding returns to Python for every frame. Two threads of one process take up to 1.7 times as long for it as two
processes do, as each waits for the other's lock; and a file at which FFmpeg crashes would end the whole process.
"""

import ctypes
import logging
import mmap
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .apart import can_start_python, python_command
from .audio import Window, WindowReader
from .errors import AudioError, MusicSearchError
from .places import is_url, needing_extra

_SLOTS = 2  # windows in the memory that both processes see: one is made while the other is taken
_READY, _TAKEN = b"ready", b"taken"
_COMMAND = "from client.decoders import main; main()"
_START_S = 30.0  # it takes 0.2
_ENDED_FROM_OUTSIDE = (-signal.SIGTERM, -signal.SIGKILL)  # the latter also where memory is short
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_Said = TypeVar("_Said")

log = logging.getLogger(__name__)


class _End(NamedTuple):
    """The answer after a file's last window.

    Attributes:
        duration_s, warning: see `WindowReader`.
        reason: why the file cannot be used, if so; may_pass, is_unexpected, is_stores: see `AudioError`.
    """

    duration_s: float = 0.0
    warning: str = ""
    reason: str | None = None
    may_pass: bool = False
    is_unexpected: bool = False
    is_stores: bool = False


class Decoder:
    """Takes one file after the other, in a process that it starts for the first; in this one where it cannot.

    Args:
        sample_rate_hz, window_samples, windows: see `WindowReader`.

    Attributes:
        duration_s, warning: of the last file, once all of its windows were read; see `WindowReader`.
    """

    def __init__(self, *, sample_rate_hz: int, window_samples: int, windows: int | None) -> None:
        self.duration_s, self.warning = 0.0, ""
        self._options: dict[str, Any] = {
            "sample_rate_hz": sample_rate_hz,
            "window_samples": window_samples,
            "windows": windows,
        }
        self._process: _Process | None = None
        self._may_start = os.name == "posix" and can_start_python()  # Windows hands no open files on

    def windows(self, path: str) -> Iterator[Window]:
        """The windows of a file, all of which are to be read before those of another one.

        Raises:
            AudioError: it cannot be used; see `WindowReader`.
        """
        process = self._started(path)
        if process is None:
            reader = WindowReader(path, **self._options)
            yield from _expected(reader)
            self.duration_s, self.warning = reader.duration_s, reader.warning
            return
        with self._noticing_its_end(path, process):
            end = yield from process.windows(path)
            self.duration_s, self.warning = end.duration_s, end.warning

    def call(self, function: Callable[[str], _Said], path: str) -> _Said:
        """What a function of this package says of a file, which it opens with FFmpeg too.

        Raises:
            AudioError: the function raised it, or the process ended.
        """
        process = self._started(path)
        if process is None:
            return function(path)
        with self._noticing_its_end(path, process):
            said: _Said = process.call(function, path)
        return said

    def _started(self, path: str) -> "_Process | None":
        """The process for this file; None where it is to be read here."""
        if is_url(path):
            with needing_extra():
                from . import remote
            if remote.is_in_this_process(path):
                return None
        if self._process is None and self._may_start:
            try:
                self._process = _Process(self._options)
            except OSError as exc:
                self._may_start = False
                log.warning("decoding goes on in one process, which is slower: %s", exc)
        return self._process

    @contextmanager
    def _noticing_its_end(self, path: str, process: "_Process") -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError) as exc:
            code = process.end()
            self._process = None
            reason = f"decoding it ended with {_named(code)}: the file is damaged, or memory ran out"
            raise AudioError(path, reason, may_pass=code in _ENDED_FROM_OUTSIDE) from exc

    def stop(self) -> None:
        """Let another thread's reading end with an `AudioError`, whatever the process is doing."""
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end(patience_s=0.0)
            self._process = None


class _Process:
    """A process that answers a path with the windows of that file.

    Raises:
        OSError: it does not start.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._connection, other_end = Pipe()
        with _shared_memory() as memory, other_end:
            self._slots = _slots(memory.fileno(), window_samples=options["window_samples"])
            files = (other_end.fileno(), memory.fileno())
            self._process = subprocess.Popen(
                python_command(_COMMAND, *map(str, files)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # else NumPy starts threads that nobody needs
                pass_fds=files,
                start_new_session=True,  # Ctrl-C is for this process alone
            )
        try:
            self._connection.send((options, _store_settings()))
            if self._connection.poll(_START_S):
                self._connection.recv()
                return
        except (OSError, EOFError) as exc:
            raise OSError(f"{sys.executable} ended with {_named(self.end())}") from exc
        self.end(patience_s=0.0)
        raise OSError(f"{sys.executable} has not answered for {_START_S:.0f} s")

    def windows(self, path: str) -> Generator[Window, None, _End]:
        """The windows of a file, and what is known after the last.

        Raises:
            AudioError: it cannot be used; OSError, EOFError: the process has ended.
        """
        self._connection.send(path)
        number = 0
        while True:
            answer: _End | tuple[float, float] = self._connection.recv()
            if not isinstance(answer, _End):
                waveform = self._slots[number % _SLOTS].copy()
                self._connection.send(_TAKEN)
                start_s, power = answer
                number += 1
                yield Window(start_s, waveform, power)
            else:
                _raise_if_bad(answer, path)
                return answer

    def call(self, function: Callable[[str], Any], path: str) -> Any:
        """As `Decoder.call`; OSError, EOFError: the process has ended."""
        self._connection.send((function, path))
        answer = self._connection.recv()
        if isinstance(answer, _End):
            _raise_if_bad(answer, path)
        return answer

    def kill(self) -> None:
        self._process.kill()

    def end(self, *, patience_s: float = 1.0) -> int:
        """End it, if it does not by itself: its exit status, or the number of a signal below 0."""
        self._connection.close()
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _raise_if_bad(end: _End, path: str) -> None:
    if end.reason is not None:
        raise AudioError(
            path, end.reason, may_pass=end.may_pass, is_unexpected=end.is_unexpected, is_stores=end.is_stores
        )


def _store_settings() -> dict[str, Any]:
    """What the process needs to open the stores that are open here; nothing where none is."""
    if f"{__package__}.remote" not in sys.modules:
        return {}
    from . import remote

    return remote.settings()


def _named(code: int) -> str:
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name


def main() -> None:
    """What such a process does, until the one that started it ends or closes the connection."""
    if sys.platform == "linux":  # else only one that has an answer to give would notice
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    connection, memory = Connection(int(sys.argv[1])), int(sys.argv[2])
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        options, stores = connection.recv()
        if stores:
            from . import remote

            remote.use_settings(stores)
        slots = _slots(memory, window_samples=options["window_samples"])
        connection.send(_READY)
        while True:
            request = connection.recv()
            if isinstance(request, tuple):
                connection.send(_called(*request))
            elif request != _TAKEN:  # of the last windows of a file
                connection.send(_decoded(WindowReader(request, **options), slots, connection))


def _called(function: Callable[[str], Any], path: str) -> Any:
    try:
        with unexpected_as_such(path):
            return function(path)
    except AudioError as exc:
        return _failed(exc)


def _decoded(reader: WindowReader, slots: NDArray[np.float32], connection: Connection) -> _End:
    waiting = 0  # windows that were not taken yet
    try:
        for number, window in enumerate(_expected(reader)):
            if waiting == _SLOTS:
                connection.recv()
                waiting -= 1
            slots[number % _SLOTS] = window.waveform
            connection.send((window.start_s, window.power))
            waiting += 1
    except AudioError as exc:
        return _failed(exc)
    return _End(reader.duration_s, reader.warning)


def _failed(error: AudioError) -> _End:
    return _End(
        reason=error.reason,
        may_pass=error.may_pass,
        is_unexpected=error.is_unexpected,
        is_stores=error.is_stores,
    )


def _expected(reader: WindowReader) -> Iterator[Window]:
    with unexpected_as_such(reader.path):
        yield from reader


@contextmanager
def unexpected_as_such(path: str) -> Iterator[None]:
    """An exception that is none of ours becomes an `AudioError` that says so."""
    try:
        yield
    except MusicSearchError:
        raise
    except Exception as exc:  # one odd file is no reason to stop a night's work
        raise AudioError(path, f"cannot be read ({exc!r})", is_unexpected=True) from exc


def _shared_memory() -> IO[bytes]:
    """An open file without a name, in memory where the system can."""
    return os.fdopen(os.memfd_create("windows"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


def _slots(memory: int, *, window_samples: int) -> NDArray[np.float32]:
    """float32 [_SLOTS, window_samples], which all who have this file open share."""
    size = _SLOTS * window_samples * np.dtype(np.float32).itemsize
    os.ftruncate(memory, size)
    return np.frombuffer(mmap.mmap(memory, size), np.float32).reshape(_SLOTS, window_samples)
