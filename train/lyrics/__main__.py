"""python -m train.lyrics make | adapt | separate | select | train | evaluate: make songs whose words and notes are
known or read a public set, train a transcriber, and print the paper's tables beside its figures.
"""

import argparse
import json
import sys
from collections import Counter
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
from train.data.manifest import SPLITS, ManifestError, Row, read_manifest, write_manifest
from train.data.output import local_path, prepare_out, refuse_foreign
from train.evaluate.errors import EvaluationError
from train.loop import TrainingError
from train.lyrics.adapters import ADAPTERS, AdapterError, adapt_songs
from train.lyrics.checkpoint import load_lyrics_checkpoint
from train.lyrics.config import LyricsConfig
from train.lyrics.evaluate import evaluate
from train.lyrics.loop import train_lyrics
from train.lyrics.paper import show_lyrics, show_notes
from train.lyrics.selection import SHIFTS, THRESHOLD, select_songs
from train.lyrics.separation import PUBLISHED, SeparationError, load_separator, separate_songs
from train.lyrics.sing.songs import SongMaker, SongsConfig
from train.lyrics.songs import read_songs
from train.lyrics.windows import tell_left_out
from train.run_folder import check_run_folder

SONG_S = 15.0  # with the lead before the first word, one window of the paper's
USER_ERRORS = (
    *(AdapterError, AudioDecodeError, CheckpointError, ConfigError, CorpusError, EvaluationError, ManifestError),
    *(SeparationError, TrainingError, OSError),
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

    adapt = commands.add_parser("adapt", help="a public set of songs or speech in its own layout -> a manifest")
    adapt.add_argument("name", choices=ADAPTERS, metavar="NAME", help=", ".join(ADAPTERS))
    adapt.add_argument("root", type=Path, help="folder of the set's annotations")
    adapt.add_argument("--out", required=True, type=local_path, help="manifest to write")
    adapt.add_argument(
        "--audio", type=Path, help="folder of the recordings (default: the set's own below ROOT, or ROOT)"
    )
    adapt.add_argument("--language", default="english", help="keep this language, or all (default: english)")
    adapt.add_argument("--seed", type=int, default=0, help="of splits that the set does not define")
    adapt.set_defaults(run=_adapt)

    separate = commands.add_parser(
        "separate",
        help="write the voices of songs, by Open-Unmix",
        description="Writes OUT/manifest.jsonl, whose songs have a voice. A stopped run goes on where it was.",
    )
    separate.add_argument("manifest", type=Path, help="manifest.jsonl of songs")
    separate.add_argument(
        "--out", required=True, type=local_path, metavar="FOLDER", help="gets manifest.jsonl and voices/"
    )
    separate.add_argument(
        "--weights",
        default="umxhq",
        help=f"{' or '.join(PUBLISHED)}, downloaded once, or a folder of weights (default: umxhq, the paper's)",
    )
    separate.set_defaults(run=_separate)

    select = commands.add_parser(
        "select", help="keep the songs whose notes fit their recording, moved by semitones where that fits better"
    )
    select.add_argument("manifest", type=Path, help="manifest.jsonl of songs with notes, such as DALI's")
    select.add_argument("--model", required=True, type=Path, metavar="RUN", help="run of the method pitch")
    select.add_argument("--out", required=True, type=local_path, help="manifest to write")
    select.add_argument(
        "--threshold",
        type=float,
        default=THRESHOLD,
        help="largest share of wrong frames, 0 to 1 (default 0.5, the paper's)",
    )
    select.add_argument("--workers", type=int, default=0, help="processes that decode audio (default 0)")
    select.add_argument("--json", action="store_true", help="print shift and error of each song as JSON")
    select.set_defaults(run=_select)

    train = commands.add_parser("train", help="train a transcriber, with the paper's settings unless --set says so")
    train.add_argument("--data", required=True, type=Path, help="manifest.jsonl of songs with words and notes")
    train.add_argument("--out", required=True, type=local_path, help="run directory: ckpt.pt, last.pt, metrics.jsonl")
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


def _adapt(args: argparse.Namespace) -> None:
    refuse_foreign(args.out, key="audio")
    prepare_out(args.out, manifests=[])
    adapted = adapt_songs(args.name, args.root, audio=args.audio, language=args.language, seed=args.seed)
    write_manifest(args.out, adapted.rows)
    print(_counted(adapted.rows, out=args.out))
    print(f"splits: {ADAPTERS[args.name].splits}")
    languages = ", ".join(f"{count} {name or 'unknown'}" for name, count in adapted.other_languages.most_common())
    print(
        f"left out: {adapted.other_languages.total()} in other languages{f' ({languages})' if languages else ''}, "
        f"{len(adapted.without_audio)} without a recording, {len(adapted.without_words)} without words"
    )
    for song in adapted.unreadable:
        print(f"left out: {song.reason}", file=sys.stderr)


def _separate(args: argparse.Namespace) -> None:
    rows, out = read_manifest(args.manifest), args.out / "manifest.jsonl"
    prepare_out(out, manifests=[args.manifest])
    separator = load_separator(args.weights, device=_device())
    separated = separate_songs(
        rows, manifest=args.manifest, out=args.out, separator=separator, console=Console(stderr=True)
    )
    for reason in separated.left_out.values():
        print(f"left out: {reason}", file=sys.stderr)
    if not separated.rows:
        raise ManifestError(f"no recording of {args.manifest} can be decoded, so {out} was not written")
    write_manifest(out, separated.rows)
    speech = f", {separated.speech} of them speech, which is all voice" if separated.speech else ""
    print(f"{_counted(separated.rows, out=out)}{speech}; {len(separated.left_out)} left out")


def _select(args: argparse.Namespace) -> None:
    rows = read_manifest(args.manifest)
    prepare_out(args.out, manifests=[args.manifest])
    selected = select_songs(
        load_lyrics_checkpoint(args.model).build_model().to(_device()),
        rows,
        manifest=args.manifest,
        threshold=args.threshold,
        workers=args.workers,
        console=Console(stderr=True),
    )
    write_manifest(args.out, selected.rows)
    for reason in selected.undecodable.values():
        print(f"left out: {reason}", file=sys.stderr)
    kept = {row.track_id for row in selected.rows}
    if args.json:
        fits = {name: {**vars(fit), "kept": name in kept} for name, fit in selected.fits.items()}
        print(json.dumps({"songs": fits, "without_notes": selected.without_notes, "undecodable": selected.undecodable}))
        return
    print(_counted(selected.rows, out=args.out))
    moved = Counter(selected.fits[name].shift for name in kept)
    print(f"semitones: {', '.join(f'{moved[shift]} by {shift:+d}' for shift in sorted(SHIFTS) if moved[shift])}")
    print(
        f"left out: {len(selected.fits) - len(kept)} with more than {args.threshold:.0%} wrong frames, "
        f"{len(selected.without_notes)} without notes, {len(selected.undecodable)} that cannot be decoded; of the "
        f"others {sum(selected.past_end.values())} notes past the end of their recording"
    )


def _counted(rows: Sequence[Row], *, out: Path) -> str:
    counts = Counter(row.split for row in rows)
    return f"{len(rows)} tracks in {out}: {', '.join(f'{counts[split]} {split}' for split in SPLITS)}"


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _train(args: argparse.Namespace) -> None:
    check_run_folder(args.out)
    train_lyrics(LyricsConfig.with_overrides(args.set), manifest=args.data, run=args.out, resume=args.resume)


def _evaluate(args: argparse.Namespace) -> None:
    songs = read_songs(args.data, split=args.split)
    decode = best_path
    if not args.greedy:
        decode = partial(beam_search, language_model=CharacterModel(_texts(args.texts, data=args.data)))
    device = _device()
    results: dict[str, dict[str, Any]] = {}
    for run in args.runs:
        checkpoint = load_lyrics_checkpoint(run)
        result = evaluate(checkpoint.build_model().to(device), songs, decode=decode, workers=args.workers)
        results[_name(run, among=args.runs)] = {**result, "voice_share": checkpoint.voice_share}
    for told in dict.fromkeys(tell_left_out(result["left_out"]) for result in results.values()):
        print(told, end="\n" if told else "", file=sys.stderr)
    if args.json:
        print(json.dumps(results, indent=2))
        return
    console = Console()
    if any("WER" in result for result in results.values()):
        console.print(show_lyrics(results))
    if any("COn f" in result for result in results.values()):
        console.print(show_notes(results))
    for name, result in results.items():
        console.print(f"{name}: {result['voice_share']:.0%} of the training windows had a separated voice")


def _texts(books: Sequence[Path] | None, *, data: Path) -> list[str]:
    """What the language model learns from: lines of books, or of the training songs."""
    lines: list[str] = []
    if books is None:
        if not any(row.split == "train" for row in read_manifest(data)):
            raise EvaluationError(
                f"{data} has no songs of the split train for the language model; give --texts BOOK.txt, or --greedy"
            )
        lines = [song.text for song in read_songs(data, split="train")]
    for book in books or ():
        try:
            lines += [plain_text(line) for line in book.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as exc:
            raise EvaluationError(f"cannot read the text {book} ({exc}); give a file of UTF-8 text") from exc
    if not any(lines):
        source = ", ".join(map(str, books or [data]))
        raise EvaluationError(f"{source} has no English words for the language model; give other --texts, or --greedy")
    return lines


def _name(run: Path, *, among: Sequence[Path]) -> str:
    """The folder's name, or the path where two have the same."""
    folder = run if run.is_dir() else run.parent
    others = [(other if other.is_dir() else other.parent).name for other in among]
    return folder.name if others.count(folder.name) == 1 else str(run)


if __name__ == "__main__":
    raise SystemExit(main())
