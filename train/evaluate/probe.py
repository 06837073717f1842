"""Linear probe (MuLan §4.1.2): a logistic regression per class on frozen audio vectors."""

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
from train.evaluate.labels import Targets, is_single, read_notes, read_targets, score_labels, select_defined
from train.evaluate.metrics import correct, mean_roc_auc

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""scikit-learn's C, the inverse of the regularisation; the best on the validation rows is taken, for all classes."""

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
    """Fit on the rows of "train", choose C on those of "val", report on those of "test".

    Args:
        projected: vectors of the joint space, MuLan's choice, in place of the audio tower's features.
        single: each row's first label is its class. Rows of one label each are taken so by themselves.
        names: of all labels these alone, as tags; None takes all that the rows have.

    Returns:
        as `score_probe`, and `read_notes` of the rows of "test".

    Raises:
        EvaluationError: labels that cannot be learned or told apart (before anything is embedded).
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
    """The labels that the training rows can teach, in every part; of those in `names` where it is given.

    Raises:
        EvaluationError: there are none, the other parts have a class that no training row has, or nothing in them to
            tell apart.
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
    """Fit, choose, report.

    Args:
        vectors: float [rows, width] of each part.

    Returns:
        {"tracks": of the test part, "labels": how many, "C": chosen, "probe": {"accuracy": …} or {"ROC-AUC": …,
        "PR-AUC": …}, "intervals": {the same with [low, high]}}.
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
        classifier = LogisticRegression(max_iter=1_000, warm_start=True)  # each C starts at the one before
        for place, strength in enumerate(STRENGTHS):
            classifier.set_params(C=strength).fit(inputs["train"], targets["train"].relevant[:, column])
            for part in scores:
                scores[part][place, :, column] = classifier.decision_function(inputs[part])
    best = int(np.argmax([_figure(some, targets["val"]) for some in scores["val"]]))
    values, intervals = score_labels(scores["test"][best], targets=targets["test"], seed=seed)
    labels = len(names) if targets["test"].single else len(select_defined(targets["test"]))
    return {
        "tracks": len(inputs["test"]),
        "labels": labels,
        "C": STRENGTHS[best],
        "probe": values,
        "intervals": {"probe": intervals},
    }


def _figure(scores: NDArray[np.float64], targets: Targets) -> float:
    if targets.single:
        return float(correct(scores, classes=targets.relevant.argmax(axis=1)).mean())
    columns = select_defined(targets)
    return float(mean_roc_auc(scores[:, columns], relevant=targets.relevant[:, columns]))
