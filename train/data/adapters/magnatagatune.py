"""MagnaTagATune (Law et al. 2009): 25,863 clips of 29 s and 188 tags."""

from collections.abc import Iterator
from pathlib import Path

from train.data.adapters.layout import AdapterError, find_file, read_table, tag_list
from train.data.manifest import Row


def read_magnatagatune(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Rows of `annotations_final.csv` (tab-separated, a column of 0 and 1 a tag).

    The split is the usual one, by the first character of the path, a hexadecimal digit: 0 to b train, c validation,
    d to f test (van den Oord et al. 2014). Clips without any tag are left out. Most
    papers take the 50 most frequent tags: `top_labels` of `adapt`. MusCALL (§5.2) does not say which it takes.
    """
    path = find_file(root, "annotations_final.csv")
    for line in read_table(path, columns=("clip_id", "mp3_path"), delimiter="\t"):
        where = line["mp3_path"]
        tags = tuple(tag for tag, value in line.items() if tag not in ("clip_id", "mp3_path") and value == "1")
        split = _split(where, path=path)
        yield Row(audio / where, tag_list(tags), line["clip_id"], split, labels=tags, source="labels")


def _split(where: str, *, path: Path) -> str:
    digit = "0123456789abcdef".find(where[:1])
    if digit < 0 or not where:
        raise AdapterError(f"{path}: mp3_path is {where!r}; expected a folder 0 to f and a file name")
    return "train" if digit < 12 else "val" if digit == 12 else "test"
