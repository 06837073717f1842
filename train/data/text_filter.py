"""A BERT classifier that finds texts that describe music, fine-tuned on a few hundred labelled texts.

MuLan (§3.4) splits its long texts, descriptions and comments, into sentences. It keeps the sentences that such a
classifier accepts.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertForSequenceClassification, get_linear_schedule_with_warmup
from transformers.utils import logging

from train.data.labelled import Labelled, TextFilterError
from train.data.progress import shown
from train.data.text_rules import split_sentences
from train.data.tokenizer import TextTokenizer
from train.pretrained import pretrained_folder

LONG_SOURCES = ("long_form", "")
"""Sources of texts that the classifier judges; "" means rows without a source."""

MAX_TOKENS = 128
BATCH_SIZE = 16
WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
HELD_OUT_SHARE = 0.2
FORMAT_VERSION = 1


class TextFilter:
    """A fitted classifier with its tokenizer."""

    def __init__(self, model: BertForSequenceClassification, tokenizer_json: str) -> None:
        self.model = model.eval()
        module: nn.Module = model  # transformers types its `to` as a function, not as a method
        module.to("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = TextTokenizer(tokenizer_json, max_tokens=min(MAX_TOKENS, model.config.max_position_embeddings))

    def logits(self, texts: Sequence[str]) -> Tensor:
        """Return float32 [n, 2]: not music, music."""
        ids, mask = self.tokenizer(texts)
        device = self.model.device
        logits: Tensor = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        return logits.float()

    @torch.inference_mode()
    def probabilities(self, texts: Sequence[str], *, console: Console | None = None) -> NDArray[np.float32]:
        """Return the probability that each text describes music, float32 [n]."""
        self.model.eval()
        result = np.zeros(len(texts), np.float32)
        # Batches of texts with similar lengths need little padding.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        batches = [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]
        for batch in shown(batches, total=len(batches), doing="batches judged:", console=console):
            logits = self.logits([texts[place] for place in batch])
            result[batch] = F.softmax(logits, dim=-1)[:, 1].cpu().numpy()
        return result

    def keep(self, texts: Sequence[str], *, threshold: float, console: Console | None = None) -> list[str]:
        """Keep the sentences of each text that have at least this probability of describing music; "" if none has."""
        sentences = [split_sentences(text) for text in texts]
        distinct = list(dict.fromkeys(sentence for own in sentences for sentence in own))
        is_kept = dict(zip(distinct, self.probabilities(distinct, console=console) >= threshold, strict=True))
        kept = [[sentence for sentence in own if is_kept[sentence]] for own in sentences]
        return [text if own == left else " ".join(left) for text, own, left in zip(texts, sentences, kept, strict=True)]

    def save(self, folder: Path, *, provenance: Mapping[str, Any]) -> None:
        """Write a Hugging Face folder, and last `filter.json` with the format's version and the provenance."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(self.tokenizer.tokenizer_json, encoding="utf-8")
        about = {"format_version": FORMAT_VERSION, **provenance}
        (folder / "filter.json").write_text(json.dumps(about, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder that `save` wrote.

        Raises:
            TextFilterError: the folder holds no filter, holds one of another version, or is damaged.
        """
        about = folder / "filter.json"
        if not about.is_file():
            raise TextFilterError(f"{folder} holds no filter.json; give a folder that `filter fit` wrote")
        try:
            version = json.loads(about.read_text(encoding="utf-8"))["format_version"]
        except (ValueError, KeyError, TypeError) as exc:
            raise TextFilterError(f"{about} is damaged; fit the filter again") from exc
        if version != FORMAT_VERSION:
            raise TextFilterError(f"{about} has format version {version!r}, not {FORMAT_VERSION}; fit the filter again")
        return cls(*_read_bert(folder))


def fit_text_filter(
    labelled: Sequence[Labelled],
    *,
    init_from: str,
    epochs: int = 4,
    learning_rate: float = 3e-5,
    seed: int = 0,
    console: Console | None = None,
) -> tuple[TextFilter, dict[str, float]]:
    """Fine-tune a BERT with a two-class head (Devlin et al. 2019, §4.1) on four fifths of the texts.

    Args:
        labelled: at least 5 texts of each kind.
        init_from: a BERT folder, or a name that `train.pretrained.pretrained_folder` accepts.
        epochs: number of passes over the training texts.
        learning_rate: peak of AdamW's learning rate, after a linear warm-up and before a linear decay to 0.
        seed: for the held-out fifth (drawn from each kind), the new head and the order.
        console: shows progress; None: shows nothing.

    Returns:
        The filter, and its results on the held-out texts: their number `texts`, and `accuracy`, `precision` and
        `recall` of "describes music" at a probability of 0.5, fractions in [0, 1].

    Raises:
        TextFilterError: the folder is no BERT with a tokenizer, or the loss is not finite.
        ConfigError: no model with the name `init_from` can be loaded.
    """
    if epochs < 1 or learning_rate <= 0:
        raise TextFilterError(f"epochs is {epochs} and learning_rate {learning_rate}; expected at least 1 and above 0")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    text_filter = TextFilter(*_read_bert(pretrained_folder(init_from, key="--init-from")))
    model = text_filter.model
    held_out = _held_out(labelled, rng)
    training = np.setdiff1d(np.arange(len(labelled)), held_out)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)
    steps = epochs * -(-len(training) // BATCH_SIZE)
    schedule = get_linear_schedule_with_warmup(optimizer, round(WARMUP_SHARE * steps), steps)
    order = [batch for _ in range(epochs) for batch in _batches(rng.permutation(training))]
    for batch in shown(order, total=steps, doing="steps fitted:", console=console):
        model.train()
        targets = torch.tensor([labelled[place].is_music for place in batch], dtype=torch.int64)
        loss = F.cross_entropy(text_filter.logits([labelled[place].text for place in batch]), targets.to(model.device))
        if not torch.isfinite(loss):
            raise TextFilterError(f"the loss is {loss.item()}; lower the learning rate of {learning_rate}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        schedule.step()
    said = text_filter.probabilities([labelled[place].text for place in held_out]) >= 0.5
    return text_filter, binary_metrics(said, np.array([labelled[place].is_music for place in held_out]))


def binary_metrics(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> dict[str, float]:
    """Compute accuracy, precision and recall of the positive class, and the number of texts.

    Args:
        said: predictions, bool [n], n >= 1; precision is 0 if none is positive.
        true: true classes, bool [n]; recall is 0 if none is positive.

    >>> binary_metrics(np.array([True, True, False]), np.array([True, False, False]))["precision"]
    0.5
    """
    hits = int((said & true).sum())
    return {
        "texts": len(true),
        "accuracy": float((said == true).mean()),
        "precision": hits / max(int(said.sum()), 1),
        "recall": hits / max(int(true.sum()), 1),
    }


def _held_out(labelled: Sequence[Labelled], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the sorted places of a random fifth of each kind."""
    kinds = np.array([entry.is_music for entry in labelled])
    places = [rng.permutation(np.flatnonzero(kinds == kind)) for kind in (True, False)]
    return np.sort(np.concatenate([kind[: round(HELD_OUT_SHARE * len(kind))] for kind in places]))


def _batches(order: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]


def _read_bert(folder: Path) -> tuple[BertForSequenceClassification, str]:
    """Load a BERT with a two-class head, a new head if the folder has none, and the text of its tokenizer.json."""
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        tokenizer_json = (folder / "tokenizer.json").read_text(encoding="utf-8")
        words = Tokenizer.from_str(tokenizer_json).get_vocab_size()
    except Exception as exc:  # tokenizers raises plain Exception
        raise TextFilterError(f"{folder} is not a BERT folder with config.json and tokenizer.json ({exc})") from exc
    if kind != "bert":
        raise TextFilterError(f"{folder} holds a model of type {kind!r}; expected a BERT")
    logging.set_verbosity_error()  # otherwise transformers warns about the new head
    logging.disable_progress_bar()
    try:
        model = BertForSequenceClassification.from_pretrained(folder, num_labels=2)
    except (OSError, RuntimeError, ValueError, SafetensorError) as exc:
        raise TextFilterError(f"{folder} holds no BERT weights that can be read: {str(exc).splitlines()[0]}") from exc
    if words > model.config.vocab_size:
        raise TextFilterError(
            f"{folder}: its tokenizer has {words} words, its model {model.config.vocab_size}; "
            "give the model's own tokenizer"
        )
    return model, tokenizer_json
