"""The Song Describer Dataset (Manco et al. 2023): two-minute excerpts of MTG-Jamendo, up to five captions a track.

The set is made for evaluation, so every track is in the test split. Its recordings are also in MTG-Jamendo.
"""

from collections.abc import Iterator
from pathlib import Path

from train.data.adapters.layout import AdapterError, find_file, has_content, read_table, unique
from train.data.manifest import Row

COLUMNS = ("track_id", "caption", "is_valid_subset", "artist_id", "album_id", "path")


def read_song_describer(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read all captions of `song_describer.csv`."""
    return _read(root, audio=audio, valid_only=False)


def read_song_describer_valid(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read only the captions of the set's validated subset, which papers usually report."""
    return _read(root, audio=audio, valid_only=True)


def _read(root: Path, *, audio: Path, valid_only: bool) -> Iterator[Row]:
    path = find_file(root, "song_describer.csv", "data/song_describer.csv")
    captions: dict[str, list[str]] = {}
    tracks: dict[str, dict[str, str]] = {}
    for line in read_table(path, columns=COLUMNS):
        if line["is_valid_subset"] not in ("True", "False"):
            raise AdapterError(f"{path}: is_valid_subset is {line['is_valid_subset']!r}; expected True or False")
        if not valid_only or line["is_valid_subset"] == "True":
            captions.setdefault(line["track_id"], []).append(line["caption"])
            tracks[line["track_id"]] = line
    for track_id, track in tracks.items():
        extra = {"artist_id": track["artist_id"], "album_id": track["album_id"]}
        where = _excerpt(audio, track["path"])
        yield Row(where, unique(captions[track_id]), track_id, "test", source="long_form", extra=extra)


def _excerpt(audio: Path, path: str) -> Path:
    """Return the excerpt: the table names `00/123.mp3`, the archive holds `00/123.2min.mp3`."""
    excerpt = audio / Path(path).with_suffix(".2min.mp3")
    return excerpt if has_content(excerpt) else audio / path
