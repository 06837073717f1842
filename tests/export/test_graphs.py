"""The exported graphs: equal to torch where the export never looked, and typed as promised."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import nn

from export import ExportError
from export.towers import check_weights, type_embeddings, type_float16
from tests.export.conftest import WINDOW
from train.dual_encoder import DualEncoder


def run(graph: onnx.ModelProto, *arrays: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {tensor.name: array for tensor, array in zip(graph.graph.input, arrays, strict=True)})[0]


def element_types(graph: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(graph).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in inferred.initializer}


def rounded(model: DualEncoder) -> DualEncoder:
    """The model in float32 whose exported weights went through float16: what the CPU provider must compute."""
    model = copy.deepcopy(model)
    typed = type_float16(model)
    for tower, source in ((model.audio_tower, typed.audio_tower), (model.text_tower, typed.text_tower)):
        for name, module in source.named_modules():
            if isinstance(module, nn.Conv2d):  # carries the folded BatchNorm
                parent = tower.get_submodule(name.rpartition(".")[0])
                position = int(name.rpartition(".")[2])
                parent[position], parent[position + 1] = copy.deepcopy(module).float(), nn.Identity()
                parent[position]._forward_pre_hooks.clear()
            elif isinstance(module, nn.Linear | nn.Embedding):
                tower.get_submodule(name).load_state_dict(module.float().state_dict())
    return model


def test_audio_graph_equals_torch_at_a_batch_it_never_saw(model: DualEncoder, audio_graph: onnx.ModelProto):
    waveform = torch.rand(5, WINDOW.samples) * torch.logspace(-3, 0, 5)[:, None]
    exported = run(audio_graph, waveform.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(exported, rounded(model).embed_audio(waveform), atol=5e-6)
        cosines = (model.embed_audio(waveform).numpy() * exported).sum(axis=1)
    assert cosines.min() > 0.9995


@pytest.mark.parametrize("length", [3, 11, 24])
def test_text_graph_equals_torch_at_a_batch_and_length_it_never_saw(
    model: DualEncoder, text_graph: onnx.ModelProto, length: int
):
    ids = torch.randint(4, 20, (5, length), dtype=torch.int32)
    mask = (torch.arange(length) < torch.arange(2, 7)[:, None]).int()
    exported = run(text_graph, ids.numpy(), mask.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(exported, rounded(model).embed_text(ids, mask), atol=5e-6)
        cosines = (model.embed_text(ids, mask).numpy() * exported).sum(axis=1)
    assert cosines.min() > 0.9995


def test_a_vector_depends_neither_on_its_neighbours_nor_on_padding(
    audio_graph: onnx.ModelProto, text_graph: onnx.ModelProto, model: DualEncoder
):
    rng = np.random.default_rng(0)
    loud = rng.uniform(-1, 1, (17, WINDOW.samples)).astype(np.float32)
    loud[3] *= 1e-3
    np.testing.assert_allclose(run(audio_graph, loud)[3], run(audio_graph, loud[3:4])[0], atol=1e-6)

    ids = rng.integers(4, 20, (17, 24)).astype(np.int32)
    mask = (np.arange(24) < rng.integers(3, 24, (17, 1))).astype(np.int32)
    mask[3] = np.arange(24) < 6
    alone = run(text_graph, ids[3:4, :6], mask[3:4, :6])
    np.testing.assert_allclose(run(text_graph, ids, mask)[3], alone[0], atol=1e-6)


def test_contract_of_names_types_and_versions(
    audio_graph: onnx.ModelProto, text_graph: onnx.ModelProto, model: DualEncoder
):
    def signature(values):
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    samples, dim = WINDOW.samples, model.config.embedding_dim
    embedding = {"embedding": (TensorProto.FLOAT, ["batch", dim])}
    assert signature(audio_graph.graph.input) == {"waveform": (TensorProto.FLOAT, ["batch", samples])}
    assert signature(audio_graph.graph.output) == embedding
    tokens = (TensorProto.INT32, ["batch", "length"])
    assert signature(text_graph.graph.input) == {"input_ids": tokens, "attention_mask": tokens}
    assert signature(text_graph.graph.output) == embedding
    for graph in (audio_graph, text_graph):
        assert graph.ir_version <= 10
        assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 18)]


def test_range_critical_operators_are_float32_and_the_towers_weights_float16(
    audio_graph: onnx.ModelProto, text_graph: onnx.ModelProto, typed: DualEncoder
):
    for graph in (audio_graph, text_graph):
        types = element_types(graph)
        for node in graph.graph.node:
            if node.op_type in ("Softmax", "LayerNormalization", "Log", "ReduceMax", "ReduceMean", "ReduceL2", "Div"):
                assert types[node.input[0]] == TensorProto.FLOAT, node.name
            if node.op_type in ("Reshape", "Transpose"):
                assert types[node.input[0]] != TensorProto.FLOAT16, node.name
    for graph, tower in ((audio_graph, typed.audio_tower), (text_graph, typed.text_tower)):
        layers = [module for module in tower.modules() if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding)]
        expected = sum(layer.weight.numel() for layer in layers)
        halves = [tensor for tensor in graph.graph.initializer if tensor.data_type == TensorProto.FLOAT16]
        stored = sum(math.prod(tensor.dims) for tensor in halves if len(tensor.dims) > 1)
        assert stored == expected


def test_nothing_is_rounded_to_float16_on_the_cpu(
    audio_graph: onnx.ModelProto, text_graph: onnx.ModelProto, tmp_path: Path
):
    for graph in (audio_graph, text_graph):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.log_severity_level = 3  # "this file is for this machine only": yes
        onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        casts = [node for node in onnx.load(tmp_path / "optimised.onnx").graph.node if node.op_type == "Cast"]
        targets = [onnx.helper.get_node_attr_value(cast, "to") for cast in casts]
        assert casts
        assert TensorProto.FLOAT16 not in targets


def test_int8_text_graphs_need_embeddings_within_float16_and_say_so(model: DualEncoder):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.text_tower.bert.embeddings.word_embeddings.weight[0, 0] = 1e5
    with pytest.raises(ExportError, match=r"leaves the range of float16 .* export without --text-int8"):
        type_embeddings(broken)


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [(check_weights, float("nan"), "holds NaN or infinity"), (type_float16, 1e5, "leaves the range of float16")],
)
def test_unusable_weights_are_refused(
    model: DualEncoder, check: Callable[[nn.Module], object], value: float, message: str
):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.text_tower.bert.encoder.layer[0].output.dense.weight[0, 0] = value
    with pytest.raises(ExportError, match=rf"layer\.0\.output\.dense\.weight {message}"):
        check(broken)
