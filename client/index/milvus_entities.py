"""Tracks as Milvus entities: their fields, and the filters that find them."""

import base64
import json
import re
import sys
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient

from ..errors import LibraryError, QueryError
from . import quantized
from .fields import Condition, Value, field_name, folded, several
from .records import FileState, Model, NewTrack, Track

MOST_BYTES = 65_536
"""Milvus's limit for a JSON value or a text, in bytes."""
FACTS = (
    "track_id",
    "path",
    "size",
    "mtime_ns",
    "content_sha256",
    "duration_s",
    "tags",
    "annotations",
    "is_missing",
    "numbers",
)
"""The fields from which a `Track` is made."""
EVERYTHING = (*FACTS, "vector", "windows")
"""The fields from which all others can be computed."""
TRACKS_INDEXES: dict[str, dict[str, Any]] = {
    "vector": {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 16, "efConstruction": 200}},
    **{field: {"index_type": "INVERTED"} for field in ("path", "content_sha256", "terms")},
}
NOTES_INDEXES = {"vector": {"index_type": "FLAT", "metric_type": "IP"}}
"""The Milvus index of each field. In a Milvus Lite file, only indexes of vectors are made."""

_MOST_VALUES = 4_096  # of an array
_PIECE = 60_000  # characters of a text in an array
_REST_BYTES = 512  # of an entity in a request: ids, hashes, numbers, and what frames them
_EIGHT_BITS = "8 bits:"  # marks quantized windows, which older versions did not write
_LARGEST = sys.float_info.max
# Old collections have no fields for these values, and servers before 2.6 cannot add fields. So they are stored in the
# field `numbers`, whose other keys are hexadecimal digits.
_OWN = (_CTIME_NS, _WARNING) = ("ctime_ns", "warning")


def tracks_schema(dim: int) -> Any:
    """The schema of the collection of tracks, with vectors of `dim` numbers."""
    schema = MilvusClient.create_schema()
    schema.add_field("track_id", DataType.VARCHAR, max_length=16, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("path", DataType.VARCHAR, max_length=MOST_BYTES - 1)
    schema.add_field("size", DataType.INT64)
    schema.add_field("mtime_ns", DataType.INT64)
    schema.add_field("content_sha256", DataType.VARCHAR, max_length=64)  # `FileState.content_hash`
    schema.add_field("duration_s", DataType.DOUBLE)
    schema.add_field("is_missing", DataType.BOOL)
    schema.add_field("tags", DataType.JSON)
    schema.add_field("annotations", DataType.JSON)
    # Hashes that searches filter by. They are only digits, because servers treat quotes and brackets in names
    # differently.
    schema.add_field("terms", DataType.ARRAY, element_type=DataType.INT64, max_capacity=_MOST_VALUES)
    schema.add_field("numbers", DataType.JSON)
    # Kept on the servers' disks (mmap), because windows are read only of hits.
    schema.add_field(
        "windows",
        DataType.ARRAY,
        element_type=DataType.VARCHAR,
        max_length=MOST_BYTES - 1,
        max_capacity=_MOST_VALUES,
        mmap_enabled=True,
    )
    return schema


def notes_schema(dim: int) -> Any:
    """The schema of the collection of notes: texts for measuring the library, and files that failed."""
    schema = MilvusClient.create_schema()
    schema.add_field("number", DataType.INT64, is_primary=True)
    schema.add_field("kind", DataType.VARCHAR, max_length=64)
    schema.add_field("note", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    return schema


def to_properties(model: Model) -> dict[str, str]:
    """The properties of a collection, which name the model of its vectors."""
    return {"musicsearch.model": json.dumps(model._asdict())}


def from_properties(properties: Mapping[str, str], *, name: str) -> Model:
    """The model of the collection `name`.

    Raises:
        LibraryError: the collection is not a library.
    """
    try:
        return Model(**json.loads(properties["musicsearch.model"]))
    except (KeyError, TypeError, ValueError) as exc:
        raise LibraryError(f"the collection at {name} is not a MusicSearch library: choose another name") from exc


def to_row(track_id: str, track: NewTrack, *, annotations: Mapping[str, Value]) -> dict[str, Any]:
    """The entity of a track; see `with_fields`."""
    made = track.vectors
    text = (
        _EIGHT_BITS
        + base64.b64encode(
            made.starts_s.astype("<f4").tobytes() + quantized.quantize(made.windows, track=made.vector)
        ).decode()
    )
    row = {
        "track_id": track_id,
        "vector": made.vector,
        "windows": [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)],
        "duration_s": float(track.duration_s),
        "tags": dict(track.metadata),
        "annotations": dict(annotations),
        "numbers": {_WARNING: track.warning},
    }
    put_file(row, track.file)
    return with_fields(row)


def to_windows(row: Mapping[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Start times float32 [windows] in seconds, and vectors float32 [windows, dim], of the windows of an entity.

    Needs the fields `windows` and `vector`.
    """
    track = np.array(row["vector"], np.float32)
    times, vectors = to_window_blobs(row)
    starts_s = np.frombuffer(times, "<f4")
    return starts_s, quantized.read(vectors, count=len(starts_s), track=track)


def to_window_blobs(row: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Start times and windows as a catalogue stores them: float32 [windows], and bytes for `quantized.read`."""
    dim = len(row["vector"])
    text = "".join(row["windows"])
    if not text.startswith(_EIGHT_BITS):  # as older versions wrote them
        table = np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, 1 + dim)
        return table[:, 0].tobytes(), table[:, 1:].tobytes()
    content = base64.b64decode(text.removeprefix(_EIGHT_BITS))
    size = 4 * (len(content) // (4 + quantized.size_of(dim)))
    return content[:size], content[size:]


def put_file(row: dict[str, Any], file: FileState) -> None:
    """Set the file of the track, and mark it as not missing."""
    row |= {
        "path": file.path,
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "content_sha256": file.content_hash,
        "is_missing": False,
        # A text, because JSON's numbers may lose precision.
        "numbers": {**row["numbers"], _CTIME_NS: str(file.ctime_ns)},
    }


def with_fields(row: dict[str, Any]) -> dict[str, Any]:
    """Add the fields that searches filter by to an entity.

    Raises:
        QueryError: the metadata exceed Milvus's limits.
    """
    for name in ("tags", "annotations"):
        size = len(json.dumps(row[name], ensure_ascii=False, default=np.generic.item).encode())
        if size > MOST_BYTES:
            raise QueryError(f"the {name} of {row['path']} take {size} bytes, Milvus holds at most {MOST_BYTES}")
    fields: dict[str, Value] = row["tags"] | row["annotations"]
    terms: set[int] = set()
    numbers: dict[str, Any] = {name: row["numbers"][name] for name in _OWN if name in row["numbers"]}
    for said, value in fields.items():
        name = field_name(said)
        terms.add(term(name, None))
        for part in several(value):
            if isinstance(part, str):
                terms.add(term(name, folded(part)))
            else:
                if isinstance(part, int) and not -(2**63) <= part < 2**63:
                    raise QueryError(f"{name} of {row['path']} is {part}, Milvus holds only whole numbers of 64 bits")
                terms.add(term(name, float(part)))
                numbers[_to_key(name)] = float(part)
    if len(terms) > _MOST_VALUES:
        raise QueryError(f"{row['path']} has {len(terms)} fields and values, Milvus holds at most {_MOST_VALUES}")
    return row | {"terms": sorted(terms), "numbers": numbers}


def size_of(row: Mapping[str, Any]) -> int:
    """The most bytes that an entity takes in a request."""
    texts = [json.dumps(row[name], default=np.generic.item) for name in ("tags", "annotations", "numbers")]
    return (
        len(row["path"].encode())
        + sum(map(len, [*row["windows"], *texts]))
        + 4 * len(row["vector"])
        + 10 * len(row["terms"])  # numbers of 63 bits, 7 bits a byte
        + _REST_BYTES
    )


def to_filter(condition: Condition) -> str:
    """The Milvus filter for a condition."""
    if condition.between is None:
        values: list[str | float] = [*condition.texts, *condition.numbers]
        terms = ", ".join(str(term(condition.name, value)) for value in values)
        return f"array_contains_any(terms, [{terms}])"
    low, high = (min(max(limit, -_LARGEST), _LARGEST) for limit in condition.between)
    number = f'numbers["{_to_key(condition.name)}"]'
    return f"{number} >= {low!r} and {number} <= {high!r}"


def is_warned() -> str:
    """The Milvus filter for tracks whose files do not decode completely."""
    return f'numbers["{_WARNING}"] > ""'


def term(name: str, value: str | float | None) -> int:
    """A hash of 63 bits, so that collisions are negligible, of a field and its value, or of a field (value None)."""
    digest = blake2b(json.dumps([name, value]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _to_key(name: str) -> str:
    return name.encode().hex()


def to_track(row: Mapping[str, Any]) -> Track:
    """The track of an entity, from its fields `FACTS`."""
    label = to_label(row["track_id"])
    own = row["numbers"]
    file = FileState(row["path"], row["size"], row["mtime_ns"], row["content_sha256"], int(own.get(_CTIME_NS, 0)))
    facts = (row["duration_s"], row["tags"], row["annotations"], row["is_missing"], own.get(_WARNING, ""))
    return Track(label, label, row["track_id"], file, *facts)


def content(track: Track) -> tuple[Any, ...]:
    """Everything in a track except its id and its numbers; numbers differ between stores."""
    return track.file, track.duration_s, track.tags, track.annotations, track.is_missing, track.warning


def to_label(track_id: str) -> int:
    """The label of a track id: the id as a signed 64-bit number."""
    return int(track_id, 16) - 2**63


def to_id(label: int) -> str:
    return f"{label + 2**63:016x}"


def is_id(text: str) -> bool:
    """Whether the text has the form of a track id."""
    return re.fullmatch("[0-9a-f]{16}", text) is not None


def among(field: str, texts: Sequence[str]) -> str:
    """The Milvus filter for entities whose field is one of these texts."""
    return f"{field} in [{', '.join(map(quoted, texts))}]"


def quoted(text: str) -> str:
    """A text as a string literal in a filter.

    Characters that UTF-8 cannot encode are written as escapes; no track has them.
    """
    text = text.encode(errors="backslashreplace").decode()
    for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, escaped)
    return f'"{text}"'
