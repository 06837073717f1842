"""The served models answer as the graphs do in process, refuse bad requests by name, and survive them."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tritonclient.grpc as grpc
from tokenizers import Tokenizer
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from client.encoders.local import LocalEncoder
from client.encoders.triton import TritonEncoder
from serve import Ports, Server, running_server
from tests.tiny_repository import MAX_TEXT_TOKENS, TONES_HZ

SHIPPED = Path(__file__).parents[2] / "model_repository"
WINDOW_SAMPLES, SAMPLE_RATE_HZ = 16_000, 16_000
TEXTS = ["low tone", "a high sound", "the music of " * 7, "middle " * 60]  # 16, 16, 32 and (cut) 40 tokens


@pytest.fixture(scope="module")
def client(triton: Server):
    with grpc.InferenceServerClient(triton.grpc_url.removeprefix("grpc://")) as client:
        yield client


@pytest.fixture(scope="module")
def waveforms() -> np.ndarray:
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, (5, WINDOW_SAMPLES))
    time_s = np.arange(WINDOW_SAMPLES) / SAMPLE_RATE_HZ
    return (noise + 0.5 * np.sin(2 * np.pi * 97.0 * np.arange(1, 6)[:, None] * time_s)).astype(np.float32)


def infer(client: grpc.InferenceServerClient, model: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    tensors = []
    for name, value in inputs.items():
        tensor = grpc.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
        tensors.append(tensor.set_data_from_numpy(value))
    result = client.infer(model, tensors, client_timeout=30)
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


def embed_text(client: grpc.InferenceServerClient, texts: list[str | bytes]) -> np.ndarray:
    return infer(client, "text_embedding", text=np.array(texts, np.object_)[:, None])["embedding"]


def embed_audio(client: grpc.InferenceServerClient, waveforms: np.ndarray) -> np.ndarray:
    return infer(client, "audio_encoder", waveform=waveforms)["embedding"]


def run_graph(repository: Path, model: str, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(repository / model / "1/model.onnx", providers=["CPUExecutionProvider"])
    return session.run(["embedding"], inputs)[0]


def embed_text_here(repository: Path, text: str) -> np.ndarray:
    """[dim]; without any padding, so that a wrong mask or bucket in the server shows."""
    tokenizer = Tokenizer.from_file(str(repository / "text_tokenizer/1/tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TEXT_TOKENS)
    ids = np.array([tokenizer.encode(text).ids], np.int32)
    return run_graph(repository, "text_encoder", input_ids=ids, attention_mask=np.ones_like(ids))[0]


def counts(client: grpc.InferenceServerClient, model: str) -> tuple[int, int]:
    """(items inferred, runs of the model) since the server started."""
    time.sleep(0.3)  # Triton counts a request after it has answered it
    statistics = client.get_inference_statistics(model).model_stats[0]
    return statistics.inference_count, statistics.execution_count


def test_audio_equals_the_graph_in_process_alone_and_in_a_batch(client, tiny_repository, waveforms) -> None:
    expected = run_graph(tiny_repository, "audio_encoder", waveform=waveforms)
    alone = np.concatenate([embed_audio(client, waveform[None]) for waveform in waveforms])
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(embed_audio(client, waveforms), expected, rtol=0, atol=1e-5)


def test_text_equals_the_graph_in_process_alone_and_in_a_batch_of_mixed_lengths(client, tiny_repository) -> None:
    expected = np.stack([embed_text_here(tiny_repository, text) for text in TEXTS])
    alone = np.concatenate([embed_text(client, [text]) for text in TEXTS])
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(embed_text(client, TEXTS), expected, rtol=0, atol=1e-5)


def test_the_clients_two_encoders_agree(triton: Server, tiny_repository, waveforms) -> None:
    local, remote = LocalEncoder(tiny_repository, device="cpu"), TritonEncoder(triton.grpc_url)
    assert local.spec == remote.spec
    windows = np.tile(waveforms, (4, 1))  # more than one full batch
    np.testing.assert_allclose(remote.embed_windows(windows), local.embed_windows(windows), rtol=0, atol=1e-5)
    np.testing.assert_allclose(remote.embed_texts(TEXTS * 7), local.embed_texts(TEXTS * 7), rtol=0, atol=1e-5)
    remote.close()
    local.close()


def test_requests_in_flight_together_are_one_run_and_each_gets_its_own_rows(client, waveforms) -> None:
    batches = [waveforms[[row % 5]] if row % 3 else waveforms[[row % 5, 0]] for row in range(24)]  # 1 or 2 rows each
    expected = [embed_audio(client, batch) for batch in batches]
    inferences, runs = counts(client, "audio_encoder")
    with ThreadPoolExecutor(len(batches)) as pool:
        together = list(pool.map(lambda batch: embed_audio(client, batch), batches))
    after_inferences, after_runs = counts(client, "audio_encoder")
    assert after_inferences - inferences == 32
    assert after_runs - runs < len(batches)
    for vectors, alone in zip(together, expected, strict=True):
        np.testing.assert_allclose(vectors, alone, rtol=0, atol=1e-5)


def test_texts_in_flight_together_are_batched_in_the_tokenizer_and_the_encoder(client, tiny_repository) -> None:
    texts = [TEXTS[row % 3] for row in range(24)]
    before = {model: counts(client, model) for model in ("text_tokenizer", "text_encoder")}
    with ThreadPoolExecutor(len(texts)) as pool:
        vectors = list(pool.map(lambda text: embed_text(client, [text])[0], texts))
    for model, (inferences, runs) in before.items():
        after_inferences, after_runs = counts(client, model)
        assert after_inferences - inferences == len(texts)
        assert after_runs - runs < len(texts), model
    expected = {text: embed_text_here(tiny_repository, text) for text in TEXTS}
    np.testing.assert_allclose(vectors, [expected[text] for text in texts], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("words", "length"), [(1, 16), (14, 16), (15, 32), (30, 32), (31, 40), (500, 40)])
def test_text_is_padded_to_the_next_length(client, tiny_repository, words: int, length: int) -> None:
    tokens = infer(client, "text_tokenizer", text=np.array([["low " * words], ["tone"]], np.object_))
    used = min(words + 2, MAX_TEXT_TOKENS)  # [CLS] … [SEP]
    assert tokens["input_ids"].shape == tokens["attention_mask"].shape == (2, length)
    assert tokens["input_ids"].dtype == tokens["attention_mask"].dtype == np.int32
    np.testing.assert_array_equal(tokens["attention_mask"].sum(axis=1), [used, 3])

    tokenizer = Tokenizer.from_file(str(tiny_repository / "text_tokenizer/1/tokenizer.json"))
    cls, low, tone, sep, pad = map(tokenizer.token_to_id, ["[CLS]", "low", "tone", "[SEP]", "[PAD]"])
    expected = [cls, *[low] * (used - 2), sep, *[pad] * (length - used)]
    np.testing.assert_array_equal(tokens["input_ids"], [expected, [cls, tone, sep, *[pad] * (length - 3)]])


TOKENS = np.ones((1, 16), np.int32)
BAD_REQUESTS = {
    "samples": ("audio_encoder", {"waveform": np.zeros((1, 100), np.float32)}, "waveform"),
    "rank": ("audio_encoder", {"waveform": np.zeros((1, 1, WINDOW_SAMPLES), np.float32)}, "waveform"),
    "batch": ("audio_encoder", {"waveform": np.zeros((9, WINDOW_SAMPLES), np.float32)}, "batch-size must be <= 8"),
    "dtype": ("audio_encoder", {"waveform": np.zeros((1, WINDOW_SAMPLES), np.float64)}, "waveform"),
    "name": ("audio_encoder", {"wave": np.zeros((1, WINDOW_SAMPLES), np.float32)}, "wave"),
    "missing": ("text_encoder", {"input_ids": TOKENS}, "attention_mask"),
    "lengths": ("text_encoder", {"input_ids": TOKENS, "attention_mask": TOKENS[:, :8]}, r"attention_mask \[1, 8\]"),
    "empty": ("text_embedding", {"text": np.array([[""]], np.object_)}, "'text', row 0: empty"),
    "blank": ("text_embedding", {"text": np.array([["low"], [" \n"]], np.object_)}, "'text', row 1: empty"),
    "utf-8": ("text_embedding", {"text": np.array([[b"caf\xe9 low"]], np.object_)}, "'text', row 0: not UTF-8"),
    "two columns": ("text_embedding", {"text": np.array([["low", "tone"]], np.object_)}, "text"),
}


@pytest.mark.parametrize(("model", "inputs", "message"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_request_is_refused_by_name_and_the_next_good_one_is_right(
    client, tiny_repository, waveforms, model: str, inputs: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message):
        infer(client, model, **inputs)
    text = next(iter(TONES_HZ))
    np.testing.assert_allclose(embed_text(client, [text])[0], embed_text_here(tiny_repository, text), atol=1e-5)
    expected = run_graph(tiny_repository, "audio_encoder", waveform=waveforms[:1])
    np.testing.assert_allclose(embed_audio(client, waveforms[:1]), expected, rtol=0, atol=1e-5)


def call_at_once(client, model: str, *, good: dict[str, np.ndarray], bad: dict[str, np.ndarray]) -> list:
    """What one bad request and 11 good ones got, the bad one's last; at least two of the 12 shared a run."""

    def call(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray] | InferenceServerException:
        try:
            return infer(client, model, **inputs)
        except InferenceServerException as error:
            return error

    runs = counts(client, model)[1]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(call, [bad if row == 5 else good for row in range(12)]))
    assert counts(client, model)[1] - runs < 12
    answers.append(answers.pop(5))
    return answers


def test_a_wrong_text_does_not_fail_those_it_was_batched_with(client) -> None:
    good = {"text": np.array([["low"]], np.object_)}
    expected = infer(client, "text_tokenizer", **good)
    *answers, refused = call_at_once(
        client, "text_tokenizer", good=good, bad={"text": np.array([[b"\xff"]], np.object_)}
    )
    assert isinstance(refused, InferenceServerException)
    for answer in answers:
        for name, tensor in expected.items():
            np.testing.assert_array_equal(answer[name], tensor)


@pytest.mark.parametrize(("wrong_id", "nearest"), [(-1, 0), (-(2**31), 0), (10**6, -1), (2**31 - 1, -1)])
@pytest.mark.parametrize("repository", ["tiny", "shipped"])
def test_a_wrong_token_id_counts_as_the_nearest_and_fails_nobody(
    request, tiny_repository: Path, repository: str, wrong_id: int, nearest: int
) -> None:
    if repository == "tiny":
        client, folder = request.getfixturevalue("client"), tiny_repository
    else:
        client, folder = request.getfixturevalue("shipped_client"), SHIPPED
    tokenizer = Tokenizer.from_file(str(folder / "text_tokenizer/1/tokenizer.json"))
    last_id = tokenizer.get_vocab_size() - 1
    ids = np.full((1, 16), 5, np.int32)
    wrong, clipped = ids.copy(), ids.copy()
    wrong[0, 7], clipped[0, 7] = wrong_id, nearest % (last_id + 1)
    expected = {
        name: run_graph(folder, "text_encoder", input_ids=tokens, attention_mask=TOKENS)
        for name, tokens in {"good": ids, "wrong": clipped}.items()
    }
    *answers, answer = call_at_once(
        client,
        "text_encoder",
        good={"input_ids": ids, "attention_mask": TOKENS},
        bad={"input_ids": wrong, "attention_mask": TOKENS},
    )
    for good in answers:
        np.testing.assert_allclose(good["embedding"], expected["good"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(answer["embedding"], expected["wrong"], rtol=0, atol=1e-5)


def test_requests_batched_by_triton_are_concatenated_into_one_run(tmp_path: Path, triton: Server) -> None:
    # Answers each row with the number of rows of its run, which no statistic of Triton's tells.
    nodes = [
        onnx.helper.make_node("Mul", ["x", "zero"], ["zeros"]),
        onnx.helper.make_node("Shape", ["x"], ["size"], start=0, end=1),
        onnx.helper.make_node("Cast", ["size"], ["rows"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Add", ["zeros", "rows"], ["y"]),
    ]
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 1]) for name in "xy"]
    zero = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    graph = onnx.helper.make_graph(nodes, "rows", tensors[:1], tensors[1:], [zero])
    folder = tmp_path / "rows" / "1"
    folder.mkdir(parents=True)
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), folder / "model.onnx")
    (folder.parent / "config.pbtxt").write_text(
        'name: "rows" backend: "onnxruntime" max_batch_size: 8 instance_group [ { count: 1 } ]\n'
        "dynamic_batching { max_queue_delay_microseconds: 200000 }\n"
        'input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
        'output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
    )
    with (
        running_server(tmp_path, ports=Ports(0, 0, 0)) as server,
        grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        answers = list(pool.map(lambda _: infer(client, "rows", x=np.zeros((2, 1), np.float32))["y"], range(4)))
    assert [answer.shape for answer in answers] == [(2, 1)] * 4
    assert max(answer.max() for answer in answers) > 2
