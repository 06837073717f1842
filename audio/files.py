"""The sources that an audio file can be read from."""

import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class ByteFile(Protocol):
    """An open binary file, or an object that reads like one."""

    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...


Source = str | os.PathLike[str] | ByteFile | Callable[[], AbstractContextManager[ByteFile]]
"""A path, a file opened for reading bytes, or a function that opens one."""


class Part(io.RawIOBase):
    """The bytes of an open file from `begin` to `end` (None: the file's end), as a file of its own."""

    def __init__(self, file: ByteFile, begin: int, end: int | None) -> None:
        self._file = file
        self._begin = begin
        self._end = file.seek(0, io.SEEK_END) if end is None else end
        self._position = begin

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: self._begin, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = max(origin + offset, self._begin)
        return self.tell()

    def tell(self) -> int:
        return self._position - self._begin

    def read(self, size: int = -1) -> bytes:
        left = max(self._end - self._position, 0)
        self._file.seek(self._position)
        content = self._file.read(left if size < 0 else min(size, left))
        self._position += len(content)
        return content
