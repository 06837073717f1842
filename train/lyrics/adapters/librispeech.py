"""LibriSpeech (Panayotov et al. 2015): read speech, a sentence or two in each file, with its text and no times."""

from collections.abc import Iterator
from pathlib import Path

from train.data.adapters.layout import AdapterError
from train.data.manifest import Row
from train.lyrics.adapters.rows import read_lines

SPLITS = {
    **dict.fromkeys(["train-clean-100", "train-clean-360", "train-other-500"], "train"),
    **dict.fromkeys(["dev-clean", "dev-other"], "val"),
    **dict.fromkeys(["test-clean", "test-other"], "test"),
}
TEXTS = "*.trans.txt"


def read_librispeech(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read `SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt` below `root`, which may be a subset itself.

    A line is the name of a recording beside the file, and its text. The subset tells the split. The paper trains on
    train-clean-360 and train-other-500, so copy or link these two alone to do the same.
    """
    found = sorted(root.rglob(TEXTS)) if root.is_dir() else []
    if not found:
        raise AdapterError(f"{root} holds no {TEXTS}; give the folder LibriSpeech, or one of its subsets")
    for path in found:
        subset = next((part for part in reversed(path.resolve().parts) if part in SPLITS), None)
        if subset is None:
            raise AdapterError(f"{path} is in no subset; expected a folder named {', '.join(SPLITS)} above it")
        folder = audio / path.parent.relative_to(root)
        for number, line in enumerate(read_lines(path), start=1):
            name, _, text = line.partition(" ")
            if not text:
                raise AdapterError(
                    f"{path}, line {number}: got {line[:60]!r}; expected a recording's name and its text"
                )
            extra = {"words": text, "language": "english"}
            yield Row(folder / f"{name}.flac", (), name, SPLITS[subset], extra=extra)
