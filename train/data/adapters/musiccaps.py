"""MusicCaps (Agostinelli et al. 2023): 5,521 ten-second YouTube clips, each with a caption and a list of aspects."""

import ast
from collections.abc import Iterator
from pathlib import Path

from train.data.adapters.layout import (
    AdapterError,
    find_file,
    held_out_of_train,
    read_table,
    unique,
    youtube_clips,
)
from train.data.manifest import Row

COLUMNS = ("ytid", "start_s", "end_s", "audioset_positive_labels", "aspect_list", "caption", "is_audioset_eval")


def read_musiccaps(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read the clips; AudioSet's evaluation set is the test split, 5 % of the rest, drawn by seed, are validation.

    The audio files are the cut clips, not whole videos. They are found by their `ytid`. The aspects become `labels`.
    AudioSet's label identifiers are kept as `audioset_labels`.
    """
    path = find_file(root, "musiccaps-public.csv")
    lines = list(read_table(path, columns=COLUMNS))
    clips = youtube_clips(audio, ids=[line["ytid"] for line in lines])
    for line in lines:
        ytid = line["ytid"]
        test = line["is_audioset_eval"] == "True"
        yield Row(
            clips.get(ytid, audio / ytid),
            unique([line["caption"]]),
            ytid,
            "test" if test else held_out_of_train(ytid, seed=seed),
            labels=_aspects(line["aspect_list"], where=f"{path}, ytid {ytid}"),
            source="long_form",
            extra={"audioset_labels": line["audioset_positive_labels"].split(",")},
        )


def _aspects(text: str, *, where: str) -> tuple[str, ...]:
    """Parse the cell, a Python list of texts."""
    try:
        aspects = ast.literal_eval(text)
    except (ValueError, SyntaxError) as exc:
        raise AdapterError(f"{where}: aspect_list is {text[:60]!r}; expected a list of texts") from exc
    return unique([str(aspect) for aspect in aspects])
