"""Text triplets (MuLan §4.1.4): is the anchor text nearer to a text of the same meaning than to another text?"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from train.checkpoint import Checkpoint
from train.evaluate.bootstrap import bootstrap_interval
from train.evaluate.embed import TextEmbedder, embed_texts, open_model
from train.evaluate.metrics import triplets_won
from train.evaluate.questions import read_questions

TEXTS = ("anchor", "positive", "negative")

Triplet = tuple[str, str, str]
"""anchor, positive, negative"""


def read_triplets(path: str | Path) -> list[Triplet]:
    """Read triplets from JSON Lines of {"anchor", "positive", "negative"}.

    Raises:
        EvaluationError: a bad line.
    """
    return [tuple(values[key] for key in TEXTS) for _, values in read_questions(path, texts=TEXTS)]


def evaluate_triplet(checkpoint: Checkpoint, triplets: Sequence[Triplet], *, seed: int = 0) -> dict[str, Any]:
    """Score the triplets with the checkpoint's text tower, as `score_triplets` does."""
    model, tokenizer = open_model(checkpoint)
    return score_triplets(triplets, embed=partial(embed_texts, model, tokenizer=tokenizer), seed=seed)


def score_triplets(triplets: Sequence[Triplet], *, embed: TextEmbedder, seed: int) -> dict[str, Any]:
    """Share of triplets whose anchor is nearer to the positive than to the negative. A tie is wrong.

    The interval is over anchors, because triplets with the same anchor are not independent.

    Returns:
        {"triplets": n, "anchors": how many, "texts": {"accuracy": …}, "intervals": {the same with [low, high]}}.
    """
    texts = list(dict.fromkeys(text for triplet in triplets for text in triplet))
    place = {text: i for i, text in enumerate(texts)}
    vectors = embed(texts)
    anchor, positive, negative = (vectors[[place[text] for text in column]] for column in zip(*triplets, strict=True))
    won = triplets_won(anchor, positive=positive, negative=negative)
    _, own = np.unique([place[triplet[0]] for triplet in triplets], return_inverse=True)
    asked, right = np.bincount(own), np.bincount(own, weights=won)
    interval = bootstrap_interval(
        np.arange(len(asked)),
        statistic=lambda drawn: right[drawn].sum(axis=-1) / asked[drawn].sum(axis=-1),
        seed=seed,
    )
    return {
        "triplets": len(triplets),
        "anchors": len(asked),
        "texts": {"accuracy": float(won.mean())},
        "intervals": {"texts": {"accuracy": interval}},
    }
