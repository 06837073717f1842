"""Read a TensorFlow checkpoint ("tensor bundle") without TensorFlow.

A checkpoint has two files. `PREFIX.data-00000-of-00001` holds the bytes of the tensors. `PREFIX.index` holds their
offsets. The index is a LevelDB table: its keys are sorted, and each key omits the prefix that it shares with the key
before. Its values are protocol-buffer messages `BundleEntryProto` (tensorflow/core/protobuf/tensor_bundle.proto).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FOOTER_BYTES = 48
MAGIC = bytes.fromhex("57fb808b247547db")  # the last bytes of every LevelDB table
DT_FLOAT = 1
DTYPE, SHAPE, OFFSET, SIZE = 1, 2, 4, 5  # fields of BundleEntryProto; SHAPE's dimensions are its field 2
VARINT, BYTES, FIXED32 = 0, 2, 5  # wire types


class TensorBundleError(ValueError):
    """A checkpoint cannot be read; the message says what was found."""


class Block(NamedTuple):
    """A part of the index file."""

    offset: int
    size: int


def read_tensor_bundle(index: bytes, data: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a checkpoint by name.

    Args:
        index: the content of `PREFIX.index`.
        data: the content of `PREFIX.data-00000-of-00001`.

    Raises:
        TensorBundleError: these are not such files, they are cut short, or their format is not supported.
    """
    if index[-len(MAGIC) :] != MAGIC:
        raise TensorBundleError("the index is not a LevelDB table")
    try:
        return dict(_tensors(index, data))
    except (IndexError, ValueError) as exc:
        raise TensorBundleError(f"the checkpoint is cut short or damaged ({exc})") from exc


def _tensors(index: bytes, data: bytes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    footer = index[-FOOTER_BYTES:]
    _, at = _block_handle(footer, 0)  # skips the meta index
    table, _ = _block_handle(footer, at)
    for _, handle in _entries(index, table):
        for key, value in _entries(index, _block_handle(handle, 0)[0]):
            entry = _numbers(value)
            if not key or entry.get(DTYPE) != DT_FLOAT:  # the header, and integers such as a step counter
                continue
            shape = [_numbers(part).get(1, 0) for message in _messages(value, SHAPE) for part in _messages(message, 2)]
            start, size = entry.get(OFFSET, 0), entry.get(SIZE, 0)
            if start + size > len(data):
                raise ValueError(f"{key.decode()} is beyond the end")
            yield key.decode(), np.frombuffer(data[start : start + size], "<f4").reshape(shape)


def _entries(index: bytes, block: Block) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block.

    An entry holds: length of the shared prefix, length of the rest, length of the value, rest of the key, value.
    """
    content = index[block.offset : block.offset + block.size]
    if index[block.offset + block.size]:
        raise ValueError("a block is compressed")
    restarts = int.from_bytes(content[-4:], "little")
    end, at, key = len(content) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(content, at)
        rest, at = _varint(content, at)
        size, at = _varint(content, at)
        key = key[:shared] + content[at : at + rest]
        yield key, content[at + rest : at + rest + size]
        at += rest + size


def _block_handle(content: bytes, at: int) -> tuple[Block, int]:
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return Block(offset, size), at


def _numbers(message: bytes) -> dict[int, int]:
    """The numeric fields of a message. A field that is 0 may be missing."""
    return {field: value for field, value in _fields(message) if isinstance(value, int)}


def _messages(message: bytes, wanted: int) -> list[bytes]:
    """All values of the field `wanted` of a message; the field may be repeated."""
    return [value for field, value in _fields(message) if field == wanted and isinstance(value, bytes)]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol-buffer message, as (field number, value)."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield field, value
        elif wire == BYTES:
            size, at = _varint(message, at)
            yield field, message[at : at + size]
            at += size
        elif wire == FIXED32:
            at += 4  # a checksum
        else:
            raise ValueError(f"a field has wire type {wire}")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Decode a varint (groups of seven bits, lowest first) and return it with the position after it."""
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
