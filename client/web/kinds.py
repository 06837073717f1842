"""The container and codec of a file, and whether browsers play them."""

import os
from typing import NamedTuple

from av.audio.stream import AudioStream

from audio import DecodeError, open_container

from ..errors import AudioError


class Kind(NamedTuple):
    """FFmpeg's names of a container and a codec."""

    container: str
    codec: str


# Raw AAC is left out, because it stores no length. Browsers estimate it, and then seek to wrong places.
_PLAYED = {
    "mp3": ("audio/mpeg", {"mp3", "mp3float"}),
    "mov,mp4,m4a,3gp,3g2,mj2": ("audio/mp4", {"aac", "mp3", "mp3float"}),
    "ogg": ("audio/ogg", {"vorbis", "opus", "libopus", "flac"}),
    "flac": ("audio/flac", {"flac"}),
    "wav": ("audio/wav", {"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le"}),
    "matroska,webm": ("audio/webm", {"vorbis", "opus", "libopus"}),
}
_WEBM = (".webm", ".weba")  # Matroska files with other suffixes are not WebM


def read_kind(path: str) -> Kind:
    """The container and codec of the audio stream of a file that players choose.

    Raises:
        AudioError: it is not an audio file, or it has no audio stream that can be played.
    """
    try:
        with open(path, "rb") as file, open_container(file) as container:
            stream = container.streams.best("audio")
            codec = stream.codec_context if isinstance(stream, AudioStream) else None
            if codec is None:
                raise AudioError(path, "holds no sound that can be played")
            return Kind(container.format.name, codec.name)
    except DecodeError as exc:
        raise AudioError(path, exc.reason, may_pass=exc.may_pass) from exc


def media_type_of(kind: Kind, path: str) -> str | None:
    """The media type with which browsers play a file as it is; None if they do not play it."""
    media_type, codecs = _PLAYED.get(kind.container, ("", frozenset()))
    if kind.container == "matroska,webm" and os.path.splitext(path)[1].lower() not in _WEBM:
        return None
    return media_type if kind.codec in codecs else None
