"""ckpt.pt -> model_repository/: two ONNX graphs, the tokenizer and the Triton configuration."""

import importlib.util
import os

if importlib.util.find_spec("onnx") is None:
    raise ModuleNotFoundError(
        "the exporter needs ONNX and PyTorch, which the search package does without: run `make test` once in a "
        "checkout, or pip install 'musicsearch[train,export]'"
    )

# From 1.29 on, ONNX Runtime reports usage to Microsoft unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class ExportError(RuntimeError):
    """Nothing was written; the message is one sentence for the user."""
