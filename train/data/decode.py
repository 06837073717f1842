"""Recordings decoded once and for all, for runs that draw crops from each of them many times.

A crop of a long MP3 or Vorbis file costs a seek, the decoding of what lies before, and the resampling; of a FLAC that
has the model's sample rate already it costs a tenth of that.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console

from audio import DecodeError, Recording
from train.data.manifest import Row
from train.data.processes import each
from train.data.progress import shown

COMPRESSION = 0.2  # of 0 to 1: what more saves little and costs much


def decode_rows(
    rows: Sequence[Row], *, out: Path, sample_rate_hz: int, workers: int = 1, console: Console | None = None
) -> tuple[list[Row], dict[Path, str]]:
    """Write each recording as mono FLAC of 16 bits; what is there already, and newer than the recording, stays.

    Args:
        out: folder that gets `audio/`, with a file for each recording, however many rows it has.
        workers: processes; 1 decodes in this one.
        console: shows how far it is; None shows nothing.

    Returns:
        The rows with the new files as their audio, and the recordings that do not decode, whose rows are left out, each
        with the reason.

    Raises:
        ProcessDiedError: a decoding process died.
        OSError: a file cannot be written.
    """
    files = {
        path: _file_of(path, out=out, sample_rate_hz=sample_rate_hz)
        for path in dict.fromkeys(row.audio for row in rows)
    }
    (out / "audio").mkdir(parents=True, exist_ok=True)
    done = each(partial(_decode, sample_rate_hz=sample_rate_hz), list(files.items()), workers=workers)
    problems = list(shown(done, total=len(files), doing="decoded", console=console))
    left_out = {path: problem for path, problem in zip(files, problems, strict=True) if problem}
    return [replace(row, audio=files[row.audio]) for row in rows if row.audio not in left_out], left_out


def _file_of(path: Path, *, out: Path, sample_rate_hz: int) -> Path:
    """Named after the recording and, as two may have one name, its folder."""
    digest = hashlib.sha256(f"{path.resolve()} {sample_rate_hz}".encode()).hexdigest()[:12]
    return out / "audio" / f"{path.stem[:60]}-{digest}.flac"


def _decode(files: tuple[Path, Path], *, sample_rate_hz: int) -> str:
    """Why the first file cannot become the second; empty if it did."""
    path, file = files
    if not path.is_file():
        return "no such file"
    if file.is_file() and file.stat().st_mtime > path.stat().st_mtime:
        return ""
    temporary = file.with_suffix(".tmp")
    try:
        with soundfile.SoundFile(
            temporary, "w", sample_rate_hz, 1, subtype="PCM_16", format="FLAC", compression_level=COMPRESSION
        ) as flac:
            for block in Recording(path, sample_rate_hz=sample_rate_hz).blocks():
                flac.write(np.clip(block, -1.0, 1.0))
        temporary.replace(file)
    except DecodeError as exc:
        return exc.reason
    finally:
        temporary.unlink(missing_ok=True)
    return ""
