"""Turns published sets of songs and speech into manifest rows with words and notes; see `train.lyrics.songs`."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from train.data.adapters.layout import AdapterError, has_content
from train.data.manifest import Row
from train.lyrics.adapters.dali import read_dali
from train.lyrics.adapters.jamendo import read_jamendo
from train.lyrics.adapters.librispeech import read_librispeech
from train.lyrics.adapters.rows import Unreadable

__all__ = ["ADAPTERS", "Adapted", "AdapterError", "Unreadable", "adapt_songs"]


class Adapter(NamedTuple):
    """Describes how to read a set.

    Attributes:
        read: (root, *, audio, seed) -> rows with "words", "language" and for songs with known notes "notes". Their
            recording may be missing and they may have no words.
        recordings: the set's own folder of recordings, below its root; "" where they are beside the annotations.
        splits: where the splits come from, for the user.
    """

    read: Callable[..., Iterable[Row | Unreadable]]
    recordings: str
    splits: str


ADAPTERS = {
    "dali": Adapter(read_dali, "audio", "90/5/5 by seed and artist"),
    "jamendo": Adapter(read_jamendo, "mp3", "all test, as the set is for evaluation"),
    "librispeech": Adapter(read_librispeech, "", "the set's own"),
}


@dataclass(frozen=True)
class Adapted:
    """The result of reading a set.

    Attributes:
        rows: the usable rows.
        other_languages: how many tracks were left out for each language; "" stands for an unknown one.
        without_audio: tracks that were left out because they have no recording.
        without_words: tracks that were left out because they have no words.
        unreadable: annotations that were left out because they cannot be used.
    """

    rows: list[Row]
    other_languages: Counter[str]
    without_audio: list[str]
    without_words: list[str]
    unreadable: list[Unreadable]


def adapt_songs(
    name: str, root: Path, *, audio: Path | None = None, language: str = "english", seed: int = 0
) -> Adapted:
    """Read the files of a set into rows.

    Args:
        name: a key of `ADAPTERS`.
        root: the folder of the set's annotations.
        audio: the folder of its recordings; None: the set's own below `root`, or `root` if there is no such folder.
        language: keep the tracks in this language, since the transcriber's letters are those of English; "all" keeps
            every track.
        seed: for the splits if the set defines none.

    Raises:
        AdapterError: an unknown name, a root or audio folder that does not belong to this set, annotations that cannot
            be used (of a set with a file for each song, only if all are so), or no usable track.
    """
    if name not in ADAPTERS:
        raise AdapterError(f"unknown set {name!r}; expected one of {', '.join(ADAPTERS)}")
    if not root.is_dir():
        raise AdapterError(f"no folder {root}; give the folder that holds the files of {name}")
    if audio is not None and not audio.is_dir():
        raise AdapterError(f"no audio folder {audio}; give the folder that holds the recordings of {name}")
    own = root / ADAPTERS[name].recordings
    folder = audio or (own if own.is_dir() else root)
    found = list(ADAPTERS[name].read(root, audio=folder, seed=seed))
    unreadable = [row for row in found if isinstance(row, Unreadable)]
    named = [row for row in found if isinstance(row, Row)]
    if unreadable and not named:
        raise AdapterError(f"none of the {len(unreadable)} songs can be read, the first because {unreadable[0].reason}")
    adapted = Adapted([], Counter(), [], [], unreadable)
    for row in named:
        if language != "all" and row.extra["language"] != language.lower():
            adapted.other_languages[row.extra["language"]] += 1
        elif not has_content(row.file):
            adapted.without_audio.append(row.track_id)
        elif not row.extra["words"]:
            adapted.without_words.append(row.track_id)
        else:
            adapted.rows.append(row)
    if adapted.rows:
        return adapted
    if adapted.without_audio:
        raise AdapterError(
            f"none of the {len(adapted.without_audio)} recordings of {name} is in {folder} (the first is "
            f"{adapted.without_audio[0]!r}); give the folder that holds them with --audio"
        )
    languages = ", ".join(sorted(filter(None, adapted.other_languages))) or "none that it names"
    raise AdapterError(
        f"{root} has no track in {language!r} with words; its other languages are {languages}: choose with --language"
    )
