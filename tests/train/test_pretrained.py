import shutil
from pathlib import Path

import pytest
import torch
from transformers import ASTConfig, ASTModel, RobertaConfig, RobertaModel

from train.config import AudioAstConfig, ConfigError, TextBertConfig, load_recipe
from train.data.manifest import Row
from train.dual_encoder import DualEncoder
from train.pretrained import sentence_embedder, start_towers
from train.towers.audio_ast import AudioAst
from train.towers.text_bert import TextBert

ROWS = [
    Row(Path("a.flac"), ("slow jazz", "A Slow, slow blues!"), "a", "train"),
    Row(Path("b.flac"), ("fast jazz",), "b", "train"),
]
SMALL = ["model.audio.hidden=8", "model.text.hidden=3", "model.text.vocab_size=20", "model.embedding_dim=4"]


def start(overrides: list[str]) -> tuple[DualEncoder, object]:
    config = load_recipe("dcase", overrides=[*SMALL, *overrides])
    model = DualEncoder(config.model)
    return model, start_towers(model, config, rows=ROWS)


def test_a_vocabulary_of_the_training_captions():
    _, tokenizer = start([])
    ids, mask = tokenizer(["SLOW jazz", "jazz unheard"])
    assert mask.tolist() == [[1, 1], [1, 1]]
    assert ids[0, 1] == ids[1, 0]
    assert ids[1, 1] == 1  # unknown
    assert len({*ids.flatten().tolist()}) == 3


@pytest.mark.parametrize("first_line", ["", "3 3\n"])
def test_published_word_vectors_are_taken(first_line: str, tmp_path: Path):
    path = tmp_path / "vectors.txt"
    path.write_text(f"{first_line}jazz 1 2 3\nslow jazz 7 7 7\nslow 4 5 6\n")  # a word may hold spaces
    model, tokenizer = start([f"model.text.init_from={path}"])
    ids, mask = tokenizer(["slow jazz"])
    torch.testing.assert_close(model.text_tower(ids, mask), torch.tensor([[2.5, 3.5, 4.5]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("jazz 1 2\n", r"vectors\.txt has vectors of 2 numbers; expected model\.text\.hidden = 3"),
        ("2 4\nopera 1 2 3 4\njazz 1 2 3 4\n", r"has vectors of 4 numbers"),
        ("2 3\nopera 1 2 3\njazz 1 2\n", r"vectors\.txt, line 3 is not a word and 3 numbers"),
        ("opera 1 2 3\njazz 1 two 3\n", r"vectors\.txt, line 2 is not a word and 3 numbers"),
        ("jazz music\n", r"vectors of 1 numbers"),
        ("", r"vectors of 0 numbers"),
        ("opera 1 2 3\n", "no word of the training captions"),
        (None, "no such file"),
    ],
)
def test_word_vectors_that_do_not_fit_are_refused(content: str | None, message: str, tmp_path: Path):
    path = tmp_path / "vectors.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        start([f"model.text.init_from={path}"])


def test_a_vocabulary_larger_than_the_embedding_is_refused(tiny_text_model: Path):
    config = load_recipe(
        "muscall",
        overrides=[f"model.text.tokenizer={tiny_text_model}", "model.text.vocab_size=8", "model.audio.width=4",
                   "model.audio.heads=4"],
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"vocab_size is 8, but the vocabulary of .* has 15 tokens; set it to that"):
        start_towers(DualEncoder(config.model), config, rows=ROWS)


def test_sentences_that_say_the_same_are_near():
    embed = sentence_embedder("all-MiniLM-L6-v2", device=torch.device("cpu"))
    calm, quiet, metal = embed(["a calm piano piece", "quiet, peaceful piano music", "brutal death metal"])
    torch.testing.assert_close(calm.norm(), torch.tensor(1.0))
    assert calm @ quiet > 0.6 > 0.4 > calm @ metal


def test_a_sentence_encoder_may_have_any_size(tiny_text_model: Path):
    embed = sentence_embedder(str(tiny_text_model), device=torch.device("cpu"))
    long, short = embed(["low tone " * 50, "a low tone"])  # the model has 32 positions
    assert long.shape == (32,)
    tower = TextBert(TextBertConfig(vocab_size=32, hidden=32, layers=2, heads=4, feed_forward=64, max_positions=32))
    tower.load_pretrained(tiny_text_model)
    mean = tower.eval()(torch.tensor([[2, 12, 4, 11, 3]]), torch.ones(1, 5, dtype=torch.int64))[0]
    torch.testing.assert_close(short, mean / mean.norm(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("frozen", [True, False])
def test_embeddings_are_frozen_unless_the_recipe_trains_them(tiny_text_model: Path, frozen: bool):
    sizes = {"vocab_size": 32, "hidden": 32, "layers": 2, "heads": 4, "feed_forward": 64, "max_positions": 32}
    tower = TextBert(TextBertConfig(**sizes, frozen_embeddings=frozen))
    tower.load_pretrained(tiny_text_model)
    trained = {name.split(".")[1] for name, weight in tower.named_parameters() if weight.requires_grad}
    assert trained == ({"encoder"} if frozen else {"embeddings", "encoder"})


def test_a_frozen_layer_has_no_dropout_while_the_others_train(tiny_text_model: Path):
    sizes = TextBertConfig(
        vocab_size=32, hidden=32, layers=2, heads=4, feed_forward=64, max_positions=32, frozen_layers=1, dropout=0.5
    )
    tower = TextBert(sizes)
    tower.load_pretrained(tiny_text_model)
    frozen, trained = tower.train().bert.encoder.layer
    hidden, mask = torch.randn(1, 5, 32), torch.zeros(1, 1, 1, 5)
    assert torch.equal(frozen(hidden, mask)[0], frozen(hidden, mask)[0])
    assert not torch.equal(trained(hidden, mask)[0], trained(hidden, mask)[0])


def test_published_weights_that_cannot_be_used_are_one_sentence_that_names_the_setting(
    tiny_text_model: Path, tmp_path: Path
):
    cpu = torch.device("cpu")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    RobertaModel(RobertaConfig(vocab_size=32, **sizes)).save_pretrained(tmp_path / "roberta")
    with pytest.raises(
        ConfigError, match=r"^loss\.sentence_encoder: .* of type 'roberta'; expected one of type 'bert'$"
    ):
        sentence_embedder(str(tmp_path / "roberta"), device=cpu)

    cut = tmp_path / "cut"
    shutil.copytree(tiny_text_model, cut)
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:200])
    with pytest.raises(ConfigError, match=r"^loss\.sentence_encoder: .*cut holds no model that can be read: .*$"):
        sentence_embedder(str(cut), device=cpu)
    tower = TextBert(TextBertConfig(vocab_size=32, hidden=32, layers=2, heads=4, feed_forward=64, max_positions=32))
    with pytest.raises(ConfigError, match=r"^model\.text\.init_from: .*cut holds no model that can be read: .*$"):
        tower.load_pretrained(cut)
    ASTModel(ASTConfig(num_mel_bins=32, max_length=32, **sizes)).save_pretrained(tmp_path / "ast")
    (tmp_path / "ast/model.safetensors").write_bytes(b"cut")
    with pytest.raises(ConfigError, match=r"^model\.audio\.init_from: .*ast holds no model that can be read: .*$"):
        AudioAst(AudioAstConfig(hidden=32, layers=1, heads=4), n_mels=32, frames=32).load_pretrained(tmp_path / "ast")

    shutil.copy(tiny_text_model / "model.safetensors", cut)
    (cut / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError, match=r"^loss\.sentence_encoder: .*tokenizer\.json is not a tokenizer"):
        sentence_embedder(str(cut), device=cpu)
    (cut / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"^loss\.sentence_encoder: .*cut has no tokenizer\.json"):
        sentence_embedder(str(cut), device=cpu)
