"""A training set and a text model small enough to train for real within seconds."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from train import word_memory
from train.corpus.errors import CorpusError
from train.corpus.render import find_sound_font

WORDS = ["low", "middle", "high", "pure", "rough", "steady", "pulsing", "tone", "a", "slow", "fast"]
SAMPLE_RATE_HZ = 16_000


@pytest.fixture(scope="session", autouse=True)
def few_words() -> Iterator[None]:
    """What a text tower is to remember, cut to what a test needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_memory, "WORDS", 1_000)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """As in the processes that tests start: sums in two threads differ in their last bits."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sound_font() -> Path:
    try:
        import fluidsynth  # noqa: F401

        return find_sound_font()
    except (ImportError, CorpusError) as error:
        pytest.skip(f"rendering needs FluidSynth and a sound font: {error}")


@pytest.fixture(scope="session")
def python(commands: Path) -> Path:
    """What to start for another process that trains."""
    return commands / "python"


@pytest.fixture(scope="session")
def tiny_text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face BERT folder with the same random weights each time and a WordPiece tokenizer of a few words."""
    folder = tmp_path_factory.mktemp("bert")
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=32, max_position_embeddings=32, **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_overrides(tiny_text_model: Path) -> list[str]:
    return [
        f"model.text.init_from={tiny_text_model}",
        *("model.text.vocab_size=32", "model.text.hidden=32", "model.text.layers=2", "model.text.heads=4"),
        "model.text.frozen_layers=0",
        *("model.text.feed_forward=64", "model.text.max_positions=32", "model.text.max_tokens=16"),
        *("model.audio.width=4", "model.audio.blocks=[1, 1, 1, 1]", "model.audio.features=32"),
        *("model.embedding_dim=16", "model.frontend.window_s=1.0", "model.frontend.hop_samples=250"),
        *("optim.workers=0", "optim.batch_size=8", "optim.epochs=4", "optim.text_learning_rate=1e-3"),
        "optim.compile=false",
    ]


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 64 tones that differ in pitch, timbre and pulse, and say so in their captions."""
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    time = np.arange(round(1.5 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    lines = []
    for index in range(64):
        height, rough, tempo = index % 3, index // 3 % 2, index // 6 % 3
        hz = (110, 660, 3000)[height] * 2 ** rng.uniform(-0.2, 0.2)
        wave = np.sin(2 * np.pi * hz * time)
        wave = np.sign(wave) if rough else wave
        wave = wave * (1.0 if tempo == 0 else (np.sin(2 * np.pi * (2, 8)[tempo - 1] * time) > 0))
        soundfile.write(folder / f"{index}.flac", 0.3 * wave, SAMPLE_RATE_HZ)
        pulse = ("steady", "slow pulsing", "fast pulsing")[tempo]
        caption = f"a {('pure', 'rough')[rough]} {pulse} {('low', 'middle', 'high')[height]} tone"
        split = "train" if index < 40 else "val" if index < 58 else "test"
        row = {"audio": f"{index}.flac", "captions": [caption], "split": split, "labels": caption.split()[1:-1]}
        lines.append(json.dumps(row))
    (folder / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "manifest.jsonl"
