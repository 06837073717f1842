"""The shape profiles of an engine: TensorRT needs the smallest, the usual and the largest shape of every input."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from export.tensorrt_check.finding import Finding

MAX_BATCH = 64  # Triton's maximum batch size
USUAL_BATCH = 32  # the client's batch size during indexing
USUAL_TOKENS = 16  # the shortest length that text_tokenizer pads to; most queries fit
BATCH, LENGTH = "batch", "length"  # the only dynamic axes: the first of every input, the second of token ids


@dataclass(frozen=True)
class Profile:
    """Shapes in the format of TensorRT's tools and ONNX Runtime's options: `name:1x16,other:1x16`."""

    minimum: str
    usual: str
    maximum: str


def profile_of(
    inputs: Mapping[str, Sequence[int | str]],
    *,
    max_tokens: int,
    usual_batch: int = USUAL_BATCH,
    max_batch: int = MAX_BATCH,
) -> Profile:
    """Return the profile of a graph.

    Args:
        inputs: the shape of each input by its name, with BATCH and LENGTH for the dynamic axes.
        max_tokens: the largest LENGTH.
        usual_batch: the usual BATCH.
        max_batch: the largest BATCH.
    """
    usual = min(USUAL_TOKENS, max_tokens)
    return Profile(
        _shapes(inputs, {BATCH: 1, LENGTH: 1}),
        _shapes(inputs, {BATCH: usual_batch, LENGTH: usual}),
        _shapes(inputs, {BATCH: max_batch, LENGTH: max_tokens}),
    )


def input_shapes(model: onnx.ModelProto) -> dict[str, list[int | str]]:
    """Return the axes of each input: a size, or the name of a dynamic axis ("" if it has no name)."""
    return {
        value.name: [
            axis.dim_value if axis.HasField("dim_value") else axis.dim_param
            for axis in value.type.tensor_type.shape.dim
        ]
        for value in model.graph.input
    }


def check_inputs(model: onnx.ModelProto) -> Iterator[Finding]:
    """Yield findings of the kind "dynamic axis"."""
    for name, shape in input_shapes(model).items():
        for axis, size in enumerate(shape):
            if isinstance(size, str) and (axis, size) not in ((0, BATCH), (1, LENGTH)):
                message = (
                    f"its axis {axis} is dynamic ({size or 'without a name'}); only the first axis, {BATCH!r}, "
                    f"and the second axis of token ids, {LENGTH!r}, have a profile"
                )
                yield Finding("dynamic axis", name, "", message)


def _shapes(inputs: Mapping[str, Sequence[int | str]], sizes: Mapping[str, int]) -> str:
    return ",".join(
        f"{name}:{'x'.join(str(sizes[axis] if isinstance(axis, str) else axis) for axis in shape)}"
        for name, shape in inputs.items()
    )
