"""Turns public data sets in their published layouts into manifest rows."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from train.data.adapters.audioset import read_audioset
from train.data.adapters.audioset_ontology import make_ontology_triplets
from train.data.adapters.gtzan import read_gtzan, read_gtzan_all
from train.data.adapters.layout import AdapterError, audio_folder, decodes, has_content, tag_list
from train.data.adapters.magnatagatune import read_magnatagatune, read_magnatagatune_merged
from train.data.adapters.mtg_jamendo import read_mtg_jamendo
from train.data.adapters.musav import read_musav, read_musav_comparisons
from train.data.adapters.muscall import read_muscall
from train.data.adapters.musiccaps import read_musiccaps
from train.data.adapters.playlists import read_playlists
from train.data.adapters.song_describer import read_song_describer, read_song_describer_valid
from train.data.manifest import Row

__all__ = ["ADAPTERS", "TRIPLETS", "Adapted", "Adapter", "AdapterError", "adapt"]

OWN = "the set's own"
TEST_ONLY = "test is the set's own, validation 5 % of the rest by seed"
SEEDED = "90/5/5 by seed"


class Adapter(NamedTuple):
    """Describes how to read a data set.

    Attributes:
        read: (root, *, audio, seed) -> rows. Their audio file may be missing and they may have no captions.
        splits: where the splits come from, for the user.
        comparisons: root -> the input of `train.evaluate pairs`, for a set that only compares its tracks.
        has_broken: whether a copy of the set is known to hold a file that does not decode.
    """

    read: Callable[..., Iterable[Row]]
    splits: str
    comparisons: Callable[[Path], list[dict[str, Any]]] | None = None
    has_broken: bool = False


ADAPTERS = {
    "audioset": Adapter(read_audioset, TEST_ONLY),
    "gtzan": Adapter(read_gtzan, "fault-filtered (Kereliuk et al. 2015), which leaves out 70 clips", has_broken=True),
    "gtzan_all": Adapter(read_gtzan_all, SEEDED, has_broken=True),
    "magnatagatune": Adapter(read_magnatagatune, "the usual one, by folder: 0-b, c, d-f"),
    "magnatagatune_merged": Adapter(read_magnatagatune_merged, "the usual one, by folder: 0-b, c, d-f"),
    "mtg_jamendo": Adapter(read_mtg_jamendo, f"{OWN} where its split files are there, else {SEEDED} and artist"),
    "muscall": Adapter(read_muscall, OWN),
    "musav": Adapter(read_musav, "all test, as the set is for evaluation", comparisons=read_musav_comparisons),
    "musiccaps": Adapter(read_musiccaps, TEST_ONLY),
    "playlists": Adapter(read_playlists, SEEDED),
    "song_describer": Adapter(read_song_describer, "all test, as the set is for evaluation"),
    "song_describer_valid": Adapter(read_song_describer_valid, "all test, as the set is for evaluation"),
}

TRIPLETS = {"audioset_ontology": make_ontology_triplets}
"""Data sets of texts only: (root, *, seed) -> triplets to evaluate a text encoder with, and no rows."""


@dataclass(frozen=True)
class Adapted:
    """The result of reading a data set.

    Attributes:
        rows: the usable rows.
        without_audio: tracks that were left out because they have no audio file.
        without_text: tracks that were left out because they have no text.
        undecodable: tracks that were left out because their file does not decode; checked only for sets that are known
            to have such files.
        comparisons: for a set that compares its tracks, the comparisons of the usable rows.
    """

    rows: list[Row]
    without_audio: list[str]
    without_text: list[str]
    undecodable: list[str]
    comparisons: list[dict[str, Any]]


def adapt(
    name: str,
    root: Path,
    *,
    audio: Path | None = None,
    seed: int = 0,
    top_labels: int | None = None,
    keep_unlabelled: bool = False,
) -> Adapted:
    """Read the files of a data set into rows.

    A track is left out and listed if its audio file is missing or empty, or if it has no text. A track of GTZAN is also
    left out if its file does not decode, because an evaluation would stop there.

    Args:
        name: a key of `ADAPTERS`.
        root: the folder of the set's annotations, or one of the set's annotation files.
        audio: the folder of its recordings; None: `root / "audio"`, or `root` if there is no such folder.
        seed: for the splits if the set defines none.
        top_labels: keep only this many labels, the most frequent of all rows of the set, such as MagnaTagATune's usual
            50. A track that has none of them and no other text is left out. None: keep all labels.
        keep_unlabelled: keep the tracks that have none of the labels and mark their rows. They are negatives of each
            label in a tag evaluation and cannot be trained on.

    Raises:
        AdapterError: an unknown name, a root or audio folder that does not belong to this set, no usable track,
            `top_labels` below 1, or `top_labels` or `keep_unlabelled` for a set without labels.
    """
    if name not in ADAPTERS:
        raise AdapterError(f"unknown data set {name!r}; expected one of {', '.join(ADAPTERS)}")
    if not root.exists():
        raise AdapterError(f"no folder {root}; give the folder that holds the files of {name}")
    if audio is not None and not audio.is_dir():
        raise AdapterError(f"no audio folder {audio}; give the folder that holds the recordings of {name}")
    if top_labels is not None and top_labels < 1:
        raise AdapterError(f"top_labels is {top_labels}; expected at least 1, such as 50 for MagnaTagATune")
    folder = audio or audio_folder(root)
    named = list(ADAPTERS[name].read(root, audio=folder, seed=seed))
    for option, is_asked in (("top_labels", top_labels is not None), ("keep_unlabelled", keep_unlabelled)):
        if is_asked and not any(row.labels for row in named):
            raise AdapterError(f"{name} has no labels, so {option} has no meaning; leave out {option}")
    if top_labels is not None:
        named = _with_top_labels(named, count=top_labels)
    if keep_unlabelled:
        named = [replace(row, no_label=not row.labels) for row in named]
    compare = ADAPTERS[name].comparisons
    rows, without_audio, without_text, undecodable = [], [], [], []
    for row in named:
        if not has_content(row.file):
            without_audio.append(row.track_id)
        elif not (row.captions or row.no_label or compare):
            without_text.append(row.track_id)
        elif ADAPTERS[name].has_broken and not decodes(row.file):
            undecodable.append(row.track_id)
        else:
            rows.append(row)
    if without_audio and not rows and not without_text:
        raise AdapterError(
            f"none of the {len(without_audio)} recordings of {name} is in {folder} (the first is "
            f"{without_audio[0]!r}); give the folder that holds them with --audio"
        )
    if not rows:
        raise AdapterError(f"{root} names no track of {name} that has both a recording and a text; check the folder")
    kept = {row.track_id for row in rows}
    comparisons = [pair for pair in (compare(root) if compare else []) if {pair["first"], pair["second"]} <= kept]
    if compare and not comparisons:
        raise AdapterError(
            f"no pair of {name} has both its recordings in {folder}; give the folder that holds them all"
        )
    return Adapted(rows, without_audio, without_text, undecodable, comparisons)


def _with_top_labels(rows: Sequence[Row], *, count: int) -> list[Row]:
    """Keep only the frequent labels of each row, also in the caption if it is the list of labels."""
    frequent = {label for label, _ in Counter(label for row in rows for label in row.labels).most_common(count)}
    kept = []
    for row in rows:
        labels = tuple(label for label in row.labels if label in frequent)
        captions = tag_list(labels) if row.captions == tag_list(row.labels) else row.captions
        kept.append(replace(row, labels=labels, captions=captions))
    return kept
