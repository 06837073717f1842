"""What the commands that make music have in common: their options, the progress bar, the manifest."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from train.data.output import local_path

from .generate import Config, Maker, generate, write_manifest
from .render import find_sound_font
from .sound_fonts import check_sound_font, find_all_sound_fonts
from .templates import SPLITS
from .voices.speech import check_synthesisers


def add_options(parser: argparse.ArgumentParser, *, seconds: float) -> None:
    """Add the options of a run; `seconds` is the default length of a track."""
    parser.add_argument("--out", type=local_path, required=True, help="folder for audio/ and manifest.jsonl")
    parser.add_argument("--tracks", type=int, required=True, help="number of tracks")
    parser.add_argument("--seed", type=int, required=True, help="the same seed gives the same bytes")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"length of a track (default {seconds:g})")
    parser.add_argument(
        "--soundfont",
        type=Path,
        action="append",
        help=".sf2 or .sf3 file; with several, each track draws one; all: every complete sound font of Debian's",
    )
    parser.add_argument("--sample-rate", type=int, default=16_000, help="in Hz (default 16000)")
    parser.add_argument(
        "--split", default="auto", choices=(*SPLITS, "auto"), help="auto: 90/5/5 by the number of the track"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="number of processes (default: one for each core)"
    )


def find_sound_fonts(named: list[Path] | None) -> tuple[Path, ...]:
    """The sound fonts that `--soundfont` names; without it, the usual one.

    Raises:
        CorpusError: there is none.
    """
    if named != [Path("all")]:
        return tuple(named or [find_sound_font()])
    fonts, skipped = find_all_sound_fonts()
    for sentence in skipped:
        print(sentence, file=sys.stderr)
    return tuple(fonts)


def make_tracks(config: Config, *, workers: int, maker: Callable[[Config], Maker] | None = None) -> None:
    """Make all tracks of a run, write their manifest, and say so.

    Args:
        config: the settings of the run.
        workers: number of processes.
        maker: see `generate`.

    Raises:
        CorpusError: FluidSynth, a sound font or a speech synthesiser is not usable.
    """
    check_synthesisers()
    for sound_font in config.sound_fonts:
        check_sound_font(sound_font)
    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        made = generate(config, workers=min(workers, config.tracks), maker=maker)
        rows = list(progress.track(made, total=config.tracks, description="Rendering"))
    manifest = config.out / "manifest.jsonl"
    write_manifest(rows, manifest)
    print(f"{len(rows)} tracks of {config.seconds:g} s in {manifest}")
