"""python -m train.tables NAME --data FOLDER --out RUNS: a table or figure of a paper, on your own data.

Each row is one run, in a folder of RUNS. Tables share rows, and a stopped table continues where it stopped. The data
are not those of the papers, so compare the order of the rows, not their figures. `python -m train.tables.prepare` makes
the data folder from a rendered corpus, and describes its files.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from train.checkpoint import CheckpointError
from train.config import ConfigError
from train.data.audio import AudioDecodeError
from train.data.manifest import ManifestError, manifest_sha256, read_manifest
from train.data.output import local_path
from train.evaluate.embed import open_sentence_encoder
from train.evaluate.errors import EvaluationError
from train.evaluate.tables import count_words
from train.loop import TrainingError
from train.run_folder import check_run_folder
from train.tables import measures
from train.tables.grid import finish_row, over_seeds, run_folder
from train.tables.papers import DATA, PLACES, SAID
from train.tables.rows import BUDGETS, ROWS, settings_of
from train.tables.show import make_failures, make_table

MEASURES: Mapping[str, Callable[[Path], measures.Measure]] = {
    "muscall-1": measures.retrieval,
    "muscall-2": measures.transfer,
    "muscall-3": measures.failures,
    "muscall-4": measures.recalls,
    "muscall-fig3": measures.recalls,
    "muscall-fig4": measures.similarities,
    "mulan-4a": measures.tagging,
    "mulan-4b": measures.tagging,
    "mulan-4c": measures.probe,
    "mulan-5": measures.playlists,
    "mulan-6": measures.triplets,
}
MEASURED_FILES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(MEASURES, (measures.PAIRS_FILE,)),
    "mulan-5": (measures.PAIRS_FILE, measures.PLAYLISTS_FILE),
    "mulan-6": tuple(measures.TRIPLET_FILES.values()),
}
"""Table -> the files that its measure reads. Triplets may be of one kind only."""

SENTENCE_ENCODERS = {"SBERT": "all-MiniLM-L6-v2", "BERT, mean of tokens": "google-bert/bert-base-uncased"}
"""Rows of MuLan's Table 6 without training: label -> published weights, used with mean pooling over the tokens."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 2 for input that cannot be used."""
    args = _parser().parse_args(arguments)
    try:
        training = read_manifest(args.data / measures.PAIRS_FILE, split="train")
        results = _count_texts(args) if args.name == "mulan-2" else _train_rows(args)
    except (ConfigError, ManifestError, TrainingError, CheckpointError, AudioDecodeError, EvaluationError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; the same command continues with the rows in {args.out}", file=sys.stderr)
        return 130
    text = _page(args.name, results, data=args.data, tracks=len(training))
    console = Console()
    console.print(Markdown(text)) if console.is_terminal else print(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.tables", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=PLACES, metavar="NAME", help=", ".join(PLACES))
    parser.add_argument(
        "--data", required=True, type=Path, help="folder with pairs.jsonl and the other files that a table needs"
    )
    parser.add_argument(
        "--out", type=local_path, default=Path("runs"), help="folder of the runs, which tables share (default: runs)"
    )
    parser.add_argument(
        "--budget",
        choices=BUDGETS,
        default="small",
        help="size of the runs; small: minutes for each row on two CPU cores",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        help="runs for each row (default 1); with 2 or more, intervals are over the runs",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings to change in every row, such as optim.epochs=3",
    )
    return parser


def _train_rows(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    if args.seeds < 1:
        raise ConfigError(f"--seeds is {args.seeds}; expected at least 1")
    check_run_folder(args.out)
    measure = MEASURES[args.name](args.data)
    manifests = {label: args.data / _manifest_of(args.name, label) for label in ROWS[args.name]}
    for manifest in sorted(set(manifests.values()) - {args.data / measures.PAIRS_FILE}):  # `main` has read that one
        read_manifest(manifest, split="train")  # a missing one is told before the first row has trained for hours
    files = [args.data / file for file in MEASURED_FILES[args.name]]
    measured = {file.name: manifest_sha256(file) for file in files if file.is_file()}
    configs = {
        label: settings_of(replace(variant, settings=(*variant.settings, *args.set)), budget=args.budget)
        for label, variant in ROWS[args.name].items()
    }
    results = {}
    for label, config in configs.items():
        of_seeds = [
            finish_row(
                label,
                replace(config, seed=config.seed + seed),
                manifest=manifests[label],
                run=run_folder(args.out, label=label, seed=seed),
                name=args.name,
                measure=measure,
                measured=measured,
            )
            for seed in range(args.seeds)
        ]
        results[label] = over_seeds(of_seeds)
    if args.name == "mulan-6":
        results |= _read_sentences(args.data)
    return results


def _manifest_of(name: str, label: str) -> str:
    if name.startswith("muscall"):
        return measures.PAIRS_FILE
    return measures.UNFILTERED_FILE if ROWS[name][label].unfiltered else measures.SOURCES_FILE


def _read_sentences(data: Path) -> dict[str, dict[str, Any]]:
    """Results of the published sentence encoders on the triplets. Those that cannot be found are left out."""
    kinds = measures.read_both_triplets(data)
    results = {}
    for label, name in SENTENCE_ENCODERS.items():
        try:
            embed = open_sentence_encoder(name)
        except ConfigError as exc:
            print(f"{label}: {exc}", file=sys.stderr)
            continue
        results[label] = measures.score_both_triplets(kinds, embed=embed)
    return results


def _count_texts(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    return measures.count_texts(args.data)


def _page(name: str, results: Mapping[str, dict[str, Any]], *, data: Path, tracks: int) -> str:
    """The table with its heading and facts, as Markdown."""
    first = next(iter(results.values()))
    lines = [f"### {PLACES[name]}", ""]
    facts = {key: value for key, value in first.items() if not isinstance(value, dict | list)}
    counted = count_words({**facts, "intervals": {}})
    lines.append(
        f"Ours: {tracks:,} training tracks of {data.resolve().name}{counted and ', ' + counted}. The paper's: "
        f"{DATA[name.partition('-')[0]]}. {SAID.get(name, '')}".rstrip()
    )
    table = make_failures(first) if name == "muscall-3" else make_table(name, results=results)
    return "\n".join([*lines, "", table])


if __name__ == "__main__":
    raise SystemExit(main())
