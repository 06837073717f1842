"""AudioSet's ontology (Gemmeke et al. 2017) as text triplets: labels of classes and descriptions (MuLan §4.1.4).

No recordings are needed. The file `ontology.json` is published under CC BY-SA 4.0 and is not part of this project.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from train.data.adapters.layout import AdapterError, draw, find_file

ROOT = "Music"
NEGATIVES = 5
"""Number of triplets per class (MuLan §4.1.4)."""


@dataclass(frozen=True)
class SoundClass:
    """A class of the ontology; `cited` tells whether the file names a source for the description."""

    id: str
    name: str
    description: str
    cited: bool
    restricted: bool
    children: tuple[str, ...]


def make_ontology_triplets(root: Path, *, seed: int) -> list[dict[str, str]]:
    """Make five triplets for each of `music_classes`: its label, its description, and another one drawn by `seed`.

    Returns:
        {"anchor", "positive", "negative"}, the input of `train.evaluate triplet`.

    Raises:
        AdapterError: the file is not the ontology, or there are too few classes to draw from.
    """
    path = find_file(root, "ontology.json")
    classes = music_classes(read_ontology(path), path=path)
    if not classes:
        raise AdapterError(
            f"{path}: no class below {ROOT!r} is unrestricted and has a description with a source; give the published "
            "ontology"
        )
    triplets = []
    for own in classes:
        # An equal description is not a negative.
        others = [other for other in classes if other.description != own.description]
        if len(others) < NEGATIVES:
            raise AdapterError(
                f"{path}: {own.name!r} has {len(others)} other music classes with another description; expected at "
                f"least {NEGATIVES}; give the published ontology"
            )
        others.sort(key=lambda other: draw(f"{own.id}/{other.id}", seed=seed))
        triplets += [
            {"anchor": own.name, "positive": own.description, "negative": other.description}
            for other in others[:NEGATIVES]
        ]
    return triplets


def music_classes(classes: Mapping[str, SoundClass], *, path: Path) -> list[SoundClass]:
    """Return the unrestricted classes below "Music", without "Music", whose description has a cited source.

    In the published file these are 141 classes. MuLan uses the same number (§4.1.1, §4.1.4) but does not say which. The
    subtree has 189 classes, "Music" included. The file marks 37 of them as abstract or blacklisted. Of the other 151,
    ten have no source: the seven moods, "Birthday music", "Electronic music" and "Traditional music".

    This rule is our choice, and MuLan's 141 are others. MuLan also scores clips of each class, and AudioSet has clips
    of 527 classes. 150 of the subtree are among these, but not "Bassoon" and "Oboe", which this rule takes. Several
    rules give 141 of those 150, for example without "Music", "Song" and the seven moods. Such a rule needs the list of
    the 527, which is not in this file.

    Raises:
        AdapterError: there is no class "Music".
    """
    above = next((one for one in classes.values() if one.name == ROOT), None)
    if above is None:
        raise AdapterError(
            f"{path}: none of its {len(classes)} classes is called {ROOT!r}; give AudioSet's ontology.json"
        )
    below: dict[str, SoundClass] = {}  # by id, because two classes can be reached in two ways
    waiting = list(above.children)
    while waiting:
        one = classes[waiting.pop(0)]
        if one.id not in below:
            below[one.id] = one
            waiting += one.children
    return [one for one in below.values() if one.description and one.cited and not one.restricted]


def read_ontology(path: Path) -> dict[str, SoundClass]:
    """Read the classes by id.

    Raises:
        AdapterError: the file is no JSON, an entry is of another kind, a class appears twice, a child does not exist,
            or a class is below itself.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as exc:  # the latter for lists that are too deep
        raise AdapterError(f"{path} is not JSON ({exc}); give AudioSet's ontology.json") from exc
    classes: dict[str, SoundClass] = {}
    for place, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        one = _parse(entry, where=f"{path}, class {place}")
        if one.id in classes:
            raise AdapterError(f"{path}, class {place}: {one.id} is also the id of {classes[one.id].name!r}")
        classes[one.id] = one
    for one in classes.values():
        missing = [child for child in one.children if child not in classes]
        if missing:
            raise AdapterError(f"{path}: {one.name!r} has the child {missing[0]}, which is not a class of the file")
    _refuse_cycles(classes, path=path)
    return classes


def _parse(entry: Any, *, where: str) -> SoundClass:
    texts = ("id", "name")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) and entry[key] for key in texts):
        raise AdapterError(f"{where}: expected an object with the texts 'id' and 'name' and the list 'child_ids'")
    children = entry.get("child_ids")
    if not isinstance(children, list) or not all(isinstance(child, str) for child in children):
        raise AdapterError(f"{where}, {entry['name']!r}: child_ids is {children!r}; expected a list of class ids")
    return SoundClass(
        entry["id"],
        entry["name"],
        str(entry.get("description") or "").strip(),
        bool(entry.get("citation_uri")),
        bool(entry.get("restrictions")),
        tuple(children),
    )


def _refuse_cycles(classes: Mapping[str, SoundClass], *, path: Path) -> None:
    graph: Mapping[str, Sequence[str]] = {one.id: one.children for one in classes.values()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        names = " > ".join(classes[one].name for one in reversed(exc.args[1]))
        raise AdapterError(f"{path}: a class is its own descendant ({names}); expected a hierarchy") from exc
