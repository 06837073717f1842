"""python -m train.tables NAME --data MANIFEST --out FOLDER: train the rows of a paper's table on your own pairs.

A row is one run, in FOLDER under its own name; a table that was stopped goes on where it was, and tables share rows.
The data are not the papers', so what compares is the order of the rows, not their figures.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from train.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from train.config import Config, ConfigError, load_recipe
from train.data.audio import AudioDecodeError
from train.data.manifest import ManifestError, manifest_sha256, read_manifest
from train.evaluate.errors import EvaluationError
from train.evaluate.playlist import evaluate_playlist, read_playlists
from train.evaluate.probe import PARTS, evaluate_probe, probe_targets
from train.evaluate.retrieval import draw_rows, evaluate_retrieval
from train.evaluate.tables import count_words, format_score
from train.evaluate.triplet import evaluate_triplet, read_triplets
from train.evaluate.zeroshot import evaluate_zeroshot
from train.loop import TrainingError, train
from train.run_folder import check_run_folder

PAIRS = 1_000
AUGMENTED = tuple(
    f"augment.{name}=0.3" for name in ("noise", "gain", "polarity", "reverb", "low_pass", "high_pass", "pitch_shift")
)


@dataclass(frozen=True)
class Variant:
    """A row: a recipe and what is set in it."""

    recipe: str
    settings: tuple[str, ...] = ()


Measure = Callable[[Checkpoint], dict]
"""A protocol on data that were read; its result."""


def _retrieval(manifest: Path, _: Path | None) -> Measure:
    rows = read_manifest(manifest, split="test", having="captions")
    rows = draw_rows(rows, pairs=min(PAIRS, len(rows)), seed=0)
    return lambda checkpoint: evaluate_retrieval(checkpoint, rows)


def _labels(manifest: Path, _: Path | None) -> Measure:
    rows = {part: read_manifest(manifest, split=part, having="labels") for part in PARTS}
    probe_targets(rows, single=False)

    def measure(checkpoint: Checkpoint) -> dict:
        zeroshot, probe = evaluate_zeroshot(checkpoint, rows["test"]), evaluate_probe(checkpoint, rows)
        return {**zeroshot, "probe": probe["probe"], "intervals": {**zeroshot["intervals"], **probe["intervals"]}}

    return measure


def _playlists(manifest: Path, questions: Path | None) -> Measure:
    rows = read_manifest(manifest, split="test")
    playlists = read_playlists(_given(questions, what="playlists of test tracks"), rows=rows)
    return lambda checkpoint: evaluate_playlist(checkpoint, rows, playlists=playlists)


def _triplets(_: Path, questions: Path | None) -> Measure:
    triplets = read_triplets(_given(questions, what="text triplets"))
    return lambda checkpoint: evaluate_triplet(checkpoint, triplets)


def _given(questions: Path | None, *, what: str) -> Path:
    if questions is None:
        raise EvaluationError(f"this table needs {what}; name their file, as train.evaluate takes it, with --questions")
    return questions


@dataclass(frozen=True)
class PaperTable:
    """What it measures, of which rows."""

    title: str
    prepare: Callable[[Path, Path | None], Measure]
    rows: Mapping[str, Variant]


MUSCALL = "MusCALL"
BOTH_MULANS = {"MuLan, M-Resnet-50": Variant("mulan_resnet"), "MuLan, M-AST": Variant("mulan_ast")}
TABLES: Mapping[str, PaperTable] = {
    "muscall-1": PaperTable(
        "MusCALL, Table 1: cross-modal retrieval",
        _retrieval,
        {
            "DCASE": Variant("dcase"),
            "DCASE + CL": Variant("dcase_cl"),
            MUSCALL: Variant("muscall"),
            "MusCALL + SSL": Variant("muscall_ssl"),
        },
    ),
    "muscall-2": PaperTable(
        "MusCALL, Table 2: labels, from prompts and by a linear probe",
        _labels,
        {MUSCALL: Variant("muscall"), "MusCALL + SSL": Variant("muscall_ssl")},
    ),
    "muscall-4": PaperTable(
        "MusCALL, Table 4: what training and pooling add",
        _retrieval,
        {
            MUSCALL: Variant("muscall"),
            "without random crops": Variant("muscall", ("data.random_crops=false",)),
            "with augmentation": Variant("muscall", AUGMENTED),
            "without attention pooling": Variant("muscall", ("model.audio.pooling=mean",)),
        },
    ),
    "mulan-labels": PaperTable("MuLan: labels, from prompts and by a linear probe", _labels, BOTH_MULANS),
    "mulan-playlists": PaperTable("MuLan: playlists", _playlists, BOTH_MULANS),
    "mulan-triplets": PaperTable("MuLan: text triplets", _triplets, BOTH_MULANS),
}

SMALL = ("model.frontend.window_s=8", "optim.epochs=12", "optim.batch_size=64")
SMALL_TOWERS = {  # by what the recipe's name begins with
    "dcase": ("model.frontend.n_fft=1024", "model.frontend.hop_samples=800", "model.audio.hidden=64"),
    "muscall": (
        *("model.frontend.n_mels=64", "model.frontend.n_fft=640", "model.frontend.hop_samples=400"),
        *("model.audio.blocks=[1, 1, 1, 1]", "model.text.layers=2", "model.text.hidden=256", "model.embedding_dim=256"),
        *("model.text.tokenizer=all-MiniLM-L6-v2", "model.text.vocab_size=30522"),
        *("optim.learning_rate=1e-3", "optim.text_learning_rate=5e-4"),
    ),
    "mulan": (
        *("model.frontend.n_mels=64", "model.frontend.n_fft=640", "model.frontend.hop_samples=400"),
        *("model.text.init_from=all-MiniLM-L6-v2", "model.text.hidden=384", "model.text.layers=6"),
        *("model.text.feed_forward=1536", "model.text.max_tokens=77", "data.mixture={}", "optim.chunk_size=0"),
        *("optim.text_learning_rate=1e-4", "optim.precision=fp32"),
    ),
    "mulan_resnet": ("model.audio.width=16", "model.audio.blocks=[1, 1, 1, 1]", "optim.learning_rate=1e-3"),
    "mulan_ast": (
        *("model.audio.init_from=null", "model.audio.hidden=192", "model.audio.layers=4", "model.audio.heads=3"),
        *("model.audio.stride=16", "optim.learning_rate=5e-4"),
    ),
}
BUDGETS = ("small", "full")


def settings_of(variant: Variant, *, budget: str) -> Config:
    """The configuration of a row: the paper's sizes, or towers and runs that two CPU cores train in minutes."""
    towers = [setting for name, few in SMALL_TOWERS.items() if variant.recipe.startswith(name) for setting in few]
    small = [*SMALL, *towers] if budget == "small" else []
    return load_recipe(variant.recipe, overrides=[*small, *variant.settings])


def finish_row(label: str, config: Config, *, manifest: Path, run: Path, name: str, measure: Measure) -> dict:
    """Train a row, go on with it, or take it as it is; returns what `measure` gives for it, kept under `name`."""
    kept = run / f"{name}.json"
    made_of = json.loads(json.dumps({"config": config.to_dict(), "manifest_sha256": manifest_sha256(manifest)}))
    if kept.is_file():
        try:
            finished = json.loads(kept.read_text(encoding="utf-8"))
        except ValueError as exc:
            raise TrainingError(f"{kept} is damaged; remove it, and the trained row is measured again") from exc
        if finished["made_of"] != made_of:
            raise TrainingError(f"{run} holds this row with other settings or data; choose another --out or remove it")
        return finished["result"]
    console = Console(stderr=True)
    console.print(f"{label}:")
    checkpoint = train(config, manifest=manifest, run=run, resume=(run / "last.pt").is_file(), console=console)
    result = measure(load_checkpoint(checkpoint))
    temporary = kept.with_name(f".{kept.name}.tmp")
    temporary.write_text(json.dumps({"made_of": made_of, "result": result}), encoding="utf-8")
    temporary.replace(kept)
    return result


def make_table(title: str, *, results: Mapping[str, dict]) -> Table:
    """One line a row in each group of scores, one column a metric."""
    first = next(iter(results.values()))
    metrics = list(next(iter(first["intervals"].values())))
    table = Table("", title=f"{title}; {count_words(first)}, not the paper's data (95 % intervals)", show_lines=True)
    for metric in metrics:
        table.add_column(metric, justify="right")
    for group in first["intervals"]:
        table.add_row(f"[b]{group.replace('_', ' ')}")
        for label, result in results.items():
            scores, intervals = result[group], result["intervals"][group]
            cells = [format_score(metric, scores[metric], interval=intervals[metric]) for metric in metrics]
            table.add_row(label, *("\n".join(cell) for cell in cells))
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m train.tables", description=__doc__)
    parser.add_argument("name", choices=TABLES, metavar="NAME", help=", ".join(TABLES))
    parser.add_argument("--data", required=True, type=Path, help="manifest.jsonl")
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs, kept between tables")
    parser.add_argument("--questions", type=Path, help="JSON Lines that the tables of playlists and triplets ask")
    parser.add_argument("--budget", choices=BUDGETS, default="small", help="small: minutes a row on two CPU cores")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="in every row, such as optim.epochs=3",
    )
    args = parser.parse_args(arguments)
    table = TABLES[args.name]
    console, results = Console(), {}
    try:
        check_run_folder(args.out)
        measure = table.prepare(args.data, args.questions)
        configs = {
            label: settings_of(Variant(variant.recipe, (*variant.settings, *args.set)), budget=args.budget)
            for label, variant in table.rows.items()
        }
        for label, config in configs.items():
            run = args.out / re.sub(r"\W+", "_", label.lower())
            results[label] = finish_row(label, config, manifest=args.data, run=run, name=args.name, measure=measure)
    except (ConfigError, ManifestError, TrainingError, CheckpointError, AudioDecodeError, EvaluationError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on with the rows in {args.out}", file=sys.stderr)
        return 130
    console.print(make_table(table.title, results=results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
