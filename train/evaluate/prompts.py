"""Prompts: sentences made from labels, for the text tower to read instead of a bare label."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from train.evaluate.embed import TextEmbedder

STYLES: Mapping[str, tuple[str, ...]] = {
    "label": ("{}",),
    "A {} track": ("A {} track",),  # MusCALL §5.2
    "ensemble": (
        "{}",
        "A {} track",
        "{} music",
        "A {} song",
        "A recording of {} music",
        "This is {}",
        "The sound of {}",
        "Music that features {}",
    ),
}
"""Style -> templates, each with one {} for the label."""


def embed_prompts(names: Sequence[str], *, templates: Sequence[str], embed: TextEmbedder) -> NDArray[np.float32]:
    """One embedding per label: the normalised mean over its prompts (CLIP §3.1.4), float32 [labels, dim]."""
    vectors = embed([template.replace("{}", name) for name in names for template in templates])
    return normalised_mean(vectors.reshape(len(names), len(templates), -1))


def normalised_mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over the second last axis: float [..., n, dim] -> float [..., dim], unit L2 norm."""
    mean = vectors.mean(axis=-2)
    unit: NDArray[np.float32] = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
    return unit
