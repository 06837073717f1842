"""GTZAN (Tzanetakis & Cook 2002): ten folders with a hundred 30 s clips each, one folder per genre.

The set defines no split. Some clips are duplicated or distorted, and a genre has few artists: 35 of the hundred reggae
clips are by Bob Marley (Sturm 2012, 2013). So there is a fault-filtered split (Kereliuk et al. 2015) of 443, 197 and
290 clips. It leaves out 70 clips and should have no artist in two parts. Its file names come with torchaudio
(BSD-2-Clause). Within a part, artists still repeat.
"""

from collections.abc import Iterator
from pathlib import Path

from audio.formats import AUDIO_EXTENSIONS
from train.data.adapters.layout import AdapterError, seeded_split
from train.data.manifest import Row

NOTE = "GTZAN has few artists a genre (Sturm 2013): over artists the intervals would be wider."
NOTE_ALL = f"{NOTE} Split by seed, it also has some artists and recordings in several splits: a probe may know them."


def read_gtzan(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read the clips of the fault-filtered split from `genre/`, `genres/genre/` or `genres_original/genre/`.

    The genre is the label. A widely used copy has a file that does not decode, jazz.00054.
    """
    # A late import, because it imports torch, which the other adapters do not need.
    from torchaudio.datasets.gtzan import filtered_test, filtered_train, filtered_valid

    files = {path.stem: path for path in _find(audio)}
    for split, names in {"train": filtered_train, "val": filtered_valid, "test": filtered_test}.items():
        for name in names:
            genre = name.partition(".")[0]
            yield _row(files.get(name, audio / genre / name), name, genre=genre, split=split, note=NOTE)


def read_gtzan_all(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read all files, the faulty ones too, with a 90/5/5 split by seed; the folder's name is the label.

    Results are comparable only with those of the same seed.
    """
    for path in _find(audio):
        split = seeded_split(path.stem, seed=seed)
        yield _row(path, path.stem, genre=path.parent.name, split=split, note=NOTE_ALL)


def _find(audio: Path) -> list[Path]:
    folders = [audio / name for name in ("genres_original", "genres", ".") if (audio / name).is_dir()]
    files = sorted(path for path in folders[0].glob("*/*") if path.suffix.lower() in AUDIO_EXTENSIONS)
    if not files:
        raise AdapterError(
            f"{folders[0]} holds no genre folders of .wav or .au files; give the folder of the genre folders"
        )
    return files


def _row(path: Path, name: str, *, genre: str, split: str, note: str) -> Row:
    return Row(path, (genre,), name, split, labels=(genre,), source="labels", extra={"note": note})
