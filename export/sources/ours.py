"""The `ckpt.pt` of `python -m train`."""

from pathlib import Path

from export.sources.source import AudioWindow, Source
from train.checkpoint import load_checkpoint
from train.data.tokenizer import TextTokenizer


def load_ours(path: Path) -> Source:
    """Raises CheckpointError where the checkpoint cannot be used."""
    checkpoint = load_checkpoint(path)
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
