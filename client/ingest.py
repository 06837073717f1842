"""Adding files to a catalogue: find them, skip what is unchanged, embed in full batches, commit in groups."""

import hashlib
import logging
import os
import random
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .audio import AUDIO_EXTENSIONS, check_file
from .embedding import open_windows, track_vector
from .encoders import Encoder
from .errors import AudioError, QueryError, ServerBusy
from .index.catalogue import Catalogue, FileState, NewTrack

# A commit costs one or two fsyncs. What a crash loses is at most one such group.
_COMMIT_TRACKS = 32
_COMMIT_S = 2.0

# A full server refuses at once; a night's work waits for it, and ends only if it stays full.
_BUSY_LIMIT_S = 600.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FailedTrack:
    """A file that was not added, and why; if an earlier version of it is in the library, that stays."""

    path: str
    reason: str


@dataclass
class AddReport:
    """What `MusicSearch.add` did.

    Attributes:
        added: new tracks.
        updated: tracks whose file had changed, embedded again under their old track id.
        unchanged: tracks that were already here, wherever their file is now.
        failed: files that cannot be used.
        audio_s: length of the audio that was embedded.
        seconds: how long all of it took.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: list[FailedTrack] = field(default_factory=list)
    audio_s: float = 0.0
    seconds: float = 0.0


def find_audio(paths: Iterable[str | Path]) -> tuple[list[str], list[FailedTrack]]:
    """Absolute paths of the files named and of the audio files in the folders named, and unreadable folders.

    Symbolic links are followed, each real folder once, so a link to a parent ends; hidden entries are left out.
    """
    files: dict[str, None] = {}
    failed: list[FailedTrack] = []
    seen: set[str] = set()

    def note(error: OSError) -> None:
        failed.append(FailedTrack(_printable(str(error.filename)), f"cannot read the folder ({error.strerror})"))

    for path in paths:
        if not os.fspath(path):
            raise QueryError("got an empty path; name a file or a folder")
        start = os.path.abspath(os.path.expanduser(path))
        if not os.path.isdir(start):
            files[start] = None
            continue
        for folder, folders, names in os.walk(start, followlinks=True, onerror=note):
            real = os.path.realpath(folder)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS:
                    files[os.path.join(folder, name)] = None
    return list(files), failed


@dataclass(eq=False)
class _Pending:
    """A track between decoding and the catalogue."""

    file: FileState
    is_new: bool
    starts_s: list[float] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    duration_s: float | None = None  # None until its last window was decoded

    @property
    def is_complete(self) -> bool:
        return self.duration_s is not None and len(self.vectors) == len(self.starts_s)


class Ingest:
    """One run of adding files.

    Args:
        catalogue: the caller holds its `writing()`.
        lock: held around every use of the catalogue, for threads that search meanwhile.
    """

    def __init__(self, catalogue: Catalogue, encoder: Encoder, *, lock: AbstractContextManager[object]) -> None:
        self.report = AddReport()
        self._catalogue = catalogue
        self._encoder = encoder
        self._lock = lock
        self._batch: list[tuple[_Pending, NDArray[np.float32]]] = []
        self._pending: list[_Pending] = []
        self._committed_at = time.monotonic()

    def run(self, files: Iterable[str], *, advance: Callable[[], None]) -> None:
        """Add these files. However it ends (Ctrl-C, a server that goes away), finished tracks are kept."""
        started_at = time.monotonic()
        try:
            for path in files:
                try:
                    self._take(path)
                except AudioError as exc:
                    self.report.failed.append(FailedTrack(_printable(path), exc.reason))
                finished = sum(pending.is_complete for pending in self._pending)
                if finished >= _COMMIT_TRACKS or time.monotonic() - self._committed_at > _COMMIT_S:
                    self._commit()
                advance()
            self._embed()
        finally:
            self._commit()
            self.report.seconds = time.monotonic() - started_at

    def _take(self, path: str) -> None:
        try:
            path.encode()
        except UnicodeEncodeError as exc:
            raise AudioError(path, "its name is not valid UTF-8: rename it") from exc
        status = check_file(path)
        with self._lock:
            known = self._catalogue.by_path(path)
        if known and known.file.looks_like(status):
            self.report.unchanged += 1
            return
        file = FileState(path, status.st_size, status.st_mtime_ns, _hash_content(path))
        pending = _Pending(file, is_new=known is None)
        if not self._reuse(pending):
            self._decode(pending)

    def _reuse(self, pending: _Pending) -> bool:
        """Take what the catalogue already knows about this content; False if it knows nothing."""
        with self._lock:
            twins = self._catalogue.by_content(pending.file.content_sha256)
            for twin in twins:
                path, known_path = pending.file.path, twin.file.path
                if known_path == path or (pending.is_new and not os.path.exists(known_path)):
                    self._catalogue.touch(twin.track_id, pending.file)  # touched, or moved
                elif not (pending.is_new and os.path.samefile(known_path, path)):
                    continue
                self.report.unchanged += 1
                return True
            if not twins:
                return False
            starts_s, vectors = self._catalogue.windows(twins[0].label)
        pending.starts_s, pending.vectors = starts_s.tolist(), list(vectors)
        pending.metadata, pending.duration_s = twins[0].metadata, twins[0].duration_s
        self._pending.append(pending)
        return True

    def _decode(self, pending: _Pending) -> None:
        self._pending.append(pending)
        reader = open_windows(self._encoder, pending.file.path)
        try:
            for window in reader:
                pending.starts_s.append(window.start_s)
                self._batch.append((pending, window.waveform))
                if len(self._batch) >= self._encoder.batch_size:
                    self._embed()
        except AudioError:
            self._pending.remove(pending)
            raise
        pending.metadata, pending.duration_s = reader.metadata, reader.duration_s
        self.report.audio_s += reader.duration_s

    def _embed(self) -> None:
        if not self._batch:
            return
        vectors = self._embed_when_free(np.stack([waveform for _, waveform in self._batch]))
        for (pending, _), vector in zip(self._batch, vectors, strict=True):
            pending.vectors.append(vector)
        self._batch.clear()

    def _embed_when_free(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        give_up_at, pause_s = time.monotonic() + _BUSY_LIMIT_S, _FIRST_PAUSE_S
        while True:
            try:
                return self._encoder.embed_windows(waveforms)
            except ServerBusy as exc:
                left_s = give_up_at - time.monotonic()
                if pause_s > left_s:
                    raise
                log.warning("%s; waiting for up to %.0f s", exc, left_s)
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # those that were refused together come back apart
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _commit(self) -> None:
        complete = [pending for pending in self._pending if pending.is_complete]
        if not complete:
            return
        with self._lock:
            self._catalogue.put([_to_new_track(pending) for pending in complete])
        self._pending = [pending for pending in self._pending if not pending.is_complete]
        self.report.added += sum(pending.is_new for pending in complete)
        self.report.updated += sum(not pending.is_new for pending in complete)
        self._committed_at = time.monotonic()


def _to_new_track(pending: _Pending) -> NewTrack:
    assert pending.duration_s is not None
    windows = np.stack(pending.vectors)
    return NewTrack(
        file=pending.file,
        duration_s=pending.duration_s,
        vector=track_vector(windows),
        starts_s=np.array(pending.starts_s, np.float32),
        windows=windows,
        metadata=pending.metadata,
    )


def _hash_content(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise AudioError(path, f"cannot be read ({exc.strerror})") from exc


def _printable(path: str) -> str:
    """The path with bytes that are not UTF-8 shown as escapes, so that any terminal and JSON takes it."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
