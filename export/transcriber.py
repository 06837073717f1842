"""Exports a lyrics transcriber, the `ckpt.pt` of `python -m train.lyrics`, as one graph and its Triton model."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from export import ExportError
from export.output_folder import read_files, replace_folder
from export.parity_data import load_windows
from export.sources import AudioWindow
from export.tensorrt_check import check_graph, refuse_unready
from export.towers import check_weights
from export.transcriber_graph import export_graph, output_shapes, type_transcriber
from export.transcriber_parity import TranscriberParity, check_transcriber
from export.triton_config import TranscriberParameters, write_transcriber_config
from singing.alphabet import CHARACTERS
from train.checkpoint import CheckpointError, read_tensors
from train.lyrics.checkpoint import KIND, load_lyrics_checkpoint

MODEL = "lyrics_transcriber"
GRAPH = f"{MODEL}/1/model.onnx"
FILES = frozenset({f"{MODEL}/config.pbtxt", GRAPH, f"{MODEL}/parity.json"})


@dataclass(frozen=True)
class ExportedTranscriber:
    """The result of an export: the parity of the graph, its size in bytes, and its fingerprint.

    Args:
        voice_share: share of the training windows that had a separated voice, which it then needs in use too.
    """

    parity: TranscriberParity
    size: int
    fingerprint: str
    voice_share: float


def holds_transcriber(path: Path) -> bool:
    """Tell whether the file is a checkpoint of `python -m train.lyrics`; False for one that cannot be read."""
    if not os.path.isfile(path):  # also False where it may not be looked at, which Path.is_file raises
        return False
    try:
        content = read_tensors(path)
    except CheckpointError:
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def export_transcriber(
    checkpoint: Path, *, out: Path, others: frozenset[str], parity_data: Path, precision: str = "fp16"
) -> ExportedTranscriber:
    """Write the transcriber into the model repository `out`, or change nothing.

    Args:
        others: files of other models in `out`, which stay.
        parity_data: a manifest of music to compare with torch on.
        precision: "fp16" or "fp32", of the convolutions.

    Raises:
        ExportError: the checkpoint's method needs to be told the notes, `out` cannot be replaced, a weight is not
            usable, or the graph failed the parity check or TensorRT's check.
        CheckpointError: the checkpoint cannot be used.
        ManifestError: the manifest cannot be read.
        AudioDecodeError: an audio file of the manifest cannot be read.
    """
    trained = load_lyrics_checkpoint(checkpoint)
    model = trained.build_model()
    method, frontend = model.config.method, model.config.frontend
    if method == "oracle":
        raise ExportError(
            f'{checkpoint} has the method "oracle", which needs the true notes, but nobody knows these of a new song; '
            "export a multi-task or a baseline"
        )
    check_weights(model)
    window = AudioWindow(frontend.sample_rate_hz, frontend.window_samples)
    windows = load_windows(parity_data, window=window)

    typed = type_transcriber(model) if precision == "fp16" else None
    graph = export_graph(typed or model)
    refuse_unready(MODEL, check_graph(graph, items={name: {"waveforms": w[None]} for name, w in windows.items()}))
    content = graph.SerializeToString(deterministic=True)
    parity = check_transcriber(content, windows, model=model, typed=typed, precision=precision)
    parameters = TranscriberParameters(
        sample_rate_hz=window.sample_rate_hz,
        window_samples=window.samples,
        characters=CHARACTERS,
        method=method,
        model_name=f"lyrics transcriber, {method}",
        fingerprint=hashlib.sha256(content).hexdigest(),
        parity_error=f"{parity.worst_error:.6f}",
    )
    config = write_transcriber_config(parameters, outputs=output_shapes(graph))
    files = {
        f"{MODEL}/config.pbtxt": config.encode(),
        GRAPH: content,
        f"{MODEL}/parity.json": parity.to_json(parameters).encode(),
    }
    replace_folder(out, read_files(out, others) | files)
    return ExportedTranscriber(parity, len(content), parameters.fingerprint, trained.voice_share)
