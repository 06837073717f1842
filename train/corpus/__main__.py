"""python -m train.corpus --out DIR --tracks N --seed S: see the package's docstring."""

import argparse
import sys

from .command import add_options, find_sound_fonts, make_tracks
from .errors import CorpusError
from .generate import CorpusConfig


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m train.corpus", description="Compose, render and caption synthetic music."
    )
    add_options(parser, seconds=12.0)
    args = parser.parse_args(argv)
    try:
        config = CorpusConfig(
            out=args.out,
            tracks=args.tracks,
            seed=args.seed,
            sound_fonts=find_sound_fonts(args.soundfont),
            seconds=args.seconds,
            sample_rate_hz=args.sample_rate,
            split=args.split,
        )
        make_tracks(config, workers=args.workers)
    except (CorpusError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
