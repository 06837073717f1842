"""The files that a command writes are on this machine, and must not replace its input or another program's file."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from train.data.adapters.layout import AdapterError
from train.data.manifest import ManifestError
from train.data.store import is_url


def local_path(text: str) -> Path:
    """Parse the argument that says where a command writes.

    Raises:
        argparse.ArgumentTypeError: it is a URL, which as a path would be a folder called "s3:".
    """
    if is_url(text):
        raise argparse.ArgumentTypeError(
            f"{text} is a URL; expected a path on this machine, from which what was written can be copied to a store"
        )
    return Path(text)


def prepare_out(out: Path, *, manifests: Sequence[Path]) -> None:
    """Make the folder of `out`; raises ManifestError if `out` is a folder or one of the input files."""
    if out.is_dir():
        raise ManifestError(f"--out is the folder {out}; expected a file to write, such as {out / 'manifest.jsonl'}")
    for manifest in manifests:
        if out.exists() and out.samefile(manifest):
            raise ManifestError(f"--out {manifest} is the input itself; choose another file, so that nothing is lost")
    out.parent.mkdir(parents=True, exist_ok=True)


def refuse_foreign(out: Path, *, key: str) -> None:
    """Raise AdapterError if `out` is a file of another kind: it may be one of the data set's own.

    Args:
        out: the file to be written: JSON Lines.
        key: a key of each of its lines.
    """
    if not out.is_file() or not out.stat().st_size:
        return
    with out.open("rb") as file:
        first = file.readline()
    try:
        values = json.loads(first)
    except ValueError:
        values = None
    if not isinstance(values, dict) or key not in values:
        raise AdapterError(
            f"--out is {out}, whose first line is not an object with {key!r}, so it is not a file of this command; "
            "choose another file, so that nothing is lost"
        )
