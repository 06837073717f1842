"""The official MusCALL checkpoint, by a stand-in of plain torch modules that have its names, shapes and settings."""

from pathlib import Path

import huggingface_hub.constants
import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from export.hard_items import hard_signals
from export.sources import AudioWindow, load_source
from export.to_onnx import main
from tests.export.conftest import INSTRUMENTS, MOODS
from train.checkpoint import CheckpointError

WINDOW = AudioWindow(sample_rate_hz=16_000, samples=16_000)  # 32 frames, so 4 x 1 cells
WORDS = [*MOODS, *INSTRUMENTS, "a", "<|startoftext|>", "<|endoftext|>"]  # the end has the highest id, as in CLIP
TEXTS = ("calm piano", "a", "sad violin bass choir", "zither")


class Block(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = nn.Conv2d(channels, 4 * channels, 1, bias=False), nn.BatchNorm2d(4 * channels)
        self.stride, self.downsample = stride, None
        if stride > 1 or channels_in != 4 * channels:
            layers = {"-1": nn.AvgPool2d(stride), "0": nn.Conv2d(channels_in, 4 * channels, 1, bias=False)}
            self.downsample = nn.Sequential()
            for name, layer in (layers | {"1": nn.BatchNorm2d(4 * channels)}).items():
                self.downsample.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.avg_pool2d(F.relu(self.bn2(self.conv2(y))), self.stride)
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class Pool(nn.Module):
    def __init__(self, cells: int, channels: int, features: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(cells + 1, channels) / channels**0.5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(channels, channels) for _ in range(3))
        self.c_proj = nn.Linear(channels, features)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).permute(2, 0, 1)
        x = torch.cat([x.mean(0, keepdim=True), x]) + self.positional_embedding[:, None]
        pooled, _ = F.multi_head_attention_forward(
            x[:1],
            x,
            x,
            x.shape[2],
            8,
            in_proj_weight=None,
            in_proj_bias=torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]),
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=self.c_proj.weight,
            out_proj_bias=self.c_proj.bias,
            use_separate_proj_weight=True,
            q_proj_weight=self.q_proj.weight,
            k_proj_weight=self.k_proj.weight,
            v_proj_weight=self.v_proj.weight,
        )
        return pooled[0]


class AudioBackbone(nn.Module):
    def __init__(self, width: int, blocks: tuple[int, ...], features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width // 2, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(width // 2), nn.BatchNorm2d(width // 2), nn.BatchNorm2d(width)
        channels_in = width
        for stage, count in enumerate(blocks):
            channels = width * 2**stage
            layers = [Block(channels_in, channels, stride=2 if stage else 1)]
            layers += [Block(4 * channels, channels, stride=1) for _ in range(count - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
            channels_in = 4 * channels
        self.attnpool = Pool(4, channels_in, features)
        self.spec = MelSpectrogram(16_000, n_fft=1024, hop_length=512, f_max=11_025.0, n_mels=128, normalized=True)
        self.decibels = AmplitudeToDB(top_db=100)

    def forward(self, waveform: Tensor) -> Tensor:
        x = self.decibels(self.spec(waveform)).unsqueeze(1)
        for place in (1, 2, 3):
            x = F.relu(getattr(self, f"bn{place}")(getattr(self, f"conv{place}")(x)))
        x = F.avg_pool2d(x, 2)
        return self.attnpool(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


class Normed(nn.Module):
    """x + fn(norm(x))"""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(width), fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(self.norm(x))


class CausalAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_qkv, self.out_projection = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        heads = [part.unflatten(2, (8, -1)).transpose(1, 2) for part in self.to_qkv(x).chunk(3, dim=2)]
        return self.out_projection(F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


class TextualHead(nn.Module):
    def __init__(self, width: int, layers: int, length: int) -> None:
        super().__init__()
        self.token_embedding, self.position_embedding = nn.Embedding(len(WORDS), width), nn.Embedding(length, width)
        self.transformer = nn.Module()
        self.transformer.layers = nn.Sequential(
            *(
                nn.Sequential(Normed(width, CausalAttention(width)), Normed(width, FeedForward(width)))
                for _ in range(layers)
            )
        )
        self.transformer.norm_out = nn.LayerNorm(width)
        self.ln_final = nn.LayerNorm(width)  # stored, and never applied

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        x = self.transformer.norm_out(self.transformer.layers(x))
        return x[torch.arange(len(ids)), ids.argmax(dim=1)]


class MusCALL(nn.Module):
    def __init__(self) -> None:
        super().__init__()  # two blocks in the first stage: the second has no shortcut convolution
        self.audio_backbone = AudioBackbone(4, (2, 1, 1, 1), 24)
        self.textual_head = TextualHead(64, 2, 20)
        self.audio_projection, self.text_projection = nn.Linear(24, 16, bias=False), nn.Linear(64, 16, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.6))

    def embed_audio(self, waveform: Tensor) -> Tensor:
        return F.normalize(self.audio_projection(self.audio_backbone(waveform)), dim=-1)

    def embed_text(self, ids: Tensor) -> Tensor:
        return F.normalize(self.text_projection(self.textual_head(ids)), dim=-1)


def without_transform(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if "backbone.spec." not in name}


# torchaudio's own remark on the filters above Nyquist.
pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values")


@pytest.fixture(scope="module")
def muscall() -> MusCALL:
    """Random weights whose BatchNorm statistics fit what they see."""
    torch.manual_seed(0)
    model = MusCALL()
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
    with torch.no_grad():  # one at a time: torchaudio clamps the decibels of a batch by its loudest item
        audio = torch.cat([muscall.embed_audio(clip[None]) for clip in clips()]).numpy()
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
    return {"model": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}, "best": 0.3}


def with_simclr(model: MusCALL) -> dict:
    encoder = {f"audio_ssl.simclr.encoder.{name}": tensor for name, tensor in model.audio_backbone.state_dict().items()}
    return {"state_dict": model.state_dict() | encoder | {"audio_ssl.simclr.projector.0.weight": torch.zeros(8, 24)}}


@pytest.mark.parametrize("wrap", [parallel, without_transform, with_simclr], ids=["wrapped", "bare", "simclr"])
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
        ({"audio_backbone.spec.mel_scale.fb": torch.zeros(513, 128)}, r"mel_scale\.fb is not that of n_fft 1024"),
        ({"textual_head.token_embedding.weight": torch.zeros(50, 64)}, "knows 19 tokens and the checkpoint 50"),
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
    with pytest.raises(CheckpointError, match=r"is no tokenizer\.json"):
        load_source(tmp_path / "best_model.pth.tar", tokenizer=str(tmp_path))


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
