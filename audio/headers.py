"""Files that contradict a header which announces more than decodes, and headers that FFmpeg corrects silently."""

import os

from .files import ByteFile

_XING_WITHIN = 256  # of the first frame's start: 4 bytes of header, 2 of checksum, 32 of side information at most
_FRAMES, _BYTES = 1, 2  # flags of a Xing header: which of its fields are there
_MOST = 0.98  # of the bytes that a Xing header tells: its own frame is none of the payload
_UNKNOWN_SIZE = 0xFFFF0000  # of a RIFF file: from here on, what streams and long files write


def contradicts_header(file: ByteFile, *, format_name: str, payload: int | None = None) -> bool:
    """Whether a file shows that it is shorter than announced because its header is wrong, and nothing is missing.

    A FLAC frame tells its place in the recording (RFC 9639, section 9.1.5): where the first one's is not 0, the
    beginning was cut off, and the header stayed. A Xing header tells how many bytes of MP3 follow, and how many frames:
    where those bytes are all there, that number is wrong.

    Args:
        payload: bytes of the packets that were found; None is all of the file.
    """
    if format_name == "flac":
        return _first_flac_number(file) != 0
    return format_name == "mp3" and _xing_bytes_are_there(file, payload)


def announced_share(file: ByteFile) -> float:
    """How much of a RIFF file there was by its header, as a share of what there is: 1, or more where it was cut off."""
    file.seek(0)
    announced = int.from_bytes(file.read(8)[4:], "little") + 8
    size = file.seek(0, os.SEEK_END)
    return max(announced / size, 1.0) if size and announced < _UNKNOWN_SIZE else 1.0


def has_variable_rate(file: ByteFile) -> bool:
    """Whether a file begins with an MP3 frame that is a Xing header; of a constant rate it is an Info header."""
    file.seek(0)
    head = file.read(_XING_WITHIN)
    return head.startswith(b"\xff") and b"Xing" in head


def _first_flac_number(file: ByteFile) -> int:
    """The first byte of the first frame's number, which is coded like UTF-8: 0 for frame or sample 0."""
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
