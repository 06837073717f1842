"""A self-contained page about a checkpoint: tables, MusCALL's Fig. 4 and Table 3, and the worst queries as audio."""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from train.checkpoint import Checkpoint
from train.data.manifest import Row
from train.evaluate.embed import embed_captioned_pairs
from train.evaluate.errors import EvaluationError
from train.evaluate.failures import Failure, find_label_failures, find_worst
from train.evaluate.labels import read_notes
from train.evaluate.players import Players
from train.evaluate.retrieval import score_retrieval
from train.evaluate.svg import draw_histograms, draw_scatter
from train.evaluate.tables import format_score

PAGE_BYTES = 20_000_000
TEXT_BYTES = 2_000_000
"""Part of the page's size that is kept for everything except audio."""

WORST = 12
LABELS = 40
PLOTTED_PAIRS = 500
SHOWN_LETTERS = 300

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } th, td { border-bottom: 1px solid #ddd; padding: .35em .7em;
text-align: left; vertical-align: top } td small { color: #777; display: block } svg { max-width: 48em; font-size: 12px;
border: 1px solid #eee } audio { height: 2em; width: 16em; display: block }
"""


def check_report_path(out: str | Path) -> Path:
    """Check that a file can be written at `out`, and return its path.

    Raises:
        EvaluationError: its folder is missing, read-only or a file, or `out` itself is a folder.
    """
    path = Path(out)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise EvaluationError(
            f"cannot write the report to {path}; expected a file name in a folder that can be written"
        )
    return path


def write_report(
    checkpoint: Checkpoint, rows: Sequence[Row], *, out: Path, title: str, seed: int = 0
) -> dict[str, Any]:
    """Embed one caption and the central window of every row, and write the page atomically to `out`.

    Returns:
        The result of `score_retrieval`.

    Raises:
        EvaluationError: there are fewer than two rows, the model outputs NaN, or the file cannot be written.
        AudioDecodeError: a file cannot be read.
    """
    if len(rows) < 2:
        raise EvaluationError(f"the split has {len(rows)} row; expected at least 2 to compare")
    audio, text, captions = embed_captioned_pairs(checkpoint, rows, seed=seed)
    result = score_retrieval(text @ audio.T, seed=seed)
    page = render_page(audio, text=text, captions=captions, rows=rows, result=result, title=title, seed=seed)
    partial = out.with_name(f".{out.name}.partial")
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(out)
    except OSError as exc:
        raise EvaluationError(f"cannot write {out}: {exc}") from exc
    finally:
        partial.unlink(missing_ok=True)
    return result


def render_page(
    audio: NDArray[np.float32],
    *,
    text: NDArray[np.float32],
    captions: Sequence[str],
    rows: Sequence[Row],
    result: dict[str, Any],
    title: str,
    seed: int,
) -> str:
    """The page as HTML, at most `PAGE_BYTES` long.

    Args:
        audio: float [n, dim], unit L2 norm; row i belongs to `rows[i]`.
        text: float [n, dim], unit L2 norm; row i belongs to `rows[i]`.
        captions: the n captions that `text` was embedded from.
        rows: the n rows.
        result: the result of `score_retrieval`.
        title: title of the page.
        seed: seed of the plots.
    """
    similarity = text @ audio.T
    players = Players(budget=PAGE_BYTES - TEXT_BYTES)
    matching = np.eye(len(similarity), dtype=bool)
    histograms = {"matching": similarity[matching], "not matching": similarity[~matching]}
    shown = np.sort(np.random.default_rng(seed).permutation(len(rows))[:PLOTTED_PAIRS])
    audio_points, text_points = map_to_plane(audio[shown], text=text[shown], seed=seed)
    sections = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{len(rows)} pairs: the central window of each track and one of its captions, drawn by seed {seed}. "
        "Intervals are 95 % bootstrap intervals over queries.</p>",
        *(f"<p>{escape(note)}</p>" for note in read_notes(rows).get("notes", [])),
        "<h2>Retrieval</h2>",
        _retrieval_table(result),
        "<h2>Similarity of pairs</h2>",
        f"<p>Cosine of captions and tracks; the mean of matching pairs is {histograms['matching'].mean():.3f}, of "
        f"others {histograms['not matching'].mean():.3f}.</p>",
        draw_histograms(histograms),
        "<h2>Both towers in one plane (t-SNE)</h2>",
        f"<p>{len(shown)} pairs; rest the pointer on a point to read its caption.</p>",
        draw_scatter({"audio": audio_points, "text": text_points}, hints=[_short(captions[i]) for i in shown]),
        "<h2>Worst queries</h2>",
        _worst_table(find_worst(similarity, count=WORST), captions, rows, players),
        "<h2>Labels</h2>",
        _label_table(similarity, captions, rows, players),
    ]
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body>{body}</body></html>\n"
    )


def map_to_plane(
    audio: NDArray[np.float32], *, text: NDArray[np.float32], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """t-SNE (van der Maaten and Hinton 2008) of the embeddings of both towers together, by cosine distance.

    Args:
        audio: float [n, dim], n >= 2.
        text: float [n, dim], n >= 2.
        seed: seed of t-SNE.

    Returns:
        The points of audio and of text, both float [n, 2].
    """
    both = np.concatenate([audio, text])
    perplexity = min(30.0, (len(both) - 1) / 3)
    points = TSNE(metric="cosine", init="random", perplexity=perplexity, random_state=seed).fit_transform(both)
    return points[: len(audio)], points[len(audio) :]


def _retrieval_table(result: dict[str, Any]) -> str:
    intervals = result["intervals"]
    metrics = list(intervals["text_to_audio"])
    lines = [["", *metrics]]
    for direction, of_direction in intervals.items():
        scores = [format_score(m, result[direction][m], interval=of_direction[m]) for m in metrics]
        lines.append(
            [direction.replace("_", " "), *(f"{value}<small>{interval}</small>" for value, interval in scores)]
        )
    return _table(lines)


def _worst_table(failures: Sequence[Failure], captions: Sequence[str], rows: Sequence[Row], players: Players) -> str:
    if not failures:
        return "<p>Every caption finds its own track first.</p>"
    lines = [["caption", "rank", "its track", *(f"returned {i + 1}" for i in range(len(failures[0].returned)))]]
    for failure in failures:
        own = _describe(failure.query, captions, rows, players)
        returned = [f"{score:.3f} {_describe(place, captions, rows, players)}" for place, score in failure.returned]
        lines.append([escape(_short(captions[failure.query])), str(failure.rank), own, *returned])
    return _table(lines)


def _label_table(
    similarity: NDArray[np.float32], captions: Sequence[str], rows: Sequence[Row], players: Players
) -> str:
    labels = find_label_failures(similarity, rows=rows)
    if not labels:
        return "<p>The rows have no labels.</p>"
    lines = [["label", "queries", "R@10", "first track has it", "labels found instead", "worst query", "what it finds"]]
    for line in labels[:LABELS]:
        instead = ", ".join(f"{escape(label)} ({count})" for label, count in line.instead)
        lines.append(
            [
                escape(line.label),
                str(line.queries),
                f"{100 * line.recall_at_10:.0f} %",
                f"{100 * line.label_first:.0f} %",
                instead,
                f"{escape(_short(captions[line.worst.query]))}<small>rank {line.worst.rank}</small>",
                _describe(line.worst.returned[0][0], captions, rows, players),
            ]
        )
    rest = f"<p>{len(labels) - LABELS} labels with better results are not shown.</p>" if len(labels) > LABELS else ""
    return _table(lines) + rest


def _describe(place: int, captions: Sequence[str], rows: Sequence[Row], players: Players) -> str:
    row = rows[place]
    return f"{escape(row.track_id)}<small>{escape(_short(captions[place]))}</small>{players.make(row.audio)}"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *body = lines
    cells = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"]
    cells += [f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in body]
    return f"<table>{''.join(cells)}</table>"
