"""Each recipe at its own sizes: the graphs are ready for TensorRT and give what torch gives."""

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
from tests.export.conftest import lived_in_model
from train.config import load_recipe

NO_DOWNLOADS = {
    "muscall": [],
    "mulan_resnet": ["model.text.init_from=null"],
    "mulan_ast": ["model.audio.init_from=null", "model.text.init_from=null"],
    "dcase": ["model.text.vocab_size=30522"],
}
SIGNALS = ("a chord", "white noise", "a speech-like voice")
LENGTHS = (16, 77)


@pytest.mark.parametrize("recipe", NO_DOWNLOADS)
def test_a_recipe_at_full_size(recipe: str):
    config = load_recipe(recipe, overrides=NO_DOWNLOADS[recipe])
    model = lived_in_model(config)
    typed = type_float16(model)
    window = AudioWindow(config.model.frontend.sample_rate_hz, config.model.frontend.window_samples)
    signals = hard_signals(window)
    waveform = np.stack([signals[name] for name in SIGNALS])
    audio = export_audio(typed, samples=window.samples)
    assert check_graph(audio) == []
    assert_same(audio, {"waveform": waveform}, embed=model.embed_audio)

    text = config.model.text
    graph = export_text(typed, max_tokens=text.max_tokens)
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
