"""Checks without TensorRT and without a GPU whether TensorRT can run a graph unchanged.

`check_graph` returns the findings; `python -m export.tensorrt_check GRAPH` shows them. If there are none, the parser of
TensorRT 10 or 11 accepts every node, so the graph becomes one engine. No part of it falls back to another provider. The
engine needs only the shape profile of the inputs.
"""

from collections.abc import Mapping

import onnx

from export import ExportError
from export.tensorrt_check.finding import Finding
from export.tensorrt_check.graph import Graph
from export.tensorrt_check.operators import check_operators
from export.tensorrt_check.profiles import check_inputs
from export.tensorrt_check.ranges import Item, check_ranges, measure_ranges
from export.tensorrt_check.shapes import check_integers, check_shapes

__all__ = ["Finding", "check_graph", "refuse_unready"]


def check_graph(model: onnx.ModelProto, *, items: Mapping[str, Item] | None = None) -> list[Finding]:
    """Return the reasons why TensorRT 10 or 11 cannot run `model`; an empty list if there are none.

    Args:
        model: an ONNX model with opset 9 or newer.
        items: the graph's inputs, arrays by name, by the name of the item. They are needed to measure the float16
            ranges. Without them the ranges are not checked.

    Raises:
        ExportError: the types or shapes of the graph cannot be inferred.
    """
    graph = Graph(model)
    findings = [*check_operators(graph), *check_shapes(graph), *check_integers(graph), *check_inputs(model)]
    return findings + (check_ranges(measure_ranges(model, items)) if items else [])


def refuse_unready(name: str, findings: list[Finding]) -> None:
    """Raise ExportError with the first finding, if there is one."""
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise ExportError(f"{name} is not ready for TensorRT: {findings[0]}{more}")
