"""Merges several manifests into one, such as the sources that MuLan mixes (§3.4)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from train.data.manifest import Row, read_manifest


def merge_manifests(paths: Sequence[Path]) -> list[Row]:
    """Concatenate the rows of all manifests; a recording in several manifests keeps a row of each.

    If several manifests have the same track_id, it gets the number of its manifest as a prefix, counted from 1:
    "2:abc".

    Raises:
        ManifestError: a manifest cannot be read.
    """
    manifests = [read_manifest(path) for path in paths]
    holders = Counter(track_id for rows in manifests for track_id in {row.track_id for row in rows})
    return [
        replace(row, track_id=f"{number}:{row.track_id}") if holders[row.track_id] > 1 else row
        for number, rows in enumerate(manifests, start=1)
        for row in rows
    ]
