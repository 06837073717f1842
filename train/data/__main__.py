"""python -m train.data adapt | check | filter: make a manifest from a public data set, look for what would hurt a run,
keep the texts that describe music."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from train.data.adapters import ADAPTERS, AdapterError, adapt
from train.data.manifest import SPLITS, ManifestError, write_manifest


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        return args.run(args)
    except (AdapterError, ManifestError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.data", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("adapt", help="a public data set in its own layout -> a manifest")
    command.add_argument("name", choices=ADAPTERS, metavar="NAME", help=", ".join(ADAPTERS))
    command.add_argument("root", type=Path, help="folder of the set's annotation files, or one of these files")
    command.add_argument("--out", type=Path, required=True, help="manifest to write")
    command.add_argument("--audio", type=Path, help="folder of the recordings (default: ROOT/audio, else ROOT)")
    command.add_argument("--seed", type=int, default=0, help="of splits that the set does not define")
    command.set_defaults(run=_adapt)
    return parser


def _adapt(args: argparse.Namespace) -> int:
    args.out.parent.mkdir(parents=True, exist_ok=True)
    adapted = adapt(args.name, args.root, audio=args.audio, seed=args.seed)
    write_manifest(args.out, adapted.rows)
    counts = Counter(row.split for row in adapted.rows)
    print(f"{len(adapted.rows)} tracks in {args.out}: {', '.join(f'{counts[s]} {s}' for s in SPLITS)}")
    print(f"splits: {ADAPTERS[args.name].splits}")
    print(f"left out: {len(adapted.without_audio)} without a recording, {len(adapted.without_text)} without a text")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
