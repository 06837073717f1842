"""Checks operators, types and opsets against the support tables of the ONNX parsers of TensorRT 10 and 11.

`operators.json` holds these tables with their sources. Of the restrictions in a table, it holds those that a graph
alone can show.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import NodeProto, TensorProto

from export.tensorrt_check.finding import Finding
from export.tensorrt_check.graph import Graph, attributes, subgraph_nodes

_TABLE: dict[str, Any] = json.loads(Path(__file__).with_name("operators.json").read_text(encoding="utf-8"))
TYPES = {name: types.split() for types, names in _TABLE["operators"].items() for name in names.split()}
ADDED_IN_11 = frozenset(_TABLE["added_in_11"].split())
RESTRICTIONS: dict[str, dict[str, Any]] = _TABLE["restrictions"]
RELEASES = {major: f"TensorRT {release['release']}" for major, release in _TABLE["releases"].items()}

ONNX_DOMAINS = ("", "ai.onnx")
TYPE_NAMES: dict[int, str] = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.DOUBLE: "FP64",
    TensorProto.BOOL: "BOOL",
}
# The first input of these operators is a shape or a length. The table lists the types of their output.
_TYPED_BY_OUTPUT = {"BlackmanWindow", "ConstantOfShape", "HammingWindow", "HannWindow"}


def check_operators(graph: Graph) -> Iterator[Finding]:
    """Yield findings of the kinds "opset", "operator" and "type"."""
    version = graph.opsets.get("", 0)
    for major, release in _TABLE["releases"].items():
        lowest, highest = release["opsets"]
        if not lowest <= version <= highest:
            yield Finding("opset", "graph", "", f"opset {version}, but {RELEASES[major]} takes {lowest} to {highest}")
    for node in graph.nodes:
        for inner in (node, *subgraph_nodes(node)):
            if problem := _unsupported(inner) or _restricted(inner, graph=graph):
                yield Finding("operator", inner.name, graph.module(node), problem)
        if problem := _wrong_type(node, graph=graph):
            yield Finding("type", node.name, graph.module(node), problem)


def _unsupported(node: NodeProto) -> str | None:
    if node.domain not in ONNX_DOMAINS:
        return f"operator {node.domain}.{node.op_type}: TensorRT knows only ONNX's own operators"
    if node.op_type in ADDED_IN_11:
        return f"operator {node.op_type}: {RELEASES['10']} does not support it"
    return None if node.op_type in TYPES else f"operator {node.op_type}: TensorRT does not support it"


def _restricted(node: NodeProto, *, graph: Graph) -> str | None:
    limits = RESTRICTIONS.get(node.op_type, {})
    for place in limits.get("constant_inputs", ()):
        if place < len(node.input) and node.input[place] and node.input[place] not in graph.constants:
            return f"{node.op_type}: its input {place} ({node.input[place]}) must be a constant"
    if "outputs" in limits and len([name for name in node.output if name]) > limits["outputs"]:
        return f"{node.op_type}: TensorRT gives only its first output"
    if len(node.input) > limits.get("inputs", len(node.input)):
        return f"{node.op_type}: TensorRT takes only its first {limits['inputs']} inputs"
    for name in node.input:
        if name and graph.rank(name) not in (None, limits.get("rank", graph.rank(name))):
            return f"{node.op_type}: its input {name} has {graph.rank(name)} axes, expected {limits['rank']}"
    given = attributes(node)
    for name, expected in limits.get("attributes", {}).items():
        found = given.get(name, expected[0])
        found = found.decode() if isinstance(found, bytes) else found
        if any(value not in expected for value in (found if isinstance(found, list) else [found])):
            return f"{node.op_type}: {name} is {found}, expected {' or '.join(map(str, expected))}"
    rank = graph.rank(node.input[0]) if "spatial_axes" in limits else None
    if rank is not None and rank - 2 not in limits["spatial_axes"]:
        return f"{node.op_type}: it pools over {rank - 2} axes, expected {limits['spatial_axes']}"
    activations = given.get("activations", [])
    if given.get("direction") == b"bidirectional" and activations:
        half = len(activations) // 2
        if activations[:half] != activations[half:]:
            return f"{node.op_type}: both directions must have the same activations"
    return None


def _wrong_type(node: NodeProto, *, graph: Graph) -> str | None:
    supported = TYPES.get(node.op_type)
    if supported is None or node.domain not in ONNX_DOMAINS:
        return None
    for value in _typed_values(node, opset=graph.opsets[""]):
        found = graph.element_type(value)
        name = TYPE_NAMES.get(found, TensorProto.DataType.Name(found))
        if found != TensorProto.UNDEFINED and name not in supported:
            return f"{node.op_type} on {name} ({value}), but TensorRT supports it only for {', '.join(supported)}"
    return None


def _typed_values(node: NodeProto, *, opset: int) -> list[str]:
    """Return the values whose type the table restricts."""
    if not node.input or node.op_type in _TYPED_BY_OUTPUT:
        return list(node.output)
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    formal = [schema.inputs[min(place, len(schema.inputs) - 1)].type_str for place in range(len(node.input))]
    # The condition of a Where is always BOOL, so its second input decides.
    main = formal[1] if node.op_type == "Where" else formal[0]
    values = [name for name, type_name in zip(node.input, formal, strict=True) if name and type_name == main]
    return [*values, *node.output] if node.op_type in ("Cast", "CastLike") else values
