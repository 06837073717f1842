"""ckpt.pt -> model_repository/: two ONNX graphs, the tokenizer and the Triton configuration."""

import os

# From 1.29 on, ONNX Runtime reports usage to Microsoft unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class ExportError(RuntimeError):
    """Nothing was written; the message is one sentence for the user."""
