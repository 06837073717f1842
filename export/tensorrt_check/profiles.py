"""The shapes that an engine is built for: TensorRT wants the smallest, the usual and the largest of every input."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from export.tensorrt_check.finding import Finding

MAX_BATCH = 64  # what Triton batches at most
USUAL_BATCH = 32  # what the client sends while it indexes
USUAL_TOKENS = 16  # the shortest length that text_tokenizer pads to, and most queries fit it
BATCH, LENGTH = "batch", "length"  # the only dynamic axes: the first of every input, the second of token ids


@dataclass(frozen=True)
class Profile:
    """Shapes as TensorRT's tools and ONNX Runtime's options write them: `name:1x16,other:1x16`."""

    minimum: str
    usual: str
    maximum: str


def profile_of(inputs: Mapping[str, Sequence[int | str]], *, max_tokens: int) -> Profile:
    """Args: inputs: the shape of each by its name, with BATCH and LENGTH where an axis is dynamic."""
    usual = min(USUAL_TOKENS, max_tokens)
    return Profile(
        _shapes(inputs, {BATCH: 1, LENGTH: 1}),
        _shapes(inputs, {BATCH: USUAL_BATCH, LENGTH: usual}),
        _shapes(inputs, {BATCH: MAX_BATCH, LENGTH: max_tokens}),
    )


def input_shapes(model: onnx.ModelProto) -> dict[str, list[int | str]]:
    """Each input's axes: a size, or the name of a dynamic axis ("" where it has none)."""
    return {
        value.name: [
            axis.dim_value if axis.HasField("dim_value") else axis.dim_param
            for axis in value.type.tensor_type.shape.dim
        ]
        for value in model.graph.input
    }


def check_inputs(model: onnx.ModelProto) -> Iterator[Finding]:
    """Findings of the kind "dynamic axis"."""
    for name, shape in input_shapes(model).items():
        for axis, size in enumerate(shape):
            if isinstance(size, str) and (axis, size) not in ((0, BATCH), (1, LENGTH)):
                message = (
                    f"its axis {axis} is dynamic ({size or 'without a name'}); a profile is known for the first axis, "
                    f"{BATCH!r}, and a second one, {LENGTH!r}, of token ids"
                )
                yield Finding("dynamic axis", name, "", message)


def _shapes(inputs: Mapping[str, Sequence[int | str]], sizes: Mapping[str, int]) -> str:
    return ",".join(
        f"{name}:{'x'.join(str(sizes[axis] if isinstance(axis, str) else axis) for axis in shape)}"
        for name, shape in inputs.items()
    )
