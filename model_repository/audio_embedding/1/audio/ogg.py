"""Finds the links of a chained Ogg file.

The links are streams, one after the other, each with its own headers, sample rate and channels. Each link begins with
pages that are marked "beginning of stream" (RFC 3533, section 4). FFmpeg's demuxer keeps the decoder of the first link,
and its timestamps start again at each link.
"""

import io

from .files import ByteFile

_PAGE = b"OggS"
_HEADER_BYTES = 27
_BEGINS = 0x02
_BLOCK_BYTES = 65_536


def find_links(file: ByteFile) -> list[int]:
    """Byte offset of each link, found by reading only page headers; empty if the file holds no Ogg page."""
    begins: list[int] = []
    was_beginning = False
    position = _find_page(file, 0)
    while position is not None:
        file.seek(position)
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or not header.startswith(_PAGE):
            position = _find_page(file, position + 1)
            continue
        # The first page of a stream also has number and time 0. So one flipped bit does not make a link.
        is_beginning = bool(header[5] & _BEGINS) and not any(header[6:14]) and not any(header[18:22])
        if is_beginning and not was_beginning:
            begins.append(position)
        was_beginning = is_beginning
        sizes = file.read(header[26])
        position += _HEADER_BYTES + len(sizes) + sum(sizes)
    return begins


def is_chain(file: ByteFile) -> bool:
    """Whether an Ogg file may hold more than one link, by reading only its two ends.

    Each link has its own serial number, so the first and the last page are compared. Streams that are multiplexed in
    one link also give True. Files that are not Ogg give False.
    """
    file.seek(0)
    if file.read(len(_PAGE)) != _PAGE:
        return False
    size = file.seek(0, io.SEEK_END)
    begin = max(size - 2 * _BLOCK_BYTES, 0)  # the longest page has 65,307 bytes
    file.seek(begin)
    last = file.read(size - begin).rfind(_PAGE)
    return last < 0 or _serial(file, 0) != _serial(file, begin + last)


def _serial(file: ByteFile, page: int) -> bytes:
    file.seek(page + 14)
    return file.read(4)


def _find_page(file: ByteFile, position: int) -> int | None:
    while True:
        file.seek(position)
        block = file.read(_BLOCK_BYTES)
        found = block.find(_PAGE)
        if found >= 0:
            return position + found
        if len(block) < _BLOCK_BYTES:
            return None
        position += len(block) - len(_PAGE) + 1
