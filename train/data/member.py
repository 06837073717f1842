"""Reads a recording inside a shard in place, as if it were a file of its own."""

import io
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from audio import DecodeError, Extent
from audio.files import ByteFile, Part
from train.data.store import Range, StoreError, is_url, read_ranges

_PAUSES_S = (0.5, 1.0, 2.0, 4.0)  # between retries of a batch; the libraries of stores retry for some two seconds too


class UnansweredError(DecodeError):
    """A store does not answer, after retries too. The recording itself may be good."""


class Member(NamedTuple):
    """A file in a tar.

    Attributes:
        shard: path or URL of the tar.
        name: name of the file.
        offset: first byte of its content in the tar.
        size: number of bytes of its content.
        extent: length of the sound, if the shard's index has it.
    """

    shard: str
    name: str
    offset: int
    size: int
    extent: Extent | None = None

    def __str__(self) -> str:
        return f"{self.name} in {self.shard}"


class MemberFile(Part):
    """A part of a tar as a file with a name; FFmpeg recognises some formats, such as G.722, only by the name."""

    def __init__(self, file: ByteFile, begin: int, end: int, *, name: str) -> None:
        super().__init__(file, begin, end)
        self.name = name


@contextmanager
def open_audio(audio: Path | Member) -> Iterator[Path | ByteFile]:
    """Open the input of `audio.Recording`: a path unchanged, or the recording's part of a shard.

    Raises:
        UnansweredError: the shard's store does not answer.
        DecodeError: the shard cannot be read, or the recording is no longer where its index says.
    """
    if isinstance(audio, Path):
        yield audio
    elif is_url(audio.shard):
        content = _checked(_ahead[audio]) if audio in _ahead else _content(audio)
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
    """Keep the recordings of a store in memory within the block; they are fetched in parallel.

    If a recording cannot be fetched, the error is raised when it is opened.
    """
    wanted = [audio for audio in dict.fromkeys(recordings) if isinstance(audio, Member) and is_url(audio.shard)]
    _ahead.update(_fetch(wanted))
    try:
        yield
    finally:
        _ahead.clear()


_ahead: dict[Member, bytes | StoreError] = {}


@lru_cache(1)  # a recording is first measured, then read once or twice
def _content(member: Member) -> bytes:
    return _checked(_fetch([member])[member])


def _checked(answer: bytes | StoreError) -> bytes:
    if isinstance(answer, bytes):
        return answer
    raise (UnansweredError if answer.may_pass else DecodeError)(str(answer), may_pass=answer.may_pass) from answer


def _fetch(members: Sequence[Member]) -> dict[Member, bytes | StoreError]:
    """Fetch the contents of these. A store that does not answer for some seconds is asked again."""
    answers: dict[Member, bytes | StoreError] = {}
    left = list(members)
    for pause_s in (0.0, *_PAUSES_S):
        if left:
            time.sleep(pause_s)
            answers.update(zip(left, _ask(left), strict=True))
            left = [member for member in left if getattr(answers[member], "may_pass", False)]
    return answers


def _ask(members: Sequence[Member]) -> list[bytes | StoreError]:
    try:
        return read_ranges([_range(member) for member in members])
    except StoreError as exc:  # there is no such store
        return [exc] * len(members)


def _range(member: Member) -> Range:
    """Return the range of the content and of the tar header before it."""
    return Range(member.shard, member.offset - tarfile.BLOCKSIZE, member.offset + member.size)


def _check(member: Member, header: bytes, *, end: int) -> None:
    """Raise DecodeError unless a shard of `end` bytes holds this member, so that no other recording is read instead."""
    try:
        found = tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        found = None
    # A name of more than 100 bytes may be cut here; the full name is in a separate header.
    if found is None or found.size != member.size or (len(member.name) < 100 and found.name != member.name):
        raise DecodeError("the index of the shard does not match the shard; pack the shard again")
    if end < member.offset + member.size:
        raise DecodeError("the shard was cut short and ends within it; copy the shard again")
