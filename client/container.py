"""What FFmpeg says about a file before anything of it is decoded: its tags, and whether it holds moving pictures."""

import av
from av.container import InputContainer

_STILL = 0x400 | 0x800 | 0x100000  # libavformat/avformat.h: attached picture, timed thumbnails, still image
# Tags that are no UTF-8 keep their bytes as surrogates; PyAV 19 does so by itself, and knows no other way.
_OPTIONS = {"metadata_errors": "surrogateescape"} if int(av.__version__.partition(".")[0]) < 19 else {}


def read_container_tags(path: str) -> dict[str, list[str]]:
    """The tags of the file and of its audio stream by their names, which differ from format to format, in lower case.

    Raises:
        av.FFmpegError, OSError: it cannot be opened.
    """
    with open(path, "rb") as file, _opened(file) as container:
        streams = [container, *container.streams.audio[:1]]  # what the file says of itself goes before
        pairs = [pair for stream in reversed(streams) for pair in stream.metadata.items()]
        return {_text(name).lower(): [_text(value)] for name, value in pairs}


def has_pictures(path: str) -> bool:
    """Whether the file holds moving pictures: a video stream that is no cover image.

    False also where it cannot be opened, as decoding says why.
    """
    try:
        with open(path, "rb") as file, _opened(file) as container:
            # Still pictures have no rate; some chapter images have one. PyAV 14.0 knows no disposition.
            return any(
                stream.average_rate and not getattr(stream, "disposition", 0) & _STILL
                for stream in container.streams.video
            )
    except (av.FFmpegError, OSError, ValueError):
        return False


def _opened(file: object) -> InputContainer:
    # FFmpeg sees a Python file and may open no other: a playlist in disguise reaches nothing.
    return av.open(file, mode="r", options={"protocol_whitelist": ""}, **_OPTIONS)


def _text(text: str) -> str:
    """Formats such as RIFF INFO do not say how they write letters: what is no UTF-8 is Windows' own."""
    try:
        return text.encode().decode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode("cp1252", errors="replace")
