"""What a check has to say."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One reason why TensorRT cannot run a graph.

    Attributes:
        kind: "operator", "type", "opset", "data-dependent shape", "INT64 compute", "dynamic axis" or "float16 range".
        node: the offending node, or the input.
        module: the part of the torch model that it came from, "" where it is not known.
        message: what was found and what was expected.
    """

    kind: str
    node: str
    module: str
    message: str

    def __str__(self) -> str:
        place = f"{self.node} in {self.module}" if self.module else self.node
        return f"{place}: {self.message}"
