"""The command line on a model and a data set of seconds."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.config import load_recipe
from train.data.audio import load_crop
from train.data.manifest import read_manifest
from train.dual_encoder import DualEncoder
from train.evaluate.__main__ import main
from train.evaluate.embed import embed_texts, embed_tracks, open_model, open_sentence_encoder
from train.evaluate.errors import EvaluationError


@pytest.fixture(scope="module")
def ckpt(tiny_overrides: list[str], tiny_text_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model."""
    config = load_recipe("starter", overrides=tiny_overrides)
    torch.manual_seed(4)  # of these weights no two scores are nearly equal
    state = DualEncoder(config.model).state_dict()
    path = tmp_path_factory.mktemp("model") / "ckpt.pt"
    tokenizer = (tiny_text_model / "tokenizer.json").read_text(encoding="utf-8")
    save_checkpoint(path, Checkpoint(config, state, tokenizer, {}, {}))
    return path


def evaluate(capsys: pytest.CaptureFixture[str], protocol: str, *arguments: object) -> dict:
    assert main([protocol, *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def within_its_interval(result: dict) -> bool:
    return all(
        0 <= low <= result[group][metric] <= high
        for group, of_group in result["intervals"].items()
        for metric, (low, high) in of_group.items()
    )


def test_retrieval_among_a_subset(ckpt: Path, tones: Path, capsys: pytest.CaptureFixture[str]):
    result = evaluate(capsys, "retrieval", "--ckpt", ckpt, "--data", tones, "--split", "val", "--pairs", 12)
    assert result["pairs"] == 12
    assert within_its_interval(result)


def test_rows_without_captions_and_labels_are_no_candidates(
    ckpt: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [json.loads(line) for line in tones.read_text().splitlines()]
    rows = [row | {"audio": str(tones.parent / row["audio"])} for row in rows if row["split"] == "val"]
    bare = [{"audio": row["audio"], "split": "val"} for row in rows[:5]]
    manifests = [tmp_path / name for name in ("more.jsonl", "plain.jsonl", "bare.jsonl")]
    for manifest, lines in zip(manifests, (bare + rows, rows, bare), strict=True):
        manifest.write_text("\n".join(map(json.dumps, lines)))
    for protocol in ("retrieval", "zeroshot"):
        more, plain = (
            evaluate(capsys, protocol, "--ckpt", ckpt, "--data", manifest, "--split", "val")
            for manifest in manifests[:2]
        )
        assert more == plain
        assert main([protocol, "--ckpt", str(ckpt), "--data", str(manifests[2]), "--split", "val"]) == 2
        assert "none of the 5 rows of split 'val'" in capsys.readouterr().err


def test_zeroshot_reports_three_styles(ckpt: Path, tones: Path, capsys: pytest.CaptureFixture[str]):
    result = evaluate(capsys, "zeroshot", "--ckpt", ckpt, "--data", tones, "--split", "val")
    assert result["labels"] == 9  # pure, rough, steady, slow, fast, pulsing, low, middle, high
    assert set(result["intervals"]) == {"label", "A {} track", "ensemble"}
    assert set(result["ensemble"]) == {"ROC-AUC", "PR-AUC"}
    assert within_its_interval(result)
    single = evaluate(capsys, "zeroshot", "--ckpt", ckpt, "--data", tones, "--split", "val", "--single")
    assert single["labels"] == 2  # pure, rough
    assert set(single["label"]) == {"accuracy"}


@pytest.mark.parametrize("projected", [[], ["--projected"]])
def test_a_probe_hears_more_than_chance(
    projected: list[str], ckpt: Path, tones: Path, capsys: pytest.CaptureFixture[str]
):
    result = evaluate(capsys, "probe", "--ckpt", ckpt, "--data", tones, "--single", *projected)
    assert result["tracks"] == 6
    assert result["probe"]["accuracy"] >= 0.8  # pure or rough: even an untrained tower tells
    assert within_its_interval(result)


@pytest.mark.parametrize("protocol", ["zeroshot", "probe"])
def test_labels_can_be_chosen(
    protocol: str, ckpt: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    names = tmp_path / "names.txt"
    names.write_text("rough\n high \nsilent\n\nhigh\n", encoding="utf-8")
    common = ("--ckpt", ckpt, "--data", tones, "--split", "val", "--labels", names)
    result = evaluate(capsys, protocol, *common)
    assert result["labels"] == 2  # no tone is silent
    assert within_its_interval(result)
    command = [protocol, *map(str, common)]
    for content, message in ((b"", "is empty; expected one label a line"), (b"\xff", "is not UTF-8 text")):
        names.write_bytes(content)
        assert main(command) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--single"])
    assert "not allowed with argument --labels" in capsys.readouterr().err


def test_playlists_pairs_and_triplets(ckpt: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    questions = {
        "playlists": {"title": "low", "description": "a slow tone", "tracks": ["0.flac", "3.flac"]},
        "comparisons": {"first": "0.flac", "second": "1.flac", "attribute": "arousal", "higher": "first"},
        "triplets": {"anchor": "low", "positive": "a low tone", "negative": "high"},
    }
    for name, question in questions.items():
        (tmp_path / name).write_text(json.dumps(question), encoding="utf-8")
    assert (
        main(["playlist", "--ckpt", str(ckpt), "--data", str(tones), "--playlists", str(tmp_path / "playlists")]) == 2
    )
    assert "track '0.flac' is not in this split" in capsys.readouterr().err  # as everywhere, --split is test
    common = ("--ckpt", ckpt, "--data", tones, "--split", "train")
    playlist = evaluate(capsys, "playlist", *common, "--playlists", tmp_path / "playlists")
    assert playlist["tracks"] == 40
    assert set(playlist["intervals"]) == {"title", "description"}
    pairs = evaluate(capsys, "pairs", *common, "--comparisons", tmp_path / "comparisons")
    assert pairs["arousal"]["accuracy"] in (0.0, 1.0)
    triplet = evaluate(capsys, "triplet", "--ckpt", ckpt, "--data", tmp_path / "triplets")
    assert triplet["texts"]["accuracy"] in (0.0, 1.0)


def test_triplets_may_be_put_to_a_published_sentence_encoder(
    ckpt: Path, tmp_path: Path, tiny_text_model: Path, capsys: pytest.CaptureFixture[str]
):
    texts = {"anchor": "calm piano", "positive": "quiet, peaceful piano music", "negative": "brutal death metal"}
    other = texts | {"anchor": "death metal", "positive": texts["negative"], "negative": texts["positive"]}
    data = tmp_path / "triplets.jsonl"
    data.write_text("\n".join(map(json.dumps, [texts, other] * 40)), encoding="utf-8")
    result = evaluate(capsys, "triplet", "--text", "all-MiniLM-L6-v2", "--data", data)
    assert (result["triplets"], result["anchors"], result["texts"]["accuracy"]) == (80, 2, 1.0)
    many = [f"a {word} tone" for word in ("low", "high", "pure", "rough") for _ in range(40)]
    embed = open_sentence_encoder(str(tiny_text_model))
    np.testing.assert_allclose(
        embed(many)[[0, 40, 159]], embed(["a low tone", "a high tone", "a rough tone"]), atol=1e-6
    )
    assert main(["triplet", "--text", str(tmp_path), "--data", str(data)]) == 2
    assert capsys.readouterr().err.startswith("error: --text: ")
    with pytest.raises(SystemExit, match="2"):
        main(["triplet", "--text", "x", "--ckpt", str(ckpt), "--data", str(data)])
    assert "not allowed with argument" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["triplet", "--data", str(data)])
    assert "one of the arguments --ckpt --text is required" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["retrieval", "zeroshot"])
def test_a_file_that_cannot_be_decoded_is_named_in_one_sentence(
    ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str
):
    workers = torch.load(ckpt, weights_only=True)
    workers["config"]["optim"]["workers"] = 1
    torch.save(workers, tmp_path / "ckpt.pt")
    (tmp_path / "broken.flac").write_bytes(b"fLaC broken")
    lines = [{"audio": "broken.flac", "captions": ["a"], "split": "test", "labels": [label]} for label in "ab"]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert main([protocol, "--ckpt", str(tmp_path / "ckpt.pt"), "--data", str(tmp_path / "manifest.jsonl")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: cannot decode ")
    assert "; `python -m train.data decode` makes a manifest without such recordings\n" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("protocol", ["zeroshot", "probe"])
def test_what_is_known_against_a_set_stands_beside_its_figures(
    ckpt: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str
):
    rows = [json.loads(line) for line in tones.read_text().splitlines()]
    for row in rows:
        row |= {"audio": str(tones.parent / row["audio"]), "note": f"[all {row['split']} tones] are by one hand"}
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ("--ckpt", ckpt, "--data", tmp_path / "manifest.jsonl", "--single")
    assert evaluate(capsys, protocol, *arguments)["notes"] == ["[all test tones] are by one hand"]
    assert main([protocol, *map(str, arguments)]) == 0
    shown = capsys.readouterr().out
    assert shown.endswith("\n[all test tones] are by one hand\n")  # in one line, however narrow the table is
    assert "notes" not in shown
    assert "notes" not in evaluate(capsys, protocol, "--ckpt", ckpt, "--data", tones, "--single")


def test_a_table_holds_scores_and_intervals(
    ckpt: Path, tones: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "120")  # so that no cell is broken into lines
    assert main(["retrieval", "--ckpt", str(ckpt), "--data", str(tones)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"retrieval, 6 pairs", out)
    assert re.search(r"\d+\.\d % .*\n.*\d+\.\d to \d+\.\d", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retrieval", "--pairs", "1000"], "error: --pairs is 1000; expected 2 to 6, the rows of the split"),
        (["probe", "--split", "test", "--ckpt", "nowhere.pt"], "error: no checkpoint at nowhere.pt"),
        (["playlist", "--playlists", "nowhere.jsonl"], "error: no file at nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    arguments: list[str], message: str, ckpt: Path, tones: Path, capsys: pytest.CaptureFixture[str]
):
    protocol, *options = arguments
    assert main([protocol, "--ckpt", str(ckpt), "--data", str(tones), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_protocol_has_its_own_options_only(ckpt: Path, tones: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main(["zeroshot", "--ckpt", str(ckpt), "--data", str(tones), "--pairs", "5"])
    assert "unrecognized arguments: --pairs 5" in capsys.readouterr().err


def test_a_track_is_the_mean_of_its_three_windows(ckpt: Path, tones: Path):
    model, _ = open_model(load_checkpoint(ckpt))
    rows = read_manifest(tones, split="test")[:2]
    windows = np.stack(
        [load_crop(rows[1].audio, sample_rate_hz=16_000, samples=16_000, place=place) for place in (0.0, 0.5, 1.0)]
    )
    with torch.inference_mode():
        mean = model.embed_audio(torch.from_numpy(windows)).mean(dim=0)
        features = model.audio_features(model.log_mel(torch.from_numpy(windows))).mean(dim=0)
    vectors = embed_tracks(model, rows)
    np.testing.assert_allclose(vectors[1], mean / mean.norm(), atol=1e-5)
    np.testing.assert_allclose(embed_tracks(model, rows, features=True)[1], features, atol=1e-4)


def test_the_central_window_is_all_that_is_heard_where_asked_for(
    ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """As MusCALL labels tracks (Manco et al. 2022, §4.2): what lies around it does not matter."""
    tones_hz = 110 * 2.0 ** np.arange(0, 6, 0.5)
    noise = 0.5 * np.random.default_rng(0).uniform(-1, 1, (len(tones_hz), 2, 16_000))
    manifests = {}
    for name in ("whole", "centre"):
        manifests[name] = tmp_path / name / "manifest.jsonl"
        manifests[name].parent.mkdir()
        rows = []
        for number, ((before, after), hz) in enumerate(zip(noise, tones_hz, strict=True)):
            tone = 0.3 * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000)
            wave = np.concatenate([before, tone, after]) if name == "whole" else tone
            soundfile.write(tmp_path / name / f"{number}.wav", wave, 16_000, subtype="FLOAT")
            labels = ["high" if hz > 880 else "low", ("pure", "rough", "steady")[number % 3]]
            rows.append({"audio": f"{number}.wav", "split": "test", "labels": labels})
        manifests[name].write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    model, _ = open_model(load_checkpoint(ckpt))
    whole, centre = (read_manifest(path) for path in manifests.values())
    expected = embed_tracks(model, centre)
    np.testing.assert_allclose(embed_tracks(model, whole, places=(0.5,)), expected, atol=1e-6)
    assert np.abs(embed_tracks(model, whole) - expected).max() > 1e-3
    labelled = evaluate(capsys, "zeroshot", "--ckpt", ckpt, "--data", manifests["whole"], "--central")
    assert labelled == evaluate(capsys, "zeroshot", "--ckpt", ckpt, "--data", manifests["centre"])


def test_embedding_leaves_a_model_in_training_as_it_was(ckpt: Path, tones: Path):
    model, _ = open_model(load_checkpoint(ckpt))
    rows = read_manifest(tones, split="test")[:2]
    expected = embed_tracks(model, rows)
    before = {name: value.clone() for name, value in model.named_buffers()}
    np.testing.assert_array_equal(embed_tracks(model.train(), rows), expected)
    assert model.training
    assert model.audio_tower.training
    for name, value in model.named_buffers():
        assert torch.equal(value, before[name]), name


def test_texts_keep_their_order(ckpt: Path):
    model, tokenizer = open_model(load_checkpoint(ckpt))
    texts = ["a slow pulsing low tone", "low", "a high tone"]
    together = embed_texts(model, texts, tokenizer=tokenizer, batch_size=2)
    apart = np.concatenate([embed_texts(model, [text], tokenizer=tokenizer) for text in texts])
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_a_diverged_model_is_refused(ckpt: Path):
    model, tokenizer = open_model(load_checkpoint(ckpt))
    with torch.no_grad():
        model.text_projection.weight.fill_(torch.nan)
    with pytest.raises(EvaluationError, match="infinite values for 2 of 2 texts"):
        embed_texts(model, ["low", "high"], tokenizer=tokenizer)
