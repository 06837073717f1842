"""python -m train RECIPE --data MANIFEST --out RUN_DIR [--set key=value ...] [--resume]"""

import argparse
import sys

from train.checkpoint import CheckpointError
from train.config import ConfigError, load_recipe
from train.data.audio import AudioDecodeError
from train.data.manifest import ManifestError
from train.data.output import local_path
from train.distributed import LostProcessError
from train.evaluate.errors import EvaluationError
from train.loop import TrainingError, train
from train.run_folder import check_run_folder

USER_ERRORS = (
    *(AudioDecodeError, CheckpointError, ConfigError, EvaluationError, LostProcessError, ManifestError, TrainingError),
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    parser.add_argument("recipe", help="a file of train/recipes without its suffix, such as starter")
    parser.add_argument(
        "--data", required=True, help="manifest.jsonl, or shards: 'shards/{000..063}.tar', 's3://bucket/{000..063}.tar'"
    )
    parser.add_argument("--out", required=True, type=local_path, help="run directory: ckpt.pt, last.pt, metrics.jsonl")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings to change, such as optim.epochs=3",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    args = parser.parse_args(arguments)
    try:
        config = load_recipe(args.recipe, overrides=args.set)
        check_run_folder(args.out)
        train(config, manifest=args.data, run=args.out, resume=args.resume)
    except USER_ERRORS as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        saved = (args.out / "last.pt").exists()
        print(
            f"stopped; {f'continue with --resume --out {args.out}' if saved else 'nothing was saved yet'}",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
