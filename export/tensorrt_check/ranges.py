"""Measures how close a graph's float16 values come to the largest float16 number.

ONNX Runtime's CPU provider computes float16 in float32 and hides an overflow. On a GPU the overflow gives infinity. So
the graph is widened to float32, which keeps the size of every value. Then the largest magnitude of each value that is
float16 in the original is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.tensorrt_check.finding import Finding
from export.tensorrt_check.graph import Graph

LARGEST = 65_504.0  # float16: (2 - 2^-10) x 2^15
Item = Mapping[str, NDArray[np.float32] | NDArray[np.int32]]  # the inputs of a graph by name, one item in the batch


@dataclass(frozen=True)
class Range:
    """The largest magnitude of a node's float16 output, and the item that caused it."""

    node: str
    module: str
    operator: str
    largest: float
    item: str


def measure_ranges(model: onnx.ModelProto, items: Mapping[str, Item]) -> list[Range]:
    """Run the graph on each item and return the ranges, largest first; none for a graph without float16."""
    graph = Graph(model)
    nodes = [node for node in graph.nodes if graph.element_type(node.output[0]) == TensorProto.FLOAT16]
    if not nodes:
        return []
    widened = widen(model)
    del widened.graph.output[:]
    for place, node in enumerate(nodes):
        widened.graph.node.append(helper.make_node("Abs", [node.output[0]], [f"magnitude_{place}"]))
        widened.graph.node.append(
            helper.make_node("ReduceMax", [f"magnitude_{place}"], [f"largest_{place}"], keepdims=0)
        )
        widened.graph.output.append(helper.make_tensor_value_info(f"largest_{place}", TensorProto.FLOAT, []))
    content = widened.SerializeToString()
    del widened  # for a large model, each copy is gigabytes
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    del content
    largest = np.stack([session.run(None, dict(item)) for item in items.values()])  # [items, nodes]
    largest = np.nan_to_num(largest, nan=np.inf)
    names = list(items)
    ranges = [
        Range(node.name, graph.module(node), node.op_type, float(column.max()), names[int(column.argmax())])
        for node, column in zip(nodes, largest.T, strict=True)
    ]
    return sorted(ranges, key=lambda found: -found.largest)


def check_ranges(ranges: list[Range]) -> list[Finding]:
    """Return findings of the kind "float16 range"."""
    return [
        Finding(
            "float16 range",
            found.node,
            found.module,
            f"{found.operator} reaches {found.largest:,.0f} on {found.item}; float16 holds at most {LARGEST:,.0f}",
        )
        for found in ranges
        if found.largest > LARGEST
    ]


def widen(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that stores and computes in float32 everything that was float16."""
    widened = onnx.ModelProto()
    widened.CopyFrom(model)
    graph = widened.graph
    del graph.value_info[:]
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen_tensor(attribute.t)
            elif attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    return widened


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
