"""Learn an audio-text dual encoder from a manifest of (audio, captions) rows."""

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise ModuleNotFoundError(
        "training and export need PyTorch, which is not installed: run `make test` once in a checkout, or "
        "pip install 'musicsearch[train,export]'"
    )
