"""Public data sets, each in its own published layout -> manifest rows."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from train.data.adapters.audioset import read_audioset
from train.data.adapters.audioset_ontology import make_ontology_triplets
from train.data.adapters.gtzan import read_gtzan
from train.data.adapters.layout import AdapterError, audio_folder, has_content, tag_list
from train.data.adapters.magnatagatune import read_magnatagatune
from train.data.adapters.mtg_jamendo import read_mtg_jamendo
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
    """How to read a data set: (root, *, audio, seed) -> rows, whose audio may be missing and whose captions may be
    none; and where its splits come from, for the user."""

    read: Callable[..., Iterable[Row]]
    splits: str


ADAPTERS = {
    "audioset": Adapter(read_audioset, TEST_ONLY),
    "gtzan": Adapter(read_gtzan, f"{SEEDED} (the fault-filtered split is not published with the set)"),
    "magnatagatune": Adapter(read_magnatagatune, "the usual one, by folder: 0-b, c, d-f"),
    "mtg_jamendo": Adapter(read_mtg_jamendo, f"{OWN} where its split files are there, else {SEEDED} and artist"),
    "muscall": Adapter(read_muscall, OWN),
    "musiccaps": Adapter(read_musiccaps, TEST_ONLY),
    "playlists": Adapter(read_playlists, SEEDED),
    "song_describer": Adapter(read_song_describer, "all test, as the set is for evaluation"),
    "song_describer_valid": Adapter(read_song_describer_valid, "all test, as the set is for evaluation"),
}

TRIPLETS = {"audioset_ontology": make_ontology_triplets}
"""Sets of texts alone: (root, *, seed) -> triplets to evaluate a text encoder with, and no rows."""


@dataclass(frozen=True)
class Adapted:
    """The usable rows of a data set, and the tracks left out: without an audio file, or without any text."""

    rows: list[Row]
    without_audio: list[str]
    without_text: list[str]


def adapt(name: str, root: Path, *, audio: Path | None = None, seed: int = 0, top_labels: int | None = None) -> Adapted:
    """Read a data set's own files; a track whose audio file is missing or empty, or that nothing is said about, is
    left out and listed.

    Args:
        name: a key of `ADAPTERS`.
        root: the folder of the set's annotations, or one of the set's annotation files.
        audio: the folder of its recordings; None takes `root / "audio"`, or `root` where there is no such folder.
        seed: of the splits where the set defines none.
        top_labels: keep this many labels only, the most frequent of all the set's rows, such as MagnaTagATune's usual
            50; a track without any of them, and of which nothing else is said, is left out. None keeps all.

    Raises:
        AdapterError: an unknown name, a root or audio folder that is not this set's, no usable track, or `top_labels`
            below 1.
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
    if top_labels is not None:
        named = _with_top_labels(named, count=top_labels)
    rows, without_audio, without_text = [], [], []
    for row in named:
        if not has_content(row.audio):
            without_audio.append(row.track_id)
        elif not row.captions:
            without_text.append(row.track_id)
        else:
            rows.append(row)
    if without_audio and not rows and not without_text:
        raise AdapterError(
            f"none of the {len(without_audio)} recordings of {name} lies in {folder} (the first is "
            f"{without_audio[0]!r}); give the folder that holds them with --audio"
        )
    if not rows:
        raise AdapterError(f"{root} names no track of {name} that has both a recording and a text; check the folder")
    return Adapted(rows, without_audio, without_text)


def _with_top_labels(rows: Sequence[Row], *, count: int) -> list[Row]:
    """The rows with their frequent labels only, in the caption too where it is the list of labels."""
    frequent = {label for label, _ in Counter(label for row in rows for label in row.labels).most_common(count)}
    kept = []
    for row in rows:
        labels = tuple(label for label in row.labels if label in frequent)
        captions = tag_list(labels) if row.captions == tag_list(row.labels) else row.captions
        kept.append(replace(row, labels=labels, captions=captions))
    return kept
