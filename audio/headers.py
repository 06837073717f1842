"""Checks whether a header that announces more than decodes is wrong, and undoes FFmpeg's silent corrections."""

import os

from .files import ByteFile

_XING_WITHIN = 256  # bytes from the first frame's start; header 4, checksum 2, side information at most 32 bytes
_FRAMES, _BYTES = 1, 2  # flags of a Xing header: this field is present
_MOST = 0.98  # of the bytes that a Xing header announces: they include its own frame, which is not payload
_UNKNOWN_SIZE = 0xFFFF0000  # RIFF sizes from here on are placeholders, written by streams and for long files


def contradicts_header(file: ByteFile, *, format_name: str, payload: int | None = None) -> bool:
    """Whether the file shows that its header is wrong, so that nothing is missing although less decodes.

    Each FLAC frame holds its position in the recording (RFC 9639, section 9.1.5). If the first position is not 0, the
    beginning was cut off and the header was kept. A Xing header holds the number of bytes and of frames of the MP3. If
    all those bytes are there, the number of frames is wrong.

    Args:
        payload: bytes of the packets that were found; None counts the whole file.
    """
    if format_name == "flac":
        return _first_flac_number(file) != 0
    return format_name == "mp3" and _xing_bytes_are_there(file, payload)


def announced_share(file: ByteFile) -> float:
    """Size of a RIFF file by its header, divided by its real size: 1, or more if the file was cut off."""
    file.seek(0)
    announced = int.from_bytes(file.read(8)[4:], "little") + 8
    size = file.seek(0, os.SEEK_END)
    return max(announced / size, 1.0) if size and announced < _UNKNOWN_SIZE else 1.0


def has_variable_rate(file: ByteFile) -> bool:
    """Whether an MP3 file begins with a Xing header; files of constant bit rate have an Info header instead."""
    file.seek(0)
    head = file.read(_XING_WITHIN)
    return head.startswith(b"\xff") and b"Xing" in head


def _first_flac_number(file: ByteFile) -> int:
    """First byte of the first frame's number, which is coded like UTF-8; 0 means frame or sample 0."""
    file.seek(0)
    if file.read(4) != b"fLaC":
        return 0
    is_last = False
    while not is_last:
        header = file.read(4)
        if len(header) < 4:
            return 0
        is_last = bool(header[0] & 0x80)
        file.seek(int.from_bytes(header[1:], "big"), 1)
    frame = file.read(5)
    return frame[4] if len(frame) == 5 and frame.startswith(b"\xff") else 0


def _xing_bytes_are_there(file: ByteFile, payload: int | None) -> bool:
    file.seek(0)
    head = file.read(_XING_WITHIN)
    places = [place for name in (b"Xing", b"Info") if (place := head.find(name)) >= 0]
    if not places:
        return False
    flags = int.from_bytes(head[places[0] + 4 : places[0] + 8], "big")
    if not flags & _BYTES:
        return False
    field = places[0] + (12 if flags & _FRAMES else 8)
    announced = int.from_bytes(head[field : field + 4], "big")
    return _MOST * announced <= (file.seek(0, os.SEEK_END) if payload is None else payload)
