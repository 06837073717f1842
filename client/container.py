"""Facts that FFmpeg reads from a file without decoding it: its tags, and whether it has video."""

from av.video.stream import VideoStream

from audio import DecodeError, open_container

from .places import opened

_STILL = 0x400 | 0x800 | 0x100000  # libavformat/avformat.h: attached picture, timed thumbnails, still image


def read_container_tags(path: str) -> dict[str, list[str]]:
    """The tags of the file and of its audio stream, by lower-case name. The names differ between formats.

    Raises:
        DecodeError: the file cannot be opened.
        OSError: the file cannot be opened.
    """
    with opened(path) as file, open_container(file) as container:
        # Tags of the file override tags of its streams.
        said = [*(stream.metadata for stream in container.streams.audio[:1]), container.metadata]
        return {_text(name).lower(): [_text(value)] for tags in said for name, value in tags.items()}


def has_pictures(path: str) -> bool:
    """Whether the file has video: a video stream with a frame rate that is neither a cover image nor chapter images.

    It is also False if the file cannot be opened. Decoding then raises the error.
    """
    try:
        with opened(path) as file, open_container(file) as container:
            return any(stream.average_rate and not _is_still(stream) for stream in container.streams.video)
    except (DecodeError, OSError, ValueError):
        return False


def _is_still(stream: VideoStream) -> bool:
    disposition = getattr(stream, "disposition", None)  # PyAV 14.0 does not have it
    return disposition is not None and bool(disposition.value & _STILL)


def _text(text: str) -> str:
    """Decode text that is not UTF-8 as Windows-1252. Formats such as RIFF INFO do not name their encoding."""
    try:
        return text.encode().decode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode("cp1252", errors="replace")
