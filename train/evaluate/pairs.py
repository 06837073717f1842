"""Which of two tracks is higher in arousal or valence (MusAV, Bogdanov et al. 2022), from prompts alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from train.checkpoint import Checkpoint
from train.data.manifest import Row
from train.evaluate.bootstrap import bootstrap_interval
from train.evaluate.embed import TextEmbedder, embed_texts, embed_tracks, open_model
from train.evaluate.errors import EvaluationError
from train.evaluate.metrics import pairs_ordered
from train.evaluate.prompts import normalised_mean
from train.evaluate.questions import find_track, number_tracks, read_questions

PROMPTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "arousal": (
        ("energetic music", "an exciting, intense track", "fast, loud and powerful music", "agitated, driving music"),
        ("calm music", "a relaxing, peaceful track", "slow, quiet and gentle music", "sleepy, still music"),
    ),
    "valence": (
        ("happy music", "a cheerful, joyful track", "bright, positive music", "uplifting music in a good mood"),
        ("sad music", "a melancholic, sorrowful track", "dark, negative music", "gloomy music in a bad mood"),
    ),
}
"""Attribute -> prompts of its high end, prompts of its low end."""


@dataclass(frozen=True)
class Comparison:
    """Numbers of two tracks' rows, and whether the first is the higher one."""

    first: int
    second: int
    attribute: str
    first_is_higher: bool


def read_comparisons(path: str | Path, *, rows: Sequence[Row]) -> list[Comparison]:
    """JSON Lines of {"first": track_id, "second": track_id, "attribute": "arousal" or "valence", "higher": "first" or
    "second"}.

    Raises:
        EvaluationError: a bad line, a track that the rows lack, or a track compared with itself.
    """
    numbers = number_tracks(rows)
    comparisons = []
    for where, values in read_questions(path, texts=("attribute", "higher")):
        first, second = (find_track(values.get(key), numbers=numbers, where=where) for key in ("first", "second"))
        for key, allowed in (("attribute", tuple(PROMPTS)), ("higher", ("first", "second"))):
            if values[key] not in allowed:
                raise EvaluationError(f"{where}: {key!r} is {values[key]!r}; expected {' or '.join(allowed)}")
        if first == second:
            raise EvaluationError(f"{where}: both tracks are {values['first']!r}; expected two different ones")
        comparisons.append(Comparison(first, second, values["attribute"], values["higher"] == "first"))
    return comparisons


def evaluate_pairs(
    checkpoint: Checkpoint, rows: Sequence[Row], *, comparisons: Sequence[Comparison], seed: int = 0
) -> dict:
    """The tracks that are compared, by their three windows; result as `score_comparisons`."""
    model, tokenizer = open_model(checkpoint)
    compared = sorted({place for each in comparisons for place in (each.first, each.second)})
    vectors = embed_tracks(model, [rows[place] for place in compared], workers=checkpoint.config.optim.workers)
    tracks = dict(zip(compared, vectors, strict=True))
    embed = partial(embed_texts, model, tokenizer=tokenizer)
    return score_comparisons(tracks, comparisons=comparisons, embed=embed, seed=seed)


def score_comparisons(
    tracks: Mapping[int, np.ndarray], *, comparisons: Sequence[Comparison], embed: TextEmbedder, seed: int
) -> dict:
    """Accuracy per attribute; a track's score is its cosine to the high end less that to the low end, a tie is lost.

    Args:
        tracks: number of a row -> float [dim], unit L2 norm.

    Returns:
        {"pairs": n, attribute: {"accuracy": …}, "intervals": {the same with [low, high]}}.
    """
    scores, intervals = {}, {}
    for attribute, (high, low) in PROMPTS.items():
        asked = [each for each in comparisons if each.attribute == attribute]
        if not asked:
            continue
        direction = normalised_mean(embed(high)) - normalised_mean(embed(low))
        first, second = (
            np.array([tracks[getattr(each, key)] @ direction for each in asked]) for key in ("first", "second")
        )
        won = pairs_ordered(first, second=second, first_is_higher=np.array([each.first_is_higher for each in asked]))
        scores[attribute] = {"accuracy": float(won.mean())}
        interval = bootstrap_interval(won, statistic=lambda drawn: drawn.mean(axis=-1), seed=seed)
        intervals[attribute] = {"accuracy": interval}
    return {"pairs": len(comparisons), **scores, "intervals": intervals}
