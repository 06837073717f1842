"""What FFmpeg says about a file before anything of it is decoded: its tags, and whether it holds moving pictures."""

from typing import IO, Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

_STILL = 0x400 | 0x800 | 0x100000  # libavformat/avformat.h: attached picture, timed thumbnails, still image
# Tags that are no UTF-8 keep their bytes as surrogates; PyAV 19 does so by itself, and knows no other way.
_OPTIONS: Any = {"metadata_errors": "surrogateescape"} if int(av.__version__.partition(".")[0]) < 19 else {}


def read_container_tags(path: str) -> dict[str, list[str]]:
    """The tags of the file and of its audio stream by their names, which differ from format to format, in lower case.

    Raises:
        av.FFmpegError, OSError: it cannot be opened.
    """
    with open(path, "rb") as file, _opened(file) as container:
        # What the file says of itself goes before what one of its streams does.
        said = [*(stream.metadata for stream in container.streams.audio[:1]), container.metadata]
        return {_text(name).lower(): [_text(value)] for tags in said for name, value in tags.items()}


def has_pictures(path: str) -> bool:
    """Whether the file holds moving pictures: a video stream with a rate that is neither a cover nor chapters' images.

    False also where it cannot be opened, as decoding says why.
    """
    try:
        with open(path, "rb") as file, _opened(file) as container:
            return any(stream.average_rate and not _is_still(stream) for stream in container.streams.video)
    except (av.FFmpegError, OSError, ValueError):
        return False


def _opened(file: IO[bytes]) -> InputContainer:
    # FFmpeg sees a Python file and may open no other: a playlist in disguise reaches nothing. Not `options`, of which
    # PyAV before 17.1 takes a copy for each stream, and reads beyond them where FFmpeg finds more on the way.
    container: InputContainer = av.open(file, mode="r", container_options={"protocol_whitelist": ""}, **_OPTIONS)
    return container


def _is_still(stream: VideoStream) -> bool:
    disposition = getattr(stream, "disposition", None)  # PyAV 14.0 does not tell
    return disposition is not None and bool(disposition.value & _STILL)


def _text(text: str) -> str:
    """Formats such as RIFF INFO do not say how they write letters: what is no UTF-8 is Windows' own."""
    try:
        return text.encode().decode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode("cp1252", errors="replace")
