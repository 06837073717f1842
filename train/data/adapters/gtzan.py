"""GTZAN (Tzanetakis & Cook 2002): ten folders of a hundred 30 s clips, one a genre.

The set defines no split, and the fault-filtered one that is often used (Kereliuk et al. 2015) is not published with it:
the split is 90/5/5 by seed, so figures on it are comparable with those of the same seed only.
"""

from collections.abc import Iterator
from pathlib import Path

from train.data.adapters.layout import AUDIO_SUFFIXES, AdapterError, seeded_split
from train.data.manifest import Row


def read_gtzan(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """A row for each file of `genre/`, `genres/genre/` or `genres_original/genre/`; the folder's name is the label."""
    folders = [audio / name for name in ("genres_original", "genres", ".") if (audio / name).is_dir()]
    files = sorted(path for path in folders[0].glob("*/*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise AdapterError(f"{folders[0]} holds no genre folders of .wav or .au files; give the folder that does")
    for path in files:
        genre = path.parent.name
        yield Row(path, (genre,), path.stem, seeded_split(path.stem, seed=seed), labels=(genre,), source="labels")
