"""Playlist retrieval (MuLan §4.1.3): the title or the description of a playlist must find its tracks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.checkpoint import Checkpoint
from train.data.manifest import Row
from train.evaluate.bootstrap import bootstrap_interval
from train.evaluate.embed import TextEmbedder, embed_texts, embed_tracks, open_model
from train.evaluate.errors import EvaluationError
from train.evaluate.metrics import average_precision, roc_auc
from train.evaluate.questions import find_track, number_tracks, read_questions

METRICS = {"AUC": roc_auc, "mAP": average_precision}


@dataclass(frozen=True)
class Playlist:
    """A playlist: its title, its description ("" if it has none) and the row numbers of its tracks."""

    title: str
    description: str
    tracks: tuple[int, ...]


def read_playlists(path: str | Path, *, rows: Sequence[Row]) -> list[Playlist]:
    """Read playlists from JSON Lines of {"title", "description", "tracks": [track_id]}; no description is needed.

    Raises:
        EvaluationError: a bad line, a track that is not in the rows, or a playlist with no tracks or with all tracks.
    """
    numbers = number_tracks(rows)
    playlists = []
    for where, values in read_questions(path, texts=("title",)):
        tracks, description = values.get("tracks"), values.get("description") or ""
        if not isinstance(tracks, list) or not isinstance(description, str):
            raise EvaluationError(f"{where}: expected 'tracks' as a list of track_id and 'description' as a text")
        found = {find_track(track, numbers=numbers, where=where) for track in tracks}
        if not 0 < len(found) < len(rows):
            raise EvaluationError(
                f"{where}: {len(found)} of the {len(rows)} tracks; expected at least one, and not all"
            )
        playlists.append(Playlist(values["title"], description.strip(), tuple(sorted(found))))
    return playlists


def evaluate_playlist(
    checkpoint: Checkpoint, rows: Sequence[Row], *, playlists: Sequence[Playlist], seed: int = 0
) -> dict[str, Any]:
    """Embed all rows from three windows each, and score the playlists as `score_playlists` does."""
    model, tokenizer = open_model(checkpoint)
    tracks = embed_tracks(model, rows, workers=checkpoint.config.optim.workers)
    embed = partial(embed_texts, model, tokenizer=tokenizer)
    return score_playlists(tracks, playlists=playlists, embed=embed, seed=seed)


def score_playlists(
    tracks: NDArray[np.float32], *, playlists: Sequence[Playlist], embed: TextEmbedder, seed: int
) -> dict[str, Any]:
    """Mean AUC and mAP over the playlists, with 95 % intervals over the playlists.

    Args:
        tracks: float [n, dim], unit L2 norm. The playlists' track numbers are its row indices.
        playlists: the playlists.
        embed: embeds the titles and descriptions.
        seed: seed of the bootstrap.

    Returns:
        {"tracks": n, "playlists": how many, "title": {"AUC": …, "mAP": …}, "description": {…} if any playlist has one,
        "intervals": {the same with [low, high]}}.
    """
    scores, intervals = {}, {}
    for query in ("title", "description"):
        asked = [playlist for playlist in playlists if getattr(playlist, query)]
        if not asked:
            continue
        vectors = embed([getattr(playlist, query) for playlist in asked])
        values = np.empty((len(asked), len(METRICS)))
        for place, playlist in enumerate(asked):
            relevant = np.zeros(len(tracks), dtype=bool)
            relevant[list(playlist.tracks)] = True
            similarity = tracks @ vectors[place]
            values[place] = [metric(similarity, relevant=relevant) for metric in METRICS.values()]
        scores[query] = dict(zip(METRICS, values.mean(axis=0).tolist(), strict=True))
        intervals[query] = {
            name: bootstrap_interval(column, statistic=lambda drawn: drawn.mean(axis=-1), seed=seed)
            for name, column in zip(METRICS, values.T, strict=True)
        }
    return {"tracks": len(tracks), "playlists": len(playlists), **scores, "intervals": intervals}
