"""Finds shapes that depend on data, and INT64 arithmetic on data.

TensorRT plans all memory from the shapes of the inputs alone. So no shape may depend on the content of the inputs. ONNX
computes shapes in INT64. That costs nothing, because TensorRT computes shapes on the host. On data, INT64 is slow on a
GPU, and TensorRT before 10 does not support it at all. INT32 is enough for data.
"""

from collections.abc import Iterator, Mapping

from onnx import NodeProto, TensorProto

from export.tensorrt_check.finding import Finding
from export.tensorrt_check.graph import Graph

SHAPE_READERS = {"Shape", "Size"}  # their output never depends on data, only on shapes
SHAPE_MAKERS = {"NonZero", "Unique", "Compress", "NonMaxSuppression"}  # the size of their output depends on data
# For each operator, the inputs that decide the shape of its output.
SHAPE_INPUTS = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Loop": (0, 1),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
}
INDEX_INPUTS = {
    "Gather": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "Scatter": (1,),
    "ScatterElements": (1,),
    "ScatterND": (1,),
}
# Operators that move values but compute none.
MOVES = {
    *("Cast", "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Shape"),
    *("Size", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
}


def check_shapes(graph: Graph) -> Iterator[Finding]:
    """Yield findings of the kind "data-dependent shape"."""
    data = _data(graph)
    for node in graph.nodes:
        if node.op_type in SHAPE_MAKERS:
            problem = f"{node.op_type}: the shape of its output depends on the data"
        else:
            operands = _inputs(node, SHAPE_INPUTS)
            guilty = [name for name in operands if name in data]
            if not guilty:
                continue
            problem = f"{node.op_type}: its shape depends on {guilty[0]}, which is computed from data"
        yield Finding("data-dependent shape", node.name, graph.module(node), problem)


def check_integers(graph: Graph) -> Iterator[Finding]:
    """Yield findings of the kind "INT64 compute", except for shape arithmetic and for indices."""
    data = _data(graph)
    for node in graph.nodes:
        if node.op_type in MOVES:
            continue
        free = {*_inputs(node, SHAPE_INPUTS), *_inputs(node, INDEX_INPUTS)}
        for name in node.input:
            if name in data and name not in free and graph.element_type(name) == TensorProto.INT64:
                message = f"{node.op_type} on INT64 data ({name}); cast it to INT32 before"
                yield Finding("INT64 compute", node.name, graph.module(node), message)
                break


def _data(graph: Graph) -> set[str]:
    """Return the values that depend on the content of the inputs, not only on their shapes."""
    data = set(graph.inputs) - graph.constants
    for node in graph.nodes:
        if node.op_type not in SHAPE_READERS and data.intersection(node.input):
            data.update(node.output)
    return data


def _inputs(node: NodeProto, places: Mapping[str, tuple[int, ...]]) -> list[str]:
    return [node.input[place] for place in places.get(node.op_type, ()) if place < len(node.input)]
