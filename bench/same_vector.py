"""Is the vector of a file or a text the same in process and through Triton, alone and in a batch?"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client import MusicSearch
from serve import Ports, running_server

TITLE = "The same vector everywhere"
PROJECT = Path(__file__).parents[1]
COLLECTION = PROJECT / "demo" / "collection"
LIBRARY = PROJECT / "bench" / "cache" / "library"


def measure() -> str:
    rows = [json.loads(line) for line in (COLLECTION / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    files = [COLLECTION / row["audio"] for row in rows]
    texts = [caption for row in rows for caption in row["captions"][:2]]
    lines = [
        f"Largest difference of any component from the vector that the same file or text has in process, alone; "
        f"{len(files)} files and {len(texts)} captions of the demo collection.",
        "",
        "| | audio | text |",
        "|---|---|---|",
    ]
    with MusicSearch(LIBRARY) as local, running_server(PROJECT / "model_repository", ports=Ports(0, 0, 0)) as server:
        audio = np.concatenate([local.embed_audio([file]) for file in files])
        text = np.concatenate([local.embed_text([caption]) for caption in texts])

        def line(name: str, other_audio: NDArray[np.float32], other_text: NDArray[np.float32]) -> str:
            return f"| {name} | {np.abs(other_audio - audio).max():.1e} | {np.abs(other_text - text).max():.1e} |"

        lines.append(line("in process, in a batch", local.embed_audio(files), local.embed_text(texts)))
        with MusicSearch(LIBRARY, encoder=server.grpc_url) as remote:
            lines.append(
                line(
                    "through Triton, alone",
                    np.concatenate([remote.embed_audio([file]) for file in files]),
                    np.concatenate([remote.embed_text([caption]) for caption in texts]),
                )
            )
            lines.append(line("through Triton, in a batch", remote.embed_audio(files), remote.embed_text(texts)))
    return "\n".join(lines)
