"""DALI (Meseguer-Brocal et al. 2018), versions 1 and 2: karaoke words and notes, aligned to recordings by a program.

A song is a file `ID.gz`, a pickle of the DALI package's `Annotations`, or `ID.json`, which that class writes. The
recordings are not part of the set; the package saves them as `ID.mp3`. The set defines no split.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audio.formats import AUDIO_EXTENSIONS
from train.data.adapters.layout import AdapterError, seeded_split
from train.data.manifest import Row
from train.lyrics.adapters.dali_pickle import read_annotations, read_pickle
from train.lyrics.adapters.rows import Unreadable

GROUND_TRUTH = "gt_*.gz"
OF_THE_SET = (GROUND_TRUTH, "DALI_DATA_INFO*")  # files beside the songs, or in the folder info/

Timing = Callable[[float], float]


def read_dali(root: Path, *, audio: Path, seed: int) -> Iterator[Row | Unreadable]:
    """Read the songs of a folder, with a 90/5/5 split by artist.

    The set has a file of offsets and beats for some songs, which people corrected. Where it is in `root` or `info/`,
    the times of these songs are corrected as the DALI package does. A word or note without a duration is left out,
    and a note that is no MIDI key.
    """
    files = {path.stem: path for ending in ("*.gz", "*.json") for path in sorted(root.glob(ending))}
    songs = [path for path in files.values() if not any(path.match(name) for name in OF_THE_SET)]
    if not songs:
        raise AdapterError(f"{root} holds no song of DALI; give the folder of the files ID.gz, or ID.json")
    corrected = _read_ground_truth(root)
    recordings = {path.stem: path for path in sorted(audio.rglob("*")) if path.suffix.lower() in AUDIO_EXTENSIONS}
    for path in songs:
        try:
            yield _read_song(path, audio=audio, recordings=recordings, corrected=corrected, seed=seed)
        except AdapterError as exc:
            yield Unreadable(path.name, str(exc))


def _read_song(
    path: Path, *, audio: Path, recordings: Mapping[str, Path], corrected: Mapping[str, Any], seed: int
) -> Row:
    song = _read_json(path) if path.suffix == ".json" else read_annotations(path)
    try:
        info, annotations = song["info"], song["annotations"]
        track_id, artist = str(info["id"]), str(info["artist"])
        timing = _timing(annotations["annot_param"], corrected=corrected.get(track_id))
        words, notes = _levels(annotations)
        extra = {
            "words": [[*times, word["text"]] for word in words if (times := _times(word, timing=timing))],
            "notes": [
                [*times, key]
                for note in notes
                if (times := _times(note, timing=timing)) and (key := _key(float(note["freq"][0]))) is not None
            ],
            "language": str(info["metadata"].get("language", "")).lower(),
            "artist": artist,
            "title": str(info["title"]),
        }
        if not all(isinstance(word[2], str) for word in extra["words"]):
            raise TypeError("a word is no text")
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as exc:
        raise AdapterError(
            f"{path} is not as DALI publishes it ({type(exc).__name__}: {exc}); download it again"
        ) from exc
    split = seeded_split(artist.lower(), seed=seed)
    return Row(recordings.get(track_id, audio / f"{track_id}.mp3"), (), track_id, split, extra=extra)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        song: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as exc:
        raise AdapterError(f"{path} is no JSON of DALI ({exc}); write it again") from exc
    return song


def _read_ground_truth(root: Path) -> dict[str, Any]:
    found = [path for folder in (root, root / "info") for path in sorted(folder.glob(GROUND_TRUTH))]
    if not found:
        return {}
    if len(found) > 1:
        raise AdapterError(f"{found[0]} and {found[1]} both correct songs; keep the one of your version of DALI")
    values = read_pickle(found[0])
    if not isinstance(values, dict):
        raise AdapterError(f"{found[0]} holds no corrections, but {type(values).__name__}; download it again")
    return values


def _timing(used: Mapping[str, Any], *, corrected: Mapping[str, Any] | None) -> Timing:
    """How times change: they are beats of the karaoke file, which begin at "offset" seconds, "fr" of them a minute."""
    if corrected is None:
        return float
    offset_s, beat_s = float(used["offset"]), 60 / float(used["fr"])
    new_offset_s, new_beat_s = float(corrected["offset"]), 60 / float(corrected["fr"])
    return lambda time_s: round((float(time_s) - offset_s) / beat_s) * new_beat_s + new_offset_s


def _levels(annotations: Mapping[str, Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """The words and the notes: two lists ("horizontal"), or notes in words in lines in paragraphs ("vertical")."""
    levels = annotations["annot"]
    if annotations["type"] != "vertical":
        return levels["words"], levels["notes"]
    words = [word for part in levels["hierarchical"] for line in part["text"] for word in line["text"]]
    notes = [note for word in words for note in word["text"]]
    return [{**word, "text": "".join(note["text"] for note in word["text"])} for word in words], notes


def _times(item: Mapping[str, Any], *, timing: Timing) -> tuple[float, float] | None:
    """Start and end within the recording; None if nothing of the item is."""
    start_s, end_s = (timing(time_s) for time_s in item["time"])
    start_s = max(start_s, 0.0)
    return (start_s, end_s) if start_s < end_s < math.inf else None


def _key(hertz: float) -> int | None:
    key = round(69 + 12 * math.log2(hertz / 440)) if 0 < hertz < math.inf else -1
    return key if 0 <= key <= 127 else None
