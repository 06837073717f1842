from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers

from train.config import ConfigError, load_recipe
from train.data.manifest import Row
from train.data.tokenizer import TextTokenizer
from train.word_memory import WordMemory, short_phrases

ROWS = [
    Row(Path("a.flac"), ("Slow jazz, piano, a piece of a tag list", "one two three four five"), "a", "train"),
    Row(Path("b.flac"), ("piano,  fast JAZZ,",), "b", "train", labels=("no drums",)),
]


class Table(torch.nn.Module):
    """A text tower: the mean of one vector a byte of the text."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.vectors = torch.nn.Embedding(200, 8)
        torch.nn.init.normal_(self.vectors.weight, generator=torch.Generator().manual_seed(seed))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (self.vectors(ids) * mask.unsqueeze(-1)).sum(dim=1)


@pytest.fixture
def tokenizer() -> TextTokenizer:
    tokenizer = Tokenizer(models.WordLevel({chr(i): i for i in range(200)}, unk_token="\0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return TextTokenizer(tokenizer.to_str(), max_tokens=64)


def embed_with(tower: torch.nn.Module, tokenizer: TextTokenizer):
    return lambda texts: F.normalize(tower(*tokenizer(texts)), dim=-1)


def test_the_phrases_are_the_short_pieces_between_commas():
    assert short_phrases(ROWS) == ["fast jazz", "no drums", "piano", "slow jazz"]


def test_the_words_are_common_and_of_letters(tokenizer: TextTokenizer):
    words = WordMemory(Table(0), tokenizer, rows=ROWS, temperature=0.05).words
    assert len(set(words)) == len(words) > 100
    assert {"music", "water"} <= set(words)
    assert all(word.isalpha() and len(word) >= 4 for word in words)


def test_the_published_tower_itself_has_no_loss(tokenizer: TextTokenizer):
    tower = Table(0)
    memory = WordMemory(tower, tokenizer, rows=ROWS, temperature=0.05)
    itself = memory.loss(embed_with(tower, tokenizer), temperature=torch.tensor(0.05))
    other = memory.loss(embed_with(Table(1), tokenizer), temperature=torch.tensor(0.05))
    assert itself.item() == pytest.approx(0, abs=1e-4)
    assert other > 0.1


def test_the_loss_is_the_divergence_from_the_published_distribution(tokenizer: TextTokenizer):
    memory = WordMemory(Table(0), tokenizer, rows=ROWS, temperature=0.5)
    student = embed_with(Table(1), tokenizer)
    memory.words, memory.word_vectors = memory.words[:7], memory.word_vectors[:7]  # all are drawn, in any order
    known = F.softmax(memory.word_vectors @ memory.phrase_vectors.T / 0.5, dim=-1)
    learned = F.softmax(student(memory.words) @ student(memory.phrases).T / 0.2, dim=-1)
    expected = (known * (known / learned).log()).sum(dim=-1).mean()
    torch.testing.assert_close(memory.loss(student, temperature=torch.tensor(0.2)), expected)


def test_descending_on_it_brings_the_published_ranking_back(tokenizer: TextTokenizer):
    memory = WordMemory(Table(0), tokenizer, rows=ROWS, temperature=0.2)
    student = Table(1)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
    for _ in range(80):
        loss = memory.loss(embed_with(student, tokenizer), temperature=torch.tensor(0.2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    known = (memory.word_vectors @ memory.phrase_vectors.T).argmax(dim=-1)
    texts = embed_with(student, tokenizer)
    learned = (texts(memory.words) @ texts(memory.phrases).T).argmax(dim=-1)
    assert (known == learned).float().mean() > 0.9


def test_captions_without_a_short_phrase_are_refused(tokenizer: TextTokenizer):
    row = Row(Path("a.flac"), ("one two three four five",), "a", "train")
    with pytest.raises(ConfigError, match="at most 2 words"):
        WordMemory(Table(0), tokenizer, rows=[row], temperature=0.05)


def test_a_tower_that_nobody_published_knows_no_words():
    with pytest.raises(ConfigError, match=r"no model\.text\.init_from"):
        load_recipe("starter", overrides=["loss.words_weight=1", "model.text.init_from=null"])
