"""`music-search evaluate`: how well a library finds the tracks that its owner knows to be right."""

import argparse
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from ..encoders import open_encoder
from ..evaluation import Measure, measure, rank, read_queries
from ..index.store import open_store
from ..query import Reading
from .command import Commands
from .output import print_json, print_table


def declare_evaluate(commands: Commands) -> None:
    command = commands.add(
        "evaluate",
        evaluate,
        "measure how well searches find the right tracks of a CSV file",
        "library queries.csv",
        "library queries.csv --beside new_model    after: music-search reembed library --encoder new_model",
        model=True,
    )
    command.add_argument(
        "queries", metavar="CSV", type=Path, help='CSV file with the columns "query" and "track" (id or path)'
    )
    command.add_argument("--beside", metavar="MODEL", help="another model, to compare both")
    command.add_argument("--literal", action="store_true", help="do not read negations in the queries")


def evaluate(options: argparse.Namespace) -> int:
    wanted = read_queries(options.queries)
    rankings = []
    with closing(open_store(options.library)) as store:
        right = {query: {store.named(name).track_id for name in names} for query, names in wanted.items()}
        for source in (options.encoder, options.beside) if options.beside else (options.encoder,):
            with closing(open_encoder(source, device=options.device)) as encoder:
                rankings.append(rank(store, encoder, list(right), literal=options.literal))
    measured = [measure(ranking.found, right) for ranking in rankings]
    difference = measure(rankings[1].found, right, than=rankings[0].found) if options.beside else None
    if options.json:
        models = [
            {
                "model": ranking.model,
                "measures": _as_dicts(measures),
                "exact": _as_dicts(measure(ranking.exact, right)),
                "recall_of_exact": ranking.recall,
            }
            for ranking, measures in zip(rankings, measured, strict=True)
        ]
        read = {query: asdict(reading) for query, reading in rankings[0].readings.items() if _is_told(reading)}
        print_json(
            {
                "queries": len(right),
                "models": models,
                "difference": difference and _as_dicts(difference),
                "readings": read,
            }
        )
        return 0
    columns = [(ranking.model, measures) for ranking, measures in zip(rankings, measured, strict=True)]
    if difference:
        columns.append(("difference", difference))
    header = [f"{len(right)} queries", *(text for name, _ in columns for text in (name, "95 % interval"))]
    rows = [[name, *(text for _, measures in columns for text in _percent(measures[name]))] for name in columns[0][1]]
    print_table(header, rows)
    for ranking in rankings:
        print(f"{ranking.model}: searches find {ranking.recall:.1%} of the ten tracks that an exact search finds")
    return 0


def _is_told(reading: Reading) -> bool:
    return bool(reading.unwanted or reading.parts)


def _as_dicts(measures: Mapping[str, Measure]) -> dict[str, dict[str, float]]:
    return {name: asdict(measure) for name, measure in measures.items()}


def _percent(measure: Measure) -> tuple[str, str]:
    return f"{measure.value:.1%}", f"{measure.low:.1%} to {measure.high:.1%}"
