"""python -m bench.pictures: the curves of bench/RESULTS.md as SVG in bench/pictures/, drawn from the tables there.

`python -m bench NAME` draws its own after it has measured.
"""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent / "pictures"
Rows = list[dict[str, str]]

_COLOURS = (
    "#d9641e",
    "#2a7f9e",
    "#7a9a3a",
    "#8a5fa8",
    "#b3892f",
    "#5b6770",
    "#c2477f",
    "#3d4f9e",
)  # on white and on black
_STYLE: Any = {
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.labelcolor": "#777777",
    "axes.prop_cycle": cycler(color=_COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": "#777777",
    "axes.titlesize": 10,
    "font.size": 9,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.labelcolor": "#777777",
    "svg.fonttype": "none",  # texts as texts, in the reader's own font
    "svg.hashsalt": "bench",  # the same table gives the same bytes
    "xtick.color": "#777777",
    "ytick.color": "#777777",
}


def read_tables(text: str) -> list[Rows]:
    """The tables of some Markdown, each a list of rows by column; of columns of one name the first counts."""
    tables = []
    for block in re.findall(r"(?:^\|.*\|$\n?){3,}", text, re.MULTILINE):
        header, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in block.strip().splitlines())
        first = {name: header.index(name) for name in header}
        tables.append([{name: row[place] for name, place in first.items()} for row in rows])
    return tables


def number(cell: str) -> float:
    """The first number of a cell: "1,145 ms" is 1145.0."""
    found = re.search(r"-?[\d,]*\.?\d+", cell)
    if found is None:
        raise ValueError(f"{cell!r} holds no number")
    return float(found[0].replace(",", ""))


def _line(axes: Axes, rows: Rows, x: str, y: str, *, label: str, **style: Any) -> None:
    axes.plot([number(row[x]) for row in rows], [number(row[y]) for row in rows], marker="o", label=label, **style)


def _by_callers(axes: Axes, *, title: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="callers", title=title)
    axes.set_xticks([1, 2, 4, 8, 16, 32, 64], labels=["1", "2", "4", "8", "16", "32", "64"], minor=False)
    axes.xaxis.minorticks_off()


def _draw_serving(figure: Figure, tables: list[Rows]) -> None:
    windows, _, texts, files = tables
    rates, latencies = figure.subplots(1, 2)
    for name, rows in (("texts", texts), ("windows", windows), ("files", files)):
        _line(rates, rows, "callers", f"{name}/s", label=name)
        _line(latencies, rows, "callers", "p99", label=name)
    _line(rates, texts, "callers", "cached texts/s", label="texts in the cache", linestyle="--")
    _by_callers(rates, title="answered a second")
    _by_callers(latencies, title="p99, ms")
    rates.legend(loc=(0.55, 0.62))


def _draw_index(figure: Figure, tables: list[Rows]) -> None:
    searched = [rows for rows in tables if "queries/s" in rows[0] and "library" in rows[0]]
    for axes, rows, size in zip(figure.subplots(1, 2), searched, ("20,000", "200,000"), strict=True):
        for library in ("ours", "hnswlib", "usearch", "faiss"):
            own = [row for row in rows if row["library"] == library and row["queries/s"]]
            _line(axes, own, "reached", "queries/s", label=library)
        axes.set(yscale="log", xlabel="recall at 10", title=f"queries a second, {size} vectors")
    axes.legend()


def _draw_graph(figure: Figure, tables: list[Rows]) -> None:
    build, search = figure.subplots(1, 2)
    for size in dict.fromkeys(row["tracks"] for row in tables[0]):
        own = [row for row in tables[0] if row["tracks"] == size]
        for axes, y in ((build, "seconds to build"), (search, "ms a search")):
            axes.scatter([number(row["candidates"]) for row in own], [number(row[y]) for row in own], label=size)
    for axes, title in ((build, "seconds to build"), (search, "ms a search")):
        axes.set(xscale="log", yscale="log", xlabel="candidates for a recall of 0.99", title=title)
    build.legend(title="tracks")


def _draw_ingest(figure: Figure, tables: list[Rows]) -> None:
    rows = tables[2]
    axes = figure.subplots()
    time_of = [number(row["48 MP3 of 3 min"]) for row in rows]
    found = [number(row["R@1"]) for row in rows]
    axes.plot(time_of, found, marker="o")
    for row, x, y in zip(rows, time_of, found, strict=True):
        axes.annotate(row["windows"], (x, y), (6, -10), textcoords="offset points", color="#777777")
    axes.set(xlabel="seconds for 48 tracks of 3 minutes", title="R@1 in %, by windows of each track")


def _draw_million(figure: Figure, tables: list[Rows]) -> None:
    own = {row[""]: row["heard"] for row in tables[0]}
    found = {"ours, with the text's embedding": (own["recall at 10 of the texts"], own["text → ids and scores"])}
    found |= {row[""]: (row["recall"], row["p50 / p99 ms"]) for row in tables[2] if row["recall"]}
    axes = figure.subplots()
    for name, (recall, milliseconds) in found.items():
        axes.scatter(number(recall), number(milliseconds), label=name, s=60)
    axes.set(yscale="log", xlabel="recall at 10", title="p50 of a search among 1,000,000 tracks, ms")
    axes.legend(loc=(0.4, 0.3))


def _draw_negation(figure: Figure, tables: list[Rows]) -> None:
    rows = sorted((row for row in tables[0] if "*" not in row["negated"]), key=lambda row: number(row["read"]))
    axes = figure.subplots()
    places = range(len(rows))
    literal, read = ([number(row[column]) for row in rows] for column in ("literal", "read"))
    axes.hlines(places, literal, read, color="#bbbbbb")
    axes.scatter(literal, places, label="as one text")
    axes.scatter(read, places, label="as it is read")
    axes.axvline(0.5, color="#888888", linestyle=":")
    axes.set_yticks(places, labels=[f"no {row['negated']}" for row in rows])
    axes.set(title="AUC: tracks without it above tracks with it (0.5 is chance)")
    axes.legend()


def _draw_decoding(figure: Figure, tables: list[Rows]) -> None:
    rows = tables[0]
    axes = figure.subplots()
    for shift, column in ((-0.2, "default"), (0.2, "ours")):
        axes.bar(
            [place + shift for place in range(len(rows))], [number(row[column]) for row in rows], 0.4, label=column
        )
    axes.set_xticks(range(len(rows)), labels=[row["format"] for row in rows])
    axes.set(title="ms to decode and resample")
    axes.legend()


def _draw_web(figure: Figure, tables: list[Rows]) -> None:
    axes = figure.subplots()
    for place, size in enumerate(dict.fromkeys(row["tracks"] for row in tables[0])):
        for adding, style in (("", "-"), ("yes", "--")):
            own = [row for row in tables[0] if (row["tracks"], row["adding music meanwhile"]) == (size, adding)]
            label = f"{size} tracks{', adding' if adding else ''}"
            _line(axes, own, "users", "p95", label=label, linestyle=style, color=_COLOURS[place])
    axes.set(xscale="log", yscale="log", xlabel="users at the same time", title="p95 of a search, ms")
    axes.set_xticks([1, 8, 32], labels=["1", "8", "32"])
    axes.xaxis.minorticks_off()
    axes.legend()


def _draw_soak(figure: Figure, tables: list[Rows]) -> None:
    axes = figure.subplots()
    for row in tables[1]:
        name, *minutes = list(row.values())[:11]
        axes.plot(range(1, 11), [number(cell) for cell in minutes], marker="o", label=name.split(",")[0])
    axes.set(xlabel="minute of overload", title="resident memory, MB", ylim=(0, None))
    axes.legend()


PICTURES: dict[str, tuple[str, tuple[float, float], Callable[[Figure, list[Rows]], None]]] = {
    "decoding": ("Time to decode, by format", (6.5, 3), _draw_decoding),
    "graph": ("What a graph costs to build and to search, by size", (8, 3.2), _draw_graph),
    "index": ("Queries a second by recall, beside other libraries", (8, 3.2), _draw_index),
    "ingest": ("Fewer windows a track: quicker, and finds less", (6.5, 3), _draw_ingest),
    "million": ("A million tracks, here and elsewhere", (6.5, 3.4), _draw_million),
    "negation": ("Negated words, as one text and as they are read", (6.5, 6), _draw_negation),
    "serving": ("Rate and latency by callers", (8, 3.4), _draw_serving),
    "soak": ("Memory in ten minutes of overload", (6.5, 3), _draw_soak),
    "web": ("The page's latency by users", (6.5, 3.4), _draw_web),
}


def draw(name: str, body: str) -> str:
    """The body of a section with its picture before its first table; as it is where the section has none."""
    if name not in PICTURES:
        return body
    title, size, picture = PICTURES[name]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        picture(figure, read_tables(body))
        FOLDER.mkdir(exist_ok=True)
        figure.savefig(FOLDER / f"{name}.svg", transparent=True, metadata={"Date": None, "Creator": None})
    shown = f"![{title}](pictures/{name}.svg)"
    return body if shown in body else re.sub(r"^\|", f"{shown}\n\n|", body, count=1, flags=re.MULTILINE)


def main(names: Sequence[str]) -> None:
    from bench.__main__ import RESULTS

    text = RESULTS.read_text(encoding="utf-8")
    for name in names or PICTURES:
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        body, end, after = rest.partition(f"<!-- end {name} -->")
        if not end:
            raise SystemExit(f"bench/RESULTS.md has no section {name}: measure it, `python -m bench {name}`")
        text = f"{before}{begin}{draw(name, body)}{end}{after}"
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
