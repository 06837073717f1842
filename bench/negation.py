"""Do queries that negate an instrument or a style rank tracks without it above tracks with it?

And what does that cost: of "jazz without saxophone", are the first ten still jazz?
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.retrieval import SOUND_FONTS, _render
from client import Hit, MusicSearch, read_query
from train.corpus.compose.instruments import INSTRUMENTS

TITLE = "Queries that say what there shall not be"
SEEDS = (424_242, 424_243, 424_244)  # no training corpus uses them
TRACKS = 648  # of each of 81 styles eight
SEARCHED = 200  # captions that negate something
LEAST = 8  # tracks on either side, for an AUC to mean something
FORMS = ("no {}", "without {}", "music without {}", "something with no {}")
OLD_WEIGHT = 0.5  # of the rule that this one replaced: the vector of what is wanted, less half of what is not

Facts = dict[str, Callable[[dict[str, Any]], bool]]


def _plays(*names: str) -> Callable[[dict[str, Any]], bool]:
    """Whether one of these instruments or families of instruments is in a track."""

    def is_there(attributes: dict[str, Any]) -> bool:
        played = {*attributes["lead"], *attributes["comping"], attributes["bass"]} - {None}
        return bool(played.intersection(names) or {INSTRUMENTS[name].family for name in played}.intersection(names))

    return is_there


def _is_style(*styles: str) -> Callable[[dict[str, Any]], bool]:
    return lambda attributes: attributes["style"] in styles


_JAZZ = ("swing jazz", "big band swing", "jazz ballad", "bebop", "modal vibraphone jazz", "dixieland")
INSTRUMENT_WORDS: Facts = {
    "drums": lambda attributes: attributes["drums"] is not None,
    "bass": lambda attributes: attributes["bass"] is not None,
    "piano": _plays("piano"),
    "guitar": _plays("guitar"),
    "electric guitar": _plays("clean electric guitar", "overdriven guitar", "distorted guitar", "muted guitar"),
    "strings": _plays("strings"),
    "violin": _plays("violin", "fiddle"),
    "brass": _plays("brass"),
    "trumpet": _plays("trumpet", "muted trumpet"),
    "saxophone": _plays("sax"),
    "flute": _plays("flute", "pan flute"),
    "clarinet": _plays("clarinet"),
    "organ": _plays("organ"),
    "accordion": _plays("accordion"),
    "vibraphone": _plays("vibraphone"),
    "harp": _plays("harp"),
    "banjo": _plays("banjo"),
    "choir": _plays("voices"),
    "synthesizers": _plays("synth"),
}
STYLE_WORDS: Facts = {
    "jazz": _is_style(*_JAZZ),
    "techno": _is_style("techno"),
    "reggae": _is_style("reggae", "dub"),
    "heavy metal": _is_style("heavy metal"),
    "hip hop": _is_style("lo-fi hip hop", "trap", "boom bap hip hop"),
    "blues": _is_style("blues shuffle", "slow blues"),
    "country": _is_style("country", "bluegrass"),
    "ragtime": _is_style("ragtime"),
}
WANTED: Facts = {
    "jazz": _is_style(*_JAZZ),
    "rock": _is_style("hard rock", "indie rock", "punk rock", "surf rock", "rock and roll", "heavy metal"),
    "Latin music": _is_style("salsa", "samba", "bossa nova", "mambo cha-cha", "tango", "mariachi ranchera"),
    "classical music": _is_style(
        *("baroque", "classical piano sonata", "string quartet", "symphonic orchestra"),
        *("romantic waltz", "romantic piano nocturne", "sugar plum orchestra"),
    ),
    "folk music": _is_style("celtic air", "celtic jig", "fingerstyle folk guitar", "campfire strumming", "bluegrass"),
    "electronic dance music": _is_style("house", "techno", "trance", "drum and bass"),
    "calm music": lambda attributes: attributes["mood"] == "calm",
    "happy music": lambda attributes: attributes["mood"] == "happy",
    "dark music": lambda attributes: attributes["mood"] == "dark",
    "slow music": lambda attributes: attributes["tempo"] == "slow",
    "fast music": lambda attributes: attributes["tempo"] in ("fast", "very fast"),
    "piano music": _plays("piano"),
    "guitar music": _plays("guitar"),
}


def measure() -> str | None:
    sound_font = next(iter(SOUND_FONTS.values()))
    if not os.path.isfile(sound_font):
        return None
    by_seed = []
    for seed in SEEDS:
        rows = _render(sound_font, tracks=TRACKS, seed=seed)
        with TemporaryDirectory() as folder, MusicSearch(Path(folder) / "library") as ms:
            ms.add([row["audio"] for row in rows])
            by_seed.append((_alone(ms, rows), _in_longer(ms, rows), _ordinary(ms, rows)))
    alone, longer, ordinary = zip(*by_seed, strict=True)
    return "\n".join([*_tell_alone(alone), "", *_tell_longer(longer), "", _tell_ordinary(ordinary)])


def _alone(ms: MusicSearch, rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """By what is negated: AUC of the text as it is, of the text as it is read; and how often each half "fits"."""
    measured = {}
    for name, is_there in {**INSTRUMENT_WORDS, **STYLE_WORDS}.items():
        has = np.array([is_there(row["attributes"]) for row in rows])
        if LEAST <= has.sum() <= len(has) - LEAST:
            literal, read = (
                np.mean([_auc(_search(ms, rows, form.format(name), literal=flag)[0], has) for form in FORMS])
                for flag in (True, False)
            )
            literal_fits, fits = (_search(ms, rows, FORMS[0].format(name), literal=flag)[1] for flag in (True, False))
            measured[name] = [literal, read, literal_fits[has].max(), fits[has].mean(), fits[~has].mean()]
    return measured


def _in_longer(ms: MusicSearch, rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    """How each rule does: float [pairs, 3 rules, 5].

    The five are AUC over all tracks, AUC over the tracks that fit what is wanted, and of the first ten tracks the share
    with what is not wanted, with what is wanted, and right.
    """
    measured = []
    for wanted, fits in WANTED.items():
        right = np.array([fits(row["attributes"]) for row in rows])
        for name, is_there in INSTRUMENT_WORDS.items():
            has = np.array([is_there(row["attributes"]) for row in rows])
            if min((right & has).sum(), (right & ~has).sum()) < LEAST or name in wanted:
                continue
            query = f"{wanted} without {name}"
            vectors = ms.embed_text([wanted, name])
            rules = (
                _search(ms, rows, query, literal=True)[0],
                _scores(ms.search_vector(vectors[0] - OLD_WEIGHT * vectors[1], k=len(rows), starts=False), rows),
                _search(ms, rows, query)[0],
            )
            of_query = []
            for scores in rules:
                first = np.argsort(-scores)[:10]
                of_query.append(
                    [
                        *(_auc(scores, has), _auc(scores[right], has[right])),
                        *(has[first].mean(), right[first].mean(), (right & ~has)[first].mean()),
                    ]
                )
            measured.append(of_query)
    return np.array(measured)


def _ordinary(ms: MusicSearch, rows: list[dict[str, Any]]) -> tuple[int, int, float, float]:
    """Captions; those in which a negation is read; and their R@10 literally and as they are read."""
    captions = [(caption, index) for index, row in enumerate(rows) for caption in row["captions"]]
    negating = [(caption, index) for caption, index in captions if read_query(caption).unwanted]
    drawn = np.random.default_rng(0).choice(len(negating), SEARCHED, replace=False)
    found = np.zeros((SEARCHED, 2))
    for row, (caption, index) in enumerate(negating[i] for i in drawn):
        for column, flag in enumerate((True, False)):
            paths = [hit.path for hit in ms.search(caption, k=10, starts=False, literal=flag, names="never")]
            found[row, column] = os.path.abspath(rows[index]["audio"]) in paths
    return len(captions), len(negating), *found.mean(axis=0).tolist()


def _search(
    ms: MusicSearch, rows: list[dict[str, Any]], query: str, *, literal: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores and "fits" of all tracks, in the order of the rows."""
    hits = ms.search(query, k=len(rows), starts=False, literal=literal, names="never")
    by_path = {hit.path: hit for hit in hits}
    fits = np.array([by_path[os.path.abspath(row["audio"])].probability for row in rows], float)
    return _scores(hits, rows), fits


def _scores(hits: Sequence[Hit], rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    by_path = {hit.path: hit.score for hit in hits}
    return np.array([by_path[os.path.abspath(row["audio"])] for row in rows])


def _auc(scores: NDArray[np.float64], has: NDArray[np.bool_]) -> float:
    """How often a track without it scores higher than one with it; a tie is half."""
    without, with_it = scores[~has][:, None], scores[has]
    return float((without > with_it).mean() + 0.5 * (without == with_it).mean())


def _tell_alone(by_seed: Sequence[dict[str, list[float]]]) -> list[str]:
    names = [name for name in by_seed[0] if all(name in measured for measured in by_seed)]
    values = np.array([[measured[name] for name in names] for measured in by_seed])  # [seeds, names, 5]
    seeds = values.mean(axis=1)
    lines = [
        f"{len(SEEDS)} libraries of {TRACKS} tracks of the `test` split, 8 of each style; AUC is the share of pairs of "
        "a track without what is negated and one with it that are ranked so. *Literal* is the query as one text, as it "
        "was before and as `--literal` still has it.",
        "",
        f"**Negations alone** ({', '.join(FORMS).format(*['X'] * len(FORMS))}), means of the four:",
        "",
        "| negated | literal | read |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {values[:, i, 0].mean():.3f} | {values[:, i, 1].mean():.3f} |" for i, name in enumerate(names)
    ]
    lines.append(
        f"| **mean** (by seed) | **{seeds[:, 0].mean():.3f}** ({', '.join(f'{x:.3f}' for x in seeds[:, 0])}) "
        f"| **{seeds[:, 1].mean():.3f}** ({', '.join(f'{x:.3f}' for x in seeds[:, 1])}) |"
    )
    _, _, worst, with_it, without = values.mean(axis=(0, 1))
    lines += [
        "",
        f'"no X" literally: the best track with X *fits* by {worst:.0%} on average; as it is read, tracks with X fit '
        f"by {with_it:.0%} and tracks without it by {without:.0%}.",
    ]
    return lines


def _tell_longer(by_seed: Sequence[NDArray[np.float64]]) -> list[str]:
    seeds = np.array([measured.mean(axis=0) for measured in by_seed])  # [seeds, rules, 5]
    pairs = ", ".join(str(len(measured)) for measured in by_seed)
    lines = [
        f'**Negations in longer queries** ("calm music without drums", {pairs} pairs of what is wanted and what is '
        "not), by rule:",
        "",
        "| rule | AUC (by seed) | AUC among tracks that fit the rest | of the first ten: with it | fit the rest "
        "| fit the whole |",
        "|---|---|---|---|---|---|",
    ]
    for rule, name in enumerate(("literal", f"vector, less {OLD_WEIGHT} of the negated one's", "read")):
        auc, within, *shares = seeds.mean(axis=0)[rule]
        by = ", ".join(f"{x:.3f}" for x in seeds[:, rule, 0])
        lines.append(f"| {name} | {auc:.3f} ({by}) | {within:.3f} | " + " | ".join(f"{x:.0%}" for x in shares) + " |")
    return lines


def _tell_ordinary(by_seed: Sequence[tuple[int, int, float, float]]) -> str:
    captions, negating = (sum(row[i] for row in by_seed) for i in (0, 1))
    literal, read = (np.mean([row[i] for row in by_seed]) for i in (2, 3))
    return (
        f"**Ordinary queries.** Of the {captions:,} captions of these tracks {negating:,} negate something; the others "
        f"are searched for as before. R@10 of {SEARCHED} of them a seed, among {TRACKS} tracks: literal {literal:.1%}, "
        f"read {read:.1%}."
    )
