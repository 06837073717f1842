"""python -m train.evaluate PROTOCOL --ckpt CKPT --data DATA [--split test] [--json]; see PROTOCOL --help."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from train.checkpoint import CheckpointError, load_checkpoint
from train.config import ConfigError
from train.data.audio import AudioDecodeError, StoreSilentError
from train.data.manifest import SPLITS, ManifestError
from train.data.rows import read_split
from train.evaluate.embed import open_sentence_encoder
from train.evaluate.errors import EvaluationError
from train.evaluate.labels import read_names
from train.evaluate.pairs import evaluate_pairs, read_comparisons
from train.evaluate.playlist import evaluate_playlist, read_playlists
from train.evaluate.probe import evaluate_probe
from train.evaluate.report import check_report_path, write_report
from train.evaluate.retrieval import draw_rows, evaluate_retrieval
from train.evaluate.tables import make_table
from train.evaluate.triplet import evaluate_triplet, read_triplets, score_triplets
from train.evaluate.zeroshot import evaluate_zeroshot


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 2 for input that cannot be used."""
    args = _parser().parse_args(arguments)
    try:
        result = args.run(args)
    except StoreSilentError as exc:
        print(f"error: {exc}; start again when the store answers", file=sys.stderr)
        return 2
    except (CheckpointError, ConfigError, ManifestError, AudioDecodeError, EvaluationError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        Console().print(make_table(args.protocol, result=result))
        for note in result.get("notes", []):
            print(note)  # in the table, a narrow one would break it after each second word
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__)
    protocols = parser.add_subparsers(dest="protocol", required=True, metavar="PROTOCOL")

    def add(
        name: str,
        run: Callable[[argparse.Namespace], dict[str, Any]],
        *,
        text: str,
        data: str = "manifest.jsonl, or shards",
        split: bool = True,
    ) -> argparse.ArgumentParser:
        protocol = protocols.add_parser(name, help=text, description=text)
        models = protocol if split else protocol.add_mutually_exclusive_group(required=True)
        models.add_argument("--ckpt", required=split, help="checkpoint that `python -m train` wrote")
        protocol.add_argument("--data", required=True, help=data)
        if split:
            protocol.add_argument(
                "--split", choices=SPLITS, default="test", help="split of the rows to score (default test)"
            )
        else:
            models.add_argument(
                "--text", help="or a published sentence encoder: folder or name of a BERT, such as all-MiniLM-L6-v2"
            )
        protocol.add_argument("--seed", type=int, default=0, help="random seed of draws and intervals (default 0)")
        protocol.add_argument("--json", action="store_true", help="print JSON instead of a table")
        protocol.set_defaults(run=run)
        return protocol

    retrieval = add(
        "retrieval", _retrieval, text="measure how well captions find their tracks, and tracks their captions"
    )
    report = add(
        "report", _report, text="write one self-contained HTML page with tables, plots, and failures to listen to"
    )
    report.add_argument("--out", required=True, help="the page to write, such as report.html")
    for paired in (retrieval, report):
        paired.add_argument("--pairs", type=int, metavar="N", help="use only N rows, drawn by --seed (default: all)")
    zeroshot = add("zeroshot", _zeroshot, text="find the labels of tracks by prompts, without training")
    zeroshot.add_argument("--central", action="store_true", help="use only the central window, as MusCALL does")
    probe = add(
        "probe", _probe, text="fit a logistic regression on frozen audio vectors of train, and choose its C on val"
    )
    probe.add_argument(
        "--projected", action="store_true", help="use vectors of the joint space, not the tower's features"
    )
    for labelled in (zeroshot, probe):
        which = labelled.add_mutually_exclusive_group()
        which.add_argument("--single", action="store_true", help="take the first label of each row as its class")
        which.add_argument("--labels", help="file with one label a line: use only these, as tags (default: all)")
    playlist = add(
        "playlist", _playlist, text="measure how well titles and descriptions of playlists find their tracks"
    )
    playlist.add_argument(
        "--playlists", required=True, help='JSON Lines: {"title", "description", "tracks": [track_id]}'
    )
    pairs = add("pairs", _pairs, text="find by prompts which of two tracks is higher in arousal or valence")
    pairs.add_argument(
        "--comparisons",
        required=True,
        help='JSON Lines: {"first": track_id, "second": track_id, "attribute": "arousal" or "valence", '
        '"higher": "first", "second" or "equal"}',
    )
    add(
        "triplet",
        _triplet,
        text="measure how often a text is nearer to a text with the same meaning than to another text",
        data='JSON Lines of texts: {"anchor", "positive", "negative"}',
        split=False,
    )
    return parser


def _retrieval(args: argparse.Namespace) -> dict[str, Any]:
    rows = draw_rows(read_split(args.data, split=args.split, having="captions"), pairs=args.pairs, seed=args.seed)
    return evaluate_retrieval(load_checkpoint(args.ckpt), rows, seed=args.seed)


def _report(args: argparse.Namespace) -> dict[str, Any]:
    out = check_report_path(args.out)
    rows = draw_rows(read_split(args.data, split=args.split, having="captions"), pairs=args.pairs, seed=args.seed)
    title = f"{Path(args.ckpt).name} on split {args.split} of {Path(args.data).name}"
    result = write_report(load_checkpoint(args.ckpt), rows, out=out, title=title, seed=args.seed)
    print(f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    return result


def _zeroshot(args: argparse.Namespace) -> dict[str, Any]:
    rows = read_split(args.data, split=args.split, having="labels")
    names = read_names(args.labels) if args.labels else None
    return evaluate_zeroshot(
        load_checkpoint(args.ckpt), rows, single=args.single, names=names, central=args.central, seed=args.seed
    )


def _probe(args: argparse.Namespace) -> dict[str, Any]:
    splits = {"train": "train", "val": "val", "test": args.split}
    rows = {part: read_split(args.data, split=split, having="labels") for part, split in splits.items()}
    names = read_names(args.labels) if args.labels else None
    return evaluate_probe(
        load_checkpoint(args.ckpt), rows, projected=args.projected, single=args.single, names=names, seed=args.seed
    )


def _playlist(args: argparse.Namespace) -> dict[str, Any]:
    rows = read_split(args.data, split=args.split)
    playlists = read_playlists(args.playlists, rows=rows)
    return evaluate_playlist(load_checkpoint(args.ckpt), rows, playlists=playlists, seed=args.seed)


def _pairs(args: argparse.Namespace) -> dict[str, Any]:
    rows = read_split(args.data, split=args.split)
    comparisons = read_comparisons(args.comparisons, rows=rows)
    return evaluate_pairs(load_checkpoint(args.ckpt), rows, comparisons=comparisons, seed=args.seed)


def _triplet(args: argparse.Namespace) -> dict[str, Any]:
    triplets = read_triplets(args.data)
    if args.text is not None:
        return score_triplets(triplets, embed=open_sentence_encoder(args.text), seed=args.seed)
    return evaluate_triplet(load_checkpoint(args.ckpt), triplets, seed=args.seed)


if __name__ == "__main__":
    raise SystemExit(main())
