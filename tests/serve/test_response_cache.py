"""A text that was asked before is answered from the cache, with the same vector; a refusal is not remembered."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from client.encoders import open_encoder


def embed(client: grpc.InferenceServerClient, text: bytes) -> np.ndarray:
    tensor = grpc.InferInput("text", [1, 1], "BYTES").set_data_from_numpy(np.array([[text]], np.object_))
    return client.infer("text_embedding", [tensor], client_timeout=60).as_numpy("embedding")


def counts(client: grpc.InferenceServerClient) -> tuple[int, int]:
    """(answers from the cache, answers that were computed) since the server started."""
    time.sleep(0.3)  # Triton counts a request after it has answered it
    statistics = client.get_inference_statistics("text_embedding").model_stats[0].inference_stats
    return statistics.cache_hit.count, statistics.cache_miss.count


def test_a_text_is_computed_once(shipped_client) -> None:
    text = b"a text that no other test asks for"
    hits, misses = counts(shipped_client)
    first = embed(shipped_client, text)
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda _: embed(shipped_client, text), range(16)))
    after_hits, after_misses = counts(shipped_client)
    assert (after_hits - hits, after_misses - misses) == (16, 1)
    for vector in again:
        np.testing.assert_array_equal(vector, first)
    encoder = open_encoder(None, device="cpu")
    np.testing.assert_allclose(first, encoder.embed_texts([text.decode()]), rtol=0, atol=1e-5)
    encoder.close()


def test_a_refusal_is_not_remembered(shipped_client) -> None:
    hits = counts(shipped_client)[0]
    for _ in range(3):
        with pytest.raises(InferenceServerException, match="not UTF-8"):
            embed(shipped_client, b"caf\xe9")
    assert counts(shipped_client)[0] == hits
