"""python export/to_onnx.py RUN/ckpt.pt [--out model_repository] [--parity-data MANIFEST]
python export/to_onnx.py laion/clap-htsat-unfused
python export/to_onnx.py best_model.pth.tar --tokenizer openai/clip-vit-base-patch32

Turns a checkpoint into what Triton and the client load: two ONNX graphs, the tokenizer and the `config.pbtxt`
files. Everything is built and checked beside the target and moved into place at the end, so the old repository is
there, whole, until the new one is.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from export import ExportError
from export.parity import ParityRow, check_audio, check_text, load_parity_data
from export.sources import load_source
from export.towers import export_audio, export_text, type_float16
from export.triton_config import ModelParameters, fingerprint, write_configs
from train.checkpoint import CheckpointError
from train.data.audio import AudioDecodeError
from train.data.manifest import ManifestError

PROJECT = Path(__file__).resolve().parents[1]
REPOSITORY = PROJECT / "model_repository"
PARITY_DATA = PROJECT / "demo/collection/manifest.jsonl"
TOKENIZER_MODEL = "text_tokenizer/1/model.py"  # source code, kept in the project's own repository
FILES = frozenset(
    {
        "audio_encoder/config.pbtxt",
        "audio_encoder/1/model.onnx",
        "text_encoder/config.pbtxt",
        "text_encoder/1/model.onnx",
        "text_tokenizer/config.pbtxt",
        "text_tokenizer/1/tokenizer.json",
        TOKENIZER_MODEL,
        "text_embedding/config.pbtxt",
        "text_embedding/1/.gitkeep",  # Triton wants a version folder, git keeps no empty one
    }
)


@dataclass(frozen=True)
class Exported:
    """What an export wrote: the parity of both graphs, their sizes in bytes, and the fingerprint."""

    parity: tuple[ParityRow, ParityRow]
    sizes: tuple[int, int]
    fingerprint: str


def export_checkpoint(
    checkpoint: str | Path, *, out: Path, parity_data: Path, tokenizer: str | None = None
) -> Exported:
    """Write the model repository `out`, or change nothing.

    Raises:
        ExportError: `out` cannot be replaced, the weights do not fit float16, or a graph failed the parity check.
        CheckpointError: the checkpoint cannot be used.
        ManifestError, AudioDecodeError: the parity data cannot be read.
    """
    out = out.resolve()
    _refuse_foreign(out)
    source = load_source(checkpoint, tokenizer=tokenizer)
    data = load_parity_data(parity_data, window=source.window)

    typed = type_float16(source.model)
    audio = export_audio(typed, samples=source.window.samples).SerializeToString(deterministic=True)
    text = export_text(typed, max_tokens=source.max_text_tokens).SerializeToString(deterministic=True)
    tokenizer = source.tokenizer.tokenizer_json.encode()
    parity = (
        check_audio(audio, data.windows, model=source.model, typed=typed),
        check_text(
            text,
            data.texts,
            model=source.model,
            typed=typed,
            tokenizer=source.tokenizer,
            max_tokens=source.max_text_tokens,
        ),
    )
    parameters = ModelParameters(
        sample_rate_hz=source.window.sample_rate_hz,
        window_samples=source.window.samples,
        embedding_dim=source.embedding_dim,
        max_text_tokens=source.max_text_tokens,
        model_name=source.name,
        fingerprint=fingerprint(audio, text, tokenizer),
    )
    files = {
        "audio_encoder/1/model.onnx": audio,
        "text_encoder/1/model.onnx": text,
        "text_tokenizer/1/tokenizer.json": tokenizer,
        "text_embedding/1/.gitkeep": b"",
        TOKENIZER_MODEL: (REPOSITORY / TOKENIZER_MODEL).read_bytes(),
    } | {f"{name}/config.pbtxt": content.encode() for name, content in write_configs(parameters).items()}
    _replace_folder(out, files)
    return Exported(parity, (len(audio), len(text)), parameters.fingerprint)


def _refuse_foreign(out: Path) -> None:
    """`out` is replaced as a whole, so it may hold nothing that an export did not write."""
    if out.exists() and not out.is_dir():
        raise ExportError(f"{out} is a file; give --out a folder")
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_dir() and name not in FILES and "__pycache__" not in path.parts:
            raise ExportError(f"{out} holds {name}, which no export wrote; move it away or give another --out")


def _replace_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Put a folder with these files in the place of `folder`; on any failure the old one stays or comes back."""
    new, old = (folder.with_name(f".{folder.name}.{state}-{os.getpid()}") for state in ("new", "old"))
    try:
        for name, content in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as exc:
        raise ExportError(f"cannot write {folder}: {exc.strerror or exc}; the old content is unchanged") from exc
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 after one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="to_onnx.py", description="Export a checkpoint as a model repository.")
    parser.add_argument(
        "checkpoint",
        metavar="CKPT",
        help="the ckpt.pt of `python -m train`, a CLAP's folder or hub name, or MusCALL's best_model.pth.tar",
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY, metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--parity-data",
        type=Path,
        default=PARITY_DATA,
        metavar="MANIFEST",
        help="captioned music that torch and the graphs must agree on; default: the demo collection",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="NAME",
        help="folder or hub name with the tokenizer.json of a checkpoint that carries none (MusCALL's)",
    )
    options = parser.parse_args(arguments)
    try:
        with Console(stderr=True).status("exporting and comparing with torch (about a minute)"):
            exported = export_checkpoint(
                options.checkpoint, out=options.out, parity_data=options.parity_data, tokenizer=options.tokenizer
            )
    except (ExportError, CheckpointError, ManifestError, AudioDecodeError) as exc:
        print(f"{exc}; nothing was written", file=sys.stderr)
        return 2
    _print(exported, out=options.out)
    return 0


def _print(exported: Exported, *, out: Path) -> None:
    table = Table("", *(row.graph for row in exported.parity), title=f"Exported to {out}")
    table.add_row("size", *(f"{size / 1e6:.1f} MB, float16" for size in exported.sizes))
    table.add_row("items compared with torch", *(str(row.items) for row in exported.parity))
    table.add_row("cosine, worst", *(f"{row.worst_cosine:.7f}" for row in exported.parity))
    table.add_row("cosine, mean", *(f"{row.mean_cosine:.7f}" for row in exported.parity))
    table.add_row(
        "cosine, worst in float16 arithmetic", *(f"{row.worst_float16_cosine:.7f}" for row in exported.parity)
    )
    table.add_row("largest difference alone to in a batch", *(f"{row.deviation:.0e}" for row in exported.parity))
    console = Console()
    console.print(table)
    console.print(f"fingerprint {exported.fingerprint}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
