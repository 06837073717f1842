"""A hash that identifies a recording whatever its tags are: it covers the encoded sound, without decoding.

Demuxing removes the container and keeps the bytes for the decoder. Tags, cover art, padding and their places in the
file are not among them. So the hash stays the same when tags change, and is different when the sound changes.
"""

import hashlib

from audio import DecodeError, Recording

from .errors import AudioError

PREFIX = "packets:"
"""The start of every hash. It tells them from the SHA-256 of a whole file, which has only hexadecimal digits."""

_DIGITS = 48  # 192 bits of SHA-256: with the prefix they fit into the 64 characters of the older hash


def hash_packets(path: str) -> str:
    """The hash of a file's sound.

    It covers the codec, rate and channels of the stream that plays, and the bytes of its packets. It does not cover the
    borders between packets, because those of PCM depend on where in the file it begins. Parts of a damaged file that
    cannot be demuxed are left out, the same way at every call.

    Returns:
        `PREFIX` and 48 hexadecimal digits.

    Raises:
        AudioError: the file cannot be read, or has no packet of sound.
    """
    digest = hashlib.sha256()
    size = 0
    try:
        for number, payload in enumerate(Recording(path).payloads()):
            digest.update(payload)
            size += len(payload) if number else 0  # the first payload is the codec's description, not sound
    except DecodeError as exc:
        raise AudioError(path, exc.reason, may_pass=exc.may_pass) from exc
    if not size:
        raise AudioError(path, "contains no audio that can be decoded")
    return f"{PREFIX}{digest.hexdigest()[:_DIGITS]}"
