"""A library in Milvus, for more tracks than one machine holds, or for many machines that search the same tracks.

    milvus://host:19530/collection       a server or cluster, Milvus 2.3 or newer; milvuss:// over TLS
    milvus:///folder/file.db             a Milvus Lite file, for development and tests

A track is one entity of the collection (see `milvus_entities`). An upsert replaces it as a whole, so its vectors and
its metadata are always consistent. Its primary key is the track id. Its label, by which the rest of the client knows
it, is the same id as a number. Data of the whole library (texts for measuring it, files that failed) is in a second
collection. The model is a property of the first collection.

The name in the address is an alias of the collection. The collection's own name comes from the library and its model's
fingerprint. A library changes its model by a switch of the alias (see `milvus_beside`). An open library uses the
collection that the alias meant when it was opened. After a switch it still searches there, but refuses to write.

Consistency: searches and look-ups use the level Session. It sees everything that this process has written and waits for
nothing else. Writes of others become visible when the server has passed them on, usually within a second. Reads on
which a write depends, and reads of all tracks, use the level Strong, which sees every acknowledged write. Milvus has no
lock, so there may be two writers. If both write one track, the last one wins.

Differences from a library in a folder: `recall` sets how widely the graph is searched, but is not measured on the
library's own vectors. A search finds at most 16,384 tracks. Metadata and annotations of a track may take 65,536 bytes
each, and have 4,096 values. Tracks are written in groups of as many as fit into one request.

A server indexes vectors some time after they arrive. Until then it searches them with a coarse index, which misses
tracks: with a rare filter, most of them. So `add`, copies and imports end with a flush. Then the server indexes at
once.

Milvus Lite opens a file for one process at a time, until that process ends. It has no consistency levels, because
nothing in it can lag. It has no index for arrays, so a filter reads every track, which is slow beyond some thousands.
Milvus 2.3 has no such index either.
"""

import logging
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient, MilvusException
from pymilvus.exceptions import ErrorCode

from ..errors import LibraryError, QueryError
from ..packets import PREFIX
from ..places import absolute, beginning
from .exact import Found
from .fields import Value, check_metadata, folded, read_annotations, read_where, unknown_field
from .milvus_entities import (
    EVERYTHING,
    FACTS,
    NOTES_INDEXES,
    TRACKS_INDEXES,
    among,
    content,
    from_properties,
    is_id,
    is_warned,
    notes_schema,
    put_file,
    quoted,
    size_of,
    term,
    to_filter,
    to_id,
    to_label,
    to_properties,
    to_row,
    to_track,
    to_window_blobs,
    to_windows,
    tracks_schema,
    with_fields,
)
from .names import EXACT, MOST_CANDIDATES
from .recall import Recall
from .records import FailedFile, FileState, Model, NewTrack, Track, TrackVectors, check_vectors, has_gone_over

if TYPE_CHECKING:
    from .milvus_beside import MilvusBeside

TOKEN = "MUSICSEARCH_MILVUS_TOKEN"
"""Environment variable with "user:password" or an API key, for servers that ask for one."""

_FAILURES = (MilvusException, grpc.RpcError, grpc.FutureTimeoutError)
_CONNECT_S = 10.0
_CALL_S = 60.0
_LOAD_S = 600.0  # the servers load a large collection into memory
_MOST_FOUND = 16_384
_REQUEST_BYTES = 16 << 20  # a server takes 64 MiB
_ROWS = 1_000  # rows of one read
_WHOLE_ROWS = 128  # rows of one read that includes windows
_FINGERPRINT_DIGITS = 12  # of a model, in the name of a collection
_INDEXED_S = 3_600.0  # after which a switch to another model waits no longer
_OLDEST = (2, 3)  # arrays, JSON and upsert
_INVERTED = (2, 4)  # has an index for arrays, and INVERTED
# What sets how widely a search looks, by the first part of the index's type; other types have no such setting.
_WIDTHS = {"HNSW": "ef", "DISKANN": "search_list", "IVF": "nprobe", "SCANN": "nprobe"}
_Item = TypeVar("_Item")

# These loggers would print errors that are raised here anyway.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)


class _Address(NamedTuple):
    """The address of a library: the URI that pymilvus connects to, and the collection there."""

    uri: str
    collection: str
    file: Path | None


class MilvusStore:
    """An open library in Milvus; `Catalogue` documents the methods.

    Args:
        uri: the address, as described at the top of this module.
        create: the model of a new library; None opens only an existing library.

    Raises:
        LibraryError: the address has another form, no server answers, there is no library (and `create` is None), or
            the collection is not a library.
    """

    def __init__(self, uri: str, *, create: Model | None = None) -> None:
        self.name = uri
        self._is_open = True
        address = parse_address(uri)
        self._is_file = address.file is not None
        self.alias = address.collection
        self.collection = ""  # until it is open
        self._is_sealed = False
        if address.file is not None:
            if create is None and not address.file.exists():
                raise self._absent()
            with _file_system(uri):
                address.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.client = MilvusClient(address.uri, token=os.environ.get(TOKEN, ""), timeout=_CONNECT_S)
        except _FAILURES as exc:
            if isinstance(exc.__cause__, ImportError):
                raise LibraryError(
                    f"{uri} needs milvus-lite ({exc.__cause__}): pip install 'musicsearch[milvus]'"
                ) from exc
            if self._is_file:
                raise LibraryError(
                    f"cannot open {uri}: close the other process that has it open, or choose another file if Milvus "
                    "Lite did not make it"
                ) from exc
            raise LibraryError(
                f"no Milvus server answered at {uri} within {_CONNECT_S:.0f} s: check that it runs, its address, and "
                f"{TOKEN} if it needs one"
            ) from exc
        try:
            with self.translated():
                self._version = self._read_version()
                self._open(create)
        except BaseException:
            self.close()
            raise

    def _read_version(self) -> tuple[int, ...]:
        """The first two numbers of the server's version; builds between two versions count as the newest."""
        found = self.client.get_server_version(timeout=_CALL_S)
        match = re.match(r"v?(\d+)\.(\d+)", found)
        version = tuple(map(int, match.groups())) if match else (sys.maxsize,)
        if version < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise LibraryError(f"the server of {self.name} is Milvus {found}, expected {oldest} or newer: upgrade it")
        return version

    def _open(self, create: Model | None) -> None:
        if not self.client.has_collection(self.alias, timeout=_CALL_S):
            if create is None:
                raise self._absent()
            collection = collection_of(self.alias, create)
            self._make(collection, create)
            try:
                self.client.create_alias(collection, self.alias, timeout=_CALL_S)
            except MilvusException:
                if not self.client.has_collection(self.alias, timeout=_CALL_S):  # no other process was quicker
                    raise
        self._use(self.alias)

    def _use(self, name: str) -> None:
        """Read and write this collection from now on, or the collection that this alias now means."""
        described = self.client.describe_collection(name, timeout=_CALL_S)
        self.model = from_properties(described.get("properties", {}), name=self.name)
        self.collection = str(described["collection_name"])
        self._notes = notes_of(self.collection)
        self._make(self.collection, self.model)

    def _make(self, collection: str, model: Model) -> None:
        """Make the collections of a library, as far as they are missing."""
        indexes = TRACKS_INDEXES
        if self._is_file or self._version < _INVERTED:
            indexes = {"vector": indexes["vector"]}
        self._complete(notes_of(collection), notes_schema(model.dim), NOTES_INDEXES, properties={})
        self._complete(collection, tracks_schema(model.dim), indexes, properties=to_properties(model))

    def _complete(
        self, name: str, schema: Any, indexes: Mapping[str, Mapping[str, Any]], *, properties: Mapping[str, str]
    ) -> None:
        """Create a collection and its indexes, as far as they are missing; a killed process may have left half."""
        if not self.client.has_collection(name, timeout=_CALL_S):
            # Iterators use the consistency level of the collection.
            self.client.create_collection(
                name, schema=schema, properties=properties, consistency_level="Strong", timeout=_CALL_S
            )
        for field, index in indexes.items():
            if not self.client.list_indexes(name, field_name=field):
                params = self.client.prepare_index_params()
                params.add_index(field, **index)
                self.client.create_index(name, params, timeout=_LOAD_S)
        self.client.load_collection(name, timeout=_LOAD_S)

    def _absent(self) -> LibraryError:
        return LibraryError(f"no library at {self.name}: make one with `music-search add {self.name} PATH...`")

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self.client.close()

    def is_current(self) -> bool:
        """Whether the alias still means the collection that this library was opened with."""
        with self.translated():
            return self._meant() == self.collection

    def _meant(self) -> str:
        """The name of the collection that the alias means now."""
        return str(self.client.describe_collection(self.alias, timeout=_CALL_S)["collection_name"])

    def beside(self, model: Model) -> "MilvusBeside":
        """Open the collection for the vectors of another model, which is made if it is not there."""
        from .milvus_beside import MilvusBeside

        return MilvusBeside(self, model)

    def _take_alias(self) -> None:
        """Let the alias mean this collection from now on; the server does it at once."""
        with self.translated():
            self.client.alter_alias(self.collection, self.alias, timeout=_CALL_S)

    def drop_former(self) -> list[str]:
        """Drop the collections of other models, of former ones and of one that is not complete yet.

        Returns:
            The names of the collections that held their tracks.
        """
        pattern = re.compile(rf"{self.alias}_[0-9a-f]{{{_FINGERPRINT_DIGITS}}}")
        dropped = []
        with self.translated():
            for name in sorted(filter(pattern.fullmatch, self.client.list_collections(timeout=_CALL_S))):
                if not self.client.list_aliases(name, timeout=_CALL_S)["aliases"]:
                    self.client.drop_collection(name, timeout=_CALL_S)
                    self.client.drop_collection(notes_of(name), timeout=_CALL_S)
                    dropped.append(name)
        return dropped

    def seal(self) -> None:
        """Let the server index what was written.

        A server searches new vectors with a coarse index, which misses tracks, above all with a filter. By itself it
        builds the real index only when a segment is full, or after minutes without writes.
        """
        if not self._is_sealed and not self._is_file:
            with self.translated():
                self.client.flush(self.collection, timeout=_LOAD_S)
            self._is_sealed = True

    def wait_for_index(self) -> None:
        """Seal, and wait until the server has indexed everything.

        Raises:
            LibraryError: it has not indexed everything after an hour.
        """
        self.seal()
        give_up_at = time.monotonic() + _INDEXED_S
        while pending := self._describe_index()["pending_index_rows"]:
            if time.monotonic() > give_up_at:
                raise LibraryError(
                    f"the server has not indexed {pending} vectors of {self.collection} after {_INDEXED_S / 60:.0f} "
                    "minutes: check the server, then run this again"
                )
            time.sleep(1)

    def vector_index(self) -> str:
        """The type of the index of the vectors, such as "HNSW"; an operator may have made another one than ours."""
        return str(self._describe_index()["index_type"])

    def _describe_index(self) -> dict[str, Any]:
        with self.translated():
            name = self.client.list_indexes(self.collection, field_name="vector")[0]
            return dict(self.client.describe_index(self.collection, name, timeout=_CALL_S))

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise errors of Milvus as `LibraryError`."""
        if not self._is_open:
            raise LibraryError(f"{self.name} is closed: open the library again")
        try:
            yield
        except _FAILURES as exc:
            if getattr(exc, "code", None) == ErrorCode.COLLECTION_NOT_FOUND and self.collection:
                with suppress(*_FAILURES):
                    self._refuse_former()
            said = exc.details() if isinstance(exc, grpc.Call) else getattr(exc, "message", "")
            reason = " ".join((said or "no answer in time").split())[:300]
            raise LibraryError(f"Milvus failed at {self.name}: {reason}; check the server, then try again") from exc

    # -- writing ---------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Locks nothing, because Milvus has no lock; see the module's text on consistency.

        Raises:
            ModelMismatch: the library has gone over to another model.
        """
        self._check_current()
        yield

    def _check_current(self) -> None:
        """Refuse to write into the collection of a former model, where nobody would find it."""
        with self.translated():
            self._refuse_former()

    def _refuse_former(self) -> None:
        """Raise `ModelMismatch` if the library was opened with a model that is not its model any more."""
        if self._meant() != self.collection:
            raise has_gone_over(self.name, self.model)

    def put(self, tracks: Sequence[NewTrack]) -> None:
        if not tracks:
            return
        for track in tracks:
            check_vectors(track.vectors, dim=self.model.dim, of=track.file.path)
            check_metadata(track.metadata)
        by_path = {track.file.path: track for track in tracks}
        # The id is a hash of the path, so that two writers make one track of a file. It is random if the hash is taken
        # by a track that has moved to another path.
        ids = {path: to_id(term("path", path)) for path in by_path}
        condition = f"{among('path', list(by_path))} or {among('track_id', list(ids.values()))}"
        found = self._query(condition, "path", "annotations", strong=True)
        replaced = {row["path"]: row for row in found}
        taken = {row["track_id"] for row in found}
        rows = []
        for path, track in by_path.items():
            new_id = secrets.token_hex(8) if ids[path] in taken else ids[path]
            row = replaced.get(path, {"track_id": new_id, "annotations": {}})
            rows.append(to_row(row["track_id"], track, annotations=row["annotations"]))
        self._upsert(rows)
        self.forget_failed(by_path)

    def touch(
        self, files: Mapping[str, FileState], *, tags: Mapping[str, Mapping[str, Value]] = MappingProxyType({})
    ) -> None:
        for changed in tags.values():
            check_metadata(changed)

        def change(row: dict[str, Any]) -> None:
            put_file(row, files[row["track_id"]])
            row["tags"] = dict(tags.get(row["track_id"], row["tags"]))

        self._change(files, change)
        self.forget_failed(file.path for file in files.values())

    def annotate(self, annotations: Mapping[str, Mapping[str, Value | None]]) -> None:
        """As `Catalogue.annotate`, but not atomic: if the server fails, only some tracks may have changed."""
        annotations = read_annotations(annotations)
        for changes in annotations.values():
            check_metadata({name: value for name, value in changes.items() if value is not None})
        self._check_known(annotations)

        def change(row: dict[str, Any]) -> None:
            merged = row["annotations"] | annotations[row["track_id"]]
            row["annotations"] = {name: value for name, value in merged.items() if value is not None}

        self._change(annotations, change)

    def remove(self, track_ids: Iterable[str]) -> None:
        ids = list(dict.fromkeys(track_ids))
        self._check_known(ids)
        self._check_current()
        for part in _parts(ids, _ROWS):
            with self.translated():
                self.client.delete(self.collection, filter=among("track_id", part), timeout=_CALL_S)
        # On some servers Session does not wait for deletes. After a Strong read they are seen in any case.
        self._by_ids(ids[:1], strong=True)

    def mark_missing(self, numbers: Iterable[int]) -> None:
        self._change(map(to_id, numbers), lambda row: row.update(is_missing=True))

    def note_failed(self, files: Iterable[FailedFile]) -> None:
        self._note(
            {
                "number": term("failed", file.path),
                "kind": "failed",
                "note": asdict(file),
                "vector": np.zeros(self.model.dim, np.float32),
            }
            for file in files
        )

    def forget_failed(self, paths: Iterable[str]) -> None:
        for part in _parts([str(term("failed", path)) for path in paths], _ROWS):
            with self.translated():
                self.client.delete(self._notes, filter=f"number in [{', '.join(part)}]", timeout=_CALL_S)

    def put_probes(self, probes: Mapping[str, NDArray[np.float32]]) -> None:
        with self.translated():
            self.client.delete(self._notes, filter='kind != "failed"', timeout=_CALL_S)
        self._note(
            {"number": term(f"probe {kind}", float(i)), "kind": kind, "note": {}, "vector": vector}
            for kind, vectors in probes.items()
            for i, vector in enumerate(vectors)
        )

    def put_copies(self, tracks: Sequence[tuple[Track, TrackVectors]]) -> int:
        """Copy tracks of another library of the same model, and keep their ids.

        Returns:
            The number of tracks written: those that were not here yet or had changed.
        """
        found = self._by_ids([track.track_id for track, _ in tracks], *FACTS, strong=True)
        here = {track.track_id: track for track in map(to_track, found)}
        rows = []
        for track, vectors in tracks:
            known = here.get(track.track_id)
            if known and content(known) == content(track):
                continue
            check_vectors(vectors, dim=self.model.dim, of=track.file.path)
            new = NewTrack(track.file, track.duration_s, vectors, track.tags, track.warning)
            rows.append(to_row(track.track_id, new, annotations=track.annotations) | {"is_missing": track.is_missing})
        self._upsert(rows)
        return len(rows)

    def _note(self, rows: Iterable[dict[str, Any]]) -> None:
        for part in _parts(list(rows), _ROWS):
            with self.translated():
                self.client.upsert(self._notes, part, timeout=_CALL_S)

    def _check_known(self, track_ids: Iterable[str]) -> None:
        ids = list(track_ids)
        known = {row["track_id"] for row in self._by_ids(list(filter(is_id, ids)), strong=True)}
        for track_id in ids:
            if track_id not in known:
                raise LibraryError(f"no track {track_id!r} in {self.name}: searches show the ids of its tracks")

    def _change(self, track_ids: Iterable[str], change: Callable[[dict[str, Any]], None]) -> None:
        """Read these entities, change each, and put them back."""
        for part in _parts(list(track_ids), _WHOLE_ROWS):
            rows = self._by_ids(part, *EVERYTHING, strong=True)
            for row in rows:
                change(row)
            self._upsert([with_fields(row) for row in rows])

    def _upsert(self, rows: Iterable[dict[str, Any]]) -> None:
        for group in _requests(rows):
            self._check_current()
            self._is_sealed = False
            with self.translated():
                self.client.upsert(self.collection, group, timeout=_CALL_S)

    # -- reading ---------------------------------------------------------------------------------------

    def __len__(self) -> int:
        with self.translated():
            rows = self.client.query(
                self.collection, output_fields=["count(*)"], consistency_level="Session", timeout=_CALL_S
            )
        return int(rows[0]["count(*)"])

    def totals(self) -> tuple[int, float]:
        lengths_s = [row["duration_s"] for rows in self._each(self.collection, "", "duration_s") for row in rows]
        return len(lengths_s), math.fsum(lengths_s)

    def vectors(self, *, rows_at_once: int = 8192) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """All vectors, in parts, in the order of the track ids."""
        for rows in self._each(self.collection, "", "vector", rows_at_once=rows_at_once):
            labels = np.array([to_label(row["track_id"]) for row in rows], np.int64)
            yield labels, np.array([row["vector"] for row in rows], np.float32)

    def entities(self) -> Iterator[tuple[Track, bytes, bytes, bytes]]:
        """Every track, with its vector, window starts and windows as a catalogue stores them."""
        for rows in self._each(self.collection, "", *EVERYTHING, rows_at_once=_WHOLE_ROWS):
            for row in rows:
                yield to_track(row), np.array(row["vector"], "<f4").tobytes(), *to_window_blobs(row)

    def paths(self) -> Iterator[str]:
        """The paths of all tracks."""
        return (row["path"] for rows in self._each(self.collection, "", "path") for row in rows)

    def vectors_of(self, labels: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        rows = self._by_ids(list(map(to_id, labels)), "vector")
        return {to_label(row["track_id"]): np.array(row["vector"], np.float32) for row in rows}

    def sample(self, rows: int) -> NDArray[np.float32]:
        """The vectors of the first ids, a random sample because ids are random or hashes of paths."""
        return next(self.vectors(rows_at_once=rows), (None, np.empty((0, self.model.dim), np.float32)))[1]

    def named_like(self, text: str, *, where: Mapping[str, Any] | None = None) -> dict[int, float]:
        """As `Catalogue.named_like`, but only exact names are found; case is ignored."""
        said = folded(text.strip())
        terms = ", ".join(str(term(name, said)) for name in ("title", "artist", "album"))
        conditions = [f"array_contains_any(terms, [{terms}])", *map(to_filter, read_where(where) if where else [])]
        rows = self._query(" and ".join(conditions), limit=MOST_CANDIDATES)
        return {to_label(row["track_id"]): EXACT for row in rows}

    def vector(self, label: int) -> NDArray[np.float32]:
        return np.array(self._one(label, "vector")["vector"], np.float32)

    def windows(self, label: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return to_windows(self._one(label, "windows", "vector"))

    def windows_of(self, labels: Sequence[int]) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """The results of `windows`, by label; tracks that another client has just removed are left out."""
        rows = self._by_ids(list(map(to_id, labels)), "windows", "vector")
        return {to_label(row["track_id"]): to_windows(row) for row in rows}

    def probes(self, kind: str | None = None) -> NDArray[np.float32]:
        condition = 'kind != "failed"' if kind is None else f"kind == {quoted(kind)}"
        vectors = [row["vector"] for rows in self._each(self._notes, condition, "vector") for row in rows]
        return np.array(vectors, np.float32).reshape(-1, self.model.dim)

    def by_labels(self, labels: Sequence[int]) -> list[Track]:
        return list(map(to_track, self._by_ids(list(map(to_id, labels)), *FACTS)))

    def accept_gone(self, label: int) -> None:
        """Accept that a label has no track: another client may have removed it since the search."""

    def reading(self) -> AbstractContextManager[None]:
        """Does nothing, because Milvus has no transactions; each read sees its own state."""
        return nullcontext()

    def by_label(self, label: int) -> Track | None:
        return next(iter(self.by_labels([label])), None)

    def by_id(self, track_id: str) -> Track | None:
        return self.by_label(to_label(track_id)) if is_id(track_id) else None

    def by_ids(self, track_ids: Sequence[str]) -> list[Track]:
        return list(map(to_track, self._by_ids([*filter(is_id, track_ids)], *FACTS)))

    def by_path(self, path: str) -> Track | None:
        return next(map(to_track, self._query(f"path == {quoted(path)}", *FACTS)), None)

    def by_content(self, content_hash: str) -> list[Track]:
        return list(map(to_track, self._query(f"content_sha256 == {quoted(content_hash)}", *FACTS)))

    def knows_sounds(self) -> bool:
        return not self._query(f"content_sha256 < {quoted(PREFIX)}", "track_id", limit=1)

    def named(self, name: str | Path) -> Track:
        track = self.by_id(str(name)) or self.by_path(absolute(name))
        if track is None:
            raise LibraryError(f"no track with the id or path {str(name)!r} in {self.name}")
        return track

    def below(self, folder: str) -> Iterator[tuple[int, str]]:
        first = beginning(folder)
        # The end of the range is the first text after all that begin with `first`: the last character plus one.
        last = first[:-1] + chr(ord(first[-1]) + 1)
        condition = f"path >= {quoted(first)} and path < {quoted(last)} and is_missing == false"
        for rows in self._each(self.collection, condition, "path"):
            yield from ((to_label(row["track_id"]), row["path"]) for row in rows)

    def missing(self) -> list[Track]:
        return self._chosen("is_missing == true")

    def warned(self) -> list[Track]:
        return self._chosen(is_warned())

    def _chosen(self, condition: str) -> list[Track]:
        return [to_track(row) for rows in self._each(self.collection, condition, *FACTS) for row in rows]

    def failed(self) -> list[FailedFile]:
        parts = self._each(self._notes, 'kind == "failed"', "note")
        return sorted((FailedFile(**row["note"]) for rows in parts for row in rows), key=lambda file: file.path)

    def known_fields(self) -> list[str]:
        """The names of metadata fields that the first thousand tracks have."""
        rows = self._query("", "tags", "annotations", limit=_ROWS)
        return sorted({name for row in rows for name in row["tags"] | row["annotations"]})

    def has_field(self, name: str) -> bool:
        """Whether some track has this metadata field."""
        return bool(self._query(f"array_contains(terms, {term(name, None)})", "track_id", limit=1))

    def _one(self, label: int, *fields: str) -> dict[str, Any]:
        rows = self._by_ids([to_id(label)], *fields)
        if not rows:
            raise LibraryError(f"track {to_id(label)} vanished from {self.name} while it was read")
        return rows[0]

    def _by_ids(self, track_ids: Sequence[str], *fields: str, strong: bool = False) -> list[dict[str, Any]]:
        """The rows of these tracks, in no particular order; unknown ids are left out."""
        parts = _parts(track_ids, _ROWS)
        return [row for part in parts for row in self._query(among("track_id", part), *fields, strong=strong)]

    def _query(
        self, condition: str, *fields: str, strong: bool = False, limit: int | None = None
    ) -> list[dict[str, Any]]:
        limited = {} if limit is None else {"limit": limit}
        with self.translated():
            rows = self.client.query(
                self.collection,
                filter=condition,
                output_fields=["track_id", *fields],
                consistency_level="Strong" if strong else "Session",
                timeout=_CALL_S,
                **limited,
            )
        return [dict(row) for row in rows]

    def _each(
        self, collection: str, condition: str, *fields: str, rows_at_once: int = _ROWS
    ) -> Iterator[list[dict[str, Any]]]:
        with self.translated():
            parts = self.client.query_iterator(
                collection, batch_size=rows_at_once, filter=condition, output_fields=[*fields], timeout=_CALL_S
            )
        try:
            while True:
                with self.translated():
                    rows = parts.next()
                if not rows:
                    return
                yield rows
        finally:
            parts.close()


class MilvusIndex:
    """Searches the vectors of a library in Milvus.

    Args:
        store: the open library.
        recall: the share of the best tracks to find, at most 0.999. It sets how widely the index is searched (`ef` of
            HNSW, `search_list` of DiskANN, `nprobe` of IVF).

    Raises:
        QueryError: `recall` is above 0.999, which a graph cannot promise.
    """

    kind = "milvus"

    def __init__(self, store: MilvusStore, *, recall: float = 0.99) -> None:
        if recall > 0.999:
            raise QueryError(f"recall is {recall}, expected 0.999 or less, because Milvus searches a graph")
        self._store = store
        self._recall = recall
        self._least_width = math.ceil(2.0 / (1.0 - recall))  # 200 for 0.99
        self._width_name = _WIDTHS.get(store.vector_index().partition("_")[0])

    def search(
        self, query: NDArray[np.float32], *, k: int, where: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As `LiveIndex.search`."""
        k = min(k, _MOST_FOUND)
        conditions = [] if where is None else read_where(where)
        width = {} if self._width_name is None else {self._width_name: max(self._least_width, 2 * k)}
        with self._store.translated():
            (hits,) = self._store.client.search(
                self._store.collection,
                [query],
                filter=" and ".join(map(to_filter, conditions)),
                limit=k,
                search_params={"metric_type": "COSINE", "params": width},
                anns_field="vector",
                consistency_level="Session",
                timeout=_CALL_S,
            )
        if not hits:
            for condition in conditions:
                if not self._store.has_field(condition.name):
                    raise unknown_field(condition.name, known=self._store.known_fields())
        labels = np.array([to_label(hit.id) for hit in hits], np.int64)
        return labels, np.array([hit.distance for hit in hits], np.float32)

    def search_whole(self, query: NDArray[np.float32], *, k: int, where: Mapping[str, Any] | None = None) -> Found:
        """As `search`, but also returns the vectors, and leaves out tracks that were removed since."""
        labels, scores = self.search(query, k=k, where=where)
        vectors = self._store.vectors_of(labels.tolist())
        is_there = np.array([label in vectors for label in labels.tolist()], bool)
        found = np.array([vectors[label] for label in labels[is_there].tolist()], np.float32)
        return Found(labels[is_there], scores[is_there], found.reshape(-1, len(query)))

    def recall(self) -> Recall:
        """As `LiveIndex.recall`, but not measured."""
        return Recall(self._recall, candidates=self._least_width)

    def save(self) -> None:
        """Let the server index what was written; see `MilvusStore.seal`."""
        self._store.seal()


def collection_of(alias: str, model: Model) -> str:
    """The name of the collection with this model's vectors of a library."""
    return f"{alias}_{model.fingerprint[:_FINGERPRINT_DIGITS]}"


def notes_of(collection: str) -> str:
    """The name of the collection with the data that belongs to no track."""
    return f"{collection}_notes"


def parse_address(uri: str) -> _Address:
    """Split the address of a library in Milvus, as described at the top of this module.

    Raises:
        LibraryError: it is not such an address.
    """
    scheme, _, rest = uri.partition("://")
    if scheme == "milvus" and rest.startswith("/") and rest.endswith(".db"):
        return _Address(rest, "library", Path(rest))
    match = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[\w.-]+)(?::(\d{1,5}))?/([A-Za-z_]\w{0,200})", rest, re.ASCII)
    if match is None or int(match[2] or 0) > 65_535:
        shown = re.sub("//.*@", "//...@", uri)  # without the password
        raise LibraryError(
            f"{shown} is not the address of a library: expected milvus://host:19530/collection (milvuss:// over TLS; "
            f"letters, digits and _), or milvus:///folder/file.db; a password goes into {TOKEN}"
        )
    host, port, collection = match.groups()
    return _Address(f"{'https' if scheme == 'milvuss' else 'http'}://{host}:{port or 19530}", collection, None)


def _requests(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The rows in groups, each of which fits into one request."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        row_bytes = size_of(row)
        if group and size + row_bytes > _REQUEST_BYTES:
            yield group
            group, size = [], 0
        group.append(row)
        size += row_bytes
    if group:
        yield group


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


@contextmanager
def _file_system(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise LibraryError(f"cannot use {name}: {exc.strerror}") from exc
