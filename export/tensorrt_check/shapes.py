"""Shapes that depend on data, and arithmetic on INT64 values that do.

TensorRT fixes all memory from the shapes of the inputs alone, so no shape may depend on what is in them. INT64 is what
ONNX computes shapes with; there it costs nothing, as TensorRT does that on the host. On data it would be slow on a GPU
(and TensorRT before 10 has no INT64 at all), where INT32 does.
"""

from collections.abc import Iterator, Mapping

from onnx import NodeProto, TensorProto

from export.tensorrt_check.finding import Finding
from export.tensorrt_check.graph import Graph

SHAPE_READERS = {"Shape", "Size"}  # what they make depends on no data, whatever they read
SHAPE_MAKERS = {"NonZero", "Unique", "Compress", "NonMaxSuppression"}  # how much they make depends on the data
# Operator -> the inputs that decide the shape of what it makes.
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
# They move values and compute none.
MOVES = {
    *("Cast", "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Shape"),
    *("Size", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
}


def check_shapes(graph: Graph) -> Iterator[Finding]:
    """Findings of the kind "data-dependent shape"."""
    data = _data(graph)
    for node in graph.nodes:
        if node.op_type in SHAPE_MAKERS:
            problem = f"{node.op_type}: the shape of its output depends on the data"
        else:
            operands = _inputs(node, SHAPE_INPUTS)
            guilty = [name for name in operands if name in data]
            if not guilty:
                continue
            problem = f"{node.op_type}: {guilty[0]}, which decides its shape, is computed from data"
        yield Finding("data-dependent shape", node.name, graph.module(node), problem)


def check_integers(graph: Graph) -> Iterator[Finding]:
    """Findings of the kind "INT64 compute": shape arithmetic, and indices into something, are none."""
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
    """The values that depend on what is in the inputs, and not on their shapes alone."""
    data = set(graph.inputs) - graph.constants
    for node in graph.nodes:
        if node.op_type not in SHAPE_READERS and data.intersection(node.input):
            data.update(node.output)
    return data


def _inputs(node: NodeProto, places: Mapping[str, tuple[int, ...]]) -> list[str]:
    return [node.input[place] for place in places.get(node.op_type, ()) if place < len(node.input)]
