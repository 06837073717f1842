"""Hundreds of bad requests: each is refused with the name of what is wrong, and the next good one is answered right."""

import http.client
import io
import itertools
import json
import struct
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from client import EncoderError
from client.encoders import Encoder, open_encoder
from client.encoders.triton import TritonEncoder
from serve import Server
from tests.client.audio_files import write_audio

WINDOW_SAMPLES, SAMPLE_RATE_HZ = 160_000, 16_000
SIZES = {"FP16": 2, "FP32": 4, "FP64": 8, "INT32": 4, "INT64": 8, "UINT8": 1, "BOOL": 1}  # bytes


class Tensor(NamedTuple):
    """An input as it travels: nothing here checks it."""

    name: str
    kind: str
    shape: list[int]
    raw: bytes


def zeros(kind: str, shape: list[int]) -> bytes:
    """A tensor's bytes: zeros, or texts of one letter."""
    count = int(np.prod(shape)) if min(shape, default=1) >= 0 else 1
    return text(b"a") * count if kind == "BYTES" else b"\0" * (SIZES[kind] * count)


def text(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def wav(samples: np.ndarray, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes((30_000 * samples).astype("<i2").tobytes())
    return content.getvalue()


WAVEFORM = (0.3 * np.sin(0.05 * np.arange(WINDOW_SAMPLES) ** 1.1)).astype("<f4")
ONES = np.ones((1, 16), "<i4").tobytes()
QUERY = Tensor("text", "BYTES", [1, 1], text(b"calm solo piano"))
GOOD = {
    "audio_encoder": [Tensor("waveform", "FP32", [1, WINDOW_SAMPLES], WAVEFORM.tobytes())],
    "audio_embedding": [Tensor("audio", "BYTES", [1], text(wav(WAVEFORM[:SAMPLE_RATE_HZ])))],
    "text_encoder": [Tensor("input_ids", "INT32", [1, 16], ONES), Tensor("attention_mask", "INT32", [1, 16], ONES)],
    "text_tokenizer": [QUERY],
    "text_embedding": [QUERY],
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return open_encoder(None, device="cpu")


@pytest.fixture(scope="module")
def infer(shipped: Server) -> Iterator[Callable[..., dict[str, np.ndarray]]]:
    """Model name and tensors -> the outputs; `grpc.RpcError`. tritonclient would refuse to send most of this."""
    with grpc.insecure_channel(
        shipped.grpc_url.removeprefix("grpc://"), options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def call(model: str, tensors: list[Tensor]) -> dict[str, np.ndarray]:
            request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[t.raw for t in tensors])
            for tensor in tensors:
                request.inputs.add(name=tensor.name, datatype=tensor.kind, shape=tensor.shape)
            reply = stub.ModelInfer(request, timeout=60)
            return {
                output.name: np.frombuffer(raw, {"FP32": "<f4", "INT32": "<i4"}[output.datatype]).reshape(output.shape)
                for output, raw in zip(reply.outputs, reply.raw_output_contents, strict=True)
            }

        yield call


@pytest.fixture(scope="module")
def assert_answers(infer, encoder: Encoder) -> Callable[[str], None]:
    """That a good request to a model is answered as the model answers in this process."""
    counter = itertools.count()
    expected = {
        "audio_encoder": {"embedding": encoder.embed_windows(WAVEFORM[None])},
        "audio_embedding": infer("audio_embedding", GOOD["audio_embedding"]),  # test_audio_embedding checks it
        "text_encoder": infer("text_encoder", GOOD["text_encoder"]),
        "text_tokenizer": infer("text_tokenizer", GOOD["text_tokenizer"]),
    }

    def check(model: str) -> None:
        if model == "text_embedding":
            query = f"calm solo piano {next(counter)}"  # another each time, which no cache knows
            answer = infer(model, [QUERY._replace(raw=text(query.encode()))])
            np.testing.assert_allclose(answer["embedding"], encoder.embed_texts([query]), rtol=0, atol=1e-5)
            return
        answer = infer(model, GOOD[model])
        assert answer.keys() == expected[model].keys()
        for name, value in expected[model].items():
            np.testing.assert_allclose(answer[name], value, rtol=0, atol=1e-5)

    return check


def broken(tensors: list[Tensor]) -> Iterator[tuple[str, str, list[Tensor]]]:
    """What is wrong, the name that the error must have, and the inputs."""
    for index, tensor in enumerate(tensors):

        def put(*new: Tensor, index: int = index) -> list[Tensor]:
            return [*tensors[:index], *new, *tensors[index + 1 :]]

        rest = tensor.shape[1:]
        for kind in {*SIZES, "BYTES"} - {tensor.kind}:
            yield f"type {kind}", tensor.name, put(tensor._replace(kind=kind, raw=zeros(kind, tensor.shape)))
        longer = [*tensor.shape[:-1], tensor.shape[-1] + 1]
        for shape in ([], rest, [1, *tensor.shape], longer, [0, *rest], [-1, *rest], [65, *rest]):
            yield f"shape {shape}", tensor.name, put(tensor._replace(shape=shape, raw=zeros(tensor.kind, shape)))
        yield "2**40 values", tensor.name, put(tensor._replace(shape=[*tensor.shape[:-1], 2**40]))
        for raw in (b"", tensor.raw[: len(tensor.raw) // 2], 2 * tensor.raw, b"\xff\xff\xff\xff"):
            yield f"{len(raw)} bytes", tensor.name, put(tensor._replace(raw=raw))
        yield "another name", "other", put(tensor._replace(name="other"))
        yield "missing", tensor.name, put()
        yield "twice", tensor.name, put(tensor, tensor)


@pytest.mark.parametrize("model", GOOD)
def test_a_wrong_tensor_is_refused_by_name(infer, assert_answers, model: str) -> None:
    for problem, name, tensors in broken(GOOD[model]):
        with pytest.raises(grpc.RpcError) as caught:
            infer(model, tensors)
        message = caught.value.details()
        assert name in message or "batch" in message, (problem, message)
        assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL), (problem, message)
        assert_answers(model)


TEXTS = {
    "empty": (b"", "empty"),
    "blank": (b" \t\n", "empty"),
    "no-break space": ("\u00a0".encode(), "empty"),
    "1 MB": (b"calm " * 200_000, r"1000000 bytes, expected at most 16384 (max_text_bytes)"),
    "Latin-1": ("café".encode("latin-1"), "not UTF-8 (unexpected end of data at byte 3)"),
    "UTF-16": ("piano".encode("utf-16"), "not UTF-8 (invalid start byte at byte 0)"),
    "surrogate": (b"\xed\xa0\x80", "not UTF-8 (invalid continuation byte at byte 0)"),
    "overlong": (b"\xc0\xaf", "not UTF-8 (invalid start byte at byte 0)"),
}


@pytest.mark.parametrize("model", ["text_tokenizer", "text_embedding"])
def test_a_wrong_text_is_refused_by_name_and_row(infer, assert_answers, model: str) -> None:
    for content, reason in TEXTS.values():
        for row in (0, 1):
            raw = text(content) + text(b"calm") if row == 0 else text(b"calm") + text(content)
            with pytest.raises(grpc.RpcError) as caught:
                infer(model, [QUERY._replace(shape=[2, 1], raw=raw)])
            assert f"input 'text', row {row}: {reason}" in caught.value.details()
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert_answers(model)


def test_the_longest_texts_that_are_taken_are_answered(infer, encoder: Encoder) -> None:
    for content in (b"a" * 16_384, "🎹".encode() * 4096, b"calm\0piano", b"[CLS] [PAD] [MASK]"):
        answer = infer("text_embedding", [QUERY._replace(raw=text(content))])["embedding"]
        np.testing.assert_allclose(answer, encoder.embed_texts([content.decode()]), rtol=0, atol=1e-5)


def test_a_bad_sample_spoils_its_own_row_only_and_the_client_refuses_that(
    infer, assert_answers, encoder: Encoder, shipped: Server
) -> None:
    # A graph cannot refuse, so whoever fills `waveform` must check, as audio_embedding and the client do.
    remote = TritonEncoder(shipped.grpc_url)
    for sample in (np.nan, np.inf, -np.inf):
        waveforms = np.stack([WAVEFORM, WAVEFORM, WAVEFORM[::-1]])
        waveforms[1, 5000] = sample
        answer = infer("audio_encoder", [Tensor("waveform", "FP32", list(waveforms.shape), waveforms.tobytes())])
        np.testing.assert_allclose(answer["embedding"][::2], encoder.embed_windows(waveforms[::2]), rtol=0, atol=1e-5)
        assert np.isnan(answer["embedding"][1]).all()
        with pytest.raises(EncoderError, match="L2 norm nan"):
            remote.embed_windows(waveforms)
        assert_answers("audio_encoder")
    remote.close()


def test_a_wrong_file_is_refused_by_name(infer, assert_answers, tmp_path: Path) -> None:
    noise = 0.3 * np.random.default_rng(1).standard_normal(5 * SAMPLE_RATE_HZ)
    mp3 = write_audio(tmp_path / "a.mp3", noise, kind="mp3", sample_rate_hz=SAMPLE_RATE_HZ).read_bytes()
    with zipfile.ZipFile(tmp_path / "packed.mp3", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("song.txt", "no music\n" * 5000)
    for path, samples in {"nan.wav": np.nan, "inf.wav": np.inf}.items():
        write_audio(tmp_path / path, np.full(SAMPLE_RATE_HZ, samples), kind="f32.wav", sample_rate_hz=SAMPLE_RATE_HZ)
    for content, reason in [
        (b"", "empty file"),
        (mp3[:1000], "not a readable audio file"),
        (mp3[: len(mp3) * 2 // 5], "truncated or damaged"),
        ((tmp_path / "packed.mp3").read_bytes(), "not a readable audio file"),
        ((tmp_path / "nan.wav").read_bytes(), "magnitude nan"),
        ((tmp_path / "inf.wav").read_bytes(), "magnitude inf"),
        (wav(np.zeros(SAMPLE_RATE_HZ)), "silent"),
        (wav(np.zeros(3 * 3600 * 1000), sample_rate_hz=1000), "longer than 3600 s"),
        (b"#EXTM3U\n#EXTINF:5,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "not a readable audio file"),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            infer("audio_embedding", [GOOD["audio_embedding"][0]._replace(raw=text(content))])
        assert caught.value.details().startswith("input 'audio': ")
        assert reason in caught.value.details()
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert_answers("audio_embedding")


def query(**changes: Any) -> str:
    """A good JSON request, changed; a value of `...` takes a key out."""
    tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["calm solo piano"]} | changes
    return json.dumps({"inputs": [{key: value for key, value in tensor.items() if value is not ...}]})


JSON = {
    # what is sent: what the error names
    "calm piano": "JSON",
    query()[:-4]: "JSON",
    query().replace("calm", "\\ud800"): "JSON",
    '{"inputs": NaN}': "inputs",
    **dict.fromkeys(["[]", "null", "3", '"text"', "{}"], "inputs"),
    **{f'{{"inputs": {value}}}': "inputs" for value in ("null", "{}", "3", "[]", '"text"')},
    **{f'{{"inputs": [{value}]}}': "nput" for value in ("null", "3", "[]", '"text"', "[" * 90 + "]" * 90)},
    **{query(name=value): "name" for value in (..., 3, None, [], {})},
    **{query(shape=value): "shape" for value in (..., 1, "1", None, {}, [1.5, 1], [-1, 1], [None], ["1", "1"])},
    **{query(shape=value): "'text'" for value in ([], [1], [0, 1], [1, 2], [1, 2**62], [2**40, 2**40])},
    **{query(datatype=value): "datatype" for value in (..., 3, None, "STRING", "bytes", "")},
    **{query(data=value): "data" for value in (..., 3, None, "calm", {})},
    **{query(data=value): "bytes array" for value in ([3], [None], [{}], [True], [1.5])},
    **{query(data=value): "'text'" for value in ([], ["calm", "piano"], [["calm"], ["piano", "solo"]], [""])},
    query(shape=[65, 1], data=["calm"] * 65): "batch-size",
    query(data=["calm " * 200_000]): "max_text_bytes",
    query()[:-1] + ', "outputs": 3}': "outputs",
    query()[:-1] + ', "outputs": [{"name": "vector"}]}': "vector",
    query()[:-1] + ', "parameters": 3}': "param",
    query()[:-1] + ', "id": {}}': "id",
    query(name="words"): "words",
    query(data=..., parameters={"binary_data_size": -5}): "binary_data_size",
    query(data=..., parameters={"binary_data_size": "5"}): "binary_data_size",
    query(data=..., parameters={"binary_data_size": 10**9}): "'text'",
    query(data=..., parameters={"shared_memory_region": "x", "shared_memory_byte_size": 5}): "shared memory region",
}


def post(server: Server, path: str, body: str | bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.ports.http, timeout=60)
    try:
        connection.request("POST", path, body=body, headers={"Inference-Header-Content-Length": "0"} | headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_json_of_the_wrong_form_is_refused_by_name(shipped: Server, assert_answers) -> None:
    for body, named in JSON.items():
        length = str(len(body.encode()))
        status, reply = post(
            shipped, "/v2/models/text_embedding/infer", body, **{"Inference-Header-Content-Length": length}
        )
        assert 400 <= status <= 500, (body[:200], reply)
        assert named in json.loads(reply)["error"], (body[:200], reply)
        assert_answers("text_embedding")


def test_http_of_the_wrong_form_is_refused(shipped: Server, assert_answers) -> None:
    audio = "/v2/models/audio_embedding/infer"
    for path, body, header, named in [
        (audio, b"", "0", "'audio': empty file"),
        (audio, b"PK\3\4" + bytes(1000), "0", "'audio': not a readable audio file"),
        (audio, GOOD["audio_embedding"][0].raw, "-1", "header size"),
        (audio, GOOD["audio_embedding"][0].raw, "10000000000", "header size"),
        ("/v2/models/audio_encoder/infer", b"abc", "0", "audio_encoder"),
        ("/v2/models/other/infer", query().encode(), str(len(query())), "'other'"),
        ("/v2/models/audio_embedding/versions/9/infer", b"abc", "0", "version 9"),
        ("/v2/models/audio_embedding/versions/x/infer", b"abc", "0", "Not Found"),
    ]:
        status, reply = post(shipped, path, body, **{"Inference-Header-Content-Length": header})
        assert 400 <= status < 500, (path, body[:20], reply)
        assert named in json.loads(reply)["error"], (path, body[:20])
        assert_answers("audio_embedding")


def test_there_were_hundreds_of_them() -> None:
    assert sum(len(list(broken(tensors))) for tensors in GOOD.values()) + 4 * len(TEXTS) + len(JSON) > 200
