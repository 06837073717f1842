"""python -m train.corpus --out DIR --tracks N --seed S: see the package's docstring."""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from .errors import CorpusError
from .generate import CorpusConfig, generate, write_manifest
from .render import find_sound_font
from .sound_fonts import check_sound_font, find_all_sound_fonts
from .templates import SPLITS
from .voices.speech import check_synthesisers


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m train.corpus", description="Compose, render and caption synthetic music."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for audio/ and manifest.jsonl")
    parser.add_argument("--tracks", type=int, required=True, help="number of tracks")
    parser.add_argument("--seed", type=int, required=True, help="the same seed gives the same bytes")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of a track (default 12)")
    parser.add_argument(
        "--soundfont",
        type=Path,
        action="append",
        help=".sf2 or .sf3 file; given several times, each track draws one; all: every complete one of Debian's",
    )
    parser.add_argument("--sample-rate", type=int, default=16_000, help="in Hz (default 16000)")
    parser.add_argument("--split", default="auto", choices=(*SPLITS, "auto"), help="auto is 90/5/5 by index")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: cores)")
    args = parser.parse_args(argv)
    try:
        config = CorpusConfig(
            out=args.out,
            tracks=args.tracks,
            seed=args.seed,
            sound_fonts=tuple(_sound_fonts(args.soundfont)),
            seconds=args.seconds,
            sample_rate_hz=args.sample_rate,
            split=args.split,
        )
        check_synthesisers()
        for sound_font in config.sound_fonts:
            check_sound_font(sound_font)
        columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
            made = generate(config, workers=min(args.workers, args.tracks))
            rows = list(progress.track(made, total=args.tracks, description="Rendering"))
    except (CorpusError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    manifest = config.out / "manifest.jsonl"
    write_manifest(rows, manifest)
    print(f"{len(rows)} tracks of {config.seconds:g} s in {manifest}")
    return 0


def _sound_fonts(named: list[Path] | None) -> list[Path]:
    if named != [Path("all")]:
        return named or [find_sound_font()]
    fonts, skipped = find_all_sound_fonts()
    for sentence in skipped:
        print(sentence, file=sys.stderr)
    return fonts


if __name__ == "__main__":
    sys.exit(main())
