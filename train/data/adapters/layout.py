"""What the adapters share: finding a set's files, reading its tables, and drawing splits where it defines none."""

import csv
import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from audio import DecodeError, Recording
from audio.formats import AUDIO_EXTENSIONS

BRACKETED_ID = re.compile(r"\[([\w-]{11})\]", re.ASCII)


class AdapterError(ValueError):
    """A folder that is not the data set it should be; the message is one sentence for the user."""


def audio_folder(root: Path) -> Path:
    """Where the recordings lie when the user names no folder: `audio` in the root, or the root itself."""
    folder = root if root.is_dir() else root.parent
    return folder / "audio" if (folder / "audio").is_dir() else folder


def has_content(path: Path) -> bool:
    """Whether a file exists and is not empty (MagnaTagATune ships three empty ones)."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def decodes(path: Path) -> bool:
    """Whether the beginning of a recording decodes, which a file of another kind or with a broken header does not."""
    try:
        return next(Recording(path).blocks(), None) is not None
    except DecodeError:
        return False


def find_file(root: Path, *places: str) -> Path:
    """`root` itself if it is a file, else the first of `places` below it.

    Raises:
        AdapterError: none of them exists; the message says what was looked for, and where.
    """
    if root.is_file():
        return root
    for place in places:
        if (root / place).is_file():
            return root / place
    raise AdapterError(f"{root} holds no {' or '.join(places)}; give the folder that does")


def read_table(path: Path, *, columns: Sequence[str], delimiter: str = ",") -> Iterator[dict[str, str]]:
    """Rows of a table with a header line, as dicts.

    Raises:
        AdapterError: a wanted column is missing, or a line has too few cells.
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
                f"{path}, line {reader.line_num + 1}: no table ({exc}); download the file again"
            ) from exc


def youtube_clips(folder: Path, *, ids: Collection[str]) -> dict[str, Path]:
    """The file of each wanted YouTube id that has one below `folder`, whatever the downloader wrote around the id."""
    wanted = set(ids)
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_EXTENSIONS:
            for youtube_id in wanted.intersection(_youtube_ids(path.stem)):
                found.setdefault(youtube_id, path)
    return found


def _youtube_ids(name: str) -> list[str]:
    """What may be the id in a name that a downloader gave: ID, ID_30-40, YID (AudioSet's tools), [ID]-[30-40] or
    "title [ID]"; ids have 11 characters, among them - and _, so only the data set knows which it is."""
    return [name[:11], *([name[1:12]] if name.startswith("Y") else []), *BRACKETED_ID.findall(name)]


def draw(key: str, *, seed: int) -> float:
    """A number in [0, 1) that depends on (seed, key) alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:7], "big") / 2**56


def seeded_split(key: str, *, seed: int) -> str:
    """90/5/5 by hash: a track stays in its split when others are added or found missing.

    Args:
        key: of the track, or of what must not be divided between splits, such as its artist.
    """
    place = draw(key, seed=seed)
    return "train" if place < 0.9 else "val" if place < 0.95 else "test"


def held_out_of_train(key: str, *, seed: int) -> str:
    """ "val" for 5 % and "train" for the rest, where a set defines its test split only."""
    return "val" if draw(key, seed=seed) < 0.05 else "train"


def tag_list(labels: Sequence[str]) -> tuple[str, ...]:
    """The one caption of a track that has labels only: them, joined by commas; none where there are none."""
    return (", ".join(labels),) if labels else ()


def unique(texts: Sequence[str]) -> tuple[str, ...]:
    """Stripped, without empty ones and repetitions, in order."""
    return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
