"""Playlists as files: M3U8, XSPF and JSPF."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import QueryError
from .index.fields import several


@dataclass(frozen=True)
class Entry:
    """A track in a playlist.

    Attributes:
        location: its path, or a URL.
    """

    location: str
    duration_s: float
    metadata: Mapping[str, Any]

    @property
    def title(self) -> str:
        return _line(self.metadata.get("title", "")) or _line(Path(self.location).stem)

    @property
    def artist(self) -> str:
        return _line(", ".join(map(str, several(self.metadata.get("artist", "")))))

    @property
    def uri(self) -> str:
        path = Path(self.location)
        return path.as_uri() if path.is_absolute() else self.location


def to_m3u8(entries: Sequence[Entry], *, name: str) -> bytes:
    """M3U8 in UTF-8: a line with length and names stands before each path or URL. Most players read it."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_line(name)}"]
    for entry in entries:
        names = " - ".join(filter(None, (entry.artist, entry.title)))
        # A line break would end a path, and a line that begins with # is not a path.
        is_plain = _line(entry.location) == entry.location and not entry.location.startswith("#")
        lines += [f"#EXTINF:{round(entry.duration_s)},{names}", entry.location if is_plain else entry.uri]
    return ("\n".join(lines) + "\n").encode(errors="surrogateescape")


def to_xspf(entries: Sequence[Entry], *, name: str) -> bytes:
    """XSPF: XML, version 1 of https://xspf.org/spec."""
    playlist = ET.Element("playlist", version="1", xmlns="http://xspf.org/ns/0/")
    ET.SubElement(playlist, "title").text = _xml(name)
    tracks = ET.SubElement(playlist, "trackList")
    for entry in entries:
        track = ET.SubElement(tracks, "track")
        for tag, text in _facts(entry).items():
            ET.SubElement(track, tag).text = _xml(str(text))
    ET.indent(playlist)
    document: bytes = ET.tostring(playlist, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def to_jspf(entries: Sequence[Entry], *, name: str) -> bytes:
    """JSPF: the same as XSPF in JSON, as in https://xspf.org/jspf."""
    tracks = [{**facts, "location": [facts["location"]]} for facts in map(_facts, entries)]
    document = {"playlist": {"title": name, "track": tracks}}
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode(errors="replace")


FORMATS: dict[str, Callable[..., bytes]] = {"m3u8": to_m3u8, "xspf": to_xspf, "jspf": to_jspf}
"""By file extension."""


def write_playlist(path: Path, entries: Sequence[Entry]) -> None:
    """Write a playlist in the format of the file's extension. .m3u is M3U8.

    Raises:
        QueryError: the extension is not a playlist format, or the file cannot be written.
    """
    kind = path.suffix.lower().lstrip(".")
    to_bytes = FORMATS.get("m3u8" if kind == "m3u" else kind)
    if to_bytes is None:
        raise QueryError(f"{path} has no known playlist format: use a name that ends in .m3u8, .xspf or .jspf")
    try:
        path.write_bytes(to_bytes(entries, name=path.stem))
    except OSError as exc:
        raise QueryError(f"cannot write {path}: {exc.strerror}") from exc


def _facts(entry: Entry) -> dict[str, Any]:
    facts = {
        "location": entry.uri,
        "title": entry.title,
        "creator": entry.artist,
        "album": _line(entry.metadata.get("album") or ""),
        "duration": round(1000 * entry.duration_s),
    }
    return {name: value for name, value in facts.items() if value != ""}


def _line(text: Any) -> str:
    """The text on one line, without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())


def _xml(text: str) -> str:
    return _line(text.encode(errors="replace").decode())
