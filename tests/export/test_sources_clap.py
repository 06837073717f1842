"""A CLAP becomes graphs that give what transformers' own processor and model give, or one sentence."""

import json
import re
import shutil
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    ClapAudioConfig,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clap.modeling_clap import ClapAudioEncoder

from export import ExportError
from export.hard_items import hard_signals
from export.sources import AudioWindow, load_source
from export.sources.clap import ClapAudio, ClapFrontend
from export.sources.repeat_pad import RepeatPad
from export.to_onnx import main
from export.towers import check_weights
from train.checkpoint import CheckpointError
from train.data.tokenizer import TextTokenizer

WINDOW = AudioWindow(sample_rate_hz=48_000, samples=48_000)
TEXTS = ("calm piano", "a", "a zither, recorded in 1923", "тихая музыка")
PADDING = 1


def save_clap(folder: Path, *, fused: bool) -> Path:
    """A tiny CLAP with random but lived-in weights, and a processor whose tokens are single bytes."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {token: place for place, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    extractor = ClapFeatureExtractor(
        feature_size=16, max_length_s=1, frequency_min=50, truncation="fusion" if fused else "rand_trunc"
    )
    torch.manual_seed(0)
    audio = {"spec_size": 64, "num_mel_bins": 16, "patch_embeds_hidden_size": 16, "hidden_size": 32}
    audio |= {"depths": [2, 1], "num_attention_heads": [2, 4], "enable_fusion": fused, "initializer_factor": 4.0}
    text = {"vocab_size": len(vocabulary), "max_position_embeddings": 130, "hidden_size": 32, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "intermediate_size": 64, "initializer_factor": 4.0}
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24))
    norm = model.audio_model.audio_encoder.batch_norm
    torch.nn.init.normal_(norm.running_mean, -35, 10)
    torch.nn.init.uniform_(norm.running_var, 100, 400)
    model.save_pretrained(folder)
    ClapProcessor(extractor, fast).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clap(tmp_path_factory.mktemp("models") / "tiny-clap", fused=False)


@pytest.fixture(scope="module")
def fused_clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clap(tmp_path_factory.mktemp("models") / "tiny-clap-fused", fused=True)


def clips() -> list[np.ndarray]:
    """Full windows, and clips of 0.3 and 0.6 of one: the first is repeated three times, the second only padded."""
    full = [clip for name, clip in hard_signals(WINDOW).items() if name != "silence"]
    music = np.random.default_rng(1).uniform(-0.5, 0.5, WINDOW.samples).cumsum() / 200
    return [*full, music[:14_400].astype(np.float32), music[:28_800].astype(np.float32)]


def padded(clips: list[np.ndarray]) -> np.ndarray:
    """As the client cuts windows: zeros at the end."""
    return np.stack([np.pad(clip, (0, WINDOW.samples - len(clip))) for clip in clips])


def by_transformers(folder: Path, *, fused: bool) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of clips() and of TEXTS, one at a time, by its own processor and model."""
    model, processor = ClapModel.from_pretrained(folder).eval(), ClapProcessor.from_pretrained(folder)
    audio, text = [], []
    with torch.no_grad():
        for clip in clips():
            features = processor.feature_extractor(clip, sampling_rate=48_000, return_tensors="pt")
            if fused:  # else True at random: see the module
                features["is_longer"] = torch.zeros(1, 1, dtype=torch.bool)
            audio.append(model.get_audio_features(**features).pooler_output)
        for words in TEXTS:
            text.append(model.get_text_features(**processor.tokenizer(words, return_tensors="pt")).pooler_output)
    return torch.cat(audio).numpy(), torch.cat(text).numpy()


def assert_equal_and_telling(found: np.ndarray, expected: np.ndarray, *, telling: float) -> None:
    assert (found * expected).sum(axis=1).min() >= 0.9999
    # Else any vector would pass.
    assert np.median(expected @ expected.T) < telling


@pytest.fixture(scope="module")
def exported(clap: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "repository"
    assert main([str(clap), "--out", str(out), "--parity-data", str(manifest)]) == 0
    return out


def test_the_exported_graphs_give_what_transformers_gives(clap: Path, exported: Path):
    out = exported
    audio, text = by_transformers(clap, fused=False)

    graph = onnx.load(out / "audio_encoder/1/model.onnx")
    assert not {"NonZero", "If", "Loop", "Scan", "Resize"} & {node.op_type for node in graph.graph.node}
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", WINDOW.samples]
    assert_equal_and_telling(session.run(None, {"waveform": padded(clips())})[0], audio, telling=0.9)

    session = onnxruntime.InferenceSession(out / "text_encoder/1/model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(out / "text_tokenizer/1/tokenizer.json"))
    assert tokenizer.padding["pad_id"] == PADDING
    encoded = tokenizer.encode_batch(list(TEXTS))
    tokens = {
        "input_ids": np.array([encoding.ids for encoding in encoded], np.int32),
        "attention_mask": np.array([encoding.attention_mask for encoding in encoded], np.int32),
    }
    assert (tokens["input_ids"][1, 3:] == PADDING).all()
    assert_equal_and_telling(session.run(None, tokens)[0], text, telling=0.99)

    parameters = (out / "text_encoder/config.pbtxt").read_text()
    for key, value in {"sample_rate_hz": 48_000, "max_text_tokens": 128, "model_name": "tiny-clap"}.items():
        assert f'key: "{key}" value: {{ string_value: "{value}" }}' in parameters


def test_a_fused_checkpoint_takes_a_window_as_a_clip_that_is_not_longer(fused_clap: Path):
    source = load_source(fused_clap)
    audio, _ = by_transformers(fused_clap, fused=True)
    with torch.no_grad():
        found = source.model.embed_audio(torch.from_numpy(padded(clips()))).numpy()
    assert_equal_and_telling(found, audio, telling=0.9)
    assert source.provenance["fused"] is True


@pytest.mark.parametrize(
    ("module", "method", "instead", "item"),
    [
        (RepeatPad, "forward", lambda _, waveform: waveform, "a short sweep"),
        (TextTokenizer, "__call__", lambda _, texts: 2 * [torch.ones(len(texts), 5, dtype=torch.int64)], "“.*”"),
    ],
)
def test_vectors_that_are_not_transformers_are_refused(clap: Path, monkeypatch, module, method, instead, item):
    monkeypatch.setattr(module, method, instead)
    with pytest.raises(CheckpointError, match=rf"its vector of {item} has cosine .* expected at least 0\.9999;"):
        load_source(clap)


def test_a_configuration_that_names_no_padding_is_refused(clap: Path, tmp_path: Path):
    folder = shutil.copytree(clap, tmp_path / "damaged")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["pad_token_id"] = None
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"gives no pad_token_id for its texts; copy or download"):
        load_source(folder)


def test_weights_that_are_no_numbers_are_called_so(clap: Path, tmp_path: Path):
    folder = shutil.copytree(clap, tmp_path / "diverged")
    weights = load_file(folder / "model.safetensors")
    weights["text_projection.linear1.weight"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ExportError, match=r"the weight text_projection\.linear1\.weight holds NaN or infinity"):
        check_weights(load_source(folder).model)


def test_the_stretch_is_transformers_at_its_real_size():
    config = ClapAudioConfig(
        spec_size=256, num_mel_bins=64, patch_embeds_hidden_size=16, depths=[1], num_attention_heads=[1]
    )
    encoder = ClapAudioEncoder(config)
    decibels = 20 * torch.randn(2, 1, 1001, 64) - 40
    expected = encoder.reshape_mel2img(decibels)
    stretch = ClapAudio(encoder, frames=1001).stretch
    assert stretch.shape == (1, 1, 1024, 1001)
    torch.testing.assert_close(encoder.reshape_mel2img(stretch @ decibels), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("truncation", ["fusion", "rand_trunc"])
def test_the_front_end_is_the_feature_extractor_at_its_real_size(truncation: str):
    extractor = ClapFeatureExtractor(frequency_min=50, truncation=truncation)
    window = AudioWindow(48_000, extractor.nb_max_samples)
    clip = 0.3 * np.random.default_rng(0).standard_normal(window.samples).astype(np.float32)
    clip += hard_signals(window)["a chord"]
    expected = extractor(clip, sampling_rate=48_000, return_tensors="np")["input_features"][0, 0]
    with torch.no_grad():
        found = ClapFrontend(extractor)(torch.from_numpy(clip[None]))
    assert found.shape == (1, 1, 1001, 64)
    np.testing.assert_allclose(found[0, 0], expected, atol=2e-3)  # decibels


@pytest.mark.parametrize("length", [0, 1, 7, 333, 499, 500, 501, 999, 1000])
def test_repeat_pad_is_tiling(length: int):
    clip = np.random.default_rng(0).uniform(0.1, 1, length).astype(np.float32)
    expected = np.tile(clip, 1000 // length if length else 0)
    found = RepeatPad(1000, whole=True)(torch.from_numpy(np.pad(clip, (0, 1000 - length)))[None].repeat(2, 1))
    np.testing.assert_array_equal(found, np.pad(expected, (0, 1000 - len(expected)))[None].repeat(2, axis=0))


@pytest.mark.parametrize("length", [239_999, 240_000, 159_999, 48_001])
def test_repeat_pad_is_exact_at_the_real_size(length: int):
    clip = np.random.default_rng(0).uniform(0.1, 1, length).astype(np.float32)
    expected = np.tile(clip, 480_000 // length)
    found = RepeatPad(480_000, whole=True)(torch.from_numpy(np.pad(clip, (0, 480_000 - length)))[None])
    np.testing.assert_array_equal(found[0], np.pad(expected, (0, 480_000 - len(expected))))


def test_a_hub_name_without_a_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert main(["laion/no-such-clap", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert (
        "'laion/no-such-clap' is not a file or folder here and could not be fetched from the Hugging Face hub" in error
    )
    assert "give a downloaded folder" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_no_clap_is_refused_before_its_weights_are_read(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"has no config\.json; give the whole folder"):
        load_source(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(CheckpointError, match=r"is a model of type 'clip'; expected 'clap'"):
        load_source(tmp_path)
    (tmp_path / "config.json").write_text("no JSON")
    with pytest.raises(CheckpointError, match=r"is not a model configuration"):
        load_source(tmp_path)


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def drop_tokenizer(folder: Path) -> None:
    """transformers then makes one for which every text is <unk>."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def drop_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.linear1.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def drop_statistics(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["audio_model.audio_encoder.batch_norm.running_var"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def add_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["text_model.encoder.layer.1.output.dense.bias"] = torch.zeros(32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def widen_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        weights | {"text_projection.linear1.bias": torch.zeros(25)}, folder / "model.safetensors", {"format": "pt"}
    )


def pad_otherwise(folder: Path) -> None:
    path = folder / "processor_config.json"
    config = json.loads(path.read_text())
    config["feature_extractor"]["padding"] = "repeat"
    path.write_text(json.dumps(config))


def lengthen_windows(folder: Path) -> None:
    path = folder / "processor_config.json"
    config = json.loads(path.read_text())
    config["feature_extractor"] |= {"max_length_s": 3, "nb_max_samples": 144_000}
    path.write_text(json.dumps(config))


def test_buffers_that_the_configuration_determines_may_be_missing(clap: Path, tmp_path: Path):
    folder = shutil.copytree(clap, tmp_path / "older")
    weights = load_file(folder / "model.safetensors")
    counted = [name for name in weights if name.endswith(("_ids", "_index"))]
    older = {name: tensor for name, tensor in weights.items() if name not in counted}
    save_file(older, folder / "model.safetensors", {"format": "pt"})
    assert len(counted) == 5
    tokens = load_source(clap).tokenizer(TEXTS)
    with torch.no_grad():
        for embed, inputs in (("embed_text", tokens), ("embed_audio", [torch.from_numpy(padded(clips()))])):
            found, expected = (getattr(load_source(path).model, embed)(*inputs) for path in (folder, clap))
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_weights, "holds no complete CLAP: "),
        (
            drop_tokenizer,
            r"has no tokenizer \(no tokenizer\.json and no vocab\.json with merges\.txt\), and without one",
        ),
        (drop_weight, r"missing: text_projection\.linear1\.weight; unknown: none"),
        (drop_statistics, r"missing: audio_model\.audio_encoder\.batch_norm\.running_var; unknown: none"),
        (add_weight, r"missing: none; unknown: text_model\.encoder\.layer\.1\.output\.dense\.bias"),
        (
            widen_weight,
            r"text_projection\.linear1\.bias of .* has the shape \(25,\); its configuration expects \(24,\)",
        ),
        (
            lengthen_windows,
            "transformers cannot run .*, because its processor and model do not fit together: the wav size",
        ),
        (pad_otherwise, "pads short clips by 'repeat'; only 'repeatpad' can be exported"),
    ],
)
def test_an_incomplete_folder_is_refused(clap: Path, tmp_path: Path, damage, message: str):
    folder = shutil.copytree(clap, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_source(folder)
    assert "\n" not in str(refusal.value)


def collapse(folder: Path, *, side: str) -> None:
    """As in a published CLAP: a projection that is all but its bias."""
    weights = load_file(folder / "model.safetensors")
    weights[f"{side}_projection.linear2.weight"] *= 1e-4
    weights[f"{side}_projection.linear2.bias"] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("side", "other", "message"),
    [
        ("audio", "text", "audio_encoder: different windows get the same vector in torch itself "),
        ("text", "audio", "text_encoder: different texts get the same vector in torch itself "),
    ],
)
def test_a_collapsed_projection_is_refused(
    clap: Path, exported: Path, manifest: Path, tmp_path: Path, monkeypatch, capsys, side: str, other: str, message: str
):
    folder = shutil.copytree(clap, tmp_path / "collapsed")
    collapse(folder, side=side)
    whole = onnx.load(exported / f"{other}_encoder/1/model.onnx")  # as it would be exported again, in seconds
    monkeypatch.setattr(f"export.to_onnx.export_{other}", lambda _, **__: whole)
    assert main([str(folder), "--out", str(tmp_path / "out"), "--parity-data", str(manifest)]) == 2
    error = capsys.readouterr().err
    assert re.search(rf"{message}\(median cosine (0\.99|1)", error)
    assert "give another checkpoint; nothing was written" in error
    assert error.count("\n") == 1


def rename(name: str, *, how: str) -> str:
    if how == "part":
        return name.replace("text_model.", "text_model._orig_mod.", 1)
    return {"compiled": "_orig_mod.", "either": "_orig_mod.module.", "other": "module._orig_mod."}[how] + name


@pytest.mark.parametrize("how", ["compiled", "either", "other", "part"])
@pytest.mark.parametrize("pickled", [False, True])
def test_the_names_of_a_wrapped_model_are_unwrapped(clap: Path, tmp_path: Path, how: str, pickled: bool):
    folder = shutil.copytree(clap, tmp_path / "wrapped")
    weights = {rename(name, how=how): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    tokens = load_source(clap).tokenizer(TEXTS)
    with torch.no_grad():
        found, expected = (load_source(path).model.embed_text(*tokens) for path in (folder, clap))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def bare_safetensors(folder: Path) -> Path:
    return shutil.copy(folder / "model.safetensors", folder.parent / "model.safetensors")


def bare_pickle(folder: Path) -> Path:
    torch.save(load_file(folder / "model.safetensors"), folder.parent / "pytorch_model.bin")
    return folder.parent / "pytorch_model.bin"


def laions_own(folder: Path) -> Path:
    """With NumPy's numbers beside the tensors, as LAION's training code saves."""
    names = ("logit_scale_a", "audio_branch.bn0.weight", "text_branch.embeddings.word_embeddings.weight")
    tensors = {f"module.{name}": torch.zeros(1) for name in names}
    path = folder.parent / "music_audioset_epoch_15_esc_90.14.pt"
    torch.save({"epoch": 15, "name": "music", "best": np.float64(90.14), "state_dict": tensors}, path)
    return path


def adapter(folder: Path) -> Path:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "laion/some-clap"}')
    save_file({"base_model.model.text_model.lora_A.weight": torch.zeros(1)}, folder / "adapter_model.safetensors")
    return folder


def adapter_in_its_base(folder: Path) -> Path:
    """transformers would load the base alone, without a word, where PEFT is not installed."""
    (folder / "adapter_config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            bare_safetensors,
            r"model\.safetensors holds only the weights of a model; give the whole folder of the",
        ),
        (lambda folder: folder / "model.safetensors", r"only the weights of .*; give its folder, .*/tiny$"),
        (bare_pickle, r"pytorch_model\.bin holds only the weights of a CLAP; give the whole folder of the model"),
        (
            laions_own,
            r"is a CLAP in the format of LAION's own code, .* give the same model in the format of transformers",
        ),
        (adapter, r"is an adapter \(LoRA .*\) for laion/some-clap, not a model: .* merge_and_unload\(\)"),
        (lambda folder: adapter(folder) / "adapter_model.safetensors", "tiny is an adapter"),
        (adapter_in_its_base, "is an adapter .* for some other model, not a model"),
    ],
)
def test_a_part_of_a_model_is_told_what_to_give(clap: Path, tmp_path: Path, make, message: str):
    path = make(shutil.copytree(clap, tmp_path / "tiny"))
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_source(path)
    assert "\n" not in str(refusal.value)
