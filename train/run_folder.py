"""Checks of a run's output folder."""

from pathlib import Path
from tempfile import TemporaryFile

from train.loop import TrainingError


def check_run_folder(out: Path) -> None:
    """Check, before anything is read, that the folder `out` can be created and written to.

    Raises:
        TrainingError: `out`, or its nearest existing parent, is a file or read-only.
    """
    nearest = next(place for place in (out, *out.absolute().parents) if place.exists())
    try:
        TemporaryFile(dir=nearest).close()  # a file, a read-only folder, or one of the kernel's
    except OSError as exc:
        raise TrainingError(
            f"--out is {out}, but {nearest} is not a folder that can be written to; choose another"
        ) from exc
