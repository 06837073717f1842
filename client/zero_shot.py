"""Tags without training: compare a track with sentences made from the labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .encoders import Encoder
from .errors import QueryError
from .query import check_texts

DEFAULT_TEMPLATES = ("A {} track",)

TEMPERATURE = 0.07
"""Divides cosines before the softmax: CLIP's initial temperature (Radford et al., 2021, section 2.5)."""


@dataclass(frozen=True)
class Tag:
    """One label for a track.

    Attributes:
        label: as given.
        score: cosine similarity between the track and the label's sentences, -1...1. Scores of different calls can be
            compared.
        probability: softmax of score / TEMPERATURE over the labels of this call. It compares the labels with each
            other. It does not tell whether any of them fits.
        fits: whether the score reaches the label's threshold. None if the label has no threshold.
    """

    label: str
    score: float
    probability: float
    fits: bool | None = None


@dataclass(frozen=True)
class TaggedTrack:
    """A track of a library and its labels, the best first."""

    track_id: str
    path: str
    tags: list[Tag]


class Labels:
    """Labels with their vectors from one model.

    Args:
        labels: at least one, all different.
        encoder: the model.
        templates: sentences that each contain {} once. With several templates, the vector of a label is the normalised
            mean of its sentences' vectors (prompt ensembling; CLIP, section 3.1.4).

    Raises:
        QueryError: no labels, a label that is empty or given twice, or a template without {}.
    """

    def __init__(
        self, labels: Sequence[str], *, encoder: Encoder, templates: Sequence[str] = DEFAULT_TEMPLATES
    ) -> None:
        check_texts(labels, what="labels")
        check_texts(templates, what="templates")
        if not labels or not templates:
            raise QueryError("zero-shot tagging needs at least one label and one template")
        if len(set(labels)) < len(labels):
            raise QueryError("a label is given twice: remove the repetition")
        for template in templates:
            if template.count("{}") != 1:
                raise QueryError(f"template {template!r} must contain {{}} once, where the label goes")
        self._labels = list(labels)
        sentences = [template.replace("{}", label) for label in labels for template in templates]
        vectors = encoder.embed_texts(sentences).reshape(len(labels), len(templates), -1).mean(axis=1)
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def fit_thresholds(self, examples: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
        """Find the lowest score at which each label fits, from examples of each label.

        Args:
            examples: by label, float32 [n, dim]: vectors of tracks that have the label, at least one. A track with
                several labels is listed under each of them.

        Returns:
            By label, the threshold that best separates its examples from those of the other labels (highest balanced
                accuracy). It lies in the middle between two scores.

        Raises:
            QueryError: examples of fewer than two labels, examples of an unknown label, or a label without examples.
        """
        if len(examples) < 2:
            raise QueryError(f"got examples of {len(examples)} labels, expected two or more")
        for label, own in examples.items():
            if label not in self._labels:
                raise QueryError(f"got examples of {label!r}, expected examples of: {', '.join(self._labels)}")
            if not len(own):
                raise QueryError(f"got no examples of {label!r}, expected at least one")
        thresholds = {}
        for label, own in examples.items():
            mine = {vector.tobytes() for vector in own}
            others = [vector for rows in examples.values() for vector in rows if vector.tobytes() not in mine]
            if not others:
                raise QueryError(f"every example has the label {label!r}: add examples without this label")
            text = self._vectors[self._labels.index(label)]
            thresholds[label] = _best_threshold(own @ text, np.stack(others) @ text)
        return thresholds

    def rank(self, vector: NDArray[np.float32], *, thresholds: Mapping[str, float] | None = None) -> list[Tag]:
        """Rank the labels from best to worst for a track vector, float32 [dim] of unit L2 norm.

        Args:
            vector: the track vector.
            thresholds: by label, the lowest score at which it fits. Each label is judged alone, so several may fit, or
                none.

        Raises:
            QueryError: a threshold is not a number.
        """
        limits = {} if thresholds is None else thresholds
        if not isinstance(limits, Mapping) or not all(
            isinstance(limit, int | float | np.floating) for limit in limits.values()
        ):
            raise QueryError(f"thresholds is {thresholds!r}, expected a dict of labels and scores")
        scores = self._vectors @ vector
        exponentials = np.exp((scores - scores.max()) / TEMPERATURE)
        probabilities = exponentials / exponentials.sum()
        order = np.argsort(-scores, kind="stable")
        return [
            Tag(
                self._labels[i],
                float(scores[i]),
                float(probabilities[i]),
                fits=float(scores[i]) >= limits[self._labels[i]] if self._labels[i] in limits else None,
            )
            for i in order
        ]


def _best_threshold(own: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """The threshold with the highest mean of two shares: that of `own` at or above it, and of `others` below it."""
    scores = np.unique(np.concatenate([own, others]))
    between = (scores[1:] + scores[:-1]) / 2
    candidates = np.concatenate([scores[:1] - 1e-3, between, scores[-1:] + 1e-3])
    accuracy = [float((own >= limit).mean() + (others < limit).mean()) for limit in candidates]
    return float(candidates[int(np.argmax(accuracy))])
