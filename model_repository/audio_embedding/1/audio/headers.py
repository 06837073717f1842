"""Files that contradict a header which announces more than decodes."""

from .files import ByteFile

_ID3_BYTES = 10
_XING_WITHIN = 256  # of the first frame's start: 4 bytes of header, 2 of checksum, 32 of side information at most
_FRAMES, _BYTES = 1, 2  # flags of a Xing header: which of its fields are there


def contradicts_header(file: ByteFile, *, format_name: str) -> bool:
    """Whether a file shows that it is shorter than announced because its header is wrong, and nothing is missing.

    A FLAC frame tells its place in the recording (RFC 9639, section 9.1.5): where the first one's is not 0, the
    beginning was cut off, and the header stayed. A Xing header tells how many bytes of MP3 follow, and how many frames:
    where those bytes are all there, that number is wrong.
    """
    start = _after_id3(file)
    if format_name == "flac":
        return _first_flac_number(file, start) != 0
    return format_name == "mp3" and _xing_bytes_are_there(file, start)


def _after_id3(file: ByteFile) -> int:
    file.seek(0)
    header = file.read(_ID3_BYTES)
    if not header.startswith(b"ID3") or len(header) < _ID3_BYTES:
        return 0
    size = 0
    for byte in header[6:]:  # seven bits each
        size = size << 7 | byte & 0x7F
    return _ID3_BYTES + size


def _first_flac_number(file: ByteFile, start: int) -> int:
    """The first byte of the first frame's number, which is coded like UTF-8: 0 for frame or sample 0."""
    file.seek(start)
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


def _xing_bytes_are_there(file: ByteFile, start: int) -> bool:
    file.seek(start)
    head = file.read(_XING_WITHIN)
    places = [place for name in (b"Xing", b"Info") if (place := head.find(name)) >= 0]
    if not places:
        return False
    flags = int.from_bytes(head[places[0] + 4 : places[0] + 8], "big")
    if not flags & _BYTES:
        return False
    field = places[0] + (12 if flags & _FRAMES else 8)
    return start + int.from_bytes(head[field : field + 4], "big") <= file.seek(0, 2)
