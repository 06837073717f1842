"""The `ckpt.pt` of `python -m train`."""

from pathlib import Path
from typing import Any

from export.sources.source import AudioWindow, Source
from train.checkpoint import check_content
from train.data.tokenizer import TextTokenizer


def load_ours(content: Any, *, path: Path) -> Source:
    """What `read_tensors` gave for `path`; raises CheckpointError where it cannot be used."""
    checkpoint = check_content(content, path=path)
    config = checkpoint.config.model
    return Source(
        model=checkpoint.build_model(),
        tokenizer=TextTokenizer(checkpoint.tokenizer, max_tokens=config.text.max_tokens),
        name=config.name,
        window=AudioWindow(config.frontend.sample_rate_hz, config.frontend.window_samples),
        embedding_dim=config.embedding_dim,
        max_text_tokens=config.text.max_tokens,
        metrics=checkpoint.metrics,
        provenance=checkpoint.provenance,
    )
