"""Decodes many files in separate processes, so that FFmpeg and the GIL do not block other threads.

Decoding returns to Python for every frame. In two threads of one process it takes up to 1.7 times as long as in two
processes, because of the GIL. And if FFmpeg crashes on a file, it would end the whole process.
"""

import ctypes
import logging
import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
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

_SLOTS = 2  # windows in shared memory: one process writes a window while the other reads the one before
_READY, _TAKEN = b"ready", b"taken"
_COMMAND = "from client.decoders import main; main()"
_START_S = 30.0  # a start usually takes 0.3 s
_PING_S = 1.0
_SILENT_S = 600.0  # a window takes milliseconds, and a hash of 5 GB on a slow disk some minutes
_ENDED_FROM_OUTSIDE = (-signal.SIGTERM, -signal.SIGKILL)  # SIGKILL also comes from the out-of-memory killer
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_Said = TypeVar("_Said")

log = logging.getLogger(__name__)


class _End(NamedTuple):
    """The answer after a file's last window.

    Attributes:
        duration_s: see `WindowReader`.
        warning: see `WindowReader`.
        reason: why the file cannot be used. None if it can.
        may_pass: see `AudioError`.
        is_unexpected: see `AudioError`.
        is_stores: see `AudioError`.
    """

    duration_s: float = 0.0
    warning: str = ""
    reason: str | None = None
    may_pass: bool = False
    is_unexpected: bool = False
    is_stores: bool = False


class Workers:
    """Starts the worker processes of decoders, and keeps one of them for the next decoder.

    A start takes 0.3 s, which is most of the time of adding one file. So one process is kept, not one for each core.
    """

    def __init__(self) -> None:
        self._kept: _Process | None = None
        self._lock = threading.Lock()

    def take(self, options: dict[str, Any]) -> "_Process":
        """The kept process if it has these options and answers, else a new one.

        Raises:
            OSError: no process starts.
        """
        settings = pickle.dumps((options, _store_settings()))
        kept = self._taken()
        if kept is not None:
            if kept.settings == settings and kept.answers():
                return kept
            kept.end(patience_s=0.0)
        return _Process(settings, window_samples=options["window_samples"])

    def keep(self, process: "_Process") -> None:
        """Keep a process that waits for a file, or end it if one is kept already."""
        with self._lock:
            if self._kept is None:
                self._kept = process
                return
        process.end(patience_s=0.0)

    def close(self) -> None:
        """End the kept process."""
        if (kept := self._taken()) is not None:
            kept.end(patience_s=0.0)

    def _taken(self) -> "_Process | None":
        with self._lock:
            kept, self._kept = self._kept, None
        # After a fork it still belongs to the parent.
        return kept if kept is not None and kept.parent == os.getpid() else None


class Decoder:
    """Decodes one file after the other in a worker process, or in this process if no worker can be started.

    The worker process is taken with the first file.

    Args:
        workers: where the worker process comes from, and where it is left.
        sample_rate_hz: see `WindowReader`.
        window_samples: see `WindowReader`.
        windows: see `WindowReader`.

    Attributes:
        duration_s: of the last file, after all of its windows were read. See `WindowReader`.
        warning: of the last file, after all of its windows were read. See `WindowReader`.
    """

    def __init__(self, workers: Workers, *, sample_rate_hz: int, window_samples: int, windows: int | None) -> None:
        self.duration_s, self.warning = 0.0, ""
        self._workers = workers
        self._options: dict[str, Any] = {
            "sample_rate_hz": sample_rate_hz,
            "window_samples": window_samples,
            "windows": windows,
        }
        self._process: _Process | None = None
        self._may_stay = False  # the process waits for a file, and nothing odd has happened in it
        self._is_stopped = False
        self._may_start = os.name == "posix" and can_start_python()  # Windows does not pass open files to a process

    def windows(self, path: str) -> Generator[Window, None, None]:
        """The windows of a file. Read all of them, or close the generator, before you ask for another file.

        Raises:
            AudioError: the file cannot be used. See `WindowReader`.
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
        """Call a function of this package on a file in the worker process, because it opens the file with FFmpeg too.

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
        """The worker process for this file. None if it has to be read in this process."""
        if is_url(path):
            with needing_extra():
                from . import remote
            if remote.is_in_this_process(path):
                return None
        if self._process is None and self._may_start:
            try:
                self._process = self._workers.take(self._options)
            except OSError as exc:
                self._may_start = False
                log.warning("decoding continues in one process, which is slower: %s", exc)
        return self._process

    @contextmanager
    def _noticing_its_end(self, path: str, process: "_Process") -> Iterator[None]:
        self._may_stay = False
        try:
            yield
            self._may_stay = True
        except AudioError as exc:
            self._may_stay = not exc.is_unexpected
            raise
        except GeneratorExit:  # the process would still send windows of this file
            if self._process is process:
                self.close()
            raise
        except TimeoutError as exc:
            self.close()
            raise AudioError(path, f"decoding made no progress for {_SILENT_S:.0f} s and was stopped") from exc
        except (OSError, EOFError) as exc:
            code = process.end()
            self._process = None
            reason = f"the decoding process ended with {_named(code)}: the file is damaged, or memory ran out"
            raise AudioError(path, reason, may_pass=code in _ENDED_FROM_OUTSIDE) from exc

    def stop(self) -> None:
        """Kill the worker process. Another thread that is reading gets an `AudioError`."""
        self._is_stopped = True
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Leave the worker process to the next decoder if it may stay, else end it."""
        if self._process is not None:
            if self._may_stay and not self._is_stopped:
                self._workers.keep(self._process)
            else:
                self._process.end(patience_s=0.0)
            self._process = None


class _Process:
    """A worker process. It answers a path with the windows of that file.

    Raises:
        OSError: it does not start.
    """

    def __init__(self, settings: bytes, *, window_samples: int) -> None:
        self.settings = settings
        self.parent = os.getpid()
        self._connection, other_end = Pipe()
        with _shared_memory() as memory, other_end:
            self._slots = _slots(memory.fileno(), window_samples=window_samples)
            files = (other_end.fileno(), memory.fileno())
            self._process = subprocess.Popen(
                python_command(_COMMAND, *map(str, files)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # else NumPy starts threads that are never used
                pass_fds=files,
                start_new_session=True,  # so that Ctrl-C only reaches the parent
            )
        try:
            self._connection.send_bytes(settings)
            if self._connection.poll(_START_S):
                self._connection.recv()
                return
        except (OSError, EOFError) as exc:
            raise OSError(f"{sys.executable} ended with {_named(self.end())}") from exc
        self.end(patience_s=0.0)
        raise OSError(f"{sys.executable} has not answered for {_START_S:.0f} s")

    def answers(self) -> bool:
        """Whether it still works. A process that was just killed may look alive, but does not answer."""
        try:
            return bool(self.call(str, "answer", within_s=_PING_S))
        except (OSError, EOFError):
            return False

    def windows(self, path: str) -> Generator[Window, None, _End]:
        """The windows of a file, and the final answer after the last one.

        Raises:
            AudioError: the file cannot be used.
            OSError: the process has ended.
            EOFError: the process has ended.
            TimeoutError: it hangs.
        """
        self._connection.send(path)
        number = 0
        while True:
            answer: _End | tuple[float, float] = self._answer()
            if not isinstance(answer, _End):
                waveform = self._slots[number % _SLOTS].copy()
                self._connection.send(_TAKEN)
                start_s, power = answer
                number += 1
                yield Window(start_s, waveform, power)
            else:
                _raise_if_bad(answer, path)
                return answer

    def call(self, function: Callable[[str], Any], path: str, *, within_s: float | None = None) -> Any:
        """Do `Decoder.call`.

        Raises:
            OSError: the process has ended.
            EOFError: the process has ended.
            TimeoutError: it hangs.
        """
        self._connection.send((function, path))
        answer = self._answer(within_s)
        if isinstance(answer, _End):
            _raise_if_bad(answer, path)
        return answer

    def _answer(self, within_s: float | None = None) -> Any:
        if not self._connection.poll(_SILENT_S if within_s is None else within_s):
            raise TimeoutError
        return self._connection.recv()

    def kill(self) -> None:
        self._process.kill()

    def end(self, *, patience_s: float = 1.0) -> int:
        """End the process, by a kill if needed. Returns its exit status, or the negative number of a signal."""
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
    """The settings that the worker needs to open the stores that this process uses. Empty if it uses none."""
    if f"{__package__}.remote" not in sys.modules:
        return {}
    from . import remote

    return remote.settings()


def _named(code: int) -> str:
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name


def main() -> None:
    """The worker's program. It runs until the parent ends or closes the connection."""
    if sys.platform == "linux":  # else a worker only notices the parent's end when it sends an answer
        _end_with_parent()
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
            elif request != _TAKEN:  # _TAKEN still comes for the last windows of a file
                connection.send(_decoded(WindowReader(request, **options), slots, connection))


def _end_with_parent() -> None:
    """End this process when its parent does. The kernel also gives the signal when only the starting thread ends."""
    parent = os.getppid()

    def end(*_: object) -> None:
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGUSR1, end)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)


def _called(function: Callable[[str], Any], path: str) -> Any:
    try:
        with unexpected_as_such(path):
            return function(path)
    except AudioError as exc:
        return _failed(exc)


def _decoded(reader: WindowReader, slots: NDArray[np.float32], connection: Connection) -> _End:
    waiting = 0  # windows that the parent has not taken yet
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
    """Turn an exception that is not ours into an `AudioError` with `is_unexpected`."""
    try:
        yield
    except MusicSearchError:
        raise
    except Exception as exc:  # one odd file must not stop the whole run
        raise AudioError(path, f"cannot be read ({exc!r})", is_unexpected=True) from exc


def _shared_memory() -> IO[bytes]:
    """An open file without a name. It is in memory if the system supports that."""
    return os.fdopen(os.memfd_create("windows"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


def _slots(memory: int, *, window_samples: int) -> NDArray[np.float32]:
    """float32 [_SLOTS, window_samples]. All processes that have this file open share it."""
    size = _SLOTS * window_samples * np.dtype(np.float32).itemsize
    os.ftruncate(memory, size)
    return np.frombuffer(mmap.mmap(memory, size), np.float32).reshape(_SLOTS, window_samples)
