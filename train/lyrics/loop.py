"""Trains a transcriber: read it from top to bottom.

A run directory holds these files:

* `ckpt.pt`: the best model so far, by the validation's WER and, between equal ones, its loss; by the loss for "pitch".
* `last.pt`: everything that a resumed run needs.
* `metrics.jsonl`: one line per epoch.

A run that was killed and resumed ends with the same weights as a run without interruption: the order of the windows and
dropout's generator are drawn from (seed, epoch).
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch.utils.data import DataLoader

from singing.decoding import best_path
from train.checkpoint import CheckpointError, read_tensors, write_atomically
from train.data.audio import readable
from train.data.manifest import manifest_sha256
from train.loop import TrainingError, drop_lines_after
from train.lyrics.checkpoint import LyricsCheckpoint, load_lyrics_checkpoint, save_lyrics_checkpoint
from train.lyrics.config import LyricsConfig, LyricsOptimConfig
from train.lyrics.losses import joint_loss
from train.lyrics.measures import check_packages, count_word_errors
from train.lyrics.networks import LyricsModel
from train.lyrics.songs import read_songs
from train.lyrics.transcribe import estimate
from train.lyrics.windows import Window, WindowSet, collate, tell_left_out, window_songs
from train.provenance import describe_run, device_name

BETAS, EPSILON = (0.9, 0.999), 1e-8  # §4.1.2
COUNTERS = ("epoch", "step", "best", "waited", "seconds")


@dataclass
class State:
    """Everything that changes during a run.

    `best` is the lowest (error, loss) of a validation so far, and `waited` the epochs since then.
    """

    model: LyricsModel
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    best: tuple[float, ...] = (math.inf, math.inf)
    waited: int = 0
    seconds: float = 0.0


def train_lyrics(
    config: LyricsConfig, *, manifest: Path, run: Path, resume: bool = False, console: Console | None = None
) -> Path:
    """Train until the validation has not improved for `optim.patience` epochs, and return the path of `ckpt.pt`.

    Args:
        config: the model and the training run.
        manifest: of songs, see `train.lyrics.songs`; speech may be among them.
        run: the run directory.
        resume: continue after the last epoch saved in `run`; `config` must be that run's.
        console: where progress is printed; None prints.

    Raises:
        TrainingError: the run directory already holds a run (or, with `resume`, holds none or another one), there is
            nothing to train on, or a loss is not finite.
        ManifestError: the manifest cannot be used.
        EvaluationError: a package of the measures is not installed.
        AudioDecodeError: a recording cannot be decoded.
        CheckpointError: `start` or `last.pt` cannot be used.
    """
    console = console or Console()
    last = run / "last.pt"
    if last.exists() and not resume:
        raise TrainingError(f"{run} already holds a run; continue it with --resume or choose another --out")
    if resume and not last.exists():
        raise TrainingError(f"{run} holds no run to resume (no last.pt); leave --resume out to start one")
    check_packages()
    frontend, optim, method = config.model.frontend, config.optim, config.model.method
    train_songs, val_songs = (read_songs(manifest, split=split) for split in ("train", "val"))
    if method in ("oracle", "pitch") and any(song.notes is None for song in (*train_songs, *val_songs)):
        raise TrainingError(f"{manifest} has rows without notes, but model.method is {method!r}; leave these rows out")
    train_windows, left_out = window_songs(train_songs, frontend=frontend, with_gaps=True, console=console)
    val_windows, left_out_too = window_songs(val_songs, frontend=frontend, console=console)
    with_words = sum(bool(window.text) for window in train_windows)
    if not with_words or not val_windows:
        raise TrainingError(
            f"{manifest} has {with_words} windows with words for training and {len(val_windows)} for "
            "validation; expected some of both: add songs whose words are known"
        )
    voice_share = sum(window.song.voice is not None for window in train_windows) / len(train_windows)
    digest = manifest_sha256(manifest)
    run.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    model = LyricsModel(config.model)
    if config.start and not resume:
        console.print(_start_from(model, Path(config.start)), soft_wrap=True)
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=optim.learning_rate, betas=BETAS, eps=EPSILON)
    state = State(model, optimizer)
    if resume:
        _restore(state, last, config, digest=digest)
    drop_lines_after(run / "metrics.jsonl", epoch=state.epoch)
    data = WindowSet(train_windows, frontend=frontend)
    if left_out + left_out_too:
        console.print(tell_left_out(left_out + left_out_too), soft_wrap=True)
    console.print(
        f"{method}: {len(train_windows)} windows of {len(train_songs)} songs for training, of which "
        f"{len(train_windows) - with_words} without words and {voice_share:.0%} with a separated voice, "
        f"{len(val_windows)} of {len(val_songs)} for validation, on {device_name(device)}",
        soft_wrap=True,
    )
    while state.epoch < optim.epochs and state.waited < optim.patience:
        started = time.monotonic()
        losses = _train_epoch(state, data, config=config, console=console)
        validation = _validate(state.model, val_windows, config=config)
        state.epoch += 1
        state.seconds += time.monotonic() - started
        metrics = {
            "epoch": state.epoch,
            "step": state.step,
            **{f"train_{name}": value for name, value in losses.items()},
            "val": validation,
            "seconds": state.seconds,
        }
        reached = (validation.get("WER", 0.0), validation["loss"])
        improved = reached < state.best
        state.waited = 0 if improved else state.waited + 1
        state.best = min(state.best, reached)
        try:
            if improved:
                weights = {name: value.cpu() for name, value in model.state_dict().items()}
                made_from = describe_run(manifest.name, seed=config.seed, digest=digest, device=device)
                made_from["voice_share"] = voice_share
                save_lyrics_checkpoint(run / "ckpt.pt", LyricsCheckpoint(config, weights, metrics, made_from))
            with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")
            _save_state(state, last, config, digest=digest)
        except OSError as exc:
            raise TrainingError(
                f"cannot write to {run} ({exc.strerror or exc}); free disk space, then --resume"
            ) from exc
        said = f"  WER {100 * validation['WER']:.1f} %" if "WER" in validation else ""
        console.print(
            f"epoch {state.epoch}/{optim.epochs}  loss {losses['loss']:.3f}  val loss {validation['loss']:.3f}{said}"
            f"{'  (best)' if improved else ''}",
            soft_wrap=True,
        )
    if state.epoch < optim.epochs:
        console.print(f"the validation has not improved for {state.waited} epochs")
    console.print(f"best checkpoint: {run / 'ckpt.pt'}", soft_wrap=True)
    return run / "ckpt.pt"


def learning_rate(step: int, *, optim: LyricsOptimConfig) -> float:
    """Learning rate of a step, counted from 0: a linear rise over `warmup_steps`, then constant (§4.1.2)."""
    return optim.learning_rate * min(1.0, (step + 1) / optim.warmup_steps)


def _train_epoch(state: State, data: WindowSet, *, config: LyricsConfig, console: Console) -> dict[str, float]:
    """One pass over the training windows; returns the mean of each loss over the steps."""
    model, optim = state.model, config.optim
    device = next(model.parameters()).device
    model.train()
    # Of dropout and of the order.
    seed = (config.seed * 100_003 + state.epoch) * 1_009
    torch.manual_seed(seed)
    batches = DataLoader(
        data,
        optim.batch_size,
        shuffle=True,
        drop_last=len(data) >= optim.batch_size,
        num_workers=optim.workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        generator=torch.Generator().manual_seed(seed),
    )
    sums: dict[str, float] = {}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for waveforms, truth in readable(progress.track(batches, description=f"epoch {state.epoch + 1}")):
            for group in state.optimizer.param_groups:
                group["lr"] = learning_rate(state.step, optim=optim)
            state.optimizer.zero_grad(set_to_none=True)
            at_hand = truth.to(device)
            estimates = model(waveforms.to(device), truth=at_hand.melody(), sung=at_hand.sung)
            parts = joint_loss(estimates, at_hand, config=config.loss)
            parts["loss"].backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), optim.clip_norm)
            if not (math.isfinite(float(parts["loss"].detach())) and math.isfinite(float(norm))):
                raise TrainingError(
                    f"the loss or gradient of step {state.step + 1} (epoch {state.epoch + 1}) is not finite; the last "
                    "good state is in last.pt, if an epoch was finished: use --resume, or lower optim.learning_rate"
                )
            state.optimizer.step()
            state.step += 1
            for name, part in parts.items():
                sums[name] = sums.get(name, 0.0) + float(part.detach())
    return {name: total / len(batches) for name, total in sums.items()}


def _validate(model: LyricsModel, windows: Sequence[Window], *, config: LyricsConfig) -> dict[str, float]:
    """The mean of each loss over the windows, and the WER of the best paths if there is a transcriber."""
    sums: dict[str, float] = {}
    errors = words = 0
    coming = iter(windows)
    for estimates, truth in estimate(model, windows, batch_size=config.optim.batch_size, workers=config.optim.workers):
        count = len(truth.sung)
        for name, part in joint_loss(estimates, truth, config=config.loss).items():
            sums[name] = sums.get(name, 0.0) + count * float(part)
        for place in range(count):
            reference = next(coming).text
            if estimates.characters is not None:
                text = best_path(estimates.characters[place].cpu().numpy())
                wrong, length = count_word_errors(reference, text)
                errors, words = errors + wrong, words + length
    validation = {name: total / len(windows) for name, total in sums.items()}
    return {**validation, "WER": errors / words} if words else validation


def _start_from(model: LyricsModel, path: Path) -> str:
    """Load the networks that a checkpoint has, and say which."""
    weights = load_lyrics_checkpoint(path).state_dict
    wanted = model.state_dict()
    shared = {name: value for name, value in weights.items() if name in wanted}
    differing = [name for name, value in shared.items() if value.shape != wanted[name].shape]
    if differing or not shared:
        raise CheckpointError(
            f"start is {path}, whose {differing[0] if differing else 'networks'} does not fit this model; give a run "
            "with the same sizes of model.transcriber or model.pitch"
        )
    model.load_state_dict({**wanted, **shared})
    return f"starts from {path}: {', '.join(sorted({name.split('.')[0] for name in shared}))}"


def _save_state(state: State, path: Path, config: LyricsConfig, *, digest: str) -> None:
    write_atomically(
        path,
        {
            "config": config.to_dict(),
            "manifest_sha256": digest,
            "model": state.model.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            **{name: getattr(state, name) for name in COUNTERS},
        },
    )


def _restore(state: State, path: Path, config: LyricsConfig, *, digest: str) -> None:
    saved: dict[str, Any] = read_tensors(path)
    if not isinstance(saved, dict) or not {"config", "manifest_sha256", "model", "optimizer", *COUNTERS} <= set(saved):
        raise CheckpointError(f"{path} is not a run state that this version can resume; train again")
    if saved["manifest_sha256"] != digest:
        raise TrainingError(f"{path} was written by a run on another manifest than --data; resume with the former one")
    if LyricsConfig.from_dict(saved["config"]) != config:
        raise TrainingError(f"{path} was written by another configuration; resume with that run's --set")
    state.model.load_state_dict(saved["model"])
    state.optimizer.load_state_dict(saved["optimizer"])
    for name in COUNTERS:
        setattr(state, name, saved[name])
