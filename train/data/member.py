"""A recording inside a shard, read at its place there as if it were a file of its own."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from audio import DecodeError, Extent
from audio.files import ByteFile, Part
from train.data.store import Range, is_url, read_ranges


class Member(NamedTuple):
    """A file in a tar: the tar's path or URL, the file's name, the bytes that are its content, and how long it sounds,
    if its index says so."""

    shard: str
    name: str
    offset: int
    size: int
    extent: Extent | None = None

    def __str__(self) -> str:
        return f"{self.name} in {self.shard}"


class MemberFile(Part):
    """A part of a tar as a file with a name: FFmpeg knows some formats, such as G.722, by that alone."""

    def __init__(self, file: ByteFile, begin: int, end: int, *, name: str) -> None:
        super().__init__(file, begin, end)
        self.name = name


@contextmanager
def open_audio(audio: Path | Member) -> Iterator[Path | ByteFile]:
    """What `audio.Recording` reads: a path as it is, and of a shard the recording's part.

    Raises:
        DecodeError: the shard cannot be read, or no longer holds the recording where its index says.
    """
    if isinstance(audio, Path):
        yield audio
    elif is_url(audio.shard):
        content = _ahead.get(audio) or _fetch(audio)
        _check(audio, content[: tarfile.BLOCKSIZE], end=audio.offset - tarfile.BLOCKSIZE + len(content))
        yield MemberFile(io.BytesIO(content), tarfile.BLOCKSIZE, len(content), name=audio.name)
    else:
        try:
            file = open(audio.shard, "rb")  # noqa: SIM115
        except OSError as exc:
            raise DecodeError(f"the shard cannot be opened ({exc.strerror or exc})", may_pass=True) from exc
        with file:
            file.seek(audio.offset - tarfile.BLOCKSIZE)
            header = file.read(tarfile.BLOCKSIZE)
            _check(audio, header, end=file.seek(0, io.SEEK_END))
            yield MemberFile(file, audio.offset, audio.offset + audio.size, name=audio.name)


@contextmanager
def fetched_ahead(recordings: Sequence[Path | Member]) -> Iterator[None]:
    """Within the block, those of a store lie in memory: they were fetched at once, not one after the other.

    What cannot be fetched is tried again, and its error raised, where it is opened.
    """
    remote = [audio for audio in dict.fromkeys(recordings) if isinstance(audio, Member) and is_url(audio.shard)]
    try:
        contents = read_ranges([_range(member) for member in remote])
    except OSError:
        contents = []
    _ahead.update(
        (member, content) for member, content in zip(remote, contents, strict=False) if isinstance(content, bytes)
    )
    try:
        yield
    finally:
        _ahead.clear()


_ahead: dict[Member, bytes] = {}


@lru_cache(1)  # a recording is measured, and then read once or twice
def _fetch(member: Member) -> bytes:
    try:
        (content,) = read_ranges([_range(member)])
    except OSError as exc:
        raise DecodeError(str(exc), may_pass=True) from exc
    if isinstance(content, OSError):
        raise DecodeError(str(content), may_pass=True) from content
    return content


def _range(member: Member) -> Range:
    """With its header, which stands before it."""
    return Range(member.shard, member.offset - tarfile.BLOCKSIZE, member.offset + member.size)


def _check(member: Member, header: bytes, *, end: int) -> None:
    """Whether a shard of `end` bytes holds the member: another recording must not be taken for it."""
    try:
        found = tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        found = None
    # A name of more than 100 bytes may be cut off here, and stands in a header of its own.
    if found is None or found.size != member.size or (len(member.name) < 100 and found.name != member.name):
        raise DecodeError("the shard does not hold it where its index says; pack the shard again")
    if end < member.offset + member.size:
        raise DecodeError("the shard was cut short and ends within it; copy the shard again")
