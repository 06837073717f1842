"""Several manifests as one, such as the sources that MuLan mixes (§3.4)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from train.data.manifest import Row, read_manifest


def merge_manifests(paths: Sequence[Path]) -> list[Row]:
    """The rows of all manifests, one after the other; a recording that several of them have keeps a row in each.

    A track_id that several of them have gets the number of its manifest in front, counted from 1: "2:abc".

    Raises:
        ManifestError: from reading them.
    """
    manifests = [read_manifest(path) for path in paths]
    holders = Counter(track_id for rows in manifests for track_id in {row.track_id for row in rows})
    return [
        replace(row, track_id=f"{number}:{row.track_id}") if holders[row.track_id] > 1 else row
        for number, rows in enumerate(manifests, start=1)
        for row in rows
    ]
