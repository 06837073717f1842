"""python -m bench [NAME ...]: measure, and replace those sections of bench/RESULTS.md; without names, all of them."""

import argparse
import importlib
import os
import platform
import re
import sys
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
NAMES = (
    *("retrieval", "negation", "demo", "real_music", "same_vector", "train_throughput", "export_speed", "export_clap"),
    *("published_models", "serving", "soak", "index", "windows", "names", "decoding", "ingest", "latency", "web"),
    "lyrics",
    "transcribe",
    "ontology",
    "shards",
    "million",
    "graph",
    "shared_memory",
    "fail_over",
    "gpu",
    "clapback",
    "scale",
    "milvus",
    "remote",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    names = parser.parse_args().names or NAMES
    unknown = set(names) - set(NAMES)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}; choose from {', '.join(NAMES)}")
    for name in names:
        try:
            module = importlib.import_module(f"bench.{name}")
        except ModuleNotFoundError as exc:
            print(f"{name}: skipped, {exc.name} is not installed; its old section stays")
            continue
        question = (module.__doc__ or "").partition("\n")[0]
        print(f"{name}: {question}", flush=True)
        body = module.measure()
        if body is None:
            print(f"{name}: skipped, what it measures is not on this machine; its old section stays")
            continue
        body = _drawn(name, body)
        section = f"## {module.TITLE}\n\n{body}\n\n`python -m bench {name}`, {date.today()}, {_machine()}.\n"
        _replace(name, section)
        print(body, flush=True)
    return 0


def _drawn(name: str, body: str) -> str:
    try:
        from bench.pictures import draw
    except ModuleNotFoundError as exc:  # on a machine with a GPU and little else
        print(f"{name}: no picture is drawn, {exc.name} is not installed")
        return body
    return draw(name, body)


def _replace(name: str, section: str) -> None:
    """Put a section between its markers, or at the end where it has none yet."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else "# Measured results\n"
    marked = f"<!-- {name} -->\n{section}<!-- end {name} -->"
    pattern = re.compile(f"<!-- {name} -->.*?<!-- end {name} -->", re.DOTALL)
    text = pattern.sub(lambda _: marked, text) if pattern.search(text) else f"{text.rstrip()}\n\n{marked}\n"
    RESULTS.write_text(text, encoding="utf-8")


def _machine() -> str:
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
