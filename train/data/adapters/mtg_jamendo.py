"""MTG-Jamendo (Bogdanov et al. 2019): full tracks with genre, instrument and mood/theme tags."""

from collections.abc import Iterator
from pathlib import Path

from train.data.adapters.layout import AdapterError, find_file, has_content, seeded_split, tag_list, unique
from train.data.manifest import Row

HEADER = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
SPLIT_NAMES = {"train": "train", "validation": "val", "test": "test"}


def read_mtg_jamendo(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read the rows of `autotagging-{train,validation,test}.tsv`, or of `autotagging.tsv` split 90/5/5 by artist.

    The files are searched in `root` and, as in the set's repository, in `data/splits/split-0` and `data`. To read
    another subset, such as `autotagging_moodtheme-train.tsv`, give one of its files as `root`. A tag's category is
    removed: `genre---rock` becomes the label "rock".
    """
    first = find_file(
        root,
        "autotagging-train.tsv",
        "data/splits/split-0/autotagging-train.tsv",
        "autotagging.tsv",
        "data/autotagging.tsv",
    )
    subset, separator, published = first.stem.rpartition("-")
    if not separator:
        yield from _read(first, audio=audio, split=None, seed=seed)
        return
    if published not in SPLIT_NAMES:
        raise AdapterError(
            f"{first} is not an autotagging*.tsv of MTG-Jamendo; expected a name such as autotagging-train.tsv"
        )
    for name, split in SPLIT_NAMES.items():
        yield from _read(find_file(first.parent, f"{subset}-{name}.tsv"), audio=audio, split=split, seed=seed)


def _read(path: Path, *, audio: Path, split: str | None, seed: int) -> Iterator[Row]:
    header, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    if header.split("\t") != HEADER:
        raise AdapterError(f"{path} starts with {header[:60]!r}; expected the columns {' '.join(HEADER)}")
    for number, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if len(cells) < len(HEADER):
            raise AdapterError(f"{path}, line {number}: {len(cells)} cells; expected at least {len(HEADER)}")
        track_id, artist, album, where, _, *tags = cells
        labels = unique([tag.rpartition("---")[2] for tag in tags])
        yield Row(
            _recording(audio, where),
            tag_list(labels),
            track_id,
            split or seeded_split(artist, seed=seed),
            labels=labels,
            source="labels",
            extra={"artist_id": artist, "album_id": album},
        )


def _recording(audio: Path, path: str) -> Path:
    """Return the smaller recording that the set also offers, named `12/345.low.mp3`, or else the full one."""
    small = audio / Path(path).with_suffix(".low.mp3")
    return small if has_content(small) else audio / path
