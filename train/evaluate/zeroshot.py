"""Zero-shot labelling (MusCALL §5.2, MuLan §4.1.1): a track gets the labels whose prompts are nearest to it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.checkpoint import Checkpoint
from train.data.manifest import Row
from train.data.pairs import CENTRE
from train.evaluate.embed import PLACES, TextEmbedder, embed_texts, embed_tracks, open_model
from train.evaluate.labels import Targets, group_tags, is_single, read_notes, read_targets, score_labels, select_defined
from train.evaluate.prompts import STYLES, embed_prompts


def evaluate_zeroshot(
    checkpoint: Checkpoint,
    rows: Sequence[Row],
    *,
    single: bool = False,
    names: Sequence[str] | None = None,
    central: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Embed the rows and score their labels as `score_zeroshot` does; the result also has `read_notes`.

    Args:
        checkpoint: the checkpoint to evaluate.
        rows: the rows.
        single: the first label of each row is its class. This is automatic if every row has exactly one label and
            `names` is None.
        names: use only these labels, as tags; None uses all labels of the rows.
        central: use only the central window, as MusCALL does (§4.2), instead of the first, middle and last.
        seed: seed of the bootstrap.

    Raises:
        EvaluationError: the labels cannot be distinguished. This is checked before anything is embedded.
    """
    targets = read_targets(rows, single=single or (names is None and is_single(rows)), names=names)
    if not targets.single:
        select_defined(targets)
    model, tokenizer = open_model(checkpoint)
    places = (CENTRE,) if central else PLACES
    tracks = embed_tracks(model, rows, places=places, workers=checkpoint.config.optim.workers)
    embed = partial(embed_texts, model, tokenizer=tokenizer)
    return score_zeroshot(tracks, targets=targets, embed=embed, seed=seed) | read_notes(rows)


def score_zeroshot(tracks: NDArray[np.float32], *, targets: Targets, embed: TextEmbedder, seed: int) -> dict[str, Any]:
    """Scores for each style of prompt. If some tags are negated (`is_negated`), also for those and for the others.

    Args:
        tracks: float [n, dim], unit L2 norm.
        targets: the targets of the tracks.
        embed: embeds the prompts.
        seed: seed of the bootstrap.

    Returns:
        {"tracks": n, "labels": how many, "negated": how many of them are negated, if any, style: {"accuracy": …} or
        {"ROC-AUC": …, "PR-AUC": …}, "STYLE, negated": …, "STYLE, others": …, "intervals": {the same with [low, high]}}.
    """
    counts, groups = group_tags(targets)
    scores, intervals = {}, {}
    for style, templates in STYLES.items():
        similarity = tracks @ embed_prompts(targets.names, templates=templates, embed=embed).T
        for group, columns in groups.items():
            of_group = score_labels(similarity[:, columns], targets=targets.only(columns), seed=seed)
            scores[style + group], intervals[style + group] = of_group
    return {"tracks": len(tracks), **counts, **scores, "intervals": intervals}
