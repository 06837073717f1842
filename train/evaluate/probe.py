"""Linear probe (MuLan §4.1.2): one logistic regression per class on frozen audio embeddings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from train.checkpoint import Checkpoint
from train.data.manifest import Row
from train.evaluate.embed import embed_tracks, open_model
from train.evaluate.labels import (
    Targets,
    group_tags,
    is_single,
    read_notes,
    read_targets,
    score_labels,
    select_defined,
)
from train.evaluate.metrics import correct, mean_roc_auc

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""scikit-learn's C, the inverse regularisation strength. The best value on "val" is used for all classes."""

PARTS = ("train", "val", "test")


def evaluate_probe(
    checkpoint: Checkpoint,
    rows: Mapping[str, Sequence[Row]],
    *,
    projected: bool = False,
    single: bool = False,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Fit on the rows of "train", choose C on the rows of "val", report on the rows of "test".

    Args:
        checkpoint: the checkpoint to evaluate.
        rows: the rows of each part.
        projected: use embeddings of the joint space, as MuLan does, instead of the audio tower's features.
        single: the first label of each row is its class. This is automatic if every row has exactly one label and
            `names` is None.
        names: use only these labels, as tags; None uses all labels of the rows.
        seed: seed of the bootstrap.

    Returns:
        The result of `score_probe`, with `read_notes` of the "test" rows.

    Raises:
        EvaluationError: the labels cannot be learned or distinguished. This is checked before anything is embedded.
    """
    targets = probe_targets(rows, single=single, names=names)
    model, _ = open_model(checkpoint)
    vectors = {
        part: embed_tracks(model, rows[part], features=not projected, workers=checkpoint.config.optim.workers)
        for part in PARTS
    }
    return score_probe(vectors, targets=targets, seed=seed) | read_notes(rows["test"])


def probe_targets(
    rows: Mapping[str, Sequence[Row]], *, single: bool, names: Sequence[str] | None = None
) -> dict[str, Targets]:
    """The targets of each part, with only the labels that can be learned from the training rows.

    Args:
        rows: the rows of each part.
        single: see `evaluate_probe`.
        names: use only these labels; None uses all labels of the training rows.

    Raises:
        EvaluationError: there are no such labels, another part has a class that no training row has, or all rows of
            another part have the same tags.
    """
    single = single or (names is None and all(is_single(rows[part]) for part in PARTS))
    taught = read_targets(rows["train"], single=single, names=names)
    names = taught.names if single else [taught.names[i] for i in select_defined(taught)]
    targets = {part: read_targets(rows[part], single=single, names=names) for part in PARTS}
    if not single:
        for part in ("val", "test"):
            select_defined(targets[part])
    return targets


def score_probe(
    vectors: Mapping[str, NDArray[np.float32]], *, targets: Mapping[str, Targets], seed: int
) -> dict[str, Any]:
    """Fit on "train", choose C on "val" and score "test", with negated tags apart as in `score_zeroshot`.

    Args:
        vectors: float [rows, width] of each part.
        targets: the targets of each part.
        seed: seed of the bootstrap.

    Returns:
        {"tracks": number of test tracks, "labels": how many, "negated": how many of them are negated, if any, "C": the
        chosen one, "probe": {"accuracy": …} or {"ROC-AUC": …, "PR-AUC": …}, "probe, negated": …, "probe, others": …,
        "intervals": {the same with [low, high]}}.
    """
    scaler = StandardScaler().fit(vectors["train"])
    inputs = {part: scaler.transform(vectors[part]) for part in PARTS}
    names = targets["train"].names
    scores = {part: np.empty((len(STRENGTHS), len(inputs[part]), len(names))) for part in ("val", "test")}
    console = Console(stderr=True)
    watched = track(
        range(len(names)), "Fitting classes", console=console, transient=True, disable=not console.is_terminal
    )
    for column in watched:
        classifier = LogisticRegression(max_iter=1_000, warm_start=True)  # each C starts from the previous solution
        for place, strength in enumerate(STRENGTHS):
            classifier.set_params(C=strength).fit(inputs["train"], targets["train"].relevant[:, column])
            for part in scores:
                scores[part][place, :, column] = classifier.decision_function(inputs[part])
    best = int(np.argmax([_figure(some, targets["val"]) for some in scores["val"]]))
    counts, groups = group_tags(targets["test"])
    values, intervals = {}, {}
    for group, columns in groups.items():
        of_group = score_labels(scores["test"][best][:, columns], targets=targets["test"].only(columns), seed=seed)
        values["probe" + group], intervals["probe" + group] = of_group
    return {"tracks": len(inputs["test"]), **counts, "C": STRENGTHS[best], **values, "intervals": intervals}


def _figure(scores: NDArray[np.float64], targets: Targets) -> float:
    if targets.single:
        return float(correct(scores, classes=targets.relevant.argmax(axis=1)).mean())
    columns = select_defined(targets)
    return float(mean_roc_auc(scores[:, columns], relevant=targets.relevant[:, columns]))
