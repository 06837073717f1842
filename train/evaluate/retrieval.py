"""Cross-modal retrieval (MusCALL §4.2): each caption must find its own track, each track its own caption."""

from collections.abc import Sequence

from train.checkpoint import Checkpoint
from train.data.manifest import Row
from train.data.tokenizer import TextTokenizer
from train.evaluate.embed import embed_pairs
from train.evaluate.metrics import retrieval_metrics


def evaluate_retrieval(checkpoint: Checkpoint, rows: Sequence[Row], *, seed: int = 0, workers: int = 0) -> dict:
    """One caption per row, drawn by `seed`, against the first window of every row.

    Returns:
        {"pairs": n, "text_to_audio": {...}, "audio_to_text": {...}} with fractions for R@k and mAP@10.
    """
    model_config = checkpoint.config.model
    tokenizer = TextTokenizer(checkpoint.tokenizer, max_tokens=model_config.text.max_tokens)
    audio, text = embed_pairs(
        checkpoint.build_model(), rows, frontend=model_config.frontend, tokenizer=tokenizer, seed=seed, workers=workers
    )
    text_to_audio = (text @ audio.T).numpy()
    return {
        "pairs": len(rows),
        "text_to_audio": retrieval_metrics(text_to_audio),
        "audio_to_text": retrieval_metrics(text_to_audio.T),
    }
