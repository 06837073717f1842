"""A folder of .m3u and .m3u8 playlists: a track's texts are the titles of its playlists (MuLan §3.4)."""

from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit

from train.data.adapters.layout import AdapterError, seeded_split, unique
from train.data.manifest import Row


def read_playlists(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read one row for each file in a playlist; a playlist's title is its `#PLAYLIST:` line, or its file name.

    Paths are relative to the playlist or to the audio folder. Streams are ignored. Splits are 90/5/5 by seed.
    """
    playlists = sorted(path for path in root.rglob("*") if path.suffix.lower() in (".m3u", ".m3u8"))
    if not playlists:
        raise AdapterError(f"{root} holds no .m3u or .m3u8 file; give the folder of these files")
    folder = audio.resolve()
    titles: dict[Path, list[str]] = {}
    for playlist in playlists:
        title, entries = _read(playlist)
        for entry in entries:
            titles.setdefault(_locate(entry, playlist=playlist, audio=audio), []).append(title)
    for path, texts in titles.items():
        track_id = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
        split = seeded_split(track_id, seed=seed)
        yield Row(path, unique(texts), track_id, split, source="playlist")


def _read(path: Path) -> tuple[str, list[str]]:
    """Return (title, entries). An .m3u8 is UTF-8; an .m3u may be in an old Windows encoding."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    title, entries = path.stem, []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.upper().startswith("#PLAYLIST:"):
            title = line.partition(":")[2].strip() or title
        elif not line.startswith("#") and ("://" not in line or line.startswith("file://")):
            entries.append(line)
    return title, entries


def _locate(entry: str, *, playlist: Path, audio: Path) -> Path:
    if entry.startswith("file://"):
        entry = unquote(urlsplit(entry).path)
    beside = playlist.parent / entry
    if not beside.exists() and "\\" in entry:
        entry = PureWindowsPath(entry).as_posix()
        beside = playlist.parent / entry
    place = beside if beside.exists() else audio / entry
    return place.parent.resolve() / place.name
