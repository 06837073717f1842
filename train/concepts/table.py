"""The table of concepts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from train.config import ConfigError

TABLE = Path(__file__).parent / "concepts.yaml"


@dataclass(frozen=True)
class Concept:
    """Something that can be heard: its kind, the tags of the networks ("MSD/rock") and phrases of queries for it."""

    name: str
    kind: str
    tags: tuple[str, ...]
    phrases: tuple[str, ...]


def read_concepts() -> tuple[Concept, ...]:
    """All concepts in the order of the table."""
    kinds = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return tuple(
        Concept(name, kind, tuple(entry["tags"]), tuple(map(str, entry["phrases"])))
        for kind, concepts in kinds.items()
        for name, entry in concepts.items()
    )


def tag_weights(concepts: Sequence[Concept], *, tags: Sequence[str]) -> NDArray[np.float32]:
    """Weight of each tag in each concept: float32 [concepts, tags]. The tags of one concept have equal weights.

    Raises:
        ConfigError: a concept has a tag that no network has.
    """
    place = {tag: column for column, tag in enumerate(tags)}
    weights = np.zeros((len(concepts), len(tags)), np.float32)
    for row, concept in enumerate(concepts):
        for tag in concept.tags:
            if tag not in place:
                raise ConfigError(f"the concept {concept.name!r} needs the tag {tag!r}, but no network has it")
            weights[row, place[tag]] += 1 / len(concept.tags)
    return weights
