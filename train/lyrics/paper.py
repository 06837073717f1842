"""The paper's figures as it prints them (§4.2), and results beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from train.evaluate.tables import format_score

LABELS = {"baseline": "baseline", "oracle": "oracle", "multi-task": "multi-task", "pitch": "baseline"}
"""The paper's name of each method. In its Table 2, "baseline" is the network of pitch and onset alone."""

TABLE_1: Mapping[str, tuple[str, str]] = {
    "baseline": ("69.22", "77.3"),
    "oracle": ("64.41", "/"),
    "multi-task": ("68.29", "76.2"),
}
"""Method -> WER in percent on DALI-test and on Jamendo."""

TABLE_2: Mapping[str, tuple[str, ...]] = {
    "pitch": ("53.21", "30.99", "38.77", "36.92", "21.49", "26.90"),
    "multi-task": ("59.84", "28.69", "38.41", "40.49", "19.57", "26.14"),
    "VOCANO": ("18.78", "20.45", "19.07", "7.46", "7.71", "7.40"),
}
"""Method -> precision, recall and F in percent of COn, then of COnP."""

NOTE_SCORES = tuple(f"{measure} {name}" for measure in ("COn", "COnP") for name in ("precision", "recall", "f"))


def show_lyrics(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Table 1: WER of each run beside the paper's two; runs without a transcriber are left out.

    "WER in use" is not of the paper: whole songs, as `ms.transcribe` hears them.

    Args:
        results: name of a run -> result of `evaluate`.
    """
    table = Table("method", title="Lyrics (Table 1); not the paper's data, 95 % intervals", show_lines=True)
    for column in ("WER", "CER", "WER in use", "the paper's WER on DALI-test", "on Jamendo"):
        table.add_column(column, justify="right")
    for name, result in results.items():
        if "WER" in result:
            dali, jamendo = TABLE_1[result["method"]]
            measures = ("WER", "CER", "WER in use")
            table.add_row(_label(name, result), *_cells(result, measures), f"{dali} %", _percent(jamendo))
    for method in _absent(TABLE_1, results):
        dali, jamendo = TABLE_1[method]
        table.add_row(LABELS[method], "", "", "", f"{dali} %", _percent(jamendo))
    return table


def show_notes(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Table 2: scores of notes of each run, and the paper's below them; runs without notes are left out."""
    table = Table("method", title="Notes (Table 2); not the paper's data, 95 % intervals", show_lines=True)
    for column in (*NOTE_SCORES, "framewise error"):
        table.add_column(column, justify="right")
    for name, result in results.items():
        if "COn f" in result:
            table.add_row(_label(name, result), *_cells(result, (*NOTE_SCORES, "framewise error")))
    for method, figures in TABLE_2.items():
        label = LABELS.get(method, method)
        table.add_row(f"{label}, the paper's", *(f"{figure} %" for figure in figures), "")
    return table


def _label(name: str, result: Mapping[str, Any]) -> str:
    label = LABELS[result["method"]]
    return label if name in (label, result["method"]) else f"{label} ({name})"


def _cells(result: Mapping[str, Any], measures: Sequence[str]) -> list[str]:
    return [
        "\n".join(format_score(measure, result[measure], interval=result["intervals"][measure]))
        if measure in result
        else "/"
        for measure in measures
    ]


def _percent(figure: str) -> str:
    return figure if figure == "/" else f"{figure} %"


def _absent(table: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    there = {result["method"] for result in results.values()}
    return [method for method in table if method not in there]
