"""Cross-modal retrieval (MusCALL §5.1): each caption must find its own track, and each track its own caption."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.checkpoint import Checkpoint
from train.data.manifest import Row
from train.evaluate.bootstrap import bootstrap_interval
from train.evaluate.embed import embed_captioned_pairs
from train.evaluate.errors import EvaluationError
from train.evaluate.metrics import RETRIEVAL_STATISTICS, ranks, retrieval_metrics


def evaluate_retrieval(checkpoint: Checkpoint, rows: Sequence[Row], *, seed: int = 0) -> dict[str, Any]:
    """Embed the central window (MusCALL §4.2) and one caption of every row, and score both directions.

    The caption is drawn by `seed`.

    Returns:
        The result of `score_retrieval`.
    """
    audio, text, _ = embed_captioned_pairs(checkpoint, rows, seed=seed)
    return score_retrieval(text @ audio.T, seed=seed)


def score_retrieval(text_to_audio: NDArray[np.float32], *, seed: int) -> dict[str, Any]:
    """Metrics of both directions, with 95 % intervals over queries.

    Args:
        text_to_audio: float [n, n]; caption i belongs to track i.
        seed: seed of the bootstrap.

    Returns:
        {"pairs": n, "text_to_audio": {"R@1": …}, "audio_to_text": {…}, "intervals": {the same with [low, high]}}.
        R@k and mAP@10 are fractions.
    """
    directions = {"text_to_audio": text_to_audio, "audio_to_text": text_to_audio.T}
    intervals = {
        name: {
            metric: bootstrap_interval(ranks(similarity), statistic=statistic, seed=seed)
            for metric, statistic in RETRIEVAL_STATISTICS.items()
        }
        for name, similarity in directions.items()
    }
    scores = {name: retrieval_metrics(similarity) for name, similarity in directions.items()}
    return {"pairs": len(text_to_audio), **scores, "intervals": intervals}


def draw_rows(rows: Sequence[Row], *, pairs: int | None, seed: int) -> list[Row]:
    """Draw `pairs` rows without replacement and keep their order; None takes all rows.

    MusCALL reports retrieval among 1,000 pairs (§5.1). The scores of retrieval fall as the number of candidates grows.

    Raises:
        EvaluationError: there are fewer rows than `pairs`, or `pairs` is less than two.
    """
    if pairs is None:
        return list(rows)
    if not 2 <= pairs <= len(rows):
        raise EvaluationError(f"--pairs is {pairs}; expected 2 to {len(rows)}, the rows of the split")
    chosen = np.random.default_rng(seed).choice(len(rows), size=pairs, replace=False)
    return [rows[i] for i in sorted(chosen)]
