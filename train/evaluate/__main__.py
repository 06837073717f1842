"""python -m train.evaluate retrieval --ckpt CKPT --data MANIFEST --split test [--json]"""

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

from train.checkpoint import CheckpointError, load_checkpoint
from train.data.audio import AudioDecodeError
from train.data.manifest import SPLITS, ManifestError, read_manifest
from train.evaluate.retrieval import evaluate_retrieval


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__)
    parser.add_argument("protocol", choices=["retrieval"])
    parser.add_argument("--ckpt", required=True, help="checkpoint that `python -m train` wrote")
    parser.add_argument("--data", required=True, help="manifest.jsonl")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--seed", type=int, default=0, help="draws one caption per track")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(arguments)
    try:
        checkpoint = load_checkpoint(args.ckpt)
        rows = read_manifest(args.data, split=args.split)
        result = evaluate_retrieval(checkpoint, rows, seed=args.seed)
    except (CheckpointError, ManifestError, AudioDecodeError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(result, indent=2))
        return 0
    table = Table(title=f"retrieval, {result['pairs']} pairs of split {args.split!r}")
    names = list(result["text_to_audio"])
    for column in ("direction", *names):
        table.add_column(column, justify="right" if column != "direction" else "left")
    for direction in ("text_to_audio", "audio_to_text"):
        values = result[direction]
        cells = [f"{values[name]:g}" if name == "MedR" else f"{100 * values[name]:.1f} %" for name in names]
        table.add_row(direction.replace("_", " "), *cells)
    Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
