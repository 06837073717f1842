"""MagnaTagATune (Law et al. 2009): 25,863 clips of 29 s and 188 tags, some of which are the same word."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from train.data.adapters.layout import AdapterError, find_file, read_table, tag_list, unique
from train.data.manifest import Row

SYNONYMS = {
    "beat": ["beats"],
    "chant": ["chanting"],
    "choir": ["choral"],
    "classical": ["clasical", "classic"],
    "drum": ["drums"],
    "electro": ["electronic", "electronica", "electric"],
    "fast": ["fast beat", "quick"],
    "female": [
        *("female singer", "female singing", "female vocals", "female vocal", "female voice"),
        *("woman", "woman singing", "women"),
    ],
    "flute": ["flutes"],
    "guitar": ["guitars"],
    "hard": ["hard rock"],
    "harpsichord": ["harpsicord"],
    "heavy": ["heavy metal", "metal"],
    "horn": ["horns"],
    "india": ["indian"],
    "jazz": ["jazzy"],
    "male": ["male singer", "male vocal", "male vocals", "male voice", "man", "man singing", "men"],
    "no beat": ["no drums"],
    "no singer": ["no singing", "no vocal", "no vocals", "no voice", "no voices", "instrumental"],
    "opera": ["operatic"],
    "orchestra": ["orchestral"],
    "quiet": ["silence"],
    "singer": ["singing"],
    "space": ["spacey"],
    "string": ["strings"],
    "synth": ["synthesizer"],
    "violin": ["violins"],
    "vocal": ["vocals", "voice", "voices"],
    "strange": ["weird"],
}
"""Tag -> the tags that are merged into it, as K. Choi proposed for this set (magnatagatune-list); others use it too.

134 tags are left.
"""

MERGED_INTO = {other: tag for tag, others in SYNONYMS.items() for other in others}


def read_magnatagatune(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read the rows of `annotations_final.csv` (tab-separated, one column of 0 and 1 per tag).

    The split is the usual one. It uses the first character of the path, a hexadecimal digit: 0 to b train, c
    validation, d to f test (van den Oord et al. 2014). Papers use the 50 most frequent tags (`top_labels` of `adapt`)
    or all tags. MuLan (§4.1.1) reports both; MusCALL does not say.

    Papers also differ in the clips without any of these tags. Some leave them out, such as Lee and Nam (2017). `adapt`
    does the same, because these clips have no text to train with. In other papers they are negatives of every tag
    (`keep_unlabelled`). Three of the clips are empty files.
    """
    path = find_file(root, "annotations_final.csv")
    for line in read_table(path, columns=("clip_id", "mp3_path"), delimiter="\t"):
        where = line["mp3_path"]
        tags = tuple(tag for tag, value in line.items() if tag not in ("clip_id", "mp3_path") and value == "1")
        split = _split(where, path=path)
        yield Row(audio / where, tag_list(tags), line["clip_id"], split, labels=tags, source="labels")


def read_magnatagatune_merged(root: Path, *, audio: Path, seed: int) -> Iterator[Row]:
    """Read the same rows with `SYNONYMS` merged, so that a clip labelled "beats" is also correct for "beat".

    MuLan's results use the unmerged tags; its larger set is all 188.
    """
    for row in read_magnatagatune(root, audio=audio, seed=seed):
        tags = _merge(row.labels)
        yield replace(row, labels=tags, captions=tag_list(tags))


def _merge(tags: Sequence[str]) -> tuple[str, ...]:
    return unique([MERGED_INTO.get(tag, tag) for tag in tags])


def _split(where: str, *, path: Path) -> str:
    digit = "0123456789abcdef".find(where[:1])
    if digit < 0 or not where:
        raise AdapterError(f"{path}: mp3_path is {where!r}; expected a folder 0 to f and a file name")
    return "train" if digit < 12 else "val" if digit == 12 else "test"
