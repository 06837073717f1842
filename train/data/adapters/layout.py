"""Shared by the adapters: finds a set's files, reads its tables, and draws splits if the set defines none."""

import csv
import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from audio import DecodeError, Recording
from audio.formats import AUDIO_EXTENSIONS

BRACKETED_ID = re.compile(r"\[([\w-]{11})\]", re.ASCII)


class AdapterError(ValueError):
    """The folder is not the expected data set. The message is one sentence for the user."""


def audio_folder(root: Path) -> Path:
    """Return the default folder of the recordings: `audio` in the root, or the root itself."""
    folder = root if root.is_dir() else root.parent
    return folder / "audio" if (folder / "audio").is_dir() else folder


def has_content(path: Path) -> bool:
    """Tell whether a file exists and is not empty (MagnaTagATune has three empty ones)."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def decodes(path: Path) -> bool:
    """Tell whether the start of a recording decodes; not so for other kinds of files and broken headers."""
    try:
        return next(Recording(path).blocks(), None) is not None
    except DecodeError:
        return False


def find_file(root: Path, *places: str) -> Path:
    """Return `root` itself if it is a file, else the first of `places` that exists below it.

    Raises:
        AdapterError: none of them exists; the message says which files were searched, and where.
    """
    if root.is_file():
        return root
    for place in places:
        if (root / place).is_file():
            return root / place
    raise AdapterError(f"{root} holds no {' or '.join(places)}; give the folder of this file")


def read_table(path: Path, *, columns: Sequence[str], delimiter: str = ",") -> Iterator[dict[str, str]]:
    """Read the rows of a table with a header line, as dicts.

    Raises:
        AdapterError: a required column is missing, or a line has too few cells.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        try:
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            if missing:
                raise AdapterError(f"{path} has no column {', '.join(missing)}; give the file as it was published")
            for row in reader:
                if any(row[column] is None for column in columns):
                    raise AdapterError(f"{path}, line {reader.line_num}: too few cells; download the file again")
                yield row
        except (csv.Error, UnicodeDecodeError) as exc:
            raise AdapterError(
                f"{path}, line {reader.line_num + 1}: not a table ({exc}); download the file again"
            ) from exc


def youtube_clips(folder: Path, *, ids: Collection[str]) -> dict[str, Path]:
    """Find the file of each wanted YouTube id below `folder`, whatever text the downloader put around the id."""
    wanted = set(ids)
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_EXTENSIONS:
            for youtube_id in wanted.intersection(_youtube_ids(path.stem)):
                found.setdefault(youtube_id, path)
    return found


def _youtube_ids(name: str) -> list[str]:
    """List the possible ids in a downloader's file name.

    Known forms are ID, ID_30-40, YID (AudioSet's tools), [ID]-[30-40] and "title [ID]". An id has 11 characters and may
    contain - and _, so only the data set can tell which one is right.
    """
    return [name[:11], *([name[1:12]] if name.startswith("Y") else []), *BRACKETED_ID.findall(name)]


def draw(key: str, *, seed: int) -> float:
    """Draw a number in [0, 1) that depends only on (seed, key)."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:7], "big") / 2**56


def seeded_split(key: str, *, seed: int) -> str:
    """Draw a 90/5/5 split by hash: a track stays in its split when others are added or missing.

    Args:
        key: the track, or a group that must stay in one split, such as its artist.
        seed: changes all splits.
    """
    place = draw(key, seed=seed)
    return "train" if place < 0.9 else "val" if place < 0.95 else "test"


def held_out_of_train(key: str, *, seed: int) -> str:
    """Draw "val" for 5 % and "train" for the rest, if a set defines only its test split."""
    return "val" if draw(key, seed=seed) < 0.05 else "train"


def tag_list(labels: Sequence[str]) -> tuple[str, ...]:
    """Make the only caption of a track that has just labels: the labels joined by commas; none without labels."""
    return (", ".join(labels),) if labels else ()


def unique(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the stripped texts in order, without empty ones and duplicates."""
    return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
