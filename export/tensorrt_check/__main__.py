"""python -m export.tensorrt_check GRAPH [--parity-data MANIFEST] [--json]

Exit codes: 0 ready for TensorRT 10 and 11; 1 findings; 2 bad input, after one sentence on standard error.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from rich.console import Console
from rich.table import Table

from export import ExportError
from export.tensorrt_check import Finding, check_graph
from export.tensorrt_check.graph import Graph
from export.tensorrt_check.operators import RELEASES
from export.tensorrt_check.parity_items import load_items, max_tokens_of
from export.tensorrt_check.profiles import LENGTH, Profile, input_shapes, profile_of
from export.tensorrt_check.ranges import LARGEST, Range, check_ranges, measure_ranges
from train.data.audio import AudioDecodeError
from train.data.manifest import ManifestError

MODULES_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m export.tensorrt_check", description="Check that TensorRT 10 and 11 can run a graph unchanged."
    )
    parser.add_argument("graph", type=Path, metavar="GRAPH", help="a model.onnx")
    parser.add_argument(
        "--parity-data",
        type=Path,
        metavar="MANIFEST",
        help="captioned music to measure the float16 ranges on; GRAPH must be in an exported repository",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        model = _load(options.graph)
        findings = check_graph(model)
        ranges = None
        if options.parity_data:
            with Console(stderr=True).status("measuring the float16 ranges"):
                ranges = measure_ranges(model, load_items(options.graph, manifest=options.parity_data))
            findings += check_ranges(ranges)
        profile = (
            None if any(finding.kind == "dynamic axis" for finding in findings) else _profile(options.graph, model)
        )
    except (ExportError, ManifestError, AudioDecodeError) as exc:
        print(exc, file=sys.stderr)
        return 2
    if options.json:
        print(
            json.dumps(
                {
                    "ready": not findings,
                    "findings": [asdict(finding) for finding in findings],
                    "ranges": None if ranges is None else [asdict(found) for found in ranges],
                    "profile": profile and asdict(profile),
                },
                indent=2,
            )
        )
    else:
        _print(options.graph, model, findings=findings, ranges=ranges, profile=profile)
    return 1 if findings else 0


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
    except OSError as exc:
        raise ExportError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (DecodeError, onnx.checker.ValidationError) as exc:
        raise ExportError(f"{path} is not an ONNX graph: {exc}") from exc
    if not model.graph.node:
        raise ExportError(f"{path} is not an ONNX graph: it has no nodes")
    return model


def _profile(path: Path, model: onnx.ModelProto) -> Profile:
    shapes = input_shapes(model)
    has_length = any(LENGTH in shape for shape in shapes.values())
    return profile_of(shapes, max_tokens=max_tokens_of(path) if has_length else 1)


def _print(
    path: Path,
    model: onnx.ModelProto,
    *,
    findings: list[Finding],
    ranges: list[Range] | None,
    profile: Profile | None,
) -> None:
    console = Console()
    operators = Counter(node.op_type for node in model.graph.node)
    summary = Table(title=str(path), show_header=False)
    summary.add_row("nodes", str(len(model.graph.node)))
    summary.add_row("operators", ", ".join(f"{name} {count}" for name, count in operators.most_common()))
    summary.add_row("opset", str(Graph(model).opsets.get("", "none")))
    if profile:
        for name, shapes in asdict(profile).items():
            summary.add_row(f"{name} shapes", shapes)
    console.print(summary)
    if ranges:
        table = Table(title="Largest float16 values, by module")
        table.add_column("module", overflow="fold")
        for heading in ("largest", "headroom"):
            table.add_column(heading, justify="right")
        table.add_column("on", no_wrap=True, max_width=40)
        by_module = {found.module or found.node: found for found in reversed(ranges)}  # the largest comes last
        worst = sorted(by_module.items(), key=lambda entry: -entry[1].largest)
        for module, found in worst[:MODULES_SHOWN]:
            headroom = f"{LARGEST / found.largest:,.0f}x" if found.largest else "-"
            table.add_row(module, f"{found.largest:,.1f}", headroom, found.item)
        console.print(table)
    elif ranges is None:
        console.print("float16 ranges: not measured; give --parity-data")
    else:
        console.print("float16 ranges: the graph has no float16 values")
    if findings:
        table = Table("kind", "module", "node", "finding", title="Findings")
        for finding in findings:
            table.add_row(finding.kind, finding.module, finding.node, finding.message)
        console.print(table)
    count = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    verdict = f"{count}: not ready" if findings else "ready"
    console.print(f"{verdict} for {' and '.join(RELEASES.values())}")


if __name__ == "__main__":
    sys.exit(main())
