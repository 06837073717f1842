"""The runs of a table. Each is trained once, resumed if it was stopped, and saved with its results."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from scipy.stats import t

from train.checkpoint import load_checkpoint
from train.config import Config
from train.data.manifest import manifest_sha256
from train.loop import TrainingError, train
from train.tables.measures import Measure

LEVEL = 0.95


def run_folder(out: Path, *, label: str, seed: int) -> Path:
    """Folder of the run of a row and a seed. For seed 0 its name is the row's name, without the seed."""
    name = re.sub(r"\W+", "_", label.lower()).strip("_")
    return out / (f"{name}-seed{seed}" if seed else name)


def finish_row(
    label: str,
    config: Config,
    *,
    manifest: Path,
    run: Path,
    name: str,
    measure: Measure,
    measured: Mapping[str, str],
) -> dict[str, Any]:
    """Train or resume a row and measure it, or read the saved result if the row is finished.

    A finished row is measured again, but not trained again, if the files that it was measured on have changed.

    Args:
        label: the row.
        config: the configuration of its run.
        manifest: the manifest that it is trained on.
        run: the run directory.
        name: the table. The result is saved under this name in `run`.
        measure: measures a checkpoint.
        measured: the files that `measure` reads: name -> SHA-256, in hex.

    Returns:
        The result of `measure`.

    Raises:
        TrainingError: the saved result is damaged, or it was made with other settings or data; or from `train`.
    """
    kept = run / f"{name}.json"
    made_of = json.loads(json.dumps({"config": config.to_dict(), "manifest_sha256": manifest_sha256(manifest)}))
    if kept.is_file():
        try:
            finished = json.loads(kept.read_text(encoding="utf-8"))
            result: dict[str, Any] = finished["result"]
            trained_on = finished["made_of"]
        except (ValueError, KeyError, TypeError) as exc:
            raise TrainingError(f"{kept} is damaged; remove it, then the trained row is measured again") from exc
        if trained_on != made_of:
            raise TrainingError(f"{run} holds this row with other settings or data; choose another --out or remove it")
        if finished.get("measured", measured) == measured:  # results of before do not name their files
            return result
    console = Console(stderr=True)
    console.print(f"{label}, seed {config.seed}:")
    checkpoint = train(config, manifest=manifest, run=run, resume=(run / "last.pt").is_file(), console=console)
    result = measure(load_checkpoint(checkpoint))
    temporary = kept.with_name(f".{kept.name}.tmp")
    kept_values = {"made_of": made_of, "measured": measured, "result": result}
    temporary.write_text(json.dumps(kept_values), encoding="utf-8")
    temporary.replace(kept)
    return result


def over_seeds(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Combine the results of several seeds: the mean, and the 95 % interval by Student's t instead of the bootstrap.

    Values that are not scores (the number of tracks, the failures shown) are those of the first seed.
    """
    first, *others = results
    if not others:
        return first
    whole = {**first, "intervals": {}}
    for group, scores in first.items():
        if group == "intervals" or not isinstance(scores, dict):
            continue
        values = {metric: np.array([result[group][metric] for result in results]) for metric in scores}
        whole[group] = {metric: float(some.mean()) for metric, some in values.items()}
        factor = float(t.ppf((1 + LEVEL) / 2, len(results) - 1)) / len(results) ** 0.5
        whole["intervals"][group] = {
            metric: [float(some.mean() - side * factor * some.std(ddof=1)) for side in (1, -1)]
            for metric, some in values.items()
        }
    return whole
