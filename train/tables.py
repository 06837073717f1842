"""python -m train.tables NAME --data MANIFEST --out FOLDER: train the rows of a paper's table on your own pairs.

A row is one run, in FOLDER under its own name; a table that was stopped goes on where it was, and tables share rows.
The data are not the papers', so what compares is the order of the rows, not their figures.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from train.checkpoint import CheckpointError, load_checkpoint
from train.config import Config, ConfigError, load_recipe
from train.data.audio import AudioDecodeError
from train.data.manifest import ManifestError, Row, read_manifest
from train.evaluate.errors import EvaluationError
from train.evaluate.retrieval import draw_rows, evaluate_retrieval
from train.loop import TrainingError, train

PAIRS = 1_000
METRICS = ("R@1", "R@5", "R@10", "mAP@10", "MedR")
AUGMENTED = tuple(
    f"augment.{name}=0.3" for name in ("noise", "gain", "polarity", "reverb", "low_pass", "high_pass", "pitch_shift")
)


@dataclass(frozen=True)
class Variant:
    """A row: a recipe and what is set in it."""

    recipe: str
    settings: tuple[str, ...] = ()


MUSCALL = "MusCALL"
TABLES: Mapping[str, tuple[str, Mapping[str, Variant]]] = {
    "muscall-1": (
        "MusCALL, Table 1: cross-modal retrieval",
        {
            "DCASE": Variant("dcase"),
            "DCASE + CL": Variant("dcase_cl"),
            MUSCALL: Variant("muscall"),
            "MusCALL + SSL": Variant("muscall_ssl"),
        },
    ),
    "muscall-4": (
        "MusCALL, Table 4: what training and pooling add",
        {
            MUSCALL: Variant("muscall"),
            "without random crops": Variant("muscall", ("data.random_crops=false",)),
            "with augmentation": Variant("muscall", AUGMENTED),
            "without attention pooling": Variant("muscall", ("model.audio.pooling=mean",)),
        },
    ),
}
"""Name -> (title, rows by their labels)."""

TOWERS = {  # of the small budget, by recipe
    "dcase": ("model.audio.hidden=64",),
    "muscall": (
        *("model.frontend.n_mels=64", "model.frontend.n_fft=640", "model.frontend.hop_samples=400"),
        *("model.audio.blocks=[1, 1, 1, 1]", "model.text.layers=2", "model.text.hidden=256", "model.embedding_dim=256"),
        *("model.text.tokenizer=all-MiniLM-L6-v2", "model.text.vocab_size=30522"),
        *("optim.learning_rate=1e-3", "optim.text_learning_rate=5e-4"),
    ),
}
SMALL = ("model.frontend.window_s=8", "optim.epochs=12", "optim.batch_size=64")
BUDGETS = ("small", "full")


def settings_of(variant: Variant, *, budget: str) -> Config:
    """The configuration of a row: the paper's sizes, or towers and runs that two CPU cores train in minutes."""
    small = (*SMALL, *TOWERS[variant.recipe.split("_")[0]]) if budget == "small" else ()
    return load_recipe(variant.recipe, overrides=[*small, *variant.settings])


def run_row(label: str, config: Config, *, manifest: Path, folder: Path, rows: Sequence[Row], console: Console) -> dict:
    """Train a row, or go on with it, or read its result where it is finished; returns `evaluate_retrieval`'s."""
    run = folder / label.lower().replace(" + ", "_").replace(" ", "_")
    result = run / "result.json"
    if result.is_file():
        finished = json.loads(result.read_text(encoding="utf-8"))
        if Config.from_dict(finished["config"]) != config:
            raise TrainingError(f"{run} holds this row with other settings; choose another --out or remove it")
        return finished["scores"]
    console.print(f"{label}:")
    checkpoint = train(config, manifest=manifest, run=run, resume=(run / "last.pt").is_file(), console=console)
    scores = evaluate_retrieval(load_checkpoint(checkpoint), rows)
    result.write_text(json.dumps({"config": config.to_dict(), "scores": scores}), encoding="utf-8")
    return scores


def make_table(title: str, *, scores: Mapping[str, dict]) -> Table:
    """Text to audio, then audio to text; one line a row."""
    pairs = next(iter(scores.values()))["pairs"]
    table = Table("", title=f"{title}; {pairs} test pairs, not the paper's data")
    for metric in METRICS:
        table.add_column(metric, justify="right")
    for direction in ("text_to_audio", "audio_to_text"):
        table.add_section()
        table.add_row(f"[b]{direction.replace('_', ' ')}")
        for label, result in scores.items():
            of = result[direction]
            table.add_row(label, *(f"{of[m]:g}" if m == "MedR" else f"{100 * of[m]:.1f} %" for m in METRICS))
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m train.tables", description=__doc__)
    parser.add_argument("name", choices=TABLES, metavar="NAME", help=", ".join(TABLES))
    parser.add_argument("--data", required=True, type=Path, help="manifest.jsonl")
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs, kept between tables")
    parser.add_argument("--budget", choices=BUDGETS, default="small", help="small: minutes a row on two CPU cores")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="in every row, such as optim.epochs=3"
    )
    args = parser.parse_args(arguments)
    title, variants = TABLES[args.name]
    console, scores = Console(), {}
    try:
        rows = read_manifest(args.data, split="test")
        rows = draw_rows(rows, pairs=min(PAIRS, len(rows)), seed=0)
        configs = {
            label: settings_of(Variant(variant.recipe, (*variant.settings, *args.set)), budget=args.budget)
            for label, variant in variants.items()
        }
        for label, config in configs.items():
            scores[label] = run_row(
                label, config, manifest=args.data, folder=args.out, rows=rows, console=Console(stderr=True)
            )
    except (ConfigError, ManifestError, TrainingError, CheckpointError, AudioDecodeError, EvaluationError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on with the rows in {args.out}", file=sys.stderr)
        return 130
    console.print(make_table(title, scores=scores))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
