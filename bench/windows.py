"""Do windows in 8 bits tell where a track fits best, and what does a track take on the disk?"""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from bench.ingest import LONG_S, LONG_TRACKS
from bench.retrieval import SOUND_FONTS, STYLES, _caption, _render
from client.embedding import embed_file
from client.encoders import Encoder, open_encoder
from client.index import quantized
from client.index.catalogue import Catalogue
from client.index.database import FILE_NAME
from client.index.records import FileState, Model, NewTrack, TrackVectors
from demo.__main__ import COLLECTION, read_queries

TITLE = "Windows in 8 bits"
K = 10
STORED, WINDOWS = 5_000, 18  # tracks of three minutes


def measure() -> str | None:
    if not all(map(os.path.isfile, SOUND_FONTS.values())):
        return None
    with closing(open_encoder(None)) as encoder:
        rendered = _render(next(iter(SOUND_FONTS.values())), tracks=LONG_TRACKS, seconds=LONG_S)
        captions = [_caption(row, style, index) for style in STYLES for index, row in enumerate(rendered)]
        demo = [query.text for query in read_queries()]
        sets = {
            f"{LONG_TRACKS} rendered tracks of {LONG_S:g} s": ([row["audio"] for row in rendered], captions),
            "the demo collection, one window each": (sorted(map(str, COLLECTION.glob("*.opus"))), demo),
        }
        lines = [
            f"Of the {K} best tracks for each text: how often the window that fits best is that of float32, and how "
            "much its score may be below that.",
            "",
            "| tracks | texts | the same window | the most that its score is below |",
            "|---|---|---|---|",
        ]
        for name, (paths, texts) in sets.items():
            share, loss = _agreement(paths, texts, encoder=encoder)
            lines.append(f"| {name} | {len(texts)} | {share:.2%} | {loss:.4f} |")
        model = Model(encoder.spec.model_name, encoder.spec.fingerprint, encoder.spec.embedding_dim)
    wide = _bytes_a_track(model, quantize=lambda windows, track: windows.tobytes())
    return "\n".join(
        [
            *lines,
            "",
            f"A track of {WINDOWS} windows with title, artist, album and year takes "
            f"{_bytes_a_track(model) / 1e3:.1f} kB on the disk, and with windows of float32 {wide / 1e3:.1f} kB "
            f"({STORED:,} tracks; {model.dim} numbers a window, in {quantized.size_of(model.dim)} bytes instead of "
            f"{4 * model.dim}).",
        ]
    )


def _agreement(paths: Sequence[str], texts: Sequence[str], *, encoder: Encoder) -> tuple[float, float]:
    made = [embed_file(encoder, path) for path in paths]
    kept = [
        quantized.read(quantized.quantize(one.windows, track=one.vector), count=len(one.windows), track=one.vector)
        for one in made
    ]
    same, losses = [], []
    for text in encoder.embed_texts(texts):
        for place in np.argsort(-(np.stack([one.vector for one in made]) @ text))[:K]:
            scores = made[place].windows @ text
            chosen = int(np.argmax(kept[place] @ text))
            same.append(chosen == np.argmax(scores))
            losses.append(float(scores.max() - scores[chosen]))
    return float(np.mean(same)), max(losses)


def _bytes_a_track(model: Model, *, quantize: Callable[..., bytes] = quantized.quantize) -> float:
    rng = np.random.default_rng(0)

    def units(count: int) -> NDArray[np.float32]:
        vectors = rng.standard_normal((count, model.dim)).astype(np.float32)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    starts_s = np.arange(0, 10 * WINDOWS, 10, dtype=np.float32)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(quantized, "quantize", quantize),
        closing(Catalogue(Path(folder), create=model)) as catalogue,
    ):
        for number in range(STORED):
            path = f"/music/artist {number % 500}/album {number % 2000}/{number} title.flac"
            tags = {"title": f"title {number}", "artist": f"artist {number % 500}", "album": f"album {number % 2000}"}
            vectors = TrackVectors(units(1)[0], starts_s, units(WINDOWS))
            file = FileState(path, 20_000_000, number, f"{number:064x}")
            catalogue.put([NewTrack(file, 180.0, vectors, {**tags, "year": 1990 + number % 30})])
        catalogue.forget_the_past()
        return (Path(folder) / FILE_NAME).stat().st_size / STORED
