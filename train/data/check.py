"""Finds problems in a manifest that would hurt a run or an evaluation; decodes every recording once, in parallel."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from audio import SILENCE_PEAK, DecodeError, Recording
from train.data.manifest import SPLITS, ManifestError, Row, manifest_lines, parse_row
from train.data.processes import each
from train.data.progress import shown

SHORTEST_S = 1.0

KINDS = {
    "leak": "the same audio in two splits",
    "bad_line": "a line that is not a manifest row",
    "missing": "no audio file",
    "unreadable": "less than half of the audio can be decoded",
    "damaged": "a part of the audio cannot be decoded",
    "silent": "nothing above -80 dBFS",
    "too_short": f"under {SHORTEST_S:g} s",
    "duplicate": "the same audio twice in a split and source",
    "empty_caption": "a caption without a letter",
    "shared_caption": "a caption of both train and test",
}
"""Kinds of findings, worst first."""

HARMLESS = frozenset({"shared_caption"})
"""Tag lists and playlist titles repeat by nature, so a person must judge these findings."""


class Finding(NamedTuple):
    """One problem: a key of `KINDS`, the lines of the manifest (from 1) that have it, and a detail."""

    kind: str
    lines: tuple[int, ...]
    detail: str


@dataclass(frozen=True)
class Report:
    """The result of a check, worst findings first.

    Attributes:
        rows: number of usable rows.
        uncaptioned: number of rows without captions. They only train objectives that need no captions.
        seconds: total length of all distinct recordings that decode.
        findings: the problems.
    """

    rows: int
    uncaptioned: int
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def hurts(self) -> bool:
        """Tell whether anything must be repaired before a run."""
        return any(finding.kind not in HARMLESS for finding in self.findings)

    def counts(self) -> dict[str, int]:
        """Return the number of findings of each kind that occurs, worst first."""
        counted = Counter(finding.kind for finding in self.findings)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}


class Sound(NamedTuple):
    """The result of decoding one file.

    Attributes:
        problem: the kind of problem, "" for none.
        detail: text about the problem.
        seconds: length of the decoded audio.
        fingerprint: SHA-256 of the decoded samples, as mono at the file's own rate; "" if not all samples decode.
    """

    problem: str
    detail: str
    seconds: float
    fingerprint: str


def check_manifest(manifest: Path, *, workers: int = 1, console: Console | None = None) -> Report:
    """Read every line and decode every recording to its end.

    An empty caption is reported, and its row is checked without it. Two files are the same audio if they decode to the
    same samples, whatever their formats and tags.

    Args:
        manifest: the manifest file.
        workers: number of decoding processes; 1: decode in this process.
        console: shows a progress bar on a terminal, otherwise a line per tenth of the work; None: shows nothing.

    Raises:
        ManifestError: the file does not exist or has no line.
        ProcessDiedError: a decoding process died.
    """
    rows, findings = _read(manifest)
    paths = sorted({row.file for row in rows.values()})
    decoded = shown(each(decode, paths, workers=workers), total=len(paths), doing="decoded", console=console)
    sounds = dict(zip(paths, decoded, strict=True))
    lines_of = defaultdict(list)
    for line, row in rows.items():
        lines_of[row.file].append(line)
    for path, sound in sounds.items():
        if sound.problem:
            findings.append(
                Finding(sound.problem, tuple(lines_of[path]), f"{path}{sound.detail and f': {sound.detail}'}")
            )
    findings += _same_audio(rows, sounds)
    findings += _shared_captions(rows)
    order = list(KINDS)
    findings.sort(key=lambda finding: (order.index(finding.kind), finding.lines))
    uncaptioned = sum(not row.captions for row in rows.values())
    return Report(len(rows), uncaptioned, sum(sound.seconds for sound in sounds.values()), tuple(findings))


def _read(manifest: Path) -> tuple[dict[int, Row], list[Finding]]:
    """Return the usable rows by line number, and the findings in other lines and in single captions."""
    rows: dict[int, Row] = {}
    findings = []
    for number, text in manifest_lines(manifest):
        line, empty = _without_empty_captions(text)
        if empty:
            findings.append(Finding("empty_caption", (number,), f"{empty} of the row's captions"))
        try:
            rows[number] = parse_row(line, where=f"line {number}", folder=manifest.parent)
        except ManifestError as exc:
            findings.append(Finding("bad_line", (number,), str(exc).removeprefix(f"line {number}: ")))
    if not rows and not findings:
        raise ManifestError(f"{manifest} is empty; expected one track a line")
    return rows, findings


def _without_empty_captions(line: str) -> tuple[str, int]:
    """Return the line without captions that hold no letter or digit, and the number of removed captions."""
    try:
        values = json.loads(line)
        captions = values["captions"]
        kept = [text for text in captions if not isinstance(text, str) or any(map(str.isalnum, text))]
    except (ValueError, TypeError, KeyError):
        return line, 0  # `parse_row` says what is wrong
    if isinstance(captions, str) or len(kept) == len(captions):
        return line, 0
    return json.dumps(values | {"captions": kept}), len(captions) - len(kept)


def decode(path: Path) -> Sound:
    """Decode a file to its end."""
    if not path.is_file():
        return Sound("missing", "", 0.0, "")
    if not path.stat().st_size:
        return Sound("unreadable", "empty file (0 bytes)", 0.0, "")
    digest, peak = hashlib.sha256(), 0.0
    recording = Recording(path)
    try:
        for block in recording.blocks():
            digest.update(block.tobytes())
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
    except DecodeError as exc:
        return Sound("unreadable", exc.reason, 0.0, "")
    seconds = recording.decoded_s
    if recording.warning:
        return Sound("damaged", recording.warning, seconds, "")
    if peak < SILENCE_PEAK:
        return Sound("silent", f"{seconds:.1f} s", seconds, "")
    if seconds < SHORTEST_S:
        return Sound("too_short", f"{seconds:.2f} s", seconds, digest.hexdigest())
    return Sound("", "", seconds, digest.hexdigest())


def _same_audio(rows: Mapping[int, Row], sounds: Mapping[Path, Sound]) -> Iterator[Finding]:
    """Yield a finding for each group of rows whose recordings decode to the same samples."""
    groups = defaultdict(list)
    for line, row in rows.items():
        if fingerprint := sounds[row.file].fingerprint:
            groups[fingerprint].append(line)
    for lines in groups.values():
        if len(lines) > 1:
            splits = {rows[line].split for line in lines}
            sources = Counter(rows[line].source for line in lines)
            if len(splits) == 1 and max(sources.values()) == 1:
                continue  # merged manifests: texts of several sources on one recording
            kind = "leak" if len(splits) > 1 else "duplicate"
            names = ", ".join(dict.fromkeys(str(rows[line].audio) for line in lines))
            yield Finding(kind, tuple(lines), f"{names} ({' and '.join(s for s in SPLITS if s in splits)})")


def _shared_captions(rows: Mapping[int, Row]) -> Iterator[Finding]:
    """Yield a finding for each caption in both training and test rows; case and spaces are ignored."""
    lines_of: dict[str, dict[str, list[int]]] = {"train": defaultdict(list), "test": defaultdict(list)}
    for line, row in rows.items():
        if row.split in lines_of:
            for caption in {" ".join(text.casefold().split()) for text in row.captions}:
                lines_of[row.split][caption].append(line)
    train, test = lines_of.values()
    for caption in train.keys() & test.keys():
        yield Finding("shared_caption", tuple(sorted(train[caption] + test[caption])), caption)
