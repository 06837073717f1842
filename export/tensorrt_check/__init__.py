"""Can TensorRT run a graph as it stands? Found out without TensorRT and without a GPU.

`check_graph` gives the findings; `python -m export.tensorrt_check GRAPH` shows them. Where it finds none, a parser of
TensorRT 10 or 11 takes every node, so that the graph becomes one engine: no part of it falls back to another
provider, and the shape profile of its inputs is all that the engine needs.
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
    """What keeps TensorRT 10 or 11 from running `model`; an empty list where nothing does.

    Args:
        model: opset 9 or newer.
        items: for the ranges of float16: the graph's inputs, arrays by name, by the name of the item. Without them
            ranges are not checked.

    Raises:
        ExportError: the types or shapes of the graph cannot be inferred.
    """
    graph = Graph(model)
    findings = [*check_operators(graph), *check_shapes(graph), *check_integers(graph), *check_inputs(model)]
    return findings + (check_ranges(measure_ranges(model, items)) if items else [])


def refuse_unready(name: str, findings: list[Finding]) -> None:
    """Raises ExportError with the first finding, where there is one."""
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise ExportError(f"{name} is not ready for TensorRT: {findings[0]}{more}")
