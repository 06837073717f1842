"""The stages of the pipeline; Ray Data gives each a table of tracks, and it returns a table of the same tracks.

The stages use the same code as `add`: `Decoder`, `Encoder` and `track_vectors`. A `Decoder` has its own process, so a
file may crash it without ending the stage.

If a machine is lost, Ray makes its tables again. They must have the same rows as before, or tracks would be stored
twice or never. So no stage drops a row. A file that cannot be used passes through all stages with its reason.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..audio import look_first
from ..container import has_pictures
from ..decoders import Decoder, Workers, unexpected_as_such
from ..embedding import track_vectors
from ..encoders import Encoder, EncoderSpec, open_encoder
from ..errors import AudioError, ServerMismatch
from ..index.records import FailedFile, FileState, NewTrack, TrackVectors, to_blob, to_json
from ..ingest import Unanswered, embed_when_free, hash_sound
from ..places import Status
from ..tags import read_tags
from ..walk import kind_of, printable
from .output import Output

_MOST_BYTES = 1 << 30  # of a file's windows, which are in memory together: 4.7 hours at 16 kHz

# Size and time as a store's listing tells them; -1 and 0 where no listing does.
FILES = pa.schema({"path": pa.string(), "unless_video": pa.bool_(), "size": pa.int64(), "mtime_ns": pa.int64()})

_FACTS = {
    "path": pa.string(),
    **dict.fromkeys(("size", "mtime_ns", "ctime_ns"), pa.int64()),
    "content_hash": pa.string(),
    "duration_s": pa.float64(),
    "metadata": pa.string(),
    "warning": pa.string(),
    "reason": pa.string(),  # why the file cannot be used, or null
    "may_pass": pa.bool_(),
    "is_passed_over": pa.bool_(),
}
_CUT = pa.schema({**_FACTS, **dict.fromkeys(("starts_s", "powers"), pa.list_(pa.float64()))})
_DECODED = _CUT.append(pa.field("waveforms", pa.large_binary()))  # float32 [windows, window_samples]
_EMBEDDED = pa.schema({**_FACTS, "vector": pa.binary(), "starts_s": pa.binary(), "windows": pa.binary()})
_NOTHING: dict[str, Any] = {
    **{"size": -1, "mtime_ns": 0, "ctime_ns": 0, "content_hash": "", "duration_s": 0.0, "metadata": "{}"},
    **{"warning": "", "reason": None, "may_pass": False, "is_passed_over": False},
    **{"starts_s": [], "powers": []},
}


class Decode:
    """Decodes files into windows: takes rows of `FILES`, gives rows of `_DECODED`.

    All windows of a table are in memory together, once. A file with more than `_MOST_BYTES` of them is refused.

    Raises:
        StoreError: on a call, if a store did not answer for several files in a row.
    """

    def __init__(self, *, spec: EncoderSpec, windows: int | None) -> None:
        self._decoder = Decoder(
            Workers(), sample_rate_hz=spec.sample_rate_hz, window_samples=spec.window_samples, windows=windows
        )
        self._most_windows = _MOST_BYTES // (spec.window_samples * np.dtype(np.float32).itemsize)
        self._unanswered = Unanswered(then="Written tracks are kept: run the same command again to continue")

    def __call__(self, files: pa.Table) -> pa.Table:
        waveforms, ends = bytearray(), [0]  # one buffer of all tracks, so that Arrow takes it without a copy
        rows = []
        for file in files.to_pylist():
            rows.append(self._decode(waveforms, **file))
            ends.append(len(waveforms))
        buffers = [None, pa.py_buffer(np.array(ends, np.int64)), pa.py_buffer(waveforms)]
        column = pa.Array.from_buffers(pa.large_binary(), len(rows), buffers)
        return pa.Table.from_pylist(rows, _CUT).append_column(_DECODED.field("waveforms"), column)

    def _decode(self, waveforms: bytearray, path: str, unless_video: bool, size: int, mtime_ns: int) -> dict[str, Any]:
        row: dict[str, Any] = {**_NOTHING, "path": path, "size": size, "mtime_ns": mtime_ns}
        begin = len(waveforms)
        try:
            with unexpected_as_such(path):
                status = look_first(path, note=partial(_note, row))
                if unless_video and self._decoder.call(has_pictures, path):
                    return row | {"is_passed_over": True}
                row["content_hash"] = hash_sound(path, status, self._decoder)
                row["metadata"] = to_json(self._decoder.call(read_tags, path))
                row |= self._cut(path, waveforms)
        except AudioError as exc:
            del waveforms[begin:]
            self._unanswered.note(exc)
            return row | {"reason": exc.reason, "may_pass": exc.may_pass}
        self._unanswered.note(None)
        return row

    def _cut(self, path: str, waveforms: bytearray) -> dict[str, Any]:
        """Append the windows of a file to `waveforms`."""
        starts_s: list[float] = []
        powers: list[float] = []
        with closing(self._decoder.windows(path)) as windows:
            for window in windows:
                if len(starts_s) == self._most_windows:
                    raise self._too_long(path, at_least_s=window.start_s)
                starts_s.append(window.start_s)
                powers.append(window.power)
                waveforms.extend(to_blob(window.waveform))
        return {
            "duration_s": self._decoder.duration_s,
            "warning": self._decoder.warning,
            "starts_s": starts_s,
            "powers": powers,
        }

    def _too_long(self, path: str, *, at_least_s: float) -> AudioError:
        return AudioError(
            path,
            f"longer than {at_least_s / 3600:.1f} h, too long to hold all of its windows in memory: give --windows N, "
            f"at most {self._most_windows}, or use `music-search add`",
            may_pass=True,  # with --windows
        )


def _note(row: dict[str, Any], status: Status) -> None:
    row.update(size=status.st_size, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns)


class Embed:
    """Embeds windows into vectors: takes rows of `_DECODED`, gives rows of `_EMBEDDED`.

    Args:
        encoder: see `open_encoder`.
        device: see `open_encoder`.
        spec: the spec of the model with which the run was started.

    Raises:
        EncoderError: on a call, if there is no such model on this machine, or its server failed.
        ServerMismatch: on a call, if the model on this machine has another spec.
    """

    def __init__(self, *, encoder: str | None, device: str, spec: EncoderSpec) -> None:
        self._name, self._device, self._spec = encoder, device, spec

    @cached_property
    def _encoder(self) -> Encoder:
        # Not opened by the constructor: Ray tries that again after an error, and prints it with its traceback.
        opened = open_encoder(self._name, device=self._device)
        if opened.spec != self._spec:
            raise ServerMismatch(
                f"{self._name or 'the model that comes with MusicSearch'} is {opened.spec.model_name} "
                f"({opened.spec.fingerprint}) on one machine, but {self._spec.model_name} ({self._spec.fingerprint}) "
                "where the run was started: give all machines the same model"
            )
        return opened

    def __call__(self, tracks: pa.Table) -> pa.Table:
        rows = tracks.select(_CUT.names).to_pylist()
        made: list[list[NDArray[np.float32]]] = [[] for _ in rows]
        batch: list[tuple[int, NDArray[np.float32]]] = []
        for place, waveform in self._windows(tracks.column("waveforms")):  # batches span tracks, so that they are full
            batch.append((place, waveform))
            if len(batch) == self._encoder.batch_size:
                self._embed(batch, made)
                batch.clear()
        if batch:
            self._embed(batch, made)
        return pa.Table.from_pylist(list(map(_embedded, rows, made)), _EMBEDDED)

    def _windows(self, waveforms: pa.ChunkedArray) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Each window, with the index of its row. One row is copied at a time, from memory that processes share."""
        for place, waveform in enumerate(waveforms):
            windows = np.frombuffer(waveform.as_buffer(), "<f4").reshape(-1, self._encoder.spec.window_samples)
            yield from ((place, window) for window in windows)

    def _embed(self, batch: list[tuple[int, NDArray[np.float32]]], made: list[list[NDArray[np.float32]]]) -> None:
        vectors = embed_when_free(self._encoder, np.stack([waveform for _, waveform in batch]))
        for (place, _), vector in zip(batch, vectors, strict=True):
            made[place].append(vector)


def _embedded(row: dict[str, Any], vectors: list[NDArray[np.float32]]) -> dict[str, Any]:
    facts = {name: row[name] for name in _FACTS}
    if not vectors:
        return facts | {"vector": None, "starts_s": None, "windows": None}
    track = track_vectors(np.stack(vectors), starts_s=row["starts_s"], powers=row["powers"])
    blobs = (to_blob(track.vector), to_blob(track.starts_s), to_blob(track.windows))
    return facts | dict(zip(("vector", "starts_s", "windows"), blobs, strict=True))


class Write:
    """Writes tracks to the output: takes rows of `_EMBEDDED`, gives the result of each as a JSON object."""

    def __init__(self, *, output: Output, dim: int) -> None:
        self._output = output
        self._dim = dim

    def __call__(self, tracks: pa.Table) -> pa.Table:
        rows = tracks.to_pylist()
        made = [self._new_track(row) for row in rows if row["vector"] is not None]
        failed = [_failed(row) for row in rows if row["reason"] is not None and not row["may_pass"]]
        if made or failed:
            self._output.write(made, failed=failed, group=[row["path"] for row in rows])
        return pa.table({"told": [json.dumps(_told(row)) for row in rows]})

    def _new_track(self, row: dict[str, Any]) -> NewTrack:
        vector, starts_s, windows = (np.frombuffer(row[name], "<f4") for name in ("vector", "starts_s", "windows"))
        file = FileState(row["path"], row["size"], row["mtime_ns"], row["content_hash"], row["ctime_ns"])
        vectors = TrackVectors(vector, starts_s, windows.reshape(-1, self._dim))
        return NewTrack(file, row["duration_s"], vectors, json.loads(row["metadata"]), row["warning"])


def _failed(row: dict[str, Any]) -> FailedFile:
    return FailedFile(row["path"], row["size"], row["mtime_ns"], row["reason"], row["ctime_ns"])


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """The result of a track; kept small, because one machine gets the results of all tracks."""
    if row["is_passed_over"]:
        return {"passed_over": kind_of(row["path"])}
    path = printable(row["path"])
    if row["reason"] is not None:
        return {"path": path, "reason": row["reason"]}
    told = {"audio_s": row["duration_s"]}
    return told | {"path": path, "warning": row["warning"]} if row["warning"] else told
