"""Formats results beside the papers' figures, as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from train.evaluate.tables import format_score
from train.tables.papers import FIGURES

COUNTS = ("tokens", "texts a track")


def make_table(name: str, *, results: Mapping[str, dict[str, Any]]) -> str:
    """One Markdown table per group of scores.

    Each row has two lines: our scores with their 95 % intervals, and the paper's. Rows that only the paper has come
    last. Ours are in the paper's unit: percent beside MusCALL's figures, fractions beside MuLan's.

    Args:
        name: a key of `papers.PLACES`.
        results: label -> result of the table's measure.
    """
    figures = FIGURES.get(name, {})
    blocks = []
    for group in _groups(results, figures):
        ours = {label: result.get(group, {}) for label, result in results.items()}
        theirs = {label: of.get(group, {}) for label, of in figures.items()}
        metrics = list(dict.fromkeys(metric for of in (*ours.values(), *theirs.values()) for metric in of))
        lines = [f"| {group} | {' | '.join(metrics)} |", f"|---|{'---|' * len(metrics)}"]
        for label in dict.fromkeys([*ours, *theirs]):
            if ours.get(label):
                intervals = results[label]["intervals"].get(group, {})
                cells = [
                    _cell(metric, ours[label].get(metric), intervals.get(metric), as_fraction=name.startswith("mulan"))
                    for metric in metrics
                ]
                lines.append(f"| {label} | {' | '.join(cells)} |")
            if theirs.get(label):
                cells = [theirs[label].get(metric, "") for metric in metrics]
                lines.append(f"| *{label}, the paper's* | {' | '.join(cells)} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def make_failures(result: dict[str, Any]) -> str:
    """A Markdown table with one line for each query that does not find its own track first."""
    lines = ["| the query | the text of the track that came first | its own track's rank |", "|---|---|---|"]
    lines += [f"| {each['query']} | {each['found']} | {each['rank']:g} |" for each in result["failures"]]
    return "\n".join(lines)


def _groups(results: Mapping[str, dict[str, Any]], figures: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    ours = (name for result in results.values() for name, scores in result.items() if isinstance(scores, dict))
    theirs = (name for of in figures.values() for name in of)
    return [name for name in dict.fromkeys([*ours, *theirs]) if name != "intervals"]


def _cell(metric: str, value: float | None, interval: tuple[float, float] | None, *, as_fraction: bool) -> str:
    if value is None:
        return ""
    if metric in COUNTS:
        return f"{value:,.1f}".removesuffix(".0")
    low, high = interval or (value, value)
    if as_fraction:
        written, bounds = f"{value:.3f}", f"{low:.3f} to {high:.3f}"
    else:
        written, bounds = format_score(metric, value, interval=(low, high))
    return f"{written} ({bounds})" if interval else written
