"""AudioSet (Gemmeke et al. 2017): ten-second YouTube clips with 527 labels, which are classes of an ontology."""

import csv
from collections.abc import Iterator
from pathlib import Path

from train.data.adapters.layout import (
    AdapterError,
    find_file,
    held_out_of_train,
    read_table,
    tag_list,
    unique,
    youtube_clips,
)
from train.data.manifest import Row

SEGMENTS = ("balanced_train_segments.csv", "unbalanced_train_segments.csv", "eval_segments.csv")


def read_audioset(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read the existing segment tables: the evaluation set is the test split, 5 % of the rest validation.

    Clips are found by their YouTube id. The labels are the names in `class_labels_indices.csv`.
    """
    tables = [root / name for name in SEGMENTS if (root / name).is_file()]
    if not tables:
        raise AdapterError(f"{root} holds no {' or '.join(SEGMENTS)}; give the folder of these files")
    names_file = find_file(root, "class_labels_indices.csv")
    names = {line["mid"]: line["display_name"] for line in read_table(names_file, columns=("mid", "display_name"))}
    segments = {table: list(_read(table, names=names, names_file=names_file)) for table in tables}
    clips = youtube_clips(audio, ids={ytid for lines in segments.values() for ytid, _ in lines})
    for table, lines in segments.items():
        for ytid, labels in lines:
            split = "test" if table.name == SEGMENTS[-1] else held_out_of_train(ytid, seed=seed)
            yield Row(clips.get(ytid, audio / ytid), tag_list(labels), ytid, split, labels=labels, source="labels")


def _read(path: Path, *, names: dict[str, str], names_file: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Read (YouTube id, label names) from each `YTID, start, end, "label,label"`; the table starts with comments."""
    with path.open(encoding="utf-8", newline="") as file:
        for number, cells in enumerate(csv.reader(file, skipinitialspace=True), start=1):
            if not cells or cells[0].startswith("#"):
                continue
            if len(cells) != 4:
                raise AdapterError(f"{path}, line {number}: {len(cells)} cells; expected YTID, start, end, labels")
            identifiers = cells[3].split(",")
            unknown = [identifier for identifier in identifiers if identifier not in names]
            if unknown:
                raise AdapterError(f"{path}, line {number}: {names_file} does not name the label {unknown[0]!r}")
            yield cells[0], unique([names[identifier] for identifier in identifiers])
