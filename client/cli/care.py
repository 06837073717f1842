"""Commands that look after a library."""

import argparse
import importlib
import platform
from contextlib import ExitStack, closing
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..encoders import open_encoder
from ..errors import MusicSearchError, QueryError
from ..index.maintenance import compact, export_library, import_library, verify
from ..reembed import reembed
from .lines import read_lines
from .output import print_json, print_table

_PACKAGES = ("musicsearch", "onnxruntime-gpu", "onnxruntime", "hnswlib", "av", "tritonclient", "tokenizers", "numpy")


def verify_library(options: argparse.Namespace) -> int:
    found = verify(options.library.expanduser(), repair=options.repair)
    if options.json:
        print_json(asdict(found))
    else:
        for problem in found.problems:
            print(problem)
        if found.tracks is not None:
            print(
                f"{found.tracks} tracks are sound"
                + (f"; {found.lacking} lack vectors: add them again" if found.lacking else "")
            )
    return 1 if found.problems and not options.repair else 0


def compact_library(options: argparse.Namespace) -> int:
    before, after = compact(options.library.expanduser())
    if options.json:
        print_json({"bytes_before": before, "bytes_after": after})
    else:
        print(f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now")
    return 0


def export(options: argparse.Namespace) -> int:
    export_library(options.library.expanduser(), options.target.expanduser())
    print_json({"file": str(options.target)}) if options.json else print(f"wrote {options.target}")
    return 0


def import_(options: argparse.Namespace) -> int:
    moved = dict(_moved(pair) for pair in options.moved)
    found = import_library(options.source.expanduser(), options.library.expanduser(), moved=moved)
    print_json(asdict(found)) if options.json else print(f"{found.tracks} tracks")
    return 0


def _moved(pair: str) -> tuple[str, str]:
    before, equals, after = pair.partition("=")
    if not equals or not before or not after:
        raise QueryError(f"--moved {pair!r}: expected OLD=NEW, two folders")
    return before, str(Path(after).expanduser().absolute())


def reembed_library(options: argparse.Namespace) -> int:
    queries = read_lines(options.queries) if options.queries else []
    with ExitStack() as stack:
        encoder = stack.enter_context(closing(open_encoder(options.encoder, device=options.device)))
        former = stack.enter_context(closing(open_encoder(options.former, device=options.device))) if queries else None
        done = reembed(options.library.expanduser(), encoder, former=former, queries=queries, switch=options.switch)
    if options.json:
        print_json(asdict(done))
        return 1 if done.lacking else 0
    print(f"{done.added.added + done.added.updated} embedded by {done.model}, {done.lacking} are lacking")
    for failed in done.added.failed:
        print(f"  {failed.path}: {failed.reason}")
    if done.overlap:
        rows = [[query, f"{share:.0%}"] for query, share in done.overlap.items()]
        print_table(["query", f"of {done.former}'s ten best"], rows)
    print(f"the library's model is {done.model if done.is_current else done.former}")
    return 1 if done.lacking else 0


def doctor(options: argparse.Namespace) -> int:
    known = {"python": platform.python_version(), "machine": platform.platform()}
    for package in _PACKAGES:
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            known[package] = "-"
    known["providers"] = ", ".join(importlib.import_module("onnxruntime").get_available_providers())
    problem = None
    try:
        with closing(open_encoder(options.encoder, device=options.device)) as encoder:
            encoder.embed_texts(["a test"])
            spec = encoder.spec
            known |= {"model": spec.model_name, "fingerprint": spec.fingerprint, "runs on": encoder.device}
    except MusicSearchError as exc:
        problem = known["model"] = str(exc)
    if options.json:
        print_json(known)
    else:
        print_table(["what", "is"], [[name, value] for name, value in known.items()])
    return 1 if problem else 0
