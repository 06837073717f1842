"""What FFmpeg says about a file before anything of it is decoded: its tags, and whether it holds moving pictures."""

from av.video.stream import VideoStream

from audio import DecodeError, open_container

from .places import opened

_STILL = 0x400 | 0x800 | 0x100000  # libavformat/avformat.h: attached picture, timed thumbnails, still image


def read_container_tags(path: str) -> dict[str, list[str]]:
    """The tags of the file and of its audio stream by their names, which differ from format to format, in lower case.

    Raises:
        DecodeError, OSError: it cannot be opened.
    """
    with opened(path) as file, open_container(file) as container:
        # What the file says of itself goes before what one of its streams does.
        said = [*(stream.metadata for stream in container.streams.audio[:1]), container.metadata]
        return {_text(name).lower(): [_text(value)] for tags in said for name, value in tags.items()}


def has_pictures(path: str) -> bool:
    """Whether the file holds moving pictures: a video stream with a rate that is neither a cover nor chapters' images.

    False also where it cannot be opened, as decoding says why.
    """
    try:
        with opened(path) as file, open_container(file) as container:
            return any(stream.average_rate and not _is_still(stream) for stream in container.streams.video)
    except (DecodeError, OSError, ValueError):
        return False


def _is_still(stream: VideoStream) -> bool:
    disposition = getattr(stream, "disposition", None)  # PyAV 14.0 does not tell
    return disposition is not None and bool(disposition.value & _STILL)


def _text(text: str) -> str:
    """Formats such as RIFF INFO do not say how they write letters: what is no UTF-8 is Windows' own."""
    try:
        return text.encode().decode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode("cp1252", errors="replace")
