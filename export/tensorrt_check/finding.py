"""The result of a check."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One reason why TensorRT cannot run a graph.

    Attributes:
        kind: "operator", "type", "opset", "data-dependent shape", "INT64 compute", "dynamic axis" or "float16 range".
        node: the node or input with the problem.
        module: the torch module that the node came from, "" if it is not known.
        message: what was found and what was expected.
    """

    kind: str
    node: str
    module: str
    message: str

    def __str__(self) -> str:
        place = f"{self.node} in {self.module}" if self.module else self.node
        return f"{place}: {self.message}"
