"""Cover pictures in files, read in a decoder process and sent only in formats that browsers show without scripts."""

import base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import mutagen
from mutagen.apev2 import APEv2
from mutagen.flac import Picture
from mutagen.id3 import ID3

from audio import open_container

MOST_BYTES = 8 << 20
_FRONT = 3  # of the picture types of ID3, which FLAC and ASF share


class Cover(NamedTuple):
    """A picture.

    Attributes:
        media_type: found from the first bytes; the tag is not trusted.
        content: the bytes of the picture.
    """

    media_type: str
    content: bytes


def read_cover(path: str) -> Cover | None:
    """The front cover of a file, else its first picture; None if no picture can be shown."""
    for read in (_own_pictures, _id3_pictures, _ape_pictures, _attached_pictures):
        with suppress(Exception):  # damaged tags raise exceptions that mutagen does not document
            found = [(kind, cover) for kind, content in read(path) if (cover := _shown(content))]
            if found:
                return min(found, key=lambda pair: pair[0] != _FRONT)[1]
    return None


def _shown(content: bytes) -> Cover | None:
    """The picture, if its first bytes show a format that browsers decode without running scripts."""
    if len(content) > MOST_BYTES:
        return None
    for begin, media_type in [
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
    ]:
        if content.startswith(begin):
            return Cover(media_type, content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return Cover("image/webp", content)
    return None


_Pictures = Iterator[tuple[int, bytes]]


def _own_pictures(path: str) -> _Pictures:
    """Pictures in the tags that belong to the file's format."""
    file = mutagen.File(path)
    for picture in getattr(file, "pictures", ()):  # FLAC
        yield picture.type, picture.data
    tags: Any = getattr(file, "tags", None)
    if tags is not None:
        yield from _pictures_of(tags)


def _id3_pictures(path: str) -> _Pictures:
    return _pictures_of(ID3(path))  # type: ignore[no-untyped-call]


def _ape_pictures(path: str) -> _Pictures:
    return _pictures_of(APEv2(path))  # type: ignore[no-untyped-call]


def _pictures_of(tags: Any) -> _Pictures:
    for name, values in list(tags.items()):
        read = _READERS.get(name.partition(":")[0].lower())
        if read is not None:
            for value in values if isinstance(values, list) else [values]:
                with suppress(Exception):
                    yield read(name, value)


def _of_id3(_: str, frame: Any) -> tuple[int, bytes]:
    return int(frame.type), bytes(frame.data)


def _of_vorbis(_: str, text: Any) -> tuple[int, bytes]:
    picture = Picture(base64.b64decode(text))  # type: ignore[no-untyped-call]
    return int(picture.type), bytes(picture.data)


def _of_vorbis_before_2008(_: str, text: Any) -> tuple[int, bytes]:
    return _FRONT, base64.b64decode(text)


def _of_mp4(_: str, data: Any) -> tuple[int, bytes]:
    return _FRONT, bytes(data)


def _of_asf(_: str, value: Any) -> tuple[int, bytes]:
    """[MS-ASF] WM/Picture: type, length of the data, two NUL-terminated UTF-16 texts, the data."""
    block = bytes(value.value)
    size = int.from_bytes(block[1:5], "little")
    return block[0], block[len(block) - size :]


def _of_ape(name: str, value: Any) -> tuple[int, bytes]:
    """A name, a NUL, the data."""
    return _FRONT if "front" in name.lower() else 0, bytes(value.value).partition(b"\0")[2]


_READERS: dict[str, Callable[[str, Any], tuple[int, bytes]]] = {
    "apic": _of_id3,
    "metadata_block_picture": _of_vorbis,
    "coverart": _of_vorbis_before_2008,
    "covr": _of_mp4,
    "wm/picture": _of_asf,
    "cover art (front)": _of_ape,
    "cover art (back)": _of_ape,
}


def _attached_pictures(path: str) -> _Pictures:
    """Pictures that FFmpeg finds: in Matroska, AIFF and WAV, and after tags that mutagen does not know."""
    with open(path, "rb") as file, open_container(file) as container:
        for stream in container.streams.video:
            packet = next((packet for packet in container.demux(stream) if packet.size), None)
            if packet is not None:
                yield 0, bytes(packet)
            container.seek(0)
