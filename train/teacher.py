"""Distillation targets: the logits of a published tagger (the teacher) for every recording, computed once.

Before the first epoch, the teacher tags each window of each recording. Its answers are kept in a cache file beside the
manifest. A run that was stopped continues from this file, and the next run on the same manifest reuses it. A recording
that has changed is tagged again.

This is part of a run and not a separate command. The recipe already says everything that the answers depend on
(teacher, window, sample rate), so nobody can train on answers about other windows.
"""

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from train.config import ConfigError, FrontendConfig
from train.data.audio import AudioDecodeError, StoreSilentError, open_recording, readable
from train.data.manifest import Row
from train.data.member import Member
from train.data.progress import shown
from train.data.store import is_url

SAVE_EVERY_S = 60.0
WINDOWS_AT_ONCE = 16
MIN_DEVIATION = 1e-3  # lower limit of the standard deviation of a tag's logits
KEPT = ("names", "counts", "logits")


class TeacherTargets:
    """A teacher's logits for the windows of recordings; interpolates targets for random crops.

    Args:
        logits: one float16 array [windows, tags] for each row. The windows follow each other without overlap from the
            start of the recording. There are no windows if the recording could not be read.
        window_samples: length of a window and of a crop.
        scale: mean and standard deviation of each tag, both float32 [tags]; None computes them from these windows.
    """

    def __init__(
        self,
        logits: Sequence[NDArray[np.float16]],
        *,
        window_samples: int,
        scale: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    ) -> None:
        self.window_samples = window_samples
        self._first = np.cumsum([0, *map(len, logits)])
        self._logits = np.concatenate(logits)
        self.scale = scale or _scale(self._logits)

    @property
    def tags(self) -> int:
        return self._logits.shape[1]

    def of_crop(self, place: int, *, start: int) -> NDArray[np.float32]:
        """The teacher's logits for a crop of row `place` that begins at sample `start`.

        They are the mean over the windows that the crop overlaps, weighted by the length of the overlap. A remainder of
        less than half a window at the end of a recording has no window. The window before it is used instead.

        Returns:
            float32 [tags], standardised with `scale`; NaN if the row has no window.
        """
        first, last = self._first[place], self._first[place + 1] - 1
        if last < first:
            return np.full(self.tags, np.nan, np.float32)
        whole, part = divmod(start, self.window_samples)
        before, after = (self._logits[min(first + whole + step, last)].astype(np.float32) for step in (0, 1))
        share = np.float32(part / self.window_samples)
        mean, deviation = self.scale
        standardised: NDArray[np.float32] = ((1 - share) * before + share * after - mean) / deviation
        return standardised


class OnnxTeacher(nn.Module):
    """A tagger as an ONNX graph on the CPU: float32 waveform [n, samples] -> float32 logits [n, tags].

    An ONNX graph contains no code, and any published model can be exported to it.
    """

    digest: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        content = path.read_bytes()
        # The state that `weights_sha256` hashes.
        self.register_buffer("digest", torch.frombuffer(bytearray(hashlib.sha256(content).digest()), dtype=torch.uint8))
        self._session = InferenceSession(content, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def forward(self, waveform: Tensor) -> Tensor:
        (logits, *_) = self._session.run(None, {self._input: waveform.cpu().numpy()})
        return torch.from_numpy(logits)


def open_teacher(path: str, *, frontend: FrontendConfig) -> nn.Module:
    """Open a tagger and check that it accepts the windows of this front end; it is in eval mode.

    Raises:
        ConfigError: no such file, not an ONNX graph, or a graph with other inputs or outputs.
    """
    if not Path(path).is_file():
        raise ConfigError(f"loss.teacher is {path!r}, but there is no such file; expected an ONNX graph of a tagger")
    windows = torch.zeros(2, frontend.window_samples)
    try:
        teacher = OnnxTeacher(Path(path))
        logits = teacher(windows)
    except Exception as exc:  # ONNX Runtime's exceptions have no common class
        problem = str(exc).strip().splitlines()[0]
        raise ConfigError(
            f"loss.teacher {path} does not take float32 waveforms [n, {frontend.window_samples}] of "
            f"{frontend.sample_rate_hz} Hz, the windows of this recipe: {problem}"
        ) from exc
    if logits.ndim != 2 or len(logits) != len(windows) or logits.dtype != torch.float32:
        raise ConfigError(
            f"loss.teacher {path} gives {logits.dtype} {list(logits.shape)} for {len(windows)} windows; expected "
            "float32 logits [n, tags]"
        )
    return teacher.eval()


def weights_sha256(teacher: nn.Module) -> str:
    """SHA-256 of a teacher's weights in hex; it identifies the teacher."""
    digest = hashlib.sha256()
    for name, value in teacher.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()


def targets_path(manifest: Path, *, identity: str, frontend: FrontendConfig) -> Path:
    """Path of the file with a teacher's answers for a manifest; `identity` is the teacher's `weights_sha256`."""
    asked = f"{identity} {frontend.window_samples} {frontend.sample_rate_hz}"
    return manifest.with_name(f"{manifest.stem}.teacher-{hashlib.sha256(asked.encode()).hexdigest()[:12]}.npz")


def ask_teacher(
    teacher: nn.Module,
    rows: Sequence[Row],
    *,
    file: Path,
    frontend: FrontendConfig,
    device: torch.device,
    workers: int = 0,
    console: Console | None = None,
) -> None:
    """Compute the teacher's logits for all windows of the recordings that `file` lacks, and save them to `file`.

    If the last window of a recording is at least half full, it is padded with zeros, as for a track's embedding. The
    file is replaced atomically every `SAVE_EVERY_S`, so a stopped process loses at most that much work.

    Args:
        teacher: float32 waveforms [n, window_samples] in -1…1, mono -> float32 logits [n, tags]; on `device`.
        rows: the rows whose recordings are tagged.
        file: the file of answers, see `targets_path`.
        frontend: gives the window length and the sample rate.
        device: where the teacher runs.
        workers: decoding processes; 0 decodes in this process.
        console: shows the progress; None shows nothing.

    Raises:
        OSError: the file cannot be written.
        StoreSilentError: a store does not answer. What is tagged until then is saved at least every SAVE_EVERY_S.
        AudioDecodeError: none of the recordings can be decoded.
    """
    known = _read(file)
    names = {_name(path, beside=file): path for path in dict.fromkeys(row.audio for row in rows)}
    missing = [name for name in names if name not in known]
    if not missing:
        return
    if console:
        console.print(f"the teacher tags {len(missing)} recordings; {file.name} keeps the answers", soft_wrap=True)
    windows = _Windows([names[name] for name in missing], frontend)
    loader = DataLoader(windows, batch_size=None, num_workers=workers)
    saved = time.monotonic()
    heard = readable(shown(loader, total=len(missing), doing="heard", console=console))
    for name, waveforms in zip(missing, heard, strict=True):
        known[name] = _answer(teacher, waveforms, device=device)
        if time.monotonic() - saved > SAVE_EVERY_S:
            _write(file, known)
            saved = time.monotonic()
    if not any(map(len, known.values())):
        raise AudioDecodeError(f"none of the {len(known)} recordings can be decoded, so the teacher has no answers")
    _write(file, known)


def load_targets(
    file: Path,
    rows: Sequence[Row],
    *,
    frontend: FrontendConfig,
    scale: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> TeacherTargets:
    """The answers for these rows that `ask_teacher` saved. `scale` is passed on to `TeacherTargets`."""
    known = _read(file)
    tags = next(logits.shape[1] for logits in known.values() if len(logits))
    none = np.empty((0, tags), np.float16)
    logits = [known[_name(row.audio, beside=file)] for row in rows]
    heard = [each if len(each) else none for each in logits]
    return TeacherTargets(heard, window_samples=frontend.window_samples, scale=scale)


class _Windows(Dataset[Tensor | StoreSilentError]):
    """The windows of each file, float32 [windows, samples]; no windows if the file cannot be read.

    If its store does not answer, the item is that error.
    """

    def __init__(self, paths: Sequence[Path | Member], frontend: FrontendConfig) -> None:
        self.paths, self.frontend = paths, frontend

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor | StoreSilentError:
        samples = self.frontend.window_samples
        try:
            with open_recording(self.paths[index], sample_rate_hz=self.frontend.sample_rate_hz) as recording:
                whole = np.concatenate(list(recording.blocks()))
        except StoreSilentError as exc:
            return StoreSilentError(f"{exc}; start again when the store answers")
        except AudioDecodeError:
            return torch.empty(0, samples)  # training lists the file as unreadable later
        count = max(len(whole) // samples + (len(whole) % samples >= samples / 2), 1)
        whole = whole[: count * samples]
        return torch.from_numpy(np.pad(whole, (0, count * samples - len(whole))).reshape(count, samples))


def _scale(logits: NDArray[np.float16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    spread = logits.astype(np.float64)
    deviation = np.maximum(spread.std(axis=0), MIN_DEVIATION)
    return spread.mean(axis=0).astype(np.float32), deviation.astype(np.float32)


@torch.inference_mode()
def _answer(teacher: nn.Module, waveforms: Tensor, *, device: torch.device) -> NDArray[np.float16]:
    answers = [teacher(part.to(device)).float().cpu().numpy() for part in waveforms.split(WINDOWS_AT_ONCE) if len(part)]
    return np.concatenate(answers).astype(np.float16) if answers else np.empty((0, 0), np.float16)


def _name(path: Path | Member, *, beside: Path) -> str:
    """Identifies a recording by its relative path, size and modification time; in a shard, by those of the shard."""
    if isinstance(path, Member):
        shard = path.shard if is_url(path.shard) else _name(Path(path.shard), beside=beside)
        return f"{path.name} {path.offset} {path.size} {shard}"
    about = path.stat() if path.exists() else None
    relative = Path(os.path.relpath(path.resolve(), beside.parent.resolve())).as_posix()
    return f"{relative} {about.st_size if about else 0} {about.st_mtime_ns if about else 0}"


def _read(file: Path) -> dict[str, NDArray[np.float16]]:
    """name -> float16 [windows, tags]. Empty if the file is missing or damaged, because it can be computed again."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            names, counts, logits = (arrays[key] for key in KEPT)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    parts = np.split(logits, np.cumsum(counts)[:-1])
    return dict(zip(json.loads(str(names)), parts, strict=True))


def _write(file: Path, known: dict[str, NDArray[np.float16]]) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    tags = max((logits.shape[1] for logits in known.values()), default=0)
    parts: Iterable[NDArray[np.float16]] = (logits.reshape(len(logits), tags) for logits in known.values())
    try:
        with temporary.open("wb") as target:
            np.savez(
                target,
                names=np.array(json.dumps(list(known))),
                counts=np.array([len(logits) for logits in known.values()]),
                logits=np.concatenate([np.empty((0, tags), np.float16), *parts]),
            )
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
