"""The format of MusCALL's released code: `dataset_{train,val,test}.json`, a list of recordings with captions.

The authors' own 250,000 pairs (Manco et al. 2022, §4.1) are not public.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from train.data.adapters.layout import AdapterError, unique
from train.data.manifest import SPLITS, Row

KEYS = ("audio_id", "caption", "audio_path")


def read_muscall(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read every split whose file exists; the captions of one `audio_id` become one row.

    The released example points to `.npy` arrays. They have no sample rate and are not audio files, so they are refused.
    """
    files = {split: root / f"dataset_{split}.json" for split in SPLITS}
    if not any(path.is_file() for path in files.values()):
        raise AdapterError(f"{root} holds no dataset_train.json, dataset_val.json or dataset_test.json")
    for split, path in files.items():
        if path.is_file():
            yield from _read_split(path, split=split, audio=audio)


def _read_split(path: Path, *, split: str, audio: Path) -> Iterator[Row]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise AdapterError(f"{path} is not JSON ({exc}); expected a list of objects with {', '.join(KEYS)}") from exc
    captions: dict[str, list[str]] = {}
    paths: dict[str, Path] = {}
    for place, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str | int) for key in KEYS):
            raise AdapterError(f"{path}, entry {place}: expected an object with {', '.join(KEYS)}")
        if str(entry["audio_path"]).lower().endswith(".npy"):
            raise AdapterError(
                f"{path}, entry {place}: audio_path is {entry['audio_path']!r}, an array without a sample rate; write "
                "the recordings as WAV or FLAC files, which have a sample rate, and name these files"
            )
        track_id = str(entry["audio_id"])
        captions.setdefault(track_id, []).append(str(entry["caption"]))
        paths[track_id] = audio / str(entry["audio_path"])
    for track_id, texts in captions.items():
        yield Row(paths[track_id], unique(texts), track_id, split, source="long_form")
