"""python -m demo.build: compose, render and encode the demo collection again (needs the [train] extra, FluidSynth).

The collection has one track of every style from the corpus's test split. No training run uses these seeds and caption
templates.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av

FOLDER = Path(__file__).parent
COLLECTION = FOLDER / "collection"
TRACKS = 81  # the number of styles in train.corpus
SEED = 77
SOUND_FONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
SAMPLE_RATE_HZ = 48_000
BIT_RATE = 40_000  # Opus: 60 kB for 12 s of mono


def main() -> None:
    COLLECTION.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "train.corpus", "--out", folder, "--tracks", TRACKS, "--seed", SEED]
        command += ["--split", "test", "--sample-rate", SAMPLE_RATE_HZ, "--soundfont", SOUND_FONT]
        subprocess.run([str(part) for part in command], check=True)
        lines = (Path(folder) / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        for number, row in enumerate(rows, start=1):
            rendered = Path(folder) / row["audio"]
            row["audio"], row["track_id"] = f"{number:02d}.opus", f"demo-{number:02d}"
            encode(rendered, COLLECTION / row["audio"])
    manifest = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (COLLECTION / "manifest.jsonl").write_text(manifest, encoding="utf-8")


def encode(source: Path, target: Path) -> None:
    """Encode a FLAC file as mono Opus."""
    with av.open(str(source)) as reader, av.open(str(target), "w", format="ogg") as writer:
        stream = writer.add_stream("libopus", rate=SAMPLE_RATE_HZ)
        stream.bit_rate = BIT_RATE
        stream.layout = "mono"
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ, frame_size=960)
        frames = [out for frame in reader.decode(audio=0) for out in resampler.resample(frame)]
        for frame in [*frames, *resampler.resample(None)]:
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))


if __name__ == "__main__":
    main()
