"""The gate lets a good graph pass and names what is wrong with each kind of bad one."""

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from export import ExportError
from export.parity import MIN_COSINE, ParityData, check_audio, check_text, hard_signals, load_parity_data
from export.sources import AudioWindow
from export.towers import export_text, type_float16
from tests.export.conftest import MAX_TOKENS, WINDOW
from train.data.tokenizer import TextTokenizer
from train.dual_encoder import DualEncoder

RECORDINGS = Path(__file__).parents[3] / "shared/audio"


@pytest.fixture(scope="module")
def data(manifest: Path, model: DualEncoder) -> ParityData:
    return load_parity_data(manifest, window=WINDOW)


def test_good_graphs_pass(data: ParityData, model, typed, tokenizer, audio_graph, text_graph):
    audio = check_audio(audio_graph.SerializeToString(), data.windows, model=model, typed=typed)
    text = check_text(
        text_graph.SerializeToString(), data.texts, model=model, typed=typed, tokenizer=tokenizer, max_tokens=MAX_TOKENS
    )
    assert (audio.items, text.items) == (32 + 8, 64 + 4)
    for row in (audio, text):
        assert MIN_COSINE <= row.worst_cosine <= row.mean_cosine <= 1 + 1e-6
        assert row.worst_float16_cosine >= MIN_COSINE
        assert row.deviation <= 1e-5


def test_a_changed_weight_is_refused(data: ParityData, model, typed, damaged_audio_graph):
    with pytest.raises(ExportError, match=r"audio_encoder: ONNX Runtime .* disagree on .*: cosine .* at least 0\.999"):
        check_audio(damaged_audio_graph.SerializeToString(), data.windows, model=model, typed=typed)


def test_decibels_clamped_over_the_batch_are_refused(data: ParityData, model, typed, audio_graph):
    damaged = copy.deepcopy(audio_graph)
    peak = next(node for node in damaged.graph.node if node.op_type == "ReduceMax")
    damaged.graph.initializer.append(numpy_helper.from_array(np.array([0, 1, 2]), "all_axes"))
    peak.input[1] = "all_axes"
    with pytest.raises(ExportError, match=r"audio_encoder: the vector of .* in a batch of 3 differs"):
        check_audio(damaged.SerializeToString(), data.windows, model=model, typed=typed)


def test_padding_that_leaks_is_refused(data: ParityData, model, typed, tokenizer, text_graph):
    damaged = copy.deepcopy(text_graph)
    masked = next(tensor for tensor in damaged.graph.initializer if _is_scalar(tensor, -1e4))
    masked.CopyFrom(numpy_helper.from_array(np.array(-0.1, np.float32).reshape(masked.dims), masked.name))
    with pytest.raises(ExportError, match=r"text_encoder: the vector of .* padded to 16 tokens .* differs"):
        check_text(
            damaged.SerializeToString(),
            data.texts,
            model=model,
            typed=typed,
            tokenizer=tokenizer,
            max_tokens=MAX_TOKENS,
        )


def _is_scalar(tensor: onnx.TensorProto, value: float) -> bool:
    array = numpy_helper.to_array(tensor)
    return array.size == 1 and np.isclose(float(array.reshape(())), value)


def test_a_float16_overflow_is_refused_although_the_cpu_provider_hides_it(
    data: ParityData, model: DualEncoder, tokenizer: TextTokenizer
):
    loud = copy.deepcopy(model)
    dense = loud.text_tower.bert.encoder.layer[0].output.dense
    with torch.no_grad():  # each weight fits float16, their sum does not; LayerNorm then hides the size
        dense.bias.fill_(6e4)
        dense.weight.mul_(3e4 / dense.weight.abs().max())
    typed = type_float16(loud)
    graph = export_text(typed, max_tokens=MAX_TOKENS).SerializeToString()
    with pytest.raises(ExportError, match="torch in float16 and torch in float32 disagree"):
        check_text(graph, data.texts, model=loud, typed=typed, tokenizer=tokenizer, max_tokens=MAX_TOKENS)


def test_too_little_music_is_refused(manifest: Path, tmp_path: Path, model: DualEncoder):
    with pytest.raises(ExportError, match="no music to check the graphs with"):
        load_parity_data(tmp_path / "manifest.jsonl", window=WINDOW)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    few = manifest.with_name("few.jsonl")
    few.write_text("\n".join(json.dumps(row) for row in rows[:3]))
    # 2.6 s are two full windows and one more than half full
    with pytest.raises(ExportError, match=r"9 windows of 1 s and 12 different captions; .* needs 32 and 64"):
        load_parity_data(few, window=WINDOW)


def test_hard_signals_are_what_their_names_say():
    signals = hard_signals(AudioWindow(sample_rate_hz=16_000, samples=160_000))
    peak_db = {name: 20 * np.log10(max(np.abs(signal).max(), 1e-9)) for name, signal in signals.items()}
    assert peak_db["silence"] == -180
    assert peak_db["a tone at -60 dB"] == pytest.approx(-60, abs=0.1)
    assert (np.abs(signals["a clipped tone"]) == 1).mean() > 0.9
    assert all(signal.dtype == np.float32 and np.abs(signal).max() <= 1 for signal in signals.values())


def test_real_recordings_pass(tmp_path: Path, model: DualEncoder, typed: DualEncoder, audio_graph: onnx.ModelProto):
    recordings = sorted(RECORDINGS.glob("*.ogg"))
    if not recordings:
        pytest.skip("needs the recordings in shared/audio beside the checkout")
    captions = [f"caption {number}" for number in range(64)]
    rows = [json.dumps({"audio": str(path), "captions": captions}) for path in recordings]
    (tmp_path / "manifest.jsonl").write_text("\n".join(rows))
    data = load_parity_data(tmp_path / "manifest.jsonl", window=WINDOW)
    row = check_audio(audio_graph.SerializeToString(), data.windows, model=model, typed=typed)
    assert row.items == 40
    assert row.worst_cosine > MIN_COSINE
