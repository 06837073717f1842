"""Wraps a graph for the checks: the types of its values, the node that makes each, and the torch module of a node."""

from collections.abc import Callable, Iterator
from typing import Any

import onnx
from onnx import NodeProto, TensorProto, TypeProto, helper

from export import ExportError


class Graph:
    """The main graph of a model, with inferred types.

    Attributes:
        nodes: in the order of computation, without those of subgraphs.
        constants: names of initializers and of the outputs of Constant nodes.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        try:
            onnx.checker.check_model(model)
            inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
            raise ExportError(f"not a valid graph: {str(exc).strip().splitlines()[0]}") from exc
        self.nodes = list(inferred.node)
        self.inputs = [value.name for value in inferred.input]
        self.opsets = {entry.domain.removesuffix("ai.onnx"): entry.version for entry in model.opset_import}
        self._types: dict[str, TypeProto.Tensor] = {
            value.name: value.type.tensor_type for value in (*inferred.value_info, *inferred.input, *inferred.output)
        }
        self._initializers: dict[str, TensorProto] = {tensor.name: tensor for tensor in inferred.initializer}
        made_here = {node.output[0] for node in self.nodes if node.op_type == "Constant"}
        self.constants = self._initializers.keys() | made_here
        self._makers: dict[str, NodeProto] = {name: node for node in self.nodes for name in node.output}

    def element_type(self, value: str) -> int:
        """Return the TensorProto type; UNDEFINED if it is not known."""
        if value in self._initializers:
            return self._initializers[value].data_type
        return self._types[value].elem_type if value in self._types else TensorProto.UNDEFINED

    def rank(self, value: str) -> int | None:
        if value in self._initializers:
            return len(self._initializers[value].dims)
        known = value in self._types and self._types[value].HasField("shape")
        return len(self._types[value].shape.dim) if known else None

    def module(self, node: NodeProto) -> str:
        """Return the torch module that a node came from, such as `audio_tower.stages.0.body.0.0`.

        This is the scope in the node's name, if it has one (`scope/name`). Otherwise it is the module of the parameters
        that the node reads. If it reads none, the nearest node before it that reads parameters decides, then the
        nearest after it.
        """
        scope, slash, _ = node.name.rpartition("/")
        if slash:
            return scope
        for nodes in (self._walk(node, self._before), self._walk(node, self._after)):
            for near in nodes:
                for name in near.input:
                    module: str = name.rpartition(".")[0]
                    if module and name in self._initializers:
                        return module.removeprefix("model.")
        return ""

    def _walk(self, start: NodeProto, neighbours: Callable[[NodeProto], list[NodeProto]]) -> Iterator[NodeProto]:
        """Yield the nodes by their distance from `start`, beginning with `start`."""
        queue, seen = [start], {start.output[0]}
        for node in queue:
            yield node
            for near in neighbours(node):
                if near.output[0] not in seen:
                    seen.add(near.output[0])
                    queue.append(near)

    def _before(self, node: NodeProto) -> list[NodeProto]:
        return [self._makers[name] for name in node.input if name in self._makers]

    def _after(self, node: NodeProto) -> list[NodeProto]:
        return [other for other in self.nodes if set(node.output) & set(other.input)]


def subgraph_nodes(node: NodeProto) -> Iterator[NodeProto]:
    """Yield the nodes in the bodies of an If, Loop or Scan, at any depth."""
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                yield inner
                yield from subgraph_nodes(inner)


def attributes(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
