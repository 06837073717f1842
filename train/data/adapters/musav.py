"""MusAV (Bogdanov et al. 2022): pairs of tracks, each judged by three people: which is higher in arousal or valence.

Its repository holds the judgments, under CC BY-NC-SA 4.0. The recordings are available for research. The set is made
for validation, so every track is in the test split. Tracks have no other text.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audio.formats import AUDIO_EXTENSIONS
from train.data.adapters.layout import AdapterError, find_file
from train.data.manifest import Row

ATTRIBUTES = ("arousal", "valence")
HIGHER = {"a": "first", "b": "second", "ab": "equal"}
AGREEMENTS = {"full-agreement": "full agreement", "majority-agreement": "majority agreement"}
"""Full agreement: all three say the same. Majority: two agree and the third does not say the opposite.

Other pairs are not ground truth.
"""

CONSISTENT = "consistent triplet"
"""All three pairs of a triplet are ground truth, and they do not contradict each other."""


def read_musav(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read one row for each track of `read_musav_comparisons`; recordings are found in any folder by Spotify id."""
    ids = dict.fromkeys(pair[key] for pair in read_musav_comparisons(root) for key in ("first", "second"))
    found = {path.stem: path for path in sorted(audio.rglob("*")) if path.suffix.lower() in AUDIO_EXTENSIONS}
    for track_id in ids:
        yield Row(found.get(track_id, audio / f"{track_id}.mp3"), (), track_id, "test")


def read_musav_comparisons(root: Path) -> list[dict[str, Any]]:
    """Read the pairs of `annotations.{arousal,valence}.all.agreement.gt`.

    The files are searched in `root`, `annotations` and `data/annotations`. The paper's own pairs, without the tracks of
    another set, are in `annotations/ismir2022`.

    Returns:
        The input of `train.evaluate pairs`: {"first", "second", "attribute", "higher", "subsets"}. The subsets are
        those that the paper reports: by agreement, by consistency, and by both.

    Raises:
        AdapterError: a file is missing, or one of its lines is not such a pair.
    """
    folder = root if root.is_dir() else root.parent
    comparisons = []
    for attribute in ATTRIBUTES:
        name = f"annotations.{attribute}.all.agreement.gt"
        path = find_file(folder, name, f"annotations/{name}", f"data/annotations/{name}")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                pair = _parse(line, where=f"{path}, line {number}")
                first, _, second = pair["pairid"].partition("-")
                comparisons.append(
                    {
                        "first": first,
                        "second": second,
                        "attribute": attribute,
                        "higher": HIGHER[pair["higher_value"]],
                        "subsets": _subsets(pair),
                    }
                )
    return comparisons


def _subsets(pair: Mapping[str, str]) -> list[str]:
    agreement = AGREEMENTS[pair["agreement"]]
    if pair["triplet_consistency"] != "consistent":
        return [agreement]
    return [agreement, CONSISTENT] + ([f"{CONSISTENT}, {agreement}"] if agreement == "full agreement" else [])


def _parse(line: str, *, where: str) -> dict[str, str]:
    """Parse a line. Most lines are JSON; some are printed Python dicts."""
    try:
        pair = json.loads(line)
    except ValueError:
        try:
            pair = ast.literal_eval(line)
        except (ValueError, SyntaxError) as exc:
            raise AdapterError(f"{where}: got {line[:60]!r}; expected one object a line") from exc
    expected: dict[str, Any] = {"higher_value": HIGHER, "agreement": AGREEMENTS}
    pairid = pair.get("pairid") if isinstance(pair, dict) else None
    if not isinstance(pairid, str) or pairid.count("-") != 1 or "triplet_consistency" not in pair:
        raise AdapterError(f"{where}: got {line[:60]!r}; expected a pairid of two ids, and triplet_consistency")
    for key, allowed in expected.items():
        if pair.get(key) not in allowed:
            raise AdapterError(f"{where}: {key} is {pair.get(key)!r}; expected {' or '.join(allowed)}")
    found: dict[str, str] = pair
    return found
