"""What tells a recording from another, whatever its tags say: a hash of the sound as it is stored, not decoded.

Demuxing takes the container apart and leaves what a decoder would get. Tags, cover art, padding, and where in the file
they stand, are not among it, so a retag changes nothing here, and a changed sound everything.
"""

import hashlib

from audio import DecodeError, Recording

from .errors import AudioError

PREFIX = "packets:"
"""What a hash begins with: tells it from the SHA-256 of a whole file, which is of hexadecimal digits alone."""

_DIGITS = 48  # 192 bits of SHA-256: with the prefix they fit where 64 characters were


def hash_packets(path: str) -> str:
    """The hash of a file's sound: of the stream that plays, its codec, rate and channels, and the bytes of its packets.

    Not of the borders between packets: those of PCM depend on where in the file it begins. What of a damaged file does
    not demux is left out, the same at every call.

    Returns:
        `PREFIX` and 48 hexadecimal digits.

    Raises:
        AudioError: it cannot be read, or holds no packet of sound.
    """
    digest = hashlib.sha256()
    size = 0
    try:
        for number, payload in enumerate(Recording(path).payloads()):
            digest.update(payload)
            size += len(payload) if number else 0  # the first names the codec
    except DecodeError as exc:
        raise AudioError(path, exc.reason, may_pass=exc.may_pass) from exc
    if not size:
        raise AudioError(path, "nothing in it decodes as audio")
    return f"{PREFIX}{digest.hexdigest()[:_DIGITS]}"
