"""How do real recordings and generated productions match with their descriptions, and does "fits" tell what is there?

None of this music trained a model; the weights in `model.beside` were chosen with the captioned clips at hand.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from client import MusicSearch
from client.background import WEAK_BELOW
from train.evaluate.metrics import retrieval_metrics

TITLE = "Real music"
SHARED = Path(__file__).parents[2] / "shared"
RECORDINGS = {
    "hungarian_dance_5_strings": "a lively dance played by a string orchestra",
    "vibe_ace_jazz": "a jazz combo with vibraphone, piano, bass and drums",
    "lets_go_fishin_folk": "a folk song with acoustic guitar and female vocals",
    "sugar_plum_fairy_orchestra": "celesta and orchestra, delicate classical ballet music",
    "solo_trumpet_loop": "a solo jazz trumpet",
}
MOODS = ("calm", "energetic", "happy", "nostalgic", "tender")
SOUNDS = ("acoustic", "electronic")
# None of these is among the texts that trained the model or that the client measures a library with.
NO_MUSIC = {
    "about something else": (
        *("a cure for the common cold", "second-hand office chairs", "who won the election in 1960", "tyre pressure"),
        *("git merge conflict in a binary file", "the tallest bridge of Portugal", "change the oil of a tractor"),
        *(
            "an apartment with a balcony",
            "vitamin D in winter",
            "a certificate of origin",
            "how deep is the Baltic Sea",
        ),
        *(
            "minutes from the board",
            "knitting pattern for mittens",
            "a bus from Bath to Bristol",
            "ant colony structure",
        ),
    ),
    "in another language": (
        *("ruhiges Klavier bei Nacht", "schnelle Musik zum Laufen", "une ballade triste au piano", "chanson joyeuse"),
        *("canción de amor con guitarra", "música para estudiar", "canzone allegra per bambini", "pianoforte solo"),
        *("vrolijke muziek voor een feest", "glad musik till festen", "smutna piosenka o miłości", "veselá hudba"),
        *("грустная песня под гитару", "静かなピアノ", "música triste de violão"),
    ),
    "without sense": (
        *("asdf qwer zxcv", "blorp fnizzle wug", "xx-1138-b", "lkjh", "mmmmmmmmm", "0x7f3a 0x00ff", "tghy ujik"),
        *("zzyzx vrr", "qpqpqp lo lo", "wjx", "aaa bbb ccc ddd", "thrmp", "9 8 7 6 5 4", "plk plk plk", "uvw xyz"),
    ),
}


def measure() -> str | None:
    return report() if (SHARED / "audio").is_dir() and (SHARED / "real").is_dir() else None


def report(*, encoder: Path | None = None) -> str:
    """Markdown, of the shipped model or of another repository."""
    rows = [json.loads(line) for line in (SHARED / "real/manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    captioned = [row for row in rows if row["set"] == "captioned"]
    moods = [row for row in rows if row["set"] == "mood"]
    with TemporaryDirectory() as folder, MusicSearch(Path(folder) / "library", encoder=encoder) as ms:
        five = ms.embed_audio([SHARED / f"audio/{name}.ogg" for name in RECORDINGS])
        first = (ms.embed_text(list(RECORDINGS.values())) @ five.T).argmax(axis=1)
        own_first = int(np.sum(first == np.arange(len(first))))
        found = retrieval_metrics(ms.embed_text([row["captions"][0] for row in captioned]) @ _hear(ms, captioned).T)
        heard = _hear(ms, moods)
        mood, sound = (_accuracy(ms, heard, moods, labels=labels) for labels in (MOODS, SOUNDS))
    recalls = ", ".join(f"R@{k} {found[f'R@{k}']:.1%}" for k in (1, 5, 10))
    return "\n".join(
        [
            f"{own_first} of {len(RECORDINGS)} recordings are the first that their own description finds. "
            f"Of {len(captioned)} clips that text-to-music models made, the prompts find their own: {recalls}, "
            f"MedR {found['MedR']:.0f} (chance: R@10 {10 / len(captioned):.1%}). Of {len(moods)} clips the right one "
            f"of {len(MOODS)} moods comes first for {mood:.0%}, acoustic or electronic for {sound:.0%}.",
            "",
            "ROC-AUC of the `probability` of a query's best hit, between prompts of what is in the library (half the "
            "clips at a time) and other queries:",
            "",
            "| prompts of what is there against | ROC-AUC | called weak |",
            "|---|---|---|",
            *_told_apart(captioned, encoder=encoder),
        ]
    )


def _hear(ms: MusicSearch, rows: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
    return ms.embed_audio([SHARED / "real" / row["audio"] for row in rows])


def _accuracy(
    ms: MusicSearch, heard: NDArray[np.float32], rows: Sequence[dict[str, Any]], *, labels: Sequence[str]
) -> float:
    best = (heard @ ms.embed_text([f"A {label} track" for label in labels]).T).argmax(axis=1)
    return float(np.mean([labels[place] in row["labels"] for place, row in zip(best, rows, strict=True)]))


def _told_apart(rows: Sequence[dict[str, Any]], *, encoder: Path | None) -> Iterable[str]:
    there: list[float] = []
    others: dict[str, list[float]] = {name: [] for name in ("of clips that are not in the library", *NO_MUSIC)}
    absent, *_ = others
    for half in (0, 1):
        with TemporaryDirectory() as folder, MusicSearch(Path(folder) / "library", encoder=encoder) as ms:
            ms.add([SHARED / "real" / row["audio"] for row in rows[half::2]])
            there += [_fits(ms, row["captions"][0]) for row in rows[half::2]]
            others[absent] += [_fits(ms, row["captions"][0]) for row in rows[1 - half :: 2]]
            for name, texts in NO_MUSIC.items():
                others[name] += [_fits(ms, text) for text in texts]
    yield f"| (themselves) | | {_weak(there):.0%} |"
    for name, scores in others.items():
        auc = roc_auc_score([1] * len(there) + [0] * len(scores), there + scores)
        yield f"| {name} | {auc:.2f} | {_weak(scores):.0%} |"


def _fits(ms: MusicSearch, text: str) -> float:
    (hit,) = ms.search(text, k=1, names="never")
    assert hit.probability is not None
    return hit.probability


def _weak(probabilities: Sequence[float]) -> float:
    return float(np.mean([each < WEAK_BELOW for each in probabilities]))
