"""What tells a recording from another, whatever its tags say: a hash of the sound as it is stored, not decoded.

Demuxing takes the container apart and leaves what a decoder would get. Tags, cover art, padding, and where in the file
they stand, are not among it, so a retag changes nothing here, and a changed sound everything.
"""

import hashlib
import io
import os
from typing import BinaryIO

from audio import DecodeError, Recording

from .errors import AudioError

PREFIX = "packets:"
"""What a hash begins with: tells it from the SHA-256 of a whole file, which is of hexadecimal digits alone."""

_DIGITS = 48  # 192 bits of SHA-256: with the prefix they fit where 64 characters were


def hash_packets(path: str) -> str:
    """The hash of a file's sound: of the stream that plays, its codec, rate and channels, and the bytes of its packets.

    Not of the borders between packets: those of PCM depend on where in the file it begins. What of a damaged file does
    not demux is left out, the same at every call.

    Returns:
        `PREFIX` and 48 hexadecimal digits.

    Raises:
        AudioError: it cannot be read, or holds no packet of sound.
    """
    digest = hashlib.sha256()
    size = 0
    try:
        with open(path, "rb") as file:
            for number, payload in enumerate(Recording(_Untagged(file)).payloads()):
                digest.update(payload)
                size += len(payload) if number else 0  # the first names the codec
    except DecodeError as exc:
        raise AudioError(path, exc.reason, may_pass=exc.may_pass) from exc
    except OSError as exc:
        raise AudioError(path, f"cannot be read ({exc.strerror or exc})", may_pass=True) from exc
    if not size:
        raise AudioError(path, "nothing in it decodes as audio")
    return f"{PREFIX}{digest.hexdigest()[:_DIGITS]}"


class _Untagged(io.RawIOBase):
    """A file without the tags at its end.

    FFmpeg gives those behind MP3 and Monkey's Audio to the decoder, as the end of the last packet or, where a picture
    in them looks like it, as packets of their own.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = _size_untagged(file)
        file.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._file.tell(), 0)
        return self._file.read(left if size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset, whence = self._size + offset, os.SEEK_SET
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _size_untagged(file: BinaryIO) -> int:
    """How many bytes come before the tags at its end; any number of them, in any order."""
    size = file.seek(0, os.SEEK_END)
    while tag := _size_of_tag(file, size):
        size -= tag
    return size


def _size_of_tag(file: BinaryIO, end: int) -> int:
    """Of a tag that ends at this byte; 0 where none does."""

    def before(length: int) -> bytes:
        """So many bytes up to the end; fewer where there are not as many."""
        file.seek(max(end - length, 0))
        return file.read(min(length, end))

    last = before(227)
    size = 0
    if last[-128:].startswith(b"TAG") and len(last) >= 128:  # ID3v1
        size = 128
    elif len(last) == 227 and last.startswith(b"TAG+"):  # its extension, which stands before it
        size = 227
    elif last[-32:].startswith(b"APETAGEX") and len(last) >= 32:  # all but its header, which is optional
        has_header = last[-32:][23] & 0x80
        size = int.from_bytes(last[-20:-16], "little") + (32 if has_header else 0)
    elif last.endswith(b"LYRICS200") and last[-15:-9].isdigit():
        size = int(last[-15:-9]) + 15
    elif last[-10:].startswith(b"3DI") and len(last) >= 10:  # ID3v2.4 with a footer: four digits of base 128
        first, second, third, fourth = last[-4:]
        size = (first << 21 | second << 14 | third << 7 | fourth) + 20
    return size if size <= end else 0
