"""The transcriber's graph: float16 for its convolutions, float32 for all else.

With the paper's sizes the convolutions are three quarters of the products and hold a sixtieth of the weights. These
stay float32: the log-mel front end, instance norm (a sum over 80,000 cells, whose variance may be tiny), layer norm,
the LSTMs (500 steps add their rounding up, and ONNX Runtime's CPU provider has none in float16), the output layers, and
what becomes a probability.

The graph has the outputs of its method. A baseline has no notes. A network of pitch and onset has no words.
"""

import copy

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from export.towers import EXAMPLE_BATCH, FLOAT32_INSTEAD, check_range, trace, type_layers
from train.lyrics.networks import LyricsModel


def type_transcriber(model: LyricsModel) -> LyricsModel:
    """Return a copy whose convolutions compute in float16.

    Raises:
        ExportError: a weight is outside the range of float16.
    """
    typed = copy.deepcopy(model).eval()
    for network in (typed.pitch_onset, typed.transcriber):
        if network is not None:
            type_layers(network.convolutions)
    check_range(typed, advice=FLOAT32_INSTEAD)
    return typed


class Probabilities(nn.Module):
    """A transcriber with the outputs of its method, ready to be decoded."""

    def __init__(self, model: LyricsModel) -> None:
        super().__init__()
        self.model = model
        has_notes, has_words = model.pitch_onset is not None, model.transcriber is not None
        self.names = ("characters",) * has_words + ("pitch", "onset") * has_notes

    def forward(self, waveforms: Tensor) -> tuple[Tensor, ...]:
        """Waveforms -> probabilities, in the order of `names`.

        Args:
            waveforms: float32 [batch, 2, window_samples] in -1…1.

        Returns:
            float32: natural logarithms of the characters' probabilities, [batch, 34, frames / 2], and the probabilities
            of pitch, [batch, 129, frames], and onset, [batch, frames].
        """
        estimates = self.model(waveforms)
        outputs = []
        if estimates.characters is not None:
            outputs.append(estimates.characters.log_softmax(dim=1))
        if estimates.pitch is not None and estimates.onset is not None:
            outputs += [estimates.pitch.softmax(dim=1), estimates.onset.squeeze(1).sigmoid()]
        return tuple(outputs)


def export_graph(model: LyricsModel) -> onnx.ModelProto:
    """Export `waveforms` float32 [batch, 2, window_samples] in -1…1 -> what `Probabilities` gives, by its names."""
    graph = Probabilities(model).eval()
    waveforms = torch.zeros(EXAMPLE_BATCH, 2, model.config.frontend.window_samples)
    return trace(graph, {"waveforms": waveforms}, outputs=graph.names, axes={0: Dim("batch")})


def output_shapes(graph: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the sizes of each output without the batch axis, by name."""
    return {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]] for value in graph.graph.output
    }
