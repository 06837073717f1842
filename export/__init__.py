"""Turns ckpt.pt into model_repository/: two ONNX graphs, the tokenizer and the Triton configuration."""

import importlib.util
import os

if importlib.util.find_spec("onnx") is None:
    raise ModuleNotFoundError(
        "the exporter needs ONNX and PyTorch, which are not all installed: run `make test` once in a checkout, "
        "or pip install 'musicsearch[train,export]'"
    )

# ONNX Runtime 1.29 and newer report usage to Microsoft unless this variable is set before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class ExportError(RuntimeError):
    """The export failed and nothing was written. The message is one sentence for the user."""
