import copy
from pathlib import Path

import pytest
import torch
from transformers import BertModel

from train.augment import FLOOR, augment_log_mel
from train.config import AugmentConfig, Config, ConfigError, load_recipe
from train.dual_encoder import DualEncoder
from train.towers.text_bert import pretrained_folder


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
    assert augmented.min() >= FLOOR
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
    widths = (masked[:, 0, 0] == FLOOR).sum(dim=1)
    assert widths.max() <= 40  # 1 s at 25 ms a frame
    assert widths.float().mean() == pytest.approx(20, abs=5)


def test_the_published_text_weights_are_found_without_a_network():
    assert (pretrained_folder("all-MiniLM-L6-v2") / "model.safetensors").is_file()


def test_a_text_model_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"text\.init_from is 'nobody/nothing': no such folder"):
        pretrained_folder("nobody/nothing")
