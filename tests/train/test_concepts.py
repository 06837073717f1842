import dataclasses
import functools
import math
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn

from tests.train.published_signal import struck_chord
from tests.train.test_published_towers import GOLDEN, MUSICNN, NETWORKS, YAMNET, needs_wheels
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.concepts import teacher
from train.concepts.__main__ import main
from train.concepts.audio import concept_projection
from train.concepts.fit import SENTENCE_ENCODER, fit_concepts
from train.concepts.table import Concept, read_concepts, tag_weights
from train.concepts.text import fit_head, phrases_of, targets
from train.concepts.texts import Text, made_texts
from train.concepts.trust import familiarity
from train.concepts.unrelated import unrelated_texts
from train.config import (
    MUSICNN_FRONTEND,
    YAMNET_FRONTEND,
    AudioMusicnnConfig,
    AudioYamnetConfig,
    Config,
    ConfigError,
    FrontendConfig,
    load_recipe,
)
from train.data.audio import StoreSilentError
from train.data.manifest import Row
from train.data.member import Member
from train.dual_encoder import ConceptHead, DualEncoder
from train.pretrained import load_part, sentence_embedder, start_towers
from train.teacher import open_teacher
from train.towers import build_audio_tower

BESIDE = {
    "concepts": 5,
    "hidden": 8,
    "parts": [
        {
            "frontend": {**dataclasses.asdict(YAMNET_FRONTEND), "window_s": 1.0},
            "audio": {"tower": "audio_yamnet"},
        }
    ],
}


def small_model(tiny_overrides: list[str], **beside) -> DualEncoder:
    values = load_recipe("starter", overrides=tiny_overrides).to_dict()
    values["model"]["beside"] = BESIDE | beside
    torch.manual_seed(0)
    return DualEncoder(Config.from_dict(values).model).eval()


@needs_wheels
def test_every_tag_of_the_table_is_a_network_s():
    tags = []
    for config, frontend in (
        (AudioMusicnnConfig(init_from=str(MUSICNN)), MUSICNN_FRONTEND),
        (AudioMusicnnConfig(init_from=str(MUSICNN), network="MTT_musicnn"), MUSICNN_FRONTEND),
        (AudioYamnetConfig(init_from=str(YAMNET)), YAMNET_FRONTEND),
    ):
        tags += load_part(build_audio_tower(config, frontend=frontend), config)
    assert len(tags) == 50 + 50 + 521
    weights = tag_weights(read_concepts(), tags=tags)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)


def test_the_table_asks_for_each_concept_by_phrases_of_its_own():
    concepts = read_concepts()
    phrases = [phrase.lower() for concept in concepts for phrase in concept.phrases]
    assert len(phrases) == len(set(phrases))
    assert {concept.kind for concept in concepts} == {"genre", "instrument", "voice", "mood"}
    assert min(len(concept.phrases) for concept in concepts) >= 1


def test_a_tag_that_no_network_has_is_named():
    with pytest.raises(ConfigError, match="'kazoo' needs the tag 'YAM/Kazoo'"):
        tag_weights([Concept("kazoo", "instrument", ("YAM/Kazoo",), ("kazoo",))], tags=["YAM/Trumpet"])


def test_the_audio_map_is_what_it_says_step_by_step():
    """Logits in deviations, their mean by concept in deviations, less the mean of all concepts."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 7, generator=generator)
    classifiers = [nn.Linear(4, 3), nn.Linear(3, 2)]
    weights = torch.tensor([[1.0, 0, 0, 0, 0], [0, 0.5, 0.5, 0, 0], [0, 0, 0, 0.5, 0.5]])
    weight, bias = concept_projection(features, classifiers=classifiers, tag_weights=weights)
    with torch.no_grad():
        logits = torch.cat([classifiers[0](features[:, :4]), classifiers[1](features[:, 4:])], dim=1)
    standard = (logits - logits.mean(0)) / logits.std(0)
    scores = standard @ weights.T
    expected = (scores - scores.mean(0)) / scores.std(0)
    expected = expected - expected.mean(1, keepdim=True)
    torch.testing.assert_close(features @ weight.T + bias, expected, atol=1e-5, rtol=0)


def test_made_texts_say_their_concepts():
    concepts = read_concepts()
    texts = list(made_texts(concepts, count=300, seed=0))
    assert len(texts) == 300 + 4 * sum(len(concept.phrases) for concept in concepts)
    for text in texts:
        assert text.concepts
        for place in text.concepts:
            assert any(phrase.lower() in text.text.lower() for phrase in concepts[place].phrases), text
    assert texts == list(made_texts(concepts, count=300, seed=0))
    assert texts[-300:] != list(made_texts(concepts, count=300, seed=1))[-300:]


def test_a_text_is_about_what_it_was_made_of_and_what_it_is_near_to():
    phrases, owners = torch.eye(4), [0, 0, 1, 2]
    texts = [Text("made of 1", (1,)), Text("of 0 and 2", (0, 2)), Text("of 2", (2,))]
    vectors = F.normalize(torch.tensor([[0.0, 0, 1, 0], [0, 1.0, 0, 0], [1.0, 0, 0, 0.2]]), dim=1)
    wanted = targets(texts, vectors=vectors, phrases=phrases, owners=owners, concepts=3)
    torch.testing.assert_close(wanted.norm(dim=1), torch.ones(3))
    assert wanted[0].argmax() == 1
    assert wanted[1].argmax() == 0  # said and near, where 2 is only said
    assert wanted[1][2] > wanted[1][1]
    assert set(wanted[2].topk(2).indices.tolist()) == {0, 2}  # near the one, made of the other
    assert wanted[:, 3].tolist() == [0, 0, 0]


def test_a_text_that_is_near_no_phrase_is_about_nothing_that_can_be_heard():
    made = [Text("of 0", (0,)), Text("of 1", (1,))]
    texts = [*made, Text("a tax return", ()), Text("zero", ()), Text("a kind of zero", ())]
    vectors = F.normalize(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.3, 0, 1], [1, 0, 0], [0.5, 0, 0.866]]), dim=1)
    phrases = torch.eye(3)[:2]
    wanted = targets(texts, vectors=vectors, phrases=phrases, owners=[0, 1], concepts=2)
    assert wanted[2].tolist() == [0, 0, 1]
    assert wanted[3].argmax() == 0
    assert wanted[3, 2] == 0
    assert wanted[4, 2].item() == pytest.approx(math.sqrt(0.5), abs=1e-3)  # half way from 0.35 to 0.65
    torch.testing.assert_close(wanted.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(
        wanted[:2], targets(made, vectors=vectors[:2], phrases=phrases, owners=[0, 1], concepts=2)
    )


def test_hardly_any_unrelated_text_is_a_phrase_of_a_concept():
    texts = list(unrelated_texts(count=500, seed=0))
    assert texts == list(unrelated_texts(count=500, seed=0))
    assert len(set(texts)) > 400
    phrases = {phrase.lower() for concept in read_concepts() for phrase in concept.phrases}
    assert sum(text.lower() in phrases for text in texts) <= 5  # "rock" is a common word too


def test_the_head_learns_words_at_any_place_of_a_text():
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(4, 16, generator=generator)
    rng = np.random.default_rng(0)
    tokens, wanted = [], torch.zeros(256, 4)
    for row in range(256):
        said = rng.integers(4)
        noise = 0.3 * torch.randn(int(rng.integers(2, 9)), 16, generator=generator)
        noise[rng.integers(len(noise))] += words[said]
        tokens.append(noise)
        wanted[row, said] = 1.0
    torch.manual_seed(0)
    head = ConceptHead(16, hidden=32, concepts=4)
    assert fit_head(head, tokens * 4, wanted.repeat(4, 1), seed=0) > 0.8


def test_padding_does_not_change_what_a_text_is_about():
    torch.manual_seed(0)
    head = ConceptHead(16, hidden=8, concepts=4).eval()
    tokens = torch.randn(2, 5, 16)
    padded = torch.cat([tokens, 100 * torch.randn(2, 3, 16)], dim=1)
    mask = (torch.arange(8) < 5).expand(2, -1)
    torch.testing.assert_close(head(padded, mask), head(tokens, torch.ones(2, 5)), atol=1e-5, rtol=0)


def test_trust_tells_familiar_music_from_other():
    generator = torch.Generator().manual_seed(0)
    familiar = torch.randn(300, 8, generator=generator) + torch.tensor([2.0, *[0.0] * 7])
    other = 3.0 + torch.randn(60, 8, generator=generator)
    weight, bias = familiarity(familiar, other)
    share = lambda features: torch.sigmoid(features @ weight.T + bias)[:, 0]  # noqa: E731
    assert share(familiar).mean() > 0.9
    assert share(other).mean() < 0.1


def test_both_halves_are_weighed_as_configured(tiny_overrides: list[str]):
    model = small_model(tiny_overrides, weight=0.7, familiar_weight=0.3, text_weight=0.4)
    waveform = 0.3 * torch.randn(3, 16_000, generator=torch.Generator().manual_seed(1))
    ids, mask = torch.tensor([[2, 4, 5, 6, 3]]), torch.ones(1, 5, dtype=torch.int64)
    for logit, share in ((40.0, 0.3), (-40.0, 0.7), (0.0, 0.5)):
        with torch.no_grad():
            model.beside.familiarity.weight.zero_()
            model.beside.familiarity.bias.fill_(logit)
            audio, text = model.embed_audio(waveform), model.embed_text(ids, mask)
        assert audio.shape == (3, 16 + 5)
        torch.testing.assert_close(audio.norm(dim=1), torch.ones(3))
        torch.testing.assert_close(audio[:, 16:].norm(dim=1), torch.full((3,), math.sqrt(share)))
        torch.testing.assert_close(text[:, 16:].norm(dim=1), torch.tensor([math.sqrt(0.4)]))


def test_a_fusion_of_different_windows_is_refused(tiny_overrides: list[str]):
    part = {**BESIDE["parts"][0], "frontend": {**BESIDE["parts"][0]["frontend"], "window_s": 2.0}}
    with pytest.raises(
        ConfigError, match="audio_yamnet takes windows of 32000 samples at 16000 Hz, but the learned tower"
    ):
        small_model(tiny_overrides, parts=[part])


def test_concepts_want_a_bert():
    part = {"frontend": dataclasses.asdict(YAMNET_FRONTEND), "audio": {"tower": "audio_yamnet"}}
    values = {"text": {"tower": "text_word2vec"}, "beside": BESIDE | {"parts": [part]}}
    with pytest.raises(ConfigError, match=r"needs the text tower text_bert.*got text_word2vec"):
        Config.from_dict({"model": values})


@needs_wheels
def test_concepts_are_put_beside_a_checkpoint(
    tones: Path,
    tiny_overrides: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    """The learned half stays as it was; the same music and seed give the same file."""
    monkeypatch.setattr("train.concepts.fit.WINDOWS", 8)
    monkeypatch.setattr("train.concepts.fit.TEXTS", 50)
    monkeypatch.setattr("train.concepts.fit.UNRELATED_TEXTS", 20)
    # Both runs embed the same 7,000 texts with the same published encoder: once is enough.
    embed = sentence_embedder(SENTENCE_ENCODER, device=torch.device("cpu"))
    known = functools.cache(lambda texts: embed(list(texts)))
    monkeypatch.setattr("train.concepts.fit.sentence_embedder", lambda *_, **__: lambda texts: known(tuple(texts)))
    config = load_recipe("starter", overrides=[*tiny_overrides, "model.frontend.window_s=3.1"])
    torch.manual_seed(0)
    model = DualEncoder(config.model).eval()
    tokenizer = start_towers(model, config, rows=[])
    save_checkpoint(tmp_path / "ckpt.pt", Checkpoint(config, model.state_dict(), tokenizer.tokenizer_json, {}, {}))
    command = [str(tmp_path / "ckpt.pt"), "--familiar", str(tones), "--music", str(tones)]
    command += ["--musicnn", str(MUSICNN), "--yamnet", str(YAMNET), "--set", "text_weight=0.25"]
    for name in ("a.pt", "b.pt"):
        assert main([*command, "--out", str(tmp_path / name)]) == 0
    first, second = load_checkpoint(tmp_path / "a.pt"), load_checkpoint(tmp_path / "b.pt")
    assert all(torch.equal(value, second.state_dict[name]) for name, value in first.state_dict.items())
    fitted = first.build_model()
    ids, mask = torch.tensor([[2, 4, 5, 3]]), torch.ones(1, 4, dtype=torch.int64)
    concepts = len(read_concepts()) + 1
    with torch.no_grad():
        learned = fitted.embed_text(ids, mask)[:, :-concepts]
        torch.testing.assert_close(learned, math.sqrt(0.75) * model.embed_text(ids, mask))
    assert main([*command[:-2], "--out", str(tmp_path / "c.pt"), "--set", "weight=2"]) == 2
    assert "model.beside.weight is 2; expected more than 0" in capsys.readouterr().err
    for override, message in (("weight", "expected key=value"), ("weight=[", "cannot read '['")):
        assert main([*command[:-2], "--out", str(tmp_path / "c.pt"), "--set", override]) == 2
        assert message in capsys.readouterr().err
    assert main([str(tmp_path / "a.pt"), *command[1:], "--out", str(tmp_path / "c.pt")]) == 2
    assert "already has concepts" in capsys.readouterr().err
    assert phrases_of(read_concepts())[0][1].startswith("a recording of ")


@needs_wheels
def test_a_store_that_does_not_answer_is_not_taken_for_music_that_cannot_be_decoded(
    tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def silent(self: object, paths: list[str], *args: object, **options: object) -> object:
        return [ConnectionError("reset by peer")] * len(paths)

    monkeypatch.setattr(fsspec.AbstractFileSystem, "cat_ranges", silent)
    monkeypatch.setattr("train.data.member._PAUSES_S", (0.0, 0.0))
    config = load_recipe("starter", overrides=[*tiny_overrides, "model.frontend.window_s=3.1"])
    checkpoint = Checkpoint(config, DualEncoder(config.model).state_dict(), "", {}, {})
    far = [Row(Member("memory://set/000.tar", "a.flac", 512, 1_000), (), "a", "train")]
    told = r"^cannot decode a\.flac in memory://set/000\.tar: [^\n]+ \(reset by peer\), after retries; start again when"
    with pytest.raises(StoreSilentError, match=told):
        fit_concepts(
            checkpoint,
            familiar=far,
            music=far,
            musicnn=MUSICNN,
            yamnet=YAMNET,
            overrides=[],
            seed=0,
            console=Console(quiet=True),
        )


@needs_wheels
def test_the_published_networks_become_a_teacher(tmp_path: Path):
    """It says what the packages' own graphs say, of the tags that a concept is read off, in batches of any size."""
    wheels = ["--musicnn", str(MUSICNN), "--yamnet", str(YAMNET)]
    assert teacher.main([*wheels, "--window-s", "3", "--out", str(tmp_path / "teacher.onnx")]) == 0
    tagger = open_teacher(str(tmp_path / "teacher.onnx"), frontend=FrontendConfig(window_s=3.0))
    kept = teacher.published_taggers(musicnn=MUSICNN, yamnet=YAMNET, window_s=3.0).kept.numpy()
    musicnn = kept[kept < 100]
    golden = np.concatenate([GOLDEN[network] for network in NETWORKS])[musicnn]
    logits = tagger(torch.from_numpy(np.stack([struck_chord(3.0)] * 3)))
    assert logits.shape == (3, len(kept))
    np.testing.assert_allclose(logits[:, : len(musicnn)], np.stack([golden] * 3), atol=2e-3)


def test_a_teacher_needs_both_wheels(tmp_path: Path, capsys: pytest.CaptureFixture):
    wheel = tmp_path / "musicnn.whl"
    assert teacher.main(["--musicnn", str(wheel), "--yamnet", str(wheel), "--out", str(tmp_path / "t.onnx")]) == 2
    assert f"{wheel}" in capsys.readouterr().err
