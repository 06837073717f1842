"""Reads the rows of a run or an evaluation from a manifest or from shards."""

from pathlib import Path
from typing import NamedTuple

from train.data.manifest import ManifestError, Row, manifest_sha256, read_rows, select_rows
from train.data.shards import SUFFIX, read_shards
from train.data.store import is_url


class Data(NamedTuple):
    """All rows of all splits, and a digest, in hex, by which a run recognises them."""

    rows: list[Row]
    sha256: str


def is_shards(source: str | Path) -> bool:
    """Tell whether `source` names shards, such as `shards/{000..063}.tar`."""
    return str(source).endswith(SUFFIX)


def read_data(source: str | Path) -> Data:
    """Read a manifest, or the indices of local or remote shards.

    Raises:
        ManifestError: the source cannot be read, or holds something that is not a row.
    """
    if is_shards(source):
        return Data(*read_shards(str(source)))
    if is_url(str(source)):
        raise ManifestError(
            f"{source} is not a tar; a store must hold shards: make them with `python -m train.data pack`"
        )
    return Data(read_rows(Path(source)), manifest_sha256(Path(source)))


def read_split(source: str | Path, *, split: str | None = None, having: str | None = None) -> list[Row]:
    """Read the rows of one split, or of all; see `train.data.manifest.select_rows`."""
    return select_rows(read_data(source).rows, split=split, having=having, of=source)
