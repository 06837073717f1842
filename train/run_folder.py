"""Where runs are written."""

import os
from pathlib import Path

from train.loop import TrainingError


def check_run_folder(out: Path) -> None:
    """Refuse a folder that could not be made, or written to, before anything is read.

    Raises:
        TrainingError: `out`, or what it lies in, is a file or read-only.
    """
    nearest = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise TrainingError(f"--out is {out}, but {nearest} is no folder that can be written to; choose another")
