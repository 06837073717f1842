"""The manifest: JSON Lines, one track per line; only `audio` is required.

`audio` and `voice` are paths relative to the manifest; a row has them as paths that can be opened.

A row without captions only trains objectives that need none. A row without labels says nothing about labels. A row with
`"labels": []` says that none of the set's labels fits, so it is a negative of each label in an evaluation. A row may
have a "note", for example about known faults of its data set. The note is shown with an evaluation of labels.
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
"""Kinds of texts, as MuLan mixes them (§3.4), and recordings without texts ("recorded")."""


class ManifestError(ValueError):
    """The manifest cannot be used. The message is one sentence with the line number."""


@dataclass(frozen=True)
class Row:
    """One track: its audio, its split, its optional captions, labels and source.

    `no_label` says that the labels are known to be none.
    """

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
        """The recording's file, for a row that was read from a manifest.

        Raises:
            ManifestError: the recording lies in a shard.
        """
        if isinstance(self.audio, Member):
            raise ManifestError(f"{self.audio} is in a shard; expected a recording that a manifest names")
        return self.audio

    @property
    def is_labelled(self) -> bool:
        """Tell whether the row states its labels, which may be none."""
        return bool(self.labels) or self.no_label


def read_manifest(path: str | Path, *, split: str | None = None, having: str | None = None) -> list[Row]:
    """Read the rows of one split, or of all, in file order; `audio` is resolved relative to the manifest.

    Args:
        path: the manifest file.
        split: the split to read; None: all.
        having: "captions" leaves out rows without captions, "labels" leaves out rows that do not state their labels.

    Raises:
        ManifestError: the file does not exist, a line is no JSON object or lacks a field, or no such row is in the
            split.
    """
    return select_rows(read_rows(Path(path)), split=split, having=having, of=path)


def read_rows(path: Path) -> list[Row]:
    """Read all rows in file order; raises like `read_manifest`, but accepts a manifest without rows."""
    return [parse_row(line, where=f"{path}, line {n}", folder=path.parent) for n, line in manifest_lines(path)]


def select_rows(
    rows: Sequence[Row], *, split: str | None = None, having: str | None = None, of: str | Path
) -> list[Row]:
    """Select the rows of one split, or of all; `having` is the same as in `read_manifest`.

    Args:
        of: the source of the rows, for the error message.

    Raises:
        ManifestError: there are no such rows.
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
    """Return the digest, in hex, by which a run recognises its manifest."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of each line that is not blank.

    Raises:
        ManifestError: the file does not exist or is not UTF-8.
    """
    if not path.is_file():
        raise ManifestError(f"no manifest at {path}; expected a JSON Lines file, one track a line")
    try:
        with path.open(encoding="utf-8") as file:  # unlike str.splitlines, this does not split at U+2028 in a caption
            yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())
    except UnicodeDecodeError as exc:
        raise ManifestError(f"{path} is not UTF-8 text ({exc.reason}); expected a JSON Lines file") from exc


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write rows that `read_manifest` reads back, with paths relative to the manifest, like `write_json_lines`."""
    folder = path.parent.resolve()
    write_json_lines(path, (_line(row, folder=folder) for row in rows))


def write_json_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """Write one object per line; the file is either the complete old one or the complete new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in values)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _line(row: Row, *, folder: Path) -> dict[str, Any]:
    values = row_values(row, audio=_relative(row.file, to=folder))
    voice = row.extra.get("voice")
    return values | ({"voice": _relative(Path(voice), to=folder)} if isinstance(voice, str) else {})


def _relative(path: Path, *, to: Path) -> str:
    # Resolve links in the folder as the reader's ".." will, but not the recording itself if it is a link.
    return Path(os.path.relpath(path.parent.resolve() / path.name, to)).as_posix()


def row_values(row: Row, *, audio: str) -> dict[str, Any]:
    """Return the values of a row's manifest line, from which `make_row` makes the row again."""
    values: dict[str, Any] = {"audio": audio, "track_id": row.track_id, "split": row.split}
    values |= {"captions": list(row.captions)} if row.captions else {}
    values |= {"labels": list(row.labels)} if row.is_labelled else {}
    values |= {"source": row.source} if row.source else {}
    return values | row.extra


def parse_row(line: str, *, where: str, folder: Path) -> Row:
    """Parse one line into a row.

    Args:
        line: the text of the line.
        where: file and line number, for the error message.
        folder: the manifest's folder, to which `audio` and `voice` are relative.

    Raises:
        ManifestError: the line is no JSON object, or a field is missing or of the wrong kind.
    """
    try:
        values = json.loads(line)
    except json.JSONDecodeError as exc:
        raise ManifestError(f"{where}: not JSON ({exc.msg}); expected one object a line") from exc
    if not isinstance(values, dict) or not isinstance(values.get("audio"), str):
        raise ManifestError(f"{where}: no 'audio'; expected a path relative to the manifest")
    if isinstance(values.get("voice"), str):
        values["voice"] = str(folder / values["voice"])
    return make_row(values, audio=folder / values["audio"], where=where)


def make_row(values: dict[str, Any], *, audio: Path | Member, where: str) -> Row:
    """Make a row from the values of a line, which must include "audio"; `audio` is its resolved location.

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
