"""The papers' own figures, as printed in the papers.

MusCALL: Manco et al., "Contrastive audio-language learning for music", ISMIR 2022. MuLan: Huang et al., "MuLan: a joint
embedding of music audio and natural language", ISMIR 2022.
"""

from collections.abc import Mapping, Sequence

Scores = Mapping[str, Mapping[str, str]]
"""Group -> metric -> figure."""

PLACES: Mapping[str, str] = {
    "muscall-1": "MusCALL, Table 1 (§5.1): cross-modal retrieval",
    "muscall-2": "MusCALL, Table 2 (§5.2): zero-shot transfer",
    "muscall-3": "MusCALL, Table 3 (§6.1): failures of text-to-audio retrieval",
    "muscall-4": "MusCALL, Table 4 (§6.2): ablations",
    "muscall-fig3": "MusCALL, Figure 3 (§5.2): depth of the text encoder, length of the audio",
    "muscall-fig4": "MusCALL, Figure 4 (§6.1): similarities of pairs and of others, and both modalities in one space",
    "mulan-2": "MuLan, Table 2 (§3.4): text by source, before and after the filters",
    "mulan-4a": "MuLan, Table 4a (§4.2.1): zero-shot tagging",
    "mulan-4b": "MuLan, Table 4b (§4.2.1): zero-shot tagging by training text",
    "mulan-4c": "MuLan, Table 4c (§4.2.1): linear probes",
    "mulan-5": "MuLan, Table 5 (§4.2.2): playlists by their titles and descriptions",
    "mulan-6": "MuLan, Table 6 (§4.2.3): text triplets",
}

RECALLS = ("R@1", "R@5", "R@10")
RETRIEVAL = (*RECALLS, "mAP@10", "MedR")
TEXT_STATISTICS = ("tokens (billions)", "texts a track")
AREAS = ("AudioSet Gen-25", "AudioSet Mu-141", "MTAT Top-50", "MTAT All-188")


def _both_ways(*figures: str) -> Scores:
    half = len(RETRIEVAL)
    return {"text to audio": _named(RETRIEVAL, figures[:half]), "audio to text": _named(RETRIEVAL, figures[half:])}


def _named(names: Sequence[str], figures: Sequence[str]) -> dict[str, str]:
    return {name: figure for name, figure in zip(names, figures, strict=True) if figure != "-"}


def _transfer(bare: Sequence[str], prompted: Sequence[str]) -> Scores:
    names = ("genre accuracy", "tagging ROC", "tagging PR")
    return {"label": _named(names, bare), "A {} track": _named(names, prompted)}


def _recalls(*figures: str) -> Scores:
    return {"text to audio": _named(RECALLS, figures)}


def _texts(*figures: str) -> Scores:
    return {"before": _named(TEXT_STATISTICS, figures[:2]), "after": _named(TEXT_STATISTICS, figures[2:])}


def _areas(*figures: str) -> Scores:
    return {"tags": _named(AREAS, figures)}


def _playlists(*figures: str) -> Scores:
    return {query: _named(("AUC", "mAP"), figures[i : i + 2]) for query, i in (("title", 0), ("description", 2))}


def _triplets(*figures: str) -> Scores:
    return {"accuracy": _named(("playlists", "ontology"), figures)}


FIGURES: Mapping[str, Mapping[str, Scores]] = {
    "muscall-1": {
        "DCASE": _both_ways("2.3", "10.4", "17.4", "5.5", "50", "1.1", "5.6", "10.1", "3.0", "84"),
        "DCASE + CL": _both_ways("3.9", "12.4", "18.1", "6.8", "81.5", "2.0", "8.6", "16.4", "4.5", "64"),
        "MusCALL": _both_ways("25.9", "51.9", "63.3", "36.0", "5", "25.8", "53.0", "63.0", "35.9", "5"),
    },
    "muscall-2": {
        "MusCALL": _transfer(("55.5", "78.0", "28.3"), ("52.0", "72.0", "21.0")),
        "MusCALL + SSL": _transfer(("58.2", "77.4", "29.3"), ("62.0", "73.4", "23.2")),
    },
    "muscall-4": {
        "without weights, crops, augmentation": _recalls("14.7", "33.9", "47.2"),
        "without weights, crops": _recalls("18.5", "43.5", "57.4"),
        "without weights, attention pooling": _recalls("24.9", "49.3", "58.9"),
        "without weights, augmentation": _recalls("24.3", "51.3", "62.2"),
        "without weights": _recalls("24.6", "51.5", "63.8"),
        "MusCALL": _recalls("25.9", "51.9", "63.3"),
    },
    "mulan-2": {
        "short_form": _texts("31.2", "42.9", "5.4", "29.6"),
        "long_form": _texts("30.7", "70.7", "0.2", "0.4"),
        "playlist": _texts("2.5", "24.3", "-", "-"),
    },
    "mulan-4a": {
        "M-AST": _areas("0.840", "0.909", "0.778", "0.776"),
        "M-Resnet-50": _areas("0.840", "0.899", "0.782", "0.772"),
    },
    "mulan-4b": {
        "M-Resnet-50": _areas("0.840", "0.899", "0.782", "0.772"),
        "ASET + SF + LF": _areas("0.839", "0.907", "0.760", "0.756"),
        "ASET + SF": _areas("0.839", "0.885", "0.754", "0.747"),
        "ASET": _areas("0.886", "0.942", "0.753", "0.771"),
        "SF/LF unfiltered": _areas("0.845", "0.908", "0.774", "0.766"),
    },
    "mulan-4c": {
        "M-AST": _areas("0.906", "0.942", "0.925", "0.953"),
        "M-Resnet-50": _areas("0.910", "0.940", "0.927", "0.954"),
        "Hybrid": _areas("0.904", "0.920", "0.915", "0.941"),
        "JukeBox": _areas("-", "-", "0.915", "-"),
        "MuLaP": _areas("-", "-", "0.893", "-"),
        "CLMR": _areas("-", "-", "0.866", "-"),
    },
    "mulan-5": {
        "M-AST": _playlists("0.933", "0.110", "0.903", "0.090"),
        "M-Resnet-50": _playlists("0.931", "0.104", "0.901", "0.084"),
        "ASET + SF + LF": _playlists("0.917", "0.101", "0.892", "0.077"),
        "ASET + SF": _playlists("0.913", "0.089", "0.867", "0.060"),
        "ASET": _playlists("0.626", "0.005", "0.688", "0.009"),
        "SF/LF unfiltered": _playlists("0.933", "0.111", "0.897", "0.081"),
    },
    "mulan-6": {
        "M-AST": _triplets("0.959", "0.962"),
        "M-Resnet-50": _triplets("0.945", "0.951"),
        "ASET + SF + LF": _triplets("0.935", "0.952"),
        "ASET + SF": _triplets("0.910", "0.938"),
        "ASET": _triplets("0.693", "0.818"),
        "SF/LF unfiltered": _triplets("0.949", "0.959"),
        "SimCSE": _triplets("0.950", "0.938"),
        "SBERT": _triplets("0.942", "0.889"),
        "USE": _triplets("0.918", "0.946"),
        "BERT, mean of tokens": _triplets("0.850", "0.847"),
    },
}
"""Table -> row -> group -> metric -> figure."""

TAGS = (
    "Its tags are AudioSet's, 25 genres and 141 music classes, and MagnaTagATune's 50 and 188 (§4.1.1); ours are the "
    "labels of the data."
)

SAID: Mapping[str, str] = {
    "muscall-2": "Its genres are GTZAN's, its tags MagnaTagATune's (§5.2); ours are the labels of the test tracks, of "
    "which a track's first is its genre.",
    "muscall-3": "The paper shows three queries whose own track is not first, and the texts of the first tracks.",
    "muscall-fig3": "The figure's values are not printed; the text says that four layers are the best depth, that "
    "longer audio helps, and that attention pooling gains more over the mean the longer it is (§3.4, §5.2, §6.2).",
    "muscall-fig4": "The figure's values are not printed; the text says that pairs are distinctly nearer than others, "
    "that weights raise their mean and lower its variance (§6.2), and that nothing separates the modalities (§6.1).",
    "mulan-4a": TAGS,
    "mulan-4b": TAGS,
    "mulan-4c": TAGS,
    "mulan-5": "Its playlists are 7,000 curated ones of 10 to 100 recordings, among some 100,000 (§4.1.3).",
    "mulan-6": "Its triplets are 1,000 of curated playlists, and five of each of 141 classes of AudioSet (§4.1.4). Our "
    "SBERT is all-MiniLM-L6-v2.",
}
"""What is measured on other data than `DATA`, and what the papers say about figures without printed numbers."""

DATA: Mapping[str, str] = {
    "muscall": "250,000 pairs of a production music library (§4.1), split 80/10/10, of which 1,000 test pairs",
    "mulan": "44 million clips of 30 s of internet music videos and their text (§3.4)",
}
