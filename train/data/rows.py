"""The rows that a run or an evaluation is about: of a manifest, or of shards."""

from pathlib import Path
from typing import NamedTuple

from train.data.manifest import ManifestError, Row, manifest_sha256, read_rows, select_rows
from train.data.shards import SUFFIX, read_shards
from train.data.store import is_url


class Data(NamedTuple):
    """All rows of all splits, and a digest, in hex, by which a run knows them again."""

    rows: list[Row]
    sha256: str


def is_shards(source: str | Path) -> bool:
    """Whether it names shards, such as `shards/{000..063}.tar`."""
    return str(source).endswith(SUFFIX)


def read_data(source: str | Path) -> Data:
    """Read a manifest, or the indices of shards here or in a store.

    Raises:
        ManifestError: it cannot be read, or holds what is no row.
    """
    if is_shards(source):
        return Data(*read_shards(str(source)))
    if is_url(str(source)):
        raise ManifestError(
            f"{source} is no tar; from a store shards are read, which `python -m train.data pack` makes of a manifest"
        )
    return Data(read_rows(Path(source)), manifest_sha256(Path(source)))


def read_split(source: str | Path, *, split: str | None = None, having: str | None = None) -> list[Row]:
    """The rows of one split, or all; see `train.data.manifest.select_rows`."""
    return select_rows(read_data(source).rows, split=split, having=having, of=source)
