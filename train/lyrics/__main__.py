"""python -m train.lyrics make | train | evaluate: make songs whose words and notes are known, train a transcriber, and
print the paper's tables beside its figures.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from singing.alphabet import plain_text
from singing.decoding import beam_search, best_path
from singing.language_model import CharacterModel
from train.checkpoint import CheckpointError
from train.config import ConfigError
from train.corpus.command import add_options, find_sound_fonts, make_tracks
from train.corpus.errors import CorpusError
from train.data.audio import AudioDecodeError
from train.data.manifest import SPLITS, ManifestError
from train.evaluate.errors import EvaluationError
from train.loop import TrainingError
from train.lyrics.checkpoint import load_lyrics_checkpoint
from train.lyrics.config import LyricsConfig
from train.lyrics.evaluate import evaluate
from train.lyrics.loop import train_lyrics
from train.lyrics.paper import show_lyrics, show_notes
from train.lyrics.sing.songs import SongMaker, SongsConfig
from train.lyrics.songs import read_songs
from train.run_folder import check_run_folder

SONG_S = 15.0  # with the lead before the first word, one window of the paper's
USER_ERRORS = (
    *(AudioDecodeError, CheckpointError, ConfigError, CorpusError, EvaluationError, ManifestError, TrainingError),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 2 for input that cannot be used."""
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
    except USER_ERRORS as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; a training goes on with --resume", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
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
    make.set_defaults(run=_make)

    train = commands.add_parser("train", help="train a transcriber, with the paper's settings unless --set says so")
    train.add_argument("--data", required=True, type=Path, help="manifest.jsonl of songs with words and notes")
    train.add_argument("--out", required=True, type=Path, help="run directory: ckpt.pt, last.pt, metrics.jsonl")
    train.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings to change, such as model.method=baseline, optim.batch_size=8 or start=RUN",
    )
    train.add_argument("--resume", action="store_true", help="continue the run in --out")
    train.set_defaults(run=_train)

    score = commands.add_parser("evaluate", help="print the paper's Tables 1 and 2 of one run or several")
    score.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories, or checkpoints")
    score.add_argument("--data", required=True, type=Path, help="manifest.jsonl of songs with words and notes")
    score.add_argument("--split", choices=SPLITS, default="test", help="split of the songs to score (default test)")
    score.add_argument(
        "--texts",
        type=Path,
        nargs="+",
        metavar="BOOK.txt",
        help="UTF-8 texts for the language model; without it, the words of the songs of the split train",
    )
    score.add_argument("--greedy", action="store_true", help="take each frame's best class, without a language model")
    score.add_argument("--workers", type=int, default=0, help="processes that decode audio (default 0)")
    score.add_argument("--json", action="store_true", help="print JSON instead of tables, with all texts")
    score.set_defaults(run=_evaluate)
    return parser


def _make(args: argparse.Namespace) -> None:
    sound_fonts = find_sound_fonts(args.soundfont)
    try:
        config = SongsConfig(
            out=args.out,
            tracks=args.tracks,
            seed=args.seed,
            sound_fonts=sound_fonts,
            seconds=args.seconds,
            sample_rate_hz=args.sample_rate,
            split=args.split,
            texts=tuple(args.texts),
        )
    except ValueError as exc:  # a number out of its range
        raise CorpusError(str(exc)) from exc
    make_tracks(config, workers=args.workers, maker=SongMaker)


def _train(args: argparse.Namespace) -> None:
    check_run_folder(args.out)
    train_lyrics(LyricsConfig.with_overrides(args.set), manifest=args.data, run=args.out, resume=args.resume)


def _evaluate(args: argparse.Namespace) -> None:
    songs = read_songs(args.data, split=args.split)
    decode = best_path
    if not args.greedy:
        decode = partial(beam_search, language_model=CharacterModel(_texts(args.texts, data=args.data)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results: dict[str, dict[str, Any]] = {}
    for run in args.runs:
        model = load_lyrics_checkpoint(run).build_model().to(device)
        results[_name(run, among=args.runs)] = evaluate(model, songs, decode=decode, workers=args.workers)
    if args.json:
        print(json.dumps(results, indent=2))
        return
    console = Console()
    if any("WER" in result for result in results.values()):
        console.print(show_lyrics(results))
    if any("COn f" in result for result in results.values()):
        console.print(show_notes(results))


def _texts(books: Sequence[Path] | None, *, data: Path) -> list[str]:
    """What the language model learns from: lines of books, or of the training songs."""
    if books is None:
        return [song.text for song in read_songs(data, split="train")]
    lines = []
    for book in books:
        try:
            lines += [plain_text(line) for line in book.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as exc:
            raise EvaluationError(f"cannot read the text {book} ({exc}); give a file of UTF-8 text") from exc
    return lines


def _name(run: Path, *, among: Sequence[Path]) -> str:
    """The folder's name, or the path where two have the same."""
    folder = run if run.is_dir() else run.parent
    others = [(other if other.is_dir() else other.parent).name for other in among]
    return folder.name if others.count(folder.name) == 1 else str(run)


if __name__ == "__main__":
    raise SystemExit(main())
