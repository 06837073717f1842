"""The labels of rows as targets, and metrics of label scores."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.data.manifest import Row
from train.evaluate.bootstrap import bootstrap_interval, times_drawn
from train.evaluate.errors import EvaluationError
from train.evaluate.metrics import correct, mean_average_precision, mean_roc_auc

NEGATIONS = frozenset({"no", "not", "non", "without"})
NO_NEGATIONS = frozenset({("no", "wave"), ("non", "stop")})
"""First words of labels that only look negated: a genre and a way of playing."""


@dataclass(frozen=True)
class Targets:
    """The labels of the rows: exactly one class each (`single`), or any number of tags.

    Attributes:
        names: the labels; sorted, unless `read_targets` was given names.
        relevant: bool [rows, labels]; with `single`, one True per row.
        single: whether the labels are classes.
    """

    names: tuple[str, ...]
    relevant: NDArray[np.bool_]
    single: bool

    def only(self, columns: NDArray[np.intp]) -> "Targets":
        """The same targets with only the labels at these columns, int [some]."""
        return Targets(tuple(self.names[i] for i in columns), self.relevant[:, columns], self.single)


def is_negated(label: str) -> bool:
    """Whether a label is negated: it starts with "no", "not", "non" or "without", and another word follows.

    MagnaTagATune has such labels: "no piano", "not rock". Text encoders ignore the negation (MuLan §4.2.1).

    >>> [is_negated(label) for label in ("no vocals", "Non-vocal", "no wave", "notes", "instrumental")]
    [True, True, False, False, False]
    """
    words = re.split(r"[\s_-]+", label.strip().casefold())
    return len(words) > 1 and words[0] in NEGATIONS and tuple(words[:2]) not in NO_NEGATIONS


def read_notes(rows: Sequence[Row]) -> dict[str, list[str]]:
    """{"notes": the rows' notes for the reader of the result, each once}; empty if there are none."""
    notes = list(dict.fromkeys(note for row in rows if isinstance(note := row.extra.get("note"), str) and note))
    return {"notes": notes} if notes else {}


def read_names(path: str | Path) -> tuple[str, ...]:
    """Read labels from a text file with one label per line, such as AudioSet's music labels (MuLan §4.1.1).

    Raises:
        EvaluationError: there is no such file, it is not UTF-8, or it has no labels.
    """
    path = Path(path)
    if not path.is_file():
        raise EvaluationError(f"no file at {path}; expected one label a line")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as exc:
        raise EvaluationError(f"{path} is not UTF-8 text ({exc.reason}); expected one label a line") from exc
    names = tuple(dict.fromkeys(filter(None, map(str.strip, lines))))
    if not names:
        raise EvaluationError(f"{path} is empty; expected one label a line")
    return names


def is_single(rows: Sequence[Row]) -> bool:
    """Whether every row has exactly one label."""
    return all(len(row.labels) == 1 for row in rows)


def read_targets(rows: Sequence[Row], *, single: bool, names: Sequence[str] | None = None) -> Targets:
    """The rows' labels as targets.

    Args:
        rows: the rows.
        single: the first label of a row is its class. Otherwise all its labels are tags, and it may have none.
        names: use only these labels; None uses all labels of the rows.

    Raises:
        EvaluationError: with `single`, a row has no label, or its class is not in `names`, or there are fewer than two
            classes. Without `single`, there is no tag at all.
    """
    labels = [row.labels[:1] if single else row.labels for row in rows]
    if names is None:
        names = sorted({label for own in labels for label in own})
    place = {name: i for i, name in enumerate(names)}
    if single:
        for row, own in zip(rows, labels, strict=True):
            if not own:
                raise EvaluationError(
                    f"track {row.track_id} has no label; expected its class as the first item of 'labels'"
                )
            if own[0] not in place:
                raise EvaluationError(f"track {row.track_id} has the class {own[0]!r}, but no training row has it")
    if len(names) < 1 + single:
        raise EvaluationError(
            f"the rows have {len(names)} labels ({', '.join(names) or 'none'}); expected at least {1 + single}: "
            "write them as 'labels' in the manifest"
        )
    relevant = np.zeros((len(rows), len(names)), dtype=bool)
    for i, own in enumerate(labels):
        relevant[i, [place[label] for label in own if label in place]] = True
    return Targets(tuple(names), relevant, single)


def select_defined(targets: Targets) -> NDArray[np.intp]:
    """Columns of the tags that some rows have and others do not, int [some]. Only these have an area under a curve.

    Raises:
        EvaluationError: there is no such tag.
    """
    share = targets.relevant.mean(axis=0)
    defined = np.flatnonzero((share > 0) & (share < 1))
    if not len(defined):
        raise EvaluationError(
            f"each of the {len(targets.names)} labels is on all of the {len(targets.relevant)} tracks or on none; "
            "expected a label that only some tracks have"
        )
    return defined


def group_tags(targets: Targets) -> tuple[dict[str, int], dict[str, NDArray[np.intp]]]:
    """Count the labels that can be scored, and separate negated tags (`is_negated`) from the others.

    Returns:
        {"labels": how many, "negated": how many of them are negated}, and ending of a group's name -> its columns, int
        [some]. The ending "" is all labels. Without negated tags, or with nothing else, there is no "negated", and no
        other group; otherwise there are ", negated" and ", others".

    Raises:
        EvaluationError: there is no tag that some rows have and others do not.
    """
    everything = np.arange(len(targets.names))
    if targets.single:
        return {"labels": len(everything)}, {"": everything}
    defined = select_defined(targets)
    negated = np.array([is_negated(targets.names[i]) for i in defined])
    if negated.all() or not negated.any():
        return {"labels": len(defined)}, {"": everything}
    counts = {"labels": len(defined), "negated": int(negated.sum())}
    return counts, {"": everything, ", negated": defined[negated], ", others": defined[~negated]}


def score_labels(
    scores: NDArray[np.floating[Any]], *, targets: Targets, seed: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Accuracy for classes, macro ROC-AUC and PR-AUC for tags, each with its 95 % interval over tracks.

    Args:
        scores: float [rows, labels].
        targets: the targets of the rows.
        seed: seed of the bootstrap.

    Returns:
        metric -> value, and metric -> (low, high).

    Raises:
        EvaluationError: there is no tag that some rows have and others do not.
    """
    if targets.single:
        hits = correct(scores, classes=targets.relevant.argmax(axis=1))
        interval = bootstrap_interval(hits, statistic=lambda drawn: drawn.mean(axis=-1), seed=seed)
        return {"accuracy": float(hits.mean())}, {"accuracy": interval}
    columns = select_defined(targets)
    scores, relevant = scores[:, columns], targets.relevant[:, columns]
    values, intervals = {}, {}
    for name, metric in (("ROC-AUC", mean_roc_auc), ("PR-AUC", mean_average_precision)):
        values[name] = float(metric(scores, relevant=relevant))

        def of_drawn(
            drawn: NDArray[np.int64], metric: Callable[..., NDArray[np.float64]] = metric
        ) -> NDArray[np.float64]:
            return metric(scores, relevant=relevant, weights=times_drawn(drawn))

        intervals[name] = bootstrap_interval(
            np.arange(len(scores)),
            statistic=of_drawn,
            seed=seed,
            centre=values[name] if name == "PR-AUC" else None,
        )
    return values, intervals
