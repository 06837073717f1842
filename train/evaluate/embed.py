"""Embed the rows of a manifest, and texts, with a DualEncoder."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from train.checkpoint import Checkpoint
from train.config import FrontendConfig
from train.data.audio import AudioDecodeError, StoreSilentError, load_crop
from train.data.manifest import Row
from train.data.pairs import CENTRE, Batch, PairDataset, Unreadable, collate, raise_if_silent
from train.data.tokenizer import TextTokenizer
from train.dual_encoder import DualEncoder
from train.evaluate.errors import EvaluationError
from train.pretrained import sentence_embedder

PLACES = (0.0, CENTRE, 1.0)
"""Places of a track's windows: the first, the middle and the last one."""

SENTENCES = 64
"""Batch size of a published sentence encoder."""

Item = TypeVar("Item")

TextEmbedder = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts -> float32 [n, dim], unit L2 norm."""


def open_model(checkpoint: Checkpoint) -> tuple[DualEncoder, TextTokenizer]:
    """The model in eval mode, on the GPU if there is one, and its tokenizer."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = TextTokenizer(checkpoint.tokenizer, max_tokens=checkpoint.config.model.text.max_tokens)
    return checkpoint.build_model().to(device), tokenizer


def open_sentence_encoder(name: str) -> TextEmbedder:
    """Open a published sentence encoder, a BERT with mean pooling. Texts of more than 128 tokens are truncated.

    Args:
        name: a folder, a name on the Hugging Face hub, or "all-MiniLM-L6-v2".

    Raises:
        ConfigError: it cannot be found, or is not a BERT.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    embed = sentence_embedder(name, device=device, key="--text")

    def embed_all(texts: Sequence[str]) -> NDArray[np.float32]:
        starts = range(0, len(texts), SENTENCES)
        return torch.cat([embed(texts[start : start + SENTENCES]).cpu() for start in starts]).numpy()

    return embed_all


def embed_pairs(
    model: DualEncoder,
    rows: Sequence[Row],
    *,
    frontend: FrontendConfig,
    tokenizer: TextTokenizer,
    seed: int,
    batch_size: int = 64,
    workers: int = 0,
) -> tuple[Tensor, Tensor]:
    """Embed the central window (MusCALL §4.2) and one caption of every row.

    Args:
        model: the model.
        rows: the rows.
        frontend: gives the sample rate and the window length.
        tokenizer: the model's tokenizer.
        seed: draws the caption of each row.
        batch_size: rows per batch.
        workers: decoding processes; 0 decodes in this process.

    Returns:
        audio and text, both float32 [n, dim] on the CPU, unit L2 norm. Row i of both belongs to `rows[i]`.

    Raises:
        StoreSilentError: a store does not answer.
        AudioDecodeError: a file cannot be read.
    """
    pairs = PairDataset(rows, frontend=frontend, seed=seed, training=False)
    batches = DataLoader(pairs, batch_size=batch_size, num_workers=workers, collate_fn=collate)
    return _embed_batches(model, batches, tokenizer=tokenizer)[:2]


def embed_captioned_pairs(
    checkpoint: Checkpoint, rows: Sequence[Row], *, seed: int, batch_size: int = 64
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    """Like `embed_pairs`, but from a checkpoint and with a progress bar.

    Returns:
        audio and text, both float32 [n, dim], unit L2 norm, and the captions that were drawn.

    Raises:
        StoreSilentError: a store does not answer.
        AudioDecodeError: a file cannot be read.
        EvaluationError: the model outputs NaN or infinite values.
    """
    config = checkpoint.config
    model, tokenizer = open_model(checkpoint)
    pairs = PairDataset(rows, frontend=config.model.frontend, seed=seed, training=False)
    batches = DataLoader(pairs, batch_size=batch_size, num_workers=config.optim.workers, collate_fn=collate)
    audio, text, captions = _embed_batches(model, _watched(batches, what="pairs"), tokenizer=tokenizer)
    return _finite(audio, what="pairs"), _finite(text, what="captions"), captions


@torch.inference_mode()
def embed_tracks(
    model: DualEncoder,
    rows: Sequence[Row],
    *,
    places: Sequence[float] = PLACES,
    features: bool = False,
    batch_size: int = 16,
    workers: int = 0,
) -> NDArray[np.float32]:
    """Embed each track as the mean of several windows of the model's length.

    Args:
        model: the model.
        rows: the rows of the tracks.
        places: positions of the windows, each from 0 (the first window) to 1 (the last window).
        features: return the audio tower's features instead of embeddings in the joint space.
        batch_size: tracks per batch.
        workers: decoding processes; 0 decodes in this process.

    Returns:
        float32 [n, dim], the normalised mean of the windows' embeddings; or, with `features`,
        [n, audio_tower.width], the mean of the windows' features.

    Raises:
        StoreSilentError: a store does not answer.
        AudioDecodeError: a file cannot be read.
        EvaluationError: the model outputs NaN or infinite values.
    """
    device = model.log_temperature.device
    tracks = _Windows(rows, model.config.frontend, places=places)
    batches = DataLoader(tracks, batch_size=batch_size, num_workers=workers, collate_fn=_stack)
    vectors = []
    with _in_eval_mode(model):
        for windows, unreadable in _watched(batches, what="tracks"):  # float32 [batch, places, samples]
            _raise_first(unreadable)
            made = model.audio_features(model.log_mel(windows.flatten(0, 1).to(device)))
            made = made.float() if features else model.project_audio(made)
            vectors.append(made.unflatten(0, windows.shape[:2]).mean(dim=1).cpu())
    whole = torch.cat(vectors)
    return _finite(whole if features else F.normalize(whole, dim=-1), what="tracks")


@torch.inference_mode()
def embed_texts(
    model: DualEncoder, texts: Sequence[str], *, tokenizer: TextTokenizer, batch_size: int = 256
) -> NDArray[np.float32]:
    """Embed texts: float32 [n, dim], unit L2 norm. Texts of similar length are one batch, to save padding.

    Raises:
        EvaluationError: the model outputs NaN or infinite values.
    """
    device = model.log_temperature.device
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors = []
    for start in range(0, len(order), batch_size):
        ids, mask = tokenizer([texts[i] for i in order[start : start + batch_size]])
        vectors.append(model.embed_text(ids.to(device), mask.to(device)).cpu())
    return _finite(torch.cat(vectors)[torch.tensor(order).argsort()], what="texts")


class _Windows(Dataset[tuple[Tensor, Unreadable | None]]):
    """The windows of each row at `places`, float32 [places, samples]; silence, and why, if they cannot be read."""

    def __init__(self, rows: Sequence[Row], frontend: FrontendConfig, *, places: Sequence[float]) -> None:
        self.rows, self.frontend, self.places = rows, frontend, places

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Unreadable | None]:
        path, rate_hz, samples = self.rows[index].audio, self.frontend.sample_rate_hz, self.frontend.window_samples
        try:
            crops = [load_crop(path, sample_rate_hz=rate_hz, samples=samples, place=place) for place in self.places]
        except AudioDecodeError as exc:
            failed = Unreadable(index, str(exc), may_pass=isinstance(exc, StoreSilentError))
            return torch.zeros(len(self.places), samples), failed
        return torch.from_numpy(np.stack(crops)), None


def _stack(tracks: Sequence[tuple[Tensor, Unreadable | None]]) -> tuple[Tensor, list[Unreadable]]:
    return torch.stack([windows for windows, _ in tracks]), [failed for _, failed in tracks if failed]


@torch.inference_mode()
def _embed_batches(
    model: DualEncoder, batches: Iterable[Batch], *, tokenizer: TextTokenizer
) -> tuple[Tensor, Tensor, list[str]]:
    device = model.log_temperature.device
    audio, text, captions = [], [], []
    with _in_eval_mode(model):
        for batch in batches:
            _raise_first(batch.unreadable)
            audio.append(model.embed_audio(batch.waveforms.to(device)).cpu())
            ids, mask = tokenizer(batch.captions)
            text.append(model.embed_text(ids.to(device), mask.to(device)).cpu())
            captions += batch.captions
    return torch.cat(audio), torch.cat(text), captions


@contextmanager
def _in_eval_mode(model: DualEncoder) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _raise_first(unreadable: Iterable[Unreadable]) -> None:
    raise_if_silent(unreadable)
    for failed in unreadable:
        raise AudioDecodeError(
            f"{failed.reason}; `python -m train.data decode` makes a manifest without such recordings"
        )


def _watched(batches: Iterable[Item], *, what: str) -> Iterable[Item]:
    """Show a progress bar on a terminal, and nothing in a log."""
    console = Console(stderr=True)
    return track(batches, f"Embedding {what}", console=console, transient=True, disable=not console.is_terminal)


def _finite(vectors: Tensor, *, what: str) -> NDArray[np.float32]:
    bad = int((~vectors.isfinite()).any(dim=1).sum())
    if bad:
        raise EvaluationError(
            f"the checkpoint gives vectors with NaN or infinite values for {bad} of {len(vectors)} {what}; expected "
            "none: its training diverged, take an earlier checkpoint"
        )
    checked: NDArray[np.float32] = vectors.numpy()
    return checked
