import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import ASTConfig, ASTModel, BertModel

from train.augment import augment_log_mel
from train.config import (
    AudioAstConfig,
    AudioConfig,
    AudioCrnnConfig,
    AudioResNetConfig,
    AugmentConfig,
    Config,
    ConfigError,
    FrontendConfig,
    TextConfig,
    TextTransformerConfig,
    TextWord2VecConfig,
    load_recipe,
)
from train.dual_encoder import DualEncoder
from train.pretrained import pretrained_folder
from train.towers import build_audio_tower, build_text_tower
from train.towers.audio_ast import AudioAst
from train.towers.audio_resnet import AttentionPool
from train.towers.text_transformer import TextTransformer


@pytest.fixture(scope="module")
def config(tiny_overrides: list[str]) -> Config:
    return load_recipe("starter", overrides=tiny_overrides)


@pytest.fixture(scope="module")
def model(config: Config, tiny_text_model: Path) -> DualEncoder:
    torch.manual_seed(0)
    model = DualEncoder(config.model).eval()
    model.text_tower.load_pretrained(tiny_text_model)
    return model


def test_embeddings_are_unit_vectors_of_the_configured_size(model: DualEncoder):
    audio = model.embed_audio(torch.randn(3, 16_000))
    text = model.embed_text(torch.randint(4, 15, (2, 7)), torch.ones(2, 7, dtype=torch.int64))
    for embedding, rows in ((audio, 3), (text, 2)):
        assert embedding.shape == (rows, 16)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(rows))


def test_padding_does_not_change_a_text(model: DualEncoder):
    ids = torch.tensor([[2, 4, 5, 6, 3]])
    padded = torch.cat([ids, torch.zeros(1, 6, dtype=torch.int64)], dim=1)
    mask = (torch.arange(11) < 5).long().unsqueeze(0)
    torch.testing.assert_close(
        model.embed_text(padded, mask), model.embed_text(ids, torch.ones_like(ids)), atol=1e-6, rtol=0
    )


def test_the_text_tower_equals_transformers_own_bert(model: DualEncoder, tiny_text_model: Path):
    reference = BertModel.from_pretrained(tiny_text_model, attn_implementation="eager").eval()
    ids = torch.randint(4, 15, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    hidden = reference(input_ids=ids, attention_mask=mask).last_hidden_state
    expected = torch.stack([hidden[0].mean(dim=0), hidden[1, :5].mean(dim=0)])
    torch.testing.assert_close(model.text_tower(ids, mask), expected, atol=1e-5, rtol=0)


def test_the_audio_tower_hears_the_whole_window(model: DualEncoder, config: Config):
    """Every eighth of the window and every eighth of the spectrum changes the features.

    In float64, as an untrained tower tells parts apart by little.
    """
    frontend = config.model.frontend
    tower = copy.deepcopy(model.audio_tower).double()
    base = torch.zeros(1, 1, frontend.n_mels, frontend.frames, dtype=torch.float64)
    features = tower(base)
    for part in range(8):
        for axis, size in ((2, frontend.n_mels), (3, frontend.frames)):
            changed = base.clone()
            changed.narrow(axis, part * (size // 8), size // 8).fill_(1.0)
            assert (tower(changed) - features).abs().max() > 1e-12


def test_augmentation_keeps_shape_and_range():
    frontend = Config().model.frontend
    log_mel = torch.rand(4, 1, frontend.n_mels, frontend.frames) * 2 - 1
    augmented = augment_log_mel(log_mel, config=AugmentConfig(), frontend=frontend)
    assert augmented.shape == log_mel.shape
    assert augmented.min() >= frontend.floor
    assert augmented.max() <= 1.0
    assert not torch.equal(augmented, log_mel)


def test_augmentation_can_be_switched_off():
    frontend = Config().model.frontend
    log_mel = torch.rand(2, 1, frontend.n_mels, frontend.frames)
    off = AugmentConfig(time_masks=0, frequency_masks=0, filter_db=0.0)
    assert augment_log_mel(log_mel, config=off, frontend=frontend) is log_mel


def test_masks_stay_within_their_size():
    frontend = Config().model.frontend
    config = AugmentConfig(time_masks=1, time_mask_s=1.0, frequency_masks=0, filter_db=0.0)
    torch.manual_seed(0)
    masked = augment_log_mel(torch.ones(64, 1, frontend.n_mels, frontend.frames), config=config, frontend=frontend)
    widths = (masked[:, 0, 0] == frontend.floor).sum(dim=1)
    assert widths.max() <= 40  # 1 s at 25 ms a frame
    assert widths.float().mean() == pytest.approx(20, abs=5)


def test_the_published_text_weights_are_found_without_a_network():
    assert (pretrained_folder("all-MiniLM-L6-v2", key="text.init_from") / "model.safetensors").is_file()


def test_a_text_model_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"^text\.init_from: 'nobody/nothing' is not a file or folder here and could"):
        pretrained_folder("nobody/nothing", key="text.init_from")


FRONTEND = FrontendConfig(window_s=2.0, hop_samples=160)
AST = AudioAstConfig(hidden=32, layers=2, heads=4)


@pytest.mark.parametrize(
    ("config", "width"),
    [
        (AudioResNetConfig(width=4, blocks=(1, 1, 1, 1), heads=4, features=24), 24),
        (AudioResNetConfig(width=4, blocks=(1, 1, 1, 1), heads=4, pooling="mean"), 128),
        (AudioResNetConfig(style="he", width=4, blocks=(1, 1, 1, 1), heads=4, features=24), 24),
        (AudioResNetConfig(style="he", width=4, blocks=(1, 1, 1, 1), heads=4, pooling="mean"), 128),
        (AudioCrnnConfig(hidden=10), 20),
        (AST, 32),
    ],
)
def test_every_audio_tower_gives_features_of_its_width(config: AudioConfig, width: int):
    tower = build_audio_tower(config, frontend=FRONTEND).eval()
    log_mel = torch.rand(3, 1, FRONTEND.n_mels, FRONTEND.frames) * 2 - 1
    features = tower(log_mel)
    assert (tower.width, features.shape) == (width, (3, width))
    torch.testing.assert_close(tower(log_mel[1:2]), features[1:2], atol=1e-5, rtol=1e-4)  # alone as in a batch


def test_fresh_attention_pooling_keeps_the_scale_of_what_it_pools():
    pool = AttentionPool(20, 256, heads=8, features=128)
    same_in_all_cells = torch.randn(500, 256, 1, 1).expand(-1, -1, 2, 10)
    with torch.inference_mode():
        assert pool(same_in_all_cells).std().item() == pytest.approx(1, abs=0.1)


def test_mulans_resnet_is_resnet_50():
    tower = build_audio_tower(AudioResNetConfig(style="he", width=64, pooling="mean"), frontend=FrontendConfig())
    # 23,508,032 are ResNet-50's without its classifier (torchvision); its stem has two input channels more.
    assert sum(parameter.numel() for parameter in tower.parameters()) == 23_508_032 - 2 * 64 * 49


def test_ast_weights_of_another_window_are_taken_with_resampled_positions(tmp_path: Path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    source = ASTModel(ASTConfig(num_mel_bins=FRONTEND.n_mels, max_length=FRONTEND.frames, **sizes)).eval()
    torch.nn.init.normal_(source.embeddings.position_embeddings)
    source.save_pretrained(tmp_path)
    log_mel = torch.rand(2, 1, FRONTEND.n_mels, FRONTEND.frames)
    same = AudioAst(AST, n_mels=FRONTEND.n_mels, frames=FRONTEND.frames).eval()
    same.load_pretrained(tmp_path)
    expected = source(log_mel.squeeze(1).transpose(1, 2)).last_hidden_state[:, 0]
    torch.testing.assert_close(same(log_mel), expected, atol=1e-5, rtol=0)

    longer = AudioAst(AST, n_mels=FRONTEND.n_mels, frames=3 * FRONTEND.frames).eval()
    longer.load_pretrained(tmp_path)
    positions = longer.ast.embeddings.position_embeddings[0, 2:].unflatten(0, (5, -1))
    original = source.embeddings.position_embeddings[0, 2:].unflatten(0, (5, -1))
    assert positions.shape[1] > 2 * original.shape[1]
    torch.testing.assert_close(positions[:, 0], original[:, 0])  # the ends stay, what is between is interpolated
    torch.testing.assert_close(positions[:, -1], original[:, -1])
    with pytest.raises(ConfigError, match=r"audio\.init_from: .* does not fit the audio configuration"):
        AudioAst(AudioAstConfig(hidden=64, heads=4, layers=2), n_mels=64, frames=200).load_pretrained(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        TextTransformerConfig(vocab_size=40, hidden=32, layers=2, heads=4, max_tokens=12),
        TextWord2VecConfig(vocab_size=40),
    ],
)
def test_padding_does_not_change_what_a_text_tower_gives(config: TextConfig):
    tower = build_text_tower(config).eval()
    ids = torch.randint(1, 40, (2, 7), generator=torch.Generator().manual_seed(0))
    features = tower(ids, torch.ones_like(ids))
    assert features.shape == (2, tower.width)
    padded = torch.cat([ids, torch.zeros(2, 4, dtype=torch.int64)], dim=1)
    mask = (torch.arange(11) < 7).long().expand(2, 11)
    torch.testing.assert_close(tower(padded, mask), features, atol=1e-6, rtol=0)


def test_the_causal_transformer_equals_pytorchs_own():
    config = TextTransformerConfig(vocab_size=40, hidden=32, layers=2, heads=4, max_tokens=12)
    tower = TextTransformer(config).eval()
    layer = nn.TransformerEncoderLayer(32, 4, 128, activation="gelu", batch_first=True, norm_first=True)
    reference = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(32), enable_nested_tensor=False).eval()
    for theirs, ours in zip(reference.layers, tower.layers, strict=True):
        theirs.self_attn.in_proj_weight.data = ours.qkv.weight.data
        theirs.self_attn.in_proj_bias.data = ours.qkv.bias.data
        for name, module in (
            ("self_attn.out_proj", ours.output),
            ("linear1", ours.feed_forward[0]),
            ("linear2", ours.feed_forward[2]),
            ("norm1", ours.attention_norm),
            ("norm2", ours.feed_forward_norm),
        ):
            theirs.get_submodule(name).load_state_dict(module.state_dict())
    ids = torch.randint(1, 40, (3, 9), generator=torch.Generator().manual_seed(0))
    embedded = tower.tokens(ids) + tower.positions[:9]
    states = reference(embedded, mask=nn.Transformer.generate_square_subsequent_mask(9))
    for length in (9, 4):  # the state of the last token there is: what follows it is not seen
        mask = (torch.arange(9) < length).long().expand(3, 9)
        torch.testing.assert_close(tower(ids, mask), states[:, length - 1], atol=1e-5, rtol=0)


def test_word_vectors_are_averaged():
    tower = build_text_tower(TextWord2VecConfig(vocab_size=5, hidden=2))
    tower.vectors.weight.data = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [3.0, 3.0]])
    features = tower(torch.tensor([[1, 2, 4, 0]]), torch.tensor([[1, 1, 1, 0]]))
    torch.testing.assert_close(features, torch.tensor([[4 / 3, 4 / 3]]))
