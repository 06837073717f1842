"""The official MusCALL checkpoint, by a stand-in."""

from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from export.hard_items import SILENCE, hard_signals
from export.parity import ProductsOfFloat16, float32_needed
from export.sources import AudioWindow, load_source
from export.to_onnx import main
from export.towers import type_float16
from tests.export.conftest import INSTRUMENTS, MOODS
from tests.export.muscall_stand_in import OFFICIAL, TINY, MusCALL, train_briefly
from train.checkpoint import CheckpointError
from train.data.audio import load_crop
from train.data.manifest import read_manifest

WINDOW = AudioWindow(sample_rate_hz=16_000, samples=16_000)  # 32 frames, so 4 x 1 cells
WORDS = [*MOODS, *INSTRUMENTS, "a", "<|startoftext|>", "<|endoftext|>"]  # the end has the highest id, as in CLIP
TEXTS = ("calm piano", "a", "sad violin bass choir", "zither")
EPOCHS = 8


def without_transform(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if "backbone.spec." not in name}


# torchaudio's own remark on the filters above Nyquist.
pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values")


@pytest.fixture(scope="module")
def muscall() -> MusCALL:
    """Random weights whose BatchNorm statistics fit what they see."""
    torch.manual_seed(0)
    model = MusCALL(TINY, vocab_size=len(WORDS))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 1)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = None
    for parameter in model.textual_head.parameters():  # as lived-in: a norm or a bias at its start hides a wrong name
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    with torch.no_grad():
        model.audio_backbone(torch.from_numpy(np.stack(list(hard_signals(WINDOW).values()))))
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="a"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    start, end = WORDS[-2:]
    words.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, len(WORDS) - 2), (end, len(WORDS) - 1)]
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    words.save(str(folder / "tokenizer.json"))
    return str(folder)


def clips() -> Tensor:
    return torch.from_numpy(np.stack(list(hard_signals(WINDOW).values())))


def test_the_exported_graphs_give_what_its_own_modules_give(
    muscall: MusCALL, tokenizer: str, manifest: Path, tmp_path: Path
):
    path, out = tmp_path / "best_model.pth.tar", tmp_path / "repository"
    torch.save({"epoch": 3, "state_dict": without_transform(muscall)}, path)
    assert (
        main(
            [str(path), "--tokenizer", f"{tokenizer}/tokenizer.json", "--out", str(out), "--parity-data", str(manifest)]
        )
        == 0
    )
    tokens = Tokenizer.from_file(f"{tokenizer}/tokenizer.json")
    with torch.no_grad():  # a batch of quiet and loud clips: each is clamped by its own loudest cell
        audio = muscall.embed_audio(clips()).numpy()
        text = torch.cat([muscall.embed_text(torch.tensor([tokens.encode(words).ids])) for words in TEXTS]).numpy()

    session = onnxruntime.InferenceSession(out / "audio_encoder/1/model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", WINDOW.samples]
    found = session.run(None, {"waveform": clips().numpy()})[0]
    assert (found * audio).sum(axis=1).min() >= 0.9999
    assert np.median(audio @ audio.T) < 0.98

    session = onnxruntime.InferenceSession(out / "text_encoder/1/model.onnx", providers=["CPUExecutionProvider"])
    ids = np.zeros((len(TEXTS), 9), np.int32)
    for row, words in enumerate(TEXTS):
        ids[row, : len(tokens.encode(words))] = tokens.encode(words).ids
    mask = (np.arange(9) < [[len(tokens.encode(words))] for words in TEXTS]).astype(np.int32)
    found = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    assert (found * text).sum(axis=1).min() >= 0.9999
    assert np.median(text @ text.T) < 0.98


def parallel(model: MusCALL) -> dict:
    return {"model": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}, "best": np.float64(0.3)}


def compiled(model: MusCALL) -> dict:
    return {f"module._orig_mod.{name}": tensor for name, tensor in model.state_dict().items()}


def compiled_in_part(model: MusCALL) -> dict:
    names = {name: name.replace("textual_head.", "textual_head._orig_mod.") for name in model.state_dict()}
    return {f"_orig_mod.module.{names[name]}": tensor for name, tensor in model.state_dict().items()}


def with_simclr(model: MusCALL) -> dict:
    encoder = {f"audio_ssl.simclr.encoder.{name}": tensor for name, tensor in model.audio_backbone.state_dict().items()}
    return {"state_dict": model.state_dict() | encoder | {"audio_ssl.simclr.projector.0.weight": torch.zeros(8, 24)}}


@pytest.mark.parametrize("wrap", [parallel, compiled, compiled_in_part, without_transform, with_simclr])
def test_the_tensors_are_found_however_they_are_wrapped(muscall: MusCALL, tokenizer: str, tmp_path: Path, wrap):
    torch.save(wrap(muscall), tmp_path / "model.pt")
    source = load_source(tmp_path / "model.pt", tokenizer=tokenizer)
    assert (source.window, source.embedding_dim, source.max_text_tokens) == (WINDOW, 16, 20)
    with torch.no_grad():
        expected = muscall.embed_audio(clips()[-1:])
        torch.testing.assert_close(source.model.embed_audio(clips())[-1:], expected, atol=1e-4, rtol=0)
        ids, mask = source.tokenizer(TEXTS[-1:])
        # Another GELU, such as x · sigmoid(1.702 x), is 1e-3 away.
        torch.testing.assert_close(source.model.embed_text(ids, mask), muscall.embed_text(ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio_projection.bias": torch.zeros(16)}, r"missing: none; unknown: audio_projection\.bias\)"),
        ({"audio_backbone.bn1.weight": None}, r"missing: audio_backbone\.bn1\.weight; unknown: none\)"),
        (
            {f"more.{place}": torch.zeros(1) for place in range(5)},
            r"unknown: more\.0, more\.1, more\.2 and 2 more\)",
        ),
        (
            {"textual_head.transformer.norm_out.weight": torch.ones(32)},
            "contradict each other: size mismatch for text_tower",
        ),
        ({"audio_backbone.conv3.weight": None}, r"has no tensor audio_backbone\.conv3\.weight of 4 axes"),
        ({"audio_backbone.attnpool.positional_embedding": torch.zeros(8, 128)}, "pools 7 cells; expected 4 for each"),
        ({"textual_head.token_embedding.weight": torch.zeros(19, 60)}, "attends over 60 channels; expected a multiple"),
        ({"audio_backbone.spec.mel_scale.fb": torch.zeros(513, 128)}, r"mel_scale\.fb does not match n_fft 1024"),
        ({"textual_head.token_embedding.weight": torch.zeros(50, 64)}, "has 19 tokens, but the checkpoint has 50"),
    ],
)
def test_other_tensors_are_one_sentence(muscall: MusCALL, tokenizer: str, tmp_path: Path, change: dict, message: str):
    tensors = muscall.state_dict() | change
    path = tmp_path / "best_model.pth.tar"
    torch.save({"state_dict": {name: tensor for name, tensor in tensors.items() if tensor is not None}}, path)
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_source(path, tokenizer=tokenizer)
    assert "\n" not in str(refusal.value)


def test_without_a_tokenizer_it_says_which_option_to_give(
    muscall: MusCALL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    torch.save(muscall.state_dict(), tmp_path / "best_model.pth.tar")
    with pytest.raises(CheckpointError, match=r"needs CLIP's tokenizer \(--tokenizer\): 'no-owner/no-tokenizer' is no"):
        load_source(tmp_path / "best_model.pth.tar", tokenizer="no-owner/no-tokenizer")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"is not a tokenizer\.json"):
        load_source(tmp_path / "best_model.pth.tar", tokenizer=str(tmp_path))


DEMO = Path(__file__).parents[2] / "demo/collection/manifest.jsonl"
# The official audio tower on windows of one second; the text tower, whose precision is not in question, is small.
SECOND = replace(OFFICIAL, cells=4, hidden=TINY.hidden, layers=TINY.layers)


@pytest.fixture(scope="module")
def barely_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of some epochs on the demo collection, and the tokenizer that it was trained with."""
    folder = tmp_path_factory.mktemp("barely-trained")
    rows = read_manifest(DEMO)
    words = Tokenizer(models.BPE())
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    captions = [caption for row in rows for caption in row.captions]
    words.train_from_iterator(captions, trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet))
    ends = ["<|startoftext|>", "<|endoftext|>"]
    words.add_special_tokens(ends)
    words.post_processor = processors.TemplateProcessing(
        single=f"{ends[0]} $A {ends[1]}", special_tokens=[(end, words.token_to_id(end)) for end in ends]
    )
    words.save(str(folder / "tokenizer.json"))
    words.enable_padding(pad_id=0)
    words.enable_truncation(SECOND.max_tokens)
    ids = torch.tensor([encoding.ids for encoding in words.encode_batch([row.captions[0] for row in rows])])
    crops = [load_crop(row.audio, sample_rate_hz=16_000, samples=16_000, window=8) for row in rows]
    torch.manual_seed(0)
    model = MusCALL(SECOND, vocab_size=words.get_vocab_size()).to(memory_format=torch.channels_last)
    train_briefly(model, torch.from_numpy(np.stack(crops)), ids, epochs=EPOCHS, batch_size=20)
    torch.save({"epoch": EPOCHS, "state_dict": model.state_dict()}, folder / "best_model.pth.tar")
    return folder


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_barely_trained_checkpoint_passes_the_gate_with_its_defaults(
    barely_trained: Path, tmp_path: Path, precision: str
):
    options = ["--tokenizer", str(barely_trained), "--precision", precision, "--out", str(tmp_path / "repository")]
    assert main([str(barely_trained / "best_model.pth.tar"), *options]) == 0


def test_no_more_of_it_stays_float32_than_must(barely_trained: Path):
    source = load_source(barely_trained / "best_model.pth.tar", tokenizer=str(barely_trained))
    signals = {name: signal for name, signal in hard_signals(source.window).items() if name != SILENCE}
    everything = tuple(name for group in source.float32 for name in group)
    assert len(everything) == 1 + 3 + 4 + 6 + 3

    def embedded(model: nn.Module) -> Tensor:  # one at a time, as the gate does: a batch is rounded otherwise
        with torch.inference_mode(), ProductsOfFloat16():
            return torch.cat([model.embed_audio(torch.from_numpy(signal[None])) for signal in signals.values()])

    expected = embedded(source.model).double()

    def worst(kept: tuple[str, ...]) -> float:
        found = embedded(type_float16(source.model, float32=kept)).double()
        return 1 - float(F.cosine_similarity(found, expected).min())

    errors = [worst(kept) for kept in ((), source.float32[0], everything)]
    assert errors[2] < 1e-5
    assert errors[2] < errors[1] < 0.7 * errors[0]
    for gate, kept in ((1.0, everything), (1 - 2.1 * errors[1], source.float32[0])):
        assert float32_needed(source.model, source.float32, signals, min_cosine=gate) == kept
    assert worst(float32_needed(source.model, source.float32, signals, min_cosine=1 - errors[1])) <= errors[1] / 2


class Bomb:
    def __reduce__(self):
        return print, ("ran",)


def test_a_pickle_that_carries_code_is_refused(muscall: MusCALL, tmp_path: Path, capsys):
    torch.save({"state_dict": muscall.state_dict(), "options": Bomb()}, tmp_path / "best_model.pth.tar")
    assert main([str(tmp_path / "best_model.pth.tar"), "--out", str(tmp_path / "out")]) == 2
    output = capsys.readouterr()
    assert "carries code" in output.err
    assert "python -m train" not in output.err  # which did not write it
    assert "ran" not in output.out
