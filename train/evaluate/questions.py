"""Questions to a model, as JSON Lines: one object of texts per line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from train.data.manifest import Row
from train.evaluate.errors import EvaluationError


def read_questions(path: str | Path, *, texts: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a file, each with its place ("FILE, line N") for error messages.

    Args:
        path: the JSON Lines file.
        texts: keys that must hold a text that is not empty.

    Raises:
        EvaluationError: there is no such file, it is empty, a line is not a JSON object, or a text is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise EvaluationError(f"no file at {path}; expected JSON Lines with {', '.join(texts)}")
    found = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            found = True
            yield f"{path}, line {number}", _parse(line, texts, where=f"{path}, line {number}")
    if not found:
        raise EvaluationError(f"{path} is empty; expected JSON Lines with {', '.join(texts)}")


def number_tracks(rows: Sequence[Row]) -> dict[str, int]:
    """track_id -> row number.

    Raises:
        EvaluationError: two rows have the same track_id.
    """
    numbers: dict[str, int] = {}
    for number, row in enumerate(rows):
        if numbers.setdefault(row.track_id, number) != number:
            raise EvaluationError(f"track_id {row.track_id!r} is twice in the manifest; expected unique track_ids")
    return numbers


def find_track(track_id: Any, *, numbers: Mapping[str, int], where: str) -> int:
    """The row number of a track that a question names.

    Raises:
        EvaluationError: the track is not in the rows.
    """
    if str(track_id) not in numbers:
        raise EvaluationError(
            f"{where}: track {track_id!r} is not in this split of the manifest; remove it here, or choose the split "
            "of the track"
        )
    return numbers[str(track_id)]


def _parse(line: str, texts: Sequence[str], *, where: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as exc:
        raise EvaluationError(f"{where}: not JSON ({exc.msg}); expected one object a line") from exc
    if not isinstance(values, dict):
        raise EvaluationError(f"{where}: got {values!r}; expected an object with {', '.join(texts)}")
    for key in texts:
        if not isinstance(values.get(key), str) or not values[key].strip():
            raise EvaluationError(f"{where}: {key!r} is {values.get(key)!r}; expected a text")
    return values
