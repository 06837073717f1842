"""python -m tests.export.muq_mulan_golden: record what the package `muq` gives for `muq_mulan_stand_in`'s folders.

It writes `muq_mulan_golden.json` beside this file, with which tests and `python -m bench export_muq_mulan` compare; run
it where `pip install muq==0.1.0 'transformers<5'` was done (muq asks for hidden states as transformers 5 does not give
them any more), which cannot be where the rest of this project runs. It takes some minutes and 12 GB of memory.
"""

import json
import tempfile
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from muq import MuQ, MuQMuLan
from transformers import XLMRobertaConfig, XLMRobertaModel

from tests.export import muq_mulan_stand_in as stand_in

GOLDEN = Path(__file__).with_suffix(".json")
DECIMALS = 7


def record(sizes: stand_in.Sizes) -> dict[str, list[list[float]]]:
    """Vectors of unit norm, of each clip and of each text alone."""
    with tempfile.TemporaryDirectory() as name, chdir(name):  # the package takes names in its config.json for folders
        stand_in.save_muq_mulan(Path("."), sizes)
        MuQ(json.loads(Path(stand_in.MUQ, "config.json").read_text())).save_pretrained(stand_in.MUQ)
        XLMRobertaModel(XLMRobertaConfig.from_pretrained(stand_in.ROBERTA)).save_pretrained(stand_in.ROBERTA)
        model = MuQMuLan.from_pretrained(".").eval()
        _check_loaded(model, sizes)
        with torch.inference_mode():
            audio = [model(wavs=torch.from_numpy(clip)[None]) for clip in stand_in.make_clips(sizes)]
            text = [model(texts=[words]) for words in stand_in.TEXTS]
    return {
        side: [[round(value, DECIMALS) for value in F.normalize(vector[0], dim=0).tolist()] for vector in vectors]
        for side, vectors in (("audio", audio), ("text", text))
    }


def _check_loaded(model: torch.nn.Module, sizes: stand_in.Sizes) -> None:
    """The package ignores what does not fit, so see that every tensor arrived."""
    loaded = model.state_dict()
    for name, tensor in stand_in.make_tensors(sizes).items():
        assert torch.equal(loaded[name], tensor), name


if __name__ == "__main__":
    made_by = {package: version(package) for package in ("muq", "transformers", "torch")}
    vectors = {name: record(sizes) for name, sizes in stand_in.SIZES.items()}
    GOLDEN.write_text(json.dumps(made_by | vectors) + "\n", encoding="utf-8")
