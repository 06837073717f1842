"""The gate lets a good graph pass and names what is wrong with each kind of bad one."""

import copy
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from export import ExportError
from export.hard_items import FORMANTS_HZ, HARD_TEXTS, hard_signals
from export.int8 import quantise
from export.parity import (
    SCORE_STEP,
    STRICT,
    GraphParity,
    ProductsOfFloat16,
    Thresholds,
    check_audio,
    check_search,
    check_text,
    embed_captions,
)
from export.parity_data import ParityData, load_parity_data
from export.sources import AudioWindow
from export.towers import export_audio, export_text, type_embeddings, type_float16
from tests.export.conftest import MAX_TOKENS, WINDOW
from train.data.tokenizer import TextTokenizer
from train.dual_encoder import DualEncoder

RECORDINGS = Path(__file__).parents[3] / "shared/audio"
HARD_WINDOWS = len(hard_signals(WINDOW))


@pytest.fixture(scope="module")
def data(manifest: Path, model: DualEncoder) -> ParityData:
    return load_parity_data(manifest, window=WINDOW)


@pytest.fixture(scope="module")
def audio(data: ParityData, model, typed, audio_graph) -> GraphParity:
    content = audio_graph.SerializeToString()
    return check_audio(content, data.windows, model=model, typed=typed, accept=STRICT["fp16"])


@pytest.fixture(scope="module")
def check_texts(data: ParityData, tokenizer: TextTokenizer):
    return partial(check_text, texts=data.texts, tokenizer=tokenizer, max_tokens=MAX_TOKENS, accept=STRICT["fp16"])


@pytest.fixture(scope="module")
def text(check_texts, model, typed, text_graph) -> GraphParity:
    return check_texts(text_graph.SerializeToString(), model=model, typed=typed)


@pytest.fixture(scope="module")
def embed(data: ParityData, model: DualEncoder, tokenizer: TextTokenizer):
    return partial(embed_captions, captions=list(data.text_tracks), model=model, tokenizer=tokenizer)


def test_good_graphs_pass(audio: GraphParity, text: GraphParity):
    assert (len(audio.items), len(text.items)) == (32 + HARD_WINDOWS, 64 + len(HARD_TEXTS))
    for row in (audio, text):
        assert 0.9995 <= row.worst_cosine <= row.mean_cosine <= 1 + 1e-6
        assert row.worst_float16_cosine is not None
        assert row.worst_float16_cosine >= 0.9995
        assert row.deviation <= 1e-5
        assert row.max_error == pytest.approx(np.abs(row.exported - row.truth).max())


def test_an_int8_text_graph_passes_and_computes_in_int8(
    data: ParityData, audio: GraphParity, check_texts, embed, model: DualEncoder, text_graph: onnx.ModelProto
):
    graph = quantise(export_text(type_embeddings(model), max_tokens=MAX_TOKENS))
    row = check_texts(graph.SerializeToString(), model=model, typed=None, accept=STRICT["int8"])
    assert row.worst_float16_cosine is None
    captions = embed(graph.SerializeToString())
    assert check_search(audio, captions, data=data, accept=STRICT["int8"]).recall is not None
    linear = [node for node in graph.graph.node if node.op_type == "MatMulNBits"]
    assert len(linear) == 6  # query, key, value, output and two of feed-forward in the only layer
    for node in linear:
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        assert (attributes["bits"], attributes["accuracy_level"]) == (8, 4)
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 18), ("com.microsoft", 1)]
    assert graph.graph.input == text_graph.graph.input
    assert graph.graph.output == text_graph.graph.output


def test_a_changed_weight_is_refused(data: ParityData, model, typed, damaged_audio_graph):
    with pytest.raises(ExportError, match=r"audio_encoder: ONNX Runtime .* disagree on .*: cosine .* at least 0\.9995"):
        check_audio(
            damaged_audio_graph.SerializeToString(), data.windows, model=model, typed=typed, accept=STRICT["fp16"]
        )


class QuietCells(torch.nn.Module):
    """A tower that hears a chord's leakage, far below its partials."""

    def __init__(self, *, wrong: float = 0.0) -> None:
        super().__init__()
        angle = 4 * 2 * np.pi / 1024 * torch.outer(torch.arange(65), torch.arange(1024))
        basis = torch.cat([angle.cos(), angle.sin()]) * torch.hann_window(1024)
        self.register_buffer("dft", basis[:, None] * (1 + wrong))

    def embed_audio(self, waveform: torch.Tensor) -> torch.Tensor:
        spectrum = torch.nn.functional.conv1d(waveform[:, None], self.dft, stride=512)
        decibels = 10 * (spectrum[:, :65].square() + spectrum[:, 65:].square() + 1e-20).log10()
        return torch.nn.functional.normalize((3 * decibels.mean(dim=2)).cos(), dim=-1)


def test_float32_may_differ_by_what_rounding_its_sums_does_and_no_more():
    """A chord without noise ends 100 dB and more below its partials, where no order of sums is the right one."""
    signals = hard_signals(AudioWindow(16_000, 16_000))
    chord = {"a chord": signals["a chord"], "white noise": signals["white noise"]}
    model = QuietCells()
    graph = export_audio(model, samples=16_000).SerializeToString()
    row = check_audio(graph, chord, model=model, typed=None, accept=STRICT["fp32"])
    assert row.items[0].cosine < STRICT["fp32"].min_cosine < row.items[1].cosine
    wrong = export_audio(QuietCells(wrong=1e-3), samples=16_000).SerializeToString()
    with pytest.raises(ExportError, match=r"disagree on “white noise”: cosine"):
        check_audio(wrong, chord, model=model, typed=None, accept=STRICT["fp32"])


@pytest.mark.parametrize(("silent", "accepted"), [(0.5, True), (float("nan"), False)])
def test_silence_must_be_finite_and_no_more(data: ParityData, model, audio_graph, silent: float, accepted: bool):
    class Otherwise(torch.nn.Module):
        def embed_audio(self, waveform: torch.Tensor) -> torch.Tensor:
            vectors = model.embed_audio(waveform)
            turned = torch.nn.functional.normalize(vectors + silent, dim=-1)
            return torch.where(waveform.abs().amax(dim=1, keepdim=True) > 0, vectors, turned)

    check = partial(check_audio, audio_graph.SerializeToString(), data.windows, model=model, accept=STRICT["fp16"])
    if accepted:
        row = check(typed=Otherwise())
        silence = next(item for item in row.items if item.name == "silence")
        assert silence.float16_cosine < 0.9995 <= row.worst_float16_cosine
    else:
        with pytest.raises(ExportError, match="torch in float16 and torch in float32 disagree on “silence”"):
            check(typed=Otherwise())


@pytest.mark.parametrize("cosine", [0.9993, 0.99])
def test_texts_that_do_not_differ_are_refused(data: ParityData, model, tokenizer, text_graph, cosine: float):
    """laion/larger_clap_music gives texts a mean cosine of 0.9993."""
    with torch.no_grad():
        centre = torch.cat([model.embed_text(*tokenizer([text])) for text in data.texts]).mean(dim=0)
    along = torch.nn.functional.normalize(centre, dim=-1)

    class Collapsed(torch.nn.Module):
        def embed_text(self, *tokens: torch.Tensor) -> torch.Tensor:
            across = torch.nn.functional.normalize(model.embed_text(*tokens) - centre, dim=-1)
            return torch.nn.functional.normalize((1 - cosine) ** 0.5 * across + cosine**0.5 * along, dim=-1)

    message = "get the same vector in torch itself" if cosine > 0.998 else "ONNX Runtime and torch in float32 disagree"
    with pytest.raises(ExportError, match=f"text_encoder: .*{message}"):
        check_text(
            text_graph.SerializeToString(),
            data.texts,
            model=Collapsed(),
            typed=None,
            tokenizer=tokenizer,
            max_tokens=MAX_TOKENS,
            accept=STRICT["fp16"],
        )


def test_a_vector_without_unit_norm_is_refused(check_texts, model, typed, text_graph):
    damaged = copy.deepcopy(text_graph)
    (last,) = [node for node in damaged.graph.node if "embedding" in node.output]
    last.output[0] = "half"
    damaged.graph.node.append(onnx.helper.make_node("Add", ["half", "half"], ["embedding"]))
    with pytest.raises(ExportError, match=r"text_encoder: the vector of .* has a norm of 2\.0000\d\d, expected 1"):
        check_texts(damaged.SerializeToString(), model=model, typed=typed)


def test_padding_is_the_tokenizers_as_the_server_pads(check_texts, model, typed, text_graph, tokenizer, monkeypatch):
    ids = []
    tokenizer = TextTokenizer(tokenizer.tokenizer_json, max_tokens=MAX_TOKENS)
    tokenizer.pad_id = 7
    run = onnxruntime.InferenceSession.run
    monkeypatch.setattr(
        onnxruntime.InferenceSession, "run", lambda self, *given: ids.append(given[1]["input_ids"]) or run(self, *given)
    )
    check_texts(text_graph.SerializeToString(), model=model, typed=typed, tokenizer=tokenizer)
    assert {row[-1] for batch in ids for row in batch if batch.shape[1] == MAX_TOKENS} == {3, 7}  # 3 ends a whole one


def test_decibels_clamped_over_the_batch_are_refused(data: ParityData, model, typed, audio_graph):
    damaged = copy.deepcopy(audio_graph)
    peak = next(node for node in damaged.graph.node if node.op_type == "ReduceMax")
    damaged.graph.initializer.append(numpy_helper.from_array(np.array([0, 1, 2]), "all_axes"))
    peak.input[1] = "all_axes"
    with pytest.raises(ExportError, match=r"audio_encoder: the vector of .* in a batch of 17 differs"):
        check_audio(damaged.SerializeToString(), data.windows, model=model, typed=typed, accept=STRICT["fp16"])


def test_padding_that_leaks_is_refused(check_texts, model, typed, text_graph):
    damaged = copy.deepcopy(text_graph)
    masked = next(tensor for tensor in damaged.graph.initializer if _is_scalar(tensor, -1e4))
    masked.CopyFrom(numpy_helper.from_array(np.array(-0.1, np.float32).reshape(masked.dims), masked.name))
    with pytest.raises(ExportError, match=r"text_encoder: the vector of .* padded to 16 tokens .* differs"):
        check_texts(damaged.SerializeToString(), model=model, typed=typed)


def _is_scalar(tensor: onnx.TensorProto, value: float) -> bool:
    array = numpy_helper.to_array(tensor)
    return array.size == 1 and np.isclose(float(array.reshape(())), value)


def test_a_float16_overflow_is_refused_although_the_cpu_provider_hides_it(check_texts, model: DualEncoder):
    loud = copy.deepcopy(model)
    dense = loud.text_tower.bert.encoder.layer[0].output.dense
    with torch.no_grad():  # each weight fits float16, their sum does not; LayerNorm then hides the size
        dense.bias.fill_(6e4)
        dense.weight.mul_(3e4 / dense.weight.abs().max())
    typed = type_float16(loud)
    graph = export_text(typed, max_tokens=MAX_TOKENS).SerializeToString()
    with pytest.raises(ExportError, match="torch in float16 and torch in float32 disagree"):
        check_texts(graph, model=loud, typed=typed)


def test_search_is_compared_with_torchs(data: ParityData, audio: GraphParity, embed, text_graph: onnx.ModelProto):
    captions = embed(text_graph.SerializeToString())
    search = check_search(audio, captions, data=data, accept=STRICT["fp16"])
    assert (search.texts, search.captions, search.tracks) == (64, 64, 16)
    assert search.top_10_overlap > 0.99
    assert search.recall is not None
    assert search.recall == pytest.approx(search.torch_recall, abs=1 / 64)


def test_captions_are_embedded_in_their_own_order(text: GraphParity, embed, text_graph: onnx.ModelProto):
    for side, items in zip(embed(text_graph.SerializeToString()), (text.truth, text.exported), strict=True):
        np.testing.assert_allclose(side, items[: len(side)], atol=1e-5)


def test_captions_that_lose_their_tracks_are_refused_and_one_is_not(data: ParityData, audio: GraphParity):
    # In torch each caption is its track's vector, so all find it; the graphs take some captions to the other side.
    tracks = np.array([data.window_tracks.get(item.name, -1) for item in audio.items])
    means = np.stack([audio.truth[tracks == track].mean(axis=0) for track in sorted(set(tracks) - {-1})])
    means -= means.mean(axis=0)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    centred = replace(audio, truth=means[tracks], exported=means[tracks])
    own = means[list(data.text_tracks.values())]
    turned = {lost: np.concatenate([-own[:lost], own[lost:]]) for lost in (1, 2)}
    accept = replace(STRICT["fp16"], min_overlap=0.9)
    search = check_search(centred, (own, turned[1]), data=data, accept=accept)
    assert (search.torch_recall, search.recall) == (1.0, 63 / 64)
    with pytest.raises(
        ExportError, match=r"of 64 captions, 2 lose their own track .* 0 gain it, R@10 1\.000 -> 0\.969"
    ):
        check_search(centred, (own, turned[2]), data=data, accept=accept)
    assert check_search(centred, (own, turned[2]), data=data, accept=replace(accept, max_recall_drop=0.04)).recall < 1
    with pytest.raises(ExportError, match=r"a share of 0\.9\d+ of torch's ten best windows .* at least 0\.99"):
        check_search(centred, (own, turned[2]), data=data, accept=STRICT["fp16"])


def test_windows_that_torch_can_hardly_tell_apart_may_change_places(data: ParityData, audio: GraphParity):
    """The eleventh best window takes the place of the tenth: a tenth of the ten, if their scores are a step apart."""
    axis = np.eye(16, dtype=np.float32)[0]
    texts = np.tile(axis, (len(data.text_tracks), 1))
    overlaps = []
    for apart in (2**-12, 2**-10):
        scores = 0.9 - apart * np.arange(len(audio.items), dtype=np.float32)
        changed = scores.copy()
        changed[[9, 10]] = scores[[10, 9]]
        changed_places = replace(audio, truth=scores[:, None] * axis, exported=changed[:, None] * axis)
        accept = replace(STRICT["fp16"], min_overlap=0.0)
        search = check_search(changed_places, (texts, texts), data=data, accept=accept, step=SCORE_STEP["fp16"])
        overlaps.append(search.top_10_overlap)
    assert overlaps == pytest.approx([1.0, 0.9])


@pytest.mark.parametrize("value", [float("nan"), -0.1])
@pytest.mark.parametrize("name", ["min_cosine", "min_overlap", "max_deviation", "max_recall_drop"])
def test_a_threshold_that_is_no_limit_is_refused(name: str, value: float):
    with pytest.raises(ExportError, match=rf"the threshold {name} is {value}; give a number of at least 0"):
        Thresholds(**{"min_cosine": 0.9, "min_overlap": 0.9} | {name: value})


@pytest.mark.parametrize("name", ["min_cosine", "min_overlap"])
def test_a_threshold_that_nothing_reaches_is_refused(name: str):
    with pytest.raises(ExportError, match=rf"the threshold {name} is 1\.5, which no graph reaches; give 1 or less"):
        Thresholds(**{"min_cosine": 0.9, "min_overlap": 0.9} | {name: 1.5})


def test_search_is_compared_on_more_captions_than_items(manifest: Path):
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    many = manifest.with_name("captioned.jsonl")
    lines = [
        json.dumps(
            row | {"track_id": f"{place} {copy}", "captions": [f"{place} {copy} {number}" for number in range(7)]}
        )
        for place, row in enumerate(rows)
        for copy in range(5)
    ]
    many.write_text("\n".join(lines))  # 80 tracks of 7 captions
    data = load_parity_data(many, window=WINDOW)
    heard = set(data.window_tracks.values())
    assert (len(heard), len(data.texts), len(data.text_tracks)) == (32, 64 + len(HARD_TEXTS), 500)
    assert sum(track in heard for track in data.text_tracks.values()) == 32 * 7
    assert set(data.texts[:64]) <= data.text_tracks.keys()


def test_too_little_music_is_refused(manifest: Path, tmp_path: Path):
    with pytest.raises(ExportError, match="no music to check the graphs with"):
        load_parity_data(tmp_path / "manifest.jsonl", window=WINDOW)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    few = manifest.with_name("few.jsonl")
    few.write_text("\n".join(json.dumps(row) for row in rows[:3]))
    # 2.6 s are two full windows and one more than half full
    with pytest.raises(ExportError, match=r"9 windows of 1 s and 12 different captions; .* needs 32 and 64"):
        load_parity_data(few, window=WINDOW)


def test_captions_are_of_the_tracks_that_are_heard(manifest: Path):
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    many = manifest.with_name("many.jsonl")
    lines = [
        json.dumps(rows[place % 16] | {"track_id": f"track {place}", "captions": [f"caption {place}", f"more {place}"]})
        for place in range(100)
    ]
    many.write_text("\n".join(lines))
    data = load_parity_data(many, window=WINDOW)
    assert len(set(data.window_tracks.values())) == 32  # a window each
    assert all(name.endswith("window 1") for name in data.window_tracks)  # from the middle of three
    assert {data.text_tracks[text] for text in data.texts[:64]} == set(data.window_tracks.values())
    for name, track in data.window_tracks.items():
        number = name.removeprefix("track ").partition(",")[0]
        assert data.text_tracks[f"caption {number}"] == data.text_tracks[f"more {number}"] == track


def test_hard_signals_are_what_their_names_say():
    signals = hard_signals(AudioWindow(sample_rate_hz=16_000, samples=160_000))
    peak_db = {name: 20 * np.log10(max(np.abs(signal).max(), 1e-9)) for name, signal in signals.items()}
    assert peak_db["silence"] == -180
    assert peak_db["a tone at -60 dB"] == pytest.approx(-60, abs=0.1)
    assert (np.abs(signals["a clipped tone"]) == 1).mean() > 0.9
    assert (np.abs(signals["the same, clipped"]) == 1).mean() > 0.1
    assert all(signal.dtype == np.float32 and np.abs(signal).max() <= 1 for signal in signals.values())


def test_the_voice_has_a_pitch_vowels_and_pauses():
    voice = hard_signals(AudioWindow(sample_rate_hz=16_000, samples=160_000))["a speech-like voice"]
    syllables = voice.reshape(-1, 4, 4_000)  # four a second
    assert np.all(syllables[:, 3] == 0)
    assert np.all(np.abs(syllables[:, :3]).max(axis=2) > 0.1)
    spectra = np.abs(np.fft.rfft(syllables[0, :3] * np.hanning(4_000)))  # 4 Hz a bin
    strongest_hz = 4 * spectra.argmax(axis=1)
    for peak_hz, formants_hz in zip(strongest_hz, FORMANTS_HZ, strict=True):
        assert min(abs(peak_hz - hz) for hz in formants_hz) < 60  # the nearest harmonic of 120 Hz
    assert len(set(strongest_hz)) == 3


def test_real_recordings_pass(tmp_path: Path, model: DualEncoder, typed: DualEncoder, audio_graph: onnx.ModelProto):
    recordings = sorted(RECORDINGS.glob("*.ogg"))
    if not recordings:
        pytest.skip("needs the recordings in shared/audio beside the checkout")
    captions = [f"caption {number}" for number in range(64)]
    rows = [json.dumps({"audio": str(path), "captions": captions}) for path in recordings]
    (tmp_path / "manifest.jsonl").write_text("\n".join(rows))
    data = load_parity_data(tmp_path / "manifest.jsonl", window=WINDOW)
    row = check_audio(audio_graph.SerializeToString(), data.windows, model=model, typed=typed, accept=STRICT["fp16"])
    assert len(row.items) == 32 + HARD_WINDOWS


def test_products_of_float16_are_torchs_own(typed: DualEncoder):
    """One unit in the last place apart at most, as the order of the sums is not the same."""
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 8, 9, 9).half(), torch.randn(4, 8, 3, 3).half(), torch.randn(4).half()
    own = torch.nn.functional.conv2d(x, weight, bias, stride=2)
    with ProductsOfFloat16():
        found = torch.nn.functional.conv2d(x, weight, bias, stride=2)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, own, atol=0, rtol=2**-10)
    too_large = torch.full((1, 8), 1e4).half()
    with ProductsOfFloat16():
        assert torch.nn.functional.linear(too_large, torch.ones(1, 8).half()).isinf().all()  # as a GPU has it

    waveform = torch.from_numpy(np.stack(list(hard_signals(WINDOW).values())[1:]))
    with torch.inference_mode():
        native = typed.embed_audio(waveform)
        with ProductsOfFloat16():
            assert (typed.embed_audio(waveform) * native).sum(dim=1).min() >= 0.99999
