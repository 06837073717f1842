"""Decodes recordings once, for runs that draw many crops from each of them.

A crop of a long MP3 or Vorbis file costs a seek, decoding of the part before it, and resampling. A crop of a FLAC file
that already has the model's sample rate costs a tenth of that.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console

from audio import DecodeError, Recording
from train.data.manifest import Row
from train.data.processes import each
from train.data.progress import shown

COMPRESSION = 0.2  # from 0 to 1; a higher value saves little space and costs much time


class Clip(NamedTuple):
    """A part of a recording; shorter if the recording ends within it."""

    start_s: float
    length_s: float


def decode_rows(
    rows: Sequence[Row],
    *,
    out: Path,
    sample_rate_hz: int,
    clip: Clip | None = None,
    workers: int = 1,
    console: Console | None = None,
) -> tuple[list[Row], dict[Path, str]]:
    """Write each recording as mono FLAC of 16 bits; an existing file that is newer than the recording is kept.

    Args:
        rows: rows of a manifest.
        out: folder of the new `audio/` folder. A recording gets one file, however many rows it has.
        sample_rate_hz: sample rate of the new files.
        clip: the part of each recording to keep; None: all. MuLan uses 30 s, from 30 s on (§3.4).
        workers: number of processes; 1: decode in this process.
        console: shows progress; None: shows nothing.

    Returns:
        The rows with the new files as their audio, and the reason for each recording that does not decode or ends
        before the clip. The rows of those recordings are left out.

    Raises:
        ProcessDiedError: a decoding process died.
        OSError: a file cannot be written.
    """
    made_with = f"{sample_rate_hz}" + (f" {clip.start_s:g} {clip.length_s:g}" if clip else "")
    files = {
        path: name_flac(path, folder=out / "audio", made_with=made_with)
        for path in dict.fromkeys(row.file for row in rows)
    }
    (out / "audio").mkdir(parents=True, exist_ok=True)
    done = each(partial(_decode, sample_rate_hz=sample_rate_hz, clip=clip), list(files.items()), workers=workers)
    problems = list(shown(done, total=len(files), doing="decoded", console=console))
    left_out = {path: problem for path, problem in zip(files, problems, strict=True) if problem}
    return [replace(row, audio=files[row.file]) for row in rows if row.file not in left_out], left_out


def name_flac(path: Path, *, folder: Path, made_with: str) -> Path:
    """Name a file after the recording and a hash of its path and settings, as two recordings may share a name."""
    digest = hashlib.sha256(f"{path.resolve()} {made_with}".encode()).hexdigest()[:12]
    return folder / f"{path.stem[:60]}-{digest}.flac"


def is_newer(file: Path, *, than: Path) -> bool:
    """Tell whether `file` was made after the recording; False if either does not exist."""
    return file.is_file() and than.is_file() and file.stat().st_mtime > than.stat().st_mtime


def _decode(files: tuple[Path, Path], *, sample_rate_hz: int, clip: Clip | None) -> str:
    """Decode the first file into the second; return the reason if that fails, otherwise ""."""
    path, file = files
    if not path.is_file():
        return "no such file"
    if is_newer(file, than=path):
        return ""
    temporary = file.with_suffix(".tmp")
    try:
        written = write_flac(path, temporary, sample_rate_hz=sample_rate_hz, clip=clip)
        if clip and not written:
            return f"ends before {clip.start_s:g} s"
        temporary.replace(file)
    except DecodeError as exc:
        return exc.reason
    finally:
        temporary.unlink(missing_ok=True)
    return ""


def write_flac(path: Path, file: Path | BinaryIO, *, sample_rate_hz: int, clip: Clip | None = None) -> int:
    """Write a recording, or a part of it, as mono FLAC of 16 bits; samples above full scale are clipped.

    Returns:
        The number of samples written.

    Raises:
        DecodeError: the recording does not decode.
    """
    written = 0
    with soundfile.SoundFile(
        file, "w", sample_rate_hz, 1, subtype="PCM_16", format="FLAC", compression_level=COMPRESSION
    ) as flac:
        blocks = Recording(path, sample_rate_hz=sample_rate_hz).blocks()
        for block in _part(blocks, clip=clip, sample_rate_hz=sample_rate_hz) if clip else blocks:
            flac.write(np.clip(block, -1.0, 1.0))
            written += len(block)
    return written


def _part(blocks: Iterable[NDArray[np.float32]], *, clip: Clip, sample_rate_hz: int) -> Iterator[NDArray[np.float32]]:
    """Yield the part of the blocks inside the clip; nothing after the clip is decoded."""
    start, end = (round(time_s * sample_rate_hz) for time_s in (clip.start_s, clip.start_s + clip.length_s))
    position = 0
    for block in blocks:
        part = block[max(start - position, 0) : max(end - position, 0)]
        if len(part):
            yield part
        position += len(block)
        if position >= end:
            return
