"""How do real recordings and their descriptions match, with a model that has only heard rendered music?"""

from pathlib import Path

from client import MusicSearch

TITLE = "Real music: five recordings against their descriptions"
FOLDER = Path(__file__).parents[2] / "shared" / "audio"
DESCRIPTIONS = {
    "hungarian_dance_5_strings": "a lively dance played by a string orchestra",
    "vibe_ace_jazz": "a jazz combo with vibraphone, piano, bass and drums",
    "lets_go_fishin_folk": "a folk song with acoustic guitar and female vocals",
    "sugar_plum_fairy_orchestra": "celesta and orchestra, delicate classical ballet music",
    "solo_trumpet_loop": "a solo jazz trumpet",
}


def measure() -> str | None:
    if not FOLDER.is_dir():
        return None
    names = list(DESCRIPTIONS)
    with MusicSearch(Path(__file__).parent / "cache" / "library") as ms:
        audio = ms.embed_audio([FOLDER / f"{name}.ogg" for name in names])
        text = ms.embed_text([DESCRIPTIONS[name] for name in names])
    scores = text @ audio.T
    own_first = sum(int(row.argmax() == i) for i, row in enumerate(scores))
    lines = [
        "Cosine of each description (row) with each recording (column); the largest of a row in bold. "
        f"{own_first} of {len(names)} descriptions score their own recording highest.",
        "",
        "| description | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for name, row in zip(names, scores, strict=True):
        cells = [f"**{score:.3f}**" if score == row.max() else f"{score:.3f}" for score in row]
        lines.append(f"| {DESCRIPTIONS[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
