"""python -m train.lyrics make --out DIR --tracks N --seed S [--texts BOOK.txt ...]

Makes songs whose words and notes are known; see the package's docstring.
"""

import argparse
import sys
from pathlib import Path

from train.corpus.command import add_options, find_sound_fonts, make_tracks
from train.corpus.errors import CorpusError
from train.lyrics.sing.songs import SongMaker, SongsConfig

SONG_S = 15.0  # with the lead before the first word, one window of the paper's


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m train.lyrics", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    make = commands.add_parser("make", help="make songs whose words and notes are known")
    add_options(make, seconds=SONG_S)
    make.add_argument(
        "--texts",
        type=Path,
        nargs="+",
        default=[],
        metavar="BOOK.txt",
        help="UTF-8 texts whose phrases are sung, 80/10/10 by split; without it, common English words",
    )
    make.set_defaults(run=run_make)
    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except (CorpusError, ValueError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    return 0


def run_make(args: argparse.Namespace) -> None:
    """Make songs and their manifest."""
    config = SongsConfig(
        out=args.out,
        tracks=args.tracks,
        seed=args.seed,
        sound_fonts=find_sound_fonts(args.soundfont),
        seconds=args.seconds,
        sample_rate_hz=args.sample_rate,
        split=args.split,
        texts=tuple(args.texts),
    )
    make_tracks(config, workers=args.workers, maker=SongMaker)


if __name__ == "__main__":
    raise SystemExit(main())
