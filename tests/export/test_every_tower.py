"""Every tower of train/ passes the gate in both precisions, on graphs that promise the same as those of the starter."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import nn

from export.hard_items import HARD_TEXTS, hard_signals
from export.int8 import quantise
from export.parity import STRICT, GraphParity, check_audio, check_text
from export.sources import AudioWindow
from export.tensorrt_check import check_graph
from export.towers import export_audio, export_text, type_embeddings, type_float16
from tests.export.conftest import INSTRUMENTS, MAX_TOKENS, MOODS, WINDOW, lived_in_model, tokenizer_json
from tests.train.test_published_towers import MUSICNN, YAMNET, needs_wheels
from train.config import MUSICNN_FRONTEND, YAMNET_FRONTEND, Config
from train.data.tokenizer import TextTokenizer
from train.dual_encoder import DualEncoder
from train.pretrained import load_part

FRONTEND = {"window_s": 1.0, "n_fft": 512, "hop_samples": 250, "n_mels": 64}
BERT = {
    "init_from": None,
    "vocab_size": 32,
    "hidden": 32,
    "layers": 1,
    "heads": 4,
    "feed_forward": 64,
    "max_tokens": MAX_TOKENS,
}
RESNET = {"width": 4, "blocks": [1, 1, 1, 1], "heads": 4, "features": 24}
AUDIO = {
    "clip-attention": RESNET,
    "he-mean": RESNET | {"style": "he", "pooling": "mean"},
    "ast": {"tower": "audio_ast", "hidden": 32, "layers": 1, "heads": 4},
    "crnn": {"tower": "audio_crnn", "hidden": 10},
}
TEXT = {
    "transformer": {
        "tower": "text_transformer",
        "vocab_size": 32,
        "hidden": 32,
        "layers": 2,
        "heads": 4,
        "max_tokens": MAX_TOKENS,
    },
    "bert-cls": BERT | {"pooling": "cls"},
    "bert-mean": BERT | {"pooling": "mean"},
    "word2vec": {"tower": "text_word2vec", "vocab_size": 32, "hidden": 20, "max_tokens": MAX_TOKENS},
}


TEXTS = [*(f"{mood} {instrument}" for mood in MOODS for instrument in INSTRUMENTS), *HARD_TEXTS]


def build(*, audio: str = "crnn", text: str = "word2vec") -> DualEncoder:
    values = {"embedding_dim": 16, "frontend": FRONTEND, "audio": AUDIO[audio], "text": TEXT[text]}
    model = lived_in_model(Config.from_dict({"model": values}))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            # As large as training makes them: a Transformer begins with hardly any effect.
            nn.init.xavier_normal_(module.weight)
    return model


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("tower", AUDIO)
def test_audio(tower: str, precision: str, tmp_path: Path):
    model = build(audio=tower)
    typed = type_float16(model) if precision == "fp16" else None
    graph = export_audio(typed or model, samples=WINDOW.samples)
    content = graph.SerializeToString(deterministic=True)
    row = check_audio(content, hard_signals(WINDOW), model=model, typed=typed, accept=STRICT[precision])
    assert (row.truth @ row.truth.T).min() < 0.99  # what it compares tells different sounds apart
    check_promises(graph, precision=precision, folder=tmp_path)


PUBLISHED = {
    "musicnn": (MUSICNN_FRONTEND, {"tower": "audio_musicnn", "init_from": str(MUSICNN)}),
    "yamnet": (YAMNET_FRONTEND, {"tower": "audio_yamnet", "init_from": str(YAMNET), "patches": 2}),
}


@needs_wheels
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("tower", PUBLISHED)
def test_published_audio(tower: str, beside: bool, precision: str, tmp_path: Path):
    """With its published weights: alone, and beside a learned tower as concepts."""
    frontend, audio = PUBLISHED[tower]
    own = asdict(frontend) | {"window_s": 3.1}
    values: dict = {"embedding_dim": 16, "frontend": own, "audio": audio, "text": TEXT["bert-mean"]}
    if beside:
        parts = {"parts": [{"frontend": own, "audio": audio}], "concepts": 5, "hidden": 8}
        values |= {"frontend": FRONTEND | {"window_s": 3.1}, "audio": RESNET, "beside": parts}
    config = Config.from_dict({"model": values})
    model = lived_in_model(config)
    if model.beside is None:
        load_part(model.audio_tower, config.model.audio)
    else:
        load_part(model.beside.towers[0], config.model.beside.parts[0].audio)
    window = AudioWindow(16_000, 49_600)
    typed = type_float16(model) if precision == "fp16" else None
    graph = export_audio(typed or model, samples=window.samples)
    content = graph.SerializeToString(deterministic=True)
    row = check_audio(content, hard_signals(window), model=model, typed=typed, accept=STRICT[precision])
    assert (row.truth @ row.truth.T).min() < 0.99
    check_promises(graph, precision=precision, folder=tmp_path)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("tower", TEXT)
def test_text(tower: str, precision: str, tmp_path: Path):
    model = build(text=tower)
    typed = type_float16(model) if precision == "fp16" else None
    graph = export_text(typed or model, max_tokens=MAX_TOKENS)
    row = compare_texts(graph, model=model, typed=typed, precision=precision)
    assert (row.truth @ row.truth.T).min() < 0.99
    check_promises(graph, precision=precision, folder=tmp_path)
    check_wrong_ids(graph, last_id=31)


@pytest.mark.parametrize("tower", TEXT)
def test_int8_text(tower: str):
    model = build(text=tower)
    graph = quantise(export_text(type_embeddings(model), max_tokens=MAX_TOKENS))
    row = compare_texts(graph, model=model, precision="int8")
    assert (row.truth @ row.truth.T).min() < 0.99
    linear = {"word2vec": 0, "transformer": 8}.get(tower, 6)  # four of attention, two of feed-forward in each layer
    assert sum(node.op_type == "MatMulNBits" for node in graph.graph.node) == linear
    check_wrong_ids(graph, last_id=31)


@pytest.mark.parametrize("max_tokens", [3, 5])  # fewer than the exporter's example has, and as many as its batch
def test_a_tower_of_few_tokens(max_tokens: int):
    model = build(text="word2vec")
    compare_texts(export_text(model, max_tokens=max_tokens), model=model, precision="fp32", max_tokens=max_tokens)


def compare_texts(
    graph: onnx.ModelProto,
    *,
    model: DualEncoder,
    typed: DualEncoder | None = None,
    precision: str,
    max_tokens: int = MAX_TOKENS,
) -> GraphParity:
    return check_text(
        graph.SerializeToString(deterministic=True),
        TEXTS,
        model=model,
        typed=typed,
        tokenizer=TextTokenizer(tokenizer_json(), max_tokens=max_tokens),
        max_tokens=max_tokens,
        accept=STRICT[precision],
    )


def check_wrong_ids(graph: onnx.ModelProto, *, last_id: int) -> None:
    """Ids outside the vocabulary count as the nearest inside, and no other text of the batch is touched."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(4, last_id, (6, 11)).astype(np.int32)
    mask = np.ones_like(ids)
    nearest = ids.copy()
    nearest[1, 3:7] = last_id, last_id, 0, 0
    nearest[4, 5] = last_id
    wrong = nearest.copy()
    wrong[1, 3:7] = last_id + 1, 2**31 - 1, -1, -(2**31)
    wrong[4, 5] = 10**6
    expected, answer = (session.run(None, {"input_ids": x, "attention_mask": mask})[0] for x in (nearest, wrong))
    np.testing.assert_array_equal(answer, expected)
    alone = session.run(None, {"input_ids": ids[2:3], "attention_mask": mask[2:3]})[0]
    np.testing.assert_allclose(answer[2:3], alone, rtol=0, atol=1e-6)


def check_promises(graph: onnx.ModelProto, *, precision: str, folder: Path) -> None:
    assert graph.ir_version <= 10
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 18)]
    halves = sum(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.graph.initializer)
    assert (halves > 0) == (precision == "fp16")
    operators = {node.op_type for node in graph.graph.node}
    assert not operators & {"NonZero", "GatherND", "ScatterND", "Loop", "If", "IsNaN"}  # nothing depends on the data
    assert check_graph(graph) == []
    assert any("_tower." in node.name for node in graph.graph.node)
    for node in graph.graph.node:
        assert not node.doc_string
        assert not node.metadata_props

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3  # "this file is for this machine only": yes
    onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    casts = [node for node in onnx.load(folder / "optimised.onnx").graph.node if node.op_type == "Cast"]
    targets = [onnx.helper.get_node_attr_value(cast, "to") for cast in casts]
    assert TensorProto.FLOAT16 not in targets  # nothing is rounded on the CPU


def test_exporting_changes_nothing_in_the_model():
    model = build(audio="ast")
    waveform = torch.rand(2, WINDOW.samples) * 2 - 1
    with torch.no_grad():
        before = model.embed_audio(waveform)
        export_audio(model, samples=WINDOW.samples)
        assert torch.equal(model.embed_audio(waveform), before)
    assert model.audio_tower.ast.config._attn_implementation == "sdpa"


def test_a_threshold_decides(model: DualEncoder, typed: DualEncoder, audio_graph: onnx.ModelProto):
    with pytest.raises(RuntimeError, match=r"expected at least 0\.999999999"):
        check_audio(
            audio_graph.SerializeToString(),
            hard_signals(WINDOW),
            model=model,
            typed=typed,
            accept=replace(STRICT["fp16"], min_cosine=0.999999999),
        )
