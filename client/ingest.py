"""Adds files to a catalogue: skips unchanged files, decodes on every core, embeds full batches, commits in groups.

A track is identified by its sound, not by its tags or its path. Two existing files with the same sound are two tracks,
each with its own id, tags and annotations. The later one copies the vectors of the other. If the file of a track is
gone, or has another sound now, a file with the track's sound becomes this track. This also holds if another track was
at that file's path. That other track then moves to a file with its own sound. If there is none, its row is kept under a
name that no file has. A file is a new version of the track at its path only if no moved track has its sound and the
track itself has not moved. This is known only after all files were looked up, so such files come last.

For a file in a store, a hash of the sound would need a download. So the store's own information tells which files have
the same content (see `remote`). Files that were moved or copied in the store are recognised. A file with changed tags
is a new version.

Three kinds of threads pass tracks on through bounded queues, so memory grows neither with the length of a file nor with
that of the list. The decoder threads take one file after the other and cut it into windows (each with its own process,
see `decoders`). The embedder thread collects windows into batches across tracks. The caller's thread commits finished
tracks.
"""

import hashlib
import logging
import os
import queue
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .audio import look_at, look_first
from .container import has_pictures
from .cores import CORES
from .decoders import Decoder, Workers, unexpected_as_such
from .embedding import track_vectors
from .encoders import Encoder
from .errors import AudioError, MusicSearchError, ServerBusy, StoreError
from .index.fields import Value
from .index.records import FailedFile, FileState, NewTrack, TrackVectors
from .index.records import Track as StoredTrack
from .index.store import Store
from .packets import hash_packets
from .places import Status, beginning, is_there, is_url, name_of
from .tags import read_tags
from .walk import FailedTrack, Found, kind_of, printable

# A commit costs one or two fsyncs. A crash loses at most one such group.
_COMMIT_TRACKS = 32
_COMMIT_S = 2.0
# A server with a full queue refuses at once. The work waits for it, and fails only if the queue stays full.
_BUSY_LIMIT_S = 600.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_TELLING_FILES = 20  # if the first files all fail with the same unexpected error, so will the others
_UNANSWERED_FILES = 4  # give up after so many files in a row for which a store did not answer, each after retries
_POLL_S = 0.05  # how soon a waiting thread notices that all threads have to stop


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrackWarning:
    """A file that was added, and what of it could not be read: a part of the sound, or its lyrics."""

    path: str
    warning: str


@dataclass
class AddReport:
    """The result of `MusicSearch.add`.

    Attributes:
        added: new tracks.
        updated: tracks whose sound had changed. They were embedded again and keep their track id.
        unchanged: tracks that were already in the library, even if their file has moved.
        retagged: how many of the unchanged tracks have new tags, which were saved.
        missing: tracks whose files are gone from the folders that were added. They are marked, not removed. If the file
            of another track has taken the path of such a track, it is kept as "NAME (replaced)".
        failed: files that cannot be used, with those that failed before and have not changed since.
        warnings: files that were added or updated and cannot be decoded completely, and which part cannot; and files
            whose lyrics their store did not return.
        passed_over: how many other files are in the folders, by file extension: {".jpg": 12, ".mp4": 1}. Video files
            are counted here if they have video and `video` was not set.
        lyrics: how many of all these tracks have lyrics. None if lyrics were not asked for.
        audio_s: length of the tracks that were added or updated.
        seconds: how long the call took.
        decode_s: how long the decoders (one a core) worked.
        embed_s: how long the embedder worked, at the same time as the decoders.
        write_s: how long the writer worked, at the same time as the decoders.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    retagged: int = 0
    missing: int = 0
    failed: list[FailedTrack] = field(default_factory=list)
    warnings: list[TrackWarning] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)
    lyrics: int | None = None
    audio_s: float = 0.0
    seconds: float = 0.0
    decode_s: float = 0.0
    embed_s: float = 0.0
    write_s: float = 0.0


@dataclass(eq=False)
class _Track:
    """A file on its way from the disk to the catalogue."""

    path: str
    listed: Status | None = None  # from the listing of a store
    unless_video: bool = False  # skip the file if it has video
    size: int = -1
    mtime_ns: int = -1
    ctime_ns: int = 0
    content_hash: str = ""
    file_hash: str = ""  # of all its bytes, if some tracks in the catalogue have such a hash
    failure: str | None = None  # why it cannot be used
    may_pass: bool = False  # a retry may succeed
    warning: str = ""  # which part of it cannot be decoded
    is_unchanged: bool = False  # it is in the catalogue, so there is nothing to embed
    is_passed_over: bool = False  # it has video
    touch: str | None = None  # the id of its track, if the track's path, time, hash or tags have to be updated
    is_retagged: bool = False  # the tags have changed too
    is_new: bool = True
    former: StoredTrack | None = None  # the track at this path, if that has another sound
    starts_s: list[float] = field(default_factory=list)
    powers: list[float] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    copied: TrackVectors | None = None  # from a track with the same sound
    metadata: Mapping[str, Value] = field(default_factory=dict)
    duration_s: float = 0.0

    def see(self, status: Status) -> None:
        """Take the size and times that tell whether the file has changed."""
        self.size, self.mtime_ns, self.ctime_ns = status.st_size, status.st_mtime_ns, status.st_ctime_ns

    @property
    def file(self) -> FileState:
        return FileState(self.path, self.size, self.mtime_ns, self.content_hash, self.ctime_ns)

    @property
    def note(self) -> FailedFile | None:
        """A note for the catalogue: do not try the file again before it changes. None if a retry may succeed."""
        if self.failure is None or self.may_pass or self.size < 0:
            return None
        return FailedFile(self.path, self.size, self.mtime_ns, self.failure, self.ctime_ns)


_Window = NDArray[np.float32] | None  # None after a track's last one


class Unanswered:
    """Counts the files in a row for which a store did not answer.

    Args:
        then: the end of the error: what is kept, and what to do.
    """

    def __init__(self, *, then: str) -> None:
        self._then = then
        self._files = 0

    def note(self, error: AudioError | None) -> None:
        """Note how a file could be read.

        Raises:
            StoreError: there were too many in a row.
        """
        self._files = self._files + 1 if error is not None and error.is_stores else 0
        if self._files == _UNANSWERED_FILES:
            raise StoreError(
                f"{error}; the {_UNANSWERED_FILES - 1} files before it could not be read either. {self._then}"
            ) from error


class Ingest:
    """One run of adding files.

    Args:
        catalogue: the caller holds its `writing()`.
        encoder: the model.
        workers: where the decoders' processes come from.
        lock: held around every use of the catalogue, if other threads search meanwhile. None if there are none.
        retry: try files again that failed before, even if they look the same.
        windows: embed this many windows of each track. None embeds all (see `WindowReader`).
    """

    def __init__(
        self,
        catalogue: Store,
        encoder: Encoder,
        *,
        workers: Workers,
        lock: AbstractContextManager[object] | None = None,
        retry: bool = False,
        windows: int | None = None,
    ) -> None:
        self.report = AddReport()
        self._catalogue = catalogue
        self._encoder = encoder
        self._workers = workers
        self._windows = windows
        self._lock = lock or threading.RLock()
        # A changed file replaces the vectors of all models. Those of the model that searches use now must stay.
        self._is_current = catalogue.is_current()
        self._failed = {} if retry else {file.path: file for file in catalogue.failed()}
        self._knows_sounds = catalogue.knows_sounds()
        self._to_embed: queue.Queue[tuple[_Track, _Window] | None] = queue.Queue(2 * encoder.batch_size)
        self._done: queue.SimpleQueue[_Track | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._worked_s: defaultdict[str, float] = defaultdict(float)
        self._clock = threading.Lock()
        self._unanswered = Unanswered(then="Finished tracks are kept: run this again to continue")
        self._outcomes: list[str] = []  # of the first files that were read: "", or the unexpected error
        self._group: list[_Track] = []
        self._moved: set[str] = set()  # ids of tracks that one of the next commits moves to another path
        self._sounds: dict[tuple[str, int, int, int], Future[str]] = {}  # hashes of changed files, by path, size, times
        self._changed: queue.SimpleQueue[_Track] = queue.SimpleQueue()  # these files come last
        self._all_looked_up = threading.Barrier(CORES)
        self._committed_at = time.monotonic()

    def run(self, found: Found, *, advance: Callable[[float], None]) -> None:
        """Add these files. Finished tracks are kept even if Ctrl-C or a failing server ends the run."""
        started_at = time.monotonic()
        self.report.failed.extend(found.failed)
        self.report.passed_over.update(found.passed_over)
        tracks = _Shared(
            _Track(path, listed=status, unless_video=unless_video) for path, status, unless_video in found.listed()
        )
        spec = self._encoder.spec
        decoders = [
            Decoder(
                self._workers,
                sample_rate_hz=spec.sample_rate_hz,
                window_samples=spec.window_samples,
                windows=self._windows,
            )
            for _ in range(CORES)
        ]
        threads = [threading.Thread(target=self._guard, args=(self._decode, tracks, decoder)) for decoder in decoders]
        threads.append(threading.Thread(target=self._guard, args=(self._embed,)))
        try:
            for thread in threads:
                thread.start()
            while (track := self._done.get()) is not None:
                self._take(track)
                advance(0.0 if track.is_unchanged else track.duration_s)
            if self._error is not None:
                raise self._error
        finally:
            self._end()
            for decoder in decoders:
                decoder.stop()
            for thread in threads:
                if thread.ident is not None:  # it was started
                    thread.join()
            while not self._done.empty():
                if (track := self._done.get()) is not None:
                    self._take(track)
            self._commit()
            self.report.seconds = time.monotonic() - started_at
            for name, seconds in self._worked_s.items():
                setattr(self.report, name, seconds)
            for listing in found.listings:
                self.report.failed.extend(filter(None, [listing.failed]))
                for kind, files in listing.passed_over.items():
                    self.report.passed_over[kind] = self.report.passed_over.get(kind, 0) + files
        self._mark_missing(found)

    # -- the caller's thread ---------------------------------------------------------------------------

    def _take(self, track: _Track) -> None:
        if track.is_passed_over:
            kind = kind_of(track.path)
            self.report.passed_over[kind] = self.report.passed_over.get(kind, 0) + 1
            return
        self._group.append(track)
        if len(self._group) >= _COMMIT_TRACKS or time.monotonic() - self._committed_at > _COMMIT_S:
            self._commit()

    def _commit(self) -> None:
        failed = [track for track in self._group if track.failure is not None]
        made = [track for track in self._group if track.failure is None and not track.is_unchanged]
        touched = {track.touch: track for track in self._group if track.touch is not None and track.failure is None}
        with self._timed("write_s"), self._lock:
            files = {track_id: track.file for track_id, track in touched.items()}
            files |= self._driven_out(moving=files)
            if files:  # before `put`, which needs the rows with their new paths and hashes
                tags = {track_id: track.metadata for track_id, track in touched.items() if track.is_retagged}
                self._catalogue.touch(files, tags=tags)
            if made:
                self._catalogue.put([_to_new_track(track) for track in made])
            self._catalogue.note_failed([track.note for track in failed if track.note is not None])
        self.report.failed.extend(FailedTrack(printable(track.path), track.failure or "") for track in failed)
        self.report.warnings.extend(
            TrackWarning(printable(track.path), track.warning) for track in made if track.warning
        )
        self.report.unchanged += sum(track.is_unchanged for track in self._group)
        self.report.retagged += sum(track.is_unchanged and track.is_retagged for track in self._group)
        self.report.added += sum(track.is_new for track in made)
        self.report.updated += sum(not track.is_new for track in made)
        self.report.audio_s += sum(track.duration_s for track in made)
        self._group.clear()
        self._committed_at = time.monotonic()

    def _driven_out(self, *, moving: Mapping[str, FileState]) -> dict[str, FileState]:
        """By id, tracks that lose their path to a file of this group and are not moved by it, each with a free name.

        A later file with the same sound, in this run or another one, becomes this track, as with any track whose file
        is gone.
        """
        files: dict[str, FileState] = {}
        for track in self._group:
            if track.failure is None and track.former is not None and (track.is_new or track.touch is not None):
                there = self._catalogue.by_id(track.former.track_id)
                if there is not None and there.track_id not in moving and there.file.path == track.path:
                    files[there.track_id] = replace(there.file, path=self._free_name(track.path))
        return files

    def _free_name(self, path: str) -> str:
        """A name that no file has, for the track whose file was replaced."""
        names = (f"{path} (replaced{number})" for number in chain([""], map(" {}".format, count(2))))
        return next(name for name in names if self._catalogue.by_path(name) is None and not os.path.lexists(name))

    def _mark_missing(self, found: Found) -> None:
        there = set(found.files)
        with self._lock:
            failed = [file.path for file in self._catalogue.failed() if file.path not in there]
            for folder in found.folders:
                known = self._catalogue.below(folder)
                # A file that the walk found under another name still exists.
                gone = [number for number, path in known if path not in there and not os.path.exists(path)]
                self._catalogue.mark_missing(gone)
                self.report.missing += len(gone)
                below = [path for path in failed if path.startswith(os.path.join(folder, ""))]
                self._catalogue.forget_failed(path for path in below if not os.path.exists(path))
            for listing in found.listings:
                if listing.is_complete:
                    gone = [number for number, _ in listing.without(self._catalogue.below(listing.url))]
                    self._catalogue.mark_missing(gone)
                    self.report.missing += len(gone)
                    first = beginning(listing.url)
                    below = [path for path in failed if path.startswith(first)]
                    self._catalogue.forget_failed(path for _, path in listing.without(enumerate(below)))

    # -- the decoders ----------------------------------------------------------------------------------

    def _decode(self, tracks: "_Shared", decoder: Decoder) -> None:
        with closing(decoder):
            for track in tracks:
                if self._stop.is_set():
                    return
                self._decode_one(track, decoder, look=self._look_up)
            with suppress(threading.BrokenBarrierError):
                self._all_looked_up.wait()
            with suppress(queue.Empty):
                while not self._stop.is_set():
                    self._decode_one(self._changed.get_nowait(), decoder, look=self._settle)
        self._hand_on(None)

    def _decode_one(self, track: _Track, decoder: Decoder, *, look: Callable[[_Track, Decoder], bool]) -> None:
        try:
            with unexpected_as_such(track.path):
                with self._timed("decode_s"):
                    is_settled = look(track, decoder)
                if not is_settled:
                    self._changed.put(track)
                    return
                if not track.is_unchanged and not track.is_passed_over and track.copied is None:
                    self._cut(track, decoder)
                    self._note_outcome(None)
                    return
        except AudioError as exc:
            if self._stop.is_set():  # the stop may be the cause of the error
                raise _Stopped from exc
            self._note_outcome(exc)
            track.failure, track.may_pass = exc.reason, exc.may_pass
        self._done.put(track)

    def _note_outcome(self, error: AudioError | None) -> None:
        """Note whether a file could be read.

        Raises:
            MusicSearchError: the first files all failed with the same unexpected error, so the others would too.
            StoreError: a store stopped answering.
        """
        with self._clock:
            self._unanswered.note(error)
        reason = error.reason.replace(error.path, "...") if error is not None and error.is_unexpected else ""
        with self._clock:
            if len(self._outcomes) == _TELLING_FILES:
                return
            self._outcomes.append(reason)
            if reason and self._outcomes == _TELLING_FILES * [reason]:
                raise MusicSearchError(
                    f"the first {_TELLING_FILES} files all fail with the same error, so the installation is probably "
                    f"the cause: {reason}. Run `music-search doctor`, and check what you installed or upgraded last"
                )

    def _look_up(self, track: _Track, decoder: Decoder) -> bool:
        """Look this file up in the catalogue, by its path and times or by its sound.

        A file with the same size and times is not opened. For any other file the hash of the sound is compared. If it
        is known, only the tags are read. So only a new sound is embedded, whatever else has changed in the file.

        Returns:
            Whether the file is settled. If not, it is settled after all files were looked up.

        Raises:
            AudioError: the file cannot be used, or it failed before and has not changed.
        """
        try:
            track.path.encode()
        except UnicodeEncodeError as exc:
            raise AudioError(track.path, "its name is not valid UTF-8: rename it") from exc
        status = look_first(track.path, note=track.see, listed=track.listed)
        with self._lock:
            known = self._catalogue.by_path(track.path)
        track.is_new = known is None
        if known and known.label is not None and known.file.is_of(status):
            track.is_unchanged = True
            track.touch = known.track_id if known.is_missing else None
            track.content_hash = known.file.content_hash
            return True
        before = self._failed.get(track.path)
        if before and before.looks_like(status):
            raise AudioError(track.path, before.reason)
        if track.is_new and track.unless_video and decoder.call(has_pictures, track.path):
            track.is_passed_over = True
            return True
        if known is None:
            track.content_hash = hash_sound(track.path, status, decoder)
        elif known.file.knows_sound and known.file.looks_like(status):  # at most the tags have changed
            track.content_hash = known.file.content_hash
        else:
            track.content_hash = self._sound(track.path, status, decoder)
        if known and _is_same_sound(known.file, track, status):
            self._become(track, known, tags=decoder.call(read_tags, track.path))
        else:
            if known and not self._is_current:
                raise AudioError(track.path, "has changed since it was added: add it again first", may_pass=True)
            track.former = known
            if not self._look_for_moved(track, decoder) and known:
                return False
        if not track.is_unchanged:
            self._take_vectors(track, decoder)
        return True

    def _settle(self, track: _Track, decoder: Decoder) -> bool:
        """Handle a file whose sound no moved track has: a new version of its track, unless that track has moved."""
        with self._lock:
            track.is_new = track.former is not None and track.former.track_id in self._moved
        self._take_vectors(track, decoder)
        return True

    def _sound(self, path: str, status: Status, decoder: Decoder) -> str:
        """The hash of a file at a path that the catalogue knows. Several threads may ask for it. It is read once."""
        key = (path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        with self._clock:
            asked = key in self._sounds
            sound = self._sounds.setdefault(key, Future())
        if not asked:
            try:
                with unexpected_as_such(path):
                    sound.set_result(hash_sound(path, status, decoder))
            except BaseException as exc:
                sound.set_exception(exc)
        return sound.result()

    def _twins(self, track: _Track) -> list[StoredTrack]:
        """All tracks with this sound. The caller holds the lock."""
        return [
            twin
            for known in (track.content_hash, track.file_hash)
            if known
            for twin in self._catalogue.by_content(known)
        ]

    def _look_for_moved(self, track: _Track, decoder: Decoder) -> bool:
        """Make the file the track that has this sound and whose own file is gone or changed, if there is one."""
        if not self._knows_sounds and not is_url(track.path):
            track.file_hash = _hash_file(track.path)
        with self._lock:
            twins = self._twins(track)
        if track.is_new and any(_is_same_file(twin.file.path, track.path) for twin in twins):
            track.is_unchanged = True  # it is in the catalogue under its other name
            return True
        moved = [twin for twin in twins if twin.track_id not in self._moved and self._has_moved(twin, decoder)]
        if not moved:
            return False
        tags, name = decoder.call(read_tags, track.path), name_of(track.path)
        with self._lock:
            free = [twin for twin in moved if twin.track_id not in self._moved]
            if not free:
                return False
            best = max(free, key=lambda twin: (twin.tags == tags) + (name_of(twin.file.path) == name))
            self._moved.add(best.track_id)
        track.is_new = False
        self._become(track, best, tags=tags)
        return True

    def _has_moved(self, known: StoredTrack, decoder: Decoder) -> bool:
        """Whether the file at a track's path is gone, or has another sound."""
        file = known.file
        try:
            if not is_there(file.path):
                return True
        except StoreError as exc:  # without an answer, a copied file and a moved file look the same
            raise AudioError(file.path, str(exc), is_stores=True) from exc
        try:
            status = look_at(file.path)
            if file.looks_like(status):
                return False
            is_known = file.knows_sound or is_url(file.path)
            sound = self._sound(file.path, status, decoder) if is_known else _hash_file(file.path)
        except AudioError as exc:  # it cannot be compared, so it counts as not moved
            if exc.is_stores:
                raise AudioError(file.path, str(exc), is_stores=True) from exc
            if self._stop.is_set():
                raise
            return False
        return sound != file.content_hash

    def _take_vectors(self, track: _Track, decoder: Decoder) -> None:
        """Copy the vectors of a track with the same sound, if there is one."""
        with self._lock:  # so that nobody changes them meanwhile
            twin = next((twin for twin in self._twins(track) if twin.label is not None), None)
            if twin is None or twin.label is None:
                return
            track.copied = TrackVectors(self._catalogue.vector(twin.label), *self._catalogue.windows(twin.label))
        track.metadata = decoder.call(read_tags, track.path)
        track.duration_s, track.warning = twin.duration_s, twin.warning

    def _become(self, track: _Track, known: StoredTrack, *, tags: Mapping[str, Value]) -> None:
        """Make the file this track of the catalogue, which has the same sound. Changes of the file are noted."""
        track.is_unchanged = known.label is not None
        track.metadata = tags
        track.is_retagged = track.metadata != known.tags
        if track.is_retagged or known.is_missing or known.file != track.file:
            track.touch = known.track_id

    def _cut(self, track: _Track, decoder: Decoder) -> None:
        track.metadata = decoder.call(read_tags, track.path)
        windows = decoder.windows(track.path)
        while True:
            with self._timed("decode_s"):
                window = next(windows, None)
            if window is None:
                track.duration_s, track.warning = decoder.duration_s, decoder.warning
                self._hand_on((track, None))
                return
            track.starts_s.append(window.start_s)
            track.powers.append(window.power)
            self._hand_on((track, window.waveform))

    def _hand_on(self, part: tuple[_Track, _Window] | None) -> None:
        while True:
            if self._stop.is_set():
                raise _Stopped
            with suppress(queue.Full):
                self._to_embed.put(part, timeout=_POLL_S)
                return

    # -- the embedder ----------------------------------------------------------------------------------

    def _embed(self) -> None:
        batch: list[tuple[_Track, _Window]] = []
        windows, decoding = 0, CORES
        while decoding:
            part = self._take_part()
            if part is None:
                decoding -= 1
            elif part[1] is None and len(part[0].vectors) == len(part[0].starts_s):
                self._done.put(part[0])
            else:
                batch.append(part)
                windows += part[1] is not None
            if windows == self._encoder.batch_size or not decoding:
                self._embed_batch(batch)
                batch, windows = [], 0
        self._done.put(None)

    def _take_part(self) -> tuple[_Track, _Window] | None:
        while True:
            if self._stop.is_set():
                raise _Stopped
            with suppress(queue.Empty):
                return self._to_embed.get(timeout=_POLL_S)

    def _embed_batch(self, batch: Sequence[tuple[_Track, _Window]]) -> None:
        """Embed the windows of a batch. The None after a track's last window sends the track on."""
        waveforms = [window for _, window in batch if window is not None]
        with self._timed("embed_s"):
            vectors = iter(self._embed_when_free(np.stack(waveforms)) if waveforms else ())
        for track, window in batch:
            if window is None:
                self._done.put(track)
            else:
                track.vectors.append(next(vectors))

    def _embed_when_free(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        def pause(seconds: float) -> None:
            if _wait(self._stop, seconds):
                raise _Stopped

        return embed_when_free(self._encoder, waveforms, pause=pause)

    # -- all of them -----------------------------------------------------------------------------------

    def _guard(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run a thread's work. An error in it ends all threads, and the caller gets it."""
        try:
            work(*arguments)
        except _Stopped:
            pass
        except BaseException as exc:
            self._error = self._error or exc
            self._end()
            self._done.put(None)

    def _end(self) -> None:
        """Stop all threads."""
        self._stop.set()
        self._all_looked_up.abort()

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started_at = time.monotonic()
        try:
            yield
        finally:
            with self._clock:
                self._worked_s[what] += time.monotonic() - started_at


def embed_when_free(
    encoder: Encoder, waveforms: NDArray[np.float32], *, pause: Callable[[float], None] = time.sleep
) -> NDArray[np.float32]:
    """Do `Encoder.embed_windows`, and retry while the server's queue is full.

    Args:
        encoder: the model.
        waveforms: see `Encoder.embed_windows`.
        pause: waits for this many seconds.

    Raises:
        EncoderError: the model or its server failed.
        ServerBusy: the queue was full for ten minutes.
    """
    give_up_at, pause_s = time.monotonic() + _BUSY_LIMIT_S, _FIRST_PAUSE_S
    while True:
        try:
            return encoder.embed_windows(waveforms)
        except ServerBusy as exc:
            left_s = give_up_at - time.monotonic()
            if pause_s > left_s:
                raise
            log.warning("%s; waiting for up to %.0f s", exc, left_s)
        # Random jitter, so that callers that were refused together do not retry together.
        pause(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class _Stopped(BaseException):
    """Another thread ended the run. It is a BaseException, so that no `except Exception` catches it as an error."""


class _Shared(Iterator[_Track]):
    """An iterator that several threads take from."""

    def __init__(self, items: Iterable[_Track]) -> None:
        self._items = iter(items)
        self._lock = threading.Lock()

    def __next__(self) -> _Track:
        with self._lock:
            return next(self._items)


def _wait(stop: threading.Event, seconds: float) -> bool:
    """Whether the event was set meanwhile."""
    return stop.wait(seconds)


def _to_new_track(track: _Track) -> NewTrack:
    vectors = track.copied or track_vectors(np.stack(track.vectors), starts_s=track.starts_s, powers=track.powers)
    return NewTrack(track.file, track.duration_s, vectors, track.metadata, track.warning)


def hash_sound(path: str, status: Status, decoder: Decoder) -> str:
    """A hash that is equal for files with the same sound. A store gives one that is equal for the same content."""
    stored = getattr(status, "content_hash", None)
    return decoder.call(hash_packets, path) if stored is None else str(stored)


def _is_same_sound(known: FileState, track: _Track, status: Status) -> bool:
    """Whether the file still has the sound of the track at this path."""
    if known.knows_sound or is_url(track.path):
        return known.content_hash == track.content_hash
    return known.looks_like(status) or known.content_hash == _hash_file(track.path)


def _is_same_file(path: str, other: str) -> bool:
    """Whether both paths are the same file, for example through a link. False if one of them is gone."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _hash_file(path: str) -> str:
    """SHA-256 of all its bytes."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise AudioError(path, f"cannot be read ({exc.strerror})", may_pass=True) from exc
