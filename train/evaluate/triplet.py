"""Text triplets (MuLan §4.1.4): does the text tower put a text nearer to one of its own meaning than to another?"""

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
    """JSON Lines of {"anchor", "positive", "negative"}.

    Raises:
        EvaluationError: a bad line.
    """
    return [tuple(values[key] for key in TEXTS) for _, values in read_questions(path, texts=TEXTS)]


def evaluate_triplet(checkpoint: Checkpoint, triplets: Sequence[Triplet], *, seed: int = 0) -> dict[str, Any]:
    """The text tower alone; result as `score_triplets`."""
    model, tokenizer = open_model(checkpoint)
    return score_triplets(triplets, embed=partial(embed_texts, model, tokenizer=tokenizer), seed=seed)


def score_triplets(triplets: Sequence[Triplet], *, embed: TextEmbedder, seed: int) -> dict[str, Any]:
    """How many anchors are nearer to their positive; a tie is lost. The interval is over the anchors: the triplets of
    one are no independent queries.

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
