"""A loss that keeps the published text tower's knowledge of words that are in no caption.

Fine-tuning on captions moves the embeddings of all other words in arbitrary directions. The tower must keep the nearest
neighbours of a word such as "gladiators". For each word, it must therefore rank phrases as the published tower did. The
loss is the KL divergence between the softmax distributions of both towers over phrases. This is SEED's loss (Fang et
al. 2021, eq. 3 to 5), with words as queries and phrases as keys.
"""

from collections.abc import Callable, Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wordfreq import top_n_list

from train.config import ConfigError
from train.data.manifest import Row
from train.data.tokenizer import TextTokenizer

WORDS = 40_000  # the most frequent English words
SHORTEST_WORD = 4  # letters
LONGEST_PHRASE = 2  # words
WORDS_A_STEP = 128
PHRASES_A_STEP = 128
BATCH = 256


class WordMemory:
    """Stores the published text tower's embeddings of common words and of the phrases in the training rows.

    Args:
        teacher: the published tower: token ids and mask -> [n, width]. It is frozen here.
        tokenizer: the tokenizer of the teacher.
        rows: the training rows. Their `short_phrases` are the phrases.
        temperature: temperature of the teacher's softmax.

    Raises:
        ConfigError: no row has a short phrase.
    """

    def __init__(
        self, teacher: nn.Module, tokenizer: TextTokenizer, *, rows: Sequence[Row], temperature: float
    ) -> None:
        self.temperature = temperature
        frequent = (word for word in top_n_list("en", 2 * WORDS) if word.isalpha() and len(word) >= SHORTEST_WORD)
        self.words = list(islice(frequent, WORDS))
        self.phrases = short_phrases(rows)
        if not self.phrases:
            raise ConfigError(
                f"loss.words_weight needs tags or labels of at most {LONGEST_PHRASE} words, but no training row has "
                "any; set loss.words_weight to 0"
            )
        teacher.eval().requires_grad_(False)
        self.word_vectors = _embed(teacher, tokenizer, self.words)
        self.phrase_vectors = _embed(teacher, tokenizer, self.phrases)

    def loss(self, embed: Callable[[Sequence[str]], Tensor], *, temperature: Tensor) -> Tensor:
        """The KL divergence over words and phrases drawn at random with torch's generator.

        Args:
            embed: the tower in training: texts -> float32 [n, dim], unit L2 norm.
            temperature: positive scalar, the temperature of that tower's softmax.
        """
        words = torch.randperm(len(self.words))[:WORDS_A_STEP]
        phrases = torch.randperm(len(self.phrases))[:PHRASES_A_STEP]
        texts = [self.words[i] for i in words.tolist()] + [self.phrases[i] for i in phrases.tolist()]
        word, phrase = embed(texts).split([len(words), len(phrases)])
        known = self.word_vectors[words] @ self.phrase_vectors[phrases].T
        return F.kl_div(
            F.log_softmax(word @ phrase.T / temperature, dim=-1),
            F.log_softmax(known / self.temperature, dim=-1),
            reduction="batchmean",
            log_target=True,
        )


def short_phrases(rows: Sequence[Row]) -> list[str]:
    """Labels and comma-separated pieces of captions that have at most `LONGEST_PHRASE` words, in lower case."""
    pieces = {piece for row in rows for text in (*row.labels, *row.captions) for piece in text.lower().split(",")}
    return sorted({piece.strip() for piece in pieces if 0 < len(piece.split()) <= LONGEST_PHRASE})


@torch.no_grad()
def _embed(tower: nn.Module, tokenizer: TextTokenizer, texts: Sequence[str]) -> Tensor:
    device = next(tower.parameters()).device
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors = []
    for start in range(0, len(order), BATCH):
        ids, mask = tokenizer([texts[i] for i in order[start : start + BATCH]])
        vectors.append(F.normalize(tower(ids.to(device), mask.to(device)).float(), dim=-1))
    return torch.cat(vectors)[torch.tensor(order).argsort()]
