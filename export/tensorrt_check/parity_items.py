"""Makes inputs for a graph in an exported repository from music with captions."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export import ExportError
from export.parity_data import load_parity_data, load_windows
from export.sources import AudioWindow
from export.tensorrt_check.ranges import Item
from train.data.tokenizer import TextTokenizer

LONGEST_PADDING = 77  # tokens; the longest that text_tokenizer pads to, whatever the model's maximum


def load_items(graph: Path, *, manifest: Path) -> dict[str, Item]:
    """Load windows for a graph with the input `waveform` or `waveforms`, token ids for other graphs, by name.

    Raises:
        ExportError: `graph` is not in an exported repository, or the manifest has too few items.
        ManifestError: the manifest cannot be read.
        AudioDecodeError: an audio file cannot be read.
    """
    config = _read_config(graph)
    if config is None:
        raise ExportError(
            f"--parity-data needs to know the sample rate and the tokenizer: expected {graph} in an exported "
            "repository, at MODEL/VERSION/model.onnx beside MODEL/config.pbtxt"
        )
    values = {name: parameter.string_value for name, parameter in config.parameters.items()}
    try:
        window = AudioWindow(int(values["sample_rate_hz"]), int(values["window_samples"]))
        if any(tensor.name == "waveforms" for tensor in config.input):  # a lyrics transcriber's
            windows = load_windows(manifest, window=window)
            return {name: {"waveforms": both[None]} for name, both in windows.items()}
        max_tokens = int(values["max_text_tokens"])
    except KeyError as exc:
        raise ExportError(
            f"{_config_path(graph)} has no parameter {exc}; expected a configuration that export/to_onnx.py wrote"
        ) from exc
    data = load_parity_data(manifest, window=window)
    if any(tensor.name == "waveform" for tensor in config.input):
        return {name: {"waveform": waveform[None]} for name, waveform in data.windows.items()}
    file = graph.resolve().parents[2] / "text_tokenizer/1/tokenizer.json"
    if not file.is_file():
        raise ExportError(f"{file} does not exist; expected the tokenizer of an exported repository")
    return token_items(data.texts, tokenizer=TextTokenizer(file.read_text(encoding="utf-8"), max_tokens=max_tokens))


def token_items(texts: Iterable[str], *, tokenizer: TextTokenizer) -> dict[str, Item]:
    """Return the inputs of the text graph, without padding; the names are the number and the start of each text."""
    items: dict[str, Item] = {}
    for place, text in enumerate(texts):
        ids, mask = (part.numpy().astype(np.int32) for part in tokenizer([text]))
        items[f"text {place}, “{text[:60]}”"] = {"input_ids": ids, "attention_mask": mask}
    return items


def max_tokens_of(graph: Path) -> int:
    """Return the model's parameter `max_text_tokens`, or LONGEST_PADDING for a graph outside a repository."""
    config = _read_config(graph)
    if config is None or "max_text_tokens" not in config.parameters:
        return LONGEST_PADDING
    return int(config.parameters["max_text_tokens"].string_value)


def _config_path(graph: Path) -> Path:
    return graph.resolve().parents[1] / "config.pbtxt"


def _read_config(graph: Path) -> ModelConfig | None:
    path = _config_path(graph)
    if not path.is_file():
        return None
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
    except text_format.ParseError as exc:
        raise ExportError(f"{path} is not a Triton configuration: {exc}") from exc
