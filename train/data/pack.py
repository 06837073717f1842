"""Writes a manifest's recordings as shards that `train.data.shards` and the package `webdataset` can read."""

import hashlib
import io
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
from av.audio.stream import AudioStream
from rich.console import Console

from audio import DecodeError, Recording
from train.data.decode import write_flac
from train.data.manifest import ManifestError, Row, row_values, write_json_lines
from train.data.processes import each
from train.data.progress import shown
from train.data.shards import SUFFIX, index_path, make_index

ENCODINGS = ("flac", "opus")
OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
OPUS_BITS_PER_SAMPLE = 3  # 48 kbit/s at 16 kHz, where Opus hardly changes music
OPUS_OPTIONS = {"frame_duration": "60"}  # ms per packet; the longest, because every packet costs the reader time
SUMMARY = "index.json"
UNFINISHED = "unfinished.jsonl"  # the journal: what is packed, then each finished shard; deleted at the end
_KEY_CHARACTERS = 60  # of a track_id in a key, so that number, key and suffix fit into a tar header
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_TEMPORARY = ".tmp"


class Encoding(NamedTuple):
    """How recordings are re-encoded: with one of `ENCODINGS`, as mono at this sample rate."""

    codec: str
    sample_rate_hz: int


class Packed(NamedTuple):
    """A shard that was written: name, size, digest, its rows by split, and the reason for each recording left out."""

    name: str
    bytes: int
    sha256: str
    rows: dict[str, int]
    left_out: dict[str, str]


class _Shard(NamedTuple):
    """A shard to write, and its rows with their numbers."""

    path: Path
    rows: Sequence[tuple[int, Row]]


def pack_rows(
    rows: Sequence[Row],
    *,
    out: Path,
    shard_bytes: int,
    encoding: Encoding | None = None,
    workers: int = 1,
    console: Console | None = None,
) -> list[Packed]:
    """Write the rows in order as shards, each with an index, and `index.json`, which counts the rows.

    The same rows, recordings and settings give the same bytes, whatever the number of workers. A row's files are named
    by its number, from 0, and its track_id without the characters that a key must not hold. The JSON has the original
    track_id. After an interrupted call, the same call keeps the shards that are finished and writes the others.

    Args:
        rows: rows of a manifest.
        out: a folder without shards, or with those of an interrupted call.
        shard_bytes: a shard is closed when the original files of its recordings reach this size.
        encoding: None: keep the files unchanged.
        workers: number of processes; each writes one shard at a time.
        console: shows progress; None: shows nothing.

    Raises:
        ManifestError: `out` holds other shards, or no recording can be packed.
        ProcessDiedError: a process died.
        OSError: a file cannot be written.
    """
    parts = list(_parts(rows, shard_bytes=shard_bytes))
    width = max(3, len(str(len(parts) - 1)))
    shards = [_Shard(out / f"{number:0{width}}{SUFFIX}", part) for number, part in enumerate(parts)]
    packed = _begin(out, work=_digest(shards, encoding=encoding))
    left = [shard for shard in shards if shard.path.name not in packed]
    if packed and console is not None:
        console.print(f"{len(packed)} of {len(shards)} shards are there already")
    done = each(partial(_pack, encoding=encoding), left, workers=workers, at_once=1)
    with (out / UNFINISHED).open("a", encoding="utf-8") as journal:
        for one in shown(done, total=len(left), doing="packed", console=console):
            print(json.dumps(one._asdict()), file=journal, flush=True)
            packed[one.name] = one
    return _end(out, [packed[shard.path.name] for shard in shards], rows=len(rows))


def pattern_of(packed: Sequence[Packed]) -> str:
    """Return a pattern for the names of these shards, such as `{000..063}.tar`."""
    first, last = (shard.name.removesuffix(SUFFIX) for shard in (packed[0], packed[-1]))
    return f"{first if first == last else f'{{{first}..{last}}}'}{SUFFIX}"


def make_key(number: int, track_id: str) -> str:
    """Make the name of a row's files, without their suffixes.

    >>> make_key(17, "a/Song No. 1.mp3")
    '00000017-a_Song_No_1_mp3'
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", track_id).strip("_")[:_KEY_CHARACTERS]
    return f"{number:08}-{readable}" if readable else f"{number:08}"


def write_opus(path: Path, file: BinaryIO, *, sample_rate_hz: int) -> None:
    """Write a recording as mono Ogg Opus; the same recording gives the same bytes.

    Args:
        path: the recording.
        file: the file to write.
        sample_rate_hz: one of `OPUS_RATES_HZ`.

    Raises:
        DecodeError: the recording does not decode.
    """
    position = 0
    with av.open(file, "w", format="ogg", options={"fflags": "+bitexact"}) as target:
        stream: AudioStream = target.add_stream("libopus", rate=sample_rate_hz, layout="mono", options=OPUS_OPTIONS)
        stream.codec_context.thread_count = 1
        stream.bit_rate = OPUS_BITS_PER_SAMPLE * sample_rate_hz
        for block in Recording(path, sample_rate_hz=sample_rate_hz).blocks():
            if not len(block):
                continue
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = sample_rate_hz, position
            position += len(block)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def _parts(rows: Sequence[Row], *, shard_bytes: int) -> Iterator[list[tuple[int, Row]]]:
    """Yield the rows of each shard, with their numbers."""
    part: list[tuple[int, Row]] = []
    filled = 0
    for number, row in enumerate(rows):
        part.append((number, row))
        filled += row.file.stat().st_size if row.file.is_file() else 0
        if filled >= shard_bytes:
            yield part
            part, filled = [], 0
    if part:
        yield part


def _begin(out: Path, *, work: str) -> dict[str, Packed]:
    """Return the shards that an interrupted call of the same work has finished, by name.

    Raises:
        ManifestError: the folder holds other shards.
    """
    header, journal = {"format_version": 1, "work": work}, out / UNFINISHED
    finished: list[Packed] = []
    if journal.exists():
        lines = _read_journal(journal)
        if lines[:1] != [header]:
            raise ManifestError(
                f"{out} holds shards of an interrupted run with other rows, recordings or options; repeat its command, "
                "choose another --out, or empty it"
            )
        finished = [shard for shard in (Packed(**line) for line in lines[1:]) if _is_there(shard, folder=out)]
        for left_behind in out.glob(f".*{_TEMPORARY}"):
            left_behind.unlink()
    elif any(out.glob(f"*{SUFFIX}")):
        raise ManifestError(f"{out} holds shards already; choose another --out, or empty it")
    out.mkdir(parents=True, exist_ok=True)
    write_json_lines(journal, [header, *(shard._asdict() for shard in finished)])
    return {shard.name: shard for shard in finished}


def _end(out: Path, packed: list[Packed], *, rows: int) -> list[Packed]:
    """Write `index.json`, and delete the journal; if no recording could be packed, delete the shards too."""
    if not any(shard.rows for shard in packed):
        for shard in packed:
            (out / shard.name).unlink()
            Path(index_path(str(out / shard.name))).unlink()
        (out / UNFINISHED).unlink()
        reasons = (f"{name}: {reason}" for shard in packed for name, reason in shard.left_out.items())
        raise ManifestError(f"not one of the {rows} recordings can be packed; the first: {next(reasons)}")
    counted = [{"shard": s.name, "bytes": s.bytes, "sha256": s.sha256, "rows": s.rows} for s in packed]
    (out / SUMMARY).write_text(json.dumps({"format_version": 1, "shards": counted}, indent=1) + "\n", encoding="utf-8")
    (out / UNFINISHED).unlink()
    return packed


def _digest(shards: Iterable[_Shard], *, encoding: Encoding | None) -> str:
    """Return a digest, in hex, of all that the shards are made from; of a recording, the size and the time."""
    digest = hashlib.sha256(json.dumps(encoding).encode())
    for path, rows in shards:
        for _, row in rows:
            values = row_values(row, audio=os.path.abspath(row.file))
            status = row.file.stat() if row.file.is_file() else None
            version = (status.st_size, status.st_mtime_ns) if status else None
            digest.update(json.dumps([path.name, values, version]).encode())
    return digest.hexdigest()


def _read_journal(path: Path) -> list[Any]:
    """Return its lines, up to one that was cut short."""
    lines = []
    for line in path.read_bytes().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _is_there(shard: Packed, *, folder: Path) -> bool:
    path = folder / shard.name
    return path.is_file() and path.stat().st_size == shard.bytes and Path(index_path(str(path))).is_file()


def _temporary(path: Path) -> Path:
    """Return the name of a file while this process writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")


def _pack(shard: _Shard, *, encoding: Encoding | None) -> Packed:
    path, rows = shard
    index = Path(index_path(str(path)))
    temporary, new_index = _temporary(path), _temporary(index)
    counts: Counter[str] = Counter()
    left_out: dict[str, str] = {}
    try:
        with temporary.open("w+b") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for number, row in rows:
                    key = make_key(number, row.track_id)
                    if problem := _add(tar, row, key=key, encoding=encoding, folder=path.parent):
                        left_out[str(row.audio)] = problem
                    else:
                        counts[row.split] += 1
            file.seek(0)
            content = make_index(file, shard=str(path), measured=True) if counts else b""
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.seek(0, io.SEEK_END)
        new_index.write_bytes(content)
        new_index.replace(index)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        new_index.unlink(missing_ok=True)
    return Packed(path.name, size, digest, dict(counts), left_out)


def _add(tar: tarfile.TarFile, row: Row, *, key: str, encoding: Encoding | None, folder: Path) -> str:
    """Add a row's two files, or return why its recording cannot be read; `folder` is used for a temporary file."""
    if encoding:
        suffix = f".{encoding.codec}"
    else:
        suffix = row.file.suffix if _SUFFIX.fullmatch(row.file.suffix) and row.file.suffix != ".json" else ".audio"
    name = key + suffix
    try:
        original = row.file.open("rb")
    except OSError as exc:
        return exc.strerror or str(exc)
    with original, TemporaryFile(dir=folder) as encoded:
        if encoding is None:
            _add_file(tar, name, original)
        else:
            write = write_flac if encoding.codec == "flac" else write_opus
            try:
                write(row.file, encoded, sample_rate_hz=encoding.sample_rate_hz)
            except DecodeError as exc:
                return exc.reason
            _add_file(tar, name, encoded)
    values = json.dumps(row_values(row, audio=name), ensure_ascii=False).encode()
    _add_file(tar, f"{key}.json", io.BytesIO(values))
    return ""


def _add_file(tar: tarfile.TarFile, name: str, file: BinaryIO) -> None:
    """Add a file; its tar header does not depend on the date or the user."""
    info = tarfile.TarInfo(name)
    info.size = file.seek(0, io.SEEK_END)
    file.seek(0)
    tar.addfile(info, file)
