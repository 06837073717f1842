"""One linear training loop: read it from top to bottom.

A run directory holds these files:

* `ckpt.pt`: the best model so far, by validation R@10, or by mAP in pretraining on labels.
* `last.pt`: everything that a resumed run needs.
* `metrics.jsonl`: one line per epoch.
* `tensorboard/`
* `unreadable.jsonl`: the tracks whose audio could not be decoded, if there are any.

A run that was killed and resumed ends with the same weights as a run without interruption. Crops, captions and
augmentations are drawn from (seed, epoch, track), and the order of the rows from (seed, epoch). The random generators
of dropout and masks are seeded again at each epoch.
"""

import copy
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from train.augment import augment_log_mel
from train.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    write_atomically,
)
from train.config import Config, flat_values
from train.data.audio import StoreSilentError
from train.data.manifest import Row, select_rows
from train.data.member import Member
from train.data.pairs import (
    MAX_DRAWS,
    Batch,
    Joined,
    Key,
    PairDataset,
    Unreadable,
    collate,
    epoch_order,
    raise_if_silent,
)
from train.data.rows import read_data
from train.data.store import is_url
from train.data.tokenizer import TextTokenizer
from train.distributed import (
    World,
    average_gradients,
    gather,
    join_world,
    leave_world,
    naming_lost_processes,
    share_batch_statistics,
    wait_for_first,
)
from train.dual_encoder import DualEncoder
from train.evaluate.embed import embed_pairs, embed_tracks
from train.evaluate.metrics import retrieval_metrics
from train.grad_cache import backward_in_chunks
from train.memory import keep_freed_memory
from train.objective import Objective
from train.optimizer import MovingAverage, build_optimizer, learning_rate_share
from train.pretrained import sentence_embedder, start_towers
from train.provenance import describe_run, device_name
from train.teacher import TeacherTargets, ask_teacher, load_targets, open_teacher, targets_path, weights_sha256
from train.word_memory import WordMemory

TEXT_GROUP = 32  # captions that are padded to one length
# Embedded for a row without captions, so that all processes have equally many texts. The loss does not use it.
PLACEHOLDER = "music"
# The minimum is CLIP's clamp: logits are scaled by at most 100 (Radford et al. 2021, §2.5). MuLan's range is (0, 1]
# (§3.1).
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 1.0
MIN_SEEN_BEFORE_STOPPING = 100  # rows; so that one bad file among the first few does not stop the run
# Settings that a resumed run may change. The saved state does not depend on them.
CHANGEABLE = (
    *("optim.learning_rate", "optim.text_learning_rate", "optim.clip_norm", "optim.precision", "optim.workers"),
    "data.unreadable_share",
)
SAVED = ("config", "manifest_sha256", "model", "objective", "optimizer", "scaler", "average")
COUNTERS = ("epoch", "step", "best_scores", "seconds", "rows_seen", "unreadable")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class TrainingError(RuntimeError):
    """A run cannot start or continue; the message is one sentence for the user."""


@dataclass
class State:
    """Everything that changes during a run."""

    model: DualEncoder
    objective: Objective
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None
    epoch: int = 0
    step: int = 0
    best_scores: tuple[float, ...] = ()
    seconds: float = 0.0
    rows_seen: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


@naming_lost_processes()
def train(
    config: Config, *, manifest: str | Path, run: Path, resume: bool = False, console: Console | None = None
) -> Path:
    """Train until the last epoch and return the path of the best checkpoint, `run / "ckpt.pt"`.

    Under torchrun, each process takes its share of every batch. Only the first process writes and prints.

    Args:
        config: the model and the training run.
        manifest: path of a manifest, or a pattern of shards such as `shards/{000..063}.tar`.
        run: the run directory.
        resume: continue after the last epoch saved in `run`. `config` must be that run's, except for `CHANGEABLE`.
        console: where progress is printed; None prints only in the first process.

    Raises:
        TrainingError: the run directory already holds a run (or, with `resume`, holds none or one of another
            configuration), too few rows for one batch, a batch size that the processes cannot divide, too much
            unreadable audio, or a loss or gradient that is not finite.
        ManifestError: the manifest cannot be used.
        AudioDecodeError: a recording for validation or for the teacher cannot be decoded.
        CheckpointError: a checkpoint or published weights cannot be read.
        ConfigError: the published weights cannot be used.
        EvaluationError: the validation rows cannot be evaluated.
        LostProcessError: another process of the run has ended.
    """
    world = join_world()
    console = console or Console(quiet=not world.is_first)
    last = run / "last.pt"
    if config.model.beside.parts:
        raise TrainingError(
            "model.beside is fitted after training; train without it, then run `python -m train.concepts`"
        )
    if last.exists() and not resume:
        raise TrainingError(f"{run} already holds a run; continue it with --resume or choose another --out")
    if resume and not last.exists():
        raise TrainingError(f"{run} holds no run to resume (no last.pt); leave --resume out to start one")

    keep_freed_memory()
    # The precision "fp32" must be float32, not TF32.
    torch.backends.cudnn.allow_tf32 = False
    device = world.device
    frontend, optim = config.model.frontend, config.optim
    data = read_data(manifest)
    train_rows = select_rows(data.rows, split="train", of=manifest)
    # Validation retrieves by captions or predicts labels, so a row without any is of no use.
    needed = "labels" if config.loss.name == "labels" else "captions"
    val_rows = select_rows(data.rows, split="val", having=needed, of=manifest)
    if len(train_rows) < optim.batch_size:
        raise TrainingError(
            f"{manifest} has {len(train_rows)} training rows, less than one batch of {optim.batch_size}; "
            "add tracks or lower optim.batch_size"
        )
    if optim.batch_size % world.size:
        raise TrainingError(
            f"optim.batch_size is {optim.batch_size}; expected a multiple of the {world.size} processes"
        )
    if config.loss.name != "labels" and sum(bool(row.captions) for row in train_rows) < 2:
        raise TrainingError(
            f"fewer than 2 of the {len(train_rows)} training rows in {manifest} have captions, but loss.name "
            f"{config.loss.name!r} compares captions; merge it with a manifest of captioned tracks (python -m "
            "train.data merge)"
        )
    if not MIN_TEMPERATURE <= optim.initial_temperature <= MAX_TEMPERATURE:
        raise TrainingError(
            f"optim.initial_temperature is {optim.initial_temperature:g}; expected {MIN_TEMPERATURE:g} to "
            f"{MAX_TEMPERATURE:g}, the range that each step enforces"
        )
    digest = data.sha256
    run.mkdir(parents=True, exist_ok=True)
    lessons = None
    if config.loss.distil_weight:
        beside = _beside(manifest, train_rows, run=run)
        heard = [row for row in data.rows if row.split == "val"]  # captioned or not
        lessons = _ask_teacher(config, beside, train_rows=train_rows, val_rows=heard, world=world, console=console)
    del data  # frees the rows of the other splits
    torch.manual_seed(config.seed)
    model = DualEncoder(config.model)
    tokenizer = start_towers(model, config, rows=train_rows)
    model.audio_tower = share_batch_statistics(model.audio_tower, world=world)
    # channels_last makes convolutions up to 1.7x faster on a CPU. Torch's types have no overload of `to` that takes
    # both memory_format and a device.
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = Objective(
        config.loss,
        rows=train_rows,
        width=model.audio_tower.width,
        teacher_tags=lessons.train.tags if lessons else 0,
    ).to(device)
    embed_sentences = None
    if config.loss.name == "weighted_info_nce":
        embed_sentences = sentence_embedder(config.loss.sentence_encoder, device=device)
    remembers = config.loss.words_weight and config.loss.name != "labels"
    as_published = copy.deepcopy(model.text_tower) if remembers else None
    with torch.no_grad():
        model.log_temperature.fill_(math.log(optim.initial_temperature))
    if config.warm_start and not resume:
        _warm_start(model, config.warm_start, config=config, tokenizer=tokenizer, console=console)
    state = State(
        model,
        objective,
        build_optimizer(model, objective, optim),
        torch.amp.GradScaler(device.type, enabled=optim.precision == "fp16" and device.type == "cuda"),
        MovingAverage(model, decay=optim.ema_decay) if optim.ema_decay else None,
    )
    if resume:
        _restore(state, last, config, digest=digest)
    if world.is_first:
        drop_lines_after(run / "metrics.jsonl", epoch=state.epoch)
        (run / "unreadable.jsonl").unlink(missing_ok=True)
        if state.unreadable:
            _list_unreadable(state.unreadable, run)
    if optim.compile:
        model.audio_tower.compile()
    words = None
    if as_published is not None and state.epoch < optim.epochs:
        console.print("embedding the words that the text tower must not forget ...")
        words = WordMemory(as_published, tokenizer, rows=train_rows, temperature=config.loss.words_temperature)
    val_rows = _readable(val_rows, state=state, config=config, run=run)

    pairs = PairDataset(
        train_rows,
        frontend=frontend,
        seed=config.seed,
        training=True,
        augment=config.augment,
        views=config.loss.views_of if config.loss.views_share else None,
        targets=lessons.train if lessons else None,
        random_crops=config.data.random_crops,
    )
    # On a CPU, all workers make a part of each batch, so that decoding takes the same time from each core.
    parts = max(1, min(optim.workers, optim.batch_size // world.size)) if device.type == "cpu" else 1
    shares: list[list[Key]] = []  # the parts that the loader loads; replaced at the start of each epoch
    loader = DataLoader(
        pairs,
        batch_sampler=shares,
        num_workers=optim.workers,
        # Fork the workers once, while this process is small. After a fork, each memory page that this process writes to
        # is copied.
        persistent_workers=optim.workers > 0,
        # For each worker 2 batches, or 1 if they are so big that they would fill the host memory.
        prefetch_factor=parts * (1 if optim.chunk_size else 2) if optim.workers else None,
        pin_memory=device.type == "cuda",
        collate_fn=collate,
        # The loader draws a number when the workers start. That must not change the state of dropout's generator.
        generator=torch.Generator(),
    )
    batches = Joined(loader, parts=parts)
    steps_per_epoch = len(train_rows) // optim.batch_size
    console.print(
        f"{config.model.name}: {len(train_rows)} training and {len(val_rows)} validation tracks, "
        f"{optim.epochs * steps_per_epoch} steps of {optim.batch_size} pairs on {device_name(device)}"
        + (f" x {world.size}" if world.size > 1 else ""),
        soft_wrap=True,
    )
    # mAP@10 decides between equal R@10, which of ten rows or fewer is always 1.
    kind, *scores = ("labels", "mAP") if config.loss.name == "labels" else ("text_to_audio", "R@10", "mAP@10")
    step = Step(config, tokenizer, embed_sentences, words, world)
    with SummaryWriter(str(run / "tensorboard")) if world.is_first else nullcontext() as writer:
        while state.epoch < optim.epochs:
            started = time.monotonic()
            order = epoch_order(
                train_rows,
                mixture=config.data.mixture,
                seed=config.seed,
                epoch=state.epoch,
                shuffle_shards=config.data.shuffle_shards,
            )
            shares[:] = _shares(order, batch_size=optim.batch_size, parts=parts, world=world)
            losses = _train_epoch(state, batches, rows=train_rows, step=step, run=run, console=console)
            train_seconds = time.monotonic() - started
            state.epoch += 1
            if writer is None:  # only the first process validates and writes
                continue
            weights = state.average.weights if state.average else state.model.state_dict()
            try:
                validation = _validate(state, val_rows, config=config, tokenizer=tokenizer)
                state.seconds += time.monotonic() - started
                followed = _followed(state, lessons.val, config=config) if lessons else None
            except StoreSilentError as exc:
                raise TrainingError(f"{exc}; {_kept(run)}") from exc
            metrics: dict[str, Any] = {
                "epoch": state.epoch,
                "step": state.step,
                "loss": sum(losses) / len(losses),
                "temperature": float(model.log_temperature.detach().exp()),
                "pairs_per_s": steps_per_epoch * optim.batch_size / train_seconds,
                "seconds": state.seconds,
                "unreadable": len(state.unreadable),
                f"val_{kind}": validation,
            }
            if followed is not None:
                metrics["val_teacher"] = {"R2": followed}
            reached = tuple(validation[score] for score in scores)
            improved = reached >= state.best_scores
            state.best_scores = max(state.best_scores, reached)
            try:
                if improved:
                    saved = {name: value.cpu() for name, value in weights.items()}
                    provenance = describe_run(Path(manifest).name, seed=config.seed, device=device, digest=digest)
                    if lessons:
                        provenance["teacher_sha256"] = lessons.teacher_sha256
                    checkpoint = Checkpoint(config, saved, tokenizer.tokenizer_json, metrics, provenance)
                    save_checkpoint(run / "ckpt.pt", checkpoint)
                with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(metrics) + "\n")
                _save_state(state, last, config, digest=digest)
            except OSError as exc:
                raise TrainingError(
                    f"cannot write to {run} ({exc.strerror or exc}); free disk space; {_kept(run)}"
                ) from exc
            for name in ("loss", "temperature", "pairs_per_s"):
                writer.add_scalar(name, metrics[name], state.step)
            for name, value in validation.items():
                writer.add_scalar(f"val_{kind}/{name}", value, state.step)
            console.print(
                f"epoch {state.epoch}/{optim.epochs}  loss {metrics['loss']:.3f}  "
                f"val {scores[0]} {100 * reached[0]:.1f} %  "
                f"{metrics['pairs_per_s']:.0f} pairs/s{'  (best)' if improved else ''}"
                + (f"  {len(state.unreadable)} tracks unreadable, see unreadable.jsonl" if state.unreadable else ""),
                soft_wrap=True,
            )
    leave_world(world)
    console.print(f"best checkpoint: {run / 'ckpt.pt'}", soft_wrap=True)
    return run / "ckpt.pt"


@dataclass(frozen=True)
class Lessons:
    """A teacher's answers for the training rows and for all validation rows, with or without captions."""

    teacher_sha256: str
    train: TeacherTargets
    val: PairDataset


def _beside(manifest: str | Path, rows: Sequence[Row], *, run: Path) -> Path:
    """The path beside which a teacher's answers are kept, so that the next run finds them.

    Nothing is written to a remote store. For shards in one, the answers are kept in the run directory.
    """
    audio = rows[0].audio
    if not isinstance(audio, Member):
        return Path(manifest)
    return (run if is_url(audio.shard) else Path(audio.shard).parent) / "shards"


def _ask_teacher(
    config: Config,
    manifest: Path,
    *,
    train_rows: Sequence[Row],
    val_rows: Sequence[Row],
    world: World,
    console: Console,
) -> Lessons:
    frontend, workers = config.model.frontend, config.optim.workers
    teacher = open_teacher(str(config.loss.teacher), frontend=frontend).to(world.device)
    identity = weights_sha256(teacher)
    file = targets_path(manifest, identity=identity, frontend=frontend)
    if world.is_first:
        rows = [*train_rows, *val_rows]
        try:
            ask_teacher(
                teacher, rows, file=file, frontend=frontend, device=world.device, workers=workers, console=console
            )
        except OSError as exc:
            raise TrainingError(
                f"cannot write the teacher's answers to {file} ({exc.strerror or exc}); the manifest must be in a "
                "folder with free space and write permission"
            ) from exc
    wait_for_first(world)
    targets = load_targets(file, train_rows, frontend=frontend)
    val_targets = load_targets(file, val_rows, frontend=frontend, scale=targets.scale)
    val = PairDataset(val_rows, frontend=frontend, seed=config.seed, training=False, targets=val_targets)
    return Lessons(identity, targets, val)


@dataclass(frozen=True)
class Step:
    """Computes the gradients of a batch. Holds the parts of a step that do not change during a run."""

    config: Config
    tokenizer: TextTokenizer
    embed_sentences: Callable[[Sequence[str]], Tensor] | None
    words: WordMemory | None
    world: World

    def backward(self, state: State, batch: Batch) -> Tensor:
        """Add the gradients of a batch to the parameters and return the loss; in chunks of `optim.chunk_size`."""
        size = self.config.optim.chunk_size or len(batch.captions)
        chunks = [slice(start, start + size) for start in range(0, len(batch.captions), size)]

        def loss_of(*encoded: Tensor) -> Tensor:
            return state.scaler.scale(self._loss(state, batch, encoded))

        scaled = backward_in_chunks(
            chunks, model=state.model, encode=lambda part: self._encode(state.model, batch, part), loss_of=loss_of
        )
        if self.words:
            scaled = scaled + self._backward_words(state, self.words)
        return scaled / state.scaler.get_scale()

    def _backward_words(self, state: State, words: WordMemory) -> Tensor:
        def embed(texts: Sequence[str]) -> Tensor:
            with self._autocast():
                return _embed_captions(state.model, self.tokenizer, texts)

        loss = words.loss(embed, temperature=state.model.log_temperature.exp())
        scaled = state.scaler.scale(self.config.loss.words_weight * loss)
        scaled.backward()
        return scaled.detach()

    def _encode(self, model: DualEncoder, batch: Batch, part: slice) -> list[Tensor]:
        device = self.world.device
        encoded = [self._features(model, batch.waveforms[part].to(device, non_blocking=True))]
        if self.config.loss.name != "labels":
            with self._autocast():
                encoded.append(model.project_audio(encoded[0]))
                texts = [caption or PLACEHOLDER for caption in batch.captions[part]]
                encoded.append(_embed_captions(model, self.tokenizer, texts))
        if batch.views is not None:
            views = batch.views[part].to(device, non_blocking=True)
            encoded.append(self._features(model, views.flatten(0, 1)).unflatten(0, (len(views), 2)))
        return encoded

    def _features(self, model: DualEncoder, waveforms: Tensor) -> Tensor:
        log_mel = augment_log_mel(
            model.log_mel(waveforms), config=self.config.augment, frontend=self.config.model.frontend
        )
        with self._autocast():
            return model.audio_features(log_mel)

    def _autocast(self) -> torch.autocast:
        dtype = DTYPES[self.config.optim.precision]
        return torch.autocast(self.world.device.type, dtype=dtype, enabled=dtype != torch.float32)

    def _loss(self, state: State, batch: Batch, encoded: Sequence[Tensor]) -> Tensor:
        features, *others = (gather(part, world=self.world) for part in encoded)
        audio, text = (None, None) if self.config.loss.name == "labels" else (others.pop(0), others.pop(0))
        captioned = torch.tensor([caption != "" for caption in batch.captions], device=self.world.device)
        targets = None if batch.targets is None else batch.targets.to(self.world.device)
        sentences = None
        if self.embed_sentences:
            sentences = self.embed_sentences([caption or PLACEHOLDER for caption in batch.captions])
        loss: Tensor = state.objective(
            features,
            audio=audio,
            text=text,
            views=others[0] if others else None,
            places=gather(batch.places.to(self.world.device), world=self.world),
            captioned=gather(captioned, world=self.world),
            targets=None if targets is None else gather(targets, world=self.world),
            sentences=None if sentences is None else gather(sentences, world=self.world),
            temperature=state.model.log_temperature.exp(),
        )
        return loss


def _train_epoch(
    state: State, batches: Joined, *, rows: Sequence[Row], step: Step, run: Path, console: Console
) -> list[float]:
    """One pass over the training rows; returns the loss of each step."""
    config, world, model = step.config, step.world, state.model
    optim = config.optim
    model.train()
    torch.manual_seed((config.seed * 100_003 + state.epoch) * 1_009 + world.rank)
    losses = []
    for batch in _progress(batches, console=console, epoch=state.epoch + 1, batch_size=optim.batch_size):
        state.rows_seen += len(batch.captions)
        _note_unreadable(state, batch.unreadable, config=config, rows=rows, run=run)
        if batch.silent:
            raise TrainingError(
                f"none of {MAX_DRAWS} rows drawn one after another can be decoded; the last: "
                f"{batch.unreadable[-1].reason}. Check that the audio files still exist; {_kept(run)}"
            )
        share = learning_rate_share(state.step, steps_per_epoch=len(batches), optim=optim)
        for group in state.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share
        state.optimizer.zero_grad(set_to_none=True)
        losses.append(float(step.backward(state, batch)))
        track_ids = [rows[place].track_id for place in batch.places.tolist()]
        _check_finite(losses[-1], what="loss", state=state, track_ids=track_ids, run=run)
        average_gradients((model, state.objective), world=world)
        state.scaler.unscale_(state.optimizer)
        parameters = [*model.parameters(), *state.objective.parameters()]
        norm = torch.nn.utils.clip_grad_norm_(parameters, optim.clip_norm)
        if not state.scaler.is_enabled():  # an enabled scaler skips such a step and lowers its scale
            _check_finite(float(norm), what="norm of the gradient", state=state, track_ids=track_ids, run=run)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        with torch.no_grad():
            model.log_temperature.clamp_(min=math.log(MIN_TEMPERATURE), max=math.log(MAX_TEMPERATURE))
        if state.average:
            state.average.update(model)
        state.step += 1
    return losses


def _check_finite(value: float, *, what: str, state: State, track_ids: Sequence[str], run: Path) -> None:
    if not math.isfinite(value):
        raise TrainingError(
            f"the {what} of step {state.step + 1} (epoch {state.epoch + 1}) is {value}; {_kept(run)} with a lower "
            f"optim.learning_rate. The batch was: {', '.join(track_ids)}"
        )


def _kept(run: Path) -> str:
    """For an error message: what is saved of this run, and how to continue."""
    if (run / "last.pt").exists():
        return f"the last good state is in {run}: use --resume"
    return "nothing was saved yet: start again"


def _shares(order: Sequence[Key], *, batch_size: int, parts: int, world: World) -> Iterator[list[Key]]:
    """This process's share of every whole batch, in parts."""
    share = batch_size // world.size
    edges = [world.rank * share + share * part // parts for part in range(parts + 1)]
    for start in range(0, len(order) - batch_size + 1, batch_size):
        for first, end in itertools.pairwise(edges):
            yield list(order[start + first : start + end])


def _readable(rows: Sequence[Row], *, state: State, config: Config, run: Path) -> list[Row]:
    """The validation rows that can be decoded. The others are recorded as unreadable, before the first epoch."""
    pairs = PairDataset(rows, frontend=config.model.frontend, seed=config.seed, training=False)
    batches = DataLoader(pairs, batch_size=64, num_workers=config.optim.workers, collate_fn=collate)
    failed = [failure for batch in batches for failure in batch.unreadable]
    state.rows_seen += len(rows)
    _note_unreadable(state, failed, config=config, rows=rows, run=run)
    places = {failure.place for failure in failed}
    return [row for place, row in enumerate(rows) if place not in places]


def _note_unreadable(
    state: State, failed: Sequence[Unreadable], *, config: Config, rows: Sequence[Row], run: Path
) -> None:
    """Record the rows that could not be decoded.

    Raises:
        TrainingError: there are more of them than `data.unreadable_share` allows, or a store does not answer.
    """
    try:
        raise_if_silent(failed)
    except StoreSilentError as exc:
        raise TrainingError(f"{exc}; {_kept(run)}") from exc
    new = {
        rows[failure.place].track_id: failure.reason
        for failure in failed
        if rows[failure.place].track_id not in state.unreadable
    }
    if not new:
        return
    state.unreadable |= new
    _list_unreadable(new, run)
    limit = config.data.unreadable_share * max(state.rows_seen, MIN_SEEN_BEFORE_STOPPING)
    if len(state.unreadable) > limit:
        raise TrainingError(
            f"{len(state.unreadable)} of {state.rows_seen} rows cannot be decoded, more than data.unreadable_share = "
            f"{config.data.unreadable_share:.0%}; the first: {next(iter(state.unreadable.values()))}. They are listed "
            f"in {run / 'unreadable.jsonl'}: repair them or raise data.unreadable_share; {_kept(run)}"
        )


def _list_unreadable(reasons: Mapping[str, str], run: Path) -> None:
    with (run / "unreadable.jsonl").open("a", encoding="utf-8") as file:
        for track_id, reason in reasons.items():
            file.write(json.dumps({"track_id": track_id, "reason": reason}) + "\n")


def _validate(state: State, rows: Sequence[Row], *, config: Config, tokenizer: TextTokenizer) -> dict[str, float]:
    """Retrieval or label metrics of the validation rows, with the averaged weights if the run keeps them."""
    with torch.compiler.set_stance("force_eager"):
        model = state.model
        if state.average:
            model = copy.deepcopy(model)
            model.load_state_dict(state.average.weights)
        if config.loss.name == "labels" and state.objective.labels:
            features = embed_tracks(model, rows, features=True, workers=config.optim.workers)
            return state.objective.labels.metrics(features, rows)
        audio, text = embed_pairs(
            model,
            rows,
            frontend=config.model.frontend,
            tokenizer=tokenizer,
            seed=config.seed,
            workers=config.optim.workers,
        )
        return retrieval_metrics((text @ audio.T).numpy())


@torch.no_grad()
def _followed(state: State, pairs: PairDataset, *, config: Config) -> float:
    """R²: share of the variance of a teacher's logits, over rows and tags, that the audio tower's features explain.

    It is computed on the central window of each row. Rows without teacher logits are left out.

    Raises:
        StoreSilentError: a store does not answer.
    """
    model, head = state.model, state.objective.teacher
    assert head is not None
    device = model.log_temperature.device
    error, total = 0.0, 0.0
    with torch.compiler.set_stance("force_eager"):
        model.eval()
        for batch in DataLoader(pairs, batch_size=64, num_workers=config.optim.workers, collate_fn=collate):
            raise_if_silent(batch.unreadable)
            targets = batch.targets.to(device)
            heard = targets.isfinite().all(dim=1)
            if not heard.any():
                continue
            features = model.audio_features(model.log_mel(batch.waveforms.to(device)[heard]))
            error += float((head(features.float()) - targets[heard]).square().sum())
            total += float(targets[heard].square().sum())
        model.train()
    return 1 - error / total if total else math.nan


def _embed_captions(model: DualEncoder, tokenizer: TextTokenizer, captions: Sequence[str]) -> Tensor:
    """float32 [n, dim] in the order of `captions`. Captions of similar length are one batch, to save padding."""
    order = sorted(range(len(captions)), key=lambda i: len(captions[i]))
    groups = [order[start : start + TEXT_GROUP] for start in range(0, len(order), TEXT_GROUP)]
    device = model.log_temperature.device
    embedded = []
    for group in groups:
        ids, mask = tokenizer([captions[i] for i in group])
        embedded.append(model.embed_text(ids.to(device), mask.to(device)))
    return torch.cat(embedded)[torch.tensor(order, device=device).argsort()]


def _warm_start(model: DualEncoder, path: str, *, config: Config, tokenizer: TextTokenizer, console: Console) -> None:
    """Load the learned half of a checkpoint's weights; the text tower only if both have the same vocabulary."""
    source = load_checkpoint(path)
    aside = ("model.name", "model.beside.")
    differing = [
        key for key in _differing(source.config, config) if key.startswith("model.") and not key.startswith(aside)
    ]
    if differing:
        raise TrainingError(
            f"the model of warm_start {path} differs from the model of this run ({', '.join(differing)}); use the "
            "recipe of that checkpoint"
        )
    trained = source.build_model()
    if source.tokenizer == tokenizer.tokenizer_json:
        learned = {name: value for name, value in trained.state_dict().items() if not name.startswith("beside.")}
        model.load_state_dict({**model.state_dict(), **learned})
        return
    console.print(f"warm start: {path} has another vocabulary, so only its audio tower and projection are used")
    model.audio_tower.load_state_dict(trained.audio_tower.state_dict())
    model.audio_projection.load_state_dict(trained.audio_projection.state_dict())


class _PairsPerSecond(ProgressColumn):
    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed * self.batch_size:.0f} pairs/s" if task.speed else "")


def _progress(batches: Joined, *, console: Console, epoch: int, batch_size: int) -> Iterator[Batch]:
    """Show a progress bar on a terminal. A log gets no bar: one line per epoch is enough there."""
    text = TextColumn("epoch {task.fields[epoch]}")
    columns = (text, BarColumn(), MofNCompleteColumn(), _PairsPerSecond(batch_size), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(batches, task_id=progress.add_task("", total=len(batches), epoch=epoch))


def _save_state(state: State, path: Path, config: Config, *, digest: str) -> None:
    write_atomically(
        path,
        {
            "config": config.to_dict(),
            "manifest_sha256": digest,
            "model": state.model.state_dict(),
            "objective": state.objective.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "scaler": state.scaler.state_dict(),
            "average": state.average.weights if state.average else None,
            **{name: getattr(state, name) for name in COUNTERS},
        },
    )


def _differing(before: Config, now: Config) -> list[str]:
    """Keys of the settings, such as "optim.epochs", that differ or that only one configuration has."""
    old, new = flat_values(before), flat_values(now)
    return [key for key in {**old, **new} if old.get(key) != new.get(key)]


def _restore(state: State, path: Path, config: Config, *, digest: str) -> None:
    saved: dict[str, Any] = read_tensors(path)
    if not isinstance(saved, dict) or not {*SAVED, *COUNTERS} <= set(saved):
        raise CheckpointError(f"{path} is not a run state that this version can resume; train again")
    if saved["manifest_sha256"] != digest:
        raise TrainingError(f"the run of {path} had another manifest than --data; resume with that manifest")
    differing = [key for key in _differing(Config.from_dict(saved["config"]), config) if key not in CHANGEABLE]
    if differing:
        raise TrainingError(
            f"the run of {path} had another configuration ({', '.join(differing)}); resume with that run's recipe and "
            f"--set; only these settings may change: {', '.join(CHANGEABLE)}"
        )
    try:
        state.model.load_state_dict(saved["model"])
        state.objective.load_state_dict(saved["objective"])
    except RuntimeError as exc:
        raise CheckpointError(f"{path} does not fit this version of the model; train again") from exc
    peaks = [group["peak_lr"] for group in state.optimizer.param_groups]
    state.optimizer.load_state_dict(saved["optimizer"])
    for group, peak in zip(state.optimizer.param_groups, peaks, strict=True):
        group["peak_lr"] = peak
    if saved["scaler"]:  # empty after another precision
        state.scaler.load_state_dict(saved["scaler"])
    if state.average:
        state.average.load(saved["average"])
    for name in COUNTERS:
        setattr(state, name, saved[name])


def drop_lines_after(metrics: Path, *, epoch: int) -> None:
    """Drop the lines of epochs after `epoch`. The line is written before the state; a kill may fall in between."""
    if metrics.exists():
        os.truncate(metrics, sum(map(len, metrics.read_bytes().splitlines(keepends=True)[:epoch])))
