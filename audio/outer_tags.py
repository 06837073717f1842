"""Finds the tags before and after the sound of a file.

FFmpeg passes some of these tags to the decoder. Tags after MP3 and Monkey's Audio become the end of the last packet, or
packets of their own if a picture in them looks like audio. Tags before AC-3 become the beginning of the first packet.
"""

import io

from .files import ByteFile

_ID3_BYTES = 10
_HAS_FOOTER = 0x10


def find_sound(file: ByteFile) -> tuple[int, int]:
    """Byte offsets where the sound begins and ends, without the tags around it, however many and in any order."""
    begin, end = 0, file.seek(0, io.SEEK_END)
    while tag := _size_of_id3(file, begin):
        begin += tag
    while tag := _size_of_tag(file, end):
        end -= tag
    return (begin, end) if begin < end else (0, file.seek(0, io.SEEK_END))


def _size_of_id3(file: ByteFile, begin: int) -> int:
    """Size in bytes of an ID3v2 tag that begins at this byte; 0 if there is none."""
    file.seek(begin)
    header = file.read(_ID3_BYTES)
    if not header.startswith(b"ID3") or len(header) < _ID3_BYTES:
        return 0
    size = 0
    for byte in header[6:]:  # seven bits each
        size = size << 7 | byte & 0x7F
    return size + (2 if header[5] & _HAS_FOOTER else 1) * _ID3_BYTES


def _size_of_tag(file: ByteFile, end: int) -> int:
    """Size in bytes of a tag that ends at this byte; 0 if there is none."""

    def before(length: int) -> bytes:
        """The last `length` bytes before `end`, or fewer at the beginning of the file."""
        file.seek(max(end - length, 0))
        return file.read(min(length, end))

    last = before(227)
    size = 0
    if last[-128:].startswith(b"TAG") and len(last) >= 128:  # ID3v1
        size = 128
    elif len(last) == 227 and last.startswith(b"TAG+"):  # the extension of ID3v1, which comes before it
        size = 227
    elif last[-32:].startswith(b"APETAGEX") and len(last) >= 32:  # its size leaves out its header, which is optional
        has_header = last[-32:][23] & 0x80
        size = int.from_bytes(last[-20:-16], "little") + (32 if has_header else 0)
    elif last.endswith(b"LYRICS200") and last[-15:-9].isdigit():
        size = int(last[-15:-9]) + 15
    elif last[-10:].startswith(b"3DI") and len(last) >= 10:  # ID3v2.4 with a footer: four digits of base 128
        first, second, third, fourth = last[-4:]
        size = (first << 21 | second << 14 | third << 7 | fourth) + 20
    return size if size <= end else 0
