"""A library in Milvus: for more tracks than one machine holds, or for many machines that search the same ones.

    milvus://host:19530/collection       a server or cluster, Milvus 2.4 or newer; milvuss:// over TLS
    milvus:///folder/file.db             a Milvus Lite file, for development and tests

A track is one entity of the collection, so an upsert replaces it as a whole: its vectors and what is known about it
never disagree. Its primary key is the track id; the label that the rest of the client knows it by is that id as a
number. What belongs to the library as a whole (texts for measuring it, files that failed) is in a second collection
beside it, and its model among the first one's properties.

Consistency: searches and look-ups are at the level Session, which sees everything that this process has written and
does not wait for more. What others write is seen as soon as the server has passed it on, usually within a second.
Reads on which a write depends are Strong: they see every write that anyone was acknowledged. Milvus has no lock, so
nothing keeps two writers apart; where both write the same track, the last one wins.

Other than in a folder: the graph is searched with a width that follows from `recall`, which is not measured on the
library's own vectors; a search finds at most 16,384 tracks; metadata and annotations of a track may take 65,536 bytes
each, and have 4,096 values. Groups of tracks are written in one request as long as they fit.

Milvus Lite opens a file for one process at a time, until that ends. It knows no consistency levels, as it has nothing
that could lag. It has no index for arrays, so filters read every track, which is slow beyond some thousands.
"""

import base64
import json
import logging
import math
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient, MilvusException

from ..errors import LibraryError, QueryError
from .catalogue import FailedFile, FileState, Model, NewTrack, Track, TrackVectors, check_vectors
from .fields import Condition, Value, check_metadata, read_where, unknown_field

TOKEN = "MUSICSEARCH_MILVUS_TOKEN"
"""Of the environment: "user:password" or an API key, for servers that ask for one."""

_CONNECT_S = 10.0
_CALL_S = 60.0
_BUILD = {"M": 16, "efConstruction": 200}
_MOST_FOUND = 16_384
_MOST_BYTES = 65_536  # of a JSON value or a text
_MOST_VALUES = 4_096  # of an array
_REQUEST_BYTES = 16 << 20  # a server takes 64 MiB
_ROWS = 256  # entities with their windows that are read at once
_PIECE = 60_000  # characters of a text in an array
_KNOWN_FROM = 1_000  # tracks that are asked for the names of their fields
_LARGEST = sys.float_info.max
_INDEXED = ("path", "content_sha256", "terms")
_FACTS = (
    *("track_id", "path", "size", "mtime_ns", "content_sha256", "duration_s", "tags", "annotations", "is_missing"),
)
_EVERYTHING = (*_FACTS, "vector", "windows")

# Its errors are raised here as ours; it would print them as well.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)


class _Address(NamedTuple):
    """Of a library: what pymilvus connects to, and the collection there."""

    uri: str
    collection: str
    file: Path | None


class MilvusStore:
    """An open library in Milvus; `Catalogue` tells what the methods do.

    Args:
        uri: as above.
        create: the model of a new library; None opens existing libraries only.

    Raises:
        LibraryError: the address is of another form, nobody answers there, there is no library (and `create` is
            None), or the collection is something else.
    """

    def __init__(self, uri: str, *, create: Model | None = None) -> None:
        self.name = uri
        self._is_open = True
        address = _parse(uri)
        self._is_file = address.file is not None
        self.collection, self._notes = address.collection, f"{address.collection}_notes"
        if address.file is not None:
            if create is None and not address.file.exists():
                raise self._absent()
            with _file_system(uri):
                address.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.client = MilvusClient(address.uri, token=os.environ.get(TOKEN, ""), timeout=_CONNECT_S)
        except MilvusException as exc:
            if isinstance(exc.__cause__, ImportError):
                raise LibraryError(
                    f"{uri} needs milvus-lite ({exc.__cause__}): pip install 'musicsearch[milvus]'"
                ) from exc
            if self._is_file:
                raise LibraryError(
                    f"{uri} does not open: close the other process that has it open, or choose another file if it was "
                    "not made by Milvus Lite"
                ) from exc
            raise LibraryError(
                f"no Milvus server answered at {uri} within {_CONNECT_S:.0f} s: check that it runs, its address, and "
                f"{TOKEN} if it asks for one"
            ) from exc
        try:
            with self.translated():
                self._open(create)
        except BaseException:
            self.close()
            raise

    def _open(self, create: Model | None) -> None:
        if not self.client.has_collection(self.collection, timeout=_CALL_S):
            if create is None:
                raise self._absent()
            for name, properties, schema, index in (
                (self._notes, {}, self._notes_schema(create.dim), self._notes_index()),
                (self.collection, _to_properties(create), self._schema(create.dim), self._index()),
            ):
                if not self.client.has_collection(name, timeout=_CALL_S):
                    self.client.create_collection(
                        name, schema=schema, index_params=index, properties=properties, timeout=_CALL_S
                    )
        described = self.client.describe_collection(self.collection, timeout=_CALL_S)
        self.model = _from_properties(described.get("properties", {}), name=self.name)
        for name in (self._notes, self.collection):
            self.client.load_collection(name, timeout=_CALL_S)

    def _schema(self, dim: int) -> Any:
        schema = MilvusClient.create_schema()
        schema.add_field("track_id", DataType.VARCHAR, max_length=16, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        schema.add_field("path", DataType.VARCHAR, max_length=_MOST_BYTES - 1)
        schema.add_field("size", DataType.INT64)
        schema.add_field("mtime_ns", DataType.INT64)
        schema.add_field("content_sha256", DataType.VARCHAR, max_length=64)
        schema.add_field("duration_s", DataType.DOUBLE)
        schema.add_field("is_missing", DataType.BOOL)
        schema.add_field("tags", DataType.JSON)
        schema.add_field("annotations", DataType.JSON)
        # What searches filter by. Both kinds of name and value are made of digits only, as servers differ in what
        # they make of quotes and brackets in a filter.
        schema.add_field("terms", DataType.ARRAY, element_type=DataType.INT64, max_capacity=_MOST_VALUES)
        schema.add_field("numbers", DataType.JSON)
        # On the servers' disks: only hits are asked for their windows.
        schema.add_field(
            "windows",
            DataType.ARRAY,
            element_type=DataType.VARCHAR,
            max_length=_MOST_BYTES - 1,
            max_capacity=_MOST_VALUES,
            mmap_enabled=True,
        )
        return schema

    def _index(self) -> Any:
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="COSINE", params=_BUILD)
        for name in () if self._is_file else _INDEXED:
            index.add_index(name, index_type="INVERTED")
        return index

    def _notes_schema(self, dim: int) -> Any:
        schema = MilvusClient.create_schema()
        schema.add_field("number", DataType.INT64, is_primary=True)
        schema.add_field("kind", DataType.VARCHAR, max_length=64)
        schema.add_field("note", DataType.JSON)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        return schema

    def _notes_index(self) -> Any:
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        return index

    def _absent(self) -> LibraryError:
        return LibraryError(f"no library at {self.name}: make one with `music-search add {self.name} PATH...`")

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self.client.close()

    def is_current(self) -> bool:
        """A collection keeps its model for life: another one takes another collection."""
        return True

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Milvus' errors as ours."""
        if not self._is_open:
            raise LibraryError(f"{self.name} is closed: open the library again")
        try:
            yield
        except MilvusException as exc:
            reason = " ".join(str(exc.message).split())[:300]
            raise LibraryError(f"Milvus failed at {self.name}: {reason}; check the server, then do it again") from exc

    # -- writing ---------------------------------------------------------------------------------------

    def writing(self) -> AbstractContextManager[None]:
        """Milvus has no lock: see above."""
        return nullcontext()

    def put(self, tracks: Sequence[NewTrack]) -> None:
        for track in tracks:
            check_vectors(track.vectors, dim=self.model.dim, of=track.file.path)
            check_metadata(track.metadata)
        by_path = {track.file.path: track for track in tracks}
        condition = f"path in [{', '.join(map(_quoted, by_path))}]"
        replaced = {row["path"]: row for row in self._query(condition, "path", "annotations", strong=True)}
        rows = []
        for path, track in by_path.items():
            row = replaced.get(path, {})
            rows.append(
                _to_row(row.get("track_id", secrets.token_hex(8)), track, annotations=row.get("annotations", {}))
            )
        self._upsert(rows)
        self._forget_failed(by_path)

    def touch(self, files: Mapping[str, FileState]) -> None:
        self._change(files, lambda row: _put_file(row, files[row["track_id"]]))
        self._forget_failed(file.path for file in files.values())

    def annotate(self, annotations: Mapping[str, Mapping[str, Value | None]]) -> None:
        """As in a catalogue; but if the server fails on the way, some tracks may have theirs and others not."""
        for changes in annotations.values():
            check_metadata({name: value for name, value in changes.items() if value is not None})
        self._check_known(annotations)

        def change(row: dict[str, Any]) -> None:
            merged = row["annotations"] | dict(annotations[row["track_id"]])
            row["annotations"] = {name: value for name, value in merged.items() if value is not None}

        self._change(annotations, change)

    def remove(self, track_ids: Iterable[str]) -> None:
        ids = list(dict.fromkeys(track_ids))
        self._check_known(ids)
        for part in _parts(ids, _KNOWN_FROM):
            with self.translated():
                self.client.delete(self.collection, filter=_among("track_id", part), timeout=_CALL_S)

    def mark_missing(self, numbers: Iterable[int]) -> None:
        self._change(map(_to_id, numbers), lambda row: row.update(is_missing=True))

    def note_failed(self, files: Iterable[FailedFile]) -> None:
        self._note(
            {
                "number": _term("failed", file.path),
                "kind": "failed",
                "note": {"path": file.path, "size": file.size, "mtime_ns": file.mtime_ns, "reason": file.reason},
                "vector": np.zeros(self.model.dim, np.float32),
            }
            for file in files
        )

    def put_probes(self, probes: Mapping[str, NDArray[np.float32]]) -> None:
        with self.translated():
            self.client.delete(self._notes, filter='kind != "failed"', timeout=_CALL_S)
        self._note(
            {"number": _term(f"probe {kind}", float(i)), "kind": kind, "note": {}, "vector": vector}
            for kind, vectors in probes.items()
            for i, vector in enumerate(vectors)
        )

    def put_copies(self, tracks: Sequence[tuple[Track, TrackVectors]]) -> int:
        """Tracks of another library of the same model, under the ids that they have there.

        Returns:
            How many were not here yet, or had changed.
        """
        condition = _among("track_id", [track.track_id for track, _ in tracks])
        here = {track.track_id: track for track in map(_to_track, self._query(condition, *_FACTS, strong=True))}
        rows = []
        for track, vectors in tracks:
            known = here.get(track.track_id)
            if known and _content(known) == _content(track):
                continue
            check_vectors(vectors, dim=self.model.dim, of=track.file.path)
            new = NewTrack(track.file, track.duration_s, vectors, track.tags)
            rows.append(_to_row(track.track_id, new, annotations=track.annotations) | {"is_missing": track.is_missing})
        self._upsert(rows)
        return len(rows)

    def _note(self, rows: Iterable[dict[str, Any]]) -> None:
        with self.translated():
            self.client.upsert(self._notes, list(rows), timeout=_CALL_S)

    def _forget_failed(self, paths: Iterable[str]) -> None:
        numbers = ", ".join(str(_term("failed", path)) for path in paths)
        if numbers:
            with self.translated():
                self.client.delete(self._notes, filter=f"number in [{numbers}]", timeout=_CALL_S)

    def _check_known(self, track_ids: Iterable[str]) -> None:
        for part in _parts(list(track_ids), _KNOWN_FROM):
            valid = [track_id for track_id in part if _is_id(track_id)]
            known = {row["track_id"] for row in self._query(_among("track_id", valid), strong=True)}
            for track_id in part:
                if track_id not in known:
                    raise LibraryError(f"no track {track_id!r} in {self.name}: searches show the ids of its tracks")

    def _change(self, track_ids: Iterable[str], change: Callable[[dict[str, Any]], None]) -> None:
        """Read these entities, change each, and put them back."""
        for part in _parts(list(track_ids), _ROWS):
            rows = self._query(_among("track_id", part), *_EVERYTHING, strong=True)
            for row in rows:
                change(row)
            self._upsert([_with_fields(row) for row in rows])

    def _upsert(self, rows: Sequence[dict[str, Any]]) -> None:
        group: list[dict[str, Any]] = []
        size = 0
        for row in [*rows, None]:
            row_bytes = 0 if row is None else sum(map(len, row["windows"])) + 4 * self.model.dim + 4 * _MOST_BYTES
            if group and (row is None or size + row_bytes > _REQUEST_BYTES):
                with self.translated():
                    self.client.upsert(self.collection, group, timeout=_CALL_S)
                group, size = [], 0
            if row is not None:
                group.append(row)
                size += row_bytes

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
            labels = np.array([_to_label(row["track_id"]) for row in rows], np.int64)
            yield labels, np.array([row["vector"] for row in rows], np.float32)

    def vector(self, label: int) -> NDArray[np.float32]:
        return np.array(self._one(label, "vector"), np.float32)

    def windows(self, label: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        numbers = np.frombuffer(base64.b64decode("".join(self._one(label, "windows"))), "<f4")
        table = numbers.reshape(-1, 1 + self.model.dim)
        return table[:, 0], table[:, 1:]

    def probes(self, kind: str | None = None) -> NDArray[np.float32]:
        condition = 'kind != "failed"' if kind is None else f"kind == {_quoted(kind)}"
        vectors = [row["vector"] for rows in self._each(self._notes, condition, "vector") for row in rows]
        return np.array(vectors, np.float32).reshape(-1, self.model.dim)

    def by_labels(self, labels: Sequence[int]) -> list[Track]:
        return [
            _to_track(row)
            for part in _parts([_to_id(label) for label in labels], _KNOWN_FROM)
            for row in self._query(_among("track_id", part), *_FACTS)
        ]

    def by_label(self, label: int) -> Track | None:
        return next(iter(self.by_labels([label])), None)

    def by_id(self, track_id: str) -> Track | None:
        return self.by_label(_to_label(track_id)) if _is_id(track_id) else None

    def by_path(self, path: str) -> Track | None:
        return next(map(_to_track, self._query(f"path == {_quoted(path)}", *_FACTS)), None)

    def by_content(self, content_sha256: str) -> list[Track]:
        return list(map(_to_track, self._query(f"content_sha256 == {_quoted(content_sha256)}", *_FACTS)))

    def named(self, name: str | Path) -> Track:
        track = self.by_id(str(name)) or self.by_path(os.path.abspath(os.path.expanduser(name)))
        if track is None:
            raise LibraryError(f"no track with the id or path {str(name)!r} in {self.name}")
        return track

    def below(self, folder: str) -> list[tuple[int, str]]:
        first = os.path.join(folder, "")
        # The text after all that begin with `first`: its last character, the separator, raised by one.
        last = first[:-1] + chr(ord(first[-1]) + 1)
        condition = f"path >= {_quoted(first)} and path < {_quoted(last)} and is_missing == false"
        parts = self._each(self.collection, condition, "path")
        return [(_to_label(row["track_id"]), row["path"]) for rows in parts for row in rows]

    def missing(self) -> list[str]:
        parts = self._each(self.collection, "is_missing == true", "track_id")
        return [row["track_id"] for rows in parts for row in rows]

    def failed(self) -> list[FailedFile]:
        parts = self._each(self._notes, 'kind == "failed"', "note")
        return sorted((FailedFile(**row["note"]) for rows in parts for row in rows), key=lambda file: file.path)

    def known_fields(self) -> list[str]:
        """Names of metadata fields, those of the first thousand tracks."""
        rows = self._query("", "tags", "annotations", limit=_KNOWN_FROM)
        return sorted({name for row in rows for name in row["tags"] | row["annotations"]})

    def has_field(self, name: str) -> bool:
        """Whether some track has it."""
        return bool(self._query(f"array_contains(terms, {_term(name, None)})", "track_id", limit=1))

    def _one(self, label: int, field: str) -> Any:
        rows = self._query(_among("track_id", [_to_id(label)]), field)
        if not rows:
            raise LibraryError(f"track {_to_id(label)} vanished from {self.name} while it was read")
        return rows[0][field]

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
        self, collection: str, condition: str, *fields: str, rows_at_once: int = _KNOWN_FROM
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
        recall: the share of the best tracks to find; it sets how widely the graph is searched.

    Raises:
        QueryError: `recall` is 1, which no graph promises.
    """

    def __init__(self, store: MilvusStore, *, recall: float = 0.99) -> None:
        if recall > 0.999:
            raise QueryError(f"recall is {recall}, but Milvus searches a graph: give 0.999 or less")
        self._store = store
        self._least_width = math.ceil(2.0 / (1.0 - recall))  # 200 for 0.99

    def search(
        self, query: NDArray[np.float32], *, k: int, where: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As `LiveIndex.search`."""
        k = min(k, _MOST_FOUND)
        conditions = [] if where is None else read_where(where)
        with self._store.translated():
            (hits,) = self._store.client.search(
                self._store.collection,
                [query],
                filter=" and ".join(map(_to_filter, conditions)),
                limit=k,
                search_params={"metric_type": "COSINE", "params": {"ef": max(self._least_width, 2 * k)}},
                anns_field="vector",
                consistency_level="Session",
                timeout=_CALL_S,
            )
        if not hits:
            for condition in conditions:
                if not self._store.has_field(condition.name):
                    raise unknown_field(condition.name, known=self._store.known_fields())
        labels = np.array([_to_label(hit["track_id"]) for hit in hits], np.int64)
        return labels, np.array([hit["distance"] for hit in hits], np.float32)

    def save(self) -> None:
        """Milvus keeps its own index."""


def _parse(uri: str) -> _Address:
    scheme, _, rest = uri.partition("://")
    if scheme == "milvus" and rest.startswith("/") and rest.endswith(".db"):
        return _Address(rest, "library", Path(rest))
    match = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[\w.-]+)(?::(\d{1,5}))?/([A-Za-z_]\w{0,200})", rest, re.ASCII)
    if match is None:
        raise LibraryError(
            f"{uri} is no address of a library: expected milvus://host:19530/collection (milvuss:// over TLS; letters, "
            f"digits and _), or milvus:///folder/file.db; a password goes into {TOKEN}"
        )
    host, port, collection = match.groups()
    return _Address(f"{'https' if scheme == 'milvuss' else 'http'}://{host}:{port or 19530}", collection, None)


def _to_properties(model: Model) -> dict[str, str]:
    return {"musicsearch.model": json.dumps(model._asdict())}


def _from_properties(properties: Mapping[str, str], *, name: str) -> Model:
    try:
        return Model(**json.loads(properties["musicsearch.model"]))
    except (KeyError, TypeError, ValueError) as exc:
        raise LibraryError(f"the collection at {name} is not a MusicSearch library: choose another name") from exc


def _to_row(track_id: str, track: NewTrack, *, annotations: Mapping[str, Value]) -> dict[str, Any]:
    made = track.vectors
    numbers = np.concatenate([made.starts_s[:, None], made.windows], axis=1).astype("<f4")
    text = base64.b64encode(numbers.tobytes()).decode()
    row = {
        "track_id": track_id,
        "vector": made.vector,
        "windows": [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)],
        "duration_s": float(track.duration_s),
        "tags": dict(track.metadata),
        "annotations": dict(annotations),
    }
    _put_file(row, track.file)
    return _with_fields(row)


def _put_file(row: dict[str, Any], file: FileState) -> None:
    row |= {
        "path": file.path,
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "content_sha256": file.content_sha256,
        "is_missing": False,
    }


def _with_fields(row: dict[str, Any]) -> dict[str, Any]:
    """The row, with what searches filter by.

    Raises:
        QueryError: it says more than Milvus holds.
    """
    for name in ("tags", "annotations"):
        size = len(json.dumps(row[name], ensure_ascii=False).encode())
        if size > _MOST_BYTES:
            raise QueryError(f"the {name} of {row['path']} take {size} bytes, Milvus holds {_MOST_BYTES}")
    fields: dict[str, Value] = row["tags"] | row["annotations"]
    terms: set[int] = set()
    numbers: dict[str, float] = {}
    for name, value in fields.items():
        terms.add(_term(name, None))
        parts: Sequence[str | float] = value if isinstance(value, list) else [value]
        for part in parts:
            if isinstance(part, str):
                terms.add(_term(name, part.casefold()))
            else:
                terms.add(_term(name, float(part)))
                numbers[_to_key(name)] = float(part)
    if len(terms) > _MOST_VALUES:
        raise QueryError(f"{row['path']} has {len(terms)} fields and values, Milvus holds {_MOST_VALUES}")
    return row | {"terms": sorted(terms), "numbers": numbers}


def _to_filter(condition: Condition) -> str:
    if condition.between is None:
        values: list[str | float] = [*condition.texts, *condition.numbers]
        terms = ", ".join(str(_term(condition.name, value)) for value in values)
        return f"array_contains_any(terms, [{terms}])"
    low, high = condition.between
    number = f'numbers["{_to_key(condition.name)}"]'
    return f"{number} >= {max(low, -_LARGEST)!r} and {number} <= {min(high, _LARGEST)!r}"


def _term(name: str, value: str | float | None) -> int:
    """A number for a field and a value of it, or for the field itself: 63 bits, so that no two are the same."""
    digest = blake2b(json.dumps([name, value]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _to_key(name: str) -> str:
    return name.encode().hex()


def _to_track(row: Mapping[str, Any]) -> Track:
    label = _to_label(row["track_id"])
    file = FileState(row["path"], row["size"], row["mtime_ns"], row["content_sha256"])
    facts = (row["duration_s"], row["tags"], row["annotations"], row["is_missing"])
    return Track(label, label, row["track_id"], file, *facts)


def _content(track: Track) -> tuple[Any, ...]:
    return track.file, track.duration_s, track.tags, track.annotations, track.is_missing


def _to_label(track_id: str) -> int:
    return int(track_id, 16) - 2**63


def _to_id(label: int) -> str:
    return f"{label + 2**63:016x}"


def _is_id(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{16}", text) is not None


def _among(field: str, texts: Sequence[str]) -> str:
    return f"{field} in [{', '.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, escaped)
    return f'"{text}"'


def _parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


@contextmanager
def _file_system(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise LibraryError(f"cannot use {name}: {exc.strerror}") from exc
