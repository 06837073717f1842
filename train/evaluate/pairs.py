"""Which of two tracks is higher in arousal or valence (MusAV, Bogdanov et al. 2022), from prompts alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.checkpoint import Checkpoint
from train.data.manifest import Row
from train.evaluate.bootstrap import bootstrap_interval, times_drawn
from train.evaluate.embed import TextEmbedder, embed_texts, embed_tracks, open_model
from train.evaluate.errors import EvaluationError
from train.evaluate.metrics import pairs_ordered, roc_auc
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


HIGHER = ("first", "second", "equal")


@dataclass(frozen=True)
class Comparison:
    """A comparison of two tracks in one attribute.

    Attributes:
        first: row number of the first track.
        second: row number of the second track.
        attribute: "arousal" or "valence".
        higher: one of `HIGHER`.
        subsets: names of the subsets that this pair belongs to, such as the pairs on which all annotators agree. Each
            subset is reported separately too.
    """

    first: int
    second: int
    attribute: str
    higher: str
    subsets: tuple[str, ...] = ()


def read_comparisons(path: str | Path, *, rows: Sequence[Row]) -> list[Comparison]:
    """Read comparisons from JSON Lines.

    Args:
        path: a file of {"first": track_id, "second": track_id, "attribute": "arousal" or "valence", "higher": "first",
            "second" or "equal", "subsets": [names]}. The subsets may be missing.
        rows: the rows of the tracks.

    Raises:
        EvaluationError: a bad line, a track that is not in the rows, a track compared with itself, or only equal pairs.
    """
    numbers = number_tracks(rows)
    comparisons = []
    for where, values in read_questions(path, texts=("attribute", "higher")):
        first, second = (find_track(values.get(key), numbers=numbers, where=where) for key in ("first", "second"))
        for key, allowed in (("attribute", tuple(PROMPTS)), ("higher", HIGHER)):
            if values[key] not in allowed:
                raise EvaluationError(f"{where}: {key!r} is {values[key]!r}; expected {' or '.join(allowed)}")
        if first == second:
            raise EvaluationError(f"{where}: both tracks are {values['first']!r}; expected two different ones")
        subsets = values.get("subsets", [])
        if not isinstance(subsets, list) or not all(isinstance(name, str) for name in subsets):
            raise EvaluationError(f"{where}: 'subsets' is {subsets!r}; expected a list of names")
        comparisons.append(Comparison(first, second, values["attribute"], values["higher"], tuple(subsets)))
    if all(each.higher == "equal" for each in comparisons):
        raise EvaluationError(f"{path}: all {len(comparisons)} pairs are equal; expected some with a higher track")
    return comparisons


def evaluate_pairs(
    checkpoint: Checkpoint, rows: Sequence[Row], *, comparisons: Sequence[Comparison], seed: int = 0
) -> dict[str, Any]:
    """Embed the compared tracks from three windows each, and score the comparisons as `score_comparisons` does."""
    model, tokenizer = open_model(checkpoint)
    compared = sorted({place for each in comparisons for place in (each.first, each.second)})
    vectors = embed_tracks(model, [rows[place] for place in compared], workers=checkpoint.config.optim.workers)
    tracks = dict(zip(compared, vectors, strict=True))
    embed = partial(embed_texts, model, tokenizer=tokenizer)
    return score_comparisons(tracks, comparisons=comparisons, embed=embed, seed=seed)


def score_comparisons(
    tracks: Mapping[int, NDArray[np.float32]], *, comparisons: Sequence[Comparison], embed: TextEmbedder, seed: int
) -> dict[str, Any]:
    """Scores for each attribute and for each subset of its pairs.

    A track's score is its cosine similarity to the prompts of the high end minus that to the prompts of the low end.
    "accuracy" is computed over the pairs with a higher track, as MusAV reports it. A tie of the scores is wrong.

    If there are equal pairs too, "equal AUC" is the area under the ROC curve of separating unequal from equal pairs by
    the size of their score difference. A classifier of equal pairs would need a threshold, tuned on other pairs. The
    ROC curve measures the same without a threshold.

    Args:
        tracks: row number -> float [dim], unit L2 norm.
        comparisons: the comparisons.
        embed: embeds the prompts.
        seed: seed of the bootstrap.

    Returns:
        {"pairs": n, "equal": how many of them are equal, if any, attribute: {"accuracy": …, "equal AUC": …},
        "ATTRIBUTE, SUBSET": …, "intervals": {the same with [low, high]}}. Undefined scores are left out.
    """
    scores, intervals = {}, {}
    for attribute, (high, low) in PROMPTS.items():
        asked = [each for each in comparisons if each.attribute == attribute]
        if not asked:
            continue
        direction = normalised_mean(embed(high)) - normalised_mean(embed(low))
        margins = np.array([(tracks[each.first] - tracks[each.second]) @ direction for each in asked])
        for subset in (None, *dict.fromkeys(name for each in asked for name in each.subsets)):
            chosen = [i for i, each in enumerate(asked) if subset is None or subset in each.subsets]
            values, bounds = _score(margins[chosen], higher=[asked[i].higher for i in chosen], seed=seed)
            if values:
                group = attribute if subset is None else f"{attribute}, {subset}"
                scores[group], intervals[group] = values, bounds
    equal = sum(each.higher == "equal" for each in comparisons)
    counts = {"pairs": len(comparisons)} | ({"equal": equal} if equal else {})
    return {**counts, **scores, "intervals": intervals}


def _score(
    margins: NDArray[np.floating[Any]], *, higher: Sequence[str], seed: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """metric -> value, and metric -> (low, high), for pairs with score differences `margins`, float [n]."""
    values, intervals = {}, {}
    unequal = np.array([each != "equal" for each in higher])
    if unequal.any():
        won = pairs_ordered(
            margins[unequal],
            second=np.zeros(unequal.sum()),
            first_is_higher=np.array([each == "first" for each in higher])[unequal],
        )
        values["accuracy"] = float(won.mean())
        intervals["accuracy"] = bootstrap_interval(won, statistic=lambda drawn: drawn.mean(axis=-1), seed=seed)
    if unequal.any() and not unequal.all():
        sizes = np.abs(margins)
        values["equal AUC"] = float(roc_auc(sizes, relevant=unequal))
        intervals["equal AUC"] = bootstrap_interval(
            np.arange(len(sizes)),
            statistic=lambda drawn: roc_auc(sizes, relevant=unequal, weights=times_drawn(drawn)),
            seed=seed,
        )
    return values, intervals
