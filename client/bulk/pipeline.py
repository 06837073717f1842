"""The Ray Data pipeline: embeds the files that are not in the output yet, and reports the results."""

import json
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data

from ..audio import look_at
from ..background import make_probes
from ..encoders import EncoderSpec, open_encoder
from ..errors import AudioError, EncoderError, MusicSearchError, QueryError
from ..index.records import FailedFile
from ..ingest import TrackWarning
from ..places import Status, is_url
from ..progress import show_progress
from ..query import check_count
from ..walk import FailedTrack, Found, find_audio, printable
from .output import PART_TRACKS, Done, Output, open_output
from .stages import FILES, Decode, Embed, Write

_TASK_TRACKS = 8  # tracks of a task; their windows are in memory together, 12 MB for three minutes of sound
_TASK_BYTES = 64 << 20  # of the files of a task; as MP3 of 128 kbit/s, 70 minutes
_ANSWERS_WITHIN_S = 10.0  # the head of a cluster
_TASKS_A_CORE = 4  # at least; tasks get smaller if there are few tracks


@dataclass(frozen=True)
class Stage:
    """Statistics of a stage of the pipeline, from Ray Data.

    Attributes:
        name: Decode, Embed or Write.
        tracks: tracks that it processed; tracks that a dead machine was processing count again.
        work_s: working time, summed over all workers.
        tracks_per_s: throughput from its first task to its last.
        waited_s: average time that a task waited for a worker and its resources (scheduling).
        held_up_s: average time that a task then waited for room in the next stage (backpressure).
    """

    name: str
    tracks: int
    work_s: float
    tracks_per_s: float
    waited_s: float
    held_up_s: float


@dataclass
class BulkReport:
    """The results of a run.

    Attributes:
        added: tracks that were written.
        already: tracks that the output held before.
        tracks: tracks that the output holds now.
        failed: files that cannot be used, including failures of earlier runs whose files have not changed.
        warnings: files that were added but do not decode completely.
        passed_over: number of other files, by suffix.
        audio_s: total length of the tracks that were added.
        seconds: duration of the run.
        stages: statistics of the stages, in order; empty if there was nothing to do.
    """

    added: int = 0
    already: int = 0
    tracks: int = 0
    failed: list[FailedTrack] = field(default_factory=list)
    warnings: list[TrackWarning] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)
    audio_s: float = 0.0
    seconds: float = 0.0
    stages: list[Stage] = field(default_factory=list)


def embed_all(
    paths: Sequence[str | Path],
    *,
    to: str,
    encoder: str | None = None,
    device: str = "auto",
    windows: int | None = None,
    video: bool = False,
    part_tracks: int = PART_TRACKS,
    progress: bool = True,
) -> BulkReport:
    """Embed the files that the output does not hold yet; after any interruption, the same call continues.

    Tracks in the output are skipped, even if their files have changed. `add` updates them once the output has become a
    library. On a cluster, all machines must see the files under the same paths or URLs, and have the credentials of
    their store.

    Args:
        paths: see `MusicSearch.add`.
        to: "parquet://FOLDER", which all machines see, or "milvus://host:19530/collection".
        encoder: see `open_encoder`; a folder must exist on every machine.
        device: for a folder: "cpu"; "cuda" or "tensorrt", with one GPU for each embedder; "auto" uses GPUs if there are
            any.
        windows: see `MusicSearch.add`.
        video: see `MusicSearch.add`.
        part_tracks: tracks of a Parquet file.
        progress: show a progress bar.

    Raises:
        QueryError: there is no audio, or an argument is out of range.
        LibraryError: the output cannot be used.
        ModelMismatch: the output was made with another model.
        EncoderError: the model or its server failed.
        StoreError: a store of music does not answer.
        MusicSearchError: no cluster answers, or Ray failed.
    """
    started_at = time.monotonic()
    if windows is not None:
        check_count(windows, name="windows", least=1)
    check_count(part_tracks, name="part", least=1)
    found = find_audio(paths, video=video)
    if not found.files and not found.listings:
        raise _no_audio(paths, failed=found.failed)
    # This process needs no GPU; only the embedders do.
    with closing(open_encoder(encoder, device=device if _is_server(encoder) else "cpu")) as opened:
        spec, probes = opened.spec, make_probes(opened)
    output = open_output(to, spec=spec)
    output.begin(probes)
    try:
        before = output.done()
        report = BulkReport(failed=[*found.failed], passed_over=dict(found.passed_over))
        todo = _left(found, before, report)
        if not todo and not report.already and not report.failed:
            raise _no_audio(paths, failed=[])
        if todo:
            with _cluster():
                options: dict[str, Any] = {
                    "encoder": encoder,
                    "device": device,
                    "windows": windows,
                    "part_tracks": part_tracks,
                }
                tracks = _pipeline(_tables(todo), output, spec, **options)
                with show_progress("embedding", total=len(todo), enabled=progress) as advance:
                    for told in _rows(tracks):
                        _take(told, report)
                        advance(told.get("audio_s", 0.0))
                report.stages = _stages(tracks.get_stats_summary())
        report.tracks = len(output.done().paths)
        if report.tracks != len(before.paths) + report.added:
            raise MusicSearchError(
                f"{output.name} holds {report.tracks} tracks, expected {len(before.paths)} from before and "
                f"{report.added} new ones: run this command again, and let only one run write there at a time"
            )
    finally:
        output.end()
    report.seconds = time.monotonic() - started_at
    return report


def _no_audio(paths: Sequence[str | Path], *, failed: Sequence[FailedTrack]) -> QueryError:
    if failed:
        return QueryError("; ".join(f"{one.path}: {one.reason}" for one in failed))
    return QueryError(f"no audio in {', '.join(map(str, paths))}: name an audio file, or a folder with audio files")


def _left(found: Found, done: Done, report: BulkReport) -> list[dict[str, Any]]:
    """The files to embed, as rows of `FILES`; files that are in the output or cannot be used go into the report."""
    left = []
    for path, status, unless_video in found.listed():
        note = done.failed.get(path)
        if path in done.paths:
            report.already += 1
        elif note is not None and _is_as_it_was(note, status):
            report.failed.append(FailedTrack(printable(path), note.reason))
        elif printable(path) != path:
            report.failed.append(FailedTrack(printable(path), "its name is not valid UTF-8: rename it"))
        else:
            size, mtime_ns = (status.st_size, status.st_mtime_ns) if status else (-1, 0)
            left.append({"path": path, "unless_video": unless_video, "size": size, "mtime_ns": mtime_ns})
    report.failed += [listing.failed for listing in found.listings if listing.failed]
    report.passed_over = dict(sum((listing.passed_over for listing in found.listings), Counter(report.passed_over)))
    return left


def _is_as_it_was(file: FailedFile, listed: Status | None) -> bool:
    """Whether a file is unchanged since it failed; `listed` is its status in a store's listing."""
    with suppress(AudioError, OSError):
        return file.looks_like(listed or (look_at(file.path) if is_url(file.path) else os.stat(file.path)))
    return False


@contextmanager
def _cluster() -> Iterator[None]:
    """Connect to the cluster that RAY_ADDRESS names, or to one on this machine, which is started if needed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry to Ray's makers
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it prints tracebacks of errors that are raised too
    is_mine = not ray.is_initialized()
    try:
        _check_that_it_answers(os.environ.get("RAY_ADDRESS", ""))
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as exc:
        where = os.environ.get("RAY_ADDRESS", "this machine")
        raise MusicSearchError(
            f"no Ray cluster at {where} ({' '.join(str(exc).split())[:200]}): start one with `ray start --head`, "
            "set RAY_ADDRESS to the address of a cluster, or unset RAY_ADDRESS"
        ) from exc
    try:
        yield
    finally:
        if is_mine:
            ray.shutdown()


def _check_that_it_answers(address: str) -> None:
    """Raise an OSError if nobody listens at "host:port", for which Ray would wait for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_WITHIN_S).close()


def _tables(files: Sequence[dict[str, Any]]) -> list[pa.Table]:
    """Tables with the schema `FILES`, one for each task."""
    cores = max(1, int(ray.cluster_resources().get("CPU", 0)))
    most = max(1, min(_TASK_TRACKS, len(files) // (_TASKS_A_CORE * cores)))
    return [pa.Table.from_pylist(group, FILES) for group in _groups(files, most=most)]


def _groups(files: Sequence[dict[str, Any]], *, most: int) -> Iterator[list[dict[str, Any]]]:
    """Neighbours, at most `most` files and `_TASK_BYTES` in a group. A larger file is a group of its own."""
    group: list[dict[str, Any]] = []
    group_bytes = 0
    for file in files:
        file_bytes = _bytes_of(file)
        if group and (len(group) == most or group_bytes + file_bytes > _TASK_BYTES):
            yield group
            group, group_bytes = [], 0
        group.append(file)
        group_bytes += file_bytes
    if group:
        yield group


def _bytes_of(file: dict[str, Any]) -> int:
    """The size of a file. One that is not known counts as large."""
    if file["size"] >= 0:
        return int(file["size"])
    with suppress(OSError):
        if not is_url(file["path"]):
            return os.stat(file["path"]).st_size
    return _TASK_BYTES


def _pipeline(
    files: list[pa.Table],
    output: Output,
    spec: EncoderSpec,
    *,
    encoder: str | None,
    device: str,
    windows: int | None,
    part_tracks: int,
) -> Any:
    """The lazy dataset whose rows are the results of `Write`."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    # A task gives exactly one table, however large, so that a retry gives a table with the same tracks (see `stages`).
    context.target_max_block_size = None
    # Our errors come back as they are. Ray's wrapper around them loses its cause on the way from a worker.
    context.raise_original_map_exception = True
    resources = ray.cluster_resources()
    cores, nodes = int(resources.get("CPU", 0)), max(1, sum(node["Alive"] for node in ray.nodes()))
    if not cores:
        raise MusicSearchError("the Ray cluster has no CPUs to decode on: start nodes with `ray start --num-cpus N`")
    gpus = 0 if device == "cpu" or _is_server(encoder) else int(resources.get("GPU", 0))
    if device in ("cuda", "tensorrt") and not gpus:
        raise EncoderError(f"device is {device!r}, but the Ray cluster has no GPUs: add nodes with GPUs, or use 'cpu'")
    # Only decoders reserve cores, so that every stage can be placed on whatever nodes are left. An embedder uses a GPU,
    # shares all cores of its node with the decoders, or waits for a server.
    aside: dict[str, Any] = {"num_cpus": 0, "batch_format": "pyarrow"}
    embedder = {"encoder": encoder, "device": device if gpus or _is_server(encoder) else "cpu", "spec": spec}
    return (
        ray.data.from_arrow(files)
        .map_batches(
            Decode,
            fn_constructor_kwargs={"spec": spec, "windows": windows},
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=cores, initial_size=min(cores, len(files))),
        )
        .map_batches(
            Embed,
            fn_constructor_kwargs=embedder,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=gpus or nodes),
            **({"num_gpus": 1, "batch_size": _TASK_TRACKS} if gpus else {"batch_size": None}),
            **aside,
        )
        .map_batches(
            Write,
            fn_constructor_kwargs={"output": output, "dim": spec.embedding_dim},
            batch_size=part_tracks,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=nodes),
            **aside,
        )
    )


def _is_server(encoder: str | None) -> bool:
    return encoder is not None and is_url(encoder)


def _rows(tracks: Any) -> Iterator[dict[str, Any]]:
    """The result of each track.

    Raises:
        MusicSearchError: the same error that a stage raised, or Ray failed.
    """
    try:
        for table in tracks.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from map(json.loads, table.column("told").to_pylist())
    except Exception as exc:  # Ray's errors, and those of its workers, share no base class
        raise _translated(exc) from exc


def _stages(summary: Any) -> list[Stage]:
    found = [stage for parent in summary.parents for stage in _stages(parent)]
    for operator in summary.operators_stats:
        name = operator.operator_name.removeprefix("MapBatches(").removesuffix(")")
        if name in (stage.__name__ for stage in (Decode, Embed, Write)) and operator.wall_time:
            waited_s, held_up_s = (
                summary.extra_metrics.get(f"average_task_{what}_time_s") or 0.0
                for what in ("scheduling", "output_backpressure")
            )
            tracks, work_s = operator.output_num_rows.sum, operator.wall_time.sum
            found.append(Stage(name, tracks, work_s, operator.num_rows_per_s, waited_s, held_up_s))
    return found


def _translated(error: BaseException) -> MusicSearchError:
    todo: list[BaseException] = [error]
    seen: set[int] = set()
    while todo:
        one = todo.pop(0)
        if isinstance(one, MusicSearchError) and not isinstance(one, ray.exceptions.RayError):
            one.args = (str(one).partition("\n")[0],)  # Ray Data adds lines about its own settings
            return one
        seen.add(id(one))
        causes = (getattr(one, "cause", None), one.__cause__, one.__context__)
        todo += [cause for cause in causes if isinstance(cause, BaseException) and id(cause) not in seen]
    said = [type(error).__name__, *filter(None, map(str.strip, str(error).splitlines()))][-1]
    return MusicSearchError(f"Ray failed ({said[:300]}): what was written is kept, run the same command again")


def _take(told: dict[str, Any], report: BulkReport) -> None:
    if "passed_over" in told:
        kind = told["passed_over"]
        report.passed_over[kind] = report.passed_over.get(kind, 0) + 1
    elif "reason" in told:
        report.failed.append(FailedTrack(told["path"], told["reason"]))
    else:
        report.added += 1
        report.audio_s += told["audio_s"]
        if "warning" in told:
            report.warnings.append(TrackWarning(told["path"], told["warning"]))
