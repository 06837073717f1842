"""python export/to_onnx.py RUN/ckpt.pt [--out model_repository] [--precision fp32] [--text-int8]
python export/to_onnx.py laion/clap-htsat-unfused
python export/to_onnx.py OpenMuQ/MuQ-MuLan-large
python export/to_onnx.py best_model.pth.tar --tokenizer openai/clip-vit-base-patch32
python export/to_onnx.py LYRICS_RUN/ckpt.pt

Turns a checkpoint into what Triton and the client load: two ONNX graphs, the tokenizer and the `config.pbtxt`
files. It also writes `parity.json` and `MODEL_CARD.md` for people. Everything is built and checked first and moved
into place at the end. So the old repository stays complete until the new one replaces it.

A lyrics transcriber (`python -m train.lyrics`) is added to the repository as one more model. A later export of the
other models keeps it.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from export import ExportError
from export.int8 import quantise
from export.model_card import write_model_card
from export.output_folder import check_replaceable, read_files, replace_folder
from export.parity import (
    SCORE_STEP,
    STRICT,
    Parity,
    check_audio,
    check_search,
    check_text,
    embed_captions,
    float32_needed,
)
from export.parity_data import CAPTIONS, SEARCH_CAPTIONS, WINDOWS, check_there, load_parity_data
from export.sources import load_source
from export.tensorrt_check import check_graph, refuse_unready
from export.tensorrt_check.parity_items import token_items
from export.towers import check_weights, export_audio, export_text, type_embeddings, type_float16
from export.transcriber import FILES as TRANSCRIBER_FILES
from export.transcriber import ExportedTranscriber, export_transcriber, holds_transcriber
from export.triton_config import ModelParameters, fingerprint, write_configs
from train.checkpoint import CheckpointError
from train.data.audio import AudioDecodeError
from train.data.manifest import ManifestError

PROJECT = Path(__file__).resolve().parents[1]  # a checkout, or the site-packages that a wheel was installed into
STARTER = PROJECT / "model_repository"
PARITY_DATA = PROJECT / "demo/collection/manifest.jsonl"
IN_CHECKOUT = (PROJECT / "tests/export").is_dir()  # wheels do not contain the tests
OUT = STARTER if IN_CHECKOUT else Path("model_repository")  # do not change files that pip installed
# The Python models, and the package that reads audio files, which Triton's Python imports from the model's folder.
PYTHON_MODELS = {name: STARTER / name for name in ("text_tokenizer/1/model.py", "audio_embedding/1/model.py")}
PYTHON_MODELS |= {f"audio_embedding/1/audio/{path.name}": path for path in (PROJECT / "audio").glob("*.py")}
FILES = frozenset(
    {
        "audio_encoder/config.pbtxt",
        "audio_encoder/1/model.onnx",
        "text_encoder/config.pbtxt",
        "text_encoder/1/model.onnx",
        "text_tokenizer/config.pbtxt",
        "text_tokenizer/1/tokenizer.json",
        "audio_embedding/config.pbtxt",
        *PYTHON_MODELS,
        "text_embedding/config.pbtxt",
        "text_embedding/1/.gitkeep",  # Triton needs a version folder, and git stores no empty folders
        "parity.json",  # these two are for people; Triton only looks into folders
        "MODEL_CARD.md",
    }
)


@dataclass(frozen=True)
class Exported:
    """The result of an export: the parity of its graphs, their sizes in bytes, and the fingerprint."""

    parity: Parity
    sizes: tuple[int, int]
    fingerprint: str


def export_checkpoint(
    checkpoint: str | Path,
    *,
    out: Path,
    parity_data: Path,
    tokenizer: str | None = None,
    about: Path | None = None,
    precision: str = "fp16",
    text_int8: bool = False,
    text_tensorrt: bool = False,
    thresholds: Mapping[str, float] | None = None,
) -> Exported:
    """Write the model repository `out`, or change nothing.

    Args:
        about: Markdown for the model card: what the model is good for, and what not.
        precision: "fp16" or "fp32", of both graphs (`export.towers`).
        text_int8: export an INT8 text graph for CPU servers instead (`export.int8`).
        text_tensorrt: on a GPU, let Triton run the text graph on TensorRT too.
        thresholds: fields of `export.parity.Thresholds` that replace the strict ones, for both graphs.

    Raises:
        ExportError: options contradict each other, `out` cannot be replaced, `about` cannot be read, a weight is not
            usable, or a graph failed the parity check or TensorRT's check.
        CheckpointError: the checkpoint cannot be used.
        ManifestError: the manifest of the parity data cannot be read.
        AudioDecodeError: an audio file of the parity data cannot be read.
    """
    if text_int8 and text_tensorrt:
        raise ExportError("TensorRT cannot run an INT8 text graph; give only one of --text-int8 and --text-tensorrt")
    precisions = (precision, "int8" if text_int8 else precision)
    accept_audio, accept_text = (dataclasses.replace(STRICT[name], **(thresholds or {})) for name in precisions)
    out = out.resolve()
    check_replaceable(out, ours=FILES | TRANSCRIBER_FILES)
    check_there(parity_data)
    words = _read_about(about) if about else ""
    source = load_source(checkpoint, tokenizer=tokenizer)
    check_weights(source.model)
    data = load_parity_data(parity_data, window=source.window)

    typed = None
    if precision == "fp16":
        least = accept_audio.min_cosine
        kept = float32_needed(source.model, source.float32, data.windows, min_cosine=least)
        typed = type_float16(source.model, float32=kept)
    text_model = type_embeddings(source.model) if text_int8 else typed or source.model
    audio_graph = export_audio(typed or source.model, samples=source.window.samples)
    windows = {name: {"waveform": waveform[None]} for name, waveform in data.windows.items()}
    refuse_unready("audio_encoder", check_graph(audio_graph, items=windows))
    audio = audio_graph.SerializeToString(deterministic=True)
    text_graph = export_text(text_model, max_tokens=source.max_text_tokens)
    if text_int8:
        text_graph = quantise(text_graph)
    else:
        tokens = token_items(data.texts, tokenizer=source.tokenizer)
        refuse_unready("text_encoder", check_graph(text_graph, items=tokens))
    text = text_graph.SerializeToString(deterministic=True)
    tokenizer_json = source.tokenizer.tokenizer_json.encode()

    audio_parity = check_audio(audio, data.windows, model=source.model, typed=typed, accept=accept_audio)
    text_parity = check_text(
        text,
        data.texts,
        model=source.model,
        typed=None if text_int8 else typed,
        tokenizer=source.tokenizer,
        max_tokens=source.max_text_tokens,
        accept=accept_text,
    )
    captions = embed_captions(text, list(data.text_tracks), model=source.model, tokenizer=source.tokenizer)
    step = max(SCORE_STEP[name] for name in precisions)
    search_parity = check_search(audio_parity, captions, data=data, accept=accept_text, step=step)
    parity = Parity(precisions, (accept_audio, accept_text), audio_parity, text_parity, search_parity)
    parameters = ModelParameters(
        sample_rate_hz=source.window.sample_rate_hz,
        window_samples=source.window.samples,
        embedding_dim=source.embedding_dim,
        max_text_tokens=source.max_text_tokens,
        model_name=source.name,
        fingerprint=fingerprint(audio, text, tokenizer_json),
        parity_cosine=f"{parity.worst_cosine:.6f}",
    )
    graphs = {"audio_encoder/1/model.onnx": audio, "text_encoder/1/model.onnx": text}
    card = write_model_card(source, about=words, parameters=parameters, parity=parity, graphs=graphs)
    files = graphs | {
        "text_tokenizer/1/tokenizer.json": tokenizer_json,
        "text_embedding/1/.gitkeep": b"",
        **{name: path.read_bytes() for name, path in PYTHON_MODELS.items()},
        "parity.json": parity.to_json(parameters).encode(),
        "MODEL_CARD.md": card.encode(),
    }
    configs = write_configs(parameters, text_tensorrt=text_tensorrt)
    files |= {f"{name}/config.pbtxt": content.encode() for name, content in configs.items()}
    replace_folder(out, read_files(out, TRANSCRIBER_FILES) | files)
    return Exported(parity, (len(audio), len(text)), parameters.fingerprint)


def _read_about(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ExportError(f"--about {path} cannot be read as UTF-8 text ({exc})") from exc


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 after one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="to_onnx.py", description="Export a checkpoint as a model repository.")
    parser.add_argument(
        "checkpoint",
        metavar="CKPT",
        help=(
            "the ckpt.pt of `python -m train` or of `python -m train.lyrics`, the folder or hub name of a CLAP or "
            "MuQ-MuLan, or MusCALL's best_model.pth.tar"
        ),
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--precision",
        choices=("fp16", "fp32"),
        default="fp16",
        help="precision of the towers, or of a transcriber; default: fp16",
    )
    parser.add_argument(
        "--text-int8",
        action="store_true",
        help=(
            "quantise the text graph, for servers without a GPU that have ONNX Runtime 1.22 or newer (Triton 25.06 "
            "or newer; see export/int8.py)"
        ),
    )
    parser.add_argument(
        "--text-tensorrt",
        action="store_true",
        help="on a GPU, run the text graph on TensorRT too (see its config.pbtxt)",
    )
    parser.add_argument(
        "--parity-data",
        type=Path,
        default=PARITY_DATA,
        metavar="MANIFEST",
        help=(
            f"captioned music for the gate: torch and the graphs must agree on {WINDOWS} windows, on {CAPTIONS} "
            f"captions, and on the hits of up to {SEARCH_CAPTIONS} captions; default: the demo collection"
        ),
    )
    parser.add_argument(
        "--tokenizer",
        metavar="NAME",
        help="for a checkpoint without a tokenizer (MusCALL's): a tokenizer.json, or a folder or hub name with one",
    )
    parser.add_argument(
        "--about",
        type=Path,
        metavar="FILE",
        help="Markdown for the model card: what the model is good for, and what it is not good for",
    )
    gate = parser.add_argument_group("the gate (export/parity.py); defaults for fp16, fp32 and int8 in this order")
    for name, meaning in (
        ("min_cosine", "lowest cosine of an item with torch in float32"),
        ("max_deviation", "largest change of a component when an item is in a batch or padded, not alone"),
        ("min_overlap", "lowest share of torch's ten best windows for a text that the graphs also find (mean)"),
        ("max_recall_drop", "largest drop of R@10, as a fraction; one lost caption is always allowed"),
    ):
        defaults = ", ".join(f"{getattr(accept, name):g}" for accept in STRICT.values())
        gate.add_argument(
            f"--{name.replace('_', '-')}", type=float, metavar="X", help=f"{meaning}; default: {defaults}"
        )
    options = parser.parse_args(arguments)
    chosen = {field.name: getattr(options, field.name) for field in dataclasses.fields(STRICT["fp16"])}
    try:
        if holds_transcriber(Path(options.checkpoint)):
            for option in (*chosen, "tokenizer", "about", "text_int8", "text_tensorrt"):
                if getattr(options, option) not in (None, False):
                    raise ExportError(
                        f"{options.checkpoint} is a lyrics transcriber, which has no use for "
                        f"--{option.replace('_', '-')}; leave it out"
                    )
            _print_transcriber(_export_transcriber(options), out=options.out)
            return 0
        with Console(stderr=True).status("exporting and comparing with torch (a minute, longer for large models)"):
            exported = export_checkpoint(
                options.checkpoint,
                out=options.out,
                parity_data=options.parity_data,
                tokenizer=options.tokenizer,
                about=options.about,
                precision=options.precision,
                text_int8=options.text_int8,
                text_tensorrt=options.text_tensorrt,
                thresholds={name: value for name, value in chosen.items() if value is not None},
            )
    except (ExportError, CheckpointError, ManifestError, AudioDecodeError) as exc:
        print(f"{exc}; nothing was written", file=sys.stderr)
        return 2
    _print(exported, out=options.out)
    return 0


def _export_transcriber(options: argparse.Namespace) -> ExportedTranscriber:
    out = options.out.resolve()
    check_replaceable(out, ours=FILES | TRANSCRIBER_FILES)
    with Console(stderr=True).status("exporting and comparing with torch (minutes for the paper's sizes)"):
        return export_transcriber(
            Path(options.checkpoint),
            out=out,
            others=FILES,
            parity_data=options.parity_data,
            precision=options.precision,
        )


def _print_transcriber(exported: ExportedTranscriber, *, out: Path) -> None:
    table = Table("", "lyrics_transcriber", title=f"Exported to {out}")
    table.add_row("size", f"{exported.size / 1e6:.1f} MB")
    table.add_row("training windows with a separated voice", f"{exported.voice_share:.0%}")
    for label, value in exported.parity.rows():
        table.add_row(label, value)
    console = Console()
    console.print(table)
    console.print(f"fingerprint {exported.fingerprint}", soft_wrap=True)
    if exported.voice_share:
        print(
            f"warning: {exported.voice_share:.0%} of the training windows had a separated voice; give one in use too "
            "(--voice FILE), or train without voices",
            file=sys.stderr,
        )


def _print(exported: Exported, *, out: Path) -> None:
    table = Table("", "audio_encoder", "text_encoder", title=f"Exported to {out}")
    table.add_row("size", *(f"{size / 1e6:.1f} MB" for size in exported.sizes))
    for label, audio, text in exported.parity.rows():
        table.add_row(label, audio, text)
    console = Console()
    console.print(table)
    console.print(exported.parity.search.sentence())
    console.print(f"fingerprint {exported.fingerprint}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
