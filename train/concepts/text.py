"""The text side: a head on the text tower's tokens learns from generated texts which concepts a text is about."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from train.concepts.table import Concept
from train.concepts.texts import Text
from train.dual_encoder import ConceptHead

NEARNESS_TEMPERATURE = 0.05  # temperature of the softmax over concepts, of the cosine to each one's nearest phrase
# This share of the mean target is subtracted from each target: concepts that many texts are near to count less.
CENTRING = 0.7
NEAR_SHARE = 0.5  # weight of the concepts that a text is near to, relative to those that it was made from
# For a text that was made from no concept: the cosine to its nearest phrase. Below FAR, the text is not about music.
# From NEAR on, it is only about the concepts that it is near to.
FAR, NEAR = 0.35, 0.65
EPOCHS = 6
BATCH = 128
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.02


def targets(texts: Sequence[Text], *, vectors: Tensor, phrases: Tensor, owners: Sequence[int], concepts: int) -> Tensor:
    """Target vectors for the head: the concepts that a text was made from, and those whose phrases it is near.

    A text that was made from no concept has only near concepts. The less near it is, the more its target moves to the
    last place, "not about music". No window has a value there.

    Args:
        texts: the texts and their concepts.
        vectors: float32 [texts, hidden], unit L2 norm: the texts' embeddings by the published sentence encoder.
        phrases: float32 [phrases, hidden], unit L2 norm: the same for the concepts' phrases.
        owners: the concept of each phrase.
        concepts: number of concepts.

    Returns:
        float32 [texts, concepts + 1], unit L2 norm.
    """
    cosines = vectors @ phrases.T
    place = torch.tensor(owners).expand(len(texts), -1)
    nearest = torch.full((len(texts), concepts), -1.0).scatter_reduce(1, place, cosines, reduce="amax")
    near = F.normalize(F.softmax(nearest / NEARNESS_TEMPERATURE, dim=1), dim=1)
    said = torch.zeros(len(texts), concepts)
    for row, text in enumerate(texts):
        said[row, list(text.concepts)] = 1.0
    made = said.any(dim=1)
    both = torch.where(made[:, None], NEAR_SHARE * near + F.normalize(said, dim=1), near)
    usual = torch.where(made[:, None], both[made].mean(dim=0), near[made].mean(dim=0))
    about = F.normalize(both - CENTRING * usual, dim=1)
    musical = ((nearest.amax(dim=1) - FAR) / (NEAR - FAR)).clamp(0.0, 1.0).masked_fill(made, 1.0)[:, None]
    return torch.cat([musical.sqrt() * about, (1.0 - musical).sqrt()], dim=1)


def fit_head(head: ConceptHead, tokens: Sequence[Tensor], wanted: Tensor, *, seed: int) -> float:
    """Train `head` to predict the targets of texts.

    Args:
        head: the head; it is trained in place.
        tokens: for each text, float [length, width].
        wanted: float32 [texts, concepts + 1], unit L2 norm: the targets, the last for texts about no concept.
        seed: seed of the training.

    Returns:
        The mean cosine similarity to the targets after training.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(head.train().parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    by_length = torch.tensor(sorted(range(len(tokens)), key=lambda place: len(tokens[place])))
    batches = by_length.split(BATCH)  # texts of similar length, to save padding
    for _ in range(EPOCHS):
        for place in torch.randperm(len(batches)).tolist():
            cosine = _cosines(head, tokens, wanted, rows=batches[place])
            optimizer.zero_grad()
            (1 - cosine).mean().backward()
            optimizer.step()
    head.eval()
    with torch.no_grad():
        return float(torch.cat([_cosines(head, tokens, wanted, rows=rows) for rows in batches]).mean())


def _cosines(head: ConceptHead, tokens: Sequence[Tensor], wanted: Tensor, *, rows: Tensor) -> Tensor:
    lengths = torch.tensor([len(tokens[row]) for row in rows.tolist()])
    padded = pad_sequence([tokens[row].float() for row in rows.tolist()], batch_first=True)
    mask = torch.arange(padded.shape[1]) < lengths[:, None]
    return F.cosine_similarity(head(padded, mask), wanted[rows], dim=1)


def phrases_of(concepts: Sequence[Concept]) -> tuple[list[str], list[int]]:
    """All phrases, each alone and as "a recording of ...", and the index of the concept of each."""
    pairs = [
        (said, place)
        for place, concept in enumerate(concepts)
        for phrase in concept.phrases
        for said in (phrase, f"a recording of {phrase}")
    ]
    return [phrase for phrase, _ in pairs], [place for _, place in pairs]
