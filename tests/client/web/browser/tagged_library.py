"""The demo's collection with names: its tracks, tagged as bought music is, and a library of them."""

import shutil
import struct
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from mutagen.flac import Picture
from mutagen.oggopus import OggOpus

from client import MusicSearch
from demo.__main__ import COLLECTION, read_names
from tests.client.audio_files import write_audio

_TAGS = {"title": "title", "artist": "artist", "album": "album", "genre": "genre", "year": "date"}


def make_library(
    folder: Path,
    *,
    parts: Mapping[str, Sequence[str]] | None = None,
    tags: Mapping[str, Mapping[str, str]] | None = None,
    covers: Mapping[str, tuple[int, int, int]] | None = None,
) -> Path:
    """A library in `folder` of a copy of the collection; the mood of each track is a note of the user.

    Args:
        parts: which tracks of the collection, one after the other, make up a longer one.
        tags: others than the made-up ones.
        covers: colours of pictures in the tags.
    """
    tracks = read_names()
    music = folder / "music"
    music.mkdir()
    for name, row in tracks.items():
        path = music / f"{name}.opus"
        if parts is not None and name in parts:
            clips = [soundfile.read(COLLECTION / f"{part}.opus", dtype="float32")[0] for part in parts[name]]
            write_audio(path, np.concatenate(clips).T, kind="opus", sample_rate_hz=48_000)
        else:
            shutil.copy(COLLECTION / path.name, path)
        opus = OggOpus(path)
        opus.delete()
        for field, tag in _TAGS.items():
            opus[tag] = row[field]
        opus.update((tags or {}).get(name, {}))
        if covers is not None and name in covers:
            opus["metadata_block_picture"] = _picture(covers[name])
        opus.save()
    with MusicSearch(folder / "library") as ms:
        ms.add(music, progress=False)
        ms.annotate({track.track_id: {"mood": tracks[Path(track.path).stem]["mood"]} for track in ms.tracks(k=100)})
    return folder / "library"


def _picture(rgb: tuple[int, int, int]) -> str:
    picture = Picture()
    picture.type, picture.mime, picture.data = 3, "image/png", _png(32, rgb)
    picture.width = picture.height = 32
    return b64encode(picture.write()).decode()


def _png(side: int, rgb: tuple[int, int, int]) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes(rgb) * side) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
