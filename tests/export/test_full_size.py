"""Each recipe's towers at their own sizes: the graphs are ready for TensorRT and give what torch gives."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.hard_items import hard_signals
from export.parity import STRICT
from export.sources import AudioWindow
from export.tensorrt_check import check_graph
from export.towers import export_audio, export_text, type_float16
from tests.export.conftest import CONFIG, lived_in_model
from train.config import load_recipe

OVERRIDES = {
    "muscall": [],
    "mulan_resnet": ["model.text.init_from=null"],
    "mulan_ast": ["model.audio.init_from=null", "model.text.init_from=null"],
    # Of 20 s, whose GRU has 250 steps: the graph has one node for them all, but torch traces each, in 0.2 s.
    "dcase": ["model.text.vocab_size=30522", "model.frontend.window_s=4"],
}
RECIPES = {name: load_recipe(name, overrides=overrides).model for name, overrides in OVERRIDES.items()}
# By the tower and the width that it is projected to, so that what two recipes share is exported once.
TEXT_TOWERS = {(model.text, model.embedding_dim): name for name, model in RECIPES.items()}
SIGNALS = ("a chord", "white noise", "a speech-like voice")
LENGTHS = (16, 77)


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_audio_tower_at_full_size(recipe: str):
    config = replace(CONFIG, model=replace(RECIPES[recipe], text=CONFIG.model.text))
    model = lived_in_model(config)
    window = AudioWindow(config.model.frontend.sample_rate_hz, config.model.frontend.window_samples)
    signals = hard_signals(window)
    waveform = np.stack([signals[name] for name in SIGNALS])
    graph = export_audio(type_float16(model), samples=window.samples)
    assert check_graph(graph) == []
    assert_same(graph, {"waveform": waveform}, embed=model.embed_audio)


@pytest.mark.parametrize("recipe", TEXT_TOWERS.values())
def test_a_text_tower_at_full_size(recipe: str):
    text, dim = RECIPES[recipe].text, RECIPES[recipe].embedding_dim
    model = lived_in_model(replace(CONFIG, model=replace(CONFIG.model, text=text, embedding_dim=dim)))
    graph = export_text(type_float16(model), max_tokens=text.max_tokens)
    assert check_graph(graph) == []
    for length in LENGTHS:
        ids = np.random.default_rng(0).integers(3, 999, (2, min(length, text.max_tokens)), dtype=np.int32)
        assert_same(graph, {"input_ids": ids, "attention_mask": np.ones_like(ids)}, embed=model.embed_text)


def assert_same(graph: onnx.ModelProto, feed: dict[str, np.ndarray], *, embed) -> None:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = embed(*(torch.from_numpy(array) for array in feed.values())).numpy()
    (found,) = session.run(None, feed)
    assert (found * expected).sum(axis=1).min() >= STRICT["fp16"].min_cosine
    assert abs(expected[0] @ expected[1]) < 0.999  # different items have different vectors
