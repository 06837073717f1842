"""Text triplets (MuLan §4.5): does the text tower put a text nearer to one of its own meaning than to another?"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from train.checkpoint import Checkpoint
from train.evaluate.bootstrap import bootstrap_interval
from train.evaluate.embed import TextEmbedder, embed_texts, open_model
from train.evaluate.metrics import triplets_won
from train.evaluate.questions import read_questions

TEXTS = ("anchor", "positive", "negative")

Triplet = tuple[str, str, str]
"""anchor, positive, negative"""


def read_triplets(path: str | Path) -> list[Triplet]:
    """JSON Lines of {"anchor", "positive", "negative"}.

    Raises:
        EvaluationError: a bad line.
    """
    return [tuple(values[key] for key in TEXTS) for _, values in read_questions(path, texts=TEXTS)]


def evaluate_triplet(checkpoint: Checkpoint, triplets: Sequence[Triplet], *, seed: int = 0) -> dict:
    """The text tower alone; result as `score_triplets`."""
    model, tokenizer = open_model(checkpoint)
    return score_triplets(triplets, embed=partial(embed_texts, model, tokenizer=tokenizer), seed=seed)


def score_triplets(triplets: Sequence[Triplet], *, embed: TextEmbedder, seed: int) -> dict:
    """How many anchors are nearer to their positive; a tie is lost.

    Returns:
        {"triplets": n, "texts": {"accuracy": …}, "intervals": {the same with [low, high]}}.
    """
    anchor, positive, negative = (embed(texts) for texts in zip(*triplets, strict=True))
    won = triplets_won(anchor, positive=positive, negative=negative)
    interval = bootstrap_interval(won, statistic=lambda drawn: drawn.mean(axis=-1), seed=seed)
    return {
        "triplets": len(triplets),
        "texts": {"accuracy": float(won.mean())},
        "intervals": {"texts": {"accuracy": interval}},
    }
