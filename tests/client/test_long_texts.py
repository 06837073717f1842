"""Texts beyond what the model takes: nothing is left out, it is said, and it is the same in process and on a server."""

from pathlib import Path

import numpy as np
import pytest

from client import MusicSearch, ServerMismatch, TritonEncoder
from client.encoders.local import LocalEncoder
from client.encoders.long_texts import split_text
from client.zero_shot import Labels
from serve import Server

from ..tiny_repository import MAX_TEXT_TOKENS
from .fake_triton import CONFIGS, INFERS, FakeTriton, configs_of, infers

LOW, HIGH = "Low " * 20, "High " * 20
SENTENCES = f"{LOW.strip()}. {HIGH.strip()}. A tone."  # 48 tokens of the model's 40


@pytest.fixture(scope="module")
def encoder(tiny_repository: Path) -> LocalEncoder:
    return LocalEncoder(tiny_repository, device="cpu")


def mean_of(encoder: LocalEncoder, texts: list[str]) -> np.ndarray:
    mean = encoder.embed_texts(texts).mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_the_mean_of_its_sentences_stands_for_a_text(encoder: LocalEncoder, caplog: pytest.LogCaptureFixture) -> None:
    sentences = [f"{LOW.strip()}.", f"{HIGH.strip()}.", "A tone."]
    (vector,), parts = encoder.read_texts([SENTENCES])
    np.testing.assert_allclose(vector, mean_of(encoder, sentences), atol=1e-6)
    assert parts == {SENTENCES: sentences}
    (message,) = caplog.messages
    assert "longer than the 40 tokens that the model takes: the mean vector of its 3 parts is used" in message
    np.testing.assert_array_equal(encoder.embed_texts([SENTENCES])[0], vector)


def test_what_fits_is_not_split_and_nothing_is_said(encoder: LocalEncoder, caplog: pytest.LogCaptureFixture) -> None:
    whole = "Low. " * (MAX_TEXT_TOKENS // 2 - 1)  # each has two tokens, and two are special: 40
    assert encoder.read_texts([whole, "Low. High."]).parts == {}
    over = f"{whole} tone"
    assert list(encoder.read_texts([over]).parts) == [over]
    assert len(caplog.messages) == 1


def test_a_long_sentence_is_split_at_a_clause_or_else_at_a_word() -> None:
    assert split_text("one two three four, five six seven eight nine") == [
        "one two three four,",
        "five six seven eight nine",
    ]
    assert split_text("one two three four five six") == ["one two three", "four five six"]
    assert split_text("one, two three four five six") == ["one, two three", "four five six"]  # no half without the rest
    assert split_text("aaaabbbb") == ["aaaa", "bbbb"]
    assert split_text("静かなピアノ。雨の音。") == ["静かなピアノ。", "雨の音。"]
    assert split_text("静かなピアノ、雨の音") == ["静かなピアノ、", "雨の音"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Calm piano. Then drums! Why? A choir", ["Calm piano.", "Then drums!", "Why?", "A choir"]),
        ("first line\nsecond line\r\n\r\nthird", ["first line", "second line", "third"]),
        ('"Calm piano." Then rain…  Silence', ['"Calm piano."', "Then rain…", "Silence"]),
        ("Opus 27 no. 2 at 120.5 bpm. Slow", ["Opus 27 no. 2 at 120.5 bpm.", "Slow"]),
        ("Jazz feat. a choir. Slow", ["Jazz feat. a choir.", "Slow"]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_text(text) == sentences


def test_a_long_sentence_stands_for_itself_by_its_halves(encoder: LocalEncoder) -> None:
    text = " ".join(["low"] * 30 + ["the"] * 30) + ". A tone."
    (vector,), parts = encoder.read_texts([text])
    assert [len(part.split()) for part in parts[text]] == [30, 30, 2]
    # Each sentence counts once, however many parts it has.
    mean = mean_of(encoder, ["low " * 30, "the " * 30 + "."]) + encoder.embed_texts(["A tone."])[0]
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize("text", ["low" * 500, "low, " * 900, "。" * 300, "低い音" * 90, "a" + " " * 900 + "low " * 90])
def test_any_text_ends_up_whole(encoder: LocalEncoder, text: str) -> None:
    (vector,), parts = encoder.read_texts([text])
    assert abs(np.linalg.norm(vector) - 1) < 1e-5
    for whole, pieces in parts.items():
        assert "".join(whole.split()) == "".join("".join(pieces).split())  # nothing is lost, nothing twice


def test_a_server_gives_the_same_vectors_and_parts(encoder: LocalEncoder, triton: Server) -> None:
    long = [SENTENCES, "low, " * 100, " ".join(["high"] * 38), " ".join(["high"] * 39)]
    texts = [*long, "a tone", *(f"{text} {SENTENCES}" for text in long)]
    remote = TritonEncoder(triton.grpc_url)
    try:
        here, there = encoder.read_texts(texts), remote.read_texts(texts)
        np.testing.assert_allclose(there.vectors, here.vectors, rtol=0, atol=1e-5)
        assert there.parts == here.parts
        assert list(here.parts) == [text for text in texts if text not in ("a tone", long[2])]
        np.testing.assert_allclose(remote.embed_texts(texts), here.vectors, rtol=0, atol=1e-5)
    finally:
        remote.close()


def test_every_place_that_embeds_texts_takes_long_ones(
    tiny_repository: Path, encoder: LocalEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = encoder._embed_cut([SENTENCES])[0][0]
    whole = encoder.embed_texts([SENTENCES])[0]
    assert cut @ whole < 0.99
    with MusicSearch(tmp_path / "library", encoder=tiny_repository) as ms:
        np.testing.assert_allclose(ms.embed_text([SENTENCES])[0], whole, atol=1e-6)
        label = Labels([SENTENCES], encoder=encoder, templates=["{}"])
        np.testing.assert_allclose(label.rank(whole)[0].score, 1, atol=1e-5)
        template = Labels(["tone"], encoder=encoder, templates=[f"{SENTENCES} {{}}"])
        np.testing.assert_allclose(template.rank(encoder.embed_texts([f"{SENTENCES} tone"])[0])[0].score, 1, atol=1e-5)
    assert len(caplog.messages) >= 4


def test_a_server_that_cannot_tell_lengths_is_refused(tiny_repository: Path) -> None:
    length = 'output [ { name: "token_count" data_type: TYPE_INT32 dims: [ 1 ] } ]\n'
    handlers = {CONFIGS: configs_of(tiny_repository, text_embedding=(length, "")), INFERS: infers(np.eye(1, 16))}
    server = FakeTriton(handlers)
    try:
        with pytest.raises(ServerMismatch, match=r"without the output token_count.*export the model again"):
            TritonEncoder(server.url)
    finally:
        server.stop()


def test_a_server_that_leaves_the_length_out_is_refused(tiny_repository: Path) -> None:
    def embedding_alone(request: bytes, context: object) -> bytes:
        from tritonclient.grpc import service_pb2

        reply = service_pb2.ModelInferResponse(raw_output_contents=[np.eye(1, 16, dtype=np.float32).tobytes()])
        reply.outputs.add(name="embedding", datatype="FP32", shape=(1, 16))
        return reply.SerializeToString()

    server = FakeTriton({CONFIGS: configs_of(tiny_repository), INFERS: embedding_alone})
    encoder = TritonEncoder(server.url)
    try:
        with pytest.raises(ServerMismatch, match="sent no tensor named token_count"):
            encoder.embed_texts(["low"])
    finally:
        encoder.close()
        server.stop()
