"""Results of protocols as tables."""

from typing import Any

from rich.table import Table


def format_score(metric: str, value: float, *, interval: tuple[float, float]) -> tuple[str, str]:
    """Format a score and its interval: MedR as a rank, AUCs and cosines with three decimals, all others in percent.

    >>> format_score("R@1", 0.25, interval=(0.2, 0.3))
    ('25.0 %', '20.0 to 30.0')
    """
    if metric == "MedR":
        value, low, high = (round(rank, 1) for rank in (value, *interval))
        return f"{value:g}", f"{low:g} to {high:g}"
    if metric.endswith(("AUC", "cosine")):
        return f"{value:.3f}", f"{interval[0]:.3f} to {interval[1]:.3f}"
    return f"{100 * value:.1f} %", f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def count_words(result: dict[str, Any]) -> str:
    """The counts of a result as words, such as "18 pairs": all entries that are not groups of scores."""
    others = {"intervals", "notes", *result["intervals"]}
    facts = {name: value for name, value in result.items() if name not in others}
    return ", ".join(f"C = {value:g}" if name == "C" else f"{value} {name}" for name, value in facts.items())


def make_table(title: str, *, result: dict[str, Any]) -> Table:
    """One row per group of scores and one column per metric. Missing scores are empty cells."""
    intervals = result["intervals"]
    metrics = list(dict.fromkeys(metric for of_group in intervals.values() for metric in of_group))
    table = Table("", title=f"{title}, {count_words(result)} (95 % intervals)", show_lines=True)
    for metric in metrics:
        table.add_column(metric, justify="right")
    for group, of_group in intervals.items():
        cells = {
            metric: "\n".join(format_score(metric, result[group][metric], interval=interval))
            for metric, interval in of_group.items()
        }
        table.add_row(group.replace("_", " "), *(cells.get(metric, "") for metric in metrics))
    return table
