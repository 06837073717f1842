"""Writes `MODEL_CARD.md`, which describes a model repository; the same model gives the same bytes."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from export.parity import Parity
from export.sources import Source
from export.triton_config import ModelParameters

_TEMPLATE = """\
# {name}

A dual encoder of music and text: it turns both into vectors of {dim} numbers with unit length. The dot product of two
vectors says how well they fit. Written by `export/to_onnx.py` of MusicSearch; fingerprint `{fingerprint}`.
{about}
{files}

## Use

Serve this folder with Triton, or read it with ONNX Runtime: `MusicSearch("library", encoder="path/of/this/folder")`.
{needs}
{graphs}

A waveform is mono, -1 to 1, at {rate} Hz, {seconds:g} s long; the log-mel front end is inside the graph. Text is cut
after {tokens} tokens. These vectors cannot be compared with vectors of another fingerprint.

## Training

{provenance}

What training measured:

{metrics}

## Parity with PyTorch

An export writes nothing if the limits are missed; `parity.json` has each item.

{parity}

{search}
"""

_NEEDS_OF_INT8 = "Its INT8 graph needs ONNX Runtime 1.22 or newer, which Triton has from 25.06 on.\n"


def write_model_card(
    source: Source, *, about: str, parameters: ModelParameters, parity: Parity, graphs: Mapping[str, bytes]
) -> str:
    """Return the card as Markdown.

    Args:
        about: a text by the model's author.
        graphs: the contents of both graphs by their path in the repository.
    """
    dim, samples = parameters.embedding_dim, parameters.window_samples
    return _TEMPLATE.format(
        name=parameters.model_name,
        dim=dim,
        fingerprint=parameters.fingerprint,
        about=f"\n{about.strip()}\n" if about else "",
        files=_table(
            ("file", "size", "SHA-256"),
            [
                (f"`{path}`", f"{len(content) / 1e6:.1f} MB", f"`{hashlib.sha256(content).hexdigest()}`")
                for path, content in graphs.items()
            ],
        ),
        graphs=_table(
            ("model", "inputs", "output"),
            [
                ("`audio_encoder`", f"`waveform` FP32 [n, {samples}]", f"`embedding` FP32 [n, {dim}]"),
                (
                    "`text_embedding`",
                    "`text` BYTES [n, 1], UTF-8",
                    f"`embedding` FP32 [n, {dim}], `token_count` INT32 [n, 1]",
                ),
                ("`text_encoder`", "`input_ids`, `attention_mask` INT32 [n, length]", f"`embedding` FP32 [n, {dim}]"),
            ],
        ),
        needs=_NEEDS_OF_INT8 if "int8" in parity.precisions else "",
        rate=f"{parameters.sample_rate_hz:,}",
        seconds=source.window.seconds,
        tokens=parameters.max_text_tokens,
        provenance=_facts(source.provenance),
        metrics=_facts(source.metrics),
        parity=_table(("", "audio_encoder", "text_encoder"), parity.rows()),
        search=parity.search.sentence(),
    )


def _facts(values: Mapping[str, Any]) -> str:
    return _table(("", ""), _flatten(values)) if values else "The checkpoint does not say."


def _flatten(values: Mapping[str, Any], *, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Turn {"a": {"b": 1}} into ("a b", "1")."""
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flatten(value, prefix=f"{name} ")
        else:
            yield name, f"{value:.{4 if abs(value) < 1_000 else 6}g}" if isinstance(value, float) else str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
