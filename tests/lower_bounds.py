"""Prints the oldest versions that pyproject.toml allows the client, as pip's constraints, for `make oldest`."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def lower_bounds() -> list[str]:
    """`name==version; marker` of every dependency that has a lower bound; a bound of 14 is 14.0.0."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    bounds = []
    for requirement in settings["project"]["dependencies"]:
        if found := re.match(r"([\w.-]+)(?:\[[^]]*\])?>=([\d.]+)[^;]*(;.*)?$", requirement):
            name, version, marker = found.groups()
            bounds.append(f"{name}=={version}{marker or ''}")
    return bounds


if __name__ == "__main__":
    print("\n".join(lower_bounds()))
