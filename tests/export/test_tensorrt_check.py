"""The TensorRT check passes what is exported, and names the node, the module and the item of each kind of obstacle."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import torch
from onnx import parser
from onnxruntime.quantization import quantize_dynamic

from export import ExportError
from export.hard_items import hard_signals
from export.node_names import SCOPES, name_by_module
from export.tensorrt_check import Finding, check_graph, refuse_unready
from export.tensorrt_check.__main__ import main
from export.tensorrt_check.operators import ADDED_IN_11, RESTRICTIONS, TYPES
from export.tensorrt_check.parity_items import token_items
from export.tensorrt_check.profiles import profile_of
from export.tensorrt_check.ranges import measure_ranges, widen
from export.towers import export_text, type_float16
from export.triton_config import ModelParameters, write_configs
from tests.export.conftest import MAX_TOKENS, WINDOW, tokenizer_json
from train.data.tokenizer import TextTokenizer

TOKENS = {"input_ids": np.array([[2, 5, 6, 3]], np.int32), "attention_mask": np.ones((1, 4), np.int32)}


def graph_of(
    body: str,
    *,
    inputs: str = "float[batch, 8] x",
    output: str = "float[rows, columns] y",
    opset: int = 18,
    constants: str = "",
) -> onnx.ModelProto:
    """A model of one graph, in ONNX's own text format."""
    header = f'<ir_version: 10, opset_import: ["" : {opset}, "ours" : 1, "com.microsoft" : 1]>'
    return parser.parse_model(f"{header} g ({inputs}) => ({output}) <{constants}> {{{body}}}")


def found_in(body: str, **options) -> list[tuple[str, str]]:
    return [(finding.kind, finding.node) for finding in check_graph(graph_of(body, **options))]


def test_exported_graphs_are_ready(audio_graph: onnx.ModelProto, text_graph: onnx.ModelProto):
    windows = {name: {"waveform": signal[None]} for name, signal in hard_signals(WINDOW).items()}
    assert check_graph(audio_graph, items=windows) == []
    assert check_graph(text_graph, items={"a text": TOKENS}) == []


BICUBIC = (
    '[here] y = Resize <mode = "cubic", coordinate_transformation_mode = "align_corners"> (x, , scales)',
    {
        "inputs": "float[batch, 1, 8, 8] x",
        "output": "float[a, b, c, d] y",
        "constants": "float[4] scales = {1, 1, 2, 1}",
    },
    "operator",
)
VOLUMES = {"inputs": "float[batch, 1, 8, 8, 8] x, float[batch, 8, 8, 8, 3] grid", "output": "float[a, b, c, d, e] y"}
IMAGES = {"inputs": "float[batch, 1, 8, 8] x", "output": "float[a, b, c, d] y", "opset": 19}
OBSTACLES = [
    ("[here] y = Det(x)", {"inputs": "float[batch, 8, 8] x", "output": "float[rows] y"}, "operator"),
    ("[here] y = ours.Relu(x)", {}, "operator"),
    ("[here] y = com.microsoft.Gelu(x)", {}, "operator"),  # ONNX has one of this name too, from opset 20 on
    BICUBIC,
    (BICUBIC[0].replace('"cubic"', '"linear", antialias = 1'), BICUBIC[1], "operator"),
    ("[here] y = GridSample(x, grid)", VOLUMES | {"opset": 20}, "operator"),
    (
        "[here] y = Attention <q_num_heads = 2, kv_num_heads = 2> (x, x, x)",
        {"inputs": "float[batch, 4, 8] x", "output": "float[a, b, c] y", "opset": 23},
        "operator",
    ),
    ("[here] y, at = MaxPool <kernel_shape = [2, 2]> (x)", IMAGES, "operator"),
    (
        "[here] y = MaxPool <kernel_shape = [2]> (x)",
        {"inputs": "float[batch, 1, 8] x", "output": "float[a, b, c] y"},
        "operator",
    ),
    ("[here] y = AveragePool <kernel_shape = [2, 2], dilations = [1, 2]> (x)", IMAGES, "operator"),
    (
        "s = Shape(x) a = Gather(s, i) [here] r = ReduceSum(x, a) y = Reshape(r, i)",
        {"constants": "int64[1] i = {0}", "output": "float[rows] y"},
        "operator",
    ),
    ('[here] y = ScatterND <reduction = "add"> (x, i, x)', {"constants": "int64[1, 1] i = {0}"}, "operator"),
    (
        '[here] r, s = GRU <hidden_size = 4, direction = "bidirectional",'
        ' activations = ["Sigmoid", "Tanh", "Sigmoid", "Relu"]> (x, w, w2) y = Squeeze(s, axes)',
        {
            "inputs": "float[3, batch, 8] x, float[2, 12, 8] w, float[2, 12, 4] w2",
            "output": "float[a, b, c] y",
            "constants": "int64[0] axes = {}",
        },
        "operator",
    ),
    ("d = Cast <to = 11> (x) [here] e = Exp(d) y = Cast <to = 1> (e)", {}, "type"),
    ("[here] y = NonZero(x)", {"output": "int64[rows, columns] y"}, "data-dependent shape"),
    ("s = Cast <to = 7> (x) [here] y = Expand(x, s)", {"inputs": "float[2] x"}, "data-dependent shape"),
    ("i = Cast <to = 7> (x) [here] j = Add(i, i) y = Cast <to = 1> (j)", {}, "INT64 compute"),
]


@pytest.mark.parametrize(("body", "options", "kind"), OBSTACLES)
def test_each_obstacle_is_found_and_its_node_named(body: str, options: dict, kind: str):
    findings = [finding for finding in check_graph(graph_of(body, **options)) if finding.kind != "dynamic axis"]
    assert [(finding.kind, finding.node) for finding in findings if finding.node] == [(kind, "here")]


def test_what_the_restrictions_allow_is_no_obstacle():
    body, options, _ = BICUBIC
    assert found_in(body.replace("cubic", "linear"), **options) == []
    assert found_in("r = RandomNormal <shape = [8]> () y = Add(x, r)") == []
    images = {"inputs": "float[batch, 1, 8, 8] x", "output": "float[a, b, c, d] y"}
    assert found_in("y = Attention(x, x, x)", opset=23, **images) == []


def test_shape_arithmetic_and_indices_are_no_obstacles():
    assert found_in("s = Shape(x) t = Mul(s, one) y = Reshape(x, t)", constants="int64[1] one = {1}") == []
    largest = "i = ArgMax <axis = 1, keepdims = 0> (x)"
    vector = {"output": "float[rows] y"}
    assert found_in(f"{largest} j = Cast <to = 6> (i) k = Add(j, j) y = Gather(x, k)") == []
    assert found_in(f"{largest} u = Unsqueeze(i, a) y = GatherND(x, u)", constants="int64[1] a = {1}") == []
    assert found_in(f"{largest} [here] j = Add(i, i) y = Cast <to = 1> (j)", **vector) == [("INT64 compute", "here")]


def test_opsets_and_operators_of_one_release_only():
    assert ("opset", "graph") in found_in("y = Relu(x)", opset=8)
    assert "TensorRT 10.15 takes 9 to 24" in str(check_graph(graph_of("y = Relu(x)", opset=8))[0])
    (finding,) = check_graph(graph_of("y = Swish(x)", opset=24))
    assert (finding.kind, finding.message) == ("operator", "operator Swish: TensorRT 10.15 does not support it")


def test_only_batch_and_length_may_be_dynamic():
    assert found_in("y = Relu(x)", inputs="float[batch, frames] x") == [("dynamic axis", "x")]
    assert found_in("y = Relu(x)", inputs="float[n, 8] x") == [("dynamic axis", "x")]
    assert found_in("y = Relu(x)", inputs="float[batch, length] x") == []


def test_dynamic_quantization_is_for_cpus(text_graph: onnx.ModelProto, tmp_path: Path):
    onnx.save(widen(text_graph), tmp_path / "float32.onnx")
    quantize_dynamic(tmp_path / "float32.onnx", tmp_path / "int8.onnx")
    unsupported = {finding.message for finding in check_graph(onnx.load(tmp_path / "int8.onnx"))}
    assert any("MatMulInteger" in message for message in unsupported)
    assert any("DynamicQuantizeLinear" in message for message in unsupported)


def test_a_module_is_told_by_parameters_or_by_the_name(audio_graph: onnx.ModelProto):
    damaged = copy.deepcopy(audio_graph)
    damaged.opset_import.add(domain="ours", version=1)
    (convolution,) = [node for node in damaged.graph.node if "model.audio_tower.stem.2.0.weight" in node.input]
    convolution.domain = "ours"
    (finding,) = check_graph(damaged)
    assert (finding.kind, finding.node, finding.module) == ("operator", convolution.name, "audio_tower.stem.2.0")

    convolution.name = "scope.of.it/convolution"
    (finding,) = check_graph(damaged)
    assert str(finding).startswith("scope.of.it/convolution in scope.of.it: operator ours.Conv: ")


def test_nodes_are_named_by_the_module_in_the_exporters_notes():
    model = onnx_ir.from_proto(graph_of("[n1] a = Relu(x) [n2] b = Relu(a) [n3] y = Relu(b)"))
    notes = ["['', 'model.audio_tower', 'model.audio_tower.pool', 'relu']", "['', 'relu']", "['_empty_hook', 'size']"]
    for node, note in zip(model.graph, notes, strict=True):
        node.metadata_props[SCOPES] = note
    name_by_module(model.graph)
    assert [node.name for node in model.graph] == ["audio_tower.pool/n1", "n2", "n3"]


def test_an_overflow_is_found_with_its_layer_and_item(model):
    loud = copy.deepcopy(model)
    dense = loud.text_tower.bert.encoder.layer[0].output.dense
    with torch.no_grad():  # each weight fits float16, their sum does not
        dense.bias.fill_(6e4)
        dense.weight.mul_(3e4 / dense.weight.abs().max())
    graph = export_text(type_float16(loud), max_tokens=MAX_TOKENS)
    other = {name: tokens[:, :1] for name, tokens in TOKENS.items()}
    findings = check_graph(graph, items={"a text": TOKENS, "a word": other})
    assert {finding.kind for finding in findings} == {"float16 range"}
    assert {finding.module for finding in findings} == {"text_tower.bert.encoder.layer.0.output.dense"}
    assert " on a text; float16 holds at most 65,504" in findings[0].message
    with pytest.raises(ExportError, match=r"text_encoder is not ready for TensorRT: \S+ in text_tower\.bert"):
        refuse_unready("text_encoder", findings)


def test_ranges_are_those_of_the_computation():
    body = "h = Cast <to = 10> (x) [square] s = Mul(h, h) y = Cast <to = 1> (s)"
    items = {"small": {"x": np.full((1, 8), 3, np.float32)}, "large": {"x": np.full((1, 8), -500, np.float32)}}
    ranges = measure_ranges(graph_of(body), items)
    assert [(found.operator, found.largest, found.item) for found in ranges] == [
        ("Mul", 250_000.0, "large"),  # infinity in float16
        ("Cast", 500.0, "large"),
    ]
    assert measure_ranges(graph_of("y = Relu(x)"), items) == []


def test_the_widened_graph_computes_the_same(text_graph: onnx.ModelProto):
    widened = widen(text_graph)
    assert all(tensor.data_type != onnx.TensorProto.FLOAT16 for tensor in widened.graph.initializer)
    outputs = [
        onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, TOKENS)[0]
        for graph in (text_graph, widened)
    ]
    np.testing.assert_allclose(*outputs, atol=1e-5)


def test_texts_that_begin_alike_are_items_of_their_own():
    items = token_items(["piano " * 20, "piano " * 21], tokenizer=TextTokenizer(tokenizer_json(), max_tokens=30))
    assert [item["input_ids"].shape[1] for item in items.values()] == [22, 23]


def test_profiles_are_written_as_tensorrt_reads_them():
    profile = profile_of({"input_ids": ["batch", "length"], "scale": ["batch", 3]}, max_tokens=77)
    assert profile.minimum == "input_ids:1x1,scale:1x3"
    assert profile.usual == "input_ids:32x16,scale:32x3"
    assert profile.maximum == "input_ids:64x77,scale:64x3"


def test_the_table_is_consistent():
    assert not ADDED_IN_11 & TYPES.keys()
    assert RESTRICTIONS.keys() <= TYPES.keys()
    assert all(onnx.defs.has(name) for name in ADDED_IN_11)


@pytest.fixture(scope="module")
def repository(audio_graph: onnx.ModelProto, text_graph: onnx.ModelProto, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    parameters = ModelParameters(WINDOW.sample_rate_hz, WINDOW.samples, 16, MAX_TOKENS, "tiny", "0" * 64, "1.000000")
    for name, config in write_configs(parameters).items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(config)
    onnx.save(audio_graph, folder / "audio_encoder/1/model.onnx")
    onnx.save(text_graph, folder / "text_encoder/1/model.onnx")
    (folder / "text_tokenizer/1/tokenizer.json").write_text(tokenizer_json())
    return folder


@pytest.mark.parametrize(
    ("name", "largest_shape"),
    [
        ("audio_encoder", "waveform:64x16000"),
        ("text_encoder", f"input_ids:64x{MAX_TOKENS},attention_mask:64x{MAX_TOKENS}"),
    ],
)
def test_the_command_reports_a_graph_that_is_ready(repository, manifest, capsys, monkeypatch, name, largest_shape):
    monkeypatch.setenv("COLUMNS", "200")
    arguments = [str(repository / name / "1/model.onnx"), "--parity-data", str(manifest)]
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ready"], report["findings"]) == (True, [])
    assert report["profile"]["maximum"] == largest_shape
    assert 0 < report["ranges"][0]["largest"] < 65_504
    assert report["ranges"][0]["module"]

    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "ready for TensorRT 10.15 and TensorRT 11.2" in shown
    assert report["ranges"][0]["module"] in shown


def test_the_command_shows_findings(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    onnx.save(graph_of("[here] y = ours.Relu(x)"), tmp_path / "model.onnx")
    assert main([str(tmp_path / "model.onnx")]) == 1
    shown = capsys.readouterr().out
    assert "TensorRT knows only ONNX's own operators" in shown
    assert "1 finding: not ready" in shown
    assert "not measured; give --parity-data" in shown


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, [], "cannot read .*: No such file"),
        (b"\x00\x01nonsense", [], "is not an ONNX graph"),
        (b"", [], "is not an ONNX graph: it has no nodes"),
        (graph_of("y = Relu(x)").SerializeToString(), ["--parity-data", "m.jsonl"], "in an exported repository"),
        (graph_of("y = Add(x, missing)").SerializeToString(), [], "not a valid graph"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, capsys, content: bytes | None, options: list[str], message: str):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path), *options]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.strip().splitlines()) == 1
    assert re.search(message, output.err)


def test_a_finding_says_where():
    assert str(Finding("operator", "n", "", "broken")) == "n: broken"
