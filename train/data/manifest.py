"""The manifest: JSON Lines, one track a line, of which only `audio` is required.

A row without captions trains what needs none; one without labels says nothing about labels, unless it says `"labels":
[]`: that none of the set's labels fits, which makes it a negative of each of them in an evaluation. A "note" of a row,
such as what is known against its data set, is shown beside an evaluation of labels.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from train.data.member import Member

SPLITS = ("train", "val", "test")
SOURCES = ("short_form", "long_form", "playlist", "labels", "recorded")
"""Of texts, as MuLan mixes them (§3.4), and of recordings without any."""


class ManifestError(ValueError):
    """A manifest that cannot be used; the message is one sentence with the line number."""


@dataclass(frozen=True)
class Row:
    """One track: where its audio lies, its split, and what is said about it: captions, labels, source, if any; and
    whether its labels are known to be none."""

    audio: Path | Member
    captions: tuple[str, ...]
    track_id: str
    split: str
    labels: tuple[str, ...] = ()
    source: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    no_label: bool = False

    @property
    def file(self) -> Path:
        """The recording, of a row that was read from a manifest.

        Raises:
            ManifestError: it lies in a shard.
        """
        if isinstance(self.audio, Member):
            raise ManifestError(f"{self.audio} lies in a shard; expected a recording that a manifest names")
        return self.audio

    @property
    def is_labelled(self) -> bool:
        """Whether it says which labels it has, which may be none."""
        return bool(self.labels) or self.no_label


def read_manifest(path: str | Path, *, split: str | None = None, having: str | None = None) -> list[Row]:
    """Rows in file order, of one split or of all; `audio` becomes a path beside the manifest.

    Args:
        having: "captions" leaves out the rows that have none, "labels" those that say nothing about labels.

    Raises:
        ManifestError: no such file, a line that is no JSON object or lacks a field, or no such row in the split.
    """
    return select_rows(read_rows(Path(path)), split=split, having=having, of=path)


def read_rows(path: Path) -> list[Row]:
    """All rows in file order; raises as `read_manifest`, but for a manifest without any."""
    return [parse_row(line, where=f"{path}, line {n}", folder=path.parent) for n, line in manifest_lines(path)]


def select_rows(
    rows: Sequence[Row], *, split: str | None = None, having: str | None = None, of: str | Path
) -> list[Row]:
    """Those of one split or of all; `having` as for `read_manifest`.

    Args:
        of: what the rows were read from, for the error.

    Raises:
        ManifestError: there are none.
    """
    chosen = [row for row in rows if split is None or row.split == split]
    if not chosen:
        found = sorted({row.split for row in rows})
        raise ManifestError(f"{of} has no row{f' of split {split!r}' if split else ''}; it has {found or 'none'}")
    if having is not None:
        described = [row for row in chosen if (row.is_labelled if having == "labels" else row.captions)]
        if not described:
            raise ManifestError(
                f"none of the {len(chosen)} rows{f' of split {split!r}' if split else ''} in {of} has {having}; "
                f"expected some: add rows with {having!r}"
            )
        return described
    return chosen


def manifest_sha256(path: Path) -> str:
    """The digest, in hex, by which a run knows its manifest again."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of each line that is not blank.

    Raises:
        ManifestError: no such file, or not UTF-8.
    """
    if not path.is_file():
        raise ManifestError(f"no manifest at {path}; expected a JSON Lines file, one track a line")
    try:
        with path.open(encoding="utf-8") as file:  # unlike str.splitlines, it leaves U+2028 inside a caption alone
            yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())
    except UnicodeDecodeError as exc:
        raise ManifestError(f"{path} is not UTF-8 text ({exc.reason}); expected a JSON Lines file") from exc


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write rows so that `read_manifest` gives them back, audio relative to the manifest, as `write_json_lines`."""
    folder = path.parent.resolve()
    write_json_lines(path, (_line(row, folder=folder) for row in rows))


def write_json_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """One object a line; the file is the old or the whole new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in values)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _line(row: Row, *, folder: Path) -> dict[str, Any]:
    # Links are followed as the reader's ".." will follow them, but for a recording that is one itself.
    audio = row.file.parent.resolve() / row.file.name
    return row_values(row, audio=Path(os.path.relpath(audio, folder)).as_posix())


def row_values(row: Row, *, audio: str) -> dict[str, Any]:
    """What stands in a line of a manifest, from which `make_row` makes the row again."""
    values: dict[str, Any] = {"audio": audio, "track_id": row.track_id, "split": row.split}
    values |= {"captions": list(row.captions)} if row.captions else {}
    values |= {"labels": list(row.labels)} if row.is_labelled else {}
    values |= {"source": row.source} if row.source else {}
    return values | row.extra


def parse_row(line: str, *, where: str, folder: Path) -> Row:
    """The row of one line.

    Args:
        where: file and line number, for the error.
        folder: the manifest's, which `audio` is relative to.

    Raises:
        ManifestError: the line is no JSON object, or a field is missing or of the wrong kind.
    """
    try:
        values = json.loads(line)
    except json.JSONDecodeError as exc:
        raise ManifestError(f"{where}: not JSON ({exc.msg}); expected one object a line") from exc
    if not isinstance(values, dict) or not isinstance(values.get("audio"), str):
        raise ManifestError(f"{where}: no 'audio'; expected a path relative to the manifest")
    return make_row(values, audio=folder / values["audio"], where=where)


def make_row(values: dict[str, Any], *, audio: Path | Member, where: str) -> Row:
    """The row of a line's values, of which "audio" is there; `audio` is where that lies.

    Raises:
        ManifestError: a field is of the wrong kind.
    """
    values = dict(values)
    captions = values.pop("captions", [])
    if not isinstance(captions, list):
        raise ManifestError(f"{where}: captions is {captions!r}; expected a list of texts, which may be empty")
    if not all(isinstance(text, str) and text.strip() for text in captions):
        raise ManifestError(f"{where}: an empty caption; remove it or write one")
    name = values.pop("audio")
    split = values.pop("split", "train")
    if split not in SPLITS:
        raise ManifestError(f"{where}: split is {split!r}; expected one of {', '.join(SPLITS)}")
    no_label = values.get("labels") == []
    labels = values.pop("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
        raise ManifestError(f"{where}: labels is {labels!r}; expected a list of texts")
    track_id = str(values.pop("track_id", name))
    source = str(values.pop("source", ""))
    return Row(audio, tuple(captions), track_id, split, tuple(labels), source, values, no_label)
