"""What a table asks of its rows' checkpoints, and of the data.

A result is {fact: how many …, group: {metric: value}, "intervals": {group: {metric: [low, high]}}}, with the groups and
metrics of `papers.FIGURES` where they are the same thing. That of MusCALL's Table 3 holds {"failures": […]} as well.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.checkpoint import Checkpoint
from train.data.manifest import Row, read_manifest
from train.data.pairs import CENTRE
from train.evaluate.bootstrap import bootstrap_interval
from train.evaluate.embed import PLACES, TextEmbedder, embed_captioned_pairs, embed_texts, embed_tracks, open_model
from train.evaluate.errors import EvaluationError
from train.evaluate.labels import read_targets, select_defined
from train.evaluate.metrics import ranks
from train.evaluate.playlist import evaluate_playlist, read_playlists
from train.evaluate.probe import PARTS, evaluate_probe, probe_targets
from train.evaluate.retrieval import draw_rows, evaluate_retrieval
from train.evaluate.triplet import Triplet, read_triplets, score_triplets
from train.evaluate.zeroshot import score_zeroshot
from train.pretrained import pretrained_folder, read_tokenizer
from train.tables.papers import RECALLS

PAIRS_FILE = "pairs.jsonl"
SOURCES_FILE = "sources.jsonl"
UNFILTERED_FILE = "unfiltered.jsonl"
PLAYLISTS_FILE = "playlists.jsonl"
TRIPLET_FILES = {"playlists": "playlist_triplets.jsonl", "ontology": "ontology_triplets.jsonl"}

PAIRS = 1_000  # of the test split, as MusCALL draws (§5.1)
SHOWN_FAILURES = 3

Measure = Callable[[Checkpoint], dict[str, Any]]


def retrieval(data: Path) -> Measure:
    """MusCALL's five metrics in both directions."""
    rows = _test_pairs(data)

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        found = evaluate_retrieval(checkpoint, rows)
        groups = {"text to audio": "text_to_audio", "audio to text": "audio_to_text"}
        intervals = {name: found["intervals"][key] for name, key in groups.items()}
        return {"pairs": found["pairs"], **{n: found[key] for n, key in groups.items()}, "intervals": intervals}

    return measure


def recalls(data: Path) -> Measure:
    """Recall at 1, 5 and 10 from text to audio."""
    both = retrieval(data)

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        found = both(checkpoint)
        scores, intervals = (
            {metric: of["text to audio"][metric] for metric in RECALLS} for of in (found, found["intervals"])
        )
        return {"pairs": found["pairs"], "text to audio": scores, "intervals": {"text to audio": intervals}}

    return measure


def transfer(data: Path) -> Measure:
    """A track's first label among all first labels, and all its labels, from the bare label and in a sentence."""
    rows = _labelled(data, split="test")
    genres, tags = read_targets(rows, single=True), read_targets(rows, single=False)
    select_defined(tags)
    names = {"accuracy": "genre accuracy", "ROC-AUC": "tagging ROC", "PR-AUC": "tagging PR"}

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        tracks, embed = _embedded(checkpoint, rows, places=(CENTRE,))  # as MusCALL hears a clip (§4.2)
        found = [score_zeroshot(tracks, targets=targets, embed=embed, seed=0) for targets in (genres, tags)]
        result: dict[str, Any] = {
            "tracks": len(rows),
            "genres": found[0]["labels"],
            "tags": found[1]["labels"],
            "intervals": {},
        }
        for style in ("label", "A {} track"):
            result[style] = {names[metric]: value for of in found for metric, value in of[style].items()}
            intervals = (of["intervals"][style] for of in found)
            result["intervals"][style] = {names[metric]: bounds for of in intervals for metric, bounds in of.items()}
        return result

    return measure


def failures(data: Path) -> Measure:
    """Captions whose own track is not first, drawn by seed, and the captions of the tracks that are."""
    rows = _test_pairs(data)

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        audio, text, captions = embed_captioned_pairs(checkpoint, rows, seed=0)
        similarity = text @ audio.T
        rank = ranks(similarity)
        missed = np.random.default_rng(0).permutation(np.flatnonzero(rank > 1))[:SHOWN_FAILURES]
        shown = [
            {"query": captions[i], "found": captions[int(similarity[i].argmax())], "rank": float(rank[i])}
            for i in missed
        ]
        return {"pairs": len(rows), "failures": shown, "intervals": {}}

    return measure


def similarities(data: Path) -> Measure:
    """How near pairs are and how near others, and whether a vector's nearest neighbour is of its own modality."""
    rows = _test_pairs(data)

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        audio, text, _ = embed_captioned_pairs(checkpoint, rows, seed=0)
        return score_similarities(audio, text=text)

    return measure


def score_similarities(audio: NDArray[np.float32], *, text: NDArray[np.float32]) -> dict[str, Any]:
    """Means and standard deviations of cosines, and the share of vectors whose nearest neighbour, their own pair left
    aside, is of the same modality: a half where both are mixed well, 1 where they lie apart.

    Args:
        audio, text: float [n, dim], unit L2 norm; row i of both is a pair.
    """
    similarity = text @ audio.T
    n = len(similarity)
    own = np.eye(n, dtype=bool)
    everything = np.concatenate([audio, text])
    among_all = everything @ everything.T
    among_all[np.tile(own, (2, 2))] = -np.inf
    same = np.arange(2 * n) // n == among_all.argmax(axis=1) // n
    result: dict[str, Any] = {"pairs": n, "intervals": {}}
    for name, values in (("pairs of audio and text", similarity[own]), ("others", similarity[~own])):
        result[name] = {"mean cosine": float(values.mean()), "deviation of cosine": float(values.std())}
    statistics: dict[str, Callable[..., NDArray[np.float32]]] = {"mean cosine": np.mean, "deviation of cosine": np.std}
    result["intervals"]["pairs of audio and text"] = {
        name: bootstrap_interval(similarity[own], statistic=partial(statistic, axis=-1), seed=0)
        for name, statistic in statistics.items()
    }
    result["nearest neighbour"] = {"of the same modality": float(same.mean())}
    return result


def tagging(data: Path) -> Measure:
    """ROC-AUC over the labels, each asked for by its own name."""
    rows = _labelled(data, split="test")
    targets = read_targets(rows, single=False)
    select_defined(targets)

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        tracks, embed = _embedded(checkpoint, rows)
        return _as_tags(score_zeroshot(tracks, targets=targets, embed=embed, seed=0), group="label")

    return measure


def probe(data: Path) -> Measure:
    """The same by a logistic regression for each label on the vectors of the joint space."""
    rows = {part: _labelled(data, split=part) for part in PARTS}
    probe_targets(rows, single=False)
    return lambda checkpoint: _as_tags(evaluate_probe(checkpoint, rows, projected=True), group="probe")


def playlists(data: Path) -> Measure:
    """Titles and descriptions against the tracks of the test split."""
    rows = read_manifest(data / PAIRS_FILE, split="test")
    asked = read_playlists(data / PLAYLISTS_FILE, rows=rows)
    return lambda checkpoint: evaluate_playlist(checkpoint, rows, playlists=asked)


def triplets(data: Path) -> Measure:
    """Both kinds of triplets, or the one that is there."""
    kinds = read_both_triplets(data)

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        model, tokenizer = open_model(checkpoint)
        return score_both_triplets(kinds, embed=partial(embed_texts, model, tokenizer=tokenizer))

    return measure


def read_both_triplets(data: Path) -> dict[str, list[Triplet]]:
    """Kind -> triplets.

    Raises:
        EvaluationError: neither file is there, or one has a bad line.
    """
    found = {kind: read_triplets(data / name) for kind, name in TRIPLET_FILES.items() if (data / name).is_file()}
    if not found:
        raise EvaluationError(f"{data} holds no {' or '.join(TRIPLET_FILES.values())}; expected one of them at least")
    return found


def score_both_triplets(kinds: Mapping[str, Sequence[Triplet]], *, embed: TextEmbedder) -> dict[str, Any]:
    """The accuracy of each kind."""
    result: dict[str, Any] = {"accuracy": {}, "intervals": {"accuracy": {}}}
    for kind, asked in kinds.items():
        found = score_triplets(asked, embed=embed, seed=0)
        result[f"triplets of {kind}"] = found["triplets"]
        result["accuracy"][kind] = found["texts"]["accuracy"]
        result["intervals"]["accuracy"][kind] = found["intervals"]["texts"]["accuracy"]
    return result


def count_texts(data: Path) -> dict[str, dict[str, Any]]:
    """Source -> tokens (BERT's) and texts a track, before and after the filters: MuLan's Table 2.

    A track that has no text of a source counts as one without any.
    """
    folder = pretrained_folder("all-MiniLM-L6-v2", key="the tokens' vocabulary")  # which is BERT's
    tokenizer = read_tokenizer(folder, key="the tokens' vocabulary")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts: dict[str, dict[str, Any]] = {}
    for when, name in (("before", UNFILTERED_FILE), ("after", SOURCES_FILE)):
        rows = read_manifest(data / name, split="train")
        tracks = len({row.audio for row in rows})
        for source in sorted({row.source for row in rows}):
            texts = [text for row in rows if row.source == source for text in row.captions]
            tokens = sum(len(encoded.ids) for encoded in tokenizer.encode_batch(texts, add_special_tokens=False))
            of_source = counts.setdefault(source, {"intervals": {}})
            of_source[when] = {"tokens": tokens, "texts a track": len(texts) / tracks}
    return counts


def _test_pairs(data: Path) -> list[Row]:
    rows = read_manifest(data / PAIRS_FILE, split="test", having="captions")
    return draw_rows(rows, pairs=min(PAIRS, len(rows)), seed=0)


def _labelled(data: Path, *, split: str) -> list[Row]:
    return read_manifest(data / PAIRS_FILE, split=split, having="labels")


def _embedded(
    checkpoint: Checkpoint, rows: Sequence[Row], *, places: Sequence[float] = PLACES
) -> tuple[NDArray[np.float32], TextEmbedder]:
    model, tokenizer = open_model(checkpoint)
    tracks = embed_tracks(model, rows, places=places, workers=checkpoint.config.optim.workers)
    return tracks, partial(embed_texts, model, tokenizer=tokenizer)


def _as_tags(found: dict[str, Any], *, group: str) -> dict[str, Any]:
    """Its ROC-AUC alone, in a group of the papers' name."""
    scores, intervals = ({"ROC-AUC": of[group]["ROC-AUC"]} for of in (found, found["intervals"]))
    return {"tracks": found["tracks"], "labels": found["labels"], "tags": scores, "intervals": {"tags": intervals}}
