"""A tiny model with random but lived-in weights, its graphs, and a manifest of rendered "music" to check them with."""

import copy
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from export.sources import AudioWindow
from export.towers import export_audio, export_text, type_float16
from tests.lived_in import live_in
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.config import Config
from train.data.tokenizer import TextTokenizer
from train.dual_encoder import DualEncoder

MOODS = ["calm", "fast", "sad", "bright", "dark", "slow", "loud", "soft"]
INSTRUMENTS = ["piano", "violin", "trumpet", "drums", "guitar", "flute", "bass", "choir"]
MAX_TOKENS = 24  # so that the served lengths are 16 and 24: the last one is capped

CONFIG = Config.from_dict(
    {
        "model": {
            "name": "tiny",
            "embedding_dim": 16,
            "frontend": {"window_s": 1.0, "n_fft": 256, "hop_samples": 250, "n_mels": 40},
            "audio": {"width": 8, "blocks": [1, 1, 1, 1], "features": 32},
            "text": {
                "init_from": None,
                "vocab_size": 32,
                "hidden": 32,
                "layers": 1,
                "heads": 4,
                "feed_forward": 64,
                "max_positions": 32,
                "max_tokens": MAX_TOKENS,
            },
        }
    }
)


def tokenizer_json() -> str:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *MOODS, *INSTRUMENTS, "a", "!", "?"]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer.to_str()


WINDOW = AudioWindow(CONFIG.model.frontend.sample_rate_hz, CONFIG.model.frontend.window_samples)


def lived_in_model(config: Config = CONFIG) -> DualEncoder:
    """Random weights and BatchNorms as trained, so that different sounds get different vectors."""
    torch.manual_seed(0)
    model = DualEncoder(config.model).eval()
    live_in(model, window=AudioWindow(config.model.frontend.sample_rate_hz, config.model.frontend.window_samples))
    return model


@pytest.fixture(scope="session", autouse=True)
def operators_are_read_once() -> Iterator[None]:
    """torch reads all operators of ONNX Script from their sources: without this at each export, for half a second."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry  # imports sympy and more, so not before

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "ckpt.pt"
    metrics, provenance = {"val": {"R@10": 5 / 6}}, {"seed": 0, "versions": {"torch": "2.11"}}
    save_checkpoint(path, Checkpoint(CONFIG, lived_in_model().state_dict(), tokenizer_json(), metrics, provenance))
    return path


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> DualEncoder:
    return load_checkpoint(checkpoint).build_model()


@pytest.fixture(scope="session")
def typed(model: DualEncoder) -> DualEncoder:
    return type_float16(model)


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return TextTokenizer(tokenizer_json(), max_tokens=MAX_TOKENS)


@pytest.fixture(scope="session")
def audio_graph(typed: DualEncoder) -> onnx.ModelProto:
    return export_audio(typed, samples=WINDOW.samples)


@pytest.fixture(scope="session")
def text_graph(typed: DualEncoder) -> onnx.ModelProto:
    return export_text(typed, max_tokens=MAX_TOKENS)


@pytest.fixture(scope="session")
def damaged_audio_graph(audio_graph: onnx.ModelProto) -> onnx.ModelProto:
    """One of its weights has the wrong sign."""
    damaged = copy.deepcopy(audio_graph)
    weight = next(tensor for tensor in damaged.graph.initializer if tensor.name.endswith("stem.0.0.weight"))
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    return damaged


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 tracks of 2.6 s (so 3 windows of 1 s each) with 4 captions each."""
    folder = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(0)
    time_s = np.arange(round(2.6 * 22_050)) / 22_050
    lines = []
    for track in range(16):
        notes = 110 * 2 ** (rng.integers(0, 36, size=3) / 12)
        wave = sum(np.sin(2 * np.pi * hz * time_s) for hz in notes) * np.exp(-rng.uniform(0, 6) * (time_s % 0.5)) / 4
        soundfile.write(folder / f"{track}.wav", wave, 22_050)
        captions = [f"{MOODS[track // 2]} {instrument}" for instrument in INSTRUMENTS[track % 2 * 4 :][:4]]
        lines.append(json.dumps({"audio": f"{track}.wav", "captions": captions}))
    (folder / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "manifest.jsonl"
