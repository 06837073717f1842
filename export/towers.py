"""Exports the two graphs: float16 for the heavy arithmetic, float32 at the edges and where range matters.

Float16: the weights of convolutions, linear layers and embeddings, the values between convolutions, and the input of a
linear layer.

Float32: the log-mel front end (power overflows 65,504), LayerNorm, BatchNorm without a convolution before it, softmax,
attention between its linear layers, recurrent layers, pooling, both projections, the L2 norm, and the modules in
`Source.float32`.

torch.autocast makes the same choice at run time. Here it is part of the graph's types. So a GPU runs the graph
unchanged, and TensorRT accepts it as a strongly typed network.

Attention and pooling are float32 for the CPU's sake too. ONNX Runtime's CPU provider has no float16 Conv, MatMul or
Add. It computes them in float32 and removes the casts between them, so nothing is rounded there. But it has float16
Reshape, Transpose, Concat and ReduceMean, and these really round to float16. A difference of 1e-7 between two batch
sizes then grows to a float16 step, 2e-5 to 4e-5 in the embedding. With these operators in float32 nothing is rounded,
and a vector is the same alone and in any batch.

A token id outside the vocabulary is replaced by the nearest valid one, see `clip_token_ids`.
"""

import copy
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
import onnx_ir
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import PreTrainedModel

from export import ExportError
from export.node_names import name_by_module
from export.sources import Model
from train.towers.audio_resnet import AttentionPool, MeanPool

OPSET = 18
MAX_IR_VERSION = 10
# torch.export treats a size of 1 as a constant, so both dynamic axes of the example are larger. The parity check
# (export.parity) tests other sizes.
EXAMPLE_BATCH, EXAMPLE_TOKENS = 5, 8

FLOAT16 = nn.Conv2d | nn.Linear | nn.Embedding
FLOAT32 = nn.BatchNorm2d | nn.LPPool2d | nn.GRU | AttentionPool | MeanPool
FLOAT32_INSTEAD = "; export with --precision fp32, or train with more weight decay"


def check_weights(model: nn.Module) -> None:
    """Raise ExportError if a weight is NaN or infinite."""
    for name, weight in model.state_dict().items():
        if not torch.isfinite(weight).all():
            raise ExportError(
                f"the weight {name} holds NaN or infinity; give a checkpoint from before its training diverged"
            )


def type_float16(model: Model, *, float32: Collection[str] = ()) -> Model:
    """Return a copy with float16 towers as described above; embed_audio and embed_text keep their float32 edges.

    Args:
        float32: the names of modules that stay float32, with everything inside; see `Source.float32`.

    Raises:
        ExportError: a weight is outside the range of float16.
    """
    typed = copy.deepcopy(model).eval()
    towers = [typed.audio_tower, typed.text_tower, *_beside(typed)]
    for tower in towers:
        _fold_batch_norms(tower)
    kept = {id(module) for name in float32 for module in typed.get_submodule(name).modules()}
    for tower in towers:
        type_layers(tower, kept=kept)
    check_range(typed, advice=FLOAT32_INSTEAD)
    return typed


def type_embeddings(model: Model) -> Model:
    """Return a float32 copy with float16 embedding tables; raises ExportError as `type_float16` does."""
    typed = copy.deepcopy(model).eval()
    for module in typed.text_tower.modules():
        if isinstance(module, nn.Embedding):
            module.half().register_forward_hook(lambda _, __, output: output.float())
    check_range(typed, advice=", the type of embeddings in an INT8 text graph; export without --text-int8")
    return typed


def export_audio(model: Model, *, samples: int) -> onnx.ModelProto:
    """Export `waveform` float32 [batch, samples] in -1…1 -> `embedding` float32 [batch, dim], unit L2 norm."""
    waveform = torch.zeros(EXAMPLE_BATCH, samples)
    return trace(_Audio(model), {"waveform": waveform}, outputs=["embedding"], axes={0: Dim("batch")})


def export_text(model: Model, *, max_tokens: int) -> onnx.ModelProto:
    """Export `input_ids`, `attention_mask` int32 [batch, length] -> `embedding` float32 [batch, dim], unit L2 norm.

    The graph accepts any int32 as a token id (`clip_token_ids`).
    """
    ones = torch.ones(EXAMPLE_BATCH, min(EXAMPLE_TOKENS, max_tokens), dtype=torch.int32)
    axes = {0: Dim("batch"), 1: Dim("length", max=max_tokens)}
    example = {"input_ids": ones, "attention_mask": ones.clone()}
    return trace(_Text(model), example, outputs=["embedding"], axes=axes, rewrite=clip_token_ids)


def clip_token_ids(graph: onnx_ir.Graph) -> None:
    """Replace each of a text graph's `input_ids` by the nearest id of the vocabulary.

    A lookup of any other id fails on the CPU. The whole batch fails with it, and a server makes a batch from the texts
    of several callers. On a GPU the lookup reads memory outside the table. The graph uses Max and Min, because
    TensorRT's Clip does not support integers.

    Raises:
        ExportError: the graph does not look up a table by `input_ids`.
    """
    ids = next(value for value in graph.inputs if value.name == "input_ids")
    shapes = [table.shape for lookup in _lookups(ids) if (table := lookup.inputs[0]) and table.shape]
    if not shapes:
        raise ExportError("the text graph has no token embeddings that input_ids selects; expected a tower with them")
    last_id = min(shape.numpy()[0] for shape in shapes) - 1
    bounds = [
        onnx_ir.Value(name=name, const_value=onnx_ir.tensor(np.array(bound, np.int32), name=name))
        for name, bound in (("first_token_id", 0), ("last_token_id", last_id))
    ]
    for bound in bounds:
        graph.register_initializer(bound)
    raised = onnx_ir.node("Max", [ids, bounds[0]], name="clip_token_ids/Max")
    clipped = onnx_ir.node("Min", [raised.outputs[0], bounds[1]], name="clip_token_ids/Min")
    for node, name in ((raised, "raised_token_ids"), (clipped, "token_ids")):
        node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = name, ids.type, ids.shape
    ids.replace_all_uses_with(clipped.outputs[0])
    raised.replace_input_with(0, ids)
    graph.insert_before(graph[0], [raised, clipped])


class _Audio(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> Tensor:
        return self.model.embed_audio(waveform)


class _Text(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model.embed_text(input_ids, attention_mask)


def _beside(model: Model) -> list[nn.Module]:
    """Return the towers beside the audio tower (`train.dual_encoder.Beside`)."""
    beside = getattr(model, "beside", None)
    return list(beside.towers) if beside is not None else []


def _lookups(ids: onnx_ir.Value) -> list[onnx_ir.Node]:
    """Return the nodes that look up a table by these ids, unchanged or cast to another integer type."""
    found = []
    for node, index in ids.uses():
        if node.op_type == "Gather" and index == 1:
            found.append(node)
        elif node.op_type == "Cast":
            found += _lookups(node.outputs[0])
    return found


def check_range(typed: nn.Module, *, advice: str) -> None:
    """Raise ExportError with this advice if a weight is infinite, because it does not fit into its float16 type."""
    for name, weight in typed.named_parameters():
        if not torch.isfinite(weight).all():
            raise ExportError(f"the weight {name} leaves the range of float16 (±65,504){advice}")


def _fold_batch_norms(tower: nn.Module) -> None:
    """Fold each BatchNorm into the convolution before it, in float32, because its variance may not fit float16."""
    for sequence in [module for module in tower.modules() if isinstance(module, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            convolution, norm = sequence[index], sequence[index + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[index] = fuse_conv_bn_eval(convolution, norm)
                sequence[index + 1] = nn.Identity()


def type_layers(tower: nn.Module, *, kept: Collection[int] = ()) -> None:
    """Make the layers of FLOAT16 in `tower` float16, and what reads them float32, except for the ids `kept`."""
    chained = {id(part) for sequence in tower.modules() if isinstance(sequence, nn.Sequential) for part in sequence}
    for module in tower.modules():
        if id(module) in kept:
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
            continue
        if isinstance(module, FLOAT16):
            module.half()
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].half(),))
        # A convolution outside a Sequential makes patches, which no other convolution reads.
        if isinstance(module, FLOAT16) and not (isinstance(module, nn.Conv2d) and id(module) in chained):
            module.register_forward_hook(lambda _, __, output: output.float())
        if isinstance(module, FLOAT32):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(), *inputs[1:]))


def trace(
    graph: nn.Module,
    example: dict[str, Tensor],
    *,
    outputs: Sequence[str],
    axes: dict[int, Dim],
    rewrite: Callable[[onnx_ir.Graph], None] = lambda _: None,
) -> onnx.ModelProto:
    """Export a module as a checked graph whose bytes depend on its weights and nothing else.

    Args:
        example: the module's inputs by the names that they get.
        outputs: the names that its results get, in order.
        axes: the dynamic axes of every input.
        rewrite: changes the graph.

    Raises:
        ExportError: the exporter wrote a newer format than `MAX_IR_VERSION`.
    """
    with torch.no_grad(), quiet(), _plain_attention(graph):
        program = torch.onnx.export(
            graph.eval(),
            tuple(example.values()),
            input_names=list(example),
            dynamic_shapes=(axes,) * len(example),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model
    _name_outputs(model.graph, outputs)
    _cast_before_relu(model.graph)
    name_by_module(model.graph)
    rewrite(model.graph)
    _strip_notes(model)
    proto = onnx_ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    if proto.ir_version > MAX_IR_VERSION:
        raise ExportError(f"the exporter wrote IR version {proto.ir_version}; expected at most {MAX_IR_VERSION}")
    return proto


def _name_outputs(graph: onnx_ir.Graph, names: Sequence[str]) -> None:
    """Name the outputs; torch also calls the result of every token lookup `embedding`, and names must be unique."""
    for node in graph:
        for value in node.outputs:
            if value.name in names:
                value.name = f"token_{value.name}"
    for output, name in zip(graph.outputs, names, strict=True):
        output.name = name


def _cast_before_relu(graph: onnx_ir.Graph) -> None:
    """Replace Relu -> Cast to float32 by Cast -> Relu, which is the same function.

    If a Cast follows a float16 Relu, ONNX Runtime's CPU provider runs the Relu in float16 and rounds.
    """
    for cast in [node for node in graph if node.op_type == "Cast"]:
        narrow, wide = cast.inputs[0], cast.outputs[0]
        relu = narrow.producer() if narrow else None
        if (
            narrow is None
            or relu is None
            or relu.op_type != "Relu"
            or len(narrow.uses()) > 1
            or wide.dtype != onnx_ir.DataType.FLOAT
        ):
            continue
        wide.replace_all_uses_with(narrow)
        cast.replace_input_with(0, relu.inputs[0])
        relu.replace_input_with(0, wide)
        narrow.dtype = wide.dtype
        graph.remove(relu)
        graph.insert_after(cast, relu)


def _strip_notes(model: onnx_ir.Model) -> None:
    """Remove stack traces and other metadata: they contain local paths, and equal models must give equal bytes."""
    for part in (model, model.graph, *model.graph, *model.graph.inputs, *model.graph.outputs):
        part.metadata_props.clear()
        part.doc_string = None
    for node in model.graph:
        for value in node.outputs:
            value.metadata_props.clear()


@contextmanager
def _plain_attention(graph: nn.Module) -> Iterator[None]:
    """Use transformers' eager attention, because torch's fused one is exported with NaN checks after each softmax."""
    fused = [
        module
        for module in graph.modules()
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation == "sdpa"
    ]
    for module in fused:
        module.set_attn_implementation("eager")
    try:
        yield
    finally:
        for module in fused:
            module.set_attn_implementation("sdpa")


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the exporter's messages about optional packages and its own deprecations."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
