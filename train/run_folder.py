"""Where runs are written."""

from pathlib import Path
from tempfile import TemporaryFile

from train.loop import TrainingError


def check_run_folder(out: Path) -> None:
    """Refuse a folder that could not be made, or written to, before anything is read.

    Raises:
        TrainingError: `out`, or what it lies in, is a file or read-only.
    """
    nearest = next(place for place in (out, *out.absolute().parents) if place.exists())
    try:
        TemporaryFile(dir=nearest).close()  # a file, a read-only folder, or one of the kernel's
    except OSError as exc:
        raise TrainingError(
            f"--out is {out}, but {nearest} is no folder that can be written to; choose another"
        ) from exc
