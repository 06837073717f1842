"""Loads the `ckpt.pt` of `python -m train`."""

from pathlib import Path
from typing import Any

from export.sources.source import AudioWindow, Source
from train.checkpoint import check_content
from train.data.tokenizer import TextTokenizer
from train.towers.audio_musicnn import drop_dead_filters


def load_ours(content: Any, *, path: Path) -> Source:
    """Turn the result of `read_tensors(path)` into a Source; raises CheckpointError if it cannot be used."""
    checkpoint = check_content(content, path=path)
    config = checkpoint.config.model
    model = checkpoint.build_model()
    drop_dead_filters(model)
    return Source(
        model=model,
        tokenizer=TextTokenizer(checkpoint.tokenizer, max_tokens=config.text.max_tokens),
        name=config.name,
        window=AudioWindow(config.frontend.sample_rate_hz, config.frontend.window_samples),
        embedding_dim=config.vector_size,
        max_text_tokens=config.text.max_tokens,
        metrics=checkpoint.metrics,
        provenance=checkpoint.provenance,
    )
