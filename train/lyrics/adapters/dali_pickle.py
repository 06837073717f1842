"""Reads the pickles of the DALI package without running code that they may contain.

A pickle is a program: it names functions and calls them. This reader knows the few names that DALI's files have, and
makes plain values of them. No name is looked up anywhere, so neither the DALI package nor NumPy is asked for anything.
Why this and not the package's JSON is in docs/decisions/0040-dali-is-read-without-its-classes.md.
"""

import gzip
import io
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from train.data.adapters.layout import AdapterError

MOST_BYTES = 2**26  # unpacked; a song of 1,000 notes has a quarter of a MB


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a song's file: {"info": ..., "annotations": ...}, as the package's `write_json` would write it.

    Raises:
        AdapterError: the file is damaged, or holds anything but a song of DALI.
    """
    song = read_pickle(path)
    values = vars(song) if isinstance(song, SimpleNamespace) else {}
    if not all(isinstance(values.get(key), dict) for key in ("info", "annotations")):
        raise AdapterError(f"{path} holds no annotations of DALI, but {type(song).__name__}; give a song's own file")
    return values


def read_pickle(path: Path) -> Any:
    """Read a gzipped pickle of plain values, numbers of NumPy and DALI's `Annotations`.

    The numbers become Python's, and `Annotations` become a `SimpleNamespace`.

    Raises:
        AdapterError: the file is damaged, is too large, or names anything else.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as exc:
        raise AdapterError(f"{path} is no gzipped file of DALI ({exc}); download it again") from exc
    if len(content) > MOST_BYTES:
        raise AdapterError(f"{path} unpacks to more than {MOST_BYTES >> 20} MB; expected annotations of one song")
    try:
        return _PlainUnpickler(content).load()
    except _Foreign as exc:
        raise AdapterError(f"{path} names {exc}, which no file of DALI does; it was not loaded: do not use it") from exc
    except Exception as exc:  # a damaged program fails in any way
        raise AdapterError(f"{path} holds no pickle that can be read ({exc}); download it again") from exc


class _Foreign(Exception):
    """A pickle names what is not known here."""


class _PlainUnpickler(pickle.Unpickler):
    """Knows DALI's names alone. Each object has its own: a pickle may change what it is given."""

    def __init__(self, content: bytes) -> None:
        # Python 2 wrote some files; numbers of NumPy in them are bytes, which Latin-1 keeps.
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._known = _plain_names()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._known:
            raise _Foreign(f"{module}.{name}")
        return self._known[module, name]


def _plain_names() -> dict[tuple[str, str], Any]:
    class NumberType:
        """A dtype: a kind and a size, such as f8, and then in its state the byte order."""

        def __init__(self, kind: str, align: object = False, copy: object = True) -> None:
            self.kind, self.order = kind, "<"

        def __setstate__(self, state: tuple[Any, ...]) -> None:
            self.order = state[1]

    def number(number_type: NumberType, raw: bytes | str) -> float | int | bool:
        code = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "b1": "?"}[number_type.kind]
        order = "<" if number_type.order == "|" else number_type.order
        value: float | int | bool = struct.unpack(order + code, _as_bytes(raw))[0]
        return value

    known: dict[tuple[str, str], Callable[..., Any]] = {
        ("DALI.Annotations", "Annotations"): SimpleNamespace,
        ("numpy", "dtype"): NumberType,
        ("_codecs", "encode"): lambda text, encoding: _as_bytes(text),
    }
    # Of Python 2 and of NumPy 2 have other names for the same.
    known |= dict.fromkeys([("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")], number)
    return known


def _as_bytes(text: bytes | str) -> bytes:
    return text.encode("latin1") if isinstance(text, str) else text
