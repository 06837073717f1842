"""The measurements of each table, on the checkpoints of its rows and on the data.

A result is {fact: how many …, group: {metric: value}, "intervals": {group: {metric: [low, high]}}}. Its groups and
metrics have the names in `papers.FIGURES` if they are the same measurement. The result of MusCALL's Table 3 also has
{"failures": […]}.
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
FILTERED_FILES = {"before": UNFILTERED_FILE, "after": SOURCES_FILE}
PLAYLISTS_FILE = "playlists.jsonl"
TRIPLET_FILES = {"playlists": "playlist_triplets.jsonl", "ontology": "ontology_triplets.jsonl"}

PAIRS = 1_000  # pairs drawn from the test split, as in MusCALL (§5.1)
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
    """Zero-shot genre (the first label) and tagging (all labels); the prompt is the bare label or a sentence."""
    rows = _labelled(data, split="test")
    genres, tags = read_targets(rows, single=True), read_targets(rows, single=False)
    select_defined(tags)
    names = {"accuracy": "genre accuracy", "ROC-AUC": "tagging ROC", "PR-AUC": "tagging PR"}

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        tracks, embed = _embedded(checkpoint, rows, places=(CENTRE,))  # MusCALL uses the central window (§4.2)
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
    """Random captions whose own track is not first, each with the caption of the track that is first."""
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
    """Cosine similarities of pairs and of others, and the modality of nearest neighbours."""
    rows = _test_pairs(data)

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        audio, text, _ = embed_captioned_pairs(checkpoint, rows, seed=0)
        return score_similarities(audio, text=text)

    return measure


def score_similarities(audio: NDArray[np.float32], *, text: NDArray[np.float32]) -> dict[str, Any]:
    """Means and standard deviations of cosine similarities, and the modality of nearest neighbours.

    The last score is the share of embeddings whose nearest neighbour is of the same modality. The two embeddings of the
    own pair do not count as neighbours. The share is a half if the modalities are well mixed, and 1 if they are
    separate.

    Args:
        audio: float [n, dim], unit L2 norm; row i of both is a pair.
        text: float [n, dim], unit L2 norm.
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
    """Zero-shot ROC-AUC over the labels, with the bare label as prompt."""
    rows = _labelled(data, split="test")
    targets = read_targets(rows, single=False)
    select_defined(targets)

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        tracks, embed = _embedded(checkpoint, rows)
        return _as_tags(score_zeroshot(tracks, targets=targets, embed=embed, seed=0), group="label")

    return measure


def probe(data: Path) -> Measure:
    """ROC-AUC over the labels of a linear probe: a logistic regression per label on embeddings of the joint space."""
    rows = {part: _labelled(data, split=part) for part in PARTS}
    probe_targets(rows, single=False)
    return lambda checkpoint: _as_tags(evaluate_probe(checkpoint, rows, projected=True), group="probe")


def playlists(data: Path) -> Measure:
    """Playlist titles and descriptions against the tracks of the test split."""
    rows = read_manifest(data / PAIRS_FILE, split="test")
    asked = read_playlists(data / PLAYLISTS_FILE, rows=rows)
    return lambda checkpoint: evaluate_playlist(checkpoint, rows, playlists=asked)


def triplets(data: Path) -> Measure:
    """Accuracy on both kinds of triplets, or on the only kind that the data has."""
    kinds = read_both_triplets(data)

    def measure(checkpoint: Checkpoint) -> dict[str, Any]:
        model, tokenizer = open_model(checkpoint)
        return score_both_triplets(kinds, embed=partial(embed_texts, model, tokenizer=tokenizer))

    return measure


def read_both_triplets(data: Path) -> dict[str, list[Triplet]]:
    """Read the triplets of each kind: kind -> triplets.

    Raises:
        EvaluationError: there is neither file, or one has a bad line.
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
    """MuLan's Table 2: source -> BERT tokens and texts per track, before and after the filters.

    A track without a text of the source counts too, with 0 texts, also if the filters left it none at all.
    """
    folder = pretrained_folder("all-MiniLM-L6-v2", key="the tokens' vocabulary")  # it has BERT's vocabulary
    tokenizer = read_tokenizer(folder, key="the tokens' vocabulary")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts: dict[str, dict[str, Any]] = {}
    found = {when: read_manifest(data / name, split="train") for when, name in FILTERED_FILES.items()}
    tracks = len({row.audio for row in found["before"]})
    for when, rows in found.items():
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
    """Only the ROC-AUC of a result, in the group "tags" as in `papers`."""
    scores, intervals = ({"ROC-AUC": of[group]["ROC-AUC"]} for of in (found, found["intervals"]))
    return {"tracks": found["tracks"], "labels": found["labels"], "tags": scores, "intervals": {"tags": intervals}}
